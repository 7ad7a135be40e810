"""From the click on Spread to the first curves of the spread in the browser.

Opens a notebook in Voila, spreads a slider over 8 values around the present one as a person would, and lets the page
itself take the time: click to the new curves, of two points at least, in the spread's first panel. The slider is moved
between two spreads, so that none repeats numbers. Prints median and range.
"""

import argparse

from _browser import CURVE, FINISHED, new_pages, server
from _spread import machine, spread
from playwright.sync_api import Page

WATCH = """(values) => {
  const section = document.querySelector(".dyn-compare");
  const button = section.querySelector(".dyn-spread-run");
  const curves = () => [...(section.querySelector(".dyntoolkit-plot")?.querySelectorAll("path.js-line") ?? [])]
    .map((path) => path.getAttribute("d")).filter((d) => d?.includes("L")); // a curve has a line to somewhere
  window.spread = null;
  button.addEventListener("click", () => {
    const before = new Set(curves());
    const pressed = performance.now();
    window.spread = null;
    const watch = new MutationObserver(() => {
      if (curves().filter((d) => !before.has(d)).length < values - 2) return; // its ends may be those of before
      window.spread = performance.now() - pressed;
      watch.disconnect();
    });
    watch.observe(section, { subtree: true, childList: true, attributeFilter: ["d"] });
  }, { capture: true });
}"""


def measure(page: Page, field: str, values: int, repeats: int) -> list[float]:
    """Milliseconds of each repeat until the first curves of all values."""
    page.wait_for_function(FINISHED)
    page.wait_for_selector(CURVE)
    page.get_by_role("button", name="Spread a slider, map two").first.click()
    page.locator(".dyn-spread-run").first.wait_for()
    page.evaluate(WATCH, values)
    times = []
    for k in range(repeats):
        page.locator(".dyn-spread-run").first.click()
        page.wait_for_function("window.spread !== null", polling=10)
        times.append(page.evaluate("window.spread"))
        page.wait_for_function(FINISHED)
        page.focus(f'.dyn-field-{field} [role="slider"]')
        page.keyboard.press("ArrowLeft" if k % 2 else "ArrowRight")
        page.wait_for_timeout(500)
        page.wait_for_function(FINISHED)
    return times


def main() -> None:
    """Print the first time and those that follow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notebook", default="label_noise.ipynb", help="whose first dashboard has this main slider")
    parser.add_argument("--field", default="lr", help="the slider; it must be the first one")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    with server() as address, new_pages() as pages:
        page = next(pages)
        page.goto(address + options.notebook)
        first, *others = measure(page, options.field, 8, options.repeats)
    print(f"{options.notebook}, slider {options.field} over 8 values; {machine()}")
    print(f"click to first curves, once a page is open: {first:.0f} ms")
    print(f"click to first curves, after that: {spread(others, 'ms')}   (to reach: 400 ms)")


if __name__ == "__main__":
    main()
