"""What servers and kernels need of the machine, where it does not give it: no home, no room, nothing at all."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dyntoolkit.app import environment
from dyntoolkit.app.environment import FOLDERS, prepare_environment
from dyntoolkit.errors import InputError

resource = pytest.importorskip("resource", reason="Windows has no limits")

VARIABLES = list(dict(FOLDERS))


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A home and a folder for temporary files of the test's own; what is set is put back."""
    others = (
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
        "JUPYTER_PATH",
        "JUPYTER_CONFIG_PATH",
        "OMP_NUM_THREADS",
    )
    for variable in (*VARIABLES, *others):
        monkeypatch.setenv(variable, "")  # so that it is put back even where it was not set
        monkeypatch.delenv(variable)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    environment._own_folder.cache_clear()
    yield tmp_path
    environment._own_folder.cache_clear()


def named():
    """The folders that the variables name now."""
    return {variable: Path(os.environ[variable]) for variable in VARIABLES if variable in os.environ}


def test_a_home_is_used_as_it_is(machine):
    prepare_environment()
    assert named() == {}
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert list((machine / "temporary").iterdir()) == []


def test_what_is_set_stays_and_twice_is_once(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("JUPYTER_PATH", "/mine")
    prepare_environment()
    prepare_environment()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    template, mine = os.environ["JUPYTER_PATH"].split(os.pathsep)
    assert (Path(template) / "voila" / "templates" / "dyntoolkit").is_dir()
    assert mine == "/mine"


def test_without_a_home_all_go_into_one_temporary_folder(machine):
    (machine / "home").write_text("a file in its place")
    prepare_environment()
    assert list(named()) == VARIABLES
    (own,) = (machine / "temporary").iterdir()
    assert {folder.parent for folder in named().values()} == {own}
    for _, folder in FOLDERS:
        assert Path(folder()).parent == own  # Jupyter itself finds it


def test_only_what_cannot_be_written_goes_elsewhere(machine, monkeypatch):
    (machine / "home").mkdir()
    (machine / "home" / ".ipython").write_text("a file in its place")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(machine / "home" / ".ipython"))
    prepare_environment()
    assert list(named()) == ["JUPYTER_CONFIG_DIR", "IPYTHONDIR"]


def test_a_user_without_a_name_gets_a_home(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "home", nobody)
        prepare_environment()
    assert Path.home().name.startswith("dyntoolkit-")


def test_a_folder_that_is_full_is_as_none(machine, monkeypatch):
    def trial(dir):
        file = (machine / "trial").open("wb")
        if Path(dir).name == ".ipython":
            file.close()  # what is written then fails, as on a full disk
            raise OSError(28, "No space left on device")
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", trial)
    prepare_environment()
    assert list(named()) == ["IPYTHONDIR"]


def test_temporary_files_go_into_the_home_where_they_have_no_place(machine, monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(environment, "TEMPORARY", ())
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", none)
        prepare_environment()
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == dict(FOLDERS)["JUPYTER_RUNTIME_DIR"]()
    assert named() == {}


def test_a_full_folder_of_temporary_files_is_passed_over(machine, monkeypatch):
    (machine / "home").write_text("a file in its place")
    (machine / "other").mkdir()
    monkeypatch.setattr(environment, "TEMPORARY", (lambda: machine / "other",))
    writable = environment._can_write
    monkeypatch.setattr(
        environment, "_can_write", lambda folder: folder is not tempfile.gettempdir and writable(folder)
    )
    prepare_environment()
    (own,) = (machine / "other").iterdir()
    assert {folder.parent for folder in named().values()} == {own}
    assert os.environ["TMPDIR"] == str(machine / "other")


def test_matplotlib_needs_its_cache_too(machine, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine / "file"))
    (machine / "file").write_text("a file in its place")
    prepare_environment()
    assert list(named()) == ["MPLCONFIGDIR"]


def test_where_nothing_can_be_written_one_sentence_says_so(machine, monkeypatch):
    def never(dir):
        raise PermissionError(13, "no")

    monkeypatch.setattr(tempfile, "TemporaryFile", never)
    with pytest.raises(InputError, match=r"nothing can be written here, .* by TMPDIR or HOME"):
        prepare_environment()


def limited(monkeypatch, now, most):
    """The process may open so many files; returns what is set instead."""
    limits = [(now, most)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    return limits


@pytest.mark.parametrize(
    ("now", "most", "then"),
    [(256, 4096, 4096), (64, 10**6, 10_240), (20_000, 10**6, 20_000), (256, resource.RLIM_INFINITY, 10_240)],
)
def test_as_many_files_as_allowed_may_be_open(monkeypatch, now, most, then):
    limits = limited(monkeypatch, now, most)
    prepare_environment()
    assert limits[-1] == (then, most)


def test_too_few_files_are_said(monkeypatch):
    limited(monkeypatch, 64, 64)
    with pytest.raises(InputError, match=r"a process may open 64 files here, .* \(ulimit -n 1024\)"):
        prepare_environment()


@pytest.mark.slow
def test_the_temporary_folder_is_removed_at_the_end(machine):
    (machine / "home").write_text("a file in its place")
    code = (
        "import os\nfrom pathlib import Path\nfrom dyntoolkit.app.environment import prepare_environment\n"
        "prepare_environment()\nfolder = Path(os.environ['IPYTHONDIR'])\nfolder.mkdir()\nprint(folder)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(done.stdout).is_relative_to(machine / "temporary")
    assert list((machine / "temporary").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "lab"])
def test_the_command_says_so_too(machine, command):
    """Before anything is loaded that needs a folder: there is one sentence, and no traceback."""
    code = (
        "import sys, tempfile\nfrom dyntoolkit.app.cli import main\n"
        "def never(*_, **__): raise OSError(30, 'Read-only file system')\n"
        "tempfile.TemporaryFile = never\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("dyntoolkit: nothing can be written here")
