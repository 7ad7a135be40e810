"""Small answers of the server."""

from urllib.parse import quote

from tornado.web import RedirectHandler


class Elsewhere(RedirectHandler):
    """Another address, with the same query; also for who asks by HEAD whether a link is alive."""

    def get(self, *parts: str) -> None:
        """Send the reader there. parts: of the address, to be put into the other one."""
        super().get(*map(quote, parts))

    head = get
