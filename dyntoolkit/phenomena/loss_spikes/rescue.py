"""What helps at the alarm? The default experiment's network, branched where an alarm precedes a tenfold spike.

After Bai et al. 2025 (arXiv 2506.04805), who change Adam for the whole run; here it changes only from the alarm on.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine import update
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import AmsGrad
from dyntoolkit.experiment import Actions, Claim, Control, Experiment, Preset, at_least, at_most, number
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
from dyntoolkit.figure.recorded import newest
from dyntoolkit.phenomena._sines import Data, draw_data, loss, loss_and_gradient, loss_gradient_product
from dyntoolkit.phenomena.loss_spikes import _spikes as spikes
from dyntoolkit.phenomena.loss_spikes import mlp
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced
from dyntoolkit.phenomena.loss_spikes.mlp import SPIKY, State, corrected, initial_state, make_batches, make_step
from dyntoolkit.probes.gradient_curvature import gradient_curvature
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(mlp.Config):
    """Settings of one run of `loss_spikes.mlp`, and how long its branches are watched."""

    horizon: int = number(
        60, 20, 400, label="horizon", help="losses of each branch from the alarm on", unit="steps", structural=True
    )


PRESETS = {
    "rescue": Preset("At the alarm, nine copies of the run go on with different settings."),
}


# ---- Data, model, step ----

# Data, network and Adam are those of `mlp`


class Rates(NamedTuple):
    """The settings of Adam that a branch may change, one number each."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    grad_clip: float


class Branch(NamedTuple):
    """Factors on, and new values of, settings of Adam from the alarm on. label: as the figure writes it."""

    label: str
    times: Mapping[str, float]
    new: Mapping[str, float]

    def rates(self, config: Config) -> Rates:
        """The settings of a run after this branch's change."""
        before = Rates(*(getattr(config, name) for name in Rates._fields))
        scaled = {name: getattr(before, name) * factor for name, factor in self.times.items()}
        return before._replace(**scaled, **self.new)


BRANCHES = {
    "none": Branch("none", {}, {}),
    "lr_2": Branch("η/2", {"lr": 1 / 2}, {}),
    "lr_4": Branch("η/4", {"lr": 1 / 4}, {}),
    "eps_0.01": Branch("ε .01", {}, {"eps": 0.01}),
    "eps_0.1": Branch("ε .1", {}, {"eps": 0.1}),
    "beta1_0.97": Branch("β₁ .97", {}, {"beta1": 0.97}),
    "clip_0.001": Branch("clip", {}, {"grad_clip": 1e-3}),
    "beta2_0.99": Branch("β₂ .99", {}, {"beta2": 0.99}),
    "beta2_0.9": Branch("β₂ .9", {}, {"beta2": 0.9}),
}


class Alarm(NamedTuple):
    """The first alarm of a group: at index i, with the run's state before update i + 1 (1, P).

    usual: lower median of log10 loss over the 100 losses before i.
    """

    at: int
    state: State
    usual: float


class Alarms:
    """The alarms of R runs, found while they train, and the states they are branched from.

    found: the alarms of each run so far, in order. Deciding on an index needs no later one.
    """

    def __init__(self, configs: Sequence[Config], data: Data) -> None:
        self.configs, self.data = configs, data
        self.found: list[list[Alarm]] = [[] for _ in configs]
        self._loss, self._curvature = (np.empty((0, len(configs))) for _ in range(2))  # (N, R)

    def probe(self, before: State, after: State, first: int) -> dict[str, Tensor]:
        """Loss and curvature along the gradient at every step, each (T, R) as in `mlp.curvatures`."""
        beta1, beta2, eps = (per_run(self.configs, name, torch.float64) for name in ("beta1", "beta2", "eps"))
        losses, g, product = loss_gradient_product(before.theta, self.data)  # (T, R), (T, R, P)
        D = 1 / (corrected(after, beta2).sqrt() + eps.unsqueeze(1))  # (T, R, P)
        updates = torch.arange(first + 1, first + 1 + len(D), dtype=torch.float64).unsqueeze(1)  # (T, 1)
        # lambda_grad_i = mu_i g^T D H g / g^T g
        bare = gradient_curvature(product, g, D)
        curvature = momentum_factor(beta1, updates) * bare  # (T, R)
        self._loss = np.concatenate([self._loss, losses.numpy()])
        self._curvature = np.concatenate([self._curvature, curvature.numpy()])
        for r in range(len(self.configs)):
            self._keep(r, before, first)
        return {"loss": losses, "along_gradient": curvature}

    def _keep(self, r: int, before: State, first: int) -> None:
        """Keep what is needed of the alarms of run r among the newest steps."""
        state = spikes.alarm_state(self._curvature[:, r], self.configs[r].lr)
        for index, _ in spikes.alarm_groups(state):
            if index >= first:
                state_then = type(before)(*(leaf[index - first] for leaf in before))
                usual = spikes.usual(self._loss[index - spikes.WINDOW : index, r])
                self.found[r].append(Alarm(index, rows([state_then], [r]), usual))


def rows(states: Sequence[State], runs: Sequence[int]) -> State:
    """One state out of row runs[k] of states[k] for each k."""
    columns = zip(*states, strict=True)
    picked = [torch.stack([column[r] for column, r in zip(tensors, runs, strict=True)]) for tensors in columns]
    return type(states[0])(*picked)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Generator[Frame, str | None, None]:
    """Train R networks to the end, then try what helps at the first alarm before a tenfold spike.

    Frames while they train: loss and along_gradient at each of 50 steps, (R, 50) (see `trace`). Last frame: branches
    (R, B, horizon) = losses L_i, L_(i+1), ... of each of BRANCHES from alarm i on; alarm (R,) = i; usual (R,) = lower
    median of the log10 of the 100 losses before i. All NaN for a run without such an alarm.

    After an alarm of the first run the frame asks: the name of a branch, sent in return, is tried from that alarm on
    beside doing nothing, and the run goes on untouched. Then a frame holds tried (R, 2, horizon) = losses of both,
    tried_branch (R,) = its number, tried_alarm and tried_usual (R,) as above; NaN for all runs but the first.
    """
    config, data, state = configs[0], draw_data(configs, seeds), initial_state(configs, seeds)
    alarms, batches = Alarms(configs, data), make_batches(configs, seeds, state.theta.shape[1])
    diverged = np.full(len(seeds), -1)
    total = config.steps + config.horizon
    seen = 0
    for frame in traced(state, make_step(configs, data), batches, config.steps, alarms.probe, total=total):
        diverged, known = frame.diverged, len(alarms.found[0])
        action = yield replace(frame, asks=known > seen)
        if action is not None:
            beat = replace(frame, values={})
            values = yield from try_out(action, configs, seeds, data, alarms.found[0][seen], beat)
            yield replace(frame, values=values)
        seen = known
    healthy = [alarms.found[r] if diverged[r] < 0 else [] for r in range(len(seeds))]
    heartbeat = Frame(config.steps, total, {}, diverged)
    values = yield from first_spike(configs, seeds, data, healthy, heartbeat)
    yield Frame(total, total, values, diverged)


def try_out(
    name: str, configs: Sequence[Config], seeds: Sequence[int], data: Data, alarm: Alarm, heartbeat: Frame
) -> Generator[Frame, None, dict[str, Array]]:
    """What doing nothing and one branch make of the first run from this alarm on: the values of a frame."""
    first = Data(data.x, data.y[:1])
    followed = yield from follow(configs[:1], seeds[:1], first, [alarm], heartbeat, ("none", name))  # (1, 2, horizon)
    runs, number = len(configs), list(BRANCHES).index(name)
    values = {"tried": followed[0], "tried_branch": number, "tried_alarm": alarm.at, "tried_usual": alarm.usual}
    return {key: _first_of(runs, np.asarray(value, dtype=np.float64)) for key, value in values.items()}


def _first_of(runs: int, value: Array) -> Array:
    """A value of the first run, with NaN for the others, (R, ...)."""
    padded = np.full((runs, *value.shape), np.nan)
    padded[0] = value
    return padded


AT_ONCE = 8  # alarms of a run that are looked at together


def first_spike(
    configs: Sequence[Config], seeds: Sequence[int], data: Data, alarms: Sequence[Sequence[Alarm]], heartbeat: Frame
) -> Generator[Frame, None, dict[str, Array]]:
    """Branch each run at its first alarm after which the untouched branch rises tenfold.

    The untouched branch is trained from one alarm after the other, some at once; the other branches only from the first
    one that it rises after, all of them in one batch with it, so nothing is compared across batches.
    """
    runs, horizon = len(configs), configs[0].horizon
    losses = np.full((runs, len(BRANCHES), horizon), np.nan)
    index, usual = np.full(runs, np.nan), np.full(runs, np.nan)
    todo = [list(each) for each in alarms]  # of each run, the alarms that are still to be looked at

    def tried(which: Sequence[tuple[int, Alarm]], names: Sequence[str]) -> Generator[Frame, None, Array]:
        """The losses of the named branches from some alarms of some runs, (len(which), B, horizon)."""
        own = [r for r, _ in which]
        here, of_run = [configs[r] for r in own], [seeds[r] for r in own]
        chosen = [alarm for _, alarm in which]
        return (yield from follow(here, of_run, Data(data.x, data.y[own]), chosen, heartbeat, names))

    while any(todo):
        look = [(r, alarm) for r in range(runs) for alarm in todo[r][:AT_ONCE]]
        untouched = yield from tried(look, ("none",))
        rises = spikes.height(untouched[:, 0], np.array([alarm.usual for _, alarm in look])) >= spikes.TEN
        first: dict[int, Alarm] = {}
        for (r, alarm), rise in zip(look, rises, strict=True):
            if rise:
                first.setdefault(r, alarm)
        followed = (yield from tried(list(first.items()), tuple(BRANCHES))) if first else ()
        for (r, alarm), branches in zip(first.items(), followed, strict=True):
            losses[r], index[r], usual[r] = branches, alarm.at, alarm.usual
        todo = [[] if r in first else rest[AT_ONCE:] for r, rest in enumerate(todo)]
    return {"branches": losses, "alarm": index, "usual": usual}


def follow(
    configs: Sequence[Config],
    seeds: Sequence[int],
    data: Data,
    alarms: Sequence[Alarm],
    heartbeat: Frame,
    names: Sequence[str] = tuple(BRANCHES),
) -> Generator[Frame, None, Array]:
    """The losses of the B named branches of S runs from their alarms on, (S, B, horizon); the step counter runs on.

    All branches of a run see the same gradient noise, if any.
    """
    own = [s for s in range(len(configs)) for _ in names]  # the run of each of the S B rows
    rates = [BRANCHES[name].rates(config) for config in configs for name in names]
    lr, beta1, beta2, eps, limit = torch.tensor(rates, dtype=torch.float64).unbind(1)  # (S B,) each
    state = rows([alarms[s].state for s in own], [0] * len(own))
    state = state._replace(
        square=state.square * carried(state.updates, per_run(configs, "beta2", torch.float64)[own], beta2)
    )
    labels, of_row = Data(data.x, data.y[own]), torch.tensor(own, dtype=torch.int64)
    batches = make_batches(configs, seeds, state.theta.shape[1], "branch noise")
    passed = []  # weights, (S B, P) each

    def step(state: State, noise: Tensor | None) -> State:
        gradient = loss_and_gradient(state.theta, labels)[1]  # (S B, P)
        gradient = update.clip(gradient if noise is None else gradient + noise[of_row], limit)
        if isinstance(state, AmsGrad):
            return update.amsgrad(state, gradient, lr, beta1, beta2, eps)
        return update.adam(state, gradient, lr, beta1, beta2, eps)

    def measure(_: int, state: State) -> dict[str, Array]:
        passed.append(state.theta)
        return {}

    for frame in train(state, step, batches, range(configs[0].horizon), measure):
        yield replace(heartbeat, engine=frame.engine)
    losses = loss(torch.stack(passed), labels)  # (horizon, S B)
    return losses.T.reshape(len(configs), len(names), -1).numpy()


def carried(updates: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """The factor on the mean square with which v, corrected for its bias, does not jump where beta2 does; (N, 1)."""
    # v <- v (1 - beta2_new^i)/(1 - beta2_old^i)
    return ((1 - new**updates) / (1 - old**updates)).unsqueeze(1)


# ---- What is measured, claims ----

RESCUES = ("lr_2", "lr_4", "eps_0.01", "eps_0.1", "beta1_0.97")
TOO_LATE = ("beta2_0.99", "beta2_0.9")


def metrics(history: History) -> dict[str, Array]:
    """The excess of each branch, and what preceded it, name -> (R,); NaN without an alarm before a tenfold spike.

    excess_<branch>: decades by which the largest of its losses lies above the median of the 100 losses before the
    alarm. rescued_most: the largest of the five branches that should prevent the spike. too_late_least: the smaller one
    of the two with a smaller beta2. alarm: index of the alarm. tried: its number among the run's alarms; alarms: how
    many of them there are.
    """
    found = excesses(history)
    groups = [
        [first for first, _ in spikes.alarm_groups(spikes.alarm_state(along, config.lr))]
        for along, config in zip(trace(history, "along_gradient").T, history.configs, strict=True)
    ]
    alarm = newest(history, "alarm")  # (R,)
    number = [starts.index(i) + 1 if i in starts else np.nan for starts, i in zip(groups, alarm, strict=True)]
    return {
        **{f"excess_{name}": found[name] for name in BRANCHES},
        "rescued_most": np.max([found[name] for name in RESCUES], axis=0),
        "too_late_least": np.min([found[name] for name in TOO_LATE], axis=0),
        "alarm": alarm,
        "tried": np.array(number, dtype=np.float64),
        "alarms": np.array([len(starts) for starts in groups], dtype=np.float64),
    }


def excesses(history: History) -> dict[str, Array]:
    """Name of each branch -> its excess in decades (R,); NaN before the branches are trained, and without an alarm."""
    if "branches" not in history:
        return {name: np.full(len(history.seeds), np.nan) for name in BRANCHES}
    # max(log10 L_i, ..., log10 L_{i+horizon-1}) - median(log10 L_{i-100}, ..., log10 L_{i-1})
    found = spikes.height(history.last("branches"), history.last("usual")[:, None])  # (R, B)
    return dict(zip(BRANCHES, found.T, strict=True))


UNTOUCHED = Control("untouched", metric="excess_none")

# expected wherever the default experiment spikes, watched for the default number of losses
CLAIMS = (
    Claim(
        id="rescued",
        statement="η/2, η/4, ε = 0.01, ε = 0.1 and β₁ = 0.97 at the alarm each prevent the spike: "
        "the loss at most doubles.",
        metric="rescued_most",
        bound=at_most(0.3),
        where=SPIKY,
        controls=(UNTOUCHED,),
    ),
    Claim(
        id="clip_helps",
        statement="So does clipping the gradient to 0.001: the loss rises threefold at most.",
        metric="excess_clip_0.001",
        bound=at_most(0.5),
        where=SPIKY,
        controls=(UNTOUCHED,),
    ),
    Claim(
        id="beta2_too_late",
        statement="A smaller β₂ comes too late at the alarm: with 0.99 as with 0.9 the loss at least doubles.",
        metric="too_late_least",
        bound=at_least(0.3),
        where=SPIKY,
        controls=(Control("η / 2", metric="excess_lr_2"),),
    ),
)


# ---- Figure ----

BEFORE = spikes.WINDOW  # steps shown before the alarm
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
    loss = trace(history, "loss")
    along = trace(history, "along_gradient")
    state = spikes.alarm_state(along[:, 0], history.config.lr)
    alarms = np.array([first for first, _ in spikes.alarm_groups(state)], dtype=int)
    chosen = float(newest(history, "alarm")[0])
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
    known = np.isfinite(newest(history, "alarm"))  # (R,)
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


# ---- The record ----

EXPERIMENT = Experiment(
    name="loss_spikes.rescue",
    title="What helps at the alarm",
    question="Once the alarm is there, which change of Adam still prevents the spike?",
    paper="2506.04805",
    seconds=2.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    actions=Actions("At the next alarm", {name: branch.label for name, branch in BRANCHES.items() if name != "none"}),
)
