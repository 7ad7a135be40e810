"""The page's address, links, snippets and the picture of a link, as a reader uses them."""

import io
import re
from urllib.parse import urlsplit

import numpy as np
import pytest
import segno
from dashboards import Dashboard
from looks import CUT, FAINT, STICKING_OUT, set_width
from PIL import Image

pytestmark = pytest.mark.browser

CELL = """\
import numpy as np

import dyntoolkit as dt
from dyntoolkit.engine.history import Frame


class Fall(dt.Config):
    "How does x fall?"
    lr: float = dt.number(0.2, 0.05, 0.9, label="learning rate", main=True)
    start: float = dt.number(1.0, 0.5, 2.0, label="start", main=True)
    steps: int = dt.number(20, 10, 100, structural=True)


def simulate(configs, seeds):
    for k in range(configs[0].steps + 1):
        x = np.array([c.start * (1 - c.lr) ** k * (1 + s / 100) for c, s in zip(configs, seeds)])
        yield Frame(k, configs[0].steps, {"x": x}, np.full(len(seeds), -1))


falls = dt.Claim(id="falls", statement="x falls.", metric="x", bound=dt.below(0.1))
first = dt.Experiment("fall", Fall, simulate, claims=(falls,))
view = dt.explore(first)
"""
SECOND = """second = dt.explore(dt.Experiment("fall.again", Fall, simulate), lr=0.5)"""
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"


@pytest.fixture(scope="session")
def folder(tmp_path_factory, write_notebook):
    folder = tmp_path_factory.mktemp("fall")
    write_notebook(folder / "fall.ipynb", CELL)
    write_notebook(folder / "two.ipynb", CELL, SECOND)
    write_notebook(folder / "other.ipynb", "print('elsewhere')")
    return folder


@pytest.fixture
def address(voila_server, folder):
    return f"{voila_server(folder)}/voila/render/fall.ipynb"


@pytest.fixture
def two(address):
    """The page of two dashboards."""
    return address.replace("fall.ipynb", "two.ipynb")


@pytest.fixture
def fall(browser_context, browser_page, address):
    browser_context.grant_permissions(["clipboard-read", "clipboard-write"])
    dashboard = Dashboard(browser_page, "fall")
    dashboard.open(address)
    return dashboard


def query(page):
    return urlsplit(page.url).query


def wait_for_query(page, text):
    page.wait_for_url(lambda url: urlsplit(url).query == text)


def copy(dashboard, name):
    """What is in the clipboard after a press on that button."""
    if dashboard.root.get_by_role("button", name="▸ Share").count():
        dashboard.root.get_by_role("button", name="▸ Share").press("Enter")
    dashboard.root.get_by_role("button", name=name).click()
    dashboard.root.locator(".dyn-share-news").get_by_text("Copied").wait_for()
    return dashboard.page.evaluate("navigator.clipboard.readText()")


def test_the_address_follows_the_dashboard_moved_last_and_back_leaves_the_page(browser_page, address, two):
    browser_page.goto(address.replace("fall.ipynb", "other.ipynb"))
    first, second = Dashboard(browser_page, "fall"), Dashboard(browser_page, "fall.again")
    first.open(f"{two}?voila-theme=dark&utm_source=news")
    first.press("lr", "ArrowRight")
    wait_for_query(browser_page, f"experiment=fall&lr={first.value('lr')}&voila-theme=dark")
    second.root.scroll_into_view_if_needed()
    second.wait_until_finished()
    assert query(browser_page).startswith("experiment=fall&")  # who scrolls moves nothing
    second.press("start", "Home")
    wait_for_query(browser_page, "experiment=fall.again&lr=0.5&start=0.5&voila-theme=dark")
    second.button("reset").click()
    wait_for_query(browser_page, "experiment=fall.again&voila-theme=dark")  # not what this page begins with
    first.button("reset").click()
    wait_for_query(browser_page, "voila-theme=dark")
    browser_page.go_back()
    browser_page.get_by_text("elsewhere").wait_for()


def test_a_link_opens_the_same(fall, browser_context):
    with fall.run_to_the_end():
        fall.press("lr", "ArrowRight")
    fall.button("pin").click()
    fall.root.locator(".dyn-pins tbody tr").nth(1).wait_for()
    with fall.run_to_the_end():
        fall.press("start", "ArrowRight")
    fall.root.locator(".dyn-lapse-slider input").press("ArrowLeft")
    fall.page.wait_for_function("document.querySelector('.dyn-board .dyntoolkit-board').dataset.step === '19'")
    link = copy(fall, "Copy link")
    assert re.search(r"\?experiment=fall&lr=[\d.]+&start=[\d.]+&compare\.pin=lr:[\d.]+&step=19$", link)
    fall.page.wait_for_function("document.querySelector('.dyn-board .dyntoolkit-plot').data.length === 2")

    other = Dashboard(browser_context.new_page(), "fall")
    other.page.goto(link)
    other.wait_for_status("Finished: pinned run 1 of 1")
    other.page.wait_for_function("document.querySelector('.dyn-board .dyntoolkit-plot')?.data?.length === 2")
    other.page.wait_for_function("document.querySelector('.dyn-board .dyntoolkit-board').dataset.step === '19'")
    assert other.curves() == fall.curves()
    assert (other.value("lr"), other.value("start")) == (fall.value("lr"), fall.value("start"))
    other.page.wait_for_timeout(1000)  # the address follows half a second later
    assert other.page.url == link  # nobody has moved anything


def test_a_link_to_a_dashboard_further_down_brings_it_into_sight(browser_page, two):
    second = Dashboard(browser_page, "fall.again")
    second.open(f"{two}?experiment=fall.again&start=2&gone=1&seed=<script>")
    assert second.value("start") == "2"
    alert = second.page.locator("main [role=alert]", has_text="Not followed in this link")
    assert "unknown parameter 'gone'" in alert.inner_text()
    assert "got '<script>'" in alert.inner_text()
    assert browser_page.evaluate("scrollY") > 0
    assert Dashboard(browser_page, "fall").value("start") == "1"


def test_a_link_to_what_is_not_on_the_page_is_said(browser_page, address):
    browser_page.goto(f"{address}?experiment=<b>gone</b>&lr=0.3")
    browser_page.get_by_text("This link is for the experiment “<b>gone</b>”, which is not on this page.").wait_for()
    Dashboard(browser_page, "fall").wait_until_finished()


def test_snippets_are_copied_with_and_without_a_clipboard(fall, browser_context):
    assert copy(fall, "Copy as Python").splitlines()[2] == "runs = dt.run(first)"
    fall.page.evaluate(NO_CLIPBOARD.replace("value: undefined", "value: undefined, configurable: true"))
    fall.root.get_by_role("button", name="Copy as command").click()
    fall.root.locator(".dyn-share-news").get_by_text("Copied a command.").wait_for()
    paper = browser_context.new_page()
    paper.set_content("<textarea autofocus></textarea>")
    paper.locator("textarea").press("Control+v")
    assert paper.locator("textarea").input_value() == "dyntoolkit run my_file.py:first"
    fall.page.evaluate("document.execCommand = () => false")
    fall.root.get_by_role("button", name="Copy as Python").click()
    fall.root.get_by_text("Copy the marked text.").wait_for()
    assert "dt.run(first)" in fall.page.evaluate("getSelection().toString() || document.activeElement.value")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_of_the_link_is_its_code_on_a_desk_and_on_a_phone(fall, scheme):
    page = fall.page
    page.emulate_media(color_scheme=scheme)
    link = copy(fall, "Copy link")
    for width, height in ((1280, 800), (390, 844)):
        set_width(page, width, height)
        assert page.evaluate(STICKING_OUT) == []
        assert page.evaluate(CUT) == []
        assert page.evaluate(FAINT, 4.5) == []
        fall.root.get_by_role("button", name="QR code").click()
        image = page.get_by_role("img", name="QR code of the link")
        image.wait_for()
        assert squares(image, link) == segno.make(link, error="m").matrix
        page.keyboard.press("Escape")
        image.wait_for(state="detached")
    fall.root.get_by_role("button", name="QR code").click()
    page.get_by_role("dialog", name="QR code of the link").click(position={"x": 30, "y": 30})
    image.wait_for(state="detached")


def squares(image, link):
    """What a camera sees: the squares of the picture on the screen, a 1 for a dark one, without its white border."""
    seen = np.asarray(Image.open(io.BytesIO(image.screenshot())).convert("L"))
    count = segno.make(link, error="m").symbol_size(border=4)[0]
    middles = ((np.arange(count) + 0.5) * seen.shape[0] / count).astype(int)
    dark = seen[np.ix_(middles, middles)]
    assert set(np.unique(dark)) == {0, 255}
    assert (dark[:4] == 255).all()
    return tuple(bytearray(1 - row // 255) for row in dark[4:-4, 4:-4])


def test_in_jupyterlab_a_link_is_for_the_notebook_as_a_page(browser_context, lab_server, folder, address):
    browser_context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = browser_context.new_page()
    page.goto(f"{lab_server(folder)}/lab/tree/fall.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    lab = Dashboard(page, "fall")
    lab.wait_until_finished()
    before = page.url
    with lab.run_to_the_end():
        lab.press("start", "End")
    link = copy(lab, "Copy link")
    assert link == f"{lab_server(folder)}/voila/render/fall.ipynb?experiment=fall&start=2.0"
    assert "as it was last saved" in lab.root.locator(".dyn-share-note").inner_text()
    assert page.url == before
    served = Dashboard(browser_context.new_page(), "fall")
    served.open(f"{address}?{urlsplit(link).query}")
    assert served.value("start") == "2"
