"""The kernels of pages: one that no page is connected to any more is ended soon."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from traitlets import Float


class PageKernels(AsyncMappingKernelManager):
    """Jupyter's kernels, each ended when it has been without a connection for `patience` seconds.

    A page that is closed says so. One whose browser has died or whose network is cut says nothing, and may come back.
    Jupyter's own culling looks at how long a kernel has been idle: a page that was read for long would lose its kernel
    by a cut of a second.
    """

    patience = Float(60, config=True, help="seconds that a kernel may be without a connection")

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)  # type: ignore[no-untyped-call]
        self._ends: dict[str, asyncio.TimerHandle] = {}  # of kernels without a connection
        self._ending: set[asyncio.Task[None]] = set()

    @contextmanager
    def connected(self, kernel_id: str) -> Iterator[None]:
        """A context in which the kernel has a connection: its page is still being sent, and has none of its own."""
        self.notify_connect(kernel_id)
        try:
            yield
        finally:
            self.notify_disconnect(kernel_id)

    def notify_connect(self, kernel_id: str) -> None:
        """A page has connected."""
        super().notify_connect(kernel_id)  # type: ignore[no-untyped-call]
        if kernel_id in self._ends:
            self._ends.pop(kernel_id).cancel()

    def notify_disconnect(self, kernel_id: str) -> None:
        """A page has gone."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        if self._kernel_connections.get(kernel_id) == 0:
            self._ends[kernel_id] = asyncio.get_running_loop().call_later(self.patience, self._begin_end, kernel_id)

    def _begin_end(self, kernel_id: str) -> None:
        del self._ends[kernel_id]
        task = asyncio.ensure_future(self.end(kernel_id))
        self._ending.add(task)  # else nobody holds it
        task.add_done_callback(self._ending.discard)

    async def end(self, kernel_id: str) -> None:
        """End a kernel, if it is there still."""
        try:
            await self.shutdown_kernel(kernel_id)  # type: ignore[no-untyped-call]
        except HTTPError as error:
            if error.status_code != 404:
                raise
