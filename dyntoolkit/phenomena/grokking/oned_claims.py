"""Metrics and claims of `grokking.oned`: the delay, and the frequency that comes and goes in between."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, at_least, at_most, below
from dyntoolkit.phenomena.grokking.oned_config import UNIFORM, Config
from dyntoolkit.probes.crossing_times import delay, first_below

LEVEL = 0.2  # of both losses: memorisation is partial, so a smaller one would mean something else on each
START = 5  # the first frames, left out of peaks: the random start


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    t_train, t_test: first frames with loss below .2; delay: their ratio. test_peak: the largest test loss, F1_peak:
    the largest F_1 on the test points, F6_at_F1_peak: F_6 there in the same frame, all without the first five frames.
    F1_end, F6_end: on the test points at the last frame; train_F1_end: on the training points; label_F1: of the
    training labels; F1_error: the distance of these two. train_end, test_end: losses at the last frame.
    """
    steps, train, test = history.at("train_loss"), history["train_loss"], history["test_loss"]
    F, own = history["test_spectrum"], history["label_spectrum"][0, :, 1]  # (T, R, 16), (R,)
    t_train, t_test = first_below(steps, train, LEVEL), first_below(steps, test, LEVEL)
    later = slice(min(START, len(F) - 1), None)  # a run that has just begun has nothing but its start
    peak = F[later, :, 1].argmax(0)  # (R,)
    return {
        "t_train": t_train,
        "t_test": t_test,
        "delay": delay(t_test, t_train),
        "test_peak": test[later].max(0),
        "F1_peak": F[later, :, 1].max(0),
        "F6_at_F1_peak": F[later, np.arange(F.shape[1]), 6][peak, np.arange(F.shape[1])],
        "F1_end": F[-1, :, 1],
        "F6_end": F[-1, :, 6],
        "train_F1_end": history.last("train_spectrum")[:, 1],
        "label_F1": own,
        "F1_error": np.abs(history.last("train_spectrum")[:, 1] - own),
        "train_end": train[-1],
        "test_end": test[-1],
    }


def _alone(found: Metrics, config: object) -> Array:
    """F1_peak where the true frequency is not there yet, NaN elsewhere."""
    return np.where(found["F6_at_F1_peak"] <= 0.15, found["F1_peak"], np.nan)


def _replaced(found: Metrics, config: object) -> Array:
    """F1_end where the true frequency is there, NaN elsewhere."""
    return np.where(found["F6_end"] >= 0.4, found["F1_end"], np.nan)


def _measured(c: Config) -> bool:
    """Where it was measured: the defaults, at least 4000 steps."""
    return c.steps >= 4000 and c.replace(steps=4000) == Config()


EVEN = Control("120 even points", UNIFORM)

CLAIMS = (
    Claim(
        id="delay",
        statement="Test loss falls below 0.2 at least 15 times as late as training loss.",
        metric="delay",
        bound=at_least(15),
        where=_measured,
        controls=(EVEN,),
    ),
    Claim(
        id="test_peak",
        statement="Before it falls, test loss rises well above 0.5, that of an output of 0.",
        metric="test_peak",
        bound=at_least(0.9),
        where=_measured,
        controls=(EVEN,),
    ),
    Claim(
        id="alias_first",
        statement="On the test points the alias, k = 1, comes before the truth: its peak, while k = 6 is at most 0.15.",
        metric="F1_peak",
        bound=at_least(0.35),
        where=_measured,
        controls=(Control("120 even points", UNIFORM, metric="F1_peak"),),
        value=_alone,
    ),
    Claim(
        id="alias_leaves_test",
        statement="In the end the alias is gone from the test points, and k = 6 is there, at least 0.4.",
        metric="F1_end",
        bound=at_most(0.05),
        where=_measured,
        controls=(Control("at its peak", metric="F1_peak"),),
        value=_replaced,
    ),
    Claim(
        id="alias_stays_on_train",
        statement="On the training points it stays, as large as in their labels: the difference.",
        metric="F1_error",
        bound=at_most(0.02),
        where=_measured,
        controls=(Control("120 even points: the labels hold no k = 1", UNIFORM, below(1e-6), metric="label_F1"),),
    ),
)
