"""`explore` and what goes with it in a notebook that somebody looks at."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dyntoolkit.catalog import registry
from dyntoolkit.dashboard import headless, live
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.look_for import look_for
from dyntoolkit.dashboard.show import claims_table, explore, trained_map
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, Map, number


class Cells:
    """The cell that is being executed, as a front end would name it."""

    def __init__(self) -> None:
        self.place, self.count = "c1", 0
        self.displayed: list[object] = []

    def run(self, place: str = "c1") -> None:
        """Begin an execution of this cell."""
        self.place, self.count = place, self.count + 1


@pytest.fixture(autouse=True)
def cells(tiny, monkeypatch) -> Iterator[Cells]:
    """Somebody looks; the only experiment is the tiny one, and all dashboards are closed afterwards."""
    cells = Cells()
    monkeypatch.setattr(registry, "EXPERIMENTS", (tiny,))
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "0")
    monkeypatch.setattr(live, "_live", [])
    monkeypatch.setattr(headless, "cell", lambda: cells.place)
    monkeypatch.setattr(headless, "execution", lambda: f"m{cells.count}")
    monkeypatch.setattr(sys.modules["dyntoolkit.dashboard.dashboard"], "display", cells.displayed.append)
    yield cells
    for entry in list(live._live):
        entry.dashboard.close()
        entry.dashboard.runner.join(60)


def test_it_returns_a_dashboard_at_once_that_trains(cells, until):
    dashboard = explore("tiny", seed=2, lr=0.1)
    assert isinstance(dashboard, Dashboard)
    assert cells.displayed == [dashboard.box]
    until(lambda: dashboard.claims)
    assert dashboard.history.seeds == (2,)
    assert dashboard.claims_html in claims_table(dashboard).children
    assert dashboard.controls_run in claims_table(dashboard, controls=True).children


def test_a_cell_that_is_run_again_keeps_the_pinned_runs(cells, until):
    dashboard = explore("tiny")
    until(lambda: dashboard.claims)
    dashboard.pin()
    cells.run()
    again = explore("tiny", lr=0.1)
    assert again.pins == dashboard.pins
    assert dashboard.runner.closed


def test_of_two_dashboards_only_the_first_is_built_and_trains_before_a_reader_comes_near(cells, until):
    first = explore("tiny")
    cells.run("c2")
    second = explore("tiny", lr=0.2, seed=3)
    cells.run("c3")
    table = claims_table(second)
    until(lambda: first.claims)
    assert len(cells.displayed) == 2
    (placeholder,) = cells.displayed[1].children
    assert placeholder.title == "A tiny experiment"
    assert (second.history, second.config.lr, second.seeds) == (None, 0.2, (3,))
    assert not second._built
    placeholder._handle_custom_msg({"kind": "near"}, [])
    until(lambda: second.claims)
    assert (second.history.config.lr, second.history.seeds) == (0.2, (3,))
    assert table.children == (second.claims_html,)


def test_a_word_to_look_for_builds_and_trains_a_dashboard_that_is_far(cells, until):
    explore("tiny")
    cells.run("c2")
    far = explore("tiny")
    cells.run("c3")
    words = look_for(far, {"slow": "nothing moves"})
    assert not far._built
    words.children[0].children[0].click()
    until(lambda: far.claims)
    assert far.history.config.lr == 0.0015


def test_a_word_to_look_for_builds_nothing_for_a_dashboard_that_is_gone(tiny, cells):
    explore("tiny")
    cells.run("c2")
    far = explore(replace(tiny, name="tiny.two"))
    words = look_for(far, {"slow": "nothing moves"})
    far.close()
    words.children[0].children[0].click()
    assert not far._built


def test_one_that_is_far_again_in_its_cell_keeps_the_sliders_that_were_moved_before(tiny, cells):
    explore("tiny")
    cells.run("c2")
    explore(tiny).sliders.widget("noise_std").value = 0.3
    cells.run("c2")
    old = explore(tiny)
    cells.run("c2")
    far = explore(tiny)  # nobody came near meanwhile
    assert not old._built
    assert not far._built
    assert values(far)["noise_std"] == 0.3
    assert far.config.noise_std == 0.3


def values(dashboard):
    return dashboard.sliders.values()


def test_the_same_experiment_again_in_its_cell_keeps_the_sliders_that_were_moved(tiny, cells):
    old = explore(tiny, lr=0.2, seed=3, n_seeds=2)
    old.sliders.widget("noise_std").value = 0.3
    old.n_seeds.value = 4
    cells.run()
    new = explore(replace(tiny, title="Edited"), lr=0.2, seed=3, n_seeds=2)
    assert old.runner.closed
    assert {**values(old), "noise_std": 0.3} == values(new)
    assert (new.seed.value, new.n_seeds.value) == (3, 4)
    cells.run()
    again = explore(tiny, lr=0.2, seed=3, n_seeds=2)  # and a third time
    assert values(again)["noise_std"] == 0.3
    again.reset()
    assert (again.seed.value, again.n_seeds.value) == (3, 2)  # what was asked for


def test_what_is_newly_asked_for_wins_over_what_was_moved(tiny, cells):
    old = explore(tiny, lr=0.2, seed=3)
    for name, value in {"lr": 0.5, "noise_std": 0.3}.items():
        old.sliders.widget(name).value = value
    old.seed.value, old.n_seeds.value = 7, 4
    cells.run()
    new = explore(tiny, lr=0.1, seed=5)
    assert (values(new)["lr"], values(new)["noise_std"]) == (0.1, 0.3)
    assert (new.seed.value, new.n_seeds.value) == (5, 4)


def test_fields_that_are_gone_or_refuse_the_value_now_are_dropped(tiny, cells):
    class Edited(Config):
        lr: float = number(0.05, 0.001, 4, log=True)
        noise_std: float = number(0.0, 0, 0.2)
        steps: int = number(200, 10, 1_000_000, log=True, structural=True)
        dim: int = number(3, 1, 9, structural=True)
        init_scale: float = number(1.0, 0, 2)
        new: float = number(0.5, 0, 1)

    old = explore(tiny)
    for name, value in {"lr": 0.5, "noise_std": 0.3, "flip": True}.items():
        old.sliders.widget(name).value = value
    cells.run()
    new = explore(replace(tiny, config=Edited, presets={"plain": tiny.presets["plain"]}))
    assert values(new) == Edited(lr=0.5).asdict()


def test_a_default_that_was_edited_wins_over_its_slider(tiny, cells):
    old = explore(tiny)
    old.sliders.widget("lr").value = 0.5
    cells.run()
    new = explore(replace(tiny, presets={"plain": replace(tiny.presets["plain"], changes={"lr": 0.25})}))
    assert values(new)["lr"] == 0.25


def test_one_of_the_catalog_begins_anew(cells):
    explore("tiny").sliders.widget("noise_std").value = 0.3
    cells.run()
    assert values(explore("tiny"))["noise_std"] == 0


def test_another_cell_and_another_experiment_begin_anew(tiny, cells):
    explore(tiny).sliders.widget("noise_std").value = 0.3
    cells.run("c2")
    assert values(explore(tiny))["noise_std"] == 0
    cells.run("c1")
    assert values(explore(replace(tiny, name="tiny.two")))["noise_std"] == 0


@pytest.fixture
def mapped(tiny):
    over = Map("Shrinking", "ratio", "lr", "dim", (0.01, 0.1), (1, 3), tiny.simulate, lambda h: h.last("norm"))
    return replace(tiny, map=over)


def test_a_name_or_an_experiment_stands_for_its_newest_dashboard(mapped, cells, monkeypatch):
    monkeypatch.setattr(registry, "EXPERIMENTS", (mapped,))
    explore(mapped)
    cells.run("c2")
    newest = explore(mapped)
    cells.run("c3")
    for view in ("tiny", "tiny.one", mapped, newest):
        assert newest.claims_html in claims_table(view).children
        assert newest.map in trained_map(view).children
    button = look_for("tiny", {"slow": "nothing moves"}).children[0].children[0]
    button.click()
    assert values(newest)["lr"] == 0.0015
    assert len(live._live) == 2


def test_without_a_dashboard_a_new_one_is_opened(cells):
    table = claims_table("tiny")
    (entry,) = live._live
    assert entry.dashboard.claims_html in table.children
    assert cells.displayed == [entry.dashboard.box]


def test_an_experiment_without_a_map_says_so(tiny):
    with pytest.raises(InputError, match=r"tiny\.one has no map\."):
        trained_map(tiny)


@pytest.fixture
def address(monkeypatch):
    """address(query): the page has been opened with it; returns what is said in the page."""
    module, said = sys.modules["dyntoolkit.dashboard.parameters"], []
    monkeypatch.setattr(module, "is_voila", lambda: True)
    monkeypatch.setattr(module, "display", lambda html: said.append(html.data))

    def opened(query):
        monkeypatch.setenv("QUERY_STRING", query)
        return said

    return opened


def test_a_link_is_followed_by_the_first_dashboard_of_its_experiment(cells, tiny, address, until):
    said = address("experiment=tiny.one&noise_std=0.1&seed=5&gone=1&utm_source=x")
    first = explore("tiny", lr=0.2, n_seeds=2)
    assert (first.config, first.seeds) == (tiny.configure(noise_std=0.1), (5,))
    assert first.share.plain == "experiment=tiny.one&lr=0.2&n_seeds=2"  # what the page shows without a link
    cells.run("c2")
    assert explore("tiny").config == tiny.configure()
    assert explore(replace(tiny, name="other")).config == tiny.configure()
    (html,) = said
    assert "unknown parameter &#x27;gone&#x27;." in html


def test_of_a_link_that_names_none_it_is_not_known_what_the_page_shows_without_it(address):
    address("lr=0.2")
    assert explore("tiny", lr=0.2).share.plain == ""
