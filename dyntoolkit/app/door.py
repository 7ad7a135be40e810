"""How others reach the server, as its command line says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dyntoolkit.errors import InputError


@dataclass(frozen=True)
class Door:
    """How others reach the server.

    base_url: the path below which it answers, behind a proxy. allow_hosts: names of this server besides localhost.
    frame_ancestors: pages of others that may show it within themselves. trust_proxy: believe a proxy's word for who
    asks, and how (X-Forwarded-For, X-Forwarded-Proto). max_sessions: pages that are live at once, None: as many as
    memory and cores allow.
    """

    base_url: str = "/"
    allow_hosts: Sequence[str] = ()
    frame_ancestors: Sequence[str] = ()
    trust_proxy: bool = False
    max_sessions: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"/(?:[\w.~-]+/)*", self.base_url):
            raise InputError(f"base_url takes a path such as /dyn/, got {self.base_url!r}.", "base_url")
        for name in self.allow_hosts:
            if not re.fullmatch(r"[\w.:-]+", name):
                raise InputError(f"allow_host takes a name such as dyn.example.org, got {name!r}.", "allow_host")
        for page in self.frame_ancestors:
            if not re.fullmatch(r"https?://[\w.*:-]+", page):
                raise InputError(
                    f"frame_ancestors takes addresses such as https://course.example.org, got {page!r}.",
                    "frame_ancestors",
                )
        if self.max_sessions is not None and self.max_sessions < 1:
            raise InputError(f"max_sessions takes 1 or more, got {self.max_sessions}.", "max_sessions")
