"""The line of those who wait for a place."""

from dyntoolkit.app.places import PATIENCE, Places, most_sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_comes_first_enters_first() -> None:
    kernels = {"1", "2"}
    places = Places(2, lambda: kernels, Clock())
    assert [places.ahead(ticket) for ticket in ("a", "b", "a")] == [1, 2, 1]
    kernels.remove("1")
    assert places.ahead("b") == 1  # the place is a's
    assert places.ahead("a") == 0
    with places.entering("a"):
        assert places.ahead("b") == 1
    kernels.clear()
    assert places.ahead("b") == 0


def test_who_stops_asking_has_left_the_line() -> None:
    clock = Clock()
    places = Places(1, lambda: {"1"}, clock)
    places.ahead("a")
    assert places.ahead("b") == 2
    clock.now = PATIENCE / 2
    places.ahead("b")
    clock.now = PATIENCE + 1
    assert places.ahead("b") == 1


def test_pages_that_are_starting_count() -> None:
    kernels: set[str] = set()
    places = Places(2, lambda: kernels, Clock())
    assert places.ahead("a") == 0
    with places.entering("a") as kernel, places.entering("b"):
        assert places.ahead("c") == 1
        kernels.add(kernel)  # it is there, and counts once
        assert places.ahead("c") == 1
    assert places.ahead("c") == 0


def test_a_machine_takes_some_pages() -> None:
    assert 2 <= most_sessions() < 10_000
