"""What is further down a page is made when a reader comes near: in Voila and in JupyterLab."""

import nbformat
import nbformat.v4 as nb
import pytest
from dashboards import Dashboard
from playwright.sync_api import expect

from dyntoolkit.app.gallery import notebooks

pytestmark = pytest.mark.browser

CELLS = """
from dyntoolkit.dashboard import claims_table, explore, look_for
first = explore("label_noise.linear", steps=500)
---
far = explore("condensation.directions", steps=50)
---
claims_table(far)
---
look_for("condensation.directions", {"five_d": "nothing condenses"})
---
last = explore("grokking.oned", steps=500, width=20)
---
claims_table(last)
"""
TEXT = "\n\n".join("A page has text." for _ in range(150))  # some screens of it
BUILT = ".dyn-dashboard"
WAITING = ".dyn-placeholder:not(.dyn-second-view)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("further")


@pytest.fixture
def notebook(folder, request):
    """A file with three dashboards, far from each other; their cells have pictures stored, those of the claims text."""
    stored = nbformat.read(notebooks() / "label_noise.ipynb", 4)
    (picture,) = next(cell.outputs for cell in stored.cells if cell.source.startswith("sparse = explore"))
    cells = []
    for source in CELLS.strip().split("\n---\n"):
        code = nb.new_code_cell(source)
        code.outputs = [picture] if "= explore(" in source else [nb.new_output("stream", text="stored")]
        cells += [code, nb.new_markdown_cell(TEXT)]
    cells.append(nb.new_markdown_cell(TEXT))  # JupyterLab goes to the last cell when it runs all
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    name = f"{request.function.__name__}.ipynb"  # of its own: in JupyterLab the kernel of a file lives on
    nbformat.write(nb.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / name)
    return name


@pytest.fixture
def page(folder, notebook, browser_page, lab_server):
    """In JupyterLab, after "Run All Cells": the run of the first dashboard is finished, nobody is near the others."""
    browser_page.goto(f"{lab_server(folder)}/lab/tree/{notebook}?reset")
    browser_page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    browser_page.get_by_role("menuitem", name="Run", exact=True).click()
    browser_page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    Dashboard(browser_page, "label_noise.linear").wait_until_finished()
    browser_page.locator(".dyn-second-view").nth(1).wait_for(state="attached")
    return browser_page


ARRIVE = """(node) => new Promise((resolve) => {
  let before = NaN;
  const look = () => {
    node.scrollIntoView({ block: "center" });
    const { top } = node.getBoundingClientRect();
    if (top === before) return resolve();
    before = top;
    setTimeout(look, 300);
  };
  look();
})"""


def go_to(page, selector, which=0):
    """Scroll there in a leap, and again while what is on the way takes its height."""
    page.locator(selector).nth(which).evaluate(ARRIVE)


def built(page):
    """The experiments whose dashboards are made, and how many are not."""
    classes = " ".join(root.get_attribute("class") for root in page.locator(BUILT).all())
    names = {name.removeprefix("dyn-experiment-") for name in classes.split() if name.startswith("dyn-experiment-")}
    return names, page.locator(WAITING).count()


def widgets(page):
    return page.locator(".jupyter-widgets").count()


def test_a_page_of_voila_scrolled_to_its_end_is_built_dashboard_by_dashboard(browser_page, dyntoolkit_server):
    page = browser_page
    page.goto(f"{dyntoolkit_server}/voila/render/label_noise.ipynb?steps=500")
    Dashboard(page, "label_noise.linear").wait_until_finished()
    page.locator(f"{WAITING} >> nth=3").wait_for(state="attached")
    assert built(page) == ({"label_noise-linear"}, 4)
    before = widgets(page)
    assert page.locator(".dyn-map button").count() == 0
    others = ["label_noise-map", "label_noise-diagonal", "label_noise-features", "label_noise-refresh"]
    for k, name in enumerate(others, 1):
        page.locator(f".dyn-experiment-{name}").evaluate("(node) => node.scrollIntoView({ block: 'center' })")
        drawn = page.locator(f'.dyn-experiment-{name} .dyn-board .dyntoolkit-board:not([data-frame="0"])')
        drawn.wait_for()
        names, waiting = built(page)
        assert {"label_noise-linear", *others[:k]} <= names
        assert len(names) + waiting == 5
    assert page.locator(".dyn-placeholder").count() == 0
    expect(page.locator(".dyn-map button")).to_have_count(2, timeout=90_000)  # in cells of their own
    assert widgets(page) > 2 * before


def test_a_dashboard_without_a_stored_picture_takes_its_height_before_it_is_built(
    browser_page, voila_server, write_notebook, tmp_path
):
    """Else the text below it jumps when a reader comes near."""
    code = "from dyntoolkit.dashboard import explore\nfirst = explore('label_noise.linear', steps=500)"
    write_notebook(
        tmp_path / "bare.ipynb", code, "print('a line\\n' * 500)", "far = explore('condensation.directions')"
    )
    page = browser_page
    page.goto(f"{voila_server(tmp_path)}/voila/render/bare.ipynb")
    Dashboard(page, "label_noise.linear").wait_until_finished()
    page.locator(f".dyn-live:not([inert]) {WAITING}").wait_for()
    cell = page.locator(f".dyn-cell:has({WAITING})")
    before = cell.bounding_box()["height"]
    go_to(page, f".dyn-cell:has({WAITING})")
    Dashboard(page, "condensation.directions").wait_until_finished()
    assert before > 600
    assert built(page)[1] == 0


def test_a_page_of_jupyterlab_scrolled_to_its_end_is_built_dashboard_by_dashboard(page):
    first, far, last = (
        Dashboard(page, name) for name in ("label_noise.linear", "condensation.directions", "grokking.oned")
    )
    assert built(page) == ({"label_noise-linear"}, 2)
    before = widgets(page)
    assert page.locator(".dyn-placeholder :is(button, input, .dyntoolkit-board)").count() == 0

    go_to(page, ".dyn-experiment-condensation-directions")
    far.wait_until_finished()
    assert built(page) == ({"label_noise-linear", "condensation-directions"}, 1)
    assert widgets(page) > before + 20
    assert far.empty_panels() == []
    page.locator(".dyn-second-view .dyn-claim").first.wait_for(state="attached")  # the claims in their own cell, too
    numbers = far.numbers()
    with far.run_to_the_end():
        far.press("init_scale", "ArrowLeft")
        far.wait_for_new_curve(numbers)

    go_to(page, ".dyn-experiment-grokking-oned")
    last.wait_until_finished()
    assert built(page) == ({"label_noise-linear", "condensation-directions", "grokking-oned"}, 0)
    assert page.locator(".dyn-placeholder").count() == 0
    go_to(page, ".dyn-second-view", 1)
    outside = page.locator(".dyn-second-view").nth(1).locator(".dyn-claim")
    outside.first.wait_for()
    assert outside.all_text_contents() == last.root.locator(".dyn-claim").all_text_contents()
    assert first.status().startswith("Finished")


def test_a_cell_of_claims_that_comes_near_fills_in(page):
    last = Dashboard(page, "grokking.oned")
    go_to(page, ".dyn-second-view", 1)
    page.locator(".dyn-second-view").nth(1).locator(".dyn-claim").first.wait_for()
    last.root.locator(".dyntoolkit-board").first.wait_for(state="attached")
    go_to(page, ".dyn-experiment-grokking-oned")
    last.wait_until_finished()


def test_a_word_to_look_for_has_its_dashboard_built_and_trained(page):
    far = Dashboard(page, "condensation.directions")
    assert built(page) == ({"label_noise-linear"}, 2)
    page.get_by_role("button", name="five d").evaluate("(button) => button.click()")  # from far away
    far.root.locator('.dyn-active[class~="dyn-preset-five_d"]').wait_for(state="attached")
    far.wait_until_finished()


def test_in_jupyterlab_the_stored_picture_holds_the_place(page):
    far = Dashboard(page, "condensation.directions")
    picture = far.root.locator("img")
    assert picture.evaluate("async (img) => { await img.decode(); return img.naturalWidth; }") > 500
    assert far.root.locator("strong").text_content() != ""
    go_to(page, ".dyn-experiment-condensation-directions")
    far.wait_until_finished()
    assert not picture.is_visible()
    assert far.root.locator(".dyn-board").is_visible()
