"""The notebooks in pages of `dyntoolkit serve`, used as a visitor would."""

import os

import pytest
from axe import serious
from dashboards import Dashboard
from looks import CUT, FAINT, FOCUSED, INKS, STICKING_OUT, set_width
from playwright.sync_api import expect

from dyntoolkit.app.gallery import card_of, notebooks
from dyntoolkit.catalog.registry import find
from dyntoolkit.phenomena import EXPERIMENTS

pytestmark = pytest.mark.browser

NOTEBOOKS = {
    "label_noise": "label_noise.linear",
    "cross_task_linearity": "cross_task_linearity.digits",
    "loss_spikes": "loss_spikes.mlp",
    "condensation": "condensation.directions",
    "grokking": "grokking.oned",
    "schedules": "schedules.batch_size",
    "flatness": "flatness.late_sam",
    "chaos": "chaos.amplification",
    "attention": "attention.one_step",
    "kernels": "kernels.width",
    "laboratory": "laboratory.network",
}
TITLES = {notebook: card_of(notebooks() / f"{notebook}.ipynb").title for notebook in NOTEBOOKS}
SHORT = {
    "label_noise": "steps=500",
    "cross_task_linearity": "steps=30&pretrain_steps=30",
    "loss_spikes": "steps=500&width=5&n_train=20",
    "condensation": "steps=50",
    "grokking": "steps=500&width=20",
    "schedules": "data=8000&n_features=100",
    "flatness": "steps=500",
    "chaos": "steps=500&width=16",
    "attention": "steps=100&batch_size=32",
    "kernels": "steps=100&width=30",
    "laboratory": "steps=50",
}
MAIN = [
    (notebook, field)
    for notebook, name in NOTEBOOKS.items()
    for field, control in find(name).config.sliders().items()
    if control.main and control.high > control.low  # a number
]
DIVERGING = {  # from the first preset: sliders and keys, in an order in which nothing is refused; what is to be lowered
    "label_noise": (
        [(name, "End") for name in ("batch_size", "init_scale", "lr", "dim", "kick_std")],
        "learning rate η",
    ),
    "cross_task_linearity": (
        [("batch_size", "Home"), ("init_scale", "End"), ("depth", "End"), ("pretrain_lr", "End")],
        "pretraining learning rate",
    ),
}


@pytest.fixture(scope="module")
def pages(module_context, dyntoolkit_server):
    """pages(notebook): its dashboard, in a page that the tests of this module share."""
    opened = {}

    def page(notebook):
        if notebook not in opened:
            opened[notebook] = Dashboard(module_context.new_page())
            opened[notebook].open(f"{dyntoolkit_server}/voila/render/{notebook}.ipynb?{SHORT[notebook]}")
        opened[notebook].page.bring_to_front()  # a page behind another one is slow
        return opened[notebook]

    return page


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    return request.param


@pytest.fixture
def dashboard(notebook, pages):
    """Either notebook's, with a finished run of some settings and one seed."""
    dashboard = pages(notebook)
    if not dashboard.status().startswith("Finished: seed "):
        with dashboard.run_to_the_end():
            dashboard.button("reset").click()
    return dashboard


@pytest.fixture
def noise(pages):
    """That of label noise, with a finished run of 500 steps of the first preset."""
    dashboard = pages("label_noise")
    dashboard.button("reset").click()
    dashboard.wait_for_value("steps", "30000")
    with dashboard.run_to_the_end():
        dashboard.press("steps", "Home")
    return dashboard


@pytest.fixture
def long_run(noise):
    """That of label noise in the midst of 32 runs of 60,000 steps, with a curve drawn."""
    before = noise.numbers()
    noise.press("n_seeds", "End")
    noise.press("steps", "End")
    noise.wait_for_new_curve(before)
    return noise


def is_sound(dashboard):
    """Every panel shows something, and no error is said."""
    dashboard.wait_until_drawn()
    return dashboard.alarm() == "" and dashboard.status() != ""


# Opening


def test_the_gallery_leads_to_every_notebook_and_back(browser_page, dyntoolkit_server):
    browser_page.goto(dyntoolkit_server)
    cards = browser_page.locator(".dyntoolkit-gallery a")
    cards.first.wait_for()
    links = {card.inner_text(): card.get_attribute("href") for card in cards.all()}
    assert links == {title: f"{notebook}.ipynb" for notebook, title in TITLES.items()}
    pictures = browser_page.locator(".dyntoolkit-gallery img").all()
    assert len(pictures) == len(links)
    assert all(picture.evaluate("(picture) => picture.naturalWidth") > 100 for picture in pictures)
    for title in (TITLES["label_noise"], TITLES["laboratory"]):  # the others are opened by the next test
        browser_page.locator(".dyntoolkit-gallery").get_by_role("link", name=title).click()
        browser_page.locator("h1", has_text=title).wait_for()
        browser_page.get_by_role("link", name="All notebooks").click()
        browser_page.locator(".dyntoolkit-gallery a").first.wait_for()


def test_a_page_opens_with_a_run_drawn_and_judged(dashboard, notebook):
    assert is_sound(dashboard)
    assert dashboard.page.locator("h1").first.inner_text().startswith(TITLES[notebook])
    assert dashboard.status().startswith("Finished: seed 0 after ")
    assert len(dashboard.claims()) == len(find(NOTEBOOKS[notebook]).claims)
    dashboard.page.locator("mjx-container").nth(5).wait_for(state="attached")  # formulas are set
    assert dashboard.page.locator("pre:has-text('def ')").count() >= 2  # the code that runs
    assert "Traceback" not in dashboard.page.locator("body").inner_text()


def test_a_link_sets_the_sliders_and_after_a_reload_everything_works_again(browser_page, dyntoolkit_server):
    dashboard = Dashboard(browser_page)
    dashboard.open(f"{dyntoolkit_server}/voila/render/label_noise.ipynb?preset=lazy_control&seed=3&steps=500")
    shown = {field: dashboard.value(field) for field in ("lr", "noise_std", "init_scale", "steps")}
    assert shown == {"lr": "0.2", "noise_std": "0", "init_scale": "1.2", "steps": "500"}
    assert dashboard.root.locator(".dyn-field-seed input").input_value() == "3"
    assert dashboard.status().startswith("Finished: seed 3 ")
    before = dashboard.numbers()
    dashboard.page.reload()
    dashboard.wait_until_finished()
    assert dashboard.numbers() == before  # a link replays a run
    with dashboard.run_to_the_end():
        dashboard.press("noise_std", "ArrowRight")
    assert dashboard.numbers() != before
    assert is_sound(dashboard)


def test_a_link_with_a_wrong_value_is_named_and_the_dashboard_opens_without_it(browser_page, dyntoolkit_server):
    dashboard = Dashboard(browser_page)
    browser_page.goto(f"{dyntoolkit_server}/voila/render/label_noise.ipynb?noise_std=7")
    browser_page.get_by_text("Not followed in this link: noise_std takes a number from 0 to 4, got 7.").wait_for()
    dashboard.wait_for_new_curve([])
    assert dashboard.value("noise_std") == "2"


# Experiments further down a page

FURTHER = [
    (notebook, experiment.name)
    for notebook, first in NOTEBOOKS.items()
    for experiment in EXPERIMENTS
    if experiment.name.startswith(f"{notebook}.") and experiment.name != first
]

LENGTH = {  # the keys that make a run as long as it has to be, where that is not `steps` at its lowest; steps last
    "label_noise.map": {"n_init_scale": "Home", "n_noise_std": "Home", "steps": "Home"},
    "label_noise.features": {"steps": "ArrowRight"},  # samples may be dropped at step 2000: it takes a step more
    "cross_task_linearity.spawn": {"width": "Home", "steps": "Home"},
    "cross_task_linearity.decentralized": {"rounds": "Home"},
    "flatness.escape": {"sam_steps": "Home", "steps": "Home"},
    "kernels.lr_transfer": {"n_train": "Home", "steps": "Home"},
    "condensation.final": {},  # a tolerance is to be reached
}


# Of the main sliders of an experiment further down. All those of the first ones are moved below, and `check` tries
# every experiment at any settings (tests/catalog/test_conformance.py).
MOVED = int(os.environ.get("DYNTOOLKIT_MOVED", "1"))


@pytest.mark.parametrize(("notebook", "name"), FURTHER)
def test_an_experiment_further_down_trains_when_it_comes_into_sight_and_follows_its_sliders(pages, notebook, name):
    dashboard = pages(notebook).on_the_same_page(name)
    experiment = find(name)
    dashboard.root.evaluate("(root) => root.scrollIntoView()")  # it is built when it is near
    dashboard.root.locator(".dyn-board").scroll_into_view_if_needed()
    dashboard.wait_until_finished()
    assert is_sound(dashboard)
    assert len(dashboard.claims()) == len(experiment.claims)
    controls, default = experiment.config.sliders(), experiment.configure()
    length = LENGTH.get(name, {"steps": "Home"})
    if any(not controls[size].main for size in length):
        dashboard.show_more_settings()
    if any(dashboard.value(size) != str(getattr(default, size)) for size in length):  # as a first try has left them
        with dashboard.run_to_the_end():
            dashboard.button("reset").click()
    whole = dashboard.root.locator(".dyn-board .dyntoolkit-board").get_attribute("data-step")
    for field in [field for field, control in controls.items() if control.main][:MOVED]:
        frame = dashboard.frame()
        dashboard.button("reset").click()
        for size, key in length.items():
            dashboard.wait_for_value(size, str(getattr(default, size)))
            dashboard.press(size, key)
        # The sliders are back in their places, and no older run is on its way any more.
        if length:
            dashboard.wait_until_finished_elsewhere(frame, whole)
        else:
            dashboard.wait_until_finished(frame)
        seen = []
        for end in ("End", "Home"):
            frame, alarm = dashboard.frame(), dashboard.alarm()  # that of the other end may still stand there
            if dashboard.moves(field, end):
                dashboard.wait_until_finished_or_alarmed(frame, alarm)
            assert dashboard.empty_panels() == []
            seen.append(dashboard.alarm() or dashboard.numbers())
        assert seen[0] != seen[1], field


def test_an_action_is_tried_in_the_midst_of_a_run_beside_doing_nothing(pages):
    dashboard = pages("loss_spikes").on_the_same_page("loss_spikes.rescue")
    dashboard.root.evaluate("(root) => root.scrollIntoView()")
    dashboard.root.locator(".dyn-board").scroll_into_view_if_needed()
    dashboard.wait_until_finished()
    with dashboard.run_to_the_end():
        dashboard.button("reset").click()
    assert len(dashboard.curves()) == 3
    with dashboard.run_to_the_end():
        dashboard.button("act-lr_2").click()
    *_, tried = dashboard.curves()
    assert len(dashboard.curves()) == 4
    none, changed = (curve["y"] for curve in tried[:2])
    assert none[:100] == changed[:100]
    assert max(none) > max(changed)
    assert dashboard.empty_panels() == []


# Sliders and presets


def test_a_slider_moved_with_the_keyboard_trains_anew(dashboard):
    before, value = dashboard.numbers(), dashboard.value("lr")
    with dashboard.run_to_the_end():
        dashboard.press("lr", "ArrowLeft")
        dashboard.wait_for_new_curve(before)
    assert float(dashboard.value("lr")) < float(value)
    assert dashboard.slider("lr").get_attribute("aria-valuetext") == dashboard.value("lr")
    assert is_sound(dashboard)
    with dashboard.run_to_the_end():
        dashboard.press("lr", "ArrowRight")
    assert dashboard.value("lr") == value
    assert dashboard.numbers() == before  # the same settings and seed give the same numbers


@pytest.mark.parametrize(("notebook", "field"), MAIN)
def test_a_main_slider_at_either_end_gives_curves_or_a_sentence(request, pages, notebook, field):
    dashboard = request.getfixturevalue("noise") if notebook == "label_noise" else pages(notebook)
    if (notebook, field) == ("laboratory", "width"):  # a network without hidden layers, as left behind, has none
        frame = dashboard.frame()
        dashboard.press("depth", "ArrowRight")
        dashboard.wait_until_finished_or_alarmed(frame)
    for key in ("End", "Home"):
        before, frame = dashboard.numbers(), dashboard.frame()
        assert dashboard.alarm() == ""
        dashboard.press(field, key)
        dashboard.wait_until_finished_or_alarmed(frame)
        assert dashboard.empty_panels() == []
        if dashboard.alarm():
            assert "lower lr or init_scale, or raise batch_size" in dashboard.alarm()
        else:
            assert set(dashboard.numbers()) - set(before)


def test_preset_buttons_and_words_move_the_sliders(dashboard, notebook):
    experiment, page = find(NOTEBOOKS[notebook]), dashboard.page
    first, second = list(experiment.presets)[2:4]
    word = page.locator(".dyn-notes").first.get_by_role("button", name=second.replace("_", " "), exact=True)
    for preset, button in ((first, dashboard.root.locator(f'[class~="dyn-preset-{first}"]')), (second, word)):
        before = dashboard.numbers()
        button.click()
        for field, value in experiment.configure(preset).asdict().items():
            if (notebook, field) in MAIN:
                dashboard.wait_for_value(field, f"{value:.12g}")
        dashboard.root.locator(f'.dyn-active[class~="dyn-preset-{preset}"]').wait_for()
        expect(dashboard.root.locator("button.dyn-active")).to_have_count(1, timeout=90_000)
        dashboard.wait_for_new_curve(before)


def test_more_seeds_draw_a_band(noise):
    assert not any(curve["fill"] for panel in noise.curves() for curve in panel)
    with noise.run_to_the_end("seeds 0 to 2"):
        noise.press("n_seeds", "ArrowRight")
        noise.press("n_seeds", "ArrowRight")
    (band,) = [curve["y"] for curve in noise.curves()[3] if curve["fill"]]
    (median,) = [curve["y"] for curve in noise.curves()[3] if not curve["fill"]]
    assert min(band) < min(median)
    assert max(band) > max(median)
    assert noise.root.locator(".dyn-board .dyntoolkit-plot").nth(3).locator("path.js-fill").count() == 1
    assert "median" in noise.claims()[0]
    with noise.run_to_the_end():
        noise.press("n_seeds", "Home")


# Stop, pause, step


def test_stop_stops(long_run):
    long_run.wait_for_step_after(6_000)  # before, a curve may be shorter than a pixel
    long_run.button("stop").click()
    long_run.wait_for_status("Stopped: seeds 0 to 31.")
    step = long_run.step()
    assert 0 < step < 60_000
    long_run.wait_for_text(".dyn-claims", "…")
    assert f"stopped at step {step:,}: not judged" in long_run.claims()[0]
    long_run.button("pin").click()  # the kernel answers, and no step was made meanwhile
    long_run.root.get_by_role("button", name="Unpin all runs").click()
    long_run.root.get_by_role("button", name="Unpin all runs").wait_for(state="hidden")
    assert long_run.step() == step
    assert long_run.status().startswith("Stopped")
    assert is_sound(long_run)


def test_pause_resume_and_step(long_run):
    long_run.button("pause").click()
    long_run.wait_for_status("Paused")
    long_run.wait_for_text("button.dyn-pause", "Resume")
    measured = long_run.step() // 500 * 500 + 500  # the next of the 121 steps at which a run is measured
    long_run.button("step").click()
    long_run.wait_for_text(".dyn-progress", f"step {measured:,} of 60,000")
    long_run.wait_for_status("Paused")
    long_run.button("pause").click()
    long_run.wait_for_step_after(measured)
    long_run.wait_for_status("Training")
    long_run.wait_for_text("button.dyn-pause", "Pause")
    long_run.button("stop").click()
    long_run.wait_for_status("Stopped")


def test_step_begins_a_run_and_goes_on_frame_by_frame(long_run):
    long_run.button("stop").click()
    long_run.wait_for_status("Stopped")
    long_run.button("step").click()
    long_run.wait_for_status("Paused")
    assert long_run.step() == 0
    for step in (500, 1000):
        long_run.button("step").click()
        long_run.wait_for_text(".dyn-progress", f"step {step:,} of 60,000")
        long_run.wait_for_status("Paused")
    long_run.button("stop").click()
    long_run.wait_for_status("Stopped")


# Errors


def test_refused_settings_are_a_sentence_and_the_next_run_works(noise):
    with noise.run_to_the_end():
        noise.press("lr", "End")
    before = noise.numbers()
    noise.press("init_scale", "End")
    noise.wait_for_alarm("lr·init_scale²·(1 + (dim + 1)/batch_size) = 2.72 must stay below 1.8")
    assert noise.status() == ""
    assert noise.numbers() == before
    with noise.run_to_the_end():
        noise.press("init_scale", "Home")
        noise.wait_for_new_curve(before)
    assert is_sound(noise)


@pytest.mark.parametrize("notebook", DIVERGING)  # Adam on the sines diverges nowhere
def test_a_diverged_run_names_its_step_and_what_to_lower_and_the_next_run_works(dashboard, notebook):
    keys, label = DIVERGING[notebook]
    dashboard.button("reset").click()
    dashboard.root.locator(".dyn-preset:first-child .dyn-active").wait_for()
    dashboard.show_more_settings()
    for field, key in keys:
        dashboard.press(field, key)
    dashboard.wait_for_alarm("The run diverged (seed 0 at step ")
    assert f"Lower “{label}”, or else “initialization scale”." in dashboard.alarm()
    with dashboard.run_to_the_end():
        dashboard.press("init_scale", "Home")
    assert is_sound(dashboard)


def test_the_time_lapse_looks_back_with_the_keyboard_and_plays(dashboard):
    page = dashboard.page
    with dashboard.run_to_the_end():
        dashboard.button("reset").click()
    handle, end = dashboard.root.get_by_role("slider", name="Time-lapse"), dashboard.step()
    step = "Number(document.querySelector('.dyn-board .dyntoolkit-board').dataset.step)"
    last = int(handle.get_attribute("max"))
    handle.focus()  # scrolls to it
    before = dashboard.root.locator(".dyn-lapse").bounding_box()
    for _ in range(3):
        handle.press("ArrowLeft")  # faster than the kernel answers
    assert handle.input_value() == str(last - 3)
    page.wait_for_function(f"{step} < {end}")
    dashboard.wait_for_text(".dyn-lapse-note", "The figures look back; the claims refer to the end of the run.")
    page.wait_for_function(f"document.activeElement.ariaValueText === `step ${{{step}.toLocaleString('en')}}`")
    assert handle.input_value() == str(last - 3)
    assert dashboard.root.locator(".dyn-lapse").bounding_box() == before  # nothing jumps
    handle.press("Home")
    page.wait_for_function(f"{step} < {end} / 20")  # the first recorded one
    dashboard.root.locator("button.dyn-play").press("Enter")
    page.wait_for_function(f"{step} === {end}")
    dashboard.wait_for_text("button.dyn-play", "Play")
    assert dashboard.root.locator(".dyn-lapse-note").inner_text().strip() == ""


# Claims


def test_the_negative_controls_fill_in(noise):
    text = " ".join(noise.claims())
    assert "needs further runs" not in text
    assert "control " not in text
    before = noise.numbers()
    noise.button("controls-run").click()
    noise.wait_for_status("Finished: negative controls")
    judged = [claim for claim in noise.claims() if "not expected here" not in claim]
    assert len(judged) >= 3
    assert all("must be" in claim for claim in judged)
    assert noise.numbers() == before  # the figure stays that of the run
    outside = noise.page.locator(".dyn-claims:not(.dyn-dashboard *) .dyn-claim").all_inner_texts()
    assert noise.claims() == outside  # in the dashboard, and in the notebook's own cell


# Several pages


def test_two_tabs_do_not_disturb_each_other(noise, module_context, dyntoolkit_server):
    before, frame = noise.numbers(), noise.frame()
    other = Dashboard(module_context.new_page())
    other.open(f"{dyntoolkit_server}/voila/render/label_noise.ipynb?steps=500&seed=1")
    assert set(other.numbers()) - set(before)
    assert (noise.numbers(), noise.frame()) == (before, frame)
    noise.press("n_seeds", "End")
    noise.press("steps", "End")
    noise.wait_for_status("Training: seeds 0 to 31.")
    assert (other.value("n_seeds"), other.value("steps")) == ("1", "500")
    mine = other.numbers()
    other.press("steps", "End")
    other.wait_for_new_curve(mine)
    other.wait_for_status("Training: seed 1.")
    other.button("stop").click()
    other.wait_for_status("Stopped: seed 1.")
    noise.wait_for_step_after(noise.step())  # goes on
    noise.button("stop").click()
    noise.wait_for_status("Stopped: seeds 0 to 31.")
    assert is_sound(other)
    other.page.close()


# Keyboard, widths, colours, touch


def test_everything_is_reached_with_the_tab_key_and_shows_it(noise):
    page = noise.page
    page.locator("#dyn-back").focus()
    stops = []
    while len(stops) < 100 and "Run the negative controls" not in [name for name, _ in stops]:
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
    names = [name for name, _ in stops]
    fields = find("label_noise.linear").config.sliders().values()
    expected = ["Run", "Pause", "Step", "Stop", "Reset", "Pin", "measured"]
    expected += [field.label for field in fields if field.main]
    expected += ["two phase", "fixed noise", "Seed", "Number of seeds", "Run the negative controls"]
    assert [name for name in names if name in expected] == expected
    assert any(name.endswith("More settings") for name in names)
    assert not any("Zoom" in name for name in names)  # eight buttons per panel would stand in the way
    assert [name for name, marked in stops if not marked] == []


def test_buttons_are_pressed_with_the_keyboard(noise):
    before = noise.numbers()
    with noise.run_to_the_end():
        noise.button("run").press("Enter")
    assert noise.numbers() == before  # the same run again
    noise.root.locator("button.dyn-preset-lazy_control").press("Space")
    noise.wait_for_value("noise_std", "0")
    noise.wait_for_new_curve(before)
    noise.button("stop").press("Space")
    noise.show_more_settings()
    noise.root.get_by_role("button", name="▾ More settings").press("Space")
    noise.root.locator(".dyn-more .dyn-field").first.wait_for(state="hidden")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_off_or_sticks_out(dashboard, width):
    page = dashboard.page
    dashboard.show_more_settings()
    try:
        set_width(page, width, 844)
        assert page.evaluate(STICKING_OUT) == []
        assert page.evaluate(CUT) == []
        first_slider = page.locator(".dyn-fields [role=slider]").first.bounding_box()
        first_plot = page.locator(".dyntoolkit-plot").first.bounding_box()
        assert first_plot["y"] + first_plot["height"] - first_slider["y"] < 844  # what a slider does is in sight
    finally:
        set_width(page, 1280, 800)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(dashboard, scheme):
    dashboard.page.emulate_media(color_scheme=scheme)
    try:
        ink = "rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)"
        dashboard.page.wait_for_function(f"{INKS}.every((ink) => ink === '{ink}')")  # the figures have followed
        assert dashboard.page.evaluate(FAINT, 4.5) == []
    finally:
        dashboard.page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(noise, scheme):
    noise.show_more_settings()
    noise.page.emulate_media(color_scheme=scheme)
    try:
        assert serious(noise.page) == []
    finally:
        noise.page.emulate_media(color_scheme="light")
