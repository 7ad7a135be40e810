"""In JupyterLab: a notebook of the project, run, used, run again, and reloaded; an experiment written into a cell."""

import re
from pathlib import Path

import pytest
from dashboards import Dashboard

from dyntoolkit.app.gallery import notebooks
from dyntoolkit.catalog.stored_run import read_run

pytestmark = pytest.mark.browser

COUNT = "import threading; print('runners:', sum(t.name == 'dyntoolkit runner' for t in threading.enumerate()))"


@pytest.fixture(scope="module")
def dashboard(module_page, lab_server, tmp_path_factory):
    """That of label noise in a copy of the notebook with 1,000 steps, after "Run All Cells"."""
    folder = tmp_path_factory.mktemp("notebooks")
    text = (notebooks() / "label_noise.ipynb").read_text(encoding="utf-8")
    assert text.count('"steps = None') == 1
    (folder / "label_noise.ipynb").write_text(text.replace('"steps = None', '"steps = 1000'), encoding="utf-8")
    module_page.goto(f"{lab_server(folder)}/lab/tree/label_noise.ipynb?reset")
    module_page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    module_page.get_by_role("menuitem", name="Run", exact=True).click()
    module_page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    dashboard = Dashboard(module_page)
    dashboard.wait_until_finished()
    dashboard_cell(module_page).click()  # scrolls there
    return dashboard


@pytest.fixture(scope="module")
def first_experiment():
    """The cell of the README that defines and explores an experiment of one's own."""
    text = (Path(notebooks()).parent / "README.md").read_text(encoding="utf-8")
    (cell,) = [block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "class Valley" in block]
    return cell


def dashboard_cell(page):
    return page.locator(".jp-CodeCell", has_text="view = explore(").locator(".cm-content")


def runners(dashboard):
    """How many worker threads the kernel has, asked in a new cell."""
    page = dashboard.page
    dashboard_cell(page).click()
    for key in ("Escape", "b", "Enter"):
        page.keyboard.press(key)
    page.keyboard.type(COUNT)
    page.keyboard.press("Control+Enter")
    answer = page.locator(".jp-OutputArea-output", has_text="runners:")
    answer.wait_for()
    text = answer.inner_text()
    for key in ("Escape", "d", "d"):
        page.keyboard.press(key)
    answer.wait_for(state="detached")
    return int(text.removeprefix("runners:"))


def retrains(dashboard):
    """Whether a slider moved with the keyboard gives new curves, to the end of the run."""
    before = dashboard.numbers()
    with dashboard.run_to_the_end():
        dashboard.press("lr", "ArrowLeft")
        dashboard.wait_for_new_curve(before)
    return dashboard.empty_panels() == [] and dashboard.alarm() == ""


def test_all_cells_run_and_the_dashboard_is_drawn(dashboard):
    assert dashboard.status().startswith("Finished: seed 0 after ")
    assert dashboard.value("steps") == "1000"
    assert dashboard.empty_panels() == []
    assert dashboard.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_no_question_about_news_lies_over_the_notebook(dashboard):
    """It would have come with the page, which has been open for a whole training by now."""
    assert dashboard.page.locator(".Toastify__toast").all_inner_texts() == []


def test_a_slider_moved_with_the_keyboard_trains_anew(dashboard):
    assert retrains(dashboard)


def test_a_file_of_the_run_is_taken_away(dashboard, tmp_path):
    dashboard.root.get_by_role("button", name="Take away").click()
    with dashboard.page.expect_download() as download:
        dashboard.root.locator(".dyn-take").get_by_role("button", name="netCDF").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name.startswith("label_noise.linear_lr=")
    assert read_run(path).made.settings[0]["steps"] == 1000


def test_running_the_cell_again_leaves_one_live_dashboard(dashboard):
    assert runners(dashboard) == 1
    dashboard_cell(dashboard.page).click()
    old = dashboard.root.element_handle()
    dashboard.page.keyboard.press("Control+Enter")
    dashboard.page.wait_for_function("(old) => !old.isConnected", arg=old)
    dashboard.wait_until_finished()
    assert dashboard.page.locator(".dyn-experiment-label_noise-linear").count() == 1
    assert runners(dashboard) == 1
    assert retrains(dashboard)
    before = dashboard.numbers()
    with dashboard.run_to_the_end():
        dashboard.page.locator(".dyn-notes").get_by_role("button", name="lazy control").click()
        dashboard.wait_for_value("noise_std", "0")
    assert set(dashboard.numbers()) - set(before)


def test_after_a_reload_the_widgets_are_alive(dashboard):
    page = dashboard.page
    curves, value = dashboard.numbers(), dashboard.value("lr")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    page.wait_for_function("!document.querySelector('.jp-mod-dirty')")
    page.reload()
    dashboard.wait_until_finished()
    dashboard_cell(page).click()
    assert dashboard.value("lr") == value
    assert dashboard.numbers() == curves  # drawn again from the kernel's newest frame
    assert retrains(dashboard)


def test_an_experiment_in_a_cell_is_live_and_keeps_its_sliders_when_it_is_edited(
    browser_page, lab_server, write_notebook, tmp_path, first_experiment
):
    write_notebook(tmp_path / "own.ipynb", first_experiment)
    page = browser_page
    page.goto(f"{lab_server(tmp_path)}/lab/tree/own.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell").first.click()
    page.keyboard.press("Control+Enter")
    dashboard = Dashboard(page, "valley")
    dashboard.wait_until_finished()
    before = dashboard.numbers()
    with dashboard.run_to_the_end():
        dashboard.press("curvature", "ArrowLeft")
        dashboard.wait_for_new_curve(before)
    assert dashboard.empty_panels() == []
    moved = dashboard.value("curvature")
    assert float(moved) < 10
    with dashboard.run_to_the_end("seeds 0 to 1"):
        dashboard.root.locator(".dyn-field-n_seeds [role=slider]").press("ArrowRight")
    dashboard.button("pin").click()
    dashboard.root.locator(".dyn-lapse-slider input").press("Home")
    dashboard.root.locator(".dyn-moment", has_text=re.compile("^step 0$")).wait_for()

    friction = "    friction: float = dt.number(0.0, 0.0, 1.0)\n"
    edited = first_experiment.replace("    steps: int", f"{friction}    steps: int")
    old = dashboard.root.element_handle()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(edited)
    page.keyboard.press("Control+Enter")
    page.wait_for_function("(old) => !old.isConnected", arg=old)
    dashboard.wait_until_finished(what="seeds 0 to 1")
    assert page.locator(".dyn-experiment-valley").count() == 1
    assert dashboard.value("curvature") == moved
    assert dashboard.root.locator(".dyn-pins tbody tr").count() == 2  # the run pinned above is still there
    dashboard.show_more_settings()
    assert dashboard.value("friction") == "0"
