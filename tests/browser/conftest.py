"""Servers and a browser that may reach nothing outside this machine."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright
from waiting import free_port
from xdist.scheduler import LoadScopeScheduling

import dyntoolkit
from dyntoolkit.app.gallery import notebooks

START = 120  # seconds a server may take on a busy machine
WAIT = 90_000  # ms the browser waits for a condition, by default
QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
LOCAL = ("127.0.0.1", "localhost", "")

Server = Callable[[Path], str]

# The modules that take longest, in this order: begun at the end, one would keep a single worker busy.
LONGEST = ("test_voila", "test_places", "test_laboratory", "test_site", "test_further_down", "test_proxy", "test_share")


class ByPage(LoadScopeScheduling):
    """The workers share the tests by notebook or module, so that each page and server is opened once.

    (Marks of groups do not reach pytest-xdist 3.8 under pytest 9: it looks for them in names that are not its own.)
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        if not module.endswith("test_voila.py"):
            return module
        parts = test.rstrip("]").partition("[")[2].split("-")
        return next((part for part in parts if (notebooks() / f"{part}.ipynb").is_file()), "label_noise")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False  # by the number of their tests
    return ByPage(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {module: place for place, module in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; without one the test is skipped, or fails where DYNTOOLKIT_REQUIRE_BROWSER is set."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        missing = "no chromium on the PATH and none named by CHROMIUM"
        (pytest.fail if os.environ.get("DYNTOOLKIT_REQUIRE_BROWSER") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, args=[*QUIET, "--disable-component-update"], timeout=WAIT
        )
        yield chromium
        chromium.close()


@pytest.fixture
def outside_requests() -> list[str]:
    """The addresses outside this machine that the page asked for (each was refused)."""
    return []


@pytest.fixture
def page_errors() -> list[str]:
    """The exceptions that nothing on the page caught."""
    return []


@contextmanager
def guarded(browser: Browser, outside: list[str], errors: list[str], **options: Any) -> Iterator[BrowserContext]:
    """A fresh profile that reaches nothing outside. At its end no page may have looked there, nor have failed."""

    def guard(route: Route) -> None:
        if (urlsplit(route.request.url).hostname or "") in LOCAL:  # a file has none
            route.fallback()
        else:
            outside.append(route.request.url)
            route.abort()

    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(WAIT)
    context.set_default_navigation_timeout(WAIT)
    context.route("**/*", guard)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert outside == []
    assert errors == []


@pytest.fixture
def browser_context(browser: Browser, outside_requests: list[str], page_errors: list[str]) -> Iterator[BrowserContext]:
    """A guarded profile, for tests that open several pages."""
    with guarded(browser, outside_requests, page_errors) as context:
        yield context


@pytest.fixture(scope="module")
def module_context(browser: Browser) -> Iterator[BrowserContext]:
    """A guarded profile that the tests of a module share."""
    with guarded(browser, [], []) as context:
        yield context


@pytest.fixture(scope="module")
def module_page(module_context: BrowserContext) -> Page:
    """A page that the tests of a module share, each leaving it as it was."""
    return module_context.new_page()


@pytest.fixture
def phone_page(browser: Browser, outside_requests: list[str], page_errors: list[str]) -> Iterator[Page]:
    """A page of 390 x 844 that is touched."""
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with guarded(browser, outside_requests, page_errors, **phone) as context:
        yield context.new_page()


@pytest.fixture
def browser_page(browser_context: BrowserContext) -> Page:
    """A page of 1280 x 800."""
    return browser_context.new_page()


@pytest.fixture(scope="session")
def voila_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """voila_server(folder): the address of a Voila that serves the folder's notebooks at `/voila/render/NAME.ipynb`."""
    options = [
        "--template=dyntoolkit",
        "--show_tracebacks=True",
        '--VoilaConfiguration.extension_allowlist=["@jupyter-widgets/jupyterlab-manager", '
        '"@voila-dashboards/widgets-manager8", "anywidget"]',
        "--Voila.ip=127.0.0.1",
        "--Voila.port_retries=0",
    ]

    def command(folder: Path, port: int) -> list[str]:
        return ["voila", str(folder), "--no-browser", f"--port={port}", *options]

    with _servers(command, "voila/render/none.ipynb", tmp_path_factory, _project()) as start:
        yield start


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """lab_server(folder): the address of a JupyterLab without a token; a notebook is at `/lab/tree/NAME.ipynb`."""
    options = [
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        "--ServerApp.allow_root=True",
        "--IdentityProvider.token=",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]

    def command(folder: Path, port: int) -> list[str]:
        return ["jupyterlab", "--no-browser", f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", *options]

    with _servers(command, "api/status", tmp_path_factory, _project()) as start:
        yield start


@pytest.fixture(scope="session")
def dyntoolkit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `dyntoolkit serve`, started as a person would; the gallery is at `/`."""

    def command(_folder: Path, port: int) -> list[str]:
        return ["dyntoolkit", "serve", "--no-browser", f"--port={port}"]

    with _servers(command, "voila/render/none.ipynb", tmp_path_factory, {}) as start:
        yield start(Path())


@contextmanager
def _servers(
    command: Callable[[Path, int], list[str]],
    probe: str,
    tmp_path_factory: pytest.TempPathFactory,
    environment: dict[str, str],
) -> Iterator[Server]:
    """Start one server per folder when it is asked for; end them all with the session."""
    running: dict[Path, tuple[subprocess.Popen[bytes], str]] = {}

    def start(folder: Path) -> str:
        if folder not in running:
            home, port = tmp_path_factory.mktemp("server"), free_port()
            arguments = [sys.executable, "-m", *command(folder, port)]
            with (home / "log").open("wb") as log:
                process = subprocess.Popen(arguments, env=_own(home) | environment, stdout=log, stderr=log)
            running[folder] = process, f"http://127.0.0.1:{port}"
            _wait_until_it_answers(process, f"http://127.0.0.1:{port}/{probe}", home / "log")
        return running[folder][1]

    yield start
    for process, _ in running.values():
        process.terminate()
    for process, _ in running.values():
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _own(home: Path) -> dict[str, str]:
    """An environment in which nobody's own settings count."""
    own = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    lab = {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    return {**os.environ, **own, **lab}


def _project() -> dict[str, str]:
    """What `dyntoolkit serve` and `lab` set by themselves: one thread per kernel, and where page and settings lie."""
    share = str(Path(dyntoolkit.__file__).parent / "app" / "share")
    paths = {name: [share, os.environ.get(name, "")] for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH")}
    joined = {name: os.pathsep.join(path for path in folders if path) for name, folders in paths.items()}
    return {**joined, "OMP_NUM_THREADS": "1"}


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except urllib.error.HTTPError as answer:
            answer.close()
            return  # it speaks; "no such notebook" will do
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def write_notebook() -> Callable[..., Path]:
    """write_notebook(path, *cells): a notebook with these code cells."""
    import nbformat

    def write(path: Path, *cells: str) -> Path:
        kernel: dict[str, Any] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        code = [nbformat.v4.new_code_cell(source) for source in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=kernel), path)
        return path

    return write
