"""The dashboard with its real widgets, driven as a browser would drive them."""

import threading
from dataclasses import replace

import ipywidgets as widgets
import pytest
from ipywidgets.widgets.widget import _instances

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.runner import State
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Map, Preset
from dyntoolkit.experiment.claims import Sweep

LONG = {"steps": 1_000_000}


@pytest.fixture
def open_dashboard(tiny):
    opened = []

    def make(*args, seed=0, n_seeds=1, **changes):
        dashboard = Dashboard(tiny, tiny.configure(*args, **changes), seed, n_seeds)
        opened.append(dashboard)
        return dashboard

    yield make
    for dashboard in opened:
        dashboard.close()
        dashboard.runner.join(60)


@pytest.fixture
def dashboard(open_dashboard):
    return open_dashboard()


def state(dashboard, wanted):
    return lambda: dashboard.runner.progress.state is wanted


def status(dashboard):
    return dashboard.monitor.status


def trained(dashboard):
    """The settings and seeds of the finished run."""
    return lambda: state(dashboard, State.FINISHED)() and dashboard.history.done


def test_a_run_fills_history_board_and_claims(tiny, dashboard, until):
    assert "judged at the end of the run" in dashboard.claims_html.value
    dashboard.train()
    until(trained(dashboard))
    assert dashboard.history.config == tiny.configure()
    assert dashboard.board._newest[1] == 200
    assert [verdict.id for verdict in dashboard.claims] == ["shrinks", "stays"]
    assert "✓ holds" in dashboard.claims_html.value
    assert "– not expected here" in dashboard.claims_html.value
    assert "threshold &lt; 0.5" in dashboard.claims_html.value
    assert status(dashboard).text.startswith("Finished: seed 0")
    assert not status(dashboard).error
    assert dashboard.monitor.bar.value == 1
    assert "step 200 of 200" in dashboard.monitor.numbers.value


def test_a_claim_that_fails_is_said_in_words(open_dashboard, until):
    dashboard = open_dashboard("slow")
    dashboard.train()
    until(trained(dashboard))
    assert "✗ does not hold" in dashboard.claims_html.value


def test_moving_a_slider_trains_anew(dashboard, until):
    dashboard.sliders.widget("lr").value = 0.2
    until(trained(dashboard))
    assert dashboard.history.config.lr == 0.2


@pytest.mark.usefixtures("long_debounce")
def test_twenty_quick_moves_start_one_run(tiny, dashboard, until, monkeypatch):
    started = []
    simulate = tiny.simulate
    object.__setattr__(tiny, "simulate", lambda configs, seeds: started.append(configs) or simulate(configs, seeds))
    try:
        for k in range(20):
            dashboard.sliders.widget("noise_std").value = 0.02 * (k + 1)
        until(trained(dashboard))
    finally:
        object.__setattr__(tiny, "simulate", simulate)
    assert [configs[0].noise_std for configs in started] == [0.4]


def test_a_preset_moves_the_sliders_and_trains_once(tiny, dashboard, until):
    dashboard.presets.buttons["slow"].click()
    until(trained(dashboard))
    assert dashboard.sliders.widget("init_scale").value == 0.73
    assert dashboard.history.config == tiny.configure("slow")
    assert "dyn-active" in dashboard.presets.buttons["slow"]._dom_classes
    assert "dyn-active" not in dashboard.presets.buttons["plain"]._dom_classes


def test_the_chosen_preset_can_be_run_again(dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    first = dashboard.history
    dashboard.presets.buttons["plain"].click()
    until(lambda: dashboard.history is not first)
    until(trained(dashboard))


@pytest.mark.usefixtures("long_debounce")
def test_seeds_and_their_number(dashboard, until):
    dashboard.seed.value = 5
    dashboard.n_seeds.value = 3
    until(trained(dashboard))
    assert dashboard.history.seeds == (5, 6, 7)
    assert "inside for 3 of 3 seeds" in dashboard.claims_html.value


def test_stop(open_dashboard, until):
    dashboard = open_dashboard(**LONG)
    dashboard.buttons["run"].click()
    until(state(dashboard, State.RUNNING))
    dashboard.buttons["stop"].click()
    until(lambda: "not judged" in dashboard.claims_html.value)
    step = dashboard.history.step
    assert f"stopped at step {step:,}: not judged" in dashboard.claims_html.value
    assert status(dashboard).text.startswith("Stopped")
    assert dashboard.claims == []
    assert not dashboard.history.done


def test_pause_step_and_resume(open_dashboard, until):
    dashboard = open_dashboard(steps=100_000)
    dashboard.buttons["step"].click()
    until(state(dashboard, State.PAUSED))
    assert dashboard.history.step == 0
    assert dashboard.buttons["pause"].description == "Resume"
    dashboard.buttons["step"].click()
    until(lambda: dashboard.history.step == 10)
    dashboard.buttons["pause"].click()
    until(state(dashboard, State.RUNNING))
    until(lambda: dashboard.buttons["pause"].description == "Pause")
    dashboard.buttons["pause"].click()
    until(state(dashboard, State.PAUSED))
    dashboard.buttons["run"].click()
    until(state(dashboard, State.RUNNING))


def test_reset(tiny, open_dashboard, until):
    dashboard = open_dashboard("noisy", seed=3, n_seeds=2)
    dashboard.seed.value = 9
    dashboard.buttons["reset"].click()
    until(trained(dashboard))
    assert dashboard.history.config == tiny.configure()
    assert dashboard.history.seeds == (3, 4)


def test_a_rule_between_fields_is_said_and_the_next_value_works(dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    before, figure = dashboard.history, dashboard.board._newest
    dashboard.sliders.widget("noise_std").value = 0.9
    until(lambda: dashboard.history is not before)
    until(trained(dashboard))
    before, figure = dashboard.history, dashboard.board._newest
    dashboard.sliders.widget("kind").value = "sam"
    assert status(dashboard).error
    assert "at most 0.5" in status(dashboard).text
    assert dashboard.history is before
    assert dashboard.board._newest is figure
    dashboard.sliders.widget("noise_std").value = 0.4
    until(lambda: dashboard.history is not before)
    until(trained(dashboard))
    assert not status(dashboard).error


def test_an_error_during_a_run_stays_said(open_dashboard, until):
    dashboard = open_dashboard(kind="sam", **LONG)
    dashboard.train()
    until(state(dashboard, State.RUNNING))
    dashboard.sliders.widget("noise_std").value = 0.9
    until(state(dashboard, State.STOPPED))
    assert "at most 0.5" in status(dashboard).text
    assert status(dashboard).error


def test_divergence_names_step_and_slider_and_the_next_run_works(dashboard, until):
    dashboard.sliders.widget("steps").value = 2000
    dashboard.sliders.widget("lr").value = 4
    until(lambda: trained(dashboard)() and dashboard.history.config.lr == 4)
    until(lambda: status(dashboard).error)
    lost = int(dashboard.history.diverged[0])
    assert 0 < lost < 2000
    assert f"seed 0 at step {lost:,}" in status(dashboard).text
    assert "Lower “Learning rate”, or else “Initialization scale”" in status(dashboard).text
    dashboard.sliders.widget("lr").value = 0.1
    until(lambda: trained(dashboard)() and dashboard.history.config.lr == 0.1)
    assert not status(dashboard).error


def test_warnings_of_the_settings_are_shown(open_dashboard, until):
    dashboard = open_dashboard(lr=1.5)
    dashboard.train()
    until(trained(dashboard))
    assert "lr above 1 oscillates." in status(dashboard).text


def test_a_failing_figure_is_told_and_the_next_run_works(tiny, dashboard, until, monkeypatch):
    def broken(history):
        raise ZeroDivisionError("no figure")

    panels = tiny.panels
    object.__setattr__(tiny, "panels", broken)
    try:
        dashboard.train()
        until(lambda: status(dashboard).error)
        assert "no figure" in status(dashboard).text
    finally:
        object.__setattr__(tiny, "panels", panels)
    dashboard.train()
    until(trained(dashboard))
    assert not status(dashboard).error


def test_the_negative_controls_fill_in(dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    main = dashboard.history
    dashboard.controls_run.click()
    until(lambda: dashboard.claims and dashboard.claims[0].controls)
    assert "control with tiny steps" in dashboard.claims_html.value
    assert "as it must be" in dashboard.claims_html.value
    assert dashboard.history is main


def test_the_figure_of_all_runs_fills_in_as_they_finish_and_goes_with_the_next_run(open_dashboard, tiny, until):
    dashboard = open_dashboard()
    drawn = []
    dashboard.experiment = replace(tiny, sweep_panels=lambda rows: drawn.append({c.lr for c, _ in rows}) or [])
    dashboard.train()
    until(trained(dashboard))
    assert dashboard.sweep_board.layout.display == "none"
    dashboard.controls_run.click()
    until(lambda: dashboard.claims[0].controls)
    assert drawn == [{0.05, 0.001}]  # the own run and its control, which shares no loop with it
    assert dashboard.sweep_board.layout.display == "block"
    dashboard.train()
    assert dashboard.sweep_board.layout.display == "none"
    until(trained(dashboard))


def test_the_negative_controls_without_a_finished_run(open_dashboard, until):
    dashboard = open_dashboard(n_seeds=2)
    dashboard.controls_run.click()
    until(lambda: dashboard.claims and dashboard.claims[0].controls)
    assert len(dashboard.claims[0].value) == 2


def test_close_ends_the_worker(open_dashboard, until):
    dashboard = open_dashboard(**LONG)
    dashboard.train()
    until(state(dashboard, State.RUNNING))
    dashboard.close()
    dashboard.runner.join(60)
    assert not dashboard.runner._thread.is_alive()


def test_close_leaves_no_widget_behind(tiny):
    before = set(_instances)
    dashboard = Dashboard(tiny)
    dashboard.elsewhere(lambda: dashboard.claims_html)
    dashboard.build()
    assert len(_instances) > len(before) + 20
    dashboard.close()
    assert set(_instances) == before


def test_an_experiment_without_claims_has_no_list_of_them_and_leaves_nothing_behind(tiny, until):
    before = set(_instances)
    dashboard = Dashboard(replace(tiny, claims=()))
    dashboard.train()
    until(trained(dashboard))
    assert dashboard.claims_html not in _all_inside(dashboard.box)
    assert dashboard.buttons["run"] in _all_inside(dashboard.box)
    dashboard.close()
    dashboard.runner.join(60)
    assert set(_instances) == before


def _all_inside(widget):
    """A widget and all that it contains."""
    return [widget, *(inner for child in getattr(widget, "children", ()) for inner in _all_inside(child))]


def test_a_retired_dashboard_keeps_its_figure_only(open_dashboard, until):
    dashboard = open_dashboard(**LONG)
    dashboard.train()
    until(state(dashboard, State.RUNNING))
    dashboard.retire()
    dashboard.runner.join(60)
    assert status(dashboard).text.startswith("Ended")
    assert dashboard.sliders.widget("lr").disabled
    assert dashboard.buttons["run"].disabled


def table(dashboard):
    """The rows of the pinned runs: name, colour, cells; and the heads."""
    (pins,) = dashboard._pins_table.box.children
    return pins.heads, [(row["name"], *row["cells"]) for row in pins.rows]


def test_pin_keeps_the_curves_for_comparison(dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    pinned = dashboard.history["norm"][:, 0]
    dashboard.buttons["pin"].click()
    assert table(dashboard)[0] == ["shrinks"]  # it does not meet what "stays" needs
    dashboard.sliders.widget("lr").value = 0.2
    until(lambda: trained(dashboard)() and dashboard.history.config.lr == 0.2)
    (panel,) = dashboard.board._newest[0]
    new, old = panel.marks
    assert (old.y == pinned).all()
    assert not (new.y == pinned).all()
    heads, (now, kept) = table(dashboard)
    assert heads == ["lr", "shrinks"]
    assert now[:2] == ("now", "0.2")
    assert kept[:2] == ("lr 0.05", "0.05")
    assert now[2].startswith("✓")
    dashboard._pins_table.box.children[0]._handle_custom_msg({"kind": "unpin", "numbers": [0]}, [])
    (panel,) = dashboard.board._newest[0]
    assert len(panel.marks) == 1
    assert dashboard._pins_table.box.children == ()


def test_nothing_to_pin_is_not_pinned(dashboard):
    dashboard.pin()
    assert dashboard.pins == ()


def test_a_seventh_run_is_refused_in_a_sentence(dashboard, until):
    for seed in range(7):
        dashboard.seed.value = seed
        dashboard.train()
        until(lambda seed=seed: trained(dashboard)() and dashboard.history.seeds == (seed,))
        dashboard.pin()
    assert [pin.history.seeds for pin in dashboard.pins] == [(seed,) for seed in range(6)]
    assert status(dashboard).text == "6 runs are pinned: unpin one to pin another."
    assert len(dashboard.board._newest[0][0].marks) == 7
    dashboard.pin_control()
    assert state(dashboard, State.FINISHED)()  # it is not trained in vain
    dashboard.unpin(range(6))
    assert dashboard.pins == ()


def test_control_trains_a_negative_control_and_pins_it(dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    own = dashboard.history
    dashboard.buttons["control"].click()
    until(lambda: dashboard._pins_table.box.children)  # the table is shown after the run is pinned
    (pin,) = dashboard.pins
    assert pin.history.config == dashboard.config.replace(lr=0.001)
    assert pin.history.done
    assert (dashboard.history, pin.label) == (own, "with tiny steps")
    assert [verdict.id for verdict in pin.verdicts] == ["shrinks", "stays"]
    assert table(dashboard)[1][1][:2] == ("lr 0.001", "0.001")
    until(state(dashboard, State.FINISHED))
    dashboard.buttons["control"].click()
    assert status(dashboard).text == "All negative controls are pinned."
    assert len(dashboard.pins) == 1


def test_a_control_comes_after_the_run_that_it_controls(dashboard, until):
    dashboard.pin_control()
    until(lambda: dashboard.pins)
    assert dashboard.history.done
    assert dashboard.history.config == dashboard.config
    assert dashboard.claims


def test_where_no_claim_is_expected_there_is_no_control(open_dashboard, until):
    dashboard = open_dashboard(noise_std=0.2)
    dashboard.pin_control()
    assert status(dashboard).text == "No claim that is expected in these settings has a negative control."
    assert dashboard.runner._thread is None


def test_pinned_runs_are_there_in_the_dashboard_that_takes_its_place(tiny, dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    dashboard.pin()
    later = Dashboard(tiny, tiny.configure(lr=0.1), pins=dashboard.pins)
    later.train()
    until(trained(later))
    assert [name for name, *_ in table(later)[1]] == ["now", "lr 0.05"]
    assert len(later.board._newest[0][0].marks) == 2
    later.close()
    later.runner.join(60)


def test_a_page_that_opens_hears_again_what_was_said_meanwhile(dashboard, monkeypatch):
    sent = []
    dashboard.build()
    monkeypatch.setattr(widgets.HTML, "send_state", lambda widget, *_: sent.append(widget))
    dashboard.board._handle_custom_msg({"kind": "drawn", "frame": 1}, [])
    assert sent == []
    dashboard.board._handle_custom_msg({"kind": "attach", "view": "v"}, [])
    assert dashboard.claims_html in sent
    assert dashboard.monitor.numbers in sent


# Not built before a reader comes near


@pytest.fixture
def far(open_dashboard):
    """A dashboard further down a page, displayed."""
    far = open_dashboard()
    far.train_when_near()
    far.show()
    return far


def come_near(placeholder):
    """What the browser says when it is about a screen's height away."""
    placeholder._handle_custom_msg({"kind": "near"}, [])


def test_far_from_a_reader_a_dashboard_is_one_light_widget(tiny, far):
    assert len(_all_inside(far._place)) == 2
    (placeholder,) = far._place.children
    assert (placeholder.title, placeholder.text) == ("A tiny experiment", "Does a weight shrink?")
    assert set(far._place._dom_classes) == {"dyn-experiment-tiny-one", "dyn-placeholder"}
    assert (far.history, far.claims, far.config, far.seeds) == (None, [], tiny.configure(), (0,))
    assert not far._built


def test_where_a_reader_comes_near_it_is_built_and_trained_once(far, until):
    (placeholder,) = far._place.children
    come_near(placeholder)
    assert far._built
    assert placeholder.heard
    assert far._place.children[0] is placeholder  # stays in sight until the figure is there
    assert set(far._place._dom_classes) == {"dyn-experiment-tiny-one", "dyn-dashboard"}
    until(trained(far))
    history = far.history
    come_near(placeholder)
    assert far.runner._job is None  # near again, it does not train again
    assert far.history is history


@pytest.mark.parametrize("name", sorted(Dashboard.__annotations__))
def test_python_finds_every_widget_of_a_dashboard_that_is_not_built(far, name):
    assert getattr(far, name) is getattr(far, name)
    assert far._built
    assert far.runner._thread is None  # it has no job yet
    assert status(far).text == "Trains as soon as it is in sight."


def test_python_finds_its_box_and_nothing_that_there_is_not(far):
    assert not hasattr(far, "_repr_html_")
    assert not hasattr(far, "slider")
    assert not far._built
    assert far.buttons["run"] in _all_inside(far.box)


def test_built_by_python_it_still_trains_when_a_reader_comes_near(far, until):
    assert far.sliders.values()["lr"] == 0.05
    assert far.history is None
    come_near(far._place.children[0])
    until(trained(far))


def test_trained_by_python_it_does_not_train_again_when_a_reader_comes_near(far, until):
    far.train()
    until(trained(far))
    history = far.history
    come_near(far._place.children[0])
    assert far.runner._job is None
    assert far.history is history


def test_a_cell_elsewhere_builds_it_when_a_reader_comes_near_and_does_not_train_it(far, until):
    table = far.elsewhere(lambda: far.claims_html)
    button = far.elsewhere(lambda: far.controls_run)
    assert not far._built
    assert "dyn-placeholder" in table._dom_classes
    (placeholder,) = table.children
    come_near(placeholder)
    assert far.runner._thread is None  # it has no job yet
    assert (table.children, button.children) == ((far.claims_html,), (far.controls_run,))
    assert "dyn-placeholder" not in table._dom_classes + button._dom_classes
    assert placeholder.comm is None  # closed
    come_near(far._place.children[0])
    until(lambda: "✓ holds" in table.children[0].value)


def test_displayed_without_waiting_it_is_built(open_dashboard):
    dashboard = open_dashboard()
    dashboard.show()
    assert dashboard._built


def test_closed_before_it_is_built_it_leaves_nothing_behind(tiny):
    before = set(_instances)
    dashboard = Dashboard(tiny)
    dashboard.train_when_near()
    dashboard.elsewhere(lambda: dashboard.claims_html)
    assert len(_instances) > len(before)
    dashboard.close()
    assert set(_instances) == before
    assert not dashboard._built


def test_closed_after_it_was_built_it_leaves_nothing_behind(tiny):
    before = set(_instances)
    dashboard = Dashboard(tiny)
    dashboard.train_when_near()
    dashboard.elsewhere(lambda: dashboard.claims_html)
    come_near(dashboard._place.children[0])
    dashboard.close()
    assert set(_instances) == before


def test_retired_before_it_is_built_it_says_so_and_a_reader_does_not_build_it(far):
    (placeholder,) = far._place.children
    far.retire()
    assert placeholder.text.startswith("Ended")
    come_near(placeholder)
    assert not far._built
    assert far.buttons["run"].disabled  # Python still finds the widgets
    assert status(far).text.startswith("Ended")


def test_two_threads_that_ask_at_once_find_the_same_widgets(tiny, open_dashboard, monkeypatch):
    begun, made = threading.Barrier(2), []
    make = Dashboard._make
    monkeypatch.setattr(Dashboard, "_make", lambda self: made.append(1) or make(self))

    def ask(dashboard, found):
        begun.wait(60)
        found.append(dashboard.claims_html)

    dashboard, found = open_dashboard(), []
    threads = [threading.Thread(target=ask, args=(dashboard, found)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[0] is found[1]
    assert made == [1]


def test_a_wrong_preset_is_said_before_anything_is_built(tiny):
    with pytest.raises(InputError, match="lr takes a number from"):
        Dashboard(replace(tiny, presets={**tiny.presets, "wrong": Preset("beyond all", {"lr": 99})}))


def test_the_map_fills_in_and_leaves_run_and_claims_alone(tiny, until):
    over = Map("Shrinking", "ratio", "lr", "dim", (0.01, 0.1), (1, 3), tiny.simulate, tiny_ratio)
    dashboard = Dashboard(replace(tiny, map=over), tiny.configure())
    try:
        dashboard.map_run.click()  # before its own run: that is trained first
        until(trained(dashboard))
        until(lambda: status(dashboard).text.startswith("Finished: the map"))
        own = dashboard.history
        assert own.configs == (tiny.configure(),)
        (panel,) = dashboard.map_board._newest[0]
        assert panel.marks[0].z.shape == (2, 2)
        assert (panel.marks[0].z < 1).all()
        assert dashboard.map_board.layout.display == "block"
        claims, first = dashboard.claims, dashboard.map_board._newest
        dashboard.map_run.click()
        until(lambda: dashboard.map_board._newest is not first and state(dashboard, State.FINISHED)())
        assert dashboard.history is own
        assert dashboard.claims is claims
    finally:
        dashboard.close()
        dashboard.runner.join(60)


def tiny_ratio(history):
    return history["norm"][-1] / history["norm"][0]


def test_claims_that_all_need_further_runs_say_so_at_the_end(tiny, until):
    sweep = Sweep(({},), lambda rows: rows[0][tiny.claims[0].metric], least_seeds=3)
    several = replace(tiny.claims[0], id="several", sweep=sweep)
    dashboard = Dashboard(replace(tiny, claims=(several,)), tiny.configure())
    dashboard.train()
    until(state(dashboard, State.FINISHED))
    assert "needs further runs" in dashboard.claims_html.value
    assert "judged at the end" not in dashboard.claims_html.value
    dashboard.close()
