"""Looking back at a run, by setting the real widgets."""

import threading
from dataclasses import replace

import pytest

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.runner import State
from dyntoolkit.dashboard.time_lapse import CLAIMS_NOTE, TimeLapse


@pytest.fixture
def lapse():
    looked = []
    lapse = TimeLapse(lambda: looked.append(lapse.step))
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
    dashboard.runner.join(60)


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


def test_elsewhere_it_stays_while_the_run_goes_on_and_says_what_the_claims_refer_to(lapse, until):
    lapse.extend([0, 10, 20])
    lapse.slider.value = 1
    until(lambda: lapse.looked == [10])
    lapse.extend([0, 10, 20, 30])
    assert not lapse.follows
    assert lapse.step == 10
    assert (lapse.slider.value, lapse.slider.max) == (1, 3)
    assert lapse.moment.value == lapse.slider.text == "step 10"
    assert lapse.note.value == CLAIMS_NOTE
    lapse.slider.value = 3
    assert lapse.follows
    assert lapse.note.value == ""


def test_a_slow_figure_is_drawn_outside_the_callback_and_only_for_the_newest_place(until):
    free, looked = threading.Event(), []

    def slow():
        looked.append(lapse.step)
        free.wait(60)

    lapse = TimeLapse(slow)
    lapse.extend(range(10))
    lapse.slider.value = 8
    until(lambda: looked == [8])
    for place in (7, 6, 5, 4):  # as an arrow key that is held down: every one counts
        lapse.slider.value = place
        assert lapse.step == place
    free.set()
    until(lambda: looked == [8, 4])


def test_a_place_beyond_the_frames_is_the_last_one(lapse):
    lapse.extend([0, 10, 20])
    lapse.slider.value = 7
    assert (lapse.slider.value, lapse.step) == (2, 20)


def test_a_thinned_history_leaves_it_at_the_nearest_earlier_step(lapse):
    lapse.extend([0, 10, 20, 30, 40])
    lapse.slider.value = 3
    lapse.extend([0, 20, 40])
    assert lapse.step == 20


def test_playing_goes_from_the_first_frame_to_the_last(lapse, until):
    lapse.extend(range(0, 60, 10))
    places = []
    lapse.slider.observe(lambda change: places.append(change["new"]), "value")
    lapse.play.click()
    assert lapse.play.description == "Pause"
    until(lambda: lapse.play.description == "Play")
    assert places == [0, 1, 2, 3, 4, 5]
    until(lambda: lapse.looked[-1] == 50)


def test_a_run_of_many_frames_is_played_in_strides_up_to_its_end(lapse, until):
    lapse.extend(range(5000))
    lapse.slider.value = 4985
    lapse.play.click()
    until(lambda: lapse.play.description == "Play")
    assert lapse.follows
    until(lambda: lapse.looked[-1] == 4999)
    assert set(lapse.looked) == {4985, 4999}


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


def test_the_figure_is_that_of_the_chosen_step_and_the_claims_stay(dashboard, until):
    claims = dashboard.claims_html.value
    assert shown(dashboard) == list(range(0, 201, 10))
    dashboard.lapse.slider.value = 3
    until(lambda: shown(dashboard) == [0, 10, 20, 30])
    assert dashboard.board._newest[1] == 30
    assert dashboard.claims_html.value == claims
    dashboard.lapse.slider.value = dashboard.lapse.slider.max
    until(lambda: shown(dashboard) == list(range(0, 201, 10)))


def test_looking_back_during_a_run_stays_there_and_training_goes_on(tiny, until):
    dashboard = Dashboard(tiny, tiny.configure(steps=1_000_000))
    dashboard.train()
    until(lambda: dashboard.lapse.step >= 100)
    dashboard.lapse.slider.value = 3
    until(lambda: shown(dashboard) == [0, 10, 20, 30])
    step = dashboard.history.step
    until(lambda: dashboard.history.step > step + 100)
    dashboard.stop()
    until(lambda: dashboard.runner.progress.state is State.STOPPED)
    until(lambda: dashboard.lapse._steps[-1] == dashboard.history.step // 10 * 10)
    assert shown(dashboard) == [0, 10, 20, 30]
    dashboard.lapse.slider.value = dashboard.lapse.slider.max
    until(lambda: shown(dashboard) == dashboard.history.at("norm").tolist())
    dashboard.close()
    dashboard.runner.join(60)


def test_a_figure_that_fails_is_told_and_the_next_step_works(dashboard, tiny, until):
    def broken(history):
        raise ZeroDivisionError("no figure")

    work = dashboard.view.of
    work.experiment = replace(tiny, panels=broken)
    dashboard.lapse.slider.value = 3
    until(lambda: dashboard.monitor.status.error)
    assert "no figure" in dashboard.monitor.status.text
    work.experiment = tiny
    dashboard.lapse.slider.value = 4
    until(lambda: shown(dashboard) == [0, 10, 20, 30, 40])


def test_a_new_run_is_followed_again(dashboard, until):
    dashboard.lapse.slider.value = 3
    dashboard.sliders.widget("lr").value = 0.1
    until(lambda: dashboard.history.config.lr == 0.1 and dashboard.history.done and dashboard.claims)
    assert dashboard.lapse.follows
    assert shown(dashboard) == list(range(0, 201, 10))


def test_pinned_runs_look_back_to_the_same_step(dashboard, until):
    dashboard.pin()
    dashboard.sliders.widget("lr").value = 0.1
    until(lambda: dashboard.history.config.lr == 0.1 and dashboard.history.done and dashboard.claims)
    assert len(dashboard.board._newest[0][0].marks[0].x) == 21
    dashboard.lapse.slider.value = 3
    until(lambda: len(dashboard.board._newest[0][0].marks[0].x) == 4)
    (panel,) = dashboard.board._newest[0]
    assert panel.marks[1].x.tolist() == [0, 10, 20, 30]
    assert panel.marks[1].name == "lr 0.05"
