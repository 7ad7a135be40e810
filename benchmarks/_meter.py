"""A proxy that counts the bytes a server sends to a browser, exactly as they travel (compressed, headers included)."""

import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def metered(port: int) -> Iterator[tuple[int, "Counter[str]"]]:
    """The port of a proxy in front of `port`, and its growing counts of received bytes: `http` and `websocket`."""
    counts: Counter[str] = Counter()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as server, suppress(OSError):
                request = self.request.recv(65536)
                kind = "websocket" if b"upgrade: websocket" in request.lower() else "http"
                back = threading.Thread(target=_carry, args=(server, self.request, kind), daemon=True)
                back.start()
                while request:
                    server.sendall(request)
                    request = self.request.recv(65536)
                server.shutdown(socket.SHUT_WR)
                back.join()

    def _carry(server: socket.socket, browser: socket.socket, kind: str) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                counts[kind] += len(data)
                browser.sendall(data)
            browser.shutdown(socket.SHUT_WR)

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Proxy(("127.0.0.1", 0), Connection) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy.server_address[1], counts
        proxy.shutdown()
