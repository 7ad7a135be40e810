"""A notebook's page over HTTP: as stored at once, then live with a kernel of its own, if there is a place for one."""

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import voila
from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import APIHandler
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated
from voila.notebook_renderer import NotebookRenderer
from voila.tornado.handler import TornadoVoilaHandler
from voila.utils import get_page_config

from dyntoolkit.app.gallery import INDEX, gallery
from dyntoolkit.app.places import Places

TICKET = "_ticket"  # parameter of an address, of who has waited in line
IDLE = timedelta(minutes=15)  # without a sign of its reader, after which a page loses its place to one who waits
MOMENT = 0.01  # seconds that parts of a page are gathered before they are sent
BREATH = 10.0  # seconds after which a page that takes longer says that it still comes
CANNOT = "<script>dynPage.end(false);</script>"


class Page(TornadoVoilaHandler):  # type: ignore[misc]  # Voila ships no types
    """`voila/render/NOTEBOOK`. The gallery needs no kernel; a page for which there is no place waits without one."""

    def initialize(self, places: Places, **options: Any) -> None:
        """places: who may have a kernel; options: Voila's own."""
        super().initialize(**options)
        self.places = places
        self._left = False

    @authenticated
    async def get(self, path: str = "") -> None:
        """The page, as long as it takes to become live."""
        if Path(path).suffix != ".ipynb":
            self.redirect_to_file(path)
            return
        renderer = await self._renderer(path)  # or there is no such page, for which nobody needs to wait
        if Path(path).name == INDEX:
            folder = Path(self.contents_manager.root_dir) / Path(path).parent
            await asyncio.get_running_loop().run_in_executor(None, _fill_gallery, renderer.notebook, folder)
            await self._send(_as_stored(renderer, index=True))
            return
        ticket = self._ticket()
        if self.places.ahead(ticket):
            await self._send(_as_stored(renderer, ticket=ticket))
            return
        try:
            with self.places.entering(ticket) as kernel:
                await self._start_kernel(renderer, kernel)
        except Exception:  # of whatever starts kernels: then there is still something to read
            self.log.exception("no kernel for %s", path)
            await self._send(_as_stored(renderer))
            return
        with self.kernel_manager.connected(kernel):
            live = renderer.generate_content_generator(kernel, self.kernel_manager.get_kernel(kernel))
            complete = False
            try:
                complete = await self._send(live)
            except Exception:  # of a kernel that ends before it is there
                self.log.exception("a page of %s is not complete", path)
                self.write(CANNOT)
            if not complete and renderer.kernel_started:
                await renderer._cleanup_resources()
        if not complete:
            await self.kernel_manager.end(kernel)

    def on_connection_close(self) -> None:
        """The reader has left before the page was complete."""
        self._left = True
        super().on_connection_close()

    @authenticated
    async def head(self, path: str = "") -> None:
        """Whether there is such a page: who looks whether a link is alive needs no kernel."""
        if not await ensure_async(self.contents_manager.file_exists(path)):
            raise HTTPError(404)
        self.set_header("Content-Type", "text/html")

    def _ticket(self) -> str:
        """The ticket of who has waited in line, else a new one. The kernel is not told of it."""
        parameters = parse_qsl(self.request.query, keep_blank_values=True)
        given = [value for name, value in parameters if name == TICKET]
        if given:
            self.request.query = urlencode([pair for pair in parameters if pair[0] != TICKET])
        return given[0] if given and _is_ticket(given[0]) else secrets.token_urlsafe(8)

    async def _send(self, parts: AsyncIterator[tuple[str, object]]) -> bool:
        """Write the parts of a page as they come, several at once where they come fast. False if its reader left."""
        coming = asyncio.ensure_future(anext(parts, None))
        while part := await self._patiently(coming):
            if self._left:
                return False
            self.write(part[0])
            coming = asyncio.ensure_future(anext(parts, None))
        return True

    async def _patiently(self, coming: "asyncio.Future[tuple[str, object] | None]") -> tuple[str, object] | None:
        """The next part; meanwhile those before it are sent, and then a sign of life, lest a proxy gives up."""
        patience = MOMENT
        while not (await asyncio.wait({coming}, timeout=patience))[0]:
            if patience == BREATH:
                self.write("\n")
            with suppress(StreamClosedError):
                await self.flush()
            patience = BREATH
        return await coming

    async def _renderer(self, path: str) -> Any:
        """What makes the page of a notebook; 404 where there is none."""
        self.set_header("Content-Type", "text/html")
        self.set_header("Cache-Control", "no-store")
        asked = {
            "base_url": self.base_url,
            "settings": self.settings,
            "log": self.log,
            "voila_configuration": self.voila_configuration,
        }
        renderer = NotebookRenderer(
            request_handler=self,
            voila_configuration=self.voila_configuration,
            traitlet_config=self.traitlet_config,
            notebook_path=path,
            template_paths=self.template_paths,
            config_manager=self.config_manager,
            contents_manager=self.contents_manager,
            base_url=self.base_url,
            kernel_spec_manager=self.kernel_spec_manager,
            prelaunch_hook=self.prelaunch_hook,
            page_config=self.page_config_hook(get_page_config(**asked), **asked, notebook_path=path),
        )
        await renderer.initialize()
        return renderer

    async def _start_kernel(self, renderer: Any, kernel: str) -> None:
        """Start the kernel of a page under this id; it learns that it has a page, and what its address says."""
        about = {"SERVER_SOFTWARE": f"voila/{voila.__version__}", "QUERY_STRING": self.request.query}
        await self.kernel_manager.start_kernel(
            kernel_id=kernel,
            kernel_name=renderer.notebook.metadata.kernelspec.name,
            path=renderer.cwd,
            env={**os.environ, **about},
        )


class Place(APIHandler):
    """`dyntoolkit/place?ticket=...`: how many others are ahead of the holder of this ticket."""

    def initialize(self, places: Places) -> None:
        """places: who may have a kernel."""
        self.places = places

    @authenticated
    async def get(self) -> None:
        """{"ahead": number}; 0, and the page may come again with its ticket."""
        self.set_header("Cache-Control", "no-store")
        if not _is_ticket(ticket := self.get_argument("ticket", "")):
            raise HTTPError(400)
        ahead = self.places.ahead(ticket)
        if ahead:
            await self._end_idle()
        self.finish(json.dumps({"ahead": ahead}))

    async def _end_idle(self) -> None:
        """End the kernel of the page that has been left alone longest, if that is longer than IDLE."""
        manager: Any = self.kernel_manager
        used = {each: getattr(manager.get_kernel(each), "last_activity", None) for each in manager.list_kernel_ids()}
        known = {each: at for each, at in used.items() if at is not None}
        if known and datetime.now(UTC) - known[oldest := min(known, key=known.__getitem__)] > IDLE:
            await ensure_async(manager.shutdown_kernel(oldest))


def _as_stored(renderer: Any, *, ticket: str = "", index: bool = False) -> AsyncIterator[tuple[str, object]]:
    """The parts of a page without a kernel. ticket: of who waits in line for one; index: it is the gallery."""
    parts: AsyncIterator[tuple[str, object]] = renderer.exporter.generate_from_notebook_node(
        renderer.notebook,
        resources=renderer.resources,
        extra_context={"ticket": ticket, "index": index},
        page_config=renderer.page_config,
    )
    return parts


def _is_ticket(text: str) -> bool:
    """Whether it may be one of ours: what is kept of visitors is as short as that."""
    return re.fullmatch(r"[\w-]{11}", text, re.ASCII) is not None


def _fill_gallery(notebook: Any, folder: Path) -> None:
    """Put the cards of a folder in the place of what the gallery's cell has stored."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    output["data"]["text/html"] = gallery(folder).data
