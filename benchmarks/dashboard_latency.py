"""From a slider's key press to the first changed curve in the browser, and from Stop to stopped.

Opens a notebook in Voila, presses the arrow key on a slider as a person would, and lets the page itself take the times:
key press to a curve of the new run in the plot's SVG, click on Stop to the status line's word. Prints median and range.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from _browser import CURVE, FINISHED, new_pages, server
from _spread import machine, spread
from playwright.sync_api import Page

WATCH = """(field) => {
  const dashboard = document.querySelector(".dyn-dashboard");
  const status = dashboard.querySelector(".dyn-status");
  const curves = () => [...dashboard.querySelectorAll("path.js-line")].map((path) => path.getAttribute("d"));
  const times = (window.latency = { curve: null, stop: null });
  const handle = dashboard.querySelector(`.dyn-field-${field} [role="slider"]`);
  handle.addEventListener("keydown", () => {
    const before = new Set(curves());
    const pressed = performance.now();
    const watch = new MutationObserver(() => {
      // A curve has at least two points, so its path has a line to somewhere.
      if (!curves().some((d) => d && d.includes("L") && !before.has(d))) return;
      times.curve = performance.now() - pressed;
      watch.disconnect();
    });
    watch.observe(dashboard, { subtree: true, childList: true, attributeFilter: ["d"] });
  }, { capture: true });
  dashboard.querySelector(".dyn-stop").addEventListener("click", () => {
    const pressed = performance.now();
    const watch = new MutationObserver(() => {
      if (!status.textContent.startsWith("Stopped")) return;
      times.stop = performance.now() - pressed;
      watch.disconnect();
    });
    watch.observe(status, { subtree: true, childList: true, characterData: true });
  }, { capture: true });
}"""


def measure(page: Page, field: str, repeats: int, *, stop: bool) -> list[float]:
    """Milliseconds of each repeat until the first changed curve, or from Stop to stopped."""
    page.wait_for_function(FINISHED)
    page.wait_for_selector(CURVE)
    page.evaluate(WATCH, field)
    times = []
    for k in range(repeats):
        page.focus(f'.dyn-field-{field} [role="slider"]')
        page.keyboard.press("ArrowLeft" if k % 2 else "ArrowRight")
        times.append(_arrived(page, "curve"))
        if stop:
            page.click(".dyn-stop")
            times[-1] = _arrived(page, "stop")
        page.wait_for_timeout(500)  # for the last drawing
    return times


def _arrived(page: Page, name: str) -> float:
    page.wait_for_function(f"window.latency.{name} !== null", polling=10)
    milliseconds: float = page.evaluate(f"const t = window.latency.{name}; window.latency.{name} = null; t")
    return milliseconds


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notebook", default="label_noise.ipynb")
    parser.add_argument("--field", default="noise_std", help="the slider to move")
    parser.add_argument("--long", default="steps=60000&width=256", help="settings of runs long enough to be stopped")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--address", help="of a Voila that runs already, up to the notebook's name")
    options = parser.parse_args()
    with server() if not options.address else _given(options.address) as address, new_pages() as pages:
        page = next(pages)
        page.goto(address + options.notebook)
        curve = measure(page, options.field, options.repeats, stop=False)
        page.goto(f"{address}{options.notebook}?{options.long}")
        stop = measure(page, options.field, options.repeats, stop=True)
    print(f"{options.notebook}, slider {options.field}; {machine()}")
    print(f"slider move to first changed curve: {spread(curve, 'ms')}   (to reach: 120 ms)")
    print(f"Stop to stopped: {spread(stop, 'ms')}   (to reach: 100 ms)")


@contextmanager
def _given(address: str) -> Iterator[str]:
    yield address


if __name__ == "__main__":
    main()
