"""A page on paper: all of it, on as many sheets as it takes."""

import re

import pytest
from dashboards import Dashboard
from looks import VISIBLE

pytestmark = pytest.mark.browser

A4 = {"format": "A4", "margin": dict.fromkeys(("top", "bottom", "left", "right"), "1cm")}
# What is on the paper, measured while the page is laid out for it.
LOOK = f"""() => {{
  const visible = {VISIBLE};
  const all = (selector) => [...document.querySelectorAll(selector)].filter(visible);
  const width = () => document.documentElement.clientWidth;
  const name = (node) => `${{node.tagName}} ${{node.getAttribute("class")}} ${{node.textContent.slice(0, 40)}}`;
  // MathJax's text for screen readers is cut off for the eye.
  const seen = "main *:not(svg *, mjx-assistive-mml, mjx-assistive-mml *)";
  const cut = () => all(seen).filter((node) => node.getBoundingClientRect().right > width() + 1
    || (node.scrollWidth > node.clientWidth + 1 && /auto|scroll|hidden|clip/.test(getComputedStyle(node).overflowX)));
  window.screen_plot = document.querySelector(".dyntoolkit-plot").clientWidth;
  matchMedia("print").addEventListener("change", ({{ matches }}) => {{
    if (!matches) return;
    window.paper = {{
      width: width(),
      cut: cut().map(name),
      buttons: all(".dyn-dashboard .jupyter-button, .slider-container, .modebar, .dyn-controls-run").map(name),
      fields: all(".dyn-field").length,
      values: all(".dyn-dashboard .widget-readout").map((node) => node.textContent),
      plots: all(".dyntoolkit-plot").map((node) => node.clientWidth),
      drawn: all(".dyntoolkit-plot").map((node) => {{
        const [plot, drawing, area] = [node, ...node.querySelectorAll(".main-svg:first-child, .nsewdrag")].map((part) =>
          part.getBoundingClientRect());
        return area.right <= plot.right && area.bottom < plot.bottom && Math.abs(drawing.height - plot.height) < 2;
      }}),
      ink: getComputedStyle(document.querySelector(".xtick text")).fill,
      pictures: all(".dyn-cell:has(.dyn-placeholder) img").length,
      placeholders: document.querySelectorAll(".dyn-cell:has(.dyn-placeholder)").length,
    }};
  }});
}}"""


def test_all_of_a_page_is_printed(browser_page, dyntoolkit_server):
    page = browser_page
    page.emulate_media(color_scheme="dark")
    dashboard = Dashboard(page)
    dashboard.open(f"{dyntoolkit_server}/voila/render/label_noise.ipynb?steps=500")
    page.locator(".dyn-tex mjx-container").first.wait_for()
    page.locator(".dyn-placeholder .dyn-near").first.wait_for(state="attached")
    page.evaluate(LOOK)
    printed = page.pdf(**A4)
    paper = page.evaluate("paper")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 5
    assert paper["width"] < 760
    assert paper["cut"] == []
    assert paper["buttons"] == []
    assert paper["fields"] == dashboard.root.locator(".dyn-field").count()  # also those that are folded away
    assert "500" in paper["values"]
    assert paper["plots"] != []
    assert min(paper["plots"]) > 0.4 * paper["width"]
    assert all(paper["drawn"])
    assert sum(map(int, re.findall(r"\d+", paper["ink"])[:3])) < 3 * 100  # dark on white
    assert paper["pictures"] == paper["placeholders"] > 3
    page.wait_for_function("document.querySelector('.dyntoolkit-plot').clientWidth === screen_plot")
