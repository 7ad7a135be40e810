"""A reader's own file of data, chosen on a page as a person does."""

import pytest
from dashboards import Dashboard
from looks import CUT, FAINT, FOCUSED, INKS, STICKING_OUT, set_width

pytestmark = pytest.mark.browser

CELL = """\
from dataclasses import replace

import numpy as np

import dyntoolkit as dt
from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError


class Means(dt.Config):
    "What is the mean of a column?"
    data: str = dt.choice("ones", ["ones", "file"], main=True)
    lr: float = dt.number(0.5, 0.1, 0.9, main=True)
    steps: int = dt.number(50, 10, 100, structural=True)


def simulate(configs, seeds, columns=None):
    if configs[0].data == "file" and columns is None:
        raise InputError("Choose the file again: it does not travel in a link.", "data")
    mean = 1.0 if columns is None else columns[configs[0].target].mean()
    for k in range(configs[0].steps + 1):
        guess = np.array([mean * (1 - (1 - config.lr) ** k) for config in configs])
        yield Frame(k, configs[0].steps, {"guess": guess}, np.full(len(seeds), -1))


def of_file(name, content):
    head, *lines = content.decode().partition("#")[0].splitlines()
    names = head.split(",")
    if not lines:
        raise InputError(f"{name} has no rows.", "file")
    table = np.array([line.split(",") for line in lines], dtype=float)

    class OfFile(Means):
        data: str = dt.choice("file", ["file"])
        target: str = dt.choice(names[0], names, label="What to predict", main=True)

    columns = dict(zip(names, table.T))
    return replace(
        EXPERIMENT,
        config=OfFile,
        presets={"file": dt.Preset(f"{len(lines)} rows of {name}")},
        simulate=lambda configs, seeds: simulate(configs, seeds, columns),
    )


EXPERIMENT = dt.Experiment("means.own", Means, simulate, file=of_file)
view = dt.explore(EXPERIMENT, **dt.parameters(globals(), EXPERIMENT))
"""
EVIL = ["<script>document.title='taken'</script>", "=cmd|' /C calc'!A0", "<img src=x onerror=document.title='taken'>"]
MB = 1_000_000


@pytest.fixture(scope="session")
def folder(tmp_path_factory, write_notebook):
    folder = tmp_path_factory.mktemp("means")
    write_notebook(folder / "means.ipynb", CELL)
    return folder


@pytest.fixture
def prices(tmp_path):
    """Two megabytes: more than a server takes in one message."""
    path = tmp_path / "prices.csv"
    path.write_text("price,rooms\n" + "5,3\n" * (MB // 2))
    return path


@pytest.fixture
def voila(browser_page, voila_server, folder):
    dashboard = Dashboard(browser_page)
    dashboard.open(f"{voila_server(folder)}/voila/render/means.ipynb")
    return dashboard


@pytest.fixture
def lab(browser_page, lab_server, folder):
    browser_page.goto(f"{lab_server(folder)}/lab/tree/means.ipynb?reset")
    browser_page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    browser_page.get_by_role("menuitem", name="Run", exact=True).click()
    browser_page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    dashboard = Dashboard(browser_page)
    dashboard.wait_until_finished()
    return dashboard


def choose(dashboard, path):
    """Press the button, with the keyboard, and choose that file."""
    button = dashboard.root.get_by_role("group", name="Your data").get_by_role("button", name="Choose a CSV file")
    with dashboard.page.expect_file_chooser() as chooser:
        button.press("Enter")
    chooser.value.set_files(path)


def note(dashboard):
    return dashboard.root.locator(".dyn-file-note").text_content()


def end(dashboard):
    """Where the curve ends."""
    return dashboard.curves()[0][0]["y"][-1]


def sparse(path, size):
    """A file of that size, of zeros."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_file_is_trained_on_in_place_with_the_sliders_where_they_are(voila, prices):
    assert note(voila) == "at most 50 MB"
    with voila.run_to_the_end():
        voila.press("lr", "ArrowRight")
    value = voila.value("lr")
    voila.page.evaluate("document.querySelector('.dyn-board .dyntoolkit-board').dataset.mine = 'yes'")
    with voila.run_to_the_end():
        choose(voila, prices)
    assert end(voila) == pytest.approx(5)
    assert (note(voila), voila.value("lr")) == ("prices.csv", value)
    assert voila.page.locator(".dyntoolkit-board[data-mine]").count() == 1  # nothing of the figure was made anew
    assert voila.page.evaluate("document.activeElement.textContent") == "Choose a CSV file"
    with voila.run_to_the_end():
        voila.root.get_by_label("What to predict").select_option("rooms")
    assert end(voila) == pytest.approx(3)


def test_a_wrong_file_is_said_nothing_is_lost_and_it_can_be_corrected(voila, tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("price\n")
    before = voila.numbers()
    choose(voila, path)
    voila.wait_for_alarm("few.csv has no rows.")
    path.write_text("price\nfour\n")
    choose(voila, path)
    voila.wait_for_alarm("ValueError: could not convert string to float: 'four' (a cell, line 31: table = np.array(")
    assert voila.numbers() == before
    path.write_text("price\n4\n")
    with voila.run_to_the_end():
        choose(voila, path)
    assert end(voila) == pytest.approx(4)


def test_names_are_shown_as_text_only(voila, tmp_path):
    path = tmp_path / "<img src=x onerror=document.title='taken'>.csv"
    path.write_text(",".join(EVIL) + "\n1,2,3\n")
    with voila.run_to_the_end():
        choose(voila, path)
    assert note(voila) == path.name
    options = voila.root.get_by_label("What to predict").locator("option").all_text_contents()
    assert [option.replace("\xa0", " ") for option in options] == EVIL
    for name in EVIL[1:]:
        with voila.run_to_the_end():
            voila.root.get_by_label("What to predict").select_option(name)
    voila.page.get_by_text(f"1 rows of {path.name}").wait_for()
    assert voila.page.locator("img[src=x]").count() == 0
    assert voila.page.title() != "taken"


def test_of_a_link_to_a_file_the_sliders_are_kept(browser_page, voila_server, folder, prices):
    dashboard = Dashboard(browser_page)
    browser_page.goto(f"{voila_server(folder)}/voila/render/means.ipynb?data=file&lr=0.8&seed=3")
    dashboard.wait_for_alarm("Choose the file again")
    with dashboard.run_to_the_end("seed 3"):
        choose(dashboard, prices)
    assert dashboard.value("lr") == "0.8"
    assert end(dashboard) == pytest.approx(5)


def test_the_row_fits_and_is_legible(voila, tmp_path):
    path = tmp_path / f"{'a long name of measurements ' * 3}.csv"
    path.write_text("price\n4\n")
    with voila.run_to_the_end():
        choose(voila, path)
    for width, height in ((1280, 800), (390, 844)):
        set_width(voila.page, width, height)
        assert voila.page.evaluate(STICKING_OUT) == []
        assert voila.page.evaluate(CUT) == []
        row = voila.root.locator(".dyn-file").bounding_box()
        first = voila.root.locator(".dyn-fields").first.bounding_box()
        assert 0 < first["y"] - row["y"] - row["height"] < 20  # right above the first setting
        for scheme in ("light", "dark"):
            voila.page.emulate_media(color_scheme=scheme)
            ink = "rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)"
            voila.page.wait_for_function(f"{INKS}.every((ink) => ink === '{ink}')")  # the figure has followed
            assert voila.page.evaluate(FAINT, 4.5) == []
    assert voila.page.evaluate(FOCUSED) == ["Choose a CSV file", True]


@pytest.mark.parametrize("place", ["voila", "lab"])
def test_a_file_that_is_too_large_is_refused_and_the_page_lives(place, request, tmp_path, prices):
    dashboard = request.getfixturevalue(place)
    for size in (60, 200):
        choose(dashboard, sparse(tmp_path / f"{size}.csv", size * MB))
        dashboard.wait_for_alarm(f"{size}.csv has {size}.0 MB: a file of data may have 50 MB at most.")
    with dashboard.run_to_the_end():
        choose(dashboard, prices)
    assert end(dashboard) == pytest.approx(5)


def test_a_file_of_nearly_as_much_as_is_allowed_comes(voila, tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("price\n1\n#" + " " * 49 * MB)
    with voila.run_to_the_end():
        choose(voila, path)
    assert end(voila) == pytest.approx(1)
