"""What comes before a server: a free port, folders that can be written, and the process that forks its kernels.

It imports none of Jupyter's servers, which takes more than a second: meanwhile that process does its own imports. And
what they read at their import (folders, mostly) is set by then.
"""

import errno
import socket
import sys

from dyntoolkit.app.environment import prepare_environment
from dyntoolkit.app.kernels import KERNELS
from dyntoolkit.errors import InputError


def prepare(host: str, port: int) -> None:
    """Make ready for a server at this address.

    Raises InputError if the host is no address of this machine, the port is in use, or no folder can be written.
    """
    _check_address(host, port)
    prepare_environment()
    KERNELS.prepare()


def _check_address(host: str, port: int) -> None:
    """InputError unless a server can listen there."""
    if not 1 <= port <= 65535:
        raise InputError(f"port takes a whole number from 1 to 65535, got {port}.", "port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            if sys.platform != "win32":  # as the server will do: a port that was closed a moment ago is free
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} of {host} is in use; choose another one with --port.", "port") from None
        if error.errno == errno.EACCES:
            raise InputError(
                f"port {port} needs the rights of an administrator; choose one above 1023.", "port"
            ) from None
        raise InputError(f"{host!r} is not an address of this machine.", "host") from None
