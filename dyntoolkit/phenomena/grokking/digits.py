"""Digits: does a large start put high-frequency noise into the outputs that must go before real digits are recognized?

Zhou, Zhang and Xu 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479), on the digits that come with scikit-learn.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.data import one_hot_digits
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Claim, Control, Experiment, Metrics, Preset, at_least, below, config, defaults, number
from dyntoolkit.figure.panels import GREEN, PURPLE, TEST, TRAIN, Axis, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.phenomena.grokking._figure import delay_marks
from dyntoolkit.phenomena.grokking._training import adamw
from dyntoolkit.probes.crossing_times import delay, first_above, first_step, value_at
from dyntoolkit.probes.gaussian_filter import frequency_errors, gaussian_filter, high_frequency_share

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run on a few handwritten digits (Zhou et al. 2024, arXiv 2405.17479)."""

    n_train: int = number(
        200, 100, 600, label="training images n", help="images to train on", log=True, main=True, structural=True
    )
    width: int = number(64, 16, 200, label="width", help="units per hidden layer", log=True, structural=True)
    init_scale: float = number(
        4.0, 1.0, 6.0, label="initialization scale", help="factor on the initial weights", main=True
    )
    lr: float = number(3e-3, 3e-4, 1e-2, label="learning rate η", help="step size", log=True, main=True)
    weight_decay: float = number(0.1, 0.0, 1.0, label="weight decay", help="decoupled decay", main=True)
    steps: int = number(2500, 200, 5000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.9, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in the denominator", log=True)


STANDARD = {"init_scale": 1.0}
UNDECAYED = {"weight_decay": 0.0}

PRESETS = {
    "large_init": Preset("The outputs get more high frequencies than the labels have, and lose them again."),
    "standard_init": Preset("They stay at or under the line of the labels, and nothing is late.", STANDARD),
    "no_decay": Preset("Without weight decay it mostly stays memorized.", UNDECAYED),
    "enough_data": Preset("Three times as many images: the high frequencies, but no delay.", {"n_train": 600}),
}


# ---- Data, model, step ----

N_TEST = 500
FRAMES = 60  # points of the geometric grid of recorded steps


class Data(NamedTuple):
    """Images x (R, n, 64) with pixels in [0, 1] and one-hot labels y (R, n, 10), float32."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """Each run's own order of the 1797 digits: the first n_train to train on, the next 500 to test."""
    x, y = one_hot_digits()
    order = Stream(seeds, "split").permutations(len(x))  # (R, 1797)
    first = order[:, : config.n_train]  # (R, n)
    following = order[:, config.n_train : config.n_train + N_TEST]  # (R, 500)
    return Data(x[first], y[first], x[following], y[following])


def network(config: Config) -> MLP:
    """64-width-width-10, relu, with biases."""
    return MLP((64, config.width, config.width, 10), torch.relu)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """W and b of a layer uniform on [-init_scale/sqrt(fan_in), init_scale/sqrt(fan_in)], (R, P)."""
    net, stream = network(configs[0]), Stream(seeds, "init")
    fans = [fan_in for fan_in in net.sizes[:-1] for _ in ("W", "b")]
    blocks = [
        stream.uniform(rows * columns) / fan_in**0.5  # (R, rows columns)
        for (rows, columns), fan_in in zip(net.shapes, fans, strict=True)
    ]
    return per_run(configs, "init_scale", ndim=2) * torch.cat(blocks, dim=1)


def mean_squared_error(output: Tensor, y: Tensor) -> Tensor:
    """Mean over images and the 10 outputs, (R, n, 10) -> (R,)."""
    return (output - y).square().mean((1, 2))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; frames at step 0 and on a geometric grid of 60 steps, with `measure`'s values.

    hf_target (R,), at step 0 only: the high-frequency share of the one-hot labels of the test images.
    """
    data = draw_data(configs[0], seeds)
    net = network(configs[0])
    S = gaussian_filter(data.test_x)  # (R, 500, 500)

    def loss(theta: Tensor) -> Tensor:
        return mean_squared_error(net(theta, data.train_x), data.train_y)

    def values(k: int, state: Adam) -> dict[str, Array]:
        found = measure(net, state.theta, data, S)
        return found if k else {**found, "hf_target": high_frequency_share(S, data.test_y).numpy()}

    start = Adam.start(initial_theta(configs, seeds))
    return train(start, adamw(configs, loss), full_batch, geometrically(configs[0].steps, FRAMES), values)


# ---- What is measured, claims ----


def accuracy(output: Tensor, y: Tensor) -> Tensor:
    """Share of images whose largest output is their label's, (R, n, 10) -> (R,) float64."""
    return (output.argmax(2) == y.argmax(2)).double().mean(1)


def measure(net: MLP, theta: Tensor, data: Data, S: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, each (R,).

    train_loss, test_loss, train_accuracy, test_accuracy; norm = |theta|; hf: high-frequency share of the outputs on the
    test images; e_low, e_high: relative errors of their low and high frequencies. S: the Gaussian filter (R, 500, 500).
    """
    train_output = net(theta, data.train_x)  # (R, n, 10)
    output = net(theta, data.test_x)  # (R, 500, 10)
    # Gaussian filter S_ij ~ exp(-|x_i - x_j|^2/2h^2): low(V) = S V, high(V) = V - S V, hf(V) = |high(V)|^2/|V|^2,
    # e_low = |S F - S Y|/|S Y|, e_high = |(F - S F) - (Y - S Y)|/|Y - S Y|
    e_low, e_high = frequency_errors(S, output, data.test_y)  # (R,)
    values = {
        "train_loss": mean_squared_error(train_output, data.train_y).double(),
        "test_loss": mean_squared_error(output, data.test_y).double(),
        "train_accuracy": accuracy(train_output, data.train_y),
        "test_accuracy": accuracy(output, data.test_y),
        "norm": torch.linalg.vector_norm(theta.double(), dim=1),
        "hf": high_frequency_share(S, output),
        "e_low": e_low,
        "e_high": e_high,
    }
    return {name: value.numpy() for name, value in values.items()}


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
    steps = history.at("train_accuracy")  # (T,)
    train, test = history["train_accuracy"], history["test_accuracy"]  # (T, R)
    t_train, t_test = accuracy_times(steps, train, test)
    hf, norm = history["hf"], history["norm"]  # (T, R)
    target = history["hf_target"][0]  # (R,)
    return {
        "t_train": t_train,
        "t_test": t_test,
        "delay_accuracy": delay(t_test, t_train),
        "gap_at_90": value_at(steps, train - test, first_step(steps, train >= 0.9)),
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


MEASURED = defaults(steps=at_least(2500))  # where the numbers were measured

CLAIMS = (
    Claim(
        id="gap_at_90",
        statement="It memorizes before it generalizes: at 90 % on the training images, "
        "test accuracy is at least 15 points behind.",
        metric="gap_at_90",
        bound=at_least(0.15),
        where=MEASURED,
        controls=(Control("initialization scale 1", STANDARD),),
    ),
    Claim(
        id="high_frequency_excess",
        statement="On the way, the outputs hold more high frequencies than the labels do.",
        metric="hf_max",
        bound=at_least(0.75),
        where=MEASURED,
        controls=(
            Control("initialization scale 1", STANDARD, metric="hf_max"),
            Control("… minus that of the labels", STANDARD, below(0), metric="hf_excess"),
        ),
        value=_above_target,
    ),
    Claim(
        id="delay_accuracy",
        statement="Test accuracy passes 0.85 at least 1.3 times as late as training accuracy passes 0.95.",
        metric="delay_accuracy",
        bound=at_least(1.3),
        where=MEASURED,
        controls=(Control("initialization scale 1", STANDARD, below(1.3)),),
    ),
    Claim(
        id="reaches",
        statement="In the end most digits that were never seen are recognized.",
        metric="accuracy_end",
        bound=at_least(0.85),
        where=MEASURED,
        controls=(Control("no weight decay", UNDECAYED),),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Losses; accuracies; high-frequency share with the line of the labels; errors of the two parts."""
    step = log_steps(history)
    steps, train = recorded(history, "train_accuracy", 1)
    _, test = recorded(history, "test_accuracy", 1)
    target = float(np.median(history["hf_target"][0])) if "hf_target" in history else np.nan
    return [
        Panel(
            "Loss",
            step,
            Axis("mean squared error", log=True),
            [
                recorded_line(history, "train_loss", "training", TRAIN, start=1),
                recorded_line(history, "test_loss", "test", TEST, start=1),
            ],
        ),
        Panel(
            "Accuracy",
            step,
            Axis("share of images", range=(0, 1.03)),
            [
                recorded_line(history, "train_accuracy", "training", TRAIN, start=1),
                recorded_line(history, "test_accuracy", "test", TEST, start=1),
                *delay_marks(*accuracy_times(steps, train, test), "training > 0.95", "test > 0.85"),
            ],
        ),
        Panel(
            "High frequencies in the test outputs",
            step,
            Axis("share of ‖F‖²", range=(0, 1.03)),
            [recorded_line(history, "hf", "outputs", TEST, start=1), Level("labels", y=target)],
        ),
        Panel(
            "Error by frequency, on test images",
            step,
            Axis("relative error", log=True),
            [
                recorded_line(history, "e_low", "low", GREEN, start=1),
                recorded_line(history, "e_high", "high", PURPLE, start=1),
            ],
        ),
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="grokking.digits",
    title="Grokking on real digits",
    question="Does a large start put high-frequency noise into the outputs that has to go before it generalizes?",
    paper="2405.17479",
    seconds=1.3,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
)
