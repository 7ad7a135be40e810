"""Many readers and few places; and pages whose kernel or server has ended."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import nbformat
import nbformat.v4 as nb
import pytest
from dashboards import Dashboard
from playwright.sync_api import BrowserContext, Page, expect
from serving import Served
from waiting import wait_for

pytestmark = pytest.mark.browser
expect.set_options(timeout=90_000)

STORED = nb.new_output("display_data", {"text/html": "<p>as it was stored</p>"})
LIVE = "from IPython.display import HTML\nHTML('<p>live</p>')"
EXPLORE = """
from dyntoolkit.dashboard import explore, parameters
view = explore("label_noise.linear", **({"steps": 500, "width": 16} | parameters(globals(), "label_noise.linear")))
"""
NEWS = "#dyn-news"
WAITS = "the page becomes live when"
LOST = "The connection to the server is lost."
ENDED = "What this page computes with has ended."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("places")
    pages = {"small": nb.new_code_cell(LIVE, outputs=[STORED]), "explore": nb.new_code_cell(EXPLORE)}
    for name, cell in pages.items():
        cells = [nb.new_markdown_cell("# A page"), cell]
        nbformat.write(nb.new_notebook(cells=cells), path / f"{name}.ipynb")
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with Served(folder, "--max-sessions", "3") as served:
        yield served


def opened(context: BrowserContext, server: Served, notebook: str = "small") -> Page:
    """A new page of the browser with that notebook."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/voila/render/{notebook}.ipynb")
    return page


def leave(page: Page) -> None:
    """Close it as a person does: the page still says so to the server, which Playwright's closing leaves out."""
    page.goto("about:blank")
    page.close()


def test_who_finds_no_place_reads_what_is_stored_and_enters_in_turn(
    browser_context: BrowserContext, server: Served
) -> None:
    leave(opened(browser_context, server, "nothing"))  # which does not exist, and takes no place
    live = [opened(browser_context, server) for _ in range(3)]
    for page in live:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        expect(page.locator(NEWS)).to_have_text("")
    late = [opened(browser_context, server) for _ in range(3)]
    for k, page in enumerate(late):
        expect(page.locator(NEWS)).to_contain_text(f"{WAITS} {k + 1 if k else 'one'} page")
        expect(page.get_by_text("as it was stored")).to_be_visible()
    assert len(server.kernels()) == 3
    leave(live[1])
    expect(late[0].get_by_text("live", exact=True)).to_be_visible()
    assert "_ticket" not in late[0].url
    expect(late[1].locator(NEWS)).to_contain_text(f"{WAITS} one page")
    expect(late[2].locator(NEWS)).to_contain_text(f"{WAITS} 2 pages")
    assert len(server.kernels()) == 3
    for page in (*live[::2], *late):
        leave(page)
    wait_for(lambda: not server.kernels())


def test_kernel_that_was_killed_is_replaced_with_the_same_settings(
    browser_context: BrowserContext, server: Served
) -> None:
    dashboard, noise = with_moved_noise(browser_context, server)
    (kernel,) = server.kernels()
    kernel.send_signal(signal.SIGKILL)
    start_again(dashboard, noise)
    leave(dashboard.page)
    wait_for(lambda: not server.kernels())


def test_server_that_was_killed_and_is_there_again(browser_context: BrowserContext, folder: Path) -> None:
    with Served(folder) as first:
        dashboard, noise = with_moved_noise(browser_context, first)
        first.process.kill()
        first.process.communicate()
        expect(dashboard.page.locator(".dyn-status [role=alert]")).to_contain_text(LOST)
        with Served(folder, "--port", str(first.port)) as second:
            start_again(dashboard, noise)
            leave(dashboard.page)
            wait_for(lambda: not second.kernels())


def with_moved_noise(context: BrowserContext, server: Served) -> tuple[Dashboard, str]:
    """A dashboard with a finished run of other settings than its first one, and the noise of that run."""
    dashboard = Dashboard(opened(context, server, "explore"))
    dashboard.wait_until_finished()
    with dashboard.run_to_the_end():
        dashboard.press("noise_std", "ArrowRight")
    return dashboard, dashboard.value("noise_std")


def start_again(dashboard: Dashboard, noise: str) -> None:
    """What the page says of its kernel's end, and what it offers."""
    alarm = dashboard.root.locator(".dyn-status [role=alert]")
    expect(alarm).to_contain_text(ENDED)
    link = alarm.get_by_role("link", name="Start again")
    assert re.search(rf"[?&]noise_std={re.escape(noise)}(&|$)", link.get_attribute("href") or "")
    link.click()
    dashboard.page.wait_for_url("**noise_std=**")
    dashboard.wait_until_finished()
    assert dashboard.value("noise_std") == noise
    expect(alarm).to_have_text("")
