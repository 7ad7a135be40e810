"""For tests that start programs: a free port, and waiting for what they do."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress

PORTS = range(11_000, 32_000)  # below those that Linux gives to kernels and clients that ask for any


def free_port() -> int:
    """A port of this machine that nobody has, nor gets by chance until the server that it is for has begun to listen.

    Others who run these tests at the same time draw others.
    """
    while True:
        with socket.socket() as trial, suppress(OSError):
            port = random.SystemRandom().choice(PORTS)
            trial.bind(("127.0.0.1", port))
            return port


def is_open(port: int) -> bool:
    """Whether somebody listens on that port."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], object], seconds: float = 60, tick: float = 0.05) -> None:
    """Return as soon as the condition holds, which is asked every `tick` seconds; fail where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(tick)
