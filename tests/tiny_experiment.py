"""An experiment of a few microseconds: x <- (1 - lr) x + pull from x = 1 + seed / 10."""

import numpy as np

from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, Preset
from dyntoolkit.experiment.claims import Claim, Control, Sweep, above, below, between, mean_of, settings
from dyntoolkit.experiment.config import Config, choice, number

FRAMES = 10


class TinyConfig(Config):
    lr: float = number(0.5, 0.0, 3.0, label="lr", help="step size")
    pull: float = number(0.0, -1.0, 1.0, label="pull", help="constant force")
    steps: int = number(20, 10, 1000, log=True, label="steps", help="updates", structural=True)
    law: str = choice("linear", ["linear", "cubic"], label="law", help="kind of force")

    def check(self):
        if self.lr == 3.0 and self.pull > 0:
            raise InputError("lr 3 allows no pull.", "lr")

    def warnings(self):
        return ["lr above 1 oscillates."] if self.lr > 1 else []


def simulate(configs, seeds):
    """x (R,) at FRAMES + 1 steps; a run with |x| > 1e6 counts as diverged."""
    steps = configs[0].steps
    assert {config.steps for config in configs} == {steps}  # runs of one loop agree on structural fields
    lr, pull = np.array([c.lr for c in configs]), np.array([c.pull for c in configs])
    x = 1 + np.array(seeds) / 10
    diverged = np.full(len(seeds), -1)
    for k in range(steps + 1):
        if k:
            x = np.where(diverged < 0, (1 - lr) * x + pull, x)
            diverged = np.where((diverged < 0) & (np.abs(x) > 1e6), k, diverged)
        measured = k % (steps // FRAMES) == 0 or k == steps
        yield Frame(k, steps, {"x": x} if measured else {}, diverged)


def metrics(history):
    x = history["x"]
    small = np.abs(x) < 0.1
    first = np.where(small.any(0), history.at("x")[small.argmax(0)], np.nan)
    return {"end": np.abs(x[-1]), "start": np.abs(x[0]), "t_small": first}


def decay(rows):
    """Per seed: how much larger the end is in the first run than in the second."""
    first, second = rows
    return first["end"] / second["end"]


def pooled(rows):
    """Over all seeds and settings: the mean end."""
    return np.array([np.mean([row["end"] for row in rows])])


SHRINKS = Claim(
    id="shrinks",
    statement="x shrinks",
    metric="end",
    bound=below(0.01),
    where=lambda c: 0 < c.lr < 2 and c.pull == 0,
    controls=(
        Control("lr 0: x stays", {"lr": 0.0}),
        Control("lr .1: larger", bound=above(1), sweep=Sweep(({"lr": 0.1}, {}), decay)),
        Control("the start, in the mean", bound=between(0.9, 1.5), sweep=mean_of("start")),
    ),
)
SETTLES = Claim(
    id="settles",
    statement="x settles at pull / lr",
    metric="end",
    bound=between(0.9, 1.1),
    where=lambda c: c.pull == c.lr,
    preset="pulled",
)
FALLS = Claim(
    id="falls",
    statement="a larger lr leaves less",
    bound=above(2.0),
    where=settings(pull=0.0),
    sweep=Sweep(({"lr": 0.1}, {"lr": 0.5}), decay),
    controls=(
        Control("with a pull", {"pull": 0.1}, below(2.0)),
        Control("refused", {"pull": 0.5, "lr": 3.0}),
    ),
)
ALL_SMALL = Claim(
    id="all_small",
    statement="small in all seeds",
    bound=below(0.2),
    where=settings(pull=0.0),
    sweep=Sweep(({"lr": 0.4}, {"lr": 0.6}), pooled, least_seeds=3),
)
MEAN = Claim(
    id="mean_start",
    statement="the start is near 1, in the mean",
    bound=between(1.15, 1.25),
    where=lambda c: c.pull == 0 and 0 < c.lr < 2,
    sweep=mean_of("start"),
)

TINY = Experiment(
    name="tiny.decay",
    title="Decay",
    question="Does x shrink?",
    paper="0000.00000",
    seconds=0.01,
    config=TinyConfig,
    presets={
        "default": Preset("x shrinks"),
        "still": Preset("x stays", {"lr": 0.0}),
        "pulled": Preset("x settles at 1", {"lr": 0.5, "pull": 0.5, "steps": 30}),
        "lost": Preset("x diverges", {"lr": 3.0, "steps": 100}),
    },
    simulate=simulate,
    metrics=metrics,
    claims=(SHRINKS, SETTLES, FALLS, ALL_SMALL, MEAN),
    panels=lambda history: [],
)
