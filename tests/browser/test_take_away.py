"""Files of the present run, as a reader takes them away from a page."""

import pytest
from dashboards import Dashboard
from looks import CUT, FAINT, STICKING_OUT, set_width

from dyntoolkit.catalog.stored_run import read_run
from dyntoolkit.dashboard.save import FORMATS

pytestmark = pytest.mark.browser

CELL = """\
import torch

import dyntoolkit as dt


class Valley(dt.Config):
    "How does x fall?"
    lr: float = dt.number(0.15, 0.01, 0.3, log=True, main=True)
    steps: int = dt.number(20, 10, 100, structural=True)


def simulate(configs, seeds):
    lr = dt.per_run(configs, "lr")
    return dt.train(
        dt.Sgd(dt.Stream(seeds, "init").normal(2)),
        lambda state, _: dt.sgd(state, state.theta, lr),
        dt.full_batch,
        dt.evenly(configs[0].steps, 11),
        lambda k, state: {"loss": (state.theta**2).sum(1).numpy() / 2},
    )


view = dt.explore(dt.Experiment("valley", Valley, simulate), lr=0.2, seed=3)
"""
BUTTONS = {
    "CSV": ".csv",
    "netCDF": ".nc",
    "JSON": ".json",
    "SVG": ".svg",
    "PNG": ".png",
    "HTML": ".html",
    "Weights": ".safetensors",
    "Report": ".report.html",
    "BibTeX": ".bib",
}


@pytest.fixture
def valley(browser_page, voila_server, tmp_path, write_notebook):
    write_notebook(tmp_path / "valley.ipynb", CELL)
    browser_page.emulate_media(color_scheme="dark")
    dashboard = Dashboard(browser_page)
    dashboard.open(f"{voila_server(tmp_path)}/voila/render/valley.ipynb")
    dashboard.wait_until_finished()
    dashboard.root.get_by_role("button", name="Take away").press("Enter")
    return dashboard


def take(dashboard, folder):
    """A click on each button: suffix -> path of the file."""
    found = {}
    for name, suffix in BUTTONS.items():
        with dashboard.page.expect_download() as download:
            dashboard.root.locator(".dyn-take").get_by_role("button", name=name).click()
        found[suffix] = folder / download.value.suggested_filename
        download.value.save_as(found[suffix])
        if suffix == ".safetensors":
            lines = dashboard.root.locator(".dyn-take-lines").inner_text()
            assert f"load_file('{found[suffix].name}')" in lines
    return found


def check_looks(page):
    for width, height in ((390, 844), (1280, 800)):
        set_width(page, width, height)
        assert page.evaluate(STICKING_OUT) == []
        assert page.evaluate(CUT) == []
        assert page.evaluate(FAINT, 4.5) == []


def test_each_button_gives_a_file_that_reproduces_the_run(valley, tmp_path):
    page, curve = valley.page, valley.curves()[0][0]
    taken = take(valley, tmp_path)
    check_looks(page)  # with all that the row can show
    assert set(taken) == set(FORMATS)
    assert {path.name for path in taken.values()} == {f"valley_lr=0.2_seed=3{suffix}" for suffix in FORMATS}
    stored = {suffix: read_run(path) for suffix, path in taken.items() if suffix != ".bib"}
    assert len({run.made.text() for run in stored.values()}) == 1
    assert stored[".csv"].made.settings == ({"lr": 0.2, "steps": 20},)

    page.route("file://**", lambda route: route.continue_())  # nothing else but this machine can be reached
    page.goto(taken[".html"].as_uri())
    page.wait_for_selector(".dyntoolkit-board[data-frame='1']")
    drawn = "Array.from(document.querySelector('.dyntoolkit-plot').data[0].y)"
    assert page.evaluate(drawn) == curve["y"]
    page.goto(taken[".report.html"].as_uri())
    assert page.get_by_role("heading", name="Valley").count() == 1
