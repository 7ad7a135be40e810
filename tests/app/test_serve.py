"""The server that `dyntoolkit serve` starts, asked over HTTP as a browser would; and the folder that `lab` opens."""

import contextlib
import errno
import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nbformat.v4 as nb
import psutil
import pytest
from waiting import free_port, is_open, wait_for

from dyntoolkit.app.cli import main
from dyntoolkit.app.gallery import notebooks
from dyntoolkit.errors import InputError

CODE = """
import sys
from functools import partial
from pathlib import Path
from dyntoolkit.app import cli, kernels, serve
kernels.Nursery = partial(kernels.Nursery, patience=120)  # on a busy machine it takes its time
serve.notebooks = lambda: Path(sys.argv[1])
settings = serve.settings()
if sys.argv[4] == "impatient":
    settings.PageKernels.patience = 3
serve.settings = lambda: settings
sys.exit(cli.main(["serve", "--no-browser", "--port", sys.argv[2], "--host", sys.argv[3]]))
"""
NURSERY = "dyntoolkit.app.nursery"
STORED = nb.new_output("display_data", {"text/html": "<p>the cards as stored</p>"})
PRINTED = nb.new_output("stream", text="printed when it was stored")
HELLO = "import os\nprint('threads', os.environ['OMP_NUM_THREADS'], 'query', os.environ['QUERY_STRING'])"


class Server:
    """A running server and what it said when it was ready."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", patience: str = "") -> None:
        self.port = free_port()
        command = [sys.executable, "-c", CODE, str(folder), str(self.port), host, patience]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, location or nothing, and body of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        result = response.status, response.getheader("Location", ""), response.read().decode()
        connection.close()
        return result

    def head(self, path: str) -> tuple[int, str]:
        """Status and location or nothing of what is asked about only."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("HEAD", path)
            response = connection.getresponse()
            return response.status, response.getheader("Location", "")

    def kernels(self) -> list[psutil.Process]:
        """The processes below it, but the nursery."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        running = [each for each in below if each.status() != psutil.STATUS_ZOMBIE]
        return [each for each in running if each.ppid() != self.process.pid or NURSERY not in each.cmdline()]

    def stop(self) -> tuple[int, str]:
        """Ctrl-C; exit code and what was written to stderr."""
        self.process.send_signal(signal.SIGINT)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notebooks")
    title = {"title": "Notebooks of a test"}
    pages = {
        "index": [nb.new_markdown_cell("# All of them"), nb.new_code_cell("gallery()", outputs=[STORED])],
        "hello": [nb.new_markdown_cell("# Hello\n\n$\\frac{1}{2}$"), nb.new_code_cell(HELLO, outputs=[PRINTED])],
        "slow": [nb.new_code_cell("import time\ntime.sleep(2)") for _ in range(100)],
        "failing": [nb.new_code_cell("secret = 'inner' + 'most'\nraise ValueError(secret)")],
    }
    for name, cells in pages.items():
        (path / f"{name}.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells, metadata=title)))
    (path / "private.txt").write_text("private")
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        yield server


@pytest.mark.slow
def test_greets_with_the_address(server: Server) -> None:
    assert server.greeting.startswith(f"dyntoolkit is at http://127.0.0.1:{server.port}/ (Ctrl-C ends it; up to ")


@pytest.mark.slow
@pytest.mark.parametrize("address", ["/", "/voila/tree", "/voila/tree/"])
def test_opens_the_gallery(server: Server, address: str) -> None:
    status, location, _ = server.get(address)
    assert (status, location) == (302, "/voila/render/index.ipynb")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/", 302, "/voila/render/index.ipynb"),
        ("/voila/tree", 302, "/voila/render/index.ipynb"),
        ("/voila/render/failing.ipynb", 200, ""),
        ("/voila/render/nothing.ipynb", 404, ""),
    ],
)
def test_who_asks_whether_a_link_is_alive_is_answered_without_a_kernel(
    server: Server, path: str, status: int, location: str
) -> None:
    before = {process.pid for process in server.kernels()}
    assert server.head(path) == (status, location)
    assert {process.pid for process in server.kernels()} <= before


@pytest.mark.slow
@pytest.mark.parametrize("end", ["/", "//"])
def test_a_slash_at_the_end_of_an_address_does_no_harm(server: Server, end: str) -> None:
    status, location, _ = server.get(f"/voila/render/fail%20ing%0a.ipynb{end}?lr=0.1&preset=fast")
    assert (status, location) == (302, "/voila/render/fail%20ing%0A.ipynb?lr=0.1&preset=fast")
    assert server.get(f"/voila/render/index.ipynb{end}")[:2] == (302, "/voila/render/index.ipynb")


@pytest.mark.slow
def test_the_gallery_shows_the_cards_that_there_are_without_a_kernel(server: Server) -> None:
    before = {process.pid for process in server.kernels()}
    status, _, page = server.get("/voila/render/index.ipynb")
    assert status == 200
    assert 'href="hello.ipynb"' in page
    assert "the cards as stored" not in page
    assert "kernelId" not in page
    assert {process.pid for process in server.kernels()} <= before


@pytest.mark.slow
def test_page_runs_the_notebook_hides_code_and_loads_nothing_from_elsewhere(server: Server) -> None:
    status, _, page = server.get("/voila/render/hello.ipynb?preset=fast")
    assert status == 200
    assert page.index("printed when it was stored") < page.index("threads 1 query preset=fast")
    assert "<mfrac>" in page
    assert "os.environ" not in page
    assert "<title>Notebooks of a test</title>" in page
    assert 'name="viewport"' in page
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page)
    assert '"fullMathjaxUrl": null' in page
    assert '"mathjaxConfig": null' in page


@pytest.mark.slow
def test_settings_in_a_link_never_reach_the_page_as_html(server: Server) -> None:
    _, _, page = server.get("/voila/render/hello.ipynb?theme=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&template=reveal")
    assert "<script>alert(1)" not in page
    assert 'id="dyn-news"' in page  # still the page of this project


@pytest.mark.slow
def test_failing_cell_shows_no_traceback(server: Server) -> None:
    status, _, page = server.get("/voila/render/failing.ipynb")
    assert status == 200
    assert "There was an error" in page
    assert "innermost" not in page


@pytest.mark.slow
def test_missing_page_is_404_and_loads_nothing_from_elsewhere(server: Server) -> None:
    status, _, page = server.get("/voila/render/nothing.ipynb")
    assert status == 404
    assert "All notebooks" in page
    assert "//" not in page


@pytest.mark.slow
def test_serves_notebooks_only(server: Server) -> None:
    assert server.get("/voila/render/private.txt")[0] == 302
    assert server.get("/voila/files/private.txt")[0] == 403


@pytest.mark.slow
def test_refuses_a_foreign_host_name(server: Server) -> None:
    assert server.get("/voila/render/index.ipynb", Host="evil.example")[0] == 403
    assert server.get("/voila/render/index.ipynb", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.slow
def test_compresses(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/voila/static/voila.js", headers={"Accept-Encoding": "gzip"})
    assert connection.getresponse().getheader("Content-Encoding") == "gzip"
    connection.close()


@pytest.mark.slow
def test_compresses_what_the_kernel_sends(server: Server) -> None:
    found = re.search(r'"kernelId": "([^"]+)"', server.get("/voila/render/hello.ipynb")[2])
    assert found is not None
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    browser = {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OUFCQ0RFRg==", "Sec-WebSocket-Extensions": "permessage-deflate"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", f"/api/kernels/{found[1]}/channels", headers=upgrade | browser)
    answer = connection.getresponse()
    assert answer.status == 101
    assert answer.getheader("Sec-WebSocket-Extensions", "").startswith("permessage-deflate")
    connection.close()


@pytest.mark.slow
def test_ctrl_c_ends_server_and_kernels_and_the_terminal_says_what_failed(folder: Path) -> None:
    with Server(folder) as server:
        server.get("/voila/render/failing.ipynb")
        kernels = server.kernels()
        assert kernels
        code, error = server.stop()
        assert code == 0
        assert "ValueError" in error
        assert "innermost" in error
        assert psutil.wait_procs(kernels, timeout=60)[1] == []


@pytest.mark.slow
def test_kernel_of_a_page_that_has_gone_is_ended_but_not_one_that_is_watched(folder: Path) -> None:
    from tornado.ioloop import IOLoop
    from tornado.websocket import websocket_connect

    with Server(folder, patience="impatient") as server:
        _, _, watched = server.get("/voila/render/hello.ipynb")
        found = re.search(r'"kernelId": "([^"]+)"', watched)
        assert found is not None
        address = f"ws://127.0.0.1:{server.port}/api/kernels/{found[1]}/channels"
        loop = IOLoop(make_current=False)
        socket = loop.run_sync(lambda: websocket_connect(address), timeout=30)
        server.get("/voila/render/failing.ipynb")
        wait_for(lambda: len(server.kernels()) == 1)
        assert server.get(f"/api/kernels/{found[1]}")[0] == 200
        loop.run_sync(socket.close)  # outside its loop it would open another one
        wait_for(lambda: not server.kernels())
        loop.close()


@pytest.mark.slow
def test_page_that_is_closed_before_it_is_there_gives_back_its_kernel(folder: Path) -> None:
    with Server(folder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/voila/render/slow.ipynb")
        answer = connection.getresponse()
        answer.read(1)
        wait_for(lambda: len(server.kernels()) == 1)
        answer.close()
        connection.close()
        wait_for(lambda: not server.kernels())
        assert server.stop() == (0, "")


def test_kernels_are_ended_after_minutes() -> None:
    from dyntoolkit.app.serve import settings

    culling = settings().MappingKernelManager
    assert 60 <= culling.cull_idle_timeout <= 900
    assert not culling.cull_connected


@pytest.mark.slow
def test_other_hosts_need_a_token(folder: Path) -> None:
    with Server(folder, host="0.0.0.0") as server:
        address = re.search(r"at (\S+)", server.greeting)
        assert address is not None
        token = urlsplit(address[1]).query
        assert len(token) > len("token=") + 20
        assert server.get("/voila/render/failing.ipynb")[1].startswith("/login")
        assert server.get("/voila/render/index.ipynb?token=guess")[1].startswith("/login")
        assert server.get("/api/kernels/00000000-0000-0000-0000-000000000000")[0] == 403
        assert server.get("/voila/api/contents/")[0] == 403
        assert not server.kernels()
        status, location, _ = server.get(f"/?{token}")
        assert (status, location) == (302, f"/voila/render/index.ipynb?{token}")
        assert server.get(location)[0] == 200


def test_port_in_use_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for command in ("serve", "lab"):
            assert main([command, "--no-browser", "--port", str(port)]) == 2
            message = capsys.readouterr().err
            assert f"port {port} of 127.0.0.1 is in use" in message
            assert len(message.strip().splitlines()) == 1


def test_working_copy_keeps_what_a_person_changed(tmp_path: Path) -> None:
    from dyntoolkit.app.serve import working_copy

    source, target = tmp_path / "installed", tmp_path / "mine"
    source.mkdir()
    for name in ("a.ipynb", "b.ipynb"):
        (source / name).write_text("original")
    (source / "cards").mkdir()
    (source / "cards" / "a.png").write_text("picture")
    assert working_copy(source, target) == target
    assert (target / "cards" / "a.png").read_text() == "picture"
    (target / "a.ipynb").write_text("changed")
    (target / "b.ipynb").unlink()
    working_copy(source, target)
    assert (target / "a.ipynb").read_text() == "changed"
    assert (target / "b.ipynb").read_text() == "original"


@pytest.mark.parametrize("place", ["file", "gone/mine"])
def test_a_working_copy_that_cannot_be_made_is_one_sentence(tmp_path: Path, place: str) -> None:
    from dyntoolkit.app.serve import working_copy

    (tmp_path / "file").write_text("a file in place of the folder")
    with pytest.raises(InputError, match=f"lab copies the notebooks to .*{place}, which is not possible: "):
        working_copy(notebooks(), tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_working_copy_holds_no_half_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be left as it is from then on."""
    from dyntoolkit.app.serve import working_copy

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device; start it in a folder of yours"):
        working_copy(notebooks(), tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.slow
def test_lab_opens_the_notebooks(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "dyntoolkit", "lab", "--no-browser", "--port", str(port)]
    with (
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection,
    ):
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            address = next(m[0] for line in lines if (m := re.search(rf"http://127.0.0.1:{port}/lab\S+", line)))
            wait_for(lambda: is_open(port))  # the address is written before that
            connection.request("GET", f"/api/contents?{urlsplit(address).query}")
            names = {item["name"] for item in json.loads(connection.getresponse().read())["content"]}
            notification = "@jupyterlab/apputils-extension:notification"
            connection.request("GET", f"/lab/api/settings/{notification}?{urlsplit(address).query}")
            settings = json.loads(connection.getresponse().read())["schema"]["properties"]
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert {path.name for path in notebooks().glob("*.ipynb")} <= names
    assert urlsplit(address).path == "/lab/tree/index.ipynb"
    assert settings["fetchNews"]["default"] == "false"  # else a question lies over the notebook


def test_a_server_keeps_nothing_of_a_kernel_that_has_been() -> None:
    from dyntoolkit.app.door import Door
    from dyntoolkit.app.page_kernels import PageKernels
    from dyntoolkit.app.serve import Dashboards

    kernels = PageKernels(parent=Dashboards(show=False, door=Door(), page=None))
    make = kernels.kernel_manager_factory
    first = make(parent=kernels).event_logger
    loggers = set(logging.root.manager.loggerDict)
    assert make(parent=kernels).event_logger is first
    assert set(logging.root.manager.loggerDict) == loggers
