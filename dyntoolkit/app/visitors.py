"""Who may come in: whoever knows the token, where there is one; and no log tells it."""

import logging
import re
from hmac import compare_digest
from typing import Any
from urllib.parse import quote

from voila.voila_identity_provider import VoilaIdentityProvider


class Visitors(VoilaIdentityProvider):  # type: ignore[misc]  # Voila ships no types
    """Compares tokens in a time that says nothing about them. The form to enter one lies below the server's path."""

    def get_token(self, handler: Any) -> str | None:
        """The token, if the request brings it."""
        return self.token if self._is_token(super().get_token(handler)) else None

    def process_login_form(self, handler: Any) -> Any:
        """Somebody without a name, if the form was filled in with the token."""
        given = handler.get_argument("password", default="", strip=False)
        return self.generate_anonymous_user(handler) if self._is_token(given) else None

    def get_handlers(self) -> list[tuple[str, object]]:
        """The form, and the way out."""
        below = self.parent.base_url.rstrip("/")
        return [(below + address, handler) for address, handler in super().get_handlers()]

    def _is_token(self, given: str | None) -> bool:
        return compare_digest((given or "").encode(), self.token.encode()) if self.token else False


class WithoutToken(logging.Filter):
    """Keeps a token, and what was tried in its place, out of a log."""

    def __init__(self, token: str) -> None:
        super().__init__()
        known = {token, quote(token), quote(token, safe="")} - {""}
        ways = [r"(?P<name>token(?:=|%(?:25)*3D))[^&\s'\"]+", *map(re.escape, known)]  # also within another address
        self._secret = re.compile("|".join(ways), re.IGNORECASE)

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: the message is changed, and goes on."""
        record.msg, record.args = self._without(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self._without(logging.Formatter().formatException(record.exc_info))
        return True

    def _without(self, text: str) -> str:
        return self._secret.sub(lambda found: f"{found['name'] or ''}...", text)
