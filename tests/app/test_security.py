"""What strangers may try against `dyntoolkit serve`, over real HTTP and websockets."""

import json
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import websocket
from serving import Served, write_notebook
from waiting import wait_for

from dyntoolkit.app import assets
from dyntoolkit.app.cli import main

pytestmark = pytest.mark.slow
TOKEN = "open/sesame&ü"
GIVEN = f"?token={quote(TOKEN, safe='')}"
WRONG = "open-barley"
SETTINGS = """
from dyntoolkit.dashboard.parameters import parameters
print("settings", sorted(parameters(globals(), "label_noise")))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("outside")
    write_notebook(outside / "other.ipynb", ["print('outside')"])
    (outside / "secret.txt").write_text("outside")
    path = tmp_path_factory.mktemp("notebooks")
    write_notebook(path / "index.ipynb", ["print('gallery')"])
    write_notebook(path / "small.ipynb", ["print('inside')"])
    write_notebook(path / "settings.ipynb", [SETTINGS])
    (path / ".hidden").mkdir()
    write_notebook(path / ".hidden" / "small.ipynb", ["print('hidden')"])
    (path / "private.txt").write_text("private")
    (path / "link.txt").symlink_to(outside / "secret.txt")
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    """On this machine alone, without a token."""
    with Served(folder) as server:
        yield server


@pytest.fixture(scope="module")
def closed(folder: Path) -> Iterator[Served]:
    """For others, who need the token, below a path."""
    with Served(folder, "--host", "0.0.0.0", "--token", TOKEN, "--base-url", "/dyn/") as server:
        yield server


def channels(server: Served, kernel: str, base: str = "/", **options: Any) -> websocket.WebSocket:
    address = f"ws://127.0.0.1:{server.port}{base}api/kernels/{kernel}/channels"
    return websocket.create_connection(address, timeout=60, **{"suppress_origin": True, **options})


def message(kind: str, channel: str, **content: Any) -> str:
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": "s", "date": "", "version": "5"}
    said = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
    return json.dumps({**said, "buffers": []})


def answers(connection: websocket.WebSocket) -> set[str]:
    """What has come back until the kernel has answered a question that is allowed."""
    connection.send(message("kernel_info_request", "shell"))
    seen: set[str] = set()
    while "kernel_info_reply" not in seen:
        seen.add(json.loads(connection.recv())["msg_type"])
    return seen


# Who may come in


@pytest.mark.parametrize(
    "path",
    ["voila/render/small.ipynb", "voila/render/index.ipynb", "voila/files/private.txt", "voila/render/small.ipynb/x"],
)
def test_pages_need_the_token(closed: Served, path: str) -> None:
    for query in ("", f"?token={WRONG}", "?token=", f"?token={quote(TOKEN[:-1])}", "?token=%00", "?token=%ff"):
        answer = closed.ask(f"/dyn/{path}{query}")
        assert answer.status in (302, 400, 403)
        assert "inside" not in answer.body
        if answer.status == 302:
            assert answer.headers["Location"].startswith("/dyn/login?next=")
    assert not closed.kernels()


def test_interfaces_need_the_token(closed: Served) -> None:
    number = "00000000-0000-0000-0000-000000000000"
    for path in (f"api/kernels/{number}", "dyntoolkit/place?ticket=abcdefghijk", "voila/api/contents/"):
        assert closed.ask(f"/dyn/{path}").status == 403
    assert closed.ask(f"/dyn/api/kernels/{number}", "DELETE").status == 403
    assert closed.ask(f"/dyn/voila/api/shutdown/{number}", "POST").status == 403
    assert closed.ask("/dyn/dyntoolkit/place?ticket=abcdefghijk", Authorization=f"token {WRONG}").status == 403


def test_token_opens_page_and_websocket_which_stay_shut_without(closed: Served) -> None:
    kernel = closed.kernel(f"/dyn/voila/render/small.ipynb{GIVEN}")
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        channels(closed, kernel, "/dyn/")
    assert refused.value.status_code == 403
    page = closed.ask(f"/dyn/voila/render/index.ipynb{GIVEN}")
    cookies = "; ".join(each.partition(";")[0] for each in page.headers.get_all("Set-Cookie"))
    with closing(channels(closed, kernel, "/dyn/", cookie=cookies)) as connection:
        assert "kernel_info_reply" in answers(connection)


def test_form_for_the_token(closed: Served) -> None:
    form = closed.ask("/dyn/login?next=%2Fdyn%2F")
    assert form.status == 200
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", form.body)
    cookie = form.headers["Set-Cookie"].partition(";")[0]
    (xsrf,) = re.findall(r'name="_xsrf" value="([^"]+)"', form.body)
    for given, status in ((WRONG, 401), ("", 401), (TOKEN, 302)):
        body = f"password={quote(given, safe='')}&_xsrf={quote(xsrf)}".encode()
        kind = "application/x-www-form-urlencoded"
        answer = closed.ask("/dyn/login?next=https://evil.example/", "POST", body, Cookie=cookie, Content_Type=kind)
        assert answer.status == status
    assert answer.headers["Location"] == "/dyn/"  # never another server's


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not `==`, which answers the sooner the earlier two texts differ."""
    from dyntoolkit.app import visitors

    compared: list[tuple[bytes, bytes]] = []

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return False

    class Request:
        def get_argument(self, name: str, default: str = "", strip: bool = True) -> str:
            return TOKEN

    monkeypatch.setattr(visitors, "compare_digest", spy)
    door = visitors.Visitors(token=TOKEN)
    assert door.get_token(Request()) is None
    assert door.process_login_form(Request()) is None
    assert compared == [(TOKEN.encode(), TOKEN.encode())] * 2


def test_no_log_tells_the_token(folder: Path) -> None:
    with Served(folder, "--host", "0.0.0.0", "--token", TOKEN) as server:
        assert "token=" in server.greeting  # which the owner asked for
        for path in ("voila/render/nothing.ipynb", "nowhere", "voila/files/private.txt", "dyntoolkit/place"):
            for query in (GIVEN, f"?token={WRONG}", f"?a=1&token={WRONG}&b=2"):
                assert server.ask(f"/{path}{query}").status in (302, 400, 403, 404)
        server.ask(f"/{quote(TOKEN)}")
        server.ask(f"/login?next=%2Fvoila%2Frender%2Fsmall.ipynb%3Ftoken%3D{WRONG}", "POST", b"")
        error = server.stop()
    assert "GET /nowhere?token=... (127.0.0.1)" in error
    assert "GET /nowhere?a=1&token=...&b=2 (127.0.0.1)" in error
    for secret in (TOKEN, quote(TOKEN, safe=""), quote(TOKEN), WRONG):
        assert secret not in error


# What a visitor may do


@pytest.mark.parametrize(
    ("kind", "channel", "content"),
    [
        ("execute_request", "shell", {"code": "open({path!r}, 'w')", "silent": False, "store_history": True}),
        ("execute_request", "control", {"code": "open({path!r}, 'w')", "silent": True}),
        ("shutdown_request", "control", {"restart": False}),
        ("shutdown_request", "shell", {"restart": False}),
        ("interrupt_request", "control", {}),
        ("debug_request", "control", {"type": "request", "seq": 1, "command": "initialize", "arguments": {}}),
        ("complete_request", "shell", {"code": "op", "cursor_pos": 2}),
        ("inspect_request", "shell", {"code": "open", "cursor_pos": 2, "detail_level": 1}),
        ("history_request", "shell", {"hist_access_type": "tail", "n": 9, "raw": True, "output": True}),
        ("input_reply", "stdin", {"value": "1"}),
    ],
)
def test_messages_that_a_page_does_not_need_never_reach_the_kernel(
    server: Served, tmp_path: Path, kind: str, channel: str, content: dict[str, Any]
) -> None:
    trace = tmp_path / "trace"
    said = {name: value.format(path=str(trace)) if name == "code" else value for name, value in content.items()}
    with closing(channels(server, server.kernel())) as connection:
        answers(connection)
        connection.send(message(kind, channel, **said))
        seen = answers(connection)
        assert answers(connection) >= {"kernel_info_reply"}  # it lives
    assert kind.replace("request", "reply") not in seen
    assert not trace.exists()


@pytest.mark.parametrize("garbage", ["", "{}", "[]", "null", "\0", '{"channel": "shell"}', "x" * 1000])
def test_garbage_ends_no_more_than_its_own_connection(server: Served, garbage: str) -> None:
    kernel = server.kernel()
    with closing(channels(server, kernel)) as connection:
        connection.send(garbage)
        connection.send_binary(garbage.encode())
    with closing(channels(server, kernel)) as connection:
        assert "kernel_info_reply" in answers(connection)


def test_kernels_cannot_be_listed_and_none_is_ended_without_its_number(server: Served) -> None:
    kernel = server.kernel()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", kernel)  # random
    page = server.ask("/voila/render/index.ipynb")
    cookie = "; ".join(each.partition(";")[0] for each in page.headers.get_all("Set-Cookie"))
    (xsrf,) = re.findall(r"_xsrf=([^;]+)", cookie)
    named = {"Cookie": cookie, "X_XSRFToken": xsrf}
    for path in ("api/kernels", "api/kernels/", "api/sessions", "api/terminals", "api/contents", "api/kernelspecs"):
        assert server.ask(f"/{path}", **named).status == 404
        assert server.ask(f"/{path}", "POST", b"{}", **named).status == 404
    other = str(uuid.uuid4())
    for wrong in (other, kernel[:-1], "*", ".", "%2e%2e", ""):
        assert server.ask(f"/voila/api/shutdown/{wrong}", "POST", b"", **named).status == 404
        assert server.ask(f"/api/kernels/{wrong}", "DELETE", **named).status == 404
    assert server.ask(f"/voila/api/shutdown/{kernel}", "POST", b"").status == 403  # another site's page
    assert server.ask(f"/api/kernels/{kernel}").status == 200
    assert server.ask(f"/voila/api/shutdown/{kernel}", "POST", b"", **named).status == 204


@pytest.mark.parametrize("action", ["restart", "interrupt"])
def test_kernels_are_not_controlled(server: Served, action: str) -> None:
    assert server.ask(f"/api/kernels/{server.kernel()}/{action}", "POST", b"").status == 404


# Files

UP = [
    "../" * 8,
    "..%2f" * 8,
    "%2e%2e/" * 8,
    "%2e%2e%2f" * 8,
    "..%5c" * 8,
    "%252e%252e%252f" * 8,
    "....//" * 8,
    "%2f",
    "/",
]


@pytest.mark.parametrize("up", UP)
def test_no_path_leads_out(server: Served, up: str) -> None:
    own = assets.folder()
    rooms = ["voila/render/", "voila/files/", "voila/static/", "voila/templates/", "voila/templates/dyntoolkit/static/"]
    rooms += ["voila/labextensions/", "voila/api/contents/", "voila/api/themes/", own, f"{own}static/"]
    for room in [*rooms, f"{own}labextensions/", ""]:
        for target in ("etc/passwd", "etc/hostname%00.ipynb", "proc/self/environ"):
            answer = server.ask(f"/{room}{up}{target}")
            assert answer.status in (302, 400, 403, 404)
            assert "root:" not in answer.body
            assert "PATH=" not in answer.body
            if answer.status == 302:
                assert server.ask(quote(answer.headers["Location"], safe="/%?=&")).status == 403


def test_no_other_file_of_the_folder_is_served(server: Served) -> None:
    for room in ("voila/files/", "voila/static/", "voila/templates/", "voila/api/contents/", "", "files/", "static/"):
        for name in ("private.txt", "link.txt", "small.ipynb", ".hidden/small.ipynb", "index.ipynb"):
            answer = server.ask(f"/{room}{name}")
            assert answer.status in (403, 404) or json.loads(answer.body)["content"] is None
    assert server.ask("/voila/render/.hidden/small.ipynb").status == 404


def test_links_out_of_the_assets_are_not_followed(tmp_path: Path) -> None:
    from tornado.web import HTTPError

    (tmp_path / "secret").write_text("outside")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "root" / "file").write_text("inside")
    look = assets.Assets.__new__(assets.Assets)
    look.initialize([str(tmp_path / "root")], [])
    assert look._file("static/file").read_text() == "inside"
    for path in ("static/link", "static/../secret", "static/\0", "static/", "other/file", str(tmp_path / "secret")):
        with pytest.raises(HTTPError):
            look._file(path)


# Other sites


def test_a_websocket_from_another_site_is_refused(server: Served) -> None:
    kernel = server.kernel()
    for origin in ("https://evil.example", "null", f"http://localhost:{server.port}", "http://127.0.0.1:1"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            channels(server, kernel, origin=origin, suppress_origin=False)
        assert refused.value.status_code == 403
    channels(server, kernel, origin=f"http://127.0.0.1:{server.port}", suppress_origin=False).close()


def test_another_name_for_this_machine_is_refused_unless_it_was_named(folder: Path, server: Served) -> None:
    for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "127.0.0.1.evil.example"):
        for path in ("voila/render/small.ipynb", "dyntoolkit/place?ticket=abcdefghijk", "voila/api/contents/"):
            assert server.ask(f"/{path}", Host=host).status in (400, 403)
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            channels(server, server.kernel(), host=host)
        assert refused.value.status_code == 403
    with Served(folder, "--allow-host", "Dyn.example.org", "--token", TOKEN) as named:
        assert named.ask(f"/voila/render/small.ipynb{GIVEN}", Host="dyn.example.org").status == 200
        assert named.ask(f"/voila/render/small.ipynb{GIVEN}", Host="evil.example").status == 403


def test_only_named_pages_may_show_it_within_themselves(folder: Path, server: Served) -> None:
    pages = ["voila/render/index.ipynb", "voila/render/small.ipynb", "voila/render/nothing.ipynb"]
    pages += [f"{assets.folder()}plotly.min.js", "dyntoolkit/place?ticket=abcdefghijk"]
    for page in pages:
        answer = server.ask(f"/{page}")
        assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"].split("; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    course = ("https://course.example.org", "http://localhost:*")
    with Served(folder, *(option for page in course for option in ("--frame-ancestors", page))) as open_server:
        for page in pages:
            policy = open_server.ask(f"/{page}").headers["Content-Security-Policy"].split("; ")
            assert f"frame-ancestors 'self' {course[0]} {course[1]}" in policy
        cookies = open_server.ask("/voila/render/small.ipynb").headers.get_all("Set-Cookie")
        assert len(cookies) == 2
        for cookie in cookies:  # else a browser keeps them back within another site's page
            assert "SameSite=None" in cookie
            assert "Secure" in cookie


@pytest.mark.parametrize("page", ["javascript:x", "https://a b", "'unsafe'", "https://a;script-src *", "*", ""])
def test_a_frame_ancestor_that_is_none_is_one_sentence(capsys: pytest.CaptureFixture[str], page: str) -> None:
    assert main(["serve", "--no-browser", "--frame-ancestors", page]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "frame_ancestors takes addresses such as https://course.example.org" in sentence


def test_a_proxy_is_believed_only_if_that_was_said(folder: Path, server: Served) -> None:
    told = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https", "X_Real_Ip": "192.0.2.7"}
    told |= {"X_Forwarded_Host": "evil.example", "Forwarded": "for=192.0.2.7;host=evil.example;proto=https"}

    def cookies(server: Served) -> list[str]:
        return list(server.ask("/voila/render/small.ipynb", **told).headers.get_all("Set-Cookie"))

    assert not any("Secure" in cookie for cookie in cookies(server))
    with Served(folder, "--trust-proxy") as behind:
        assert any("Secure" in cookie for cookie in cookies(behind))
        behind.ask("/nowhere", **told)
        assert "404 GET /nowhere (192.0.2.7)" in behind.stop()


# Too much


def memory(server: Served) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


def test_too_large_bodies_and_messages_are_refused_without_being_kept(server: Served) -> None:
    server.kernel()
    before = memory(server)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
            raw.sendall(b"POST /voila/api/shutdown/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400") or raw.recv(1) == b""
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
            head = b"POST /voila/api/shutdown/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
            with pytest.raises(ConnectionError):
                raw.sendall(head + 90 * chunk)
    kernel = server.kernel()
    with closing(channels(server, kernel)) as connection:
        with suppress(ConnectionError):  # closed while it is sent
            connection.send(message("comm_msg", "shell", data="x" * 20_000_000))
        with pytest.raises((ConnectionError, websocket.WebSocketException)):
            answers(connection)
    with closing(channels(server, kernel)) as connection:
        assert "kernel_info_reply" in answers(connection)
    assert memory(server) - before < 60_000_000


def test_a_thousand_half_open_connections_keep_nobody_else_out(server: Served) -> None:
    process = psutil.Process(server.process.pid)
    server.kernel()
    before = process.num_fds()
    with ExitStack() as stack:
        for k in range(1000):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            raw.sendall((b"", b"GET /voila/render/small.ipynb HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")[k % 3])
        wait_for(lambda: process.num_fds() >= before + 900)  # which a kernel that has just started holds some of
        assert server.ask("/voila/render/small.ipynb").status == 200
    wait_for(lambda: process.num_fds() < before + 100)


# Links


@pytest.mark.parametrize(
    "query",
    [
        "noise_std=%3Cscript%3Ealert(1)%3C/script%3E",
        "%3Cscript%3Ealert(1)%3C/script%3E=1",
        "preset=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "preset=__class__",
        "preset=%00",
        "noise_std=1e999",
        "noise_std=nan",
        "steps=" + "9" * 5000,
        "seed=" + "9" * 5000,
        "n_seeds=1000000000",
        "noise_std=__import__('os').system('true')",
        "noise_std=" + "(" * 5000,
        "__class__=1",
        "noise_std=%ff%fe",
        "noise_std=\N{SNOWMAN}",
        "&".join(f"x{k}=1" for k in range(300)),
    ],
)
def test_a_hostile_link_is_answered_with_an_escaped_sentence(server: Served, query: str) -> None:
    answer = server.ask("/voila/render/settings.ipynb?" + quote(query, safe="%&=()'"))
    assert answer.status == 200
    assert "Not followed in this link:" in answer.body
    assert not re.search(r"<script>alert|<img src=x", answer.body)
    assert "There was an error" not in answer.body


def test_a_megabyte_of_link_is_refused_and_leaves_no_kernel(server: Served) -> None:
    before = {each.pid for each in server.kernels()}
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        try:
            raw.sendall(b"GET /voila/render/small.ipynb?noise_std=" + b"9" * 10**6 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = raw.recv(100)
        except ConnectionError:  # it did not even read to the end
            answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert {each.pid for each in server.kernels()} <= before


def test_a_ticket_is_one_of_ours_or_none(folder: Path) -> None:
    with Served(folder, "--max-sessions", "1") as full:
        full.kernel()
        script = "%3C/script%3E%3Cscript%3Ealert(1)%3C/script%3E"
        for ticket in (script, "%00", "x" * 20_000, "%F0%9D%9F%98" * 11, "../../etc/x", "%0d%0a"):
            page = full.ask(f"/voila/render/small.ipynb?_ticket={ticket}").body
            (given,) = re.findall(r'dynPage\.wait\("([^"]*)"', page)
            assert re.fullmatch(r"[\w-]{11}", given)
            assert "<script>alert" not in page
            assert full.ask(f"/dyntoolkit/place?ticket={ticket}").status == 400
        assert json.loads(full.ask(f"/dyntoolkit/place?ticket={given}").body)["ahead"] >= 1
