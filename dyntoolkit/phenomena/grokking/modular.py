"""Modular addition: do neurons turn into single Fourier modes while the test accuracy jumps?

Kumar, Bordelon, Gershman and Pehlevan 2023, "Grokking as the transition from lazy to rich training dynamics" (arXiv
2310.06110), with a two-layer quadratic network after Gromov 2023, "Grokking modular arithmetic" (arXiv 2301.02679).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Momentum, momentum
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.grokking.adamw import adamw
from dyntoolkit.phenomena.grokking.modular_claims import CLAIMS, metrics
from dyntoolkit.phenomena.grokking.modular_config import PRESETS, Config
from dyntoolkit.phenomena.grokking.modular_figure import FRAMES, panels
from dyntoolkit.probes.fourier_concentration import fourier_concentration, mode_shares

Tensor = torch.Tensor
State = Adam | Momentum
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
    p, n = config.modulus, config.n_train
    a, b = torch.arange(p).view(p, 1), torch.arange(p)
    target = torch.eye(p)[((a + b) % p).flatten()]  # (p^2, p)
    chosen = Stream(seeds, "split").permutations(p * p)[:, :n]  # (R, n)
    train = torch.zeros(len(seeds), p * p, dtype=torch.bool).scatter_(1, chosen, True)
    return Data(target, train)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """U, V ~ init_scale N(0, 1/(2p)), O ~ init_scale N(0, 1/width), as rows (U, V, O) of 3 p width numbers, (R, P)."""
    p, m, stream = configs[0].modulus, configs[0].width, Stream(seeds, "init")
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
    return (error * chosen).sum(1) / chosen.sum(1)


def loss(theta: Tensor, data: Data) -> Tensor:
    """The training loss, theta (R, P) -> (R,)."""
    return losses(network(theta, data.target.shape[1]), data, data.train)


def mode_gains(output: Tensor) -> Tensor:
    """g_k = |DFT of G|(k) for k = 1..(p-1)/2, output (R, p^2, p) -> (R, (p-1)/2) float64; all 1 for the exact target.

    G(d) = mean over all pairs of f_c(a, b) at c = a + b + d mod p: the mean output, d classes beside the right one.
    """
    p = output.shape[2]
    a, b, d = torch.arange(p).view(p, 1, 1), torch.arange(p).view(p, 1), torch.arange(p)
    beside = ((a + b + d) % p).view(1, p * p, p).expand(len(output), -1, -1)  # (R, p^2, p)
    G = output.double().gather(2, beside).mean(1)  # (R, p)
    gains: Tensor = torch.fft.rfft(G).abs()[:, 1:]
    return gains


def measure(theta: Tensor, data: Data) -> dict[str, Array]:
    """What a frame shows of each run.

    train_loss, test_loss; train_accuracy, test_accuracy: share of pairs with the largest output at the right class;
    concentration: see `fourier_concentration`, of U; norm = |theta|; each (R,). gains (R, K): see `mode_gains`.
    spectrum (R, m, K): share of each Fourier mode in each neuron's U; K = (p-1)/2.
    """
    p = data.target.shape[1]
    output, U = network(theta, p), weights(theta, p)[0]
    right = output.argmax(2) == data.target.argmax(1)  # (R, p^2)
    values = {
        "concentration": fourier_concentration(U),
        "norm": torch.linalg.vector_norm(theta, dim=1),
        "gains": mode_gains(output),
        "spectrum": mode_shares(U).float(),
    }
    for name, chosen in (("train", data.train), ("test", ~data.train)):
        values[f"{name}_loss"] = losses(output, data, chosen).double()
        values[f"{name}_accuracy"] = (right & chosen).sum(1).double() / chosen.sum(1)
    return {name: value.numpy() for name, value in values.items()}


def make_step(configs: Sequence[Config], data: Data) -> Callable[[State, None], State]:
    """One update on the full batch: AdamW, or gradient descent with momentum and without decay."""
    decayed = adamw(configs, partial(loss, data=data))
    lr = per_run(configs, "lr", torch.float64)  # (R,)
    gradient = value_and_grad(partial(loss, data=data))

    def step(state: State, _: None) -> State:
        if isinstance(state, Adam):
            return decayed(state, None)
        return momentum(state, gradient(state.theta)[1], lr, HEAVY_BALL)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; a frame at step 0 and at 60 steps on a geometric grid, with `measure`'s values."""
    config, data = configs[0], draw_data(configs[0], seeds)
    rule: type[Adam] | type[Momentum] = Adam if config.optimizer == "adamw" else Momentum
    return train(
        rule.start(initial_theta(configs, seeds)),
        make_step(configs, data),
        full_batch,
        geometrically(config.steps, FRAMES),
        lambda _, state: measure(state.theta, data),
    )


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
