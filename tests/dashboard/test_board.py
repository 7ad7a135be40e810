import sys
import threading

import numpy as np
import pytest

from dyntoolkit.dashboard import board as board_module
from dyntoolkit.dashboard.board import Board, pack
from dyntoolkit.figure.panels import BLUE, ORANGE, Axis, Bars, Heat, Level, Line, Panel, median_line

X = np.arange(5.0)


class Recorder(Board):
    """A board whose messages to the browser are kept, and whose browser is played by the test."""

    def __init__(self) -> None:
        self.messages = []
        super().__init__("test")

    def send(self, content, buffers=None):
        self.messages.append((content, [bytes(buffer) for buffer in buffers]))

    def hear(self, kind, view="a", **more):
        self._handle_custom_msg({"kind": kind, "view": view, **more}, [])

    @property
    def steps(self):
        return [content["step"] for content, _ in self.messages if content["kind"] == "frame"]

    def draw(self):
        self.hear("drawn", frame=self.messages[-1][0]["frame"])


def line(y, name="a"):
    return [Panel("Title", Axis("x"), Axis("y", log=True), [Line(name, X, X + y, BLUE)])]


def rebuilt(node, arrays):
    """What the browser makes of a template and its numbers."""
    if isinstance(node, dict):
        return arrays[node["array"]] if "array" in node else {k: rebuilt(v, arrays) for k, v in node.items()}
    return [rebuilt(v, arrays) for v in node] if isinstance(node, list) else node


def unpacked(sizes, numbers):
    ends = np.cumsum([int(np.prod(size)) for size in sizes])
    return [part.reshape(size) for part, size in zip(np.split(numbers, ends[:-1]), sizes, strict=True)]


def test_without_a_browser_nothing_is_sent():
    board = Recorder()
    for step in range(5):
        board.show(line(step), step)
    assert board.messages == []
    assert not board.attached


def test_it_says_what_a_reader_clicks_on_to_whoever_wants_to_know():
    picked = []
    board = Board("test", lambda *what: picked.append(what))
    assert board.picks
    board._handle_custom_msg({"kind": "pick", "view": "a", "name": "loss", "x": 1.5, "y": "wide"}, [])
    assert picked == [("loss", 1.5, "wide")]
    other = Recorder()
    assert not other.picks
    other.hear("pick", name="loss", x=1, y=2)
    assert other.messages == []


def test_a_browser_that_attaches_gets_the_newest_frame():
    board = Recorder()
    board.show(line(1), 1)
    board.show(line(2), 2)
    board.hear("attach")
    assert board.attached
    assert board.steps == [2]
    content, (numbers,) = board.messages[0]
    arrays = unpacked(content["sizes"], np.frombuffer(numbers, np.float32))
    figure = rebuilt(content["panels"][0], arrays)
    np.testing.assert_array_equal(figure["data"][0]["y"], X + 2)
    assert figure["title"] == "Title"
    assert figure["layout"]["yaxis"]["type"] == "log"


def test_a_browser_that_attaches_before_the_first_frame_gets_it_at_once():
    board = Recorder()
    board.hear("attach")
    assert board.messages == []
    board.show(line(1), 1)
    assert board.steps == [1]


def test_frames_are_skipped_until_the_last_one_is_drawn_and_the_newest_arrives():
    board = Recorder()
    board.hear("attach")
    for step in range(5):
        board.show(line(step), step)
    assert board.steps == [0]
    board.draw()
    assert board.steps == [0, 4]
    board.draw()
    assert board.steps == [0, 4]
    board.show(line(5), 5)
    assert board.steps == [0, 4, 5]


def test_the_word_on_an_older_frame_does_not_count():
    board = Recorder()
    board.hear("attach")
    for step in range(2):
        board.show(line(step), step)
        board.draw()
    board.show(line(2), 2)
    board.show(line(3), 3)
    board.hear("drawn", frame=1)
    assert board.steps == [0, 1, 2]


def test_after_a_silence_the_newest_frame_is_sent_all_the_same(monkeypatch, until):
    monkeypatch.setattr(board_module, "PATIENCE", 0.05)
    board = Recorder()
    board.hear("attach")
    board.show(line(0), 0)
    board.show(line(1), 1)
    until(lambda: board.steps[-1] == 1)  # nobody calls show again, and no browser answers


def test_show_itself_sends_after_a_silence(monkeypatch):
    board = Recorder()
    board.hear("attach")
    board.show(line(0), 0)
    monkeypatch.setattr(board_module, "PATIENCE", 0.0)
    board.show(line(1), 1)
    assert board.steps == [0, 1]


def test_the_structure_travels_only_when_it_changed():
    board = Recorder()
    board.hear("attach")
    for step, name in enumerate(["a", "a", "b"]):
        board.show(line(step, name), step)
        board.draw()
    contents = [content for content, _ in board.messages]
    assert ["panels" in content for content in contents] == [True, False, True]
    assert [content["structure"] for content in contents] == [1, 1, 2]


def test_a_view_that_attaches_again_gets_structure_and_newest_frame():
    board = Recorder()
    board.hear("attach")
    board.show(line(1), 1)
    board.draw()
    board.hear("attach", view="b")
    assert board.steps == [1, 1]
    assert "panels" in board.messages[-1][0]


def test_after_the_last_view_is_gone_nothing_is_sent():
    board = Recorder()
    board.hear("attach")
    board.hear("attach", view="b")
    board.hear("detach")
    assert board.attached
    board.hear("detach", view="b")
    assert not board.attached
    board.show(line(1), 1)
    assert board.messages == []


def test_a_view_that_goes_without_a_word_on_its_frame_does_not_hold_up_the_other():
    board = Recorder()
    board.hear("attach")
    board.hear("attach", view="b")
    board.show(line(1), 1)
    board.show(line(2), 2)
    board.hear("detach")
    assert board.steps == [1, 2]


def test_a_closed_board_sends_nothing():
    board = Recorder()
    board.hear("attach")
    board.close()
    board.show(line(1), 1)
    assert board.messages == []


@pytest.fixture
def eager_threads():
    """Threads that take turns as often as they can, so that a missing lock shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_frames_from_several_threads_arrive_in_order_and_the_newest_last():
    board = Recorder()
    board.hear("attach")
    done = threading.Event()

    def browser():
        seen = 0
        while not (done.is_set() and board.messages and board._drawn == board._shown):
            if len(board.messages) > seen:
                seen = len(board.messages)
                board.draw()

    def worker(first):
        for step in range(first, first + 100):
            board.show(line(step), step)

    reader = threading.Thread(target=browser)
    workers = [threading.Thread(target=worker, args=(1000 * k,)) for k in range(3)]
    for thread in [reader, *workers]:
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    reader.join(timeout=60)
    assert not reader.is_alive()
    frames = [content["frame"] for content, _ in board.messages]
    assert frames == sorted(set(frames))
    assert frames[-1] == 300
    assert board.steps[-1] == board._newest[1]


def test_plotly_js_is_sent_to_the_page_that_asks(monkeypatch, until):
    monkeypatch.setattr(board_module.plotly_js, "gzipped", lambda: b"packed")
    board = Recorder()
    board.hear("library")
    until(lambda: board.messages == [({"kind": "library"}, [b"packed"])])


def test_every_number_survives_packing():
    runs = np.random.default_rng(0).normal(size=(5, 3))
    panels = [
        Panel("p", Axis("x"), Axis("y"), [median_line("m", X, runs, BLUE), Level("l", y=0.5)]),
        Panel("q", Axis("x"), Axis("y"), [Bars("b", ["u", "v"], np.array([1.0, 2.0]), ORANGE)]),
        Panel("r", Axis("x"), Axis("y"), [Heat("h", X, X[:2], np.outer(X[:2], X), -1, 1)]),
    ]
    template, sizes, numbers = pack(panels)
    arrays = unpacked(sizes, numbers)
    first, second, third = (rebuilt(panel, arrays) for panel in template)
    np.testing.assert_allclose(first["data"][1]["y"], np.median(runs, axis=1), rtol=1e-6)
    assert first["layout"]["shapes"][0]["y0"] == 0.5
    assert second["data"][0]["x"] == ["u", "v"]
    np.testing.assert_array_equal(second["data"][0]["y"], [1, 2])
    np.testing.assert_array_equal(third["data"][0]["z"], np.outer(X[:2], X))
    assert third["data"][0]["zmin"] == -1
    assert numbers.dtype == np.float32


def test_levels_and_ranges_that_move_leave_the_structure_alone():
    def panels(value):
        marks = [Level("l", y=value), Level("v", x=value), Heat("h", X, X, np.outer(X, X), -value, value)]
        return [Panel("p", Axis("x"), Axis("y"), marks)]

    assert pack(panels(1.0))[0] == pack(panels(2.0))[0]


def test_an_array_used_twice_travels_once():
    one = [Panel("p", Axis("x"), Axis("y"), [Line("a", X, X + 1, BLUE)])]
    two = [Panel("p", Axis("x"), Axis("y"), [Line("a", X, X + 1, BLUE), Line("b", X, X + 2, BLUE)])]
    assert len(pack(two)[2]) - len(pack(one)[2]) == 5


@pytest.mark.parametrize("values", [np.array([1e300, -1e300]), np.array([1, 2]), np.array([True, False])])
def test_numbers_of_any_kind_travel_without_a_warning(values):
    numbers = pack([Panel("p", Axis("x"), Axis("y"), [Line("a", X[:2], values, BLUE)])])[2]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(numbers[2:], values.astype(np.float32))
