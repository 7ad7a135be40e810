"""What servers and kernels need of the machine: one thread each, the page's template, folders that can be written."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

from dyntoolkit.app.gallery import PACKAGE
from dyntoolkit.errors import InputError

FILES, FEWEST_FILES = 10_240, 256  # that the server may have open: connections to kernels and browsers, mostly
BYTES = 100_000  # of all connection files, notes and lists together; a folder with less room counts as full


def prepare_environment() -> None:
    """Set what the server and its kernels go by; before matplotlib is loaded, which looks for its folder then.

    Where there is no home, or a read-only or full one, what they would keep in it goes into a temporary folder, which
    is removed at the end. Raises InputError where no folder at all can be written, or too few files be open at once.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks; several open pages share the cores
    for variable in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):  # kernels and the page; defaults of JupyterLab's settings
        paths = [str(PACKAGE / "app" / "share"), *os.environ.get(variable, "").split(os.pathsep)]
        os.environ[variable] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    _allow_open_files()
    if not _can_write(tempfile.gettempdir):
        _let_temporary_files_go_elsewhere()
    try:
        Path.home()
    except RuntimeError:  # a user without a name has none
        os.environ["HOME"] = _own_folder()
    for variable, folder in FOLDERS:
        if not _can_write(folder):
            os.environ[variable] = str(Path(_own_folder(), variable.lower()))


def _allow_open_files() -> None:
    """Let this process open as many files as it may; InputError where these are not enough for a page."""
    if sys.platform == "win32":  # which has no such limits
        return
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    if wanted < FEWEST_FILES:
        raise InputError(
            f"a process may open {wanted} files here, and a page with its kernel takes up to {FEWEST_FILES}: "
            f"allow more (ulimit -n 1024).",
            "ulimit",
        )


def _ipython() -> Path:
    return Path(os.environ.get("IPYTHONDIR") or Path.home() / ".ipython")


def _matplotlib(variable: str, folder: str) -> Path:
    linux = Path(os.environ.get(variable) or Path.home() / folder, "matplotlib")
    usual = Path.home() / ".matplotlib" if sys.platform in ("darwin", "win32") else linux
    return Path(os.environ.get("MPLCONFIGDIR") or usual)


FOLDERS: tuple[tuple[str, Callable[[], Path | str]], ...] = (  # that are written into, each with what names another one
    ("JUPYTER_RUNTIME_DIR", jupyter_runtime_dir),
    ("JUPYTER_CONFIG_DIR", jupyter_config_dir),
    ("JUPYTER_DATA_DIR", jupyter_data_dir),
    ("IPYTHONDIR", _ipython),
    ("MPLCONFIGDIR", lambda: _matplotlib("XDG_CONFIG_HOME", ".config")),
    ("MPLCONFIGDIR", lambda: _matplotlib("XDG_CACHE_HOME", ".cache")),
)
TEMPORARY = (lambda: "/tmp", lambda: "/var/tmp")  # beside the one that TMPDIR names


def _can_write(folder: Callable[[], Path | str]) -> bool:
    """Whether there is such a folder, or can be, with room in it."""
    try:
        path = Path(folder())
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as trial:
            trial.write(bytes(BYTES))
    except (OSError, RuntimeError):  # the second one: there is no home
        return False
    return True


def _let_temporary_files_go_elsewhere() -> None:
    """Into the first of all other folders that can be written."""
    others = (*TEMPORARY, *(folder for _, folder in FOLDERS))
    fit = next((folder for folder in others if _can_write(folder)), None)
    if fit is None:
        raise InputError(
            "nothing can be written here, and Jupyter needs a folder for its connections to the kernels: "
            "name one with some room by TMPDIR or HOME.",
            "TMPDIR",
        )
    os.environ["TMPDIR"] = tempfile.tempdir = str(fit())


@cache
def _own_folder() -> str:
    """A temporary folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="dyntoolkit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
