"""The server of the notebooks and a browser, for benchmarks that measure what a person sees."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WAIT = 180_000  # ms the browser waits for a condition
FINISHED = "document.querySelector('.dyn-status')?.textContent.startsWith('Finished')"
CURVE = "path.js-line"  # a curve that plotly has drawn
SERVE = """
import sys
from pathlib import Path
from dyntoolkit.app import cli, gallery
if folder := sys.argv.pop(1):
    gallery.notebooks = lambda: Path(folder)
sys.exit(cli.main(["serve", "--no-browser", *sys.argv[1:]]))
"""


@contextmanager
def server(folder: Path | None = None) -> Iterator[str]:
    """The address, up to a notebook's name, of `dyntoolkit serve` on a free port; folder: with other notebooks."""
    with server_process(folder) as (address, _):
        yield address


@contextmanager
def server_process(folder: Path | None = None, max_sessions: int = 0) -> Iterator[tuple[str, int]]:
    """The same and its process id. max_sessions: pages that are live at once, 0: as many as the machine can take."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(folder or ""), "--port", str(port)]
    if max_sessions:
        arguments += ["--max-sessions", str(max_sessions)]
    process = subprocess.Popen([sys.executable, "-c", SERVE, *arguments], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/voila/render/"
    try:
        while not answers(address + "nothing.ipynb"):
            if process.poll() is not None:
                raise RuntimeError("the server ended before it answered")
            time.sleep(0.2)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    """Whether a server speaks there."""
    try:
        with urllib.request.urlopen(address, timeout=60):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False


@contextmanager
def new_pages() -> Iterator[Iterator[Page]]:
    """Chromium's pages, each in a fresh profile with an empty cache; the one before is closed."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])

        def pages() -> Iterator[Page]:
            while True:
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                context.set_default_timeout(WAIT)
                context.set_default_navigation_timeout(WAIT)
                yield context.new_page()
                context.close()

        yield pages()
        browser.close()
