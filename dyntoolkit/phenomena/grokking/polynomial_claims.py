"""Metrics and claims of `grokking.polynomial`: the delay, and the way out of the kernel."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, at_least, at_most, mean_of
from dyntoolkit.phenomena.grokking.polynomial_config import Config
from dyntoolkit.probes.crossing_times import delay, first_below


def relative_losses(history: History) -> tuple[Array, Array]:
    """Training and test loss in units of their values at step 0, each (T, R)."""
    train, test = history["train_mse"], history["test_mse"]
    return train / train[0], test / test[0]


def delays(history: History) -> Array:
    """The first frame with test loss below .2 over that with training loss below .1, (R,); NaN for never."""
    (train, test), steps = relative_losses(history), history.at("train_mse")
    return delay(first_below(steps, test, 0.2), first_below(steps, train, 0.1))


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never". Losses are in units of their values at step 0.

    t_train, t_test: first frames with training loss below .1 and test loss below .2; delay: their ratio. test_end,
    test_peak: test loss at the last frame and at most. kernel_floor: test loss of regression with the initial kernel;
    floor_ratio: test_end in units of it. norm_start, norm_end, norm_ratio: |w|_F. alignment_start, alignment_end.
    terms_error: the largest difference between the sum of the three terms and the test loss.
    """
    (train, test), steps = relative_losses(history), history.at("train_mse")
    floor, norm, alignment = history["kernel_floor"][0], history["norm"], history["alignment"]
    error = np.abs(history["terms"].sum(2) - history["test_mse"]) / history["test_mse"][0]  # (T, R)
    return {
        "t_train": first_below(steps, train, 0.1),
        "t_test": first_below(steps, test, 0.2),
        "delay": delays(history),
        "train_end": train[-1],
        "test_end": test[-1],
        "test_peak": test.max(0),
        "kernel_floor": floor,
        "floor_ratio": test[-1] / floor,
        "norm_start": norm[0],
        "norm_end": norm[-1],
        "norm_ratio": norm[-1] / norm[0],
        "alignment_start": alignment[0],
        "alignment_end": alignment[-1],
        "terms_error": error.max(0),
    }


def _growth(rows: Sequence[Metrics]) -> Array:
    """Mean delay at the largest alpha over that at the smallest, over the seeds that have one, (1,)."""
    first, last = (row["delay"][np.isfinite(row["delay"])] for row in (rows[0], rows[-1]))
    return np.array([last.mean() / first.mean()]) if len(first) and len(last) else np.full(1, np.nan)


def _measured(c: Config) -> bool:
    """Where it was measured: the defaults, at least 3000 steps."""
    return c.steps >= 3000 and c.replace(steps=3000) == Config()


LAZY = Control("α = 10", {"alpha": 10.0})
LITTLE = Control("50 training points", {"n_train": 50})

CLAIMS = (
    Claim(
        id="delay",
        statement="Test loss falls later than training loss, without any weight decay.",
        metric="delay",
        bound=at_least(1.4),
        where=_measured,
        controls=(Control("1500 training points", {"n_train": 1500, "steps": 400}),),
    ),
    Claim(
        id="delay_mean",
        statement="In the mean over 5 seeds it falls 2.5 times as late.",
        sweep=mean_of("delay"),
        bound=at_least(2.5),
        where=_measured,
        controls=(Control("1500 training points", sweep=mean_of("delay", n_train=1500, steps=400)),),
    ),
    Claim(
        id="delay_grows",
        statement="The lazier, the later: the mean delay at α = 3 is over 1.4 times that at α = 0.1.",
        metric="delay",
        bound=above(1.4),
        where=_measured,
        sweep=Sweep(tuple({"alpha": alpha} for alpha in (0.1, 0.3, 1.0, 3.0)), _growth, least_seeds=8),
    ),
    Claim(
        id="leaves_kernel",
        statement="In the end test loss is at most a third of what the initial kernel can reach.",
        metric="floor_ratio",
        bound=at_most(1 / 3),
        where=_measured,
        controls=(LAZY, LITTLE),
    ),
    Claim(
        id="norm_grows",
        statement="The weights do not shrink, as weight decay would have it: their norm at least doubles.",
        metric="norm_ratio",
        bound=at_least(2),
        where=_measured,
        controls=(LAZY,),
    ),
    Claim(
        id="alignment",
        statement="The weights end along the direction of the target.",
        metric="alignment_end",
        bound=at_least(0.9),
        where=_measured,
        controls=(LITTLE, Control("at the start", {}, metric="alignment_start")),
    ),
    Claim(
        id="three_terms",
        statement="Three terms, of variance, misalignment and linear part, make up the test loss all along.",
        metric="terms_error",
        bound=at_most(0.4),
        where=_measured,
    ),
)
