"""`dyntoolkit serve` on a folder of a test's own, started by its command line."""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import nbformat.v4 as nb
import psutil
from waiting import free_port

CODE = """
import sys
from functools import partial
from pathlib import Path
from dyntoolkit.app import cli, kernels, serve
kernels.Nursery = partial(kernels.Nursery, patience=120)  # on a busy machine it takes its time
serve.notebooks = lambda: Path(sys.argv[1])
sys.exit(cli.main(["serve", "--no-browser", *sys.argv[2:]]))
"""
NURSERY = "dyntoolkit.app.nursery"


class Served:
    """A running server and what it said when it was ready."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-c", CODE, str(folder), "--port", str(self.port), *options]
        descriptor, name = tempfile.mkstemp()  # a pipe would be full at some time, and the server wait
        self.log = Path(name)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=descriptor, text=True)
        os.close(descriptor)
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> "Answer":
        """What comes back. headers: with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body=body, headers=named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode(errors="replace"))

    def kernel(self, path: str = "/voila/render/small.ipynb") -> str:
        """The number of the kernel of a page that is opened."""
        found = re.search(r'"kernelId": "([^"]+)"', self.ask(path).body)
        assert found is not None
        return found[1]

    def kernels(self) -> list[psutil.Process]:
        """The processes below it, but the nursery."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        running = [each for each in below if each.status() != psutil.STATUS_ZOMBIE]
        return [each for each in running if each.ppid() != self.process.pid or NURSERY not in each.cmdline()]

    def stop(self) -> str:
        """Ctrl-C; what was written to stderr."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.log.read_text()

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self.log.unlink()


class Answer:
    """An answer over HTTP."""

    def __init__(self, status: int, headers: Any, body: str) -> None:
        self.status, self.headers, self.body = status, headers, body


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """A notebook with these cells of code."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(nbformat.writes(nb.new_notebook(cells=[nb.new_code_cell(cell) for cell in cells], metadata=kernel)))
