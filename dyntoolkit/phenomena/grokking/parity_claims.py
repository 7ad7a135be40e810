"""Metrics, theory and claims of `grokking.parity`: which products of bits a few points look like, and what wins."""

from collections.abc import Sequence
from math import comb

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, at_least, at_most, below
from dyntoolkit.phenomena.grokking.parity_config import PRESETS, Config
from dyntoolkit.probes.crossing_times import delay, first_above, first_below, value_at

LOW = 4  # the largest degree that counts as low


def expected_alias(config: Config, n: Array) -> Array:
    """The expected weight of degrees 1 to 4 in labels that are known on n of the N points; n: (...) numbers of points.

    A false set of bits has the weight (N - n)/(n (N - 1)) on average, exactly so for points drawn without replacement
    (own derivation: the variance of a mean of n of N signs); the true one has 1.
    """
    N, sets = config.points, sum(comb(config.n_bits, d) for d in range(1, LOW + 1))
    true = 1 if config.k <= LOW else 0
    return np.asarray((sets - true) * (N - n) / (n * (N - 1)) + true)


def accuracy_times(steps: Array, train: Array, test: Array) -> tuple[Array, Array]:
    """First recorded steps (T,) with train accuracy above .95 and with test accuracy above .9, both (T, R): (R,)."""
    return first_above(steps, train, 0.95), first_above(steps, test, 0.9)


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    t_train, t_test: first frames with train accuracy above .95 and test accuracy above .9; delay_accuracy: their
    ratio. t_train_loss, t_test_loss: first frames with training loss below .2 and test loss below .5.
    accuracy_end, test_end: on the test points at the last frame; test_peak: the largest test loss. share_end: the
    share of the true set in the outputs' Walsh weight at the last frame; share_at_memorisation: at t_train.
    alias_low_degree: weight of degrees 1 to 4 in the training labels; alias_theory: see `expected_alias`.
    """
    steps, train, test = history.at("train_accuracy"), history["train_accuracy"], history["test_accuracy"]
    t_train, t_test = accuracy_times(steps, train, test)
    share, config = history["share"], history.config
    return {
        "t_train": t_train,
        "t_test": t_test,
        "delay_accuracy": delay(t_test, t_train),
        "t_train_loss": first_below(steps, history["train_loss"], 0.2),
        "t_test_loss": first_below(steps, history["test_loss"], 0.5),
        "accuracy_end": test[-1],
        "test_end": history.last("test_loss"),
        "test_peak": history["test_loss"].max(0),
        "share_at_memorisation": value_at(steps, share, t_train),
        "share_end": share[-1],
        "alias_low_degree": history["alias"][0],
        "alias_theory": np.full(len(t_train), expected_alias(config, np.array(config.n_train))),
    }


def _grown(found: Metrics, config: object) -> Array:
    """share_end where it was at most .2 when the training points were memorised, NaN elsewhere."""
    return np.where(found["share_at_memorisation"] <= 0.2, found["share_end"], np.nan)


def _off_theory(rows: Sequence[Metrics]) -> Array:
    """The largest relative distance of the mean alias weight over the seeds from theory, (1,)."""
    return np.array([max(abs(row["alias_low_degree"].mean() / row["alias_theory"][0] - 1) for row in rows)])


def _bump(rows: Sequence[Metrics]) -> Array:
    """How much higher test loss climbs with a share of .2 than with .65, (R,)."""
    return np.asarray(rows[0]["test_peak"] - rows[-1]["test_peak"])


def _sparse(c: Config) -> bool:
    """Where it was measured with three bits: the defaults, at least 2500 steps."""
    return c.steps >= 2500 and c.replace(steps=2500) == Config()


def _labels(c: Config) -> bool:
    """The labels' alias weight was measured for ten bits, all in the product; the rest of the run does not matter."""
    return c.n_bits == 10


def _full(c: Config) -> bool:
    """`full_parity` with any share."""
    return c.replace(train_fraction=0.35) == Config().replace(**PRESETS["full_parity"].changes)


def _too_little(c: Config) -> bool:
    return c == Config().replace(**PRESETS["full_parity_too_little"].changes)


SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)
NO_DECAY = Control("no weight decay", {"weight_decay": 0.0})

CLAIMS = (
    Claim(
        id="delay_accuracy",
        statement="Test accuracy passes 0.9 at least 2.5 times as late as train accuracy passes 0.95.",
        metric="delay_accuracy",
        bound=at_least(2.5),
        where=_sparse,
        controls=(
            Control("initialization scale 1", {"init_scale": 1.0}, below(2.5)),
            Control("train on 60 %", {"train_fraction": 0.6}, below(2.5)),
        ),
    ),
    Claim(
        id="generalises",
        statement="In the end nearly all points that were never seen have the right sign.",
        metric="accuracy_end",
        bound=at_least(0.95),
        where=_sparse,
        controls=(NO_DECAY,),
    ),
    Claim(
        id="walsh_concentrates",
        statement="The true set holds at most 20 % of the outputs' Walsh weight at memorisation, and 75 % in the end.",
        metric="share_end",
        bound=at_least(0.75),
        where=_sparse,
        controls=(
            Control("no weight decay", {"weight_decay": 0.0}, metric="share_end"),
            Control("at memorisation", metric="share_at_memorisation"),
        ),
        value=_grown,
    ),
    Claim(
        id="alias_weight",
        statement="What the labels hold in degrees 1 to 4 beside their own ten bits is what sampling predicts: mean over seeds "
        "at five shares, the largest relative deviation.",
        metric="alias_low_degree",
        bound=below(0.15),
        where=_labels,
        sweep=Sweep(
            tuple({"k": 10, "train_fraction": share, "steps": 200} for share in SHARES), _off_theory, least_seeds=6
        ),
    ),
    Claim(
        id="test_bump",
        statement="The fewer points, the higher the bump of the test loss: its peak with a share of 0.2 minus that with 0.65.",
        metric="test_peak",
        bound=above(0),
        where=_full,
        sweep=Sweep(tuple({"train_fraction": share} for share in SHARES[:4]), _bump),
        preset="full_parity",
    ),
    Claim(
        id="too_little_data",
        statement="With 20 % of the points the product of all ten bits is never found.",
        metric="accuracy_end",
        bound=at_most(0.85),
        where=_too_little,
        controls=(Control("train on 50 %", {"train_fraction": 0.5}),),
        preset="full_parity_too_little",
    ),
)
