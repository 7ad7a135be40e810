"""Pinned runs, a spread slider and a map of two, in a page and by real clicks."""

import pytest
from dashboards import Dashboard
from looks import CUT, FAINT, FOCUSED, STICKING_OUT, set_width
from waiting import wait_for

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


slow = dt.Control("with small steps", {"lr": 0.05})
falls = dt.Claim(id="falls", statement="x falls.", metric="x", bound=dt.below(0.1), controls=(slow,))
theory = {"x": lambda c: c.start * (1 - c.lr) ** c.steps}
border = {"falls": lambda c: theory["x"](c) - 0.1}
view = dt.explore(dt.Experiment("fall", Fall, simulate, claims=(falls,), predictions=theory, borders=border))
"""
ROWS = ".dyn-pins tbody tr"
PLACE = """([plot, selector, number]) => {  // of a mark's middle within its plot
  const { left, top } = plot.getBoundingClientRect();
  const mark = plot.querySelectorAll(selector)[number].getBoundingClientRect();
  return { x: mark.left + mark.width / 2 - left, y: mark.top + mark.height / 2 - top };
}"""


@pytest.fixture(scope="module")
def address(voila_server, tmp_path_factory, write_notebook):
    notebook = write_notebook(tmp_path_factory.mktemp("fall") / "fall.ipynb", CELL)
    return f"{voila_server(notebook.parent)}/voila/render/fall.ipynb"


@pytest.fixture
def fall(browser_page, address):
    dashboard = Dashboard(browser_page)
    dashboard.open(address)
    return dashboard


def names(dashboard):
    """The curves of the main figure's first panel."""
    return [curve["name"] for curve in dashboard.curves()[0]]


def click_into(plot, selector, number):
    """A click on the middle of a plot's mark."""
    plot.click(position=plot.page.evaluate(PLACE, [plot.element_handle(), selector, number]))


def pin(dashboard, count):
    """Pin the present run; then so many are pinned and drawn."""
    dashboard.button("pin").click()
    dashboard.root.locator(ROWS).nth(count).wait_for()
    drawn(dashboard, ".dyn-board", 1 + count)


def drawn(dashboard, section, count):
    """Wait until the first panel in the section has so many curves."""
    dashboard.page.wait_for_function(
        "([section, count]) => document.querySelector(`${section} .dyntoolkit-plot`)?.data?.length === count",
        arg=[section, count],
    )


def test_runs_are_pinned_compared_and_let_go_of(fall):
    pin(fall, 1)
    with fall.run_to_the_end():
        fall.press("lr", "ArrowRight")
    pin(fall, 2)
    with fall.run_to_the_end():
        fall.press("start", "ArrowRight")
    fall.page.wait_for_function("() => document.querySelector('.dyn-pins').textContent.includes('start 1')")
    fall.button("control").click()
    fall.root.get_by_role("row", name="control: with small steps").wait_for()
    drawn(fall, ".dyn-board", 4)
    lr, start = fall.value("lr"), fall.value("start")
    assert set(names(fall)) == {"measured", "lr 0.2, start 1", "start 1", "lr 0.05"}
    table = fall.root.get_by_role("table", name="Pinned runs")
    assert table.get_by_role("columnheader").all_inner_texts() == ["run", "lr", "start", "falls"]
    now, first, _, control = (row.inner_text().split("\t") for row in table.get_by_role("row").all()[1:])
    assert now[:3] == ["now", lr, start]
    assert first[1:3] == ["0.2", "1"]
    assert (first[3][0], control[3][0]) == ("✓", "✗")

    fall.root.locator(".dyn-lapse-slider input").press("Home")
    fall.page.wait_for_function(
        "() => [...document.querySelector('.dyn-board .dyntoolkit-plot').data].every(({ x }) => x.length === 1)"
    )

    fall.root.get_by_role("button", name="Unpin start 1", exact=True).press("Enter")
    drawn(fall, ".dyn-board", 3)
    wait_for(lambda: fall.page.evaluate(FOCUSED) == ["Unpin lr 0.05", True])  # goes on in the next row
    fall.root.get_by_role("button", name="Unpin all runs").click()
    drawn(fall, ".dyn-board", 1)
    fall.root.locator(ROWS).first.wait_for(state="detached")  # another message


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_six_pinned_runs_are_legible_on_a_desk_and_on_a_phone(fall, scheme):
    for count in range(1, 7):
        pin(fall, count)
        with fall.run_to_the_end():
            fall.press("lr", "ArrowRight")
    drawn(fall, ".dyn-board", 7)
    fall.button("pin").click()
    fall.wait_for_alarm("6 runs are pinned: unpin one to pin another.")
    fall.page.emulate_media(color_scheme=scheme)
    for width, height in ((1280, 800), (390, 844)):
        set_width(fall.page, width, height)
        assert fall.root.locator(".dyntoolkit-legend button").count() == 7
        assert fall.page.evaluate(STICKING_OUT) == []
        assert fall.page.evaluate(CUT) == []
        assert fall.page.evaluate(FAINT, 4.5) == []


def test_a_slider_is_spread_and_a_click_on_a_curve_sets_it(fall):
    fold = fall.root.get_by_role("button", name="Spread a slider, map two")
    assert fall.root.locator(".dyn-spread-run").count() == 0
    assert fold.get_attribute("aria-expanded") == "false"
    fold.press("Enter")
    fall.root.get_by_role("button", name="Spread a slider, map two", expanded=True).wait_for()
    fall.root.get_by_label("How many, or which").fill("0.1, 0.3, 0.6")
    fall.root.get_by_label("How many, or which").press("Tab")
    fall.root.locator(".dyn-spread-run").press("Enter")
    fall.wait_for_status("Finished: the spread of lr")
    drawn(fall, ".dyn-compare", 3)
    assert fall.page.evaluate(STICKING_OUT) == []
    plot = fall.root.locator(".dyn-compare .dyntoolkit-plot").first
    assert plot.get_attribute("data-label") == "x. x against step. Shown: 0.1, 0.3, 0.6."

    fall.root.get_by_label("Show", exact=True).select_option("x")
    drawn(fall, ".dyn-compare", 2)
    measured, theory = fall.page.evaluate("(plot) => plot.data.map(({ y }) => [y[0], y.at(-1)])", plot.element_handle())
    assert theory == pytest.approx(measured)
    with fall.run_to_the_end():
        click_into(plot, ".scatterlayer .point", 2)
    assert fall.value("lr") == "0.6"


def test_a_map_of_two_sliders_fills_in_and_a_click_sets_both(fall):
    fall.root.get_by_role("button", name="Spread a slider, map two").click()
    fall.root.get_by_label("Of", exact=True).select_option("claim falls")
    fall.root.locator(".dyn-slider-map-run").click()
    fall.wait_for_status("Finished: the map of claim falls")
    plot = fall.root.locator(".dyn-compare .dyntoolkit-plot:visible")
    fall.page.wait_for_function(
        "(plot) => plot.data?.[0].z.flatMap((row) => [...row]).every(Number.isFinite)", arg=plot.element_handle()
    )
    values = fall.page.evaluate("(plot) => plot.data[0].z.map((row) => [...row])", plot.element_handle())
    assert {value for row in values for value in row} == {0, 1}
    dashed = plot.locator(".shapelayer path").last.bounding_box()
    assert dashed["height"] > 100  # the border of what theory predicts crosses the map
    assert plot.page.locator(".dyn-compare .dyntoolkit-legend:visible button").all_inner_texts() == ["falls"]
    with fall.run_to_the_end():
        click_into(plot, ".heatmaplayer image", 0)
    middle = fall.page.evaluate("(plot) => [plot.data[0].x[8], plot.data[0].y[8]]", plot.element_handle())
    assert [fall.value("lr"), fall.value("start")] == middle
    for width, height in ((1280, 800), (390, 844)):
        set_width(fall.page, width, height)
        assert fall.page.evaluate(STICKING_OUT) == []
        assert fall.page.evaluate(CUT) == []
