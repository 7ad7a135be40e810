"""Metrics and claims of `grokking.digits`: memorised early, recognised late, and the frequencies in between."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, at_least, below
from dyntoolkit.phenomena.grokking.digits_config import Config
from dyntoolkit.probes.crossing_times import delay, first_above, value_at

JUST_BELOW_90 = np.nextafter(0.9, 0)  # the recipe's train accuracy >= .9 as a strict condition


def accuracy_times(steps: Array, train: Array, test: Array) -> tuple[Array, Array]:
    """First recorded steps (T,) with train accuracy above .95 and with test accuracy above .85, both (T, R): (R,)."""
    return first_above(steps, train, 0.95), first_above(steps, test, 0.85)


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    t_train, t_test: first frames with train accuracy above .95 and test accuracy above .85; delay_accuracy: their
    ratio. gap_at_90: train minus test accuracy at the first frame with train accuracy of at least .9. hf_max: the
    largest high-frequency share of the outputs; hf_target: that of the labels; hf_excess: the difference. hf_start,
    hf_end, norm_start, norm_end, test_end, accuracy_end: first and last frame.
    """
    steps, train, test = history.at("train_accuracy"), history["train_accuracy"], history["test_accuracy"]
    t_train, t_test = accuracy_times(steps, train, test)
    hf, target, norm = history["hf"], history["hf_target"][0], history["norm"]
    return {
        "t_train": t_train,
        "t_test": t_test,
        "delay_accuracy": delay(t_test, t_train),
        "gap_at_90": value_at(steps, train - test, first_above(steps, train, JUST_BELOW_90)),
        "hf_start": hf[0],
        "hf_max": hf.max(0),
        "hf_end": hf[-1],
        "hf_target": target,
        "hf_excess": hf.max(0) - target,
        "norm_start": norm[0],
        "norm_end": norm[-1],
        "test_end": history.last("test_loss"),
        "accuracy_end": test[-1],
    }


def _above_target(found: Metrics, config: object) -> Array:
    """hf_max where it exceeds hf_target, NaN elsewhere."""
    return np.where(found["hf_excess"] > 0, found["hf_max"], np.nan)


def _measured(c: Config) -> bool:
    """Where it was measured: the defaults, at least 2500 steps."""
    return c.steps >= 2500 and c.replace(steps=2500) == Config()


STANDARD = {"init_scale": 1.0}

CLAIMS = (
    Claim(
        id="gap_at_90",
        statement="It memorises before it generalises: at 90 % on the training images, test accuracy is 15 points behind.",
        metric="gap_at_90",
        bound=at_least(0.15),
        where=_measured,
        controls=(Control("initialization scale 1", STANDARD),),
    ),
    Claim(
        id="high_frequency_excess",
        statement="On the way, the outputs hold more high frequencies than the labels do.",
        metric="hf_max",
        bound=at_least(0.75),
        where=_measured,
        controls=(
            Control("initialization scale 1", STANDARD, metric="hf_max"),
            Control("… minus that of the labels", STANDARD, below(0), metric="hf_excess"),
        ),
        value=_above_target,
    ),
    Claim(
        id="delay_accuracy",
        statement="Test accuracy passes 0.85 at least 1.3 times as late as train accuracy passes 0.95.",
        metric="delay_accuracy",
        bound=at_least(1.3),
        where=_measured,
        controls=(Control("initialization scale 1", STANDARD, below(1.3)),),
    ),
    Claim(
        id="reaches",
        statement="In the end most digits that were never seen are recognised.",
        metric="accuracy_end",
        bound=at_least(0.85),
        where=_measured,
        controls=(Control("no weight decay", {"weight_decay": 0.0}),),
    ),
)
