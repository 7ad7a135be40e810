"""The Board in a real browser, in pages served by Voila and in JupyterLab."""

import pytest

pytestmark = pytest.mark.browser

SETUP = """
import threading
import numpy as np
from dyntoolkit.dashboard.board import Board
from dyntoolkit.figure.panels import *

def panels(k):
    t = np.arange(1.0, 3 + 3 * k)
    runs = np.exp(-t[:, None] / np.array([50, 70, 90])) + 1e-4
    z = np.sin(np.arange(64)[:, None] / 9 + k) * np.cos(np.arange(64) / 7)
    names = ["layer 1", "layer 2"]
    loss = [median_line("loss", t, runs, TRAIN), Line("theory", t, np.exp(-t / 70), GREY, dash=True),
            Level("floor", y=1e-4)]
    norms = [Bars("before", names, np.array([0.1, 1]), BLUE), Bars("after", names, np.array([0.2, 20.0]), ORANGE)]
    return [
        Panel("Loss", Axis("training step"), Axis("mean squared error", log=True), loss),
        Panel("Norms", Axis("layer"), Axis("norm", log=True), norms),
        Panel("Weights W<sub>1</sub>", Axis("input"), Axis("unit"),
              [Heat("entry", np.arange(64), np.arange(64), z, -1, 1, "RdBu")]),
        Panel("Alignment", Axis("training step"), Axis("cosine"),
              [Line("layer 1", t, 1 - np.exp(-t / 50), LAYER1), Level("perfect", y=1.0), Level("switch", x=9.0)]),
    ]

def work(board, last):
    for k in range(1, last + 1):
        board.show(panels(k), k)
        threading.Event().wait(0.02)
"""
ONE = """
board = Board("A test figure")
threading.Thread(target=work, args=(board, 60), daemon=True).start()
board
"""
TWO = """
import ipywidgets
boards = [Board("first"), Board("second")]
for board in boards:
    threading.Thread(target=work, args=(board, 20), daemon=True).start()
ipywidgets.VBox(boards)
"""
VIEWS = """
board = Board("shown twice")
threading.Thread(target=work, args=(board, 20), daemon=True).start()
display(board, board)
"""
LOSSY = """
class Lossy(Board):
    lost = 0

    def send(self, content, buffers=None):
        if content["kind"] == "frame" and self.lost < 2:
            self.lost += 1  # as a connection does that is just being made
        else:
            super().send(content, buffers)

board = Lossy("two frames get lost")
board.show(panels(60), 60)
board
"""
COMES_AND_GOES = """
def change(board):
    all = [*panels(20), *(replace(panel, title=f"{panel.title} again") for panel in panels(20))]
    for k in range(90):
        board.show([panel for j, panel in enumerate(all) if j == 0 or (k >> j % 3) % 2 == 0 or k == 89], k)
        threading.Event().wait(0.03)

from dataclasses import replace
board = Board("panels come and go")
threading.Thread(target=change, args=(board,), daemon=True).start()
board
"""
FITS = """[...document.querySelectorAll(".dyntoolkit-plot")].every((plot) =>
  Math.abs(plot._fullLayout.width - plot.clientWidth) < 1)"""
LAST = ".dyntoolkit-board[data-step='60']"


@pytest.fixture(scope="session")
def folder(tmp_path_factory, write_notebook):
    folder = tmp_path_factory.mktemp("boards")
    for name, cell in (("one", ONE), ("two", TWO), ("views", VIEWS), ("lossy", LOSSY), ("changing", COMES_AND_GOES)):
        write_notebook(folder / f"{name}.ipynb", SETUP, cell)
    return folder


@pytest.fixture(scope="module")
def page(module_page, voila_server, folder):
    module_page.goto(f"{voila_server(folder)}/voila/render/one.ipynb")
    module_page.wait_for_selector(LAST)
    return module_page


def boxes(page, selector):
    return [box.bounding_box() for box in page.locator(selector).all()]


def color(page, selector):
    return page.locator(selector).first.evaluate("node => getComputedStyle(node).fill")


def test_the_last_frame_arrives_and_every_mark_is_drawn(page):
    assert page.locator(".dyntoolkit-error").inner_text() == ""
    drawn = {".scatterlayer .trace": 4, ".barlayer .trace": 2, ".heatmaplayer image": 1, ".shapelayer path": 3}
    for selector, count in drawn.items():
        assert page.locator(f".dyntoolkit-plot {selector}").count() == count, selector
    points = page.evaluate("document.querySelectorAll('.dyntoolkit-plot')[3].data[0].y.length")
    assert points == 182  # the whole curve of the last frame
    headings = [heading.inner_text() for heading in page.locator(".dyntoolkit-panel h3").all()]
    assert headings == ["Loss", "Norms", "Weights W1", "Alignment"]
    assert page.get_by_role("img", name="Loss. mean squared error (logarithmic) against training step").count() == 1


CUT = """[...document.querySelectorAll(".dyntoolkit-plot")].flatMap((plot) => {
    const box = plot.getBoundingClientRect();
    const labels = plot.querySelectorAll(".xtick text, .ytick text, .xtitle, .ytitle, .cbtitle text");
    return [...labels].filter((label) => {
        const { left, right } = label.getBoundingClientRect();
        return left < box.left - 1 || right > box.right + 1;
    });
})"""


def test_two_columns_when_wide_and_one_when_narrow_with_no_label_cut(page):
    for width, columns in ((390, 1), (1280, 2)):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(f"{FITS} && {CUT}.length === 0")  # a redraw at the new width takes a few passes
        plots = boxes(page, ".dyntoolkit-plot")
        assert len({round(plot["x"]) for plot in plots}) == columns
        assert all(plot["height"] > 200 and plot["x"] + plot["width"] <= width for plot in plots)


def test_the_legend_hides_and_shows_a_curve_with_its_band_by_keyboard(page):
    button = page.get_by_role("button", name="loss")
    curves = page.locator(".dyntoolkit-plot").first.locator(".scatterlayer .trace")
    assert curves.count() == 3  # band, median, theory
    button.press("Enter")
    page.wait_for_function("document.querySelector('.dyntoolkit-plot').querySelectorAll('.trace').length === 1")
    assert button.get_attribute("aria-pressed") == "false"
    button.press("Enter")
    page.wait_for_function("document.querySelector('.dyntoolkit-plot').querySelectorAll('.trace').length === 3")


def test_colours_follow_light_and_dark(page):
    light = color(page, ".xtick text")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "(light) => getComputedStyle(document.querySelector('.dyntoolkit-plot .xtick text')).fill !== light", arg=light
    )
    assert light == "rgb(0, 0, 0)"
    assert color(page, ".xtick text") == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="light")
    page.wait_for_function(
        "(light) => getComputedStyle(document.querySelector('.dyntoolkit-plot .xtick text')).fill === light", arg=light
    )


@pytest.mark.parametrize("notebook", ["two", "views"])
def test_two_boards_or_views_of_a_page_share_one_plotly_js(browser_page, voila_server, folder, notebook):
    asked, received = [], []

    def listen(socket):
        socket.on("framesent", lambda data: asked.append(b'"library"' in data))
        socket.on("framereceived", lambda data: received.append(len(data)))

    browser_page.on("websocket", listen)
    browser_page.goto(f"{voila_server(folder)}/voila/render/{notebook}.ipynb")
    browser_page.wait_for_function(
        "document.querySelectorAll(\".dyntoolkit-board[data-step='20'] .main-svg\").length > 8"
    )
    assert sum(asked) == 1
    assert sum(size > 1_000_000 for size in received) == 1
    assert sum(received) < 4_000_000


def test_a_board_reserves_its_room_and_asks_for_plotly_js_when_the_one_that_asked_is_gone(
    browser_page, voila_server, folder
):
    browser_page.add_init_script(  # as if another board of the page had just asked
        "globalThis.dyntoolkitPlotly = {askedAt: Infinity, arriving: false};"
        "dyntoolkitPlotly.plotly = new Promise((resolve) => (dyntoolkitPlotly.resolve = resolve));"
    )
    browser_page.goto(f"{voila_server(folder)}/voila/render/one.ipynb")
    browser_page.wait_for_selector(".dyntoolkit-plot", state="attached")
    before = boxes(browser_page, ".dyntoolkit-plot")
    assert browser_page.locator(".main-svg").count() == 0
    browser_page.evaluate("dyntoolkitPlotly.askedAt = 0")  # as if that were long ago
    browser_page.wait_for_selector(LAST)
    assert boxes(browser_page, ".dyntoolkit-plot") == before  # nothing has jumped


def test_a_finger_on_a_plot_scrolls_the_page_and_zooms_nothing(phone_page, voila_server, folder):
    phone_page.goto(f"{voila_server(folder)}/voila/render/one.ipynb")
    phone_page.wait_for_selector(LAST)
    plot = phone_page.locator(".dyntoolkit-plot").first
    top = plot.bounding_box()["y"]
    finger = phone_page.context.new_cdp_session(phone_page)
    for kind, moved in (("touchStart", 0), *(("touchMove", 10 * k) for k in range(1, 16)), ("touchEnd", None)):
        points = [] if moved is None else [{"x": 200, "y": top + 200 - moved}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    phone_page.wait_for_function(
        "(top) => document.querySelector('.dyntoolkit-plot').getBoundingClientRect().y < top - 50", arg=top
    )
    assert plot.locator(".zoombox, .modebar-btn").count() == 0


def test_an_error_in_drawing_is_a_sentence_on_the_page_and_the_next_frame_is_drawn(page):
    page.evaluate(
        "dyntoolkitPlotly.plotly.then((plotly) => {"
        "  globalThis.react = plotly.react; plotly.react = () => { throw new Error('no ink'); }; })"
    )
    page.emulate_media(color_scheme="dark")  # draws again
    page.get_by_text("The figure could not be drawn: no ink").wait_for()
    page.evaluate("dyntoolkitPlotly.plotly.then((plotly) => { plotly.react = globalThis.react; })")
    page.emulate_media(color_scheme="light")
    page.wait_for_function("document.querySelector('.dyntoolkit-error').textContent === ''")


def test_a_frame_that_gets_lost_is_asked_for_again(browser_page, voila_server, folder):
    browser_page.goto(f"{voila_server(folder)}/voila/render/lossy.ipynb")
    browser_page.wait_for_selector(LAST)
    browser_page.locator(f"{LAST} .heatmaplayer image").wait_for(state="attached")


def test_panels_come_and_go_while_it_grows(browser_page, voila_server, folder):
    said = []
    browser_page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    browser_page.goto(f"{voila_server(folder)}/voila/render/changing.ipynb")
    browser_page.get_by_role("button", name="loss").first.press("Enter")
    browser_page.wait_for_selector(".dyntoolkit-board[data-step='89']")
    assert [heading.inner_text() for heading in browser_page.locator(".dyntoolkit-panel h3").all()] == [
        *(names := ["Loss", "Norms", "Weights W1", "Alignment"]),
        *(f"{name} again" for name in names),
    ]
    browser_page.wait_for_function(f"{FITS} && document.querySelectorAll('.dyntoolkit-plot').length === 8")
    assert browser_page.locator(".dyntoolkit-error").inner_text() == ""
    assert [text for text in said if "could not be" in text or "TypeError" in text] == []
    drawn = {".scatterlayer .trace": 8 - 2, ".barlayer .trace": 4, ".heatmaplayer image": 2}
    for selector, count in drawn.items():
        assert browser_page.locator(f".dyntoolkit-plot {selector}").count() == count, selector
    first = browser_page.get_by_role("button", name="loss").first  # of a panel that was there all along
    assert first.get_attribute("aria-pressed") == "false"


def test_in_jupyterlab_it_survives_a_reload(browser_page, lab_server, folder):
    browser_page.goto(f"{lab_server(folder)}/lab/tree/one.ipynb?reset")
    browser_page.locator(".jp-CodeCell").nth(1).wait_for()
    browser_page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    browser_page.locator(".jp-CodeCell").first.click()
    browser_page.keyboard.press("Shift+Enter")
    browser_page.keyboard.press("Shift+Enter")
    browser_page.wait_for_selector(LAST)
    browser_page.keyboard.press("Control+s")
    browser_page.wait_for_function("!document.querySelector('.jp-mod-dirty')")
    browser_page.reload()
    browser_page.wait_for_selector(LAST)
    browser_page.locator(f"{LAST} .heatmaplayer image").wait_for(state="attached")
