"""A notebook's page over HTTP: as stored at once, then live with a kernel of its own, if there is a place for one."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError, authenticated
from voila.notebook_renderer import NotebookRenderer
from voila.tornado.handler import TornadoVoilaHandler
from voila.utils import get_page_config

from dyntoolkit.app.gallery import INDEX, gallery
from dyntoolkit.app.places import Places

TICKET = "_ticket"  # parameter of an address, of who has waited in line
IDLE = timedelta(minutes=15)  # without a sign of its reader, after which a page loses its place to one who waits
MOMENT = 0.01  # seconds that parts of a page are gathered before they are sent


class Page(TornadoVoilaHandler):  # type: ignore[misc]  # Voila ships no types
    """`voila/render/NOTEBOOK`. The gallery needs no kernel; a page for which there is no place waits without one."""

    def initialize(self, places: Places, **options: Any) -> None:
        """places: who may have a kernel; options: Voila's own."""
        super().initialize(**options)
        self.places = places

    @authenticated
    async def get(self, path: str = "") -> None:
        """The page, as long as it takes to become live."""
        assert self.xsrf_token  # sets a cookie, without which the page may not say that it is closed
        if Path(path).name == INDEX:
            await self._send(self._without_kernel(path))
            return
        ticket = self._ticket()
        if self.places.ahead(ticket):
            await self._send(self._without_kernel(path, ticket))
            return
        live = self.get_generator(path=path)
        try:
            with self.places.entering(ticket):
                first = await anext(live, "")  # comes once the kernel is counted
        except HTTPError:  # such as 404
            raise
        except Exception:  # of whatever starts kernels: then there is still something to read
            self.log.exception("no kernel for %s", path)
            await self._send(self._without_kernel(path))
            return
        await self._send(live, first)

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
        return given[0] if given else secrets.token_urlsafe(8)

    async def _send(self, parts: AsyncIterator[str], first: str = "") -> None:
        """Write the parts of a page as they come, several at once where they come fast."""
        self.write(first)
        coming = asyncio.ensure_future(anext(parts, None))
        while True:
            done, _ = await asyncio.wait({coming}, timeout=MOMENT)
            if not done:
                await self.flush()
            part = await coming
            if part is None:
                return
            self.write(part)
            coming = asyncio.ensure_future(anext(parts, None))

    async def _without_kernel(self, path: str, ticket: str = "") -> AsyncIterator[str]:
        """The notebook as it is stored; the gallery with the notebooks that there are.

        ticket: of who waits in line; "" for a page that stays as it is.
        """
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
        index = Path(path).name == INDEX
        if index:
            folder = Path(self.contents_manager.root_dir) / Path(path).parent
            await asyncio.get_running_loop().run_in_executor(None, _fill_gallery, renderer.notebook, folder)
        async for part, _ in renderer.exporter.generate_from_notebook_node(
            renderer.notebook,
            resources=renderer.resources,
            extra_context={"ticket": ticket, "index": index},
            page_config=renderer.page_config,
        ):
            yield part


class Place(JupyterHandler):
    """`dyntoolkit/place?ticket=...`: how many others are ahead of the holder of this ticket."""

    def initialize(self, places: Places) -> None:
        """places: who may have a kernel."""
        self.places = places

    @authenticated
    async def get(self) -> None:
        """{"ahead": number}; 0, and the page may come again with its ticket."""
        self.set_header("Cache-Control", "no-store")
        ahead = self.places.ahead(self.get_argument("ticket"))
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


def _fill_gallery(notebook: Any, folder: Path) -> None:
    """Put the cards of a folder in the place of what the gallery's cell has stored."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    output["data"]["text/html"] = gallery(folder).data
