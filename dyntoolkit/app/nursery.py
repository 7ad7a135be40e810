"""The nursery: a process with everything imported that a notebook needs, which forks a kernel whenever one is wanted.

Such a kernel is ready at once, and its memory is its own only where it writes. The nursery has one thread and runs no
code of anybody, so it has nothing that a fork could break, and it holds no secret: its environment has what modules
read while they are imported, and a kernel gets its own one later. Linux only: on macOS a process that has loaded the
system's frameworks (numpy and torch do) may not go on after a fork, and Windows has none.

Two sockets without a name, which nobody else can reach. By `control` the server hands over the other end of a new
`connection` for each kernel:

    nursery  "ready", or why it is not, in words                      by control, once
    server   a connection                                             by control, for each kernel
    server   {"argv": [...], "cwd": "...", "environment": {...}}      by the connection
    kernel   pid NUMBER
    server   go
    nursery  exit CODE                                                when the kernel has ended

or "refused REASON" in the place of the process id. Whoever closes a connection ends its kernel, and whoever closes
`control` ends the nursery: so does a server that dies.
"""

import gc
import importlib
import importlib.util
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

READY = "ready"
GRACE = 3.0  # seconds between "please end" and the end
NICENESS = 5  # of kernels: the server that they share answers before they train
MODULES = (
    "numpy",
    "torch",
    "matplotlib.pyplot",
    "ipykernel_launcher",
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "debugpy.server.api",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "sqlite3",
    "tornado.platform.asyncio",
    "tornado.queues",
    "ipywidgets",
    "anywidget",
    "plotly",
    "dyntoolkit.dashboard",
    "dyntoolkit.phenomena",
    "dyntoolkit.app.gallery",
)


@dataclass
class Child:
    """A kernel, as the nursery knows it. end: when it is killed, once it was asked to end."""

    pid: int
    ended: int  # a descriptor that can be read once it has
    connection: socket.socket
    end: float | None = None


def main() -> None:
    """Be the nursery, at the end of the socket whose descriptor is the first argument; in a child, be a kernel."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    if sys.path[0] == os.getcwd():
        del sys.path[0]  # as `ipykernel_launcher` does
    preload()
    problem = _problem()
    gc.collect()
    gc.freeze()  # else the first collection in a kernel would write to every object, and so copy them all
    try:
        control.send((problem or READY).encode())
    except BrokenPipeError:  # the server went in the meantime
        return
    if problem:
        return
    connection = _Nursery(control).serve()
    if connection is not None:
        _be_kernel(connection)


def preload() -> None:
    """Import what notebooks need. Nothing is run, for that might start threads."""
    for name in MODULES:
        importlib.import_module(name)
    if importlib.util.find_spec("jax") is not None:
        importlib.import_module("dyntoolkit.engine.xla")


def _problem() -> str:
    """Why this process is not fit to be forked; "" if it is."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        return f"it has {threads} threads after its imports, and only a process with one thread can be forked"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return f"this Linux cannot tell when a process has ended ({error})"
    return ""


class _Nursery:
    """Waits for requests, and for the ends of kernels."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, Child] = {}  # by both of their descriptors
        self.events = select.epoll()
        self.events.register(control, select.EPOLLIN)
        self.open = True  # whether the server is there

    def serve(self) -> socket.socket | None:
        """Fork until the server is gone and all kernels have ended. In a child: its connection."""
        while self.open or self.children:
            dying = any(child.end for child in self.children.values())
            for descriptor, _ in self.events.poll(0.1 if dying else None):
                if descriptor == self.control.fileno():
                    connection = self._next()
                    if connection is not None and self._fork(connection) == 0:
                        self._close()
                        return connection
                elif descriptor in self.children:  # not one that has just been closed
                    self._look_after(descriptor)
            self._kill_the_late()
        return None

    def _next(self) -> socket.socket | None:
        """The connection for the next kernel, if there is one."""
        try:
            said, descriptors, _, _ = socket.recv_fds(self.control, 1, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the server went without having read that this is ready
            said, descriptors = b"", []
        if not said:
            self.events.unregister(self.control)
            self.open = False
        return socket.socket(fileno=descriptors[0]) if descriptors else None

    def _fork(self, connection: socket.socket) -> int:
        """The process id of a child, 0 in that child, -1 where there is no room for one."""
        pid = -1
        try:
            pid = os.fork()
            if pid == 0:
                return 0
            ended = os.pidfd_open(pid)
        except OSError as error:
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            _say(connection, f"refused: {error}")
            connection.close()
            return -1
        child = Child(pid, ended, connection)
        self.children |= {ended: child, connection.fileno(): child}
        self.events.register(ended, select.EPOLLIN)
        self.events.register(connection, 0)  # tells of its end only; what comes by it is for the kernel
        return pid

    def _look_after(self, descriptor: int) -> None:
        """A kernel has ended, or is to end."""
        child = self.children[descriptor]
        if descriptor != child.ended:
            self.events.unregister(descriptor)
            _signal(child, signal.SIGTERM)
            child.end = time.monotonic() + GRACE
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        _say(child.connection, f"exit {code}")
        del self.children[child.ended], self.children[child.connection.fileno()]
        self.events.unregister(child.ended)
        if child.end is None:
            self.events.unregister(child.connection)  # what the kernel has started may hold it still
        os.close(child.ended)
        child.connection.close()

    def _kill_the_late(self) -> None:
        for child in self.children.values():
            if child.end is not None and child.end < time.monotonic():
                _signal(child, signal.SIGKILL)

    def _close(self) -> None:
        """In a child: forget what belongs to the nursery and to other kernels."""
        self.events.close()
        self.control.close()
        for descriptor, child in self.children.items():
            if descriptor == child.ended:
                os.close(child.ended)
                child.connection.close()


def _say(connection: socket.socket, words: str) -> None:
    try:
        connection.sendall(f"{words}\n".encode())
    except OSError:  # the server is gone, or does not listen
        return


def _signal(child: Child, number: int) -> None:
    """To a kernel and the processes that it has started."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(child.pid, number)


def _be_kernel(connection: socket.socket) -> None:
    """Go on as a new process would that the server has started itself."""
    import ipykernel_launcher  # type: ignore[import-untyped]
    import ipywidgets
    from ipykernel.kernelapp import IPKernelApp

    os.setpgid(0, 0)  # and no session of its own: Linux may share out processors by session ("autogroup")
    os.nice(NICENESS)
    request = _read_request(connection)  # not before the fork: others shall not find what was in it
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    time.tzset()
    _own_random_numbers()
    connection.sendall(f"pid {os.getpid()}\n".encode())
    if not connection.recv(10):
        return  # the server waits no longer, and may have started another kernel on the same ports
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    sys.argv = [ipykernel_launcher.__file__, *request["argv"]]
    app = IPKernelApp.instance(parent_handle=1)  # 1: it has a parent, which need not be watched every second
    app.initialize(sys.argv[1:])  # type: ignore[no-untyped-call]
    ipywidgets.register_comm_target()  # which its import does where there is a kernel already
    app.start()  # type: ignore[no-untyped-call]


def _read_request(connection: socket.socket) -> dict[str, Any]:
    with connection.makefile("rb") as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    return request


def _own_random_numbers() -> None:
    """Give this process seeds of its own, where the nursery has drawn them once for all."""
    import multiprocessing

    import numpy as np
    import torch

    random.seed()
    np.random.seed()
    torch.default_generator.seed()
    multiprocessing.current_process().authkey = os.urandom(32)


def _end_with(connection: socket.socket) -> None:
    """End this kernel when the server is gone, should the nursery not do it, being gone itself."""
    with suppress(ConnectionError):
        connection.recv(1)  # nothing comes any more but the end
    time.sleep(2 * GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
