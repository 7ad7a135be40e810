"""The laboratory as its readers use it: from what a hand does to the first changed curve in the browser; and digits.

A student moves a slider, presses the spikes and changes the optimizer; somebody chooses a CSV file; somebody pastes the
README's network into a cell of JupyterLab and moves its width. Digits (two hidden layers of 64, 1000 steps of batches
of 64) train without a window: with an empty program cache in fresh processes that have trained something else, and
again.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _browser import CURVE, FINISHED, answers, new_pages, server
from _spread import machine, spread
from playwright.sync_api import Page

from dyntoolkit.phenomena.laboratory.network import EXPERIMENT

README = Path(__file__).resolve().parents[1] / "README.md"
ROWS = 200  # of the file that is chosen
DIGITS: dict[str, Any] = {"data": "digits", "n_train": 2000, "depth": 2, "width": 64, "batch_size": 64, "steps": 1000}
TO_REACH = {
    "digits, empty program cache": 2,
    "digits, warm": 2,
    "slider move to curve, at the default": 0.3,
    "CSV file to curve": 2,
}
ARM = """(kind) => {
  const curves = () => [...document.querySelectorAll("path.js-line")].map((path) => path.getAttribute("d"));
  const before = new Set(curves());
  let began = null;
  window.took = null;
  document.addEventListener(kind, () => (began ??= performance.now()), { capture: true, once: true });
  new MutationObserver((_, watch) => {
    if (began === null || !curves().some((d) => d?.includes("L") && !before.has(d))) return;
    window.took = (performance.now() - began) / 1000;
    watch.disconnect();
  }).observe(document, { subtree: true, childList: true, attributeFilter: ["d"] });
}"""


def seconds(page: Page, kind: str, act: Callable[[], object]) -> float:
    """From the first event of that kind, which `act` brings about, to a changed curve; then wait for the run's end."""
    page.wait_for_timeout(500)  # for the last drawing
    page.evaluate(ARM, kind)
    act()
    page.wait_for_function("window.took !== null", polling=10)
    took: float = page.evaluate("window.took")
    page.wait_for_function(FINISHED)
    return took


def slider(page: Page, field: str, repeat: int) -> float:
    """A key on a slider."""
    handle = page.locator(f'.dyn-field-{field} [role="slider"]')
    return seconds(page, "keydown", lambda: handle.press("ArrowLeft" if repeat % 2 else "ArrowRight"))


def student(page: Page, repeats: int) -> dict[str, list[float]]:
    """A slider at the default, the preset of the spikes, and then another optimizer."""
    page.wait_for_selector(CURVE)
    page.wait_for_function(FINISHED)
    moved = [slider(page, "lr", k) for k in range(repeats)]
    spikes, changed = [], []
    preset = page.locator(".dyn-notes").get_by_role("button", name="spikes", exact=True)
    optimizer = page.locator(".dyn-field-optimizer select")
    for _ in range(repeats):
        spikes.append(seconds(page, "click", preset.click))
        changed.append(seconds(page, "change", lambda: optimizer.select_option("momentum")))
    return {"slider move to curve, at the default": moved, "spikes to curve": spikes, "optimizer to curve": changed}


def owner(page: Page, repeats: int, folder: Path) -> dict[str, list[float]]:
    """A file of two columns and two classes, another one each time."""
    page.wait_for_selector(CURVE)
    page.wait_for_function(FINISHED)
    times = []
    for k in range(repeats):
        x = np.random.default_rng(k).normal(size=(ROWS, 2))
        lines = [f"{a:.3f},{b:.3f},{'yes' if a * b > 0 else 'no'}" for a, b in x]
        path = folder / f"{k}.csv"
        path.write_text("\n".join(["height,weight,ill", *lines]))
        file = page.locator(".dyn-file input[type=file]")
        times.append(seconds(page, "change", partial(file.set_input_files, path)))
    return {"CSV file to curve": times}


def researcher(page: Page, address: str, repeats: int) -> dict[str, list[float]]:
    """The README's network pasted into a cell and run for the first time, and its width moved."""
    text = README.read_text(encoding="utf-8")
    (cell,) = [code for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "class MyNet" in code]
    page.goto(address)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.insert_text(cell)
    pasted = seconds(page, "keydown", lambda: page.keyboard.press("Control+Enter"))
    moved = [slider(page, "width", k) for k in range(repeats)]
    return {"own network pasted and run, to curve": [pasted], "its width moved, to curve": moved}


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """The address of an empty notebook in a JupyterLab of its own, with the kernels of `dyntoolkit lab`."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
    (folder / "own.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token="]
    options += ["--ServerApp.allow_root=True", "--ServerApp.ip=127.0.0.1", "--LabApp.news_url=None"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not answers(f"http://127.0.0.1:{port}/api/status"):
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/own.ipynb?reset"
    finally:
        process.terminate()
        process.wait()


def digits(seed: int) -> float:
    """Seconds of a whole run."""
    config = EXPERIMENT.configure(**DIGITS)
    begin = time.perf_counter()
    EXPERIMENT.run(config, [seed])
    return time.perf_counter() - begin


def fresh_digits(repeats: int) -> list[list[float]]:
    """Seconds of runs one after the other, in fresh processes that each begin with an empty program cache."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--digits", str(repeats)]
            made = subprocess.run(
                command, env={**os.environ, "XDG_CACHE_HOME": folder}, check=True, capture_output=True, text=True
            )
            found.append(json.loads(made.stdout))
    return found


def print_digits(repeats: int) -> None:
    """What `fresh_digits` reads. The default run before them loads what any run needs."""
    torch.set_num_threads(1)
    EXPERIMENT.run(EXPERIMENT.configure(), [0])
    print(json.dumps([digits(seed) for seed in range(1 + repeats)]))


def main() -> None:
    """Print each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--digits", type=int, metavar="N", help="only N + 1 runs of digits, as JSON")
    options = parser.parse_args()
    if options.digits:
        print_digits(options.digits)
        return
    repeats = options.repeats
    print(machine())
    runs = fresh_digits(repeats)
    times = {
        "digits, empty program cache": [first for first, *_ in runs],
        "digits, warm": [again for _, *rest in runs for again in rest],
    }
    with tempfile.TemporaryDirectory() as folder, new_pages() as pages:
        with server() as address:
            page = next(pages)
            page.goto(address + "laboratory.ipynb")
            times |= student(page, repeats)
            page.goto(address + "laboratory.ipynb")
            times |= owner(page, repeats, Path(folder))
        with lab(Path(folder)) as address:
            times |= researcher(next(pages), address, repeats)
    for name, found in times.items():
        reach = f"   (to reach: {TO_REACH[name]} s)" if name in TO_REACH else ""
        print(f"{name}: {spread(found, 's', 2)}{reach}")
    print(machine())


if __name__ == "__main__":
    main()
