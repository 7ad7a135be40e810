"""Modular addition: do neurons turn into single Fourier modes while the test accuracy jumps?

Kumar, Bordelon, Gershman and Pehlevan 2023, "Grokking as the transition from lazy to rich training dynamics" (arXiv
2310.06110), with a two-layer quadratic network after Gromov 2023, "Grokking modular arithmetic" (arXiv 2301.02679).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Momentum, momentum
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    below,
    between,
    choice,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import GREEN, TEST, TRAIN, Axis, Heat, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.phenomena.grokking._figure import delay_marks, map_by_step
from dyntoolkit.phenomena.grokking._training import adamw
from dyntoolkit.probes.crossing_times import delay, first_above, value_at
from dyntoolkit.probes.fourier_concentration import fourier_concentration, mode_shares, random_concentration

Tensor = torch.Tensor
State = Adam | Momentum

# ---- Settings and presets ----

PRIMES = ("11", "13", "17", "19", "23", "29", "31")


class Config(config.Config):
    """Settings of one run on addition modulo a prime (Kumar et al. 2023, arXiv 2310.06110)."""

    p: str = choice("23", PRIMES, label="modulus p", help="a prime: add two numbers modulo p", main=True)
    train_fraction: float = number(
        0.7, 0.3, 0.95, label="training share", help="share of the p² pairs for training", main=True, structural=True
    )
    width: int = number(128, 32, 256, label="width", help="hidden neurons", log=True, structural=True)
    init_scale: float = number(
        2.0, 0.5, 2.5, label="initialization scale", help="factor on the initial weights", main=True
    )
    lr: float = number(1e-2, 1e-3, 1.0, label="learning rate η", help="step size", log=True, main=True)
    weight_decay: float = number(0.3, 0.0, 1.0, label="weight decay", help="decoupled decay (adamw only)", main=True)
    optimizer: str = choice("adamw", ("adamw", "gd"), label="optimizer", help="gd: momentum 0.9, no decay")
    steps: int = number(800, 100, 5000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="AdamW's memory of the gradient")
    beta2: float = number(0.98, 0.9, 0.9999, label="β₂", help="AdamW's memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in AdamW's denominator", log=True)

    def __post_init__(self) -> None:
        """A modulus given as the number 23 is as good as the word "23"."""
        given: object = self.p
        object.__setattr__(self, "p", f"{given:.12g}" if isinstance(given, int | float) else given)
        super().__post_init__()

    @property
    def modulus(self) -> int:
        """p as a number."""
        return int(self.p)

    @property
    def modes(self) -> int:
        """K = (p-1)/2, the Fourier modes of a real function on Z_p without the constant."""
        return (self.modulus - 1) // 2

    @property
    def n_train(self) -> int:
        """Pairs in the training set."""
        return round(self.train_fraction * self.modulus**2)

    @property
    def start_loss(self) -> float:
        """Expected loss at step 0, about: 1 of the targets, and the mean square of the outputs at random weights."""
        # Overlays: start loss ~ 1 + 3 init_scale^6/p
        return 1 + 3 * self.init_scale**6 / self.modulus


RICH = {"init_scale": 1.0, "weight_decay": 1.0, "lr": 5e-3}

PRESETS = {
    "lazy": Preset("Large initial weights: training accuracy is perfect long before the test accuracy moves."),
    "rich": Preset(
        "Smaller weights and more decay: later training, a shorter delay, and nearly pure Fourier modes.",
        RICH,
    ),
    "too_little_data": Preset("30 % of the pairs: memorized at once, never generalized.", {"train_fraction": 0.3}),
    "no_decay": Preset("Without weight decay it stays memorized.", {"weight_decay": 0.0}),
}


# ---- Data, model, step ----

FRAMES = 60  # points of the geometric grid of recorded steps
HEAVY_BALL = 0.9  # the momentum of optimizer "gd"


class Data(NamedTuple):
    """All pairs (a, b) in the order a p + b, as one table for all runs.

    target: (p^2, p) one-hot of a + b mod p. train: (R, p^2) whether a run trains on the pair; the others are for
    testing.
    """

    target: Tensor
    train: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """The addition table, and each run's own choice of training pairs without replacement."""
    p = config.modulus
    residues = torch.arange(p, dtype=torch.int64)
    labels = (residues.unsqueeze(1) + residues) % p  # (p, p), of a and b
    target = torch.eye(p, dtype=torch.float32)[labels.flatten()]  # (p^2, p)
    chosen = Stream(seeds, "split").permutations(p * p)[:, : config.n_train]  # (R, n)
    train = torch.zeros(len(seeds), p * p, dtype=torch.bool).scatter_(1, chosen, True)
    return Data(target, train)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """U, V ~ init_scale N(0, 1/(2p)), O ~ init_scale N(0, 1/width), as rows (U, V, O) of 3 p width numbers, (R, P)."""
    p, m = configs[0].modulus, configs[0].width
    stream = Stream(seeds, "init")
    scale = per_run(configs, "init_scale", ndim=2)  # (R, 1)
    inputs = stream.normal(2 * m * p) / (2 * p) ** 0.5  # (R, 2 m p)
    outputs = stream.normal(m * p) / m**0.5  # (R, m p)
    return scale * torch.cat([inputs, outputs], dim=1)


def weights(theta: Tensor, p: int) -> tuple[Tensor, ...]:
    """U, V and O, each (R, m, p): what neuron j weighs a, b and the class with, as views of theta (R, 3 m p)."""
    return torch.unbind(theta.view(len(theta), 3, -1, p), dim=1)


def network(theta: Tensor, p: int) -> Tensor:
    """f_c(a, b) = sum_j O_jc (U_ja + V_jb)^2 on all pairs: theta (R, P) -> (R, p^2, p)."""
    U, V, O = weights(theta, p)  # noqa: E741
    hidden = (U.unsqueeze(3) + V.unsqueeze(2)).square()  # (R, m, p, p)
    output: Tensor = hidden.flatten(2).mT @ O
    return output


def losses(output: Tensor, data: Data, chosen: Tensor) -> Tensor:
    """Sum over classes of (f_c - target_c)^2, mean over the chosen pairs (R, p^2): output (R, p^2, p) -> (R,)."""
    error = (output - data.target).square().sum(2)  # (R, p^2)
    return (error * chosen).sum(1) / chosen.sum(1)  # (R,)


def loss(theta: Tensor, data: Data) -> Tensor:
    """The training loss, theta (R, P) -> (R,)."""
    return losses(network(theta, data.target.shape[1]), data, data.train)


def make_step(configs: Sequence[Config], data: Data) -> Callable[[State, None], State]:
    """One update on the full batch: AdamW, or gradient descent with momentum and without decay."""
    decayed = adamw(configs, partial(loss, data=data))
    lr = per_run(configs, "lr", torch.float64)  # (R,)
    gradient = value_and_grad(partial(loss, data=data))

    def step(state: State, _: None) -> State:
        if isinstance(state, Adam):
            return decayed(state, None)
        # heavy ball: b <- .9 b + g, theta <- theta - lr b
        return momentum(state, gradient(state.theta)[1], lr, HEAVY_BALL)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; a frame at step 0 and at 60 steps on a geometric grid, with `measure`'s values."""
    data = draw_data(configs[0], seeds)
    rule: type[Adam] | type[Momentum] = Adam if configs[0].optimizer == "adamw" else Momentum
    return train(
        rule.start(initial_theta(configs, seeds)),
        make_step(configs, data),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        lambda _, state: measure(state.theta, data),
    )


# ---- What is measured, claims ----


def mode_gains(output: Tensor) -> Tensor:
    """g_k = |DFT of G|(k) for k = 1..(p-1)/2, output (R, p^2, p) -> (R, (p-1)/2) float64; all 1 for the exact target.

    G(d) = mean over all pairs of f_c(a, b) at c = a + b + d mod p: the mean output, d classes beside the right one.
    """
    p = output.shape[2]
    residues = torch.arange(p, dtype=torch.int64)
    beside = (residues.view(p, 1, 1) + residues.view(p, 1) + residues) % p  # (p, p, p), of a, b and d
    classes = beside.view(1, p * p, p).expand(len(output), -1, -1)  # (R, p^2, p)
    # Modes: G(d) = (1/p^2) sum_{a,b} f_{(a+b+d) mod p}(a, b), g_k = |DFT of G|(k)
    G = output.double().gather(2, classes).mean(1)  # (R, p)
    gains: Tensor = torch.fft.rfft(G).abs()[:, 1:]  # (R, K)
    return gains


def measure(theta: Tensor, data: Data) -> dict[str, Array]:
    """What a frame shows of each run.

    train_loss, test_loss; train_accuracy, test_accuracy: share of pairs with the largest output at the right class;
    concentration: see `fourier_concentration`, of U; norm = |theta|; each (R,). gains (R, K): see `mode_gains`.
    spectrum (R, m, K): share of each Fourier mode in each neuron's U; K = (p-1)/2.
    """
    p = data.target.shape[1]
    output = network(theta, p)  # (R, p^2, p)
    U = weights(theta, p)[0]  # (R, m, p)
    right = output.argmax(2) == data.target.argmax(1)  # (R, p^2)
    values = {
        # Concentration: max_k |DFT of U_j|^2(k)/sum_k |DFT of U_j|^2(k), mean over neurons j
        "concentration": fourier_concentration(U),
        "norm": torch.linalg.vector_norm(theta, dim=1),
        "gains": mode_gains(output),
        "spectrum": mode_shares(U).float(),
    }
    for name, chosen in (("train", data.train), ("test", ~data.train)):
        values[f"{name}_loss"] = losses(output, data, chosen).double()
        values[f"{name}_accuracy"] = (right & chosen).sum(1).double() / chosen.sum(1)
    return {name: value.numpy() for name, value in values.items()}


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
    steps = history.at("train_accuracy")  # (T,)
    train, test = history["train_accuracy"], history["test_accuracy"]  # (T, R)
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


AS_DEFAULT = defaults(init_scale=between(1, 2), steps=at_least(800))
AS_RICH = defaults(**RICH, steps=at_least(800))


def measured(config: Config) -> bool:
    """Where all four were measured: the defaults with initial weights from 1 to 2, and `rich`."""
    return AS_DEFAULT(config) or AS_RICH(config)


LITTLE = Control("train on 30 %", {"train_fraction": 0.3})
NO_DECAY = Control("no weight decay", {"weight_decay": 0.0})

CLAIMS = (
    Claim(
        id="delay_accuracy",
        statement="Test accuracy passes 0.9 at least three times as late as training accuracy passes 0.95.",
        metric="delay_accuracy",
        bound=at_least(3),
        where=measured,
        controls=(Control("train on 95 %", {"train_fraction": 0.95}, below(3)),),
    ),
    Claim(
        id="generalises",
        statement="In the end nearly all pairs that were never seen are added right.",
        metric="accuracy_end",
        bound=at_least(0.95),
        where=measured,
        controls=(LITTLE, NO_DECAY),
    ),
    Claim(
        id="concentration",
        statement="Each neuron has become nearly a single Fourier mode: "
        "its strongest one holds at least 60 % of the power.",
        metric="concentration_end",
        bound=at_least(0.6),
        where=measured,
        controls=(LITTLE, NO_DECAY, Control("at the start", {}, metric="concentration_start")),
    ),
    Claim(
        id="modes",
        statement="All Fourier modes of the addition table are learned: "
        "the weakest has a gain of at least 0.85, the exact one 1.",
        metric="g_min",
        bound=at_least(0.85),
        where=measured,
        controls=(LITTLE, NO_DECAY),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Losses; accuracies with the neurons' concentration; gains of the modes; the neurons' spectra as they are now.

    The two maps show the first run.
    """
    return [_losses(history), _accuracies(history), _gains(history), _spectrum(history)]


def _losses(history: History) -> Panel:
    return Panel(
        "Loss",
        log_steps(history),
        Axis("squared error, sum over classes", log=True),
        [
            recorded_line(history, "train_loss", "training", TRAIN, start=1),
            recorded_line(history, "test_loss", "test", TEST, start=1),
            Level("start, by theory: 1 + 3 s⁶/p", y=history.config.start_loss),
        ],
    )


def _accuracies(history: History) -> Panel:
    (steps, train), (_, test) = recorded(history, "train_accuracy", 1), recorded(history, "test_accuracy", 1)
    return Panel(
        "Accuracy and concentration",
        log_steps(history),
        Axis("share", range=(0, 1.03)),
        [
            recorded_line(history, "train_accuracy", "training accuracy", TRAIN, start=1),
            recorded_line(history, "test_accuracy", "test accuracy", TEST, start=1),
            recorded_line(history, "concentration", "Fourier concentration", GREEN, start=1),
            Level("random neurons", y=random_concentration(history.config.modulus)),
            *delay_marks(*accuracy_times(steps, train, test), "training > 0.95", "test > 0.9"),
        ],
    )


def _gains(history: History) -> Panel:
    heat = map_by_step(history, "gains", FRAMES, np.arange(1, history.config.modes + 1), "gain g<sub>k</sub>", 1.2)
    return Panel("Gain of each mode (exact: 1)", log_steps(history), Axis("Fourier mode k"), [heat])


def _spectrum(history: History) -> Panel:
    """Share of each mode in each neuron, the neurons in the order of their strongest mode."""
    config = history.config
    shares = np.full((config.width, config.modes), np.nan)
    if "spectrum" in history:
        shares = history.last("spectrum")[0]
        shares = shares[np.lexsort((-shares.max(1), shares.argmax(1)))]
    modes, neurons = np.arange(1, config.modes + 1), np.arange(1, config.width + 1)
    heat = Heat("share of the power", modes, neurons, shares, 0.0, 1.0)
    return Panel("What neurons listen to", Axis("Fourier mode k"), Axis("neuron, sorted"), [heat])


# ---- The record ----

EXPERIMENT = Experiment(
    name="grokking.modular",
    title="Grokking modular addition",
    question="In modular addition, do neurons turn into single Fourier modes while the test accuracy jumps?",
    paper="2310.06110",
    seconds=0.7,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
