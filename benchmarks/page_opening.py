"""From asking for a notebook's page to its text, its first slider and its first curve.

Opens a notebook in Voila as a person does, with an empty cache (a fresh profile) and with a warm one (once more in the
same profile), and lets the page itself take the times. Prints medians and ranges, and how they compare with importing
the toolkit in a fresh Python on the same machine.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator

from _browser import CURVE, FINISHED, new_pages, server
from _spread import machine, spread
from playwright.sync_api import Page

MARKS = {"text": "h1", "slider": '.dyn-field [role="slider"]', "curve": CURVE}
REACH = {"text": (0.7, 0.7), "slider": (2.5, 1.5), "curve": (3.0, 2.0)}  # seconds, with an empty and a warm cache
WATCH = """(marks) => {
  const seen = (window.opened = {});
  const look = () => {
    for (const [name, selector] of Object.entries(marks)) {
      const element = seen[name] === undefined && document.querySelector(selector);
      if (element && element.getClientRects().length && element.checkVisibility({ opacityProperty: true })) {
        seen[name] = performance.now() / 1000;
      }
    }
    if (Object.keys(seen).length < Object.keys(marks).length) requestAnimationFrame(look);
  };
  look();
}"""


def opened(page: Page, address: str) -> dict[str, float]:
    """Seconds from the request to each of MARKS, as the page sees it."""
    page.add_init_script(f"({WATCH})({MARKS!r})")
    page.goto(address, wait_until="commit")
    page.wait_for_function(f"Object.keys(window.opened ?? {{}}).length === {len(MARKS)}", polling=100)
    page.wait_for_function(FINISHED)
    times: dict[str, float] = page.evaluate("window.opened")
    return times


def twice(pages: Iterator[Page], address: str) -> tuple[dict[str, float], dict[str, float]]:
    """The same with an empty cache, and then in the same profile."""
    page = next(pages)
    cold = opened(page, address)
    again = page.context.new_page()
    page.close()
    return cold, opened(again, address)


def import_time() -> float:
    """Seconds that a fresh Python takes to import torch and the dashboard."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, dyntoolkit.dashboard.show"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--notebooks", nargs="+", default=["label_noise.ipynb"])
    options = parser.parse_args()
    imports = [import_time() for _ in range(options.repeats)]
    print(f"{machine()}\nimport of torch and the dashboard: {spread(imports, 's', 1)}")
    with server() as address, new_pages() as pages:
        for notebook in options.notebooks:
            runs = [twice(pages, address + notebook) for _ in range(options.repeats)]
            for which, cache in enumerate(("empty", "warm")):
                for name in MARKS:
                    seconds = [run[which][name] for run in runs]
                    reach = REACH[name][which]
                    print(f"{notebook}, {cache} cache, {name}: {spread(seconds, 's', 2)}   (to reach: {reach} s)")


if __name__ == "__main__":
    main()
