"""Parity: with few of the 2^n points, which wrong products of bits does the sample look like, and when does the true
one win?

Zhou, Zhang and Xu 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479): few points alias a product of many bits to products of few, as few points alias high frequencies to low.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    above,
    at_least,
    at_most,
    below,
    between,
    config,
    defaults,
    metric_where,
    number,
    settings,
)
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    BASELINE,
    GREY,
    MEASURED,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import log_steps, newest, recorded, recorded_line
from dyntoolkit.figure.sweeps import Rows
from dyntoolkit.phenomena.grokking._figure import delay_marks, map_by_step
from dyntoolkit.phenomena.grokking._training import adamw
from dyntoolkit.probes.crossing_times import delay, first_above, first_below, value_at
from dyntoolkit.probes.nudft import nudft
from dyntoolkit.probes.walsh import cube, degree_weights, walsh

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run on the product of k of n bits (Zhou et al. 2024, arXiv 2405.17479)."""

    train_fraction: float = number(
        0.2, 0.08, 0.9, label="training share", help="share of the cube used for training", main=True, structural=True
    )
    init_scale: float = number(
        4.0, 0.5, 6.0, label="initialization scale", help="factor on the initial weights", log=True, main=True
    )
    weight_decay: float = number(0.1, 0.0, 0.5, label="weight decay", help="decoupled decay", main=True)
    lr: float = number(3e-3, 1e-4, 1e-2, label="learning rate η", help="step size", log=True, main=True)
    k: int = number(3, 1, 12, label="bits in the product k", help="at most n_bits", main=True, structural=True)
    n_bits: int = number(10, 6, 12, label="bits n", help="bits of the input", structural=True)
    width: int = number(128, 32, 1000, label="width", help="hidden units", log=True, structural=True)
    steps: int = number(2500, 200, 5000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.9, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in the denominator", log=True)

    def check(self) -> None:
        """The product takes no more bits than there are."""
        if self.k > self.n_bits:
            raise InputError(f"k takes a whole number from 1 to n_bits = {self.n_bits}, got {self.k}.", "k")

    @property
    def points(self) -> int:
        """N, the points of the cube."""
        return int(2**self.n_bits)

    @property
    def n_train(self) -> int:
        """n, the points of the training set."""
        return round(self.train_fraction * self.points)


FULL = {"k": 10, "width": 200, "init_scale": 1.0, "lr": 1e-3, "weight_decay": 0.0, "steps": 800}
SMALL_START = {"init_scale": 1.0}
ENOUGH = {"train_fraction": 0.6}
UNDECAYED = {"weight_decay": 0.0}

PRESETS = {
    "sparse": Preset("Three bits of ten: memorized first, and later the true set of bits takes over."),
    "rich": Preset("Small initial weights: the delay is nearly gone.", SMALL_START),
    "enough_data": Preset("With 60 % of the points there is next to none.", ENOUGH),
    "no_decay": Preset("Without weight decay it memorizes and stays there.", UNDECAYED),
    "full_parity": Preset(
        "All ten bits: a bump of the test loss while low degrees are tried, hardly a delay.",
        {**FULL, "train_fraction": 0.35},
    ),
    "full_parity_too_little": Preset("All ten bits from 20 % of the points: never.", {**FULL, "train_fraction": 0.2}),
}


# ---- Data, model, step ----

FRAMES = 60  # points of the geometric grid of recorded steps


class Data(NamedTuple):
    """The points x (N, n_bits) and labels y (N,) of the cube, for all runs, and each run's order of them, (R, N).

    The first n_train points of its order are what a run trains on.
    """

    x: Tensor
    y: Tensor
    order: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """y = x_1 x_2 ... x_k on the whole cube."""
    x = cube(config.n_bits)  # (N, n_bits)
    y = x[:, : config.k].prod(1)  # (N,)
    return Data(x, y, Stream(seeds, "split").permutations(config.points))


def network(config: Config) -> MLP:
    """f(x) = sum_i a_i relu(w_i.x + b_i) + c."""
    return MLP((config.n_bits, config.width, 1), torch.relu)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """w, b uniform within init_scale/sqrt(n_bits) of 0, a within init_scale/sqrt(width), c = 0: (R, P)."""
    d, m = configs[0].n_bits, configs[0].width
    stream = Stream(seeds, "init")
    scale = per_run(configs, "init_scale", ndim=2)  # (R, 1)
    first = stream.uniform((d + 1) * m) / d**0.5  # (R, (d+1) m), w and b
    a = stream.uniform(m) / m**0.5  # (R, m)
    c = torch.zeros(len(seeds), 1, dtype=torch.float32)
    return torch.cat([scale * first, scale * a, c], dim=1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; frames at step 0 and on a geometric grid of 60 steps, with `measure`'s values.

    At step 0 also what `measure_labels` gives.
    """
    config = configs[0]
    data = draw_data(config, seeds)
    net = network(config)
    chosen = data.order[:, : config.n_train]  # (R, n)
    x, y = data.x[chosen], data.y[chosen]  # (R, n, n_bits), (R, n)

    def loss(theta: Tensor) -> Tensor:
        return (net(theta, x).squeeze(2) - y).square().mean(1)  # (R,)

    def values(k: int, state: Adam) -> dict[str, Array]:
        found = measure(config, net, state.theta, data)
        return found if k else {**found, **measure_labels(config, data)}

    start = Adam.start(initial_theta(configs, seeds))
    return train(start, adamw(configs, loss), full_batch, geometrically(config.steps, FRAMES), values)


# ---- What is measured, claims ----

FREQUENCIES = np.linspace(0, np.pi, 65)  # q along the direction of all ones
LOW = 4  # the largest degree that counts as low
SHARES = np.round(np.arange(0.1, 0.91, 0.05), 2)  # of the cube, for the labels' alias weight


def expected_alias(config: Config, n: Array) -> Array:
    """The expected weight of degrees 1 to 4 in labels that are known on n of the N points; n: (...) numbers of points.

    A false set of bits has the weight (N - n)/(n (N - 1)) on average, exactly so for points drawn without replacement
    (own derivation: the variance of a mean of n of N signs); the true one has 1.
    """
    N = config.points
    sets = sum(comb(config.n_bits, d) for d in range(1, LOW + 1))
    true = 1 if config.k <= LOW else 0
    # Overlays: E sum over C false sets of z(S)^2 = C (N - n)/(n (N - 1))
    return np.asarray((sets - true) * (N - n) / (n * (N - 1)) + true)


def known_labels(data: Data, n: int) -> Tensor:
    """N/n y on the first n points of each run's order and 0 elsewhere, (R, N): its coefficient on the true set is 1."""
    N = len(data.y)
    known = torch.zeros(data.order.shape, dtype=torch.float32).scatter_(1, data.order[:, :n], N / n)  # (R, N)
    return known * data.y


def alias_low_degree(data: Data, n: int) -> Tensor:
    """The Walsh weight of degrees 1 to 4 in the labels of n points, (R,) float64."""
    weights = degree_weights(walsh(known_labels(data, n)))  # (R, n_bits + 1), W_0, W_1, ...
    return weights[:, 1 : LOW + 1].sum(1)  # alias_low_degree = W_1 + W_2 + W_3 + W_4


def measure(config: Config, net: MLP, theta: Tensor, data: Data) -> dict[str, Array]:
    """What a frame shows of each run.

    train_loss, test_loss: mean squared error; train_accuracy, test_accuracy: share of points with f y > 0; share: of
    the true set in the Walsh weight of f on the whole cube; false_low: of all other sets of 1 to 4 bits; each (R,).
    weights (R, n_bits + 1): share of each degree. cube_spectrum, train_spectrum (R, 65): |F_q| along the direction of
    all ones, on the cube and on the training points.
    """
    output = net(theta, data.x).squeeze(2)  # (R, N)
    own = data.order[:, : config.n_train]  # (R, n), the training points
    chosen = torch.zeros(output.shape, dtype=torch.bool).scatter_(1, own, True)  # (R, N)
    error = (output - data.y).square().double()  # (R, N)
    right = (output * data.y > 0).double()  # (R, N)
    # Walsh coefficient: f(S) = (1/N) sum_x f(x) prod_{i in S} x_i, W_d = sum_{|S|=d} f(S)^2, share = f(S*)^2/sum f(S)^2
    spectrum = walsh(output)  # (R, N), by set
    total = spectrum.square().sum(1, keepdim=True)  # (R, 1)
    weights = degree_weights(spectrum) / total  # (R, n_bits + 1)
    true = spectrum[:, 2**config.k - 1].square() / total[:, 0]  # (R,)
    low = weights[:, 1 : LOW + 1].sum(1)  # (R,)
    # NUDFT along the direction of all ones: |(1/n) sum f(x) exp(-i q sum x_i)|
    q = torch.from_numpy(FREQUENCIES).unsqueeze(1)  # (65, 1)
    along = data.x.sum(1, keepdim=True)  # (N, 1)
    values = {
        "share": true,
        "false_low": low - true if config.k <= LOW else low,
        "weights": weights,
        "cube_spectrum": nudft(output, along, q),
        "train_spectrum": nudft(output.gather(1, own), along[own], q),
    }
    for name, where in (("train", chosen), ("test", ~chosen)):
        values[f"{name}_loss"] = (error * where).sum(1) / where.sum(1)
        values[f"{name}_accuracy"] = (right * where).sum(1) / where.sum(1)
    return {name: value.numpy() for name, value in values.items()}


def measure_labels(config: Config, data: Data) -> dict[str, Array]:
    """What the labels alone hold: alias (R,), see `alias_low_degree`, and alias_curve (R, 17).

    The curve has the same for other numbers of training points, those of the shares .1, .15, ..., .9.
    """
    curve = [alias_low_degree(data, round(share * config.points)) for share in SHARES]  # 17 times (R,)
    return {
        "alias": alias_low_degree(data, config.n_train).numpy(),
        "alias_curve": torch.stack(curve, dim=1).numpy(),
    }


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
    steps = history.at("train_accuracy")  # (T,)
    train, test, share = history["train_accuracy"], history["test_accuracy"], history["share"]  # (T, R)
    t_train, t_test = accuracy_times(steps, train, test)
    theory = expected_alias(history.config, np.array(history.config.n_train))
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
        "alias_theory": np.full(len(t_train), theory),
    }


def _off_theory(rows: Sequence[Metrics]) -> Array:
    """The largest relative distance of the mean alias weight over the seeds from theory, (1,)."""
    return np.array([max(abs(row["alias_low_degree"].mean() / row["alias_theory"][0] - 1) for row in rows)])


def _bump(rows: Sequence[Metrics]) -> Array:
    """How much higher test loss climbs with a share of .2 than with .65, (R,)."""
    return np.asarray(rows[0]["test_peak"] - rows[-1]["test_peak"])


# where the numbers were measured
SPARSE = defaults(steps=at_least(2500))
TEN_BITS = settings(n_bits=10)  # the labels' alias weight: the rest of the run does not matter
FULL_ANY_SHARE = defaults(**FULL, train_fraction=between(0.08, 0.9))
FULL_TOO_LITTLE = defaults(**FULL, train_fraction=0.2)

SWEPT = (0.2, 0.35, 0.5, 0.65, 0.8)  # training shares
NO_DECAY = Control("no weight decay", UNDECAYED)

CLAIMS = (
    Claim(
        id="delay_accuracy",
        statement="Test accuracy passes 0.9 at least 2.5 times as late as training accuracy passes 0.95.",
        metric="delay_accuracy",
        bound=at_least(2.5),
        where=SPARSE,
        controls=(
            Control("initialization scale 1", SMALL_START, below(2.5)),
            Control("train on 60 %", ENOUGH, below(2.5)),
        ),
    ),
    Claim(
        id="generalises",
        statement="In the end nearly all points that were never seen have the right sign.",
        metric="accuracy_end",
        bound=at_least(0.95),
        where=SPARSE,
        controls=(NO_DECAY,),
    ),
    Claim(
        id="walsh_concentrates",
        statement="The true set holds at most 20 % of the outputs' Walsh weight at memorization, "
        "and at least 75 % in the end.",
        metric="share_end",
        bound=at_least(0.75),
        where=SPARSE,
        controls=(
            Control("no weight decay", UNDECAYED, metric="share_end"),
            Control("at memorisation", metric="share_at_memorisation"),
        ),
        value=metric_where("share_end", "share_at_memorisation", most=0.2),
    ),
    Claim(
        id="alias_weight",
        statement="What the labels hold in degrees 1 to 4 beside their own ten bits is what sampling predicts, "
        "within 15 %: mean over seeds at five shares, the largest relative deviation.",
        metric="alias_low_degree",
        bound=at_most(0.15),
        where=TEN_BITS,
        sweep=Sweep(
            tuple({"k": 10, "train_fraction": share, "steps": 200} for share in SWEPT), _off_theory, least_seeds=6
        ),
    ),
    Claim(
        id="test_bump",
        statement="The fewer points, the higher the bump of the test loss: "
        "its peak with a share of 0.2 minus that with 0.65.",
        metric="test_peak",
        bound=above(0),
        where=FULL_ANY_SHARE,
        sweep=Sweep(tuple({"train_fraction": share} for share in SWEPT[:4]), _bump),
        preset="full_parity",
    ),
    Claim(
        id="too_little_data",
        statement="With 20 % of the points the product of all ten bits is never found.",
        metric="accuracy_end",
        bound=at_most(0.85),
        where=FULL_TOO_LITTLE,
        controls=(Control("train on 50 %", {"train_fraction": 0.5}),),
        preset="full_parity_too_little",
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Losses; accuracies; weight by degree and step; the true set against others; the labels; |F_q|.

    The map and the last spectrum show the first run.
    """
    return [
        _losses(history),
        _accuracies(history),
        _degrees(history),
        _sets(history),
        _labels(history),
        _spectrum(history),
    ]


def _losses(history: History) -> Panel:
    return Panel(
        "Loss",
        log_steps(history),
        Axis("mean squared error", log=True),
        [
            recorded_line(history, "train_loss", "training", TRAIN, start=1),
            recorded_line(history, "test_loss", "test", TEST, start=1),
            Level("an output of 0", y=1.0),
        ],
    )


def _accuracies(history: History) -> Panel:
    (steps, train), (_, test) = recorded(history, "train_accuracy", 1), recorded(history, "test_accuracy", 1)
    return Panel(
        "Accuracy",
        log_steps(history),
        Axis("share of right signs", range=(0, 1.03)),
        [
            recorded_line(history, "train_accuracy", "training", TRAIN, start=1),
            recorded_line(history, "test_accuracy", "test", TEST, start=1),
            *delay_marks(*accuracy_times(steps, train, test), "training > 0.95", "test > 0.9"),
        ],
    )


def _degrees(history: History) -> Panel:
    config: Config = history.config
    heat = map_by_step(history, "weights", FRAMES, np.arange(config.n_bits + 1), "share", 1.0)
    return Panel(f"Outputs by degree (truth: {config.k})", log_steps(history), Axis("bits in the product"), [heat])


def _sets(history: History) -> Panel:
    return Panel(
        "True product against others",
        log_steps(history),
        Axis("share of the Walsh weight", range=(0, 1.03)),
        [
            recorded_line(history, "share", "true product", ALIGNMENT, start=1),
            recorded_line(history, "false_low", f"others of 1 to {LOW} bits", BASELINE, start=1),
        ],
    )


def _labels(history: History) -> Panel:
    """What the labels alone hold in low degrees, by training share: nothing of it is trained."""
    config: Config = history.config
    curve = history["alias_curve"][0].T if "alias_curve" in history else np.empty((0, len(history.seeds)))
    own = history["alias"][0] if "alias" in history else np.empty(0)
    return Panel(
        f"Products of 1 to {LOW} bits in the labels",
        Axis("training share", range=(0, 1)),
        Axis("Walsh weight", log=True),
        [
            median_line("training labels", SHARES if len(curve) else np.empty(0), curve, MEASURED),
            Line("this run's share", np.full(len(own), config.train_fraction), own, TEST, markers="points"),
            Line("theory", SHARES, expected_alias(config, SHARES * config.points), GREY, dash=True),
        ],
    )


def _spectrum(history: History) -> Panel:
    """Along the direction of all ones the target has |F_q| = |cos q|^(n - k) |sin q|^k."""
    config: Config = history.config
    q = FREQUENCIES
    whole, chosen = (newest(history, f"{of}_spectrum", len(q))[0] for of in ("cube", "train"))
    truth = np.abs(np.cos(q)) ** (config.n_bits - config.k) * np.abs(np.sin(q)) ** config.k
    return Panel(
        "Frequencies along (1, …, 1), now",
        Axis("frequency q", range=(0, np.pi)),
        Axis("|F<sub>q</sub>|"),
        [
            Line("outputs on training points", q, chosen, TRAIN),
            Line("outputs on the whole cube", q, whole, TEST),
            Line("target on the whole cube", q, truth, GREY, dash=True),
        ],
    )


def sweep_panels(rows: Rows) -> list[Panel]:
    """Alias weight of the labels against theory, and the peak of the test loss, by training share.

    Each from the runs whose product takes all bits; the mean over seeds with a band from the smallest to the largest.
    """
    alias: dict[float, list[float]] = defaultdict(list)
    peak: dict[float, list[float]] = defaultdict(list)
    like = None
    for (run, _), row in rows.items():
        if run.k == run.n_bits:
            like = run
            alias[run.train_fraction].append(row["alias_low_degree"])
            if run.init_scale == 1:
                peak[run.train_fraction].append(row["test_peak"])
    theory = (
        [] if like is None else [Line("theory", SHARES, expected_alias(like, SHARES * like.points), GREY, dash=True)]
    )
    share = Axis("training share", range=(0, 1))
    return [
        Panel(
            "Low degrees in the labels of the full product",
            share,
            Axis("Walsh weight of 1 to 4 bits", log=True),
            [_means("mean over seeds", alias, MEASURED), *theory],
        ),
        Panel("Bump of the test loss", share, Axis("largest test loss"), [_means("mean over seeds", peak, TEST)]),
    ]


def _means(name: str, values: dict[float, list[float]], color: str) -> Line:
    x = np.array(sorted(values))
    parts = [np.array(values[share]) for share in sorted(values)]
    mean, low, high = (np.array([of(part) for part in parts]) for of in (np.mean, np.min, np.max))
    return Line(name, x, mean, color, markers="both", low=low, high=high)


# ---- The record ----

EXPERIMENT = Experiment(
    name="grokking.parity",
    title="Grokking parity",
    question="Which wrong products of bits do few points look like, and when does the true one win?",
    paper="2405.17479",
    seconds=1.2,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"alias_low_degree": lambda c: float(expected_alias(c, np.array(c.n_train)))},
    sweep_panels=sweep_panels,
    network=lambda history: network(history.config),
)
