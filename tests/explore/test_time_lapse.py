"""Looking back at a run, by setting the real widgets."""

import pytest

from dyntoolkit.explore.dashboard import Dashboard
from dyntoolkit.explore.runner import State
from dyntoolkit.explore.time_lapse import CLAIMS_NOTE, TimeLapse


@pytest.fixture
def lapse():
    looked = []
    lapse = TimeLapse(looked.append)
    lapse.looked = looked
    yield lapse
    lapse.pause()


@pytest.fixture
def dashboard(tiny, until):
    dashboard = Dashboard(tiny, tiny.configure())
    dashboard.train()
    until(lambda: dashboard.claims and dashboard.runner.progress.state is State.FINISHED)
    yield dashboard
    dashboard.close()
    dashboard.runner.join(10)


def shown(dashboard):
    """The steps of the curve on the board."""
    (panel,) = dashboard.board._newest[0]
    return panel.marks[-1].x.tolist()


def test_nothing_to_look_back_at_before_the_first_frames(lapse):
    assert lapse.slider.disabled
    assert lapse.play.disabled
    lapse.extend([0, 10])
    assert not lapse.slider.disabled
    assert not lapse.play.disabled


def test_at_its_end_it_follows_a_growing_run(lapse):
    for end in (10, 20, 30):
        lapse.extend(range(0, end + 1, 10))
        assert lapse.step == end
    assert lapse.follows
    assert lapse.looked == []  # the run draws itself
    assert lapse.note.value == ""


def test_elsewhere_it_stays_while_the_run_goes_on_and_says_what_the_claims_refer_to(lapse):
    lapse.extend([0, 10, 20])
    lapse.slider.value = 480  # the nearest of three frames is in the middle
    assert lapse.looked == [10]
    assert lapse.slider.value == 500
    lapse.extend([0, 10, 20, 30])
    assert not lapse.follows
    assert lapse.step == 10
    assert lapse.slider.value == 333
    assert lapse.moment.value == "step 10"
    assert lapse.note.value == CLAIMS_NOTE
    lapse.slider.value = 1000
    assert lapse.follows
    assert lapse.note.value == ""


def test_an_arrow_key_moves_by_one_frame(lapse):
    lapse.extend(range(0, 50, 10))
    for key, step in ((-1, 30), (-1, 20), (1, 30), (1, 40), (-1, 30)):
        lapse.slider.value += key
        assert lapse.step == step
    assert lapse.looked == [30, 20, 30, 40, 30]


def test_the_range_of_the_slider_never_changes(lapse):
    before = (lapse.slider.min, lapse.slider.max)
    lapse.extend(range(0, 5000, 10))
    lapse.restart()
    assert (lapse.slider.min, lapse.slider.max) == before


def test_a_thinned_history_leaves_it_at_the_nearest_earlier_step(lapse):
    lapse.extend([0, 10, 20, 30, 40])
    lapse.slider.value = 750
    lapse.extend([0, 20, 40])
    assert lapse.step == 20


def test_playing_goes_from_the_first_frame_to_the_last(lapse, until):
    lapse.extend(range(0, 60, 10))
    lapse.speed.value = 40.0
    lapse.play.click()
    assert lapse.play.description == "Pause"
    until(lambda: lapse.play.description == "Play")
    assert lapse.looked == [0, 10, 20, 30, 40, 50]


def test_playing_can_be_paused_and_goes_on_from_there(lapse, until):
    lapse.extend(range(2000))
    lapse.play.click()
    until(lambda: lapse.step >= 2)
    lapse.play.click()
    stopped = lapse.step
    assert lapse.play.description == "Play"
    assert stopped < 1999
    lapse.play.click()
    until(lambda: lapse.step > stopped)
    assert lapse.looked == sorted(lapse.looked)


def test_the_figure_is_that_of_the_chosen_step_and_the_claims_stay(dashboard):
    claims = dashboard.claims_html.value
    assert shown(dashboard) == list(range(0, 201, 10))
    dashboard.lapse.slider.value = 150
    assert shown(dashboard) == [0, 10, 20, 30]
    assert dashboard.board._newest[1] == 30
    assert dashboard.claims_html.value == claims
    dashboard.lapse.slider.value = 1000
    assert shown(dashboard) == list(range(0, 201, 10))


def test_a_new_run_is_followed_again(dashboard, until):
    dashboard.lapse.slider.value = 150
    dashboard.controls.widget("lr").value = 0.1
    until(lambda: dashboard.history.config.lr == 0.1 and dashboard.history.done and dashboard.claims)
    assert dashboard.lapse.follows
    assert shown(dashboard) == list(range(0, 201, 10))


def test_a_pinned_curve_stays_behind_while_one_looks_back(dashboard):
    dashboard.pin()
    dashboard.lapse.slider.value = 150
    (panel,) = dashboard.board._newest[0]
    assert panel.marks[0].name == "pinned"
    assert len(panel.marks[0].x) == 21
