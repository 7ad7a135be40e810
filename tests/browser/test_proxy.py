"""`dyntoolkit serve` below a path of a real nginx, under a name, with a token; and within pages of a course."""

import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from dashboards import Dashboard
from playwright.sync_api import BrowserContext, expect
from serving import Served
from waiting import free_port, is_open, wait_for

from dyntoolkit.app.gallery import notebooks

pytestmark = pytest.mark.browser
NAME = "dyn.localhost"  # which a browser takes for this machine
TOKEN = "sesame"
SECURITY = Path(__file__).parents[2] / "SECURITY.md"
NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


def documented(port: int) -> str:
    """The part of nginx' settings that SECURITY.md shows, for a server at this port."""
    text = SECURITY.read_text().partition("```nginx\n")[2].partition("```")[0]
    assert "127.0.0.1:8866" in text
    return text.replace("127.0.0.1:8866", f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address at which nginx passes on to the server."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        (pytest.fail if os.environ.get("DYNTOOLKIT_REQUIRE_NGINX") else pytest.skip)("no nginx on the PATH")
    if not SECURITY.exists():
        pytest.skip("needs a checkout")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    options = ("--base-url", "/dyn/", "--allow-host", NAME, "--token", TOKEN, "--trust-proxy")
    with Served(notebooks(), *options) as server:
        assert "/dyn/" in server.greeting
        settings = folder / "nginx.conf"
        settings.write_text(NGINX.format(folder=folder, port=port, location=documented(server.port)))
        nginx = subprocess.Popen([program, "-c", str(settings), "-e", str(folder / "error.log")])
        try:
            wait_for(lambda: is_open(port))
            yield f"http://{NAME}:{port}"
        finally:
            nginx.terminate()
            nginx.wait(timeout=30)


def test_gallery_and_dashboard_work_below_a_path_of_nginx(browser, proxied: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(90_000)
    failed: list[str] = []
    context.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page = context.new_page()
    with closing(context):
        page.goto(f"{proxied}/dyn/")
        page.get_by_label("Token").fill("barley")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        assert failed == [page.url]
        failed.clear()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Enter").click()
        page.wait_for_url(f"{proxied}/dyn/voila/render/index.ipynb")
        assert page.locator("a[href*='label_noise.ipynb']").count() > 0
        view = Dashboard(page)
        view.open(f"{proxied}/dyn/voila/render/label_noise.ipynb?steps=500")
        before = view.numbers()
        with view.run_to_the_end():
            view.press("noise_std", "ArrowLeft")
            view.wait_for_new_curve(before)
        assert failed == []


class Course(BaseHTTPRequestHandler):
    """A page of a course with a dashboard in it; its address is the query."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        framed = self.path.partition("?")[2]
        self.wfile.write(
            f'<!DOCTYPE html><title>Course</title><iframe src="{framed}" width="1200" height="700">'.encode()
        )

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def course() -> Iterator[str]:
    """A course of another site: a browser takes localhost and 127.0.0.1 for two."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Course) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("named", [True, False])
def test_a_course_shows_it_within_its_page_if_the_server_names_the_course(
    browser_context: BrowserContext, course: str, tmp_path: Path, write_notebook, named: bool
) -> None:
    write_notebook(
        tmp_path / "small.ipynb", "import ipywidgets\nipywidgets.IntSlider(value=3, description='of a course')"
    )
    page = browser_context.new_page()
    with Served(tmp_path, *(("--frame-ancestors", course) if named else ())) as server:
        address = f"{course}/?http://127.0.0.1:{server.port}/voila/render/small.ipynb"
        if named:
            page.goto(address, wait_until="commit")
            page.frame_locator("iframe").get_by_role("slider").press("ArrowRight")
            expect(page.frame_locator("iframe").locator(".widget-readout")).to_have_text("4")
        else:
            with page.expect_console_message(lambda said: "frame-ancestors 'self'" in said.text):
                page.goto(address, wait_until="commit")
            assert page.frame_locator("iframe").locator("#dyn-news").count() == 0
