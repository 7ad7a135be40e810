"""What helps at the alarm? The default experiment's network, branched where an alarm precedes a tenfold spike.

After Bai et al. 2025 (arXiv 2506.04805), who change Adam for the whole run; here it changes only from the alarm on.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine import update
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import HEARTBEAT
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import AmsGrad
from dyntoolkit.experiment import Actions, Experiment
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.mlp import State, corrected, initial_state, make_batches, make_step
from dyntoolkit.phenomena.loss_spikes.rescue_claims import CLAIMS, metrics
from dyntoolkit.phenomena.loss_spikes.rescue_config import BRANCHES, PRESETS, Config
from dyntoolkit.phenomena.loss_spikes.rescue_figure import panels
from dyntoolkit.phenomena._sines import Data, draw_data, hessian, loss_and_gradient
from dyntoolkit.phenomena.loss_spikes.trace import traced
from dyntoolkit.probes.gradient_curvature import gradient_curvature
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor

Tensor = torch.Tensor


class Moment(NamedTuple):
    """One step: all that Adam knew before it, and v as the step uses it (R, P)."""

    before: State
    v: Tensor


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

    def probe(self, moments: Sequence[Moment], first: int) -> dict[str, Tensor]:
        """Loss and curvature along the gradient at every step, each (T, R) as in `mlp.curvatures`."""
        theta = torch.stack([moment.before.theta for moment in moments])  # (T, R, P)
        v = torch.stack([moment.v for moment in moments])  # (T, R, P)
        beta1, eps = per_run(self.configs, "beta1", torch.float64), per_run(self.configs, "eps", torch.float64)
        losses, g = loss_and_gradient(theta, self.data)
        H = hessian(theta, self.data)  # (T, R, P, P)
        updates = torch.arange(first + 1, first + 1 + len(moments), dtype=torch.float64).unsqueeze(1)  # (T, 1)
        bare = gradient_curvature(lambda u: (H @ u.unsqueeze(-1)).squeeze(-1), g, 1 / (v.sqrt() + eps.unsqueeze(1)))
        curvature = momentum_factor(beta1, updates) * bare
        self._loss = np.concatenate([self._loss, losses.numpy()])
        self._curvature = np.concatenate([self._curvature, curvature.numpy()])
        for r in range(len(self.configs)):
            self._keep(r, moments, first)
        return {"loss": losses, "along_gradient": curvature}

    def _keep(self, r: int, moments: Sequence[Moment], first: int) -> None:
        """Keep what is needed of the alarms of run r among the newest steps."""
        state = find.alarm_state(self._curvature[:, r], self.configs[r].lr)
        for index, _ in find.alarm_groups(state):
            if index >= first:
                before = moments[index - first].before
                usual = find.usual(self._loss[index - find.WINDOW : index, r])
                self.found[r].append(Alarm(index, rows([before], [r]), usual))


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
    c, data, state = configs[0], draw_data(configs, seeds), initial_state(configs, seeds)
    beta2, alarms = per_run(configs, "beta2", torch.float64), Alarms(configs, data)
    batches = make_batches(configs, seeds, state.theta.shape[1])

    def moment(before: State, after: State) -> Moment:
        return Moment(before, corrected(after, beta2))

    diverged, total, seen = np.full(len(seeds), -1), c.steps + c.horizon, 0
    for frame in traced(state, make_step(configs, data), batches, c.steps, moment, alarms.probe, total=total):
        diverged, known = frame.diverged, len(alarms.found[0])
        action = yield replace(frame, asks=known > seen)
        if action is not None:
            beat = Frame(frame.step, total, {}, diverged)
            values = yield from try_out(action, configs, seeds, data, alarms.found[0][seen], beat)
            yield Frame(frame.step, total, values, diverged)
        seen = known
    healthy = [alarms.found[r] if diverged[r] < 0 else [] for r in range(len(seeds))]
    heartbeat = Frame(c.steps, total, {}, diverged)
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


def first_spike(
    configs: Sequence[Config], seeds: Sequence[int], data: Data, alarms: Sequence[Sequence[Alarm]], heartbeat: Frame
) -> Generator[Frame, None, dict[str, Array]]:
    """Branch each run at its first alarm, then its second, ... until the untouched branch rises tenfold.

    In each round, all branches of all runs still in search are one batch, so nothing is compared across batches.
    """
    runs, horizon = len(configs), configs[0].horizon
    losses = np.full((runs, len(BRANCHES), horizon), np.nan)
    index, usual = np.full(runs, np.nan), np.full(runs, np.nan)
    for k in range(max(map(len, alarms), default=0)):
        searching = [r for r in range(runs) if np.isnan(index[r]) and k < len(alarms[r])]
        if not searching:
            break
        chosen = [alarms[r][k] for r in searching]
        here, own = [configs[r] for r in searching], [seeds[r] for r in searching]
        followed = yield from follow(here, own, Data(data.x, data.y[searching]), chosen, heartbeat)  # (S, B, horizon)
        for r, alarm, branches in zip(searching, chosen, followed, strict=True):
            if find.height(branches[0], alarm.usual) >= find.TEN:
                losses[r], index[r], usual[r] = branches, alarm.at, alarm.usual
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
    labels = Data(data.x, data.y[own])
    batches = make_batches(configs, seeds, state.theta.shape[1], "branch noise")
    losses = []
    for k, noise in enumerate(batches(0, configs[0].horizon), 1):
        value, gradient = loss_and_gradient(state.theta, labels)  # (S B,), (S B, P)
        losses.append(value.view(len(configs), -1))  # (S, B)
        gradient = update.clip(gradient if noise is None else gradient + noise[own], limit)
        if isinstance(state, AmsGrad):
            state = update.amsgrad(state, gradient, lr, beta1, beta2, eps)
        else:
            state = update.adam(state, gradient, lr, beta1, beta2, eps)
        if k % HEARTBEAT == 0:
            yield heartbeat
    return torch.stack(losses, dim=2).numpy()


def carried(updates: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """The factor on the mean square with which v, corrected for its bias, does not jump where beta2 does; (N, 1)."""
    return ((1 - new**updates) / (1 - old**updates)).unsqueeze(1)


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
