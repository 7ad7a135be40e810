"""`dyntoolkit show`: a sweep of which a part is missing, in a page."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from looks import CUT, FAINT, STICKING_OUT, set_width
from tiny_experiment import TINY
from waiting import free_port

from dyntoolkit.catalog.sweep import sweep

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path):
    """Of a sweep over lr and steps, one step count of which is not there any more."""
    folder = tmp_path / "<b>mine</b>"
    with ThreadPoolExecutor(1) as executor:
        sweep(TINY, {"lr": [0.1, 0.3, 0.5], "steps": [20, 40]}, 2, out=folder, curves=True, executor=executor)
    min((folder / "batches").iterdir()).unlink()
    command = [sys.executable, "-m", "dyntoolkit", "show", folder, "--no-browser", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        lines = iter(server.stdout.readline, "")
        yield next(line for line in lines if line.startswith("dyntoolkit is at ")).split()[3]
        server.terminate()


def test_it_is_looked_through_and_says_what_is_missing(browser_page, address):
    browser_page.goto(address)
    browser_page.get_by_text("not trained yet: 6 of the runs").and_(
        browser_page.locator("main .dyn-sweep-words *")
    ).wait_for()
    assert browser_page.get_by_role("link", name="All notebooks").count() == 0
    assert "<b>mine</b>" in browser_page.get_by_role("main").inner_text()
    drawn = "(kind) => document.querySelector('.dyntoolkit-plot')?.data?.every(({ type }) => type === kind)"
    browser_page.wait_for_function(drawn, arg="heatmap")
    rows = browser_page.evaluate("document.querySelector('.dyntoolkit-plot').data[0].z.map((row) => [...row])")
    assert [[value is not None and value == value for value in row] for row in rows] == [[True] * 3, [False] * 3]
    browser_page.get_by_label("Show", exact=True).select_option("x")
    browser_page.wait_for_function(drawn, arg="scatter")
    for width, height in ((1280, 800), (390, 844)):
        set_width(browser_page, width, height)
        assert browser_page.evaluate(STICKING_OUT) == []
        assert browser_page.evaluate(CUT) == []
        assert browser_page.evaluate(FAINT, 4.5) == []
