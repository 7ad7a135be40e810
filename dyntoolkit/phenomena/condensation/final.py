"""Is a trained ReLU network condensed where it began small, and only there?

Zhou et al. 2022, "Towards understanding the condensation of neural networks at initial training" (arXiv 2105.11686),
and Luo et al. 2021 (arXiv 2007.07497). Four points of a function of two neurons, fitted by hundreds of them.
"""

from collections.abc import Iterator, Sequence

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation.final_claims import CLAIMS, metrics
from dyntoolkit.phenomena.condensation.final_config import PRESETS, Config
from dyntoolkit.phenomena.condensation.final_figure import panels
from dyntoolkit.phenomena.condensation.relu_descent import State, make_step, ntk_step
from dyntoolkit.phenomena.condensation.two_layer import loss
from dyntoolkit.probes.effective_neurons import effective_neurons
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor
FRAMES = 60
WITHIN = 5.0  # degrees over which two directions count as one


def target(x: Tensor) -> Tensor:
    """0.2 relu(x - 1/3) + 0.2 relu(-x - 1/3): two neurons."""
    return 0.2 * torch.relu(x - 1 / 3) + 0.2 * torch.relu(-x - 1 / 3)


X, X_TEST = torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 201)
Y, Y_TEST = target(X), target(X_TEST)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """All weights with std width^(-init_exponent), (R, 3, m)."""
    m = configs[0].width
    std = torch.tensor([m**-c.init_exponent for c in configs], dtype=torch.float64).view(-1, 1, 1)
    return (std * Stream(seeds, "init").normal(3, m, dtype=torch.float64)).float()


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks by gradient descent; each stops by itself at the tolerance, tested every 50 steps.

    Values at 60 log-spaced steps, (R,): loss, test_mse, n_eff (the effective number of neurons, weighted by amplitude,
    directions within 5 degrees counting as one), rd (relative change of input weights and biases), settled_at; and
    (R, m): orientation (degrees, sign of b) and amplitude |a||(w, b)| of each neuron.
    """
    start = initial_theta(configs, seeds)
    factor, damping, tol = (per_run(configs, name) for name in ("lr_factor", "lr_damping", "tol"))

    def measure(k: int, state: State) -> dict[str, Array]:
        w, a = state.theta[:, :2], state.theta[:, 2]  # (R, 2, m), (R, m)
        amplitude = a.abs() * w.norm(dim=1)
        angle = torch.sign(w[:, 1]) * torch.rad2deg(torch.acos(w[:, 0] / w.norm(dim=1)))
        return {
            "loss": loss(state.theta, X, Y, "relu").numpy(),
            "test_mse": loss(state.theta, X_TEST, Y_TEST, "relu").numpy(),
            "n_eff": effective_neurons(w.mT, amplitude, WITHIN).numpy(),
            "rd": relative_distance(w, start[:, :2]).numpy(),
            "orientation": angle.numpy(),
            "amplitude": amplitude.numpy(),
        }

    yield from train(
        State(start),
        make_step(X, Y, ntk_step(start, X, factor, damping)),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        measure,
        settled=lambda state: (loss(state.theta, X, Y, "relu") < tol).numpy(),
    )


EXPERIMENT = Experiment(
    name="condensation.final",
    title="Condensed or lazy",
    question="Is the trained network condensed where its weights begin small, and not where they begin large?",
    paper="2105.11686",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
