"""Metrics and claims of `grokking.modular`: memorised, generalised, and what the neurons have become."""

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, at_least, below
from dyntoolkit.phenomena.grokking.modular_config import PRESETS, Config
from dyntoolkit.probes.crossing_times import delay, first_above, value_at


def accuracy_times(steps: Array, train: Array, test: Array) -> tuple[Array, Array]:
    """First recorded steps (T,) with train accuracy above .95 and with test accuracy above .9, both (T, R): (R,)."""
    return first_above(steps, train, 0.95), first_above(steps, test, 0.9)


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    t_train, t_test: the first frames with train accuracy above .95 and test accuracy above .9; delay_accuracy: their
    ratio. accuracy_at_memorisation: test accuracy at t_train. accuracy_end: test accuracy at the last frame.
    concentration_start, concentration_end, norm_start, norm_end: first and last frame. g_min: the smallest of the
    gains g_k, k >= 1, at the last frame.
    """
    steps, train, test = history.at("train_accuracy"), history["train_accuracy"], history["test_accuracy"]
    t_train, t_test = accuracy_times(steps, train, test)
    return {
        "t_train": t_train,
        "t_test": t_test,
        "delay_accuracy": delay(t_test, t_train),
        "accuracy_at_memorisation": value_at(steps, test, t_train),
        "accuracy_end": test[-1],
        "concentration_start": history["concentration"][0],
        "concentration_end": history.last("concentration"),
        "norm_start": history["norm"][0],
        "norm_end": history.last("norm"),
        "g_min": history.last("gains").min(1),
    }


def _measured(c: Config) -> bool:
    """Where the recipe measured all four: the defaults with initial weights from 1 to 2, and `rich`."""
    default, rich = Config(), Config().replace(**PRESETS["rich"].changes)
    started = c.replace(init_scale=default.init_scale, steps=default.steps) == default and 1 <= c.init_scale <= 2
    return c.steps >= default.steps and (started or c.replace(steps=default.steps) == rich)


LITTLE = Control("train on 30 %", {"train_fraction": 0.3})
NO_DECAY = Control("no weight decay", {"weight_decay": 0.0})

CLAIMS = (
    Claim(
        id="delay_accuracy",
        statement="Test accuracy passes 0.9 at least three times as late as train accuracy passes 0.95.",
        metric="delay_accuracy",
        bound=at_least(3),
        where=_measured,
        controls=(Control("train on 95 %", {"train_fraction": 0.95}, below(3)),),
    ),
    Claim(
        id="generalises",
        statement="In the end nearly all pairs that were never seen are added right.",
        metric="accuracy_end",
        bound=at_least(0.95),
        where=_measured,
        controls=(LITTLE, NO_DECAY),
    ),
    Claim(
        id="concentration",
        statement="Each neuron has become nearly a single Fourier mode: its strongest one holds 60 % of the power.",
        metric="concentration_end",
        bound=at_least(0.6),
        where=_measured,
        controls=(LITTLE, NO_DECAY, Control("at the start", {}, metric="concentration_start")),
    ),
    Claim(
        id="modes",
        statement="All Fourier modes of the addition table are learned: the weakest has a gain of 0.85, the exact one 1.",
        metric="g_min",
        bound=at_least(0.85),
        where=_measured,
        controls=(LITTLE, NO_DECAY),
    ),
)
