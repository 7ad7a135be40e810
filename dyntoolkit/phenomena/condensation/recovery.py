"""Recovering a matrix of low rank from few of its entries: is the number of its free parameters enough?

Zhang et al. 2024 (arXiv 2406.18035) call it the optimistic sample size: r(2d - r) for a d x d matrix of rank r, and
three for each neuron that a tanh network needs. Small factors condense: they grow one direction at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation.recovery_claims import CLAIMS, metrics
from dyntoolkit.phenomena.condensation.recovery_config import DIM, PRESETS, Config
from dyntoolkit.phenomena.condensation.recovery_figure import panels, sweep_panels
from dyntoolkit.probes.tangent_rank import tangent_rank, tangent_singular_values

Tensor = torch.Tensor
NORM = 4.0  # Frobenius norm of the matrix
ORDER = (0, 1, 2, 3, 4, 8, 12, 5, 6, 7, 9, 13, 10, 11, 14, 15)  # entries, row by row, in the order they are observed
SIZES = len(ORDER)
FRAMES = 60
GRID = torch.linspace(-1, 1, 400, dtype=torch.float64)  # inputs of the tanh network


class State(NamedTuple):
    """The factors of every run at every number of observed entries n = 1..16; AB may be of any rank."""

    A: Tensor  # (R, 16, d, d)
    B: Tensor  # (R, 16, d, d)


def draw_matrix(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """M = U V with Gaussian factors of rank r, scaled to the norm 4, (R, d, d)."""
    stream, r = Stream(seeds, "matrix"), configs[0].rank
    U, V = stream.normal(DIM, r, dtype=torch.float64), stream.normal(r, DIM, dtype=torch.float64)
    M = U @ V
    norm: Tensor = torch.linalg.matrix_norm(M, keepdim=True)
    return NORM * M / norm


def observed() -> Tensor:
    """Which entries are observed at n = 1..16, 0 or 1, (16, d, d)."""
    place = torch.tensor(ORDER).argsort()  # when each entry is observed
    mask = place < torch.arange(1, SIZES + 1).unsqueeze(1)  # (16, d d)
    return mask.view(SIZES, DIM, DIM).double()


def initial_state(configs: Sequence[Config], seeds: Sequence[int]) -> State:
    """Gaussian factors of std init_scale, the same for every n."""
    scale = per_run(configs, "init_scale", torch.float64, ndim=4)
    factors = scale * Stream(seeds, "init").normal(2, DIM, DIM, dtype=torch.float64)  # (R, 2, d, d)
    return State(*(factor.unsqueeze(1).repeat(1, SIZES, 1, 1) for factor in factors.unbind(1)))


def make_step(configs: Sequence[Config], M: Tensor) -> Callable[[State, None], State]:
    """One step of gradient descent on the sum of (AB - M)^2 over the observed entries. M: (R, d, d)."""
    lr = per_run(configs, "lr", torch.float64, ndim=4)
    rate = (2 * lr * observed()).flatten(0, 1)  # (R 16, d, d)
    target = M.unsqueeze(1).expand(-1, SIZES, -1, -1).flatten(0, 1)  # (R 16, d, d)

    def step(state: State, _: None) -> State:
        A, B = state.A.flatten(0, 1), state.B.flatten(0, 1)  # (R 16, d, d) each
        E = rate * torch.baddbmm(target, A, B, beta=-1)  # (R 16, d, d), with the rate
        A, B = torch.baddbmm(A, E, B.mT, alpha=-1), torch.baddbmm(B, A.mT, E, alpha=-1)
        return State(A.view_as(state.A), B.view_as(state.B))

    return step


def tangent_space(config: Config, seeds: Sequence[int]) -> dict[str, Array]:
    """Tangent rank (R,) and singular values (R, min(3m, 400)) of tanh networks of equal and of random neurons.

    Equal: all w = b = 1, a = 1/m. Random: w, b ~ N(0, 4), a ~ N(0, 1).
    """
    m, stream = config.student_width, Stream(seeds, "student")
    ones = torch.ones(len(seeds), m, dtype=torch.float64)
    w, b, a = stream.normal(3, m, dtype=torch.float64).unbind(1)  # (R, m) each
    condensed = tangent_singular_values(ones, ones, ones / m, GRID)
    generic = tangent_singular_values(2 * w, 2 * b, a, GRID)
    return {
        "tangent_condensed": tangent_rank(condensed).numpy(),
        "tangent_generic": tangent_rank(generic).numpy(),
        "condensed_spectrum": condensed.numpy(),
        "generic_spectrum": generic.numpy(),
    }


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Fit R matrices from their first n entries, for all n = 1..16 at once.

    Values at 60 log-spaced steps: mse (R, 16), the mean squared error over all entries. At step 0 also those of
    `tangent_space`.
    """
    M = draw_matrix(configs, seeds)

    def measure(k: int, state: State) -> dict[str, Array]:
        mse = (state.A @ state.B - M.unsqueeze(1)).square().mean((2, 3)).numpy()
        return {"mse": mse} if k else {"mse": mse, **tangent_space(configs[0], seeds)}

    yield from train(
        initial_state(configs, seeds),
        make_step(configs, M),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        measure,
    )


EXPERIMENT = Experiment(
    name="condensation.recovery",
    title="Optimistic sample size",
    question="Is a matrix of rank r recovered once as many entries are known as it has free parameters?",
    paper="2406.18035",
    seconds=0.6,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
)
