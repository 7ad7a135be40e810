"""Pinned runs: their curves behind the present one's, their names, and the table of what differs."""

import numpy as np
import pytest

from dyntoolkit.dashboard.pins import MEMORY, MOST, SAME, Pin, added, behind, comparison, run_names
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.judging import judge_history
from dyntoolkit.figure.panels import BLUE, GREY, PINNED, Axis, Level, Line, Panel

X = np.arange(3.0)


def panel(title, *marks, y="y"):
    return Panel(title, Axis("x"), Axis(y), list(marks))


@pytest.fixture
def pinned(tiny):
    """pinned(seeds, lr=0.1, ...): such a run, trained and judged."""

    def make(seeds=(0,), label="", **changes):
        history = tiny.run(tiny.configure(**changes), seeds)
        return Pin(tiny, history, judge_history(tiny, history), label)

    return make


def test_measured_curves_of_the_same_panel_are_kept_thin_and_light():
    curve = Line("loss", X, X, BLUE, low=X - 1, high=X + 1)
    theory = Line("flow", X, X, GREY, dash=True)
    old = [panel("A", curve, theory, Level("end", y=0)), panel("gone", curve)]
    new = [panel("A", Line("loss", X, 2 * X, BLUE)), panel("B", curve)]
    first, second = behind(new, {"lr 0.2": (PINNED[1], old)})
    own, kept = first.marks
    assert (kept.name, kept.color, kept.width, kept.low) == ("lr 0.2", PINNED[1], 1.2, None)
    assert kept.behind
    assert kept.y is curve.y
    assert own is new[0].marks[0]
    assert second.marks == new[1].marks


def test_a_panel_of_the_same_title_with_another_axis_does_not_fit():
    curve = Line("loss", X, X, BLUE)
    (shown,) = behind([panel("A", curve)], {"lr 0.2": (PINNED[0], [panel("A", curve, y="z")])})
    assert shown.marks == [curve]


def test_the_legend_names_each_run_once():
    curves = [Line(name, X, X, BLUE) for name in ("a", "b", "c")]
    (shown,) = behind([panel("A")], {name: (PINNED[0], [panel("A", *curves)]) for name in ("lr 1", "lr 2")})
    assert [mark.legend for mark in shown.marks] == [True, False, False] * 2


def test_nothing_pinned_changes_nothing():
    shown = [panel("A", Line("loss", X, X, BLUE))]
    assert behind(shown, {}) == shown


def test_a_column_in_a_run_s_name_is_no_markup():
    (shown,) = behind([panel("A")], {"target <b>": (PINNED[0], [panel("A", Line("loss", X, X, BLUE))])})
    assert shown.marks[0].name == "target &lt;b&gt;"


def test_a_run_is_named_by_what_differs_from_the_present_one(tiny, pinned):
    pins = [
        pinned(),
        pinned((3,)),
        pinned((0, 1), lr=0.2),
        pinned(lr=0.2, noise_std=0.1, flip=True, dim=1),
        pinned(lr=0.2, noise_std=0.1, flip=True, dim=2),
    ]
    names = run_names(pins, tiny.configure(), (0,))
    first_three = [SAME, "seed 3", "lr 0.2, seeds 0 to 1"]
    assert names == [*first_three, "lr 0.2, noise_std 0.1, dim 1 and 1 more", "lr 0.2, noise_std 0.1, dim 2 and 1 more"]
    assert run_names([pinned(), pinned()], tiny.configure(), (0,)) == [SAME, f"{SAME} (2)"]


def test_each_has_a_colour_of_its_own_and_there_are_six_at_most(pinned):
    pins = ()
    for seed in range(MOST):
        pins = added(pins, pinned((seed,)))
    assert [pin.color for pin in pins] == list(PINNED)
    with pytest.raises(InputError, match=r"6 runs are pinned: unpin one to pin another\."):
        added(pins, pinned((9,)))
    again = added(pins, newer := pinned((2,)))
    assert again[-1] is newer
    assert len(again) == MOST
    assert newer.color == PINNED[2]


def test_the_table_has_the_fields_that_differ_and_the_claims(tiny, pinned):
    pins = [pinned(lr=0.001), pinned((0, 1), noise_std=0.5)]
    now = tiny.configure()
    heads, rows = comparison(pins, now, (0,), [])
    assert heads == ["lr", "noise_std", "seeds", "shrinks", "stays"]
    assert rows[0] == ["0.05", "0", "0", "not judged", "not judged"]
    assert rows[1][:3] == ["0.001", "0", "0"]
    assert rows[1][3].startswith("✗\u00a00.8")  # which no line breaks apart
    assert rows[1][4].startswith("✗\u00a00.8")
    assert rows[2][:3] == ["0.05", "0.5", "0 to 1"]
    assert rows[2][3].startswith("–")


def test_claims_that_no_run_is_meant_to_show_have_no_column(tiny, pinned):
    heads, rows = comparison([pinned((0,), noise_std=0.5)], tiny.configure(noise_std=0.5), (1,), [])
    assert not {"shrinks", "stays"} & set(heads)
    assert all(len(row) == len(heads) for row in rows)


def test_a_run_of_other_settings_altogether_can_stand_beside_it(tiny, pinned):
    class Other(type(tiny.configure())):
        pass

    pin = pinned()
    pin.history.configs = (Other(lr=0.2),)
    assert run_names([pin], tiny.configure(), (0,)) == ["lr 0.2"]


def test_it_shows_the_run_as_it_was_at_a_step(pinned):
    pin = pinned()
    assert len(pin.panels(None)[0].marks[0].x) == 21
    assert len(pin.panels(50)[0].marks[0].x) == 6
    assert pin.panels(10_000) is pin.panels(None)
    assert pin.until(50).step == 50


def test_it_does_not_grow_and_its_pictures_are_thinned(tiny):
    history = History("tiny.one", [tiny.configure()], [0])
    picture = np.zeros((1, MEMORY // 8 // 4))
    for step in range(9):
        history.append(Frame(step, 100, {"norm": np.ones(1), "map": picture.copy()}, np.array([-1])))
    pin = Pin(tiny, history, [])
    history.append(Frame(9, 100, {"norm": np.ones(1)}, np.array([-1])))
    assert pin.history.nbytes <= MEMORY
    assert pin.history.at("map").tolist() == [0, 4, 8]
    assert len(pin.history.at("norm")) == 9
    assert len(history.at("map")) == 9


def test_as_plain_data_it_is_what_trains_it_again(tiny, pinned):
    plain = pinned((3,), lr=0.2).asdict()
    assert plain == {"settings": tiny.configure(lr=0.2).asdict(), "seeds": [3]}
