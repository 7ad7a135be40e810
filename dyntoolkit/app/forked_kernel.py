"""A kernel that was forked off the nursery, as its server sees it."""

import os
import select
import signal
import socket
import subprocess


class ForkedKernel:
    """To be handled as a `subprocess.Popen`. connection: by which the nursery tells its end, and which ends it."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None and self._has_news(0):
            self.returncode = self._exit_code()
            self._connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises TimeoutExpired if that takes longer."""
        if self.returncode is None and not self._has_news(timeout):
            raise subprocess.TimeoutExpired(f"kernel {self.pid}", timeout or 0)
        code = self.poll()
        assert code is not None  # there is no other news than its end
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _has_news(self, timeout: float | None) -> bool:
        waiting = select.poll()  # select.select takes no more than 1024 descriptors
        waiting.register(self._connection, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else 1000 * timeout))

    def _exit_code(self) -> int:
        try:
            said = self._connection.recv(100).split()  # "exit CODE"
        except ConnectionError:
            said = []
        return int(said[1]) if said else -signal.SIGKILL  # where the nursery had ended before it, nobody knows
