"""The static site, opened from the disk in a browser without a network."""

import gzip
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from axe import serious
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser
LINKS_CUT = """[...document.querySelectorAll("article a")].filter((link) =>
  link.getBoundingClientRect().right > innerWidth + 1 && !link.closest("pre, .table-wrapper, .dyn-formula"))
  .map((link) => link.textContent)"""
NOTEBOOKS = ("condensation", "label_noise")
expect.set_options(timeout=30_000)  # ms: on a busy machine a browser takes its time
LIMIT = 3_000_000  # bytes of a page with all that it loads, gzipped


BUILD = """
import sys
from dyntoolkit.app.cli import main
small, everything = sys.argv[1:]
sys.exit(main(["site", small, "condensation", "label_noise", "--values", "3", "--seeds", "1"])
         or main(["site", everything, "--values", "0"]))
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One of two notebooks whose sliders have three values each; and one of all notebooks, without runs.

    A warning of Sphinx about any page would be an error.
    """
    folder = tmp_path_factory.mktemp("sites")
    command = [sys.executable, "-c", BUILD, str(folder / "small"), str(folder / "all")]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    return folder / "small", folder / "all"


@pytest.fixture
def site(sites: tuple[Path, Path]) -> Path:
    """The small one."""
    return sites[0]


class Parts(HTMLParser):
    """What a page loads, where its links lead, and what links can lead to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.links: set[str] = set()
        self.names: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names |= {value for name in ("id", "name") if (value := found.get(name))}
        if tag == "a" and found.get("href"):
            self.links.add(str(found["href"]))
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.add(str(found["href"]))
        elif found.get("src"):
            self.loaded.add(str(found["src"]))


def pages_of(folder: Path) -> dict[str, Parts]:
    return {path.name: Parts(path) for path in sorted(folder.glob("*.html"))}


def test_every_link_between_pages_leads_somewhere(sites: tuple[Path, Path]) -> None:
    for folder in sites:
        pages = pages_of(folder)
        assert {"index.html", "claims.html", "api.html", *(f"{name}.html" for name in NOTEBOOKS)} <= set(pages)
        for name, parts in pages.items():
            for link in map(urlsplit, parts.links):
                if link.scheme:
                    assert link.scheme in ("http", "https"), link
                    continue
                target = unquote(link.path) or name
                assert (folder / target).is_file(), f"{name} links to {link.geturl()}"
                if link.fragment and target.endswith(".html"):
                    assert unquote(link.fragment) in pages[target].names, f"{name} links to {link.geturl()}"


def test_a_page_loads_files_of_the_site_only_and_few_bytes(site: Path) -> None:
    for name, parts in pages_of(site).items():
        loaded = [urlsplit(address) for address in parts.loaded if not address.startswith("data:")]
        assert all(not address.scheme and not address.netloc for address in loaded), name
        files = [site / name, *(site / unquote(address.path) for address in loaded)]
        assert sum(len(gzip.compress(file.read_bytes())) for file in files) < LIMIT, name


def open_page(page: Page, site: Path, name: str) -> Locator:
    page.goto((site / f"{name}.html").as_uri())
    board = page.locator(".dyntoolkit-board")
    expect(board).not_to_have_attribute("data-frame", "0")
    return board


def curve(page: Page) -> str | None:
    return page.locator(".dyntoolkit-plot .scatterlayer path.js-line").first.get_attribute("d")


def test_a_slider_moves_the_curves_and_the_claims_without_a_network(browser_page: Page, site: Path) -> None:
    page = browser_page
    page.context.set_offline(True)
    board = open_page(page, site, "label_noise")
    expect(page.locator(".image_png, .cell_output > img").first).to_be_hidden()  # the stored picture
    before, claims = curve(page), page.locator(".dyn-claims").inner_text()
    expect(page.get_by_text("Nothing trains on this page")).to_be_visible()  # whatever the text says of buttons
    live = page.get_by_role("link", name="Open it live")
    address = live.get_attribute("href")
    slider = page.get_by_role("slider", name="label noise")
    frame = int(board.get_attribute("data-frame") or 0)
    slider.focus()
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "0")
    expect(board).not_to_have_attribute("data-frame", str(frame))
    assert curve(page) != before
    assert page.locator(".dyn-claims").inner_text() != claims
    assert live.get_attribute("href") != address


def test_the_time_lapse_moves_with_the_keyboard_and_plays(browser_page: Page, site: Path) -> None:
    page = browser_page
    page.context.set_offline(True)
    board = open_page(page, site, "condensation")
    lapse = page.get_by_role("slider", name="Time-lapse")
    lapse.press("Home")
    expect(board).to_have_attribute("data-step", "0")
    expect(page.get_by_role("status")).to_have_text("The figures look back; the claims refer to the end of the run.")
    slider = page.locator(".dyn-sliders").get_by_role("slider").first
    slider.press("Home")  # another run, at the same moment
    expect(board).to_have_attribute("data-step", "0")
    page.get_by_role("button", name="Play").click()
    expect(lapse).to_have_value(str(lapse.get_attribute("max")))
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    step = str(lapse.get_attribute("aria-valuetext")).removeprefix("step ").replace(",", "")
    expect(board).to_have_attribute("data-step", step)
    expect(page.get_by_role("status")).to_have_text("")


def test_the_site_can_be_searched_without_a_server(browser_page: Page, site: Path) -> None:
    browser_page.context.set_offline(True)
    browser_page.goto((site / "search.html").as_uri() + "?q=staircase")
    expect(browser_page.locator("#search-results li").first).to_be_visible()


@pytest.mark.parametrize(("kind", "scheme"), [("browser_page", "light"), ("phone_page", "dark")])
def test_every_page_can_be_used_by_everybody(
    request: pytest.FixtureRequest, site: Path, kind: str, scheme: Literal["light", "dark"]
) -> None:
    page: Page = request.getfixturevalue(kind)
    page.context.set_offline(True)
    page.emulate_media(color_scheme=scheme)
    for name in pages_of(site):
        if name.removesuffix(".html") in NOTEBOOKS:
            open_page(page, site, name.removesuffix(".html"))
        else:
            page.goto((site / name).as_uri())
        page.evaluate("document.querySelectorAll('dl.py').forEach((entry, k) => k < 9 || entry.remove())")  # are alike
        assert serious(page) == [], name
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, name
        assert page.evaluate(LINKS_CUT) == [], name
