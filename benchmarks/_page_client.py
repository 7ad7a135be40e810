"""A notebook's page without a browser: says to server and kernel what a page says, and draws nothing."""

import asyncio
import json
import math
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

PROTOCOL = "v1.kernel.websocket.jupyter.org"
CONFIGURATION = re.compile(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', re.DOTALL)
DRAWING = 0.05  # seconds that a page takes to draw a frame


class PageClient:
    """A page at this address. first_curve: seconds after its opening; status: the words of its first dashboard."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.address, self.host = address, parts.netloc
        self.first_curve = math.inf
        self.status, self.kernel, self.html = "", "", ""
        self._board = self._status = ""  # comms of the first dashboard
        self._session, self._view = uuid.uuid4().hex, uuid.uuid4().hex
        self._cookie = self._xsrf = ""
        self._http = AsyncHTTPClient(force_instance=True)
        self._socket: WebSocketClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._opened = 0.0

    async def open(self) -> None:
        """Load the page to its end and attach to its dashboard. RuntimeError for a page that does not become live."""
        self._opened = time.perf_counter()
        answer = await self._http.fetch(self.address, request_timeout=600)
        self.html = answer.body.decode()
        self._cookie = "; ".join(line.split(";")[0] for line in answer.headers.get_list("Set-Cookie"))
        found = re.search(r"_xsrf=([^;]*)", self._cookie)
        self._xsrf = found[1] if found else ""
        configuration = CONFIGURATION.search(self.html)
        if configuration is None or "dynPage.end(false)" in self.html:
            raise RuntimeError("this page has no kernel")
        self.kernel = json.loads(configuration[1])["kernelId"]
        channels = f"ws://{self.host}/api/kernels/{self.kernel}/channels?session_id={self._session}"
        self._socket = await websocket_connect(
            HTTPRequest(channels, headers={"Cookie": self._cookie}, request_timeout=120),
            subprotocols=[PROTOCOL],
            max_message_size=2**28,
            compression_options={},
        )
        self._reading = asyncio.create_task(self._read())
        control = uuid.uuid4().hex
        opened = {"comm_id": control, "target_name": "jupyter.widget.control", "data": {}}
        await self._say("comm_open", opened, {"version": "1.0.0"})
        await self._say("comm_msg", {"comm_id": control, "data": {"method": "request_states"}})

    async def until(self, condition: str, patience: float = 600) -> float:
        """Wait for "curve" or "finished"; the seconds to the first curve, infinite before it.

        Raises TimeoutError if it does not come, and RuntimeError if the connection ends.
        """
        assert self._reading is not None
        end = time.perf_counter() + patience
        while not (self.first_curve < math.inf if condition == "curve" else self.status.startswith("Finished")):
            if self._reading.done():
                self._reading.result()
                raise RuntimeError(f"the connection was closed; status: {self.status!r}")
            if time.perf_counter() > end:
                raise TimeoutError(f"no {condition} within {patience} s; status: {self.status!r}")
            await asyncio.sleep(0.02)
        return self.first_curve

    async def close(self) -> None:
        """Close it as a browser does: the kernel is told, then the connection ends."""
        body = urlencode({"_xsrf": self._xsrf})
        shutdown = f"http://{self.host}/voila/api/shutdown/{self.kernel}"
        await self._http.fetch(HTTPRequest(shutdown, method="POST", headers={"Cookie": self._cookie}, body=body))
        await self.vanish()

    async def vanish(self) -> None:
        """End the connection without a word."""
        if self._reading is not None:
            self._reading.cancel()
        if self._socket is not None:
            self._socket.close()
        self._http.close()

    async def _say(self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        assert self._socket is not None
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self._session,
            "username": "",
            "date": datetime.now(UTC).isoformat(),
            "version": "5.4",
        }
        message = {"header": header, "parent_header": {}, "metadata": metadata or {}, "content": content}
        packed = serialize_msg_to_ws_v1(  # type: ignore[no-untyped-call]
            message, "shell", lambda part: json.dumps(part).encode()
        )
        await self._socket.write_message(packed, binary=True)

    async def _read(self) -> None:
        assert self._socket is not None
        while (message := await self._socket.read_message()) is not None:
            _, parts = deserialize_msg_from_ws_v1(message)  # type: ignore[no-untyped-call]
            kind, content = json.loads(parts[0])["msg_type"], json.loads(parts[3])
            if kind == "comm_open":
                await self._meet(content["comm_id"], content["data"].get("state", {}))
            elif kind == "comm_msg":
                await self._heed(content["comm_id"], content["data"])

    async def _meet(self, comm: str, state: dict[str, Any]) -> None:
        """A widget has come: the board is asked for its newest frame."""
        name = str(state.get("_anywidget_id", "")).rpartition(".")[2]
        if name == "Board" and not self._board:
            self._board = comm
            await self._tell_board("attach")
        elif name == "StatusLine" and not self._status:
            self._status, self.status = comm, state["text"]

    async def _heed(self, comm: str, data: dict[str, Any]) -> None:
        method = data.get("method")
        if method == "update_states":
            for each, model in data["states"].items():
                await self._meet(each, model["state"])
        elif method == "update" and comm == self._status:
            self.status = data["state"].get("text", self.status)
        elif method == "custom" and comm == self._board and data["content"]["kind"] == "frame":
            if self.first_curve == math.inf and any(size and size[0] > 1 for size in data["content"]["sizes"]):
                self.first_curve = time.perf_counter() - self._opened
            await asyncio.sleep(DRAWING)
            await self._tell_board("drawn", frame=data["content"]["frame"])

    async def _tell_board(self, kind: str, **more: object) -> None:
        data = {"method": "custom", "content": {"kind": kind, "view": self._view, **more}}
        await self._say("comm_msg", {"comm_id": self._board, "data": data})
