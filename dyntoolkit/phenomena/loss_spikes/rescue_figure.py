"""The figure of `loss_spikes.rescue`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Axis,
    Bars,
    Level,
    Line,
    Panel,
    median_line,
)
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.rescue_claims import excesses
from dyntoolkit.phenomena.loss_spikes.rescue_config import BRANCHES
from dyntoolkit.phenomena.loss_spikes.trace import trace

BEFORE = find.WINDOW  # steps shown before the alarm
LOOKS = {  # colour and width: one colour for one setting of Adam
    "none": (RED, 3.0),
    "lr_2": (BLUE, 1.2),
    "lr_4": (BLUE, 2.4),
    "eps_0.01": (GREEN, 1.2),
    "eps_0.1": (GREEN, 2.4),
    "beta1_0.97": (PURPLE, 1.8),
    "clip_0.001": (SKY, 1.8),
    "beta2_0.99": (ORANGE, 1.2),
    "beta2_0.9": (ORANGE, 2.4),
}


def panels(history: History) -> list[Panel]:
    """The run with its alarms and the one where it is branched; the branches; their excess; what the reader tried."""
    tried = [_tried(history)] if "tried" in history else []
    return [_run(history), _branches(history), _excess(history), *tried]


def _run(history: History) -> Panel:
    """Loss of all runs; alarms of the first one."""
    runs = len(history.seeds)
    names = ("loss", "along_gradient")
    loss, along = (trace(history, name) if name in history else np.empty((0, runs)) for name in names)
    state = find.alarm_state(along[:, 0], history.config.lr)
    alarms = np.array([first for first, _ in find.alarm_groups(state)], dtype=int)
    chosen = float(history.last("alarm")[0]) if "alarm" in history else np.nan
    at = np.array([int(chosen)] if np.isfinite(chosen) else [], dtype=int)
    return Panel(
        "Loss",
        Axis("step"),
        Axis("mean squared error", log=True),
        [
            median_line("loss", np.arange(len(loss)), loss, BLUE, width=1.2),
            Line("alarm", alarms, loss[alarms, 0], ORANGE, markers="points"),
            Line("branched here", at, loss[at, 0], RED, markers="points"),
        ],
    )


def _branches(history: History) -> Panel:
    """Loss of each branch in units of what was usual before the alarm; the median over several runs."""
    x, courses = _courses(history)
    marks = [
        Line(branch.label, x, courses[:, k], LOOKS[name][0], width=LOOKS[name][1])
        for k, (name, branch) in enumerate(BRANCHES.items())
    ]
    level = Level("ten times", y=10.0, color=GREY)
    axes = Axis("steps from the alarm"), Axis("loss / median before", log=True)
    return Panel("Branches", *axes, [*marks, level], _why_empty(history))


def _why_empty(history: History) -> str:
    """What to say while there are no branches to be seen."""
    if "alarm" not in history:
        return "The branches are trained at the end of the run."
    return "" if np.isfinite(history.last("alarm")).any() else "No alarm led to a tenfold spike: nothing to rescue."


def _courses(history: History) -> tuple[Array, Array]:
    """Steps from the alarm (N,), and loss over the usual loss (N, B), median over the runs that are branched."""
    x = np.arange(-BEFORE, history.config.horizon)
    known = np.isfinite(history.last("alarm")) if "alarm" in history else np.zeros(1, dtype=bool)
    if not known.any():
        return x, np.full((len(x), len(BRANCHES)), np.nan)
    loss, runs = trace(history, "loss"), np.flatnonzero(known)
    starts = history.last("alarm")[runs].astype(int)
    before = np.stack([loss[i - BEFORE : i, r] for i, r in zip(starts, runs, strict=True)])  # (S, 100)
    after = history.last("branches")[runs]  # (S, B, horizon)
    shared = np.broadcast_to(before[:, None], (*after.shape[:2], BEFORE))
    whole = np.concatenate([shared, after], axis=2) / 10 ** history.last("usual")[runs, None, None]
    return x, np.median(whole, axis=0).T


def _excess(history: History) -> Panel:
    """Decades above the usual loss; the median over several runs."""
    found = np.stack(list(excesses(history).values()))  # (B, R)
    known = found[:, np.isfinite(found[0])]
    heights = np.median(known, axis=1) if known.size else np.full(len(found), np.nan)
    labels = [branch.label for branch in BRANCHES.values()]
    return Panel(
        "Excess",
        Axis("branch"),
        Axis("log₁₀ (largest / median)"),
        [Bars("excess", labels, heights, BLUE), Level("a tenfold spike", y=1.0), Level("prevented", y=0.3)],
        _why_empty(history),
    )


def _tried(history: History) -> Panel:
    """The reader's newest action beside doing nothing, in the first run."""
    start, usual = int(history.last("tried_alarm")[0]), history.last("tried_usual")[0]
    name = list(BRANCHES)[int(history.last("tried_branch")[0])]
    loss = trace(history, "loss")[start - BEFORE : start, 0]
    courses = np.concatenate([np.stack([loss, loss]), history.last("tried")[0]], axis=1) / 10**usual  # (2, N)
    x = np.arange(-BEFORE, history.config.horizon)
    untouched, changed = LOOKS["none"], LOOKS[name]
    return Panel(
        "Your action at an alarm",
        Axis("steps from the alarm"),
        Axis("loss / median before", log=True),
        [
            Line("none", x, courses[0], untouched[0], width=untouched[1]),
            Line(f"{BRANCHES[name].label} at step {start:,}", x, courses[1], changed[0], width=2.0),
            Level("ten times", y=10.0, color=GREY),
        ],
    )
