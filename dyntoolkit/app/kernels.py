"""Kernels forked off the nursery: the process started once per server, asked, and replaced should it fail."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from dyntoolkit.app.forked_kernel import ForkedKernel
from dyntoolkit.app.nursery import READY

AT_IMPORT = ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV", "GLIBC_TUNABLES")  # what Python and modules read when
# they are loaded, no secrets; and what begins like
LIKE = (
    *("PYTHON", "LC_", "LD_", "XDG_", "MALLOC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "CUDA_", "NVIDIA_"),
    *("NPY_", "SCIPY_", "SKLEARN_", "TORCH_", "PYTORCH_", "JAX_", "XLA_", "MPL", "PLOTLY_", "ANYWIDGET_", "PYDEVD_"),
)
DEFAULTS = {  # one thread, else there is no fork; and what ipykernel sets before matplotlib and the debugger are loaded
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
MOST = 3  # times in a row that a nursery may fail

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The nursery works, and does not fork this kernel."""


class Nursery:
    """One process of `dyntoolkit.app.nursery`, which begins to import at once. May be used from several threads.

    environment: from which it takes what modules read at their import. patience: seconds that each answer may take.
    """

    def __init__(self, environment: Mapping[str, str], patience: float = 30) -> None:
        self.environment = at_import(environment)
        self.problem = ""  # why it never forks
        self.patience = patience
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(patience)
        self._ready = False
        self._lock = threading.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dyntoolkit.app.nursery", str(theirs.fileno())],
                env=self.environment,
                cwd="/",  # where nobody's file is taken for a module
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server
            )

    def fork(self, argv: Sequence[str], cwd: str, environment: Mapping[str, str]) -> ForkedKernel:
        """A new kernel with these arguments for ipykernel.

        Raises RefusedError where it is not forked, and OSError where the nursery has ended or does not answer.
        """
        with self._lock:
            self._wait_until_ready()
            differing = sorted({name for name, _ in self.environment.items() ^ at_import(environment).items()})
            if differing:
                raise RefusedError(f"{', '.join(differing)}, which modules read once, is not what it was at the start")
            connection, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self._control, [b"k"], [theirs.fileno()])
        try:
            pid = self._ask(connection, {"argv": [*argv], "cwd": cwd, "environment": dict(environment)})
        except BaseException:
            connection.close()
            raise
        return ForkedKernel(pid, connection)

    def end(self) -> None:
        """End it; the kernels go on."""
        self.process.kill()
        self.process.wait()
        self._control.close()

    def close(self) -> None:
        """End it and its kernels."""
        self._control.close()
        self.process.wait()

    def _wait_until_ready(self) -> None:
        if not self._ready and not self.problem:
            said = self._control.recv(1000).decode()
            if not said:
                raise EOFError("it has ended before it was ready")
            self._ready = said == READY
            self.problem = "" if self._ready else said
        if self.problem:
            raise RefusedError(self.problem)

    def _ask(self, connection: socket.socket, request: Mapping[str, object]) -> int:
        """The process id of the kernel that has been forked."""
        connection.settimeout(self.patience)
        connection.sendall(json.dumps(request).encode() + b"\n")
        kind, _, rest = connection.recv(1000).decode().partition(" ")
        if not kind:
            raise EOFError("it has ended")
        if kind != "pid":
            raise RefusedError(f"{kind} {rest}".strip())
        connection.sendall(b"go\n")
        connection.settimeout(None)
        return int(rest)


class Kernels:
    """The nursery of a server, started again should it fail, but not for ever."""

    def __init__(self) -> None:
        self.nursery: Nursery | None = None
        self._failures = 0  # in a row
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Start the nursery, where there can be one and is none; returns at once."""
        with self._lock:
            if self.nursery is None and self._failures < MOST and sys.platform == "linux":
                self.nursery = Nursery(os.environ)

    def fork(self, argv: Sequence[str], cwd: str, environment: Mapping[str, str]) -> ForkedKernel | None:
        """A kernel forked off the nursery, or None where that cannot be: then the log has said why."""
        self.prepare()
        nursery = self.nursery
        if nursery is None:
            return None
        try:
            kernel = nursery.fork(argv, cwd, environment)
        except RefusedError as problem:
            self._say(f"the nursery does not fork it: {problem}")
            return None
        except (OSError, EOFError) as problem:
            self._replace(nursery, problem)
            return None
        self._failures = 0
        return kernel

    def _replace(self, nursery: Nursery, problem: Exception) -> None:
        """Start another one, unless a request at the same time has done it or too many have failed."""
        with self._lock:
            if self.nursery is not nursery:
                return
            self.nursery = None
            self._failures += 1
        nursery.end()
        self._say(f"the nursery does not answer ({problem or type(problem).__name__})", again=True)
        self.prepare()

    def _say(self, reason: str, *, again: bool = False) -> None:
        if again or reason not in self._said:
            self._said.add(reason)
            _log.warning("A kernel starts the ordinary way, which takes some seconds more: %s.", reason)


def at_import(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that Python and modules read when they are loaded, and none that hold secrets."""
    return DEFAULTS | {name: value for name, value in environment.items() if name in AT_IMPORT or name.startswith(LIKE)}


KERNELS = Kernels()  # of this process
