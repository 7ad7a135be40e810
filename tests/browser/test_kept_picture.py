"""In JupyterLab: the picture that a notebook's file keeps of a live dashboard."""

import base64
import io
import json

import pytest
from dashboards import Dashboard
from PIL import Image

pytestmark = pytest.mark.browser

PICTURE = "img.jp-needs-light-background"


END_KERNELS = """async () => {
  for (const { id } of await (await fetch("/api/sessions")).json()) {
    const token = document.cookie.match(/_xsrf=([^;]*)/)[1];
    await fetch(`/api/sessions/${id}`, { method: "DELETE", headers: { "X-XSRFToken": token } });
  }
  return (await (await fetch("/api/sessions")).json()).length;
}"""


def save(page):
    page.keyboard.press("Control+s")
    page.wait_for_function("!document.querySelector('.jp-mod-dirty')")


def stored(path):
    """The mimebundles of the first cell's displays, and the dashboard's picture among them."""
    outputs = json.loads(path.read_text())["cells"][0]["outputs"]
    bundles = [output["data"] for output in outputs if output["output_type"] == "display_data"]
    pictures = [data["image/png"] for data in bundles if "image/png" in data]
    return bundles, [base64.b64decode("".join(picture)) for picture in pictures]


def test_a_saved_notebook_keeps_the_newest_figure(browser_page, lab_server, write_notebook, tmp_path):
    code = "from dyntoolkit.dashboard import explore\nview = explore('label_noise.linear', steps=500)"
    path = write_notebook(tmp_path / "own.ipynb", code)
    page, server = browser_page, lab_server(tmp_path)
    page.goto(f"{server}/lab/tree/own.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    dashboard = Dashboard(page)
    dashboard.wait_until_finished()
    picture = page.locator(PICTURE)
    picture.wait_for(state="attached")
    assert not picture.is_visible()
    first = picture.get_attribute("src")

    root = dashboard.root.element_handle()
    before = dashboard.numbers()
    with dashboard.run_to_the_end():
        dashboard.press("lr", "ArrowLeft")
        dashboard.wait_for_new_curve(before)
    page.wait_for_function(
        "([selector, first]) => document.querySelector(selector).src !== first", arg=[PICTURE, first]
    )
    assert root.evaluate("(root) => root.isConnected")  # what shows the widgets is not drawn again
    assert not picture.is_visible()
    save(page)
    bundles, pictures = stored(path)
    assert [sorted(data) for data in bundles] == [
        ["application/vnd.jupyter.widget-view+json", "text/plain"],
        ["image/png", "text/plain"],
    ]
    assert len(pictures[0]) < 90_000  # 120 kB as text
    assert Image.open(io.BytesIO(pictures[0])).width > 600

    assert page.evaluate(END_KERNELS) == 0
    page.goto(f"{server}/lab/tree/own.ipynb?reset")
    picture.wait_for()  # in sight
    assert picture.evaluate("(img) => img.complete && img.naturalWidth > 600")
    assert page.locator(".dyn-dashboard").count() == 0

    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+Home")
    page.keyboard.insert_text("import dyntoolkit.dashboard.live_picture as own; own.REST = 600\n")
    page.keyboard.press("Control+Enter")
    dashboard.wait_until_finished()
    save(page)
    assert stored(path)[1] == pictures  # until there is a newer one
