"""Bytes that travel to the browser when a page is opened: over HTTP and WebSocket together, as transferred.

Opens the gallery with an empty cache and from there each notebook, as a person does; then each notebook directly, with
an empty cache. Counted until nothing has come for two seconds with the gallery, and until the first curve is drawn with
a notebook.
"""

import argparse
import time
from collections import Counter
from urllib.parse import urlsplit

from _browser import CURVE, FINISHED, new_pages, server
from _meter import metered
from _spread import machine, spread
from playwright.sync_api import Page

NOTEBOOKS = ("label_noise.ipynb", "cross_task_linearity.ipynb")
Megabytes = dict[str, list[float]]  # what was opened, and how: one number per repeat


def opening(page: Page, counts: "Counter[str]", name: str, seen: Megabytes) -> None:
    """Note the megabytes of a page that has just been asked for, over each way and in all."""
    if name.startswith("gallery"):
        _wait_for_silence(page, counts)
    else:
        page.wait_for_selector(CURVE)
    received = {**counts, "in all": counts.total()}
    if not name.startswith("gallery"):
        page.wait_for_function(FINISHED)
        received["in all, when the run is finished"] = counts.total()
    for way, number in received.items():
        seen.setdefault(f"{name}: {way}", []).append(number / 1e6)
    counts.clear()


def _wait_for_silence(page: Page, counts: "Counter[str]") -> None:
    before, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        if counts.total() != before:
            before, since = counts.total(), time.monotonic()
        page.wait_for_timeout(100)


def main() -> None:
    """Print the megabytes of each page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--notebooks", nargs="+", default=NOTEBOOKS)
    options = parser.parse_args()
    seen: Megabytes = {}
    with server() as address, metered(urlsplit(address).port or 0) as (port, counts), new_pages() as pages:
        folder = f"http://127.0.0.1:{port}{urlsplit(address).path}"
        for _ in range(options.repeats):
            for notebook in options.notebooks:
                page = next(pages)
                page.goto(folder + "index.ipynb")
                opening(page, counts, "gallery", seen)
                page.click(f"a[href='{notebook}']")
                opening(page, counts, f"{notebook} from there", seen)
                page = next(pages)
                counts.clear()
                page.goto(folder + notebook)
                opening(page, counts, f"{notebook} directly", seen)
    print(f"{machine()}   (to reach: 2 MB)")
    for name, megabytes in seen.items():
        print(f"{name}: {spread(megabytes, 'MB', 3)}")


if __name__ == "__main__":
    main()
