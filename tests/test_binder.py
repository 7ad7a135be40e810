"""Binder's files, as far as they can be tried without building the image."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
from waiting import free_port, wait_for

import dyntoolkit

NURSERY = "dyntoolkit.app.nursery"
ROOT = Path(dyntoolkit.__file__).parent.parent
BINDER = ROOT / "binder"
pytestmark = pytest.mark.skipif(not BINDER.is_dir(), reason="needs a checkout")


def start(*command: str) -> list[str]:
    return ["bash", str(BINDER / "start"), *command]


def environment() -> dict[str, str]:
    """This environment, with this Python as `python`, as on Binder."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_requirements_are_the_pinned_cpu_build_and_this_project() -> None:
    lines = [line for line in (BINDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in lines
    assert "-c ../constraints.txt" in lines
    (pin,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"{pin}+cpu" in lines
    assert "." in lines


def test_python_is_one_that_the_package_accepts() -> None:
    found = re.fullmatch(r"python-3\.(\d+)\n", (BINDER / "runtime.txt").read_text())
    assert found is not None
    assert int(found[1]) >= 11


@pytest.mark.parametrize("script", ["start", "postBuild"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(BINDER / script, os.X_OK)
    assert (BINDER / script).read_text().startswith("#!/bin/bash\n")


def test_start_limits_threads_and_hands_over() -> None:
    command = start("bash", "-c", "echo $OMP_NUM_THREADS; exit 7")
    result = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (7, "1\n")


@pytest.mark.slow
def test_build_step_runs(tmp_path: Path) -> None:
    """But for the training of every experiment (tests/app/test_cli.py tries `warm`), which takes minutes."""
    stub, called = tmp_path / "bin" / "dyntoolkit", tmp_path / "called"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$@" > {called}\n')
    stub.chmod(0o755)
    own = environment()
    own |= {"XDG_CACHE_HOME": str(tmp_path), "PATH": f"{stub.parent}:{own['PATH']}"}
    subprocess.run([str(BINDER / "postBuild")], env=own, check=True)
    assert list(tmp_path.glob("dyntoolkit/plotly-*.js.gz"))
    assert called.read_text() == "warm\n"


@pytest.mark.slow
def test_link_opens_pages_below_the_path_of_a_person_and_a_closed_one_gives_back_its_kernel(tmp_path: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}/user/x"
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
        "--ServerApp.base_url=/user/x/",
        f"--ServerApp.root_dir={ROOT}",
    ]
    cookies = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    pages: list[str] = []

    def answers() -> bool:
        try:
            with browser.open(f"{base}/voila/render/notebooks/index.ipynb", timeout=60) as response:
                pages.append(response.read().decode())
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(start("jupyter", "server", *options), env=environment(), stdout=log, stderr=log)
        try:
            wait_for(answers)
            (page,) = pages
            (kernel,) = re.findall(r'"kernelId": "([^"]+)"', page)
            processes = psutil.Process(server.pid).children(recursive=True)
            nurseries = [each for each in processes if NURSERY in each.cmdline()]
            body = urlencode({"_xsrf": next(each.value for each in cookies if each.name == "_xsrf")}).encode()
            with browser.open(f"{base}/voila/api/shutdown/{kernel}", body, timeout=60) as response:
                assert response.status == 204
        finally:
            server.terminate()
            server.wait(timeout=60)
    assert "dyntoolkit-gallery" in page
    assert 'id="dyn-news"' in page  # the project's page, not Voila's
    assert "import gallery" not in page  # code is hidden
    assert "/user/x/voila/templates/dyntoolkit/static/page.js" in page
    assert len(nurseries) == 2  # the nursery and the kernel that it has forked
    assert len(processes) == 2
