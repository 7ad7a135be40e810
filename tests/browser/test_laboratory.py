"""The laboratory as its readers use it: a student, somebody with a file, and somebody with a network of their own."""

import re
from pathlib import Path

import pytest
from dashboards import Dashboard

from dyntoolkit.app.gallery import notebooks

pytestmark = pytest.mark.browser

NAMES = ["<b>area</b>", "$\\alpha$", "x<sub>", "<a href='javascript:0'>y</a>"]
CLASSES = ["<i>no</i>", "_$yes$"]
TEXTS = """(root) => [...root.querySelectorAll(".dyn-board .dyntoolkit-plot")].flatMap((plot) =>
  [...plot.querySelectorAll(".xtitle, .ytitle, .xtick text, .ytick text")].map((text) => text.textContent))"""
MEASURED = """[...document.querySelectorAll(".dyn-board .dyntoolkit-plot")]
  .filter((plot) => plot.dataset.label.startsWith("Sharpness"))
  .map((plot) => Array.from(plot.data?.[0].x ?? []).filter((x, k) => Number.isFinite(plot.data[0].y[k])))[0] ?? []"""


@pytest.fixture(scope="module")
def address(dyntoolkit_server):
    return f"{dyntoolkit_server}/voila/render/laboratory.ipynb"


@pytest.fixture(scope="module")
def laboratory(module_page, address):
    """Its page, which the tests of this module share."""
    dashboard = Dashboard(module_page)
    dashboard.open(f"{address}?steps=100")
    return dashboard


@pytest.fixture(scope="module")
def own_network():
    """The cell of the README with a network, data and a measurement of one's own."""
    text = (Path(notebooks()).parent / "README.md").read_text(encoding="utf-8")
    (cell,) = [block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "class MyNet" in block]
    assert cell.count("lr=0.02)") == 1
    return cell.replace("lr=0.02)", "lr=0.02, steps=100)")


def choose(dashboard, path):
    """Choose that file of data, as with the mouse."""
    with dashboard.page.expect_file_chooser() as chooser:
        dashboard.root.get_by_role("button", name="Choose a CSV file").click()
    chooser.value.set_files(path)


def texts(dashboard):
    """What is written along the axes."""
    return dashboard.root.evaluate(TEXTS)


def test_a_student_finds_the_spikes_and_changes_the_optimizer(laboratory):
    with laboratory.run_to_the_end():
        laboratory.page.locator(".dyn-notes").get_by_role("button", name="spikes", exact=True).click()
        laboratory.wait_for_value("steps", "3000")
    assert any(claim.startswith("✓ holds In a spike") for claim in laboratory.claims())
    before = laboratory.numbers()
    with laboratory.run_to_the_end():
        laboratory.root.get_by_label("optimizer", exact=True).select_option("momentum")
        laboratory.wait_for_new_curve(before)
    assert any("not expected here In a spike" in claim for claim in laboratory.claims())


def test_a_measurement_switched_on_in_mid_run_appears_while_the_run_goes_on(laboratory):
    laboratory.show_more_settings("Measurements")
    laboratory.press("steps", "End")
    laboratory.wait_for_status("Training")
    laboratory.wait_for_step_after(0)
    step = laboratory.step()
    laboratory.root.get_by_label("sharpness (about 60 gradients)", exact=True).check()
    laboratory.page.wait_for_function(f"({MEASURED}).length > 1")
    assert laboratory.page.evaluate(MEASURED)[0] >= step > 0
    assert laboratory.status().startswith("Training")
    laboratory.wait_for_step_after(laboratory.step())
    with laboratory.run_to_the_end():
        laboratory.root.get_by_role("button", name="moons", exact=True).click()


def test_somebody_chooses_a_file_and_sees_its_curve_and_its_names(laboratory, tmp_path):
    rows = [f"{k % 7},{k % 5 / 2},{CLASSES[k % 7 > 3]},{k % 11}.5" for k in range(100)]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join([",".join([NAMES[0], NAMES[1], "class", NAMES[3]]), *rows]), encoding="utf-8")
    before = laboratory.numbers()
    with laboratory.run_to_the_end():
        choose(laboratory, path)
        laboratory.wait_for_new_curve(before)
    assert laboratory.empty_panels() == []
    assert set(CLASSES) < set(texts(laboratory))  # of what is found in the test data

    with laboratory.run_to_the_end():
        laboratory.root.get_by_label("target", exact=True).select_option(NAMES[3])
    assert f"{NAMES[3]}, true" in texts(laboratory)

    path.write_text("\n".join([f"{NAMES[0]},{NAMES[2]},class", *(row.rpartition(",")[0] for row in rows)]))
    with laboratory.run_to_the_end():
        choose(laboratory, path)
    assert {NAMES[0], NAMES[2], f"probability of {CLASSES[1]}"} < {*texts(laboratory), *colorbars(laboratory)}
    legends = laboratory.root.locator(".dyntoolkit-legend button").all_inner_texts()
    assert set(CLASSES) < set(legends)


def colorbars(dashboard):
    return dashboard.root.locator(".dyntoolkit-plot .colorbar [class*=title]").all_text_contents()


def test_somebody_pastes_a_network_into_jupyterlab_and_moves_its_width(
    browser_page, lab_server, write_notebook, tmp_path, own_network
):
    write_notebook(tmp_path / "own.ipynb", "")
    page = browser_page
    page.goto(f"{lab_server(tmp_path)}/lab/tree/own.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.insert_text(own_network)
    page.keyboard.press("Control+Enter")
    dashboard = Dashboard(page, "own")
    dashboard.wait_until_finished()
    assert dashboard.empty_panels() == []
    before = dashboard.numbers()
    with dashboard.run_to_the_end():
        dashboard.press("width", "ArrowRight")
        dashboard.wait_for_new_curve(before)
    assert dashboard.value("width") != "32"
    assert dashboard.alarm() == ""
