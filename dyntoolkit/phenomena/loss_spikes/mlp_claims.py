"""Metrics and claims of `loss_spikes.mlp`: spikes, alarms, and what the alarms foretell."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, at_least, below, between
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.mlp_config import Config
from dyntoolkit.phenomena.loss_spikes.spikes import TEN, THREE
from dyntoolkit.phenomena.loss_spikes.trace import trace


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names for a run, name -> (R,); NaN where there is nothing to measure, as without spikes.

    spikes, spikes3: number of 10x and 3x spikes; height: decades of the largest excess. alarms: number of alarm groups.
    recall, recall3, chance: shares of 10x spikes, 3x spikes and arbitrary moments after an alarm. precision,
    precision3: shares of alarm groups before such a spike. onset_lead, peak_lead: median steps from the first alarm to
    the minimum before a spike and to its peak; onset_lead_eigenvalue: the same with lambda_max of the preconditioned
    Hessian as alarm. rise, rise_below: shares of steps after which the loss is higher five steps later, above 2/lr and
    below. sharpness_max, along_gradient_max: the largest curvature times lr/2.
    """
    names = ("loss", "sharpness", "preconditioned", "along_gradient")
    traces = [trace(history, name) for name in names]  # each (N, R)
    rows = [_one_run(*(values[:, r] for values in traces), lr=config.lr) for r, config in enumerate(history.configs)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _one_run(loss: Array, sharp: Array, preconditioned: Array, along: Array, *, lr: float) -> dict[str, float]:
    tall, low, above = find.find_spikes(loss, TEN), find.find_spikes(loss, THREE), find.excess(loss)
    state = find.alarm_state(along, lr)
    groups, eigenvalue = find.alarm_groups(state), find.alarm_groups(find.alarm_state(preconditioned, lr))
    rise, rise_below = find.rises(loss, along, lr)
    leads = find.leads(tall, groups)
    return {
        "spikes": len(tall),
        "spikes3": len(low),
        "height": float(above[300:].max()) if len(above) > 300 else np.nan,
        "alarms": len(groups),
        "recall": find.recall(tall, state),
        "recall3": find.recall(low, state),
        "chance": find.chance(state),
        "precision": find.precision(groups, above, TEN),
        "precision3": find.precision(groups, above, THREE),
        "onset_lead": _median(leads[:, 1]),
        "peak_lead": _median(leads[:, 0]),
        "onset_lead_eigenvalue": _median(find.leads(tall, eigenvalue)[:, 1]),
        "rise": rise,
        "rise_below": rise_below,
        "sharpness_max": float(sharp.max() * lr / 2),
        "along_gradient_max": float(np.nanmax(along) * lr / 2),
    }


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _most(rows: Sequence[Metrics]) -> Array:
    """The largest number of spikes among the runs of a sweep, per seed."""
    return np.asarray(np.max([row["spikes"] for row in rows], axis=0))


def spiky(c: Config) -> bool:
    """Where the recipe saw at least five spikes in every run, 5000 steps."""
    plain = not c.amsgrad and c.grad_noise_std == 0 and c.grad_clip == 0 and c.noise_std == 0
    sizes = c.steps >= 5000 and 15 <= c.width <= 40 and 0.5 <= c.init_scale <= 1.5 and c.n_train >= 50
    return plain and sizes and 0.03 <= c.lr <= 0.05 and c.beta1 == 0.9 and c.beta2 == 0.999 and c.eps <= 1e-3


MITIGATIONS = ({"eps": 0.1}, {"amsgrad": True}, {"lr": 0.003}, {"beta1": 0.99})

CLAIMS = (
    Claim(
        id="spikes",
        statement="Adam spikes at β₂ = 0.999: at least 5 times the loss rises tenfold.",
        metric="spikes",
        bound=above(4.5),
        where=spiky,
        controls=(Control("β₂ = 0.9", {"beta2": 0.9}, below(0.5)),),
    ),
    Claim(
        id="alarm_recall",
        statement="An alarm, curvature along the gradient above 2/η for three steps, precedes each tenfold spike.",
        metric="recall",
        bound=at_least(0.9),
        where=spiky,
        controls=(
            Control("arbitrary moments", {}, below(0.9), metric="chance"),
            Control("β₂ = 0.9 gives no alarm", {"beta2": 0.9}, below(0.5), metric="alarms"),
        ),
    ),
    Claim(
        id="alarm_at_minimum",
        statement="The alarm comes when the loss is at its minimum: at most 3 steps apart, in the median.",
        metric="onset_lead",
        bound=between(-3, 3),
        where=spiky,
        controls=(Control("λmax of the preconditioned Hessian as alarm", metric="onset_lead_eigenvalue"),),
    ),
    Claim(
        id="alarm_means_rise",
        statement="Above 2/η the loss rises within five steps.",
        metric="rise",
        bound=above(0.8),
        where=spiky,
        controls=(Control("below 2/η", {}, below(0.35), metric="rise_below"),),
    ),
    Claim(
        id="not_plain_sharpness",
        statement="It is not the plain sharpness: λmax(H)·η/2 stays below 1.",
        metric="sharpness_max",
        bound=below(1.0),
        where=spiky,
        controls=(Control("curvature along the gradient", metric="along_gradient_max"),),
    ),
    Claim(
        id="mitigation",
        statement="ε = 0.1, AMSGrad, η = 0.003 and β₁ = 0.99 each prevent every tenfold spike.",
        metric="spikes",
        bound=below(0.5),
        where=spiky,
        controls=(Control("untouched", {"eps": 1e-8, "amsgrad": False, "lr": 0.03, "beta1": 0.9}),),
        sweep=Sweep(MITIGATIONS, _most),
    ),
)
