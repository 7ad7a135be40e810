"""The notebooks in a browser: as dashboards (`dyntoolkit serve`, Voila) or to read and change (`dyntoolkit lab`)."""

import ipaddress
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader
from jupyter_events import EventLogger
from tornado.ioloop import IOLoop
from tornado.web import HTTPError
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler

from dyntoolkit.app import assets
from dyntoolkit.app.door import Door
from dyntoolkit.app.first_view import first_view
from dyntoolkit.app.gallery import CARDS, HANDS, INDEX, PACKAGE
from dyntoolkit.app.handlers import Elsewhere
from dyntoolkit.app.page_kernels import PageKernels
from dyntoolkit.app.pages import Page, Place
from dyntoolkit.app.places import Places, most_sessions
from dyntoolkit.app.visitors import Visitors, WithoutToken
from dyntoolkit.errors import InputError
from dyntoolkit.notebooks_folder import notebooks
from dyntoolkit.whole_file import write_whole

WIDGETS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget"]
SHARE = PACKAGE / "app" / "share"
SHORT = 40  # bytes of a folder's name, after which there is room for that of a socket
PATIENCE = 120  # seconds that a connection may be silent
MOST = 2**20  # bytes of a request or a message: a browser sends settings, and files of data in parts of half of it
MESSAGES = ["comm_open", "comm_close", "comm_msg", "comm_info_request", "kernel_info_request"]  # that a page needs
ABROAD = {"samesite": "None", "secure": True}  # of cookies that a browser also sends from within others' pages
LOGS = ("tornado.access", "tornado.application", "tornado.general")


def serve(port: int, host: str, browser: bool, token: str | None, door: Door, page: Path | None = None) -> int:
    """Serve the notebooks as dashboards until Ctrl-C; the address `/` is the gallery. Returns 0.

    page: a notebook elsewhere that is served in their place, at that address.
    A visitor needs the token if one is given, or (made up and printed) as soon as the host is not this machine alone.
    To be called after `prepare`, before this module is imported.
    """
    local = _is_loopback(host)
    if (not local or door.allow_hosts) and not token:
        token = secrets.token_urlsafe(24)
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # else a warning about ping times at every page
    config = settings()
    config.VoilaConfiguration.page_config_hook = _from_assets
    config.KernelManager.transport = _transport()
    app = Dashboards.instance(
        config=config, ip=host, port=port, token=token or None, show=browser, door=door, page=page
    )
    app.initialize([])
    app.start()
    return 0


def lab(port: int, browser: bool) -> int:
    """Open the notebooks in JupyterLab until Ctrl-C. Returns 0.

    Installed notebooks are copied to ./dyntoolkit-notebooks first; a copy that is there already is left as it is.
    To be called after `prepare`. Raises InputError if they cannot be copied.
    """
    from jupyterlab.labapp import LabApp

    folder = notebooks()
    if folder.is_relative_to(PACKAGE):
        folder = working_copy(folder, Path("dyntoolkit-notebooks"))
    arguments = [
        f"--ServerApp.root_dir={folder.resolve()}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.open_browser={browser}",
        "--ServerApp.allow_root=True",  # in a container; it answers to this machine only, and asks for a token
        "--KernelManager.transport_encryption=auto",
        "--VoilaConfiguration.template=dyntoolkit",
        "--LabApp.default_url=/lab/tree/index.ipynb",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    ]
    LabApp.launch_instance(arguments)
    return 0


def working_copy(source: Path, target: Path) -> Path:
    """Copy the notebooks (and cards) that `target` does not hold yet, and return `target`; InputError if one cannot."""
    try:
        target.mkdir(exist_ok=True)
        for file in (*source.glob("*.ipynb"), *source.glob(f"{CARDS}/*.png")):
            copy = target / file.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            if not copy.exists():
                write_whole(copy, file.read_bytes())
    except OSError as error:
        raise InputError(
            f"lab copies the notebooks to {target.absolute()}, which is not possible: {error.strerror}; "
            "start it in a folder of yours.",
            "lab",
        ) from None
    return target


def settings() -> Config:
    """Voila's settings, the same for `dyntoolkit serve` and on Binder."""
    config = Config()
    config.VoilaConfiguration.template = "dyntoolkit"
    config.VoilaConfiguration.allow_template_override = "NO"
    config.VoilaConfiguration.allow_theme_override = "NO"
    config.VoilaConfiguration.strip_sources = True
    config.VoilaConfiguration.show_tracebacks = False
    config.VoilaConfiguration.file_allowlist = []  # notebooks only; Voila puts their pictures into the page itself
    config.VoilaConfiguration.extension_allowlist = WIDGETS  # others cost megabytes per page, and are not ours
    config.VoilaConfiguration.page_config_hook = _bundled_mathjax
    config.VoilaConfiguration.prelaunch_hook = _without_hands
    config.VoilaExporter.filters = {"first_view": first_view}
    config.VoilaExecutor.iopub_timeout = 300  # seconds; where many pages open at once, outputs came after the usual 4
    config.VoilaExecutor.cell_error_instruction = "The terminal of the server shows why."
    # A page that is only watched holds a connection and keeps its kernel; a closed one loses it.
    config.MappingKernelManager.cull_idle_timeout = 300
    config.MappingKernelManager.cull_interval = 60
    config.MappingKernelManager.cull_connected = False
    config.VoilaConfiguration.multi_kernel_manager_class = PageKernels
    config.PageKernels.cull_idle_timeout = 0  # it sees itself when a page has gone
    config.KernelManager.transport_encryption = "auto"  # between server and kernels, where both can
    return config


def _transport() -> str:
    """How server and kernels talk: by sockets in a folder of their own, where their names (up to 107 bytes) fit.

    A port that was free when it was chosen may be another program's when the kernel comes, and then there is no kernel.
    """
    return "ipc" if sys.platform == "linux" and len(os.fsencode(tempfile.gettempdir())) <= SHORT else "tcp"


def _bundled_mathjax(page_config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Voila's page configuration without the address of a MathJax elsewhere: its pages bring their own."""
    return {**page_config, "fullMathjaxUrl": None, "mathjaxConfig": None}


def _from_assets(page_config: dict[str, Any], base_url: str, **_: Any) -> dict[str, Any]:
    """The same, and with what the page loads at addresses that browsers may keep."""
    folder = base_url + assets.folder()
    places = {"fullStaticUrl": "static", "fullLabextensionsUrl": "labextensions", "plotlyUrl": assets.PLOTLY}
    return _bundled_mathjax(page_config) | {name: folder + place for name, place in places.items()}


def _without_hands(handler: Any, *, notebook: Any, **_: Any) -> Any:
    """The notebook without the cells tagged `hands`: to be run and changed, which a page without code cannot offer."""
    assert handler.xsrf_token  # sets a cookie, without which the page may not say that it is closed
    notebook.cells = [cell for cell in notebook.cells if HANDS not in cell.metadata.get("tags", ())]
    return notebook


class Dashboards(Voila):  # type: ignore[misc]  # Voila ships no types
    """Voila on the notebooks folder, or on that of a `page`. show: open it in a browser. door: how others reach it."""

    def __init__(self, *, show: bool, door: Door, page: Path | None, **traits: Any) -> None:
        self.first = f"voila/render/{page.name if page else INDEX}"
        super().__init__(
            root_dir=str(page.parent if page else notebooks()),
            config_file_paths=[],
            port_retries=0,
            log_level=logging.ERROR,
            base_url=door.base_url,
            identity_provider_class=Visitors,
            **traits,
        )
        for log in (self.log, *map(logging.getLogger, LOGS)):
            log.addFilter(WithoutToken(self.token or ""))
        self.show, self.door = show, door
        self.event_logger = EventLogger(parent=self)  # or each kernel has one of its own, which is never forgotten
        self.max_sessions = door.max_sessions or most_sessions()

    def init_settings(self) -> Any:
        """Voila's server settings, compressing what is sent and refusing foreign host names (DNS rebinding)."""
        ancestors = " ".join(["'self'", *self.door.frame_ancestors])
        theirs = super().init_settings()
        self.kernel_manager.allowed_message_types = MESSAGES
        pages = theirs["jinja2_env"]
        own = FileSystemLoader([SHARE / "pages", SHARE / "voila" / "templates" / "dyntoolkit"])
        pages.loader = ChoiceLoader([own, pages.loader])
        cookies = ABROAD if any(page.startswith("https:") for page in self.door.frame_ancestors) else {}
        self.identity_provider.cookie_options = cookies
        return {
            **theirs,
            "xsrf_cookie_kwargs": cookies,
            "websocket_max_message_size": MOST,
            "compress_response": True,
            "websocket_compression_options": {"compression_level": 1},
            "allow_remote_access": not _is_loopback(self.ip),
            "local_hostnames": ["localhost", *map(str.lower, self.door.allow_hosts)],
            "headers": {"Content-Security-Policy": f"frame-ancestors {ancestors}", "X-Content-Type-Options": "nosniff"},
        }

    def init_handlers(self) -> Any:
        """Voila's pages, with the gallery in place of the list of files, and with a line of those who wait."""
        gallery = {"url": self.base_url + self.first, "permanent": False}
        without_slash = {"url": self.base_url + "voila/render/{0}", "permanent": False}
        paths = {"static": self.static_paths, "labextensions": self.labextensions_path}
        places = Places(self.max_sessions, self.kernel_manager.list_kernel_ids)
        handlers = [
            (self.base_url + assets.folder() + "(.*)", assets.Assets, paths),
            (self.base_url + "dyntoolkit/place", Place, {"places": places}),
            (self.base_url, Elsewhere, gallery),
            (self.base_url + "voila/tree.*", Elsewhere, gallery),
            (self.base_url + r"voila/render/(.+\.ipynb)/+", Elsewhere, without_slash),
        ]
        for address, handler, *options in super().init_handlers():
            if handler is TornadoVoilaHandler:
                handlers.append((address, Page, options[0] | {"places": places}))
            elif handler is TemplateStaticFileHandler:  # which looks for any template of Jupyter's that is named
                own = self.base_url + "voila/templates/dyntoolkit/static/(.*)"
                handlers.append((own, MultiStaticFileHandler, {"paths": self.static_paths}))
            else:
                handlers.append((address, handler, *options))
        return handlers

    def listen(self) -> None:
        """Answer until Ctrl-C."""
        limits = {"idle_connection_timeout": PATIENCE, "body_timeout": PATIENCE, "max_body_size": MOST}
        self.app.listen(self.port, self.ip, xheaders=self.door.trust_proxy, **limits)
        self.launch_browser()
        self.ioloop = IOLoop.current()
        try:
            self.ioloop.start()
        finally:
            self.stop()

    def launch_browser(self) -> None:
        """Say where the gallery is, and show it; called once the port is open."""
        address = self._url(_as_url(socket.gethostname() if self.ip in ("", "0.0.0.0", "::") else self.ip))
        if self.token:
            address += f"?token={self.token}"
        loop = IOLoop.current()  # an exception from Ctrl-C could land in a callback that swallows it
        signal.signal(signal.SIGINT, lambda *_: loop.add_callback_from_signal(loop.stop))
        print(f"dyntoolkit is at {address} (Ctrl-C ends it; up to {self.max_sessions} pages at once)", flush=True)
        if self.show:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    def stop(self) -> None:
        """End all kernels; a second Ctrl-C does not wait for them."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with suppress(HTTPError):  # a kernel that has not finished starting is not found; it ends with this process
            super().stop()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
