"""An experiment whose loops take a while, and are noted in a file, so that a test can disturb them."""

import os
import time
from pathlib import Path

import numpy as np

import dyntoolkit as dt
from dyntoolkit.engine.history import Frame

SECONDS = 0.3  # of a loop
LOG = Path(os.environ.get("SLOW_LOG", os.devnull))  # a line for each loop that begins: the process that it is in
PROCESSES = int(os.environ.get("SLOW_PROCESSES", "0"))  # that must have begun one before a loop of size 1 does


class Slow(dt.Config):
    """How does x fall?"""

    lr: float = dt.number(0.1, 0.0, 1.0)
    size: int = dt.number(1, 1, 100, structural=True)


def simulate(configs, seeds):
    """x (R,) after 0, 1, ... 4 steps."""
    with LOG.open("a") as log:
        log.write(f"{os.getpid()}\n")
    while configs[0].size == 1 and len(set(LOG.read_text().split())) < PROCESSES:
        time.sleep(0.05)
    x, lr = 1 + np.array(seeds) / 10, np.array([config.lr for config in configs])
    for k in range(5):
        yield Frame(k, 4, {"x": x * configs[0].size}, np.full(len(seeds), -1))
        time.sleep(SECONDS / 5)
        x = x * (1 - lr)


SLOW = dt.Experiment("slow", Slow, simulate)
