"""Every command, example, link and figure of the README and the benchmarks', run or checked as it stands there.

A command that is new or changed in one of them fails here until this file says how it is run.
"""

import ast
import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import xarray as xr
from PIL import Image
from waiting import free_port, is_open, wait_for

import dyntoolkit
from dyntoolkit.app.cli import main
from dyntoolkit.catalog.registry import find
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.experiment import Experiment
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena import EXPERIMENTS

ROOT = Path(dyntoolkit.__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").is_file(), reason="needs a checkout")

PAGES = [path for path in (ROOT / "README.md", ROOT / "benchmarks" / "README.md") if path.is_file()]
README = "".join(path.read_text(encoding="utf-8") for path in PAGES)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
SCRIPTS = [block for kind, block in BLOCKS if kind == "python"]
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)

# How each command is run.
SETUP = (
    "python3 -m venv .venv",
    ".venv/bin/pip install --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0",
    ".venv/bin/pip install -c constraints.txt -e '.[dev]'",
)
SERVERS = {  # what the page at the printed address holds
    "make serve": "dyntoolkit-gallery",
    ".venv/bin/dyntoolkit serve": "dyntoolkit-gallery",
    ".venv/bin/dyntoolkit serve --port 8866": "dyntoolkit-gallery",
    ".venv/bin/dyntoolkit lab": "JupyterLab",
}
THIS_VERY_RUN = ("make test", ".venv/bin/pytest")
LIST = ".venv/bin/dyntoolkit list"
RUN_OUT = ".venv/bin/dyntoolkit run label_noise --preset fast --seeds 4 --out run.nc"
RERUN = ".venv/bin/dyntoolkit rerun run.nc"
RUN_JSON = ".venv/bin/dyntoolkit run cross_task_linearity.digits --set pretrain_steps=0 --json"
RUN_CLAIM = ".venv/bin/dyntoolkit run cross_task_linearity --claims ctl_ratio"
SWEEP = (
    ".venv/bin/dyntoolkit sweep label_noise --grid noise_std=0:3:4 --grid lr=0.05,0.2 --seeds 4 --set steps=2000 "
    "--out sweep"
)
PAPERMILL = ".venv/bin/papermill notebooks/label_noise.ipynb out.ipynb -p preset two_phase -p noise_std 0"
OWN = {  # what is in each output
    ".venv/bin/dyntoolkit run examples/first.py": "valley, seed 0",
    ".venv/bin/dyntoolkit list examples/first.py": "valley: Valley",
    ".venv/bin/dyntoolkit run examples/own_network.py --seeds 4": "seeds 0 to 3",
    ".venv/bin/dyntoolkit run examples.first:EXPERIMENT --set lr=0.1": "valley, seed 0",
    ".venv/bin/python examples/sweep.py sweep.png": "loss per step",
}
SITES = {  # what each does; the site itself: tests/browser/test_site.py
    "make site": "dyntoolkit site build/site",
    "make docs": "dyntoolkit site build/docs --values 0",
}
SAME_NUMBERS = ".venv/bin/python benchmarks/same_numbers.py bd70aa9"  # takes minutes: tests/test_same_numbers.py
BENCHMARKS = {  # what is added to be quick, and words of what it prints
    ".venv/bin/python benchmarks/board.py": ("", "bytes per frame: "),
    ".venv/bin/python benchmarks/default_run.py": (" label_noise grokking --repeats 1", "label_noise.linear: median"),
    ".venv/bin/python benchmarks/kernel_start.py": (" --repeats 1", "forked: median"),
    ".venv/bin/python benchmarks/many_runs.py": (" --repeats 1", "32 runs at once against one: median"),
    ".venv/bin/python benchmarks/sweep.py": (" empty --repeats 1", "a batch that trains nothing, Dask: median"),
    ".venv/bin/python benchmarks/own_module.py": (
        " --repeats 1 --steps 200 --runs 1",
        "own module against built-in: median",
    ),
    "make bench": (' ARGS="--runs 2 --rounds 1 --updates 100 --without compiled"', "| than JAX by hand | "),
}
# One is carried out; of the others, which take minutes and are of the same kind, it is seen that they start.
BROWSER_BENCHMARKS = {
    ".venv/bin/python benchmarks/dashboard_latency.py": (" --repeats 1", "Stop to stopped: median"),
    ".venv/bin/python benchmarks/laboratory.py": (" --help", "The laboratory as its readers use it"),
    ".venv/bin/python benchmarks/drawing_cost.py": (" --help", "training speed that live drawing costs"),
    ".venv/bin/python benchmarks/spread_latency.py": (" --help", "From the click on Spread to the first curves"),
    ".venv/bin/python benchmarks/many_pages.py": (" --help", "Many people on one server at once"),
    ".venv/bin/python benchmarks/page_opening.py": (" --help", "to its text, its first slider and its first curve"),
    ".venv/bin/python benchmarks/page_bytes.py": (" --help", "Bytes that travel to the browser"),
}
KNOWN = (
    *SETUP,
    *SERVERS,
    *THIS_VERY_RUN,
    LIST,
    RUN_OUT,
    RERUN,
    RUN_JSON,
    RUN_CLAIM,
    SWEEP,
    PAPERMILL,
    *OWN,
    *SITES,
    SAME_NUMBERS,
)
IN_PROSE = {
    "make serve",
    "make test",
    "make quick",
    "make site",
    "make bench",
    "make docs",
    'make ARGS="--live https://example.org/dyn" site',
    "dyntoolkit site --help",
    "apt install chromium",
    "dyntoolkit list",
    "dyntoolkit show sweep",
    "dyntoolkit show sweep --print",
    "dyntoolkit warm",
    "dyntoolkit run my_file.py",
    'pip install "dyntoolkit[dask]"',
    'pip install "jax[cuda12]"',
}


def plain_environment(**more: str) -> dict[str, str]:
    """Without what an outer `make` passes on; a browser is a program that does nothing."""
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return own | {"BROWSER": "true"} | more


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a checkout with this environment, ready for `make`; it takes what a command leaves."""
    for name in ("Makefile", "notebooks", "benchmarks", "examples", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = tmp_path / ".venv"
    environment.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (environment / part.name).symlink_to(part)
    (environment / ".ready").touch()
    return tmp_path


def shell(command: str, folder: Path, **more: str) -> str:
    """What a command prints that ends with exit code 0."""
    environment = plain_environment(**more)
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@contextmanager
def serving(command: str, folder: Path, port: int, **more: str) -> Iterator[str]:
    """The address that the running command prints, once it answers; Ctrl-C at the end."""
    with subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        env=plain_environment(**more),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")
            address = next((m[0] for line in lines if (m := re.search(rf"http://127.0.0.1:{port}/\S*", line))), None)
            assert address is not None, "the server ended before it gave an address"
            wait_for(lambda: is_open(port))
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=120) as response:
        page: str = response.read().decode()
    return page


def test_every_command_is_known_here() -> None:
    assert sorted(COMMANDS) == sorted([*KNOWN, *BENCHMARKS, *BROWSER_BENCHMARKS])
    spans = re.findall(r"`((?:make|apt|python3?|pip|dyntoolkit|papermill|pytest|\.venv/bin/\w+) [^`]+)`", PROSE)
    assert set(spans) == IN_PROSE


# Setting up, and the tests themselves.


def test_setup_without_make_is_what_make_does(tmp_path: Path) -> None:
    """Continuous integration runs these steps of `make test` before anything else, downloads included."""
    steps = shell(f"make -n VENV={tmp_path / '.venv'} serve", ROOT)
    (pin,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    made = re.sub(r"\\\n\s*", "", steps.replace(f"{tmp_path}/", "")).replace("`grep '^torch==' constraints.txt`", pin)
    made = made.replace("python -m pip install -q", "pip install").replace(" --retries 1", "")
    for command in SETUP:
        assert command in made


@pytest.mark.slow
def test_setup_gives_an_environment_that_runs_and_tests(tmp_path: Path) -> None:
    """In a copy of the checkout; pip finds the dependencies of this environment there and does not download them.

    All that is done with such an environment is done below with this one.
    """
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("dyntoolkit", "notebooks", "examples", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    here = {"PATH": path, "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}
    make_environment, *installs = SETUP
    shell(make_environment, tmp_path, **here)
    (site,) = (tmp_path / ".venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for command in installs:
        shell(command, tmp_path, **here)
    code = "import dyntoolkit; print(dyntoolkit.__file__)"
    assert shell(f'.venv/bin/python -c "{code}"', tmp_path).startswith(str(tmp_path.resolve()))
    assert shell(".venv/bin/dyntoolkit --version", tmp_path, **here).strip().endswith(dyntoolkit.__version__)
    collected = shell(  # this environment has no script of pytest
        ".venv/bin/python -m pytest --collect-only -q tests/test_errors.py", tmp_path, **here
    )
    assert "tests/test_errors.py::" in collected


def test_make_test_runs_all_checks_in_order() -> None:
    steps = shell(f"make -n -o {sys.prefix}/.ready VENV={sys.prefix} test", ROOT).splitlines()
    assert steps == [
        f"{sys.prefix}/bin/{command}"
        for command in (
            "ruff check .",
            "ruff format --check .",
            "oxlint --deny-warnings dyntoolkit",
            "mypy",
            "pytest -n 2 --dist worksteal --ignore=tests/browser",
            "pytest -n 2 --dist loadscope --nbval-lax notebooks",
            "pytest -n 3 --dist loadscope --reruns 1 tests/browser",
        )
    ]


def test_commands_of_the_prose() -> None:
    steps = shell(f"make -n -o {sys.prefix}/.ready VENV={sys.prefix} quick", ROOT).splitlines()
    assert [step.removeprefix(f"{sys.prefix}/bin/").split()[0] for step in steps] == [
        *("ruff", "ruff", "oxlint", "mypy", "pytest")
    ]
    assert '-m "not slow and not claims and not browser"' in steps[-1]
    assert re.search(
        r"missing\+=\(chromium\)\n.*\n.*apt-get update.*\n.*apt-get install", (ROOT / ".ci/run").read_text()
    )


@pytest.mark.parametrize("command", SITES)
def test_sites_are_built_by_one_command_each(command: str) -> None:
    steps = shell(f'{command} -n -o {sys.prefix}/.ready VENV={sys.prefix} ARGS="--live https://a.org"', ROOT)
    live = " --live https://a.org" if command == "make site" else ""
    assert steps.strip() == f"{sys.prefix}/bin/{SITES[command]}{live}"


# The ways to open the notebooks.


@pytest.mark.slow
@pytest.mark.parametrize("command", SERVERS)
def test_command_that_opens_the_notebooks(command: str, checkout: Path) -> None:
    port = free_port()
    here = command if command.startswith("make") else f"{command} --port {port}"  # of two ports, the last one counts
    with serving(here, checkout, port, ARGS=f"--port {port}") as address:
        assert SERVERS[command] in fetch(address)
    wait_for(lambda: not is_open(port))


@pytest.mark.slow
def test_link_replays_a_run(checkout: Path) -> None:
    (link,) = re.findall(r"`(http://127\.0\.0\.1:8866/\S+)`", PROSE)
    asked = dict(parse_qsl(urlsplit(link).query))
    fields = {name: text for name, text in asked.items() if name not in ("preset", "seed")}
    find(Path(urlsplit(link).path).stem).configure(asked["preset"], **fields)
    port = free_port()
    with serving(f".venv/bin/dyntoolkit serve --port {port}", checkout, port):
        page = fetch(link.replace("8866", str(port)))
    assert "application/vnd.jupyter.widget-view+json" in page
    assert "There was an error" not in page
    assert "Not followed in this link" not in page


# Without a window. Exit code 0 throughout: every claim that is expected there holds for these seeds.


@pytest.mark.slow
def test_list_names_every_experiment(checkout: Path) -> None:
    printed = shell(LIST, checkout)
    assert all(f"{experiment.name}: {experiment.title}" in printed for experiment in EXPERIMENTS)


@pytest.mark.slow
def test_run_keeps_the_curves(checkout: Path) -> None:
    printed = shell(RUN_OUT, checkout)
    assert "4/4" in printed
    with xr.open_dataset(checkout / "run.nc") as curves:
        assert curves.sizes["run"] == 4
        assert curves.attrs["finished"] == 1
    assert shell(RERUN, checkout).endswith("are the same, number by number.\n")


@pytest.mark.slow
def test_run_prints_one_document(checkout: Path) -> None:
    document = json.loads(shell(RUN_JSON, checkout))
    assert document["config"]["pretrain_steps"] == 0
    assert document["claims"]


@pytest.mark.slow
def test_run_trains_what_a_claim_needs(checkout: Path) -> None:
    printed = shell(RUN_CLAIM, checkout)
    assert "ctl_ratio" in printed
    assert "control: independent" in printed


@pytest.mark.slow
def test_a_sweep_and_what_python_finds_in_it(checkout: Path) -> None:
    printed = shell(SWEEP, checkout)
    assert "label_noise.linear, 32 of 32 runs, seeds 0 to 3" in printed
    (checkout / "example.py").write_text(SCRIPTS[2])
    files = sorted((checkout / "sweep" / "batches").iterdir())
    found = shell(f"{sys.executable} example.py", checkout)
    assert "(noise_std: 4, lr: 2)" in found
    assert sorted((checkout / "sweep" / "batches").iterdir()) == files  # it is the very same sweep
    assert shell(".venv/bin/dyntoolkit show sweep --print", checkout) == printed


@pytest.mark.slow
def test_papermill_writes_the_notebook(checkout: Path) -> None:
    shell(PAPERMILL, checkout)
    written = (checkout / "out.ipynb").read_text()
    assert '"image/png"' in written
    assert "widget-view" not in written
    assert len(written) < 400_000  # papermill adds a tenth of a notebook in metadata of its own


@pytest.mark.slow
@pytest.mark.parametrize("command", BENCHMARKS)
def test_benchmark(command: str, checkout: Path) -> None:
    short, words = BENCHMARKS[command]
    assert words in shell(command + short, checkout)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("command", BROWSER_BENCHMARKS)
def test_benchmark_in_a_browser(command: str, checkout: Path) -> None:
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        (pytest.fail if os.environ.get("DYNTOOLKIT_REQUIRE_BROWSER") else pytest.skip)("no chromium")
    short, words = BROWSER_BENCHMARKS[command]
    assert words in shell(command + short, checkout)


# The examples in Python, and the files of examples/.


@pytest.mark.slow
@pytest.mark.parametrize("command", OWN)
def test_own_experiments(command: str, checkout: Path) -> None:
    assert OWN[command] in shell(command, checkout)


@pytest.mark.slow
def test_example_of_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(SCRIPTS[0] + "\nprint(view.history.to_xarray().sizes['run'])")
    printed = shell(f"{sys.executable} example.py", tmp_path)
    assert "label_noise.linear" in printed
    assert printed.splitlines()[-1] == "8"


@pytest.mark.slow
def test_example_of_a_grid(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(SCRIPTS[1])
    printed = shell(f"{sys.executable} example.py", tmp_path)
    (said,) = re.findall(r"# (.*step: \d+)$", SCRIPTS[1], re.MULTILINE)
    assert dict(re.findall(r"'(\w+)': (\d+)", printed)) == dict(re.findall(r"(\w+): (\d+)", said))
    assert "(noise_std: 4)" in printed


def test_example_of_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SCRIPTS[3])
    printed = shell(f"{sys.executable} own.py", tmp_path)
    assert "own, seed 0, 1,000 of 1,000 steps" in printed
    metrics = dict(re.findall(r"(\w+) (-?[\d.]+)", printed.split("metrics: ")[1]))
    assert float(metrics["test_accuracy"]) > 0.9
    assert {"sharpness", "margin", "test_margin"} <= set(metrics)


def test_example_of_an_experiment_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "valley.py").write_text(SCRIPTS[4])
    monkeypatch.syspath_prepend(tmp_path)
    experiment: Experiment = importlib.import_module("valley").EXPERIMENT
    assert "valley, seed 0, 100 of 100 steps" in capsys.readouterr().out  # of its last line
    assert main(["run", str(tmp_path / "valley.py"), "--seeds", "3", "--set", "lr=.1"]) == 0
    assert "valley, seeds 0 to 2" in capsys.readouterr().out
    stable, unstable = experiment.run(experiment.configure(lr=0.19)), experiment.run(experiment.configure(lr=0.21))
    assert stable["loss"][-1] < stable["loss"][0]
    assert unstable["loss"][-1] > unstable["loss"][0]  # above 2 / curvature
    with Image.open(io.BytesIO(still_png(experiment.panels(stable), experiment.title))) as drawn:
        assert len(drawn.getcolors(2**24)) > 10
    dashboard = Dashboard(experiment)
    assert dashboard.sliders.values() == experiment.configure().asdict()
    dashboard.close()


def test_example_of_an_experiment_is_the_one_in_examples() -> None:
    def code(source: str) -> list[str]:
        tree = ast.parse(source)
        return [ast.unparse(node) for node in tree.body if isinstance(node, ast.ClassDef | ast.Assign)]

    assert code(SCRIPTS[4]) == code((ROOT / "examples" / "first.py").read_text())


# What the README points to.


def test_links_and_pictures_are_there() -> None:
    targets = re.findall(r"\]\(([^)#\s]+)\)", PROSE)
    assert any(target.endswith(".png") for target in targets)
    for target in targets:
        assert "://" in target or (ROOT / target).exists(), target
        if target.endswith(".png"):
            with Image.open(ROOT / target) as shown:
                shown.verify()


def test_files_and_modules_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:dyntoolkit|notebooks|benchmarks|tests|binder)/[\w./]*)`", PROSE)
    assert named
    for path in named:
        assert (ROOT / path.replace("NAME", "index")).exists(), path
    for module in re.findall(r"`(dyntoolkit(?:\.\w+)+)`", PROSE):
        importlib.import_module(module)


def test_every_notebook_is_in_the_table() -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("dyntoolkit")
        if about is not None:
            (row,) = [row for row in rows if f"](notebooks/{path.name})" in row]
            assert about["question"] in row
            assert about["run_time"] in row


def test_binder_link_opens_the_gallery() -> None:
    (link,) = re.findall(r"https://mybinder\.org/[^\s`)]+", PROSE)
    assert link.endswith("?urlpath=voila/render/notebooks/index.ipynb")
    assert (ROOT / "notebooks" / "index.ipynb").is_file()
