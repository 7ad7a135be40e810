"""Metrics and claims of `loss_spikes.digits`: bumps of the loss, and the alarms before them."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, above, at_least, below
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.digits_config import Config
from dyntoolkit.phenomena.loss_spikes.spikes import TEN, THREE
from dyntoolkit.phenomena.loss_spikes.trace import trace

SKIP = 150  # steps at the start in which neither bumps nor alarms count


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, name -> (R,); NaN where there is nothing to measure, as without bumps.

    spikes3, spikes10: number of 3x and 10x spikes; height: decades of the largest excess. alarms: number of alarm
    groups. recall3, recall10, chance: shares of 3x spikes, 10x spikes and arbitrary moments after an alarm. precision3:
    share of alarm groups before a 3x spike. onset_lead: median steps from the first alarm to the minimum before a 3x
    spike. rise, rise_below: shares of steps after which the loss is higher five steps later, above 2/lr and below.
    """
    losses, along = trace(history, "loss"), trace(history, "along_gradient")  # (N, R)
    rows = [_one_run(losses[:, r], along[:, r], config.lr) for r, config in enumerate(history.configs)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _one_run(loss: Array, along: Array, lr: float) -> dict[str, float]:
    low, tall = find.find_spikes(loss, THREE, SKIP), find.find_spikes(loss, TEN, SKIP)
    above, state = find.excess(loss), find.alarm_state(along, lr)
    groups = find.alarm_groups(state, SKIP)
    leads, (rise, rise_below) = find.leads(low, groups), find.rises(loss, along, lr, SKIP)
    return {
        "spikes3": len(low),
        "spikes10": len(tall),
        "height": float(above[SKIP:].max()) if len(above) > SKIP else np.nan,
        "alarms": len(groups),
        "recall3": find.recall(low, state),
        "recall10": find.recall(tall, state),
        "chance": find.chance(state),
        "precision3": find.precision(groups, above, THREE),
        "onset_lead": float(np.median(leads[:, 1])) if len(leads) else np.nan,
        "rise": rise,
        "rise_below": rise_below,
    }


def _measured(c: Config) -> bool:
    """Where it was measured: the defaults, and twice as many steps."""
    return c.steps >= 2500 and c.replace(steps=2500) == Config()


SHORT_MEMORY = {"beta2": 0.8}

CLAIMS = (
    Claim(
        id="bumps",
        statement="On real images, too, Adam's loss bumps up: threefold at least 3 times.",
        metric="spikes3",
        bound=above(2.5),
        where=_measured,
        controls=(Control("β₂ = 0.8", SHORT_MEMORY, below(0.5)),),
    ),
    Claim(
        id="alarm_recall",
        statement="An alarm, curvature along the gradient above 2/η for three steps, precedes each threefold bump.",
        metric="recall3",
        bound=at_least(0.9),
        where=_measured,
        controls=(
            Control("arbitrary moments", {}, below(0.9), metric="chance"),
            Control("β₂ = 0.8 gives no alarm", SHORT_MEMORY, below(0.5), metric="alarms"),
        ),
    ),
    Claim(
        id="alarm_means_rise",
        statement="Above 2/η the loss rises within five steps.",
        metric="rise",
        bound=above(0.8),
        where=_measured,
        controls=(Control("below 2/η", {}, below(0.35), metric="rise_below"),),
    ),
)
