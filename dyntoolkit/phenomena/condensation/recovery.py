"""Recovering a matrix of low rank from few of its entries: is the number of its free parameters enough?

Zhang et al. 2024 (arXiv 2406.18035) call it the optimistic sample size: r(2d - r) for a d x d matrix of rank r, and
three for each neuron that a tanh network needs. Small factors condense: they grow one direction at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    above,
    at_least,
    between,
    config,
    number,
    settings,
)
from dyntoolkit.figure.panels import (
    BASELINE,
    BLUE,
    GREEN,
    MEASURED,
    ORANGE,
    RED,
    SERIES,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded
from dyntoolkit.figure.sweeps import Rows, by_field
from dyntoolkit.probes.tangent_rank import tangent_rank, tangent_singular_values

Tensor = torch.Tensor

# ---- Settings and presets ----

DIM = 4  # the matrix is DIM x DIM


class Config(config.Config):
    """Settings of one run: a matrix and a full-rank factorization, trained on its first 1, 2, ..., 16 entries."""

    rank: int = number(
        1, 1, 3, label="rank r", help="of the matrix; the factors are square", main=True, structural=True
    )
    init_scale: float = number(
        1e-3,
        1e-5,
        1.0,
        label="initialization scale",
        help="standard deviation of the entries of A and B",
        log=True,
        main=True,
    )
    lr: float = number(
        0.02, 0.002, 0.05, label="learning rate η", help="step size of gradient descent", log=True, main=True
    )
    steps: int = number(20000, 1000, 50000, label="steps", help="updates", log=True, main=True, structural=True)
    student_width: int = number(
        20, 3, 100, label="width of the tanh network", help="tangent rank only", log=True, structural=True
    )

    @property
    def optimistic(self) -> int:
        """The number of free parameters of a matrix of this rank, r(2d - r)."""
        return self.rank * (2 * DIM - self.rank)


PRESETS = {
    "rank1": Preset("Sixteen numbers from seven: often recovered at n = 7, hardly ever at n = 6."),
    "rank2": Preset("A matrix of rank 2 has 12 free parameters, and takes as many entries or one more.", {"rank": 2}),
    "rank3": Preset("Rank 3: 15 of the 16 entries.", {"rank": 3}),
    "large_init": Preset("Large factors fit the observed entries and miss the others.", {"init_scale": 1.0}),
}

# ---- Data, model, step ----

NORM = 4.0  # Frobenius norm of the matrix
ORDER = (0, 1, 2, 3, 4, 8, 12, 5, 6, 7, 9, 13, 10, 11, 14, 15)  # entries, row by row, in the order they are observed
SIZES = np.arange(1, DIM * DIM + 1)  # numbers n of observed entries
FRAMES = 60


class State(NamedTuple):
    """The factors of every run at every number of observed entries n = 1..16; AB may be of any rank."""

    A: Tensor  # (R, 16, d, d)
    B: Tensor  # (R, 16, d, d)


def draw_matrix(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """M = U V with Gaussian factors of rank r, scaled to the norm 4, (R, d, d)."""
    stream, r = Stream(seeds, "matrix"), configs[0].rank
    U = stream.normal(DIM, r, dtype=torch.float64)  # (R, d, r)
    V = stream.normal(r, DIM, dtype=torch.float64)  # (R, r, d)
    M = U @ V  # (R, d, d)
    norm: Tensor = torch.linalg.matrix_norm(M, keepdim=True)
    return NORM * M / norm


def observed() -> Tensor:
    """Which entries are observed at n = 1..16, 0 or 1, (16, d, d)."""
    place = torch.tensor(ORDER, dtype=torch.int64).argsort()  # (d d,) when each entry is observed
    mask = place < torch.from_numpy(SIZES).unsqueeze(1)  # (16, d d)
    return mask.view(-1, DIM, DIM).to(torch.float64)


def initial_state(configs: Sequence[Config], seeds: Sequence[int]) -> State:
    """Gaussian factors of std init_scale, the same for every n."""
    scale = per_run(configs, "init_scale", torch.float64, ndim=4)
    factors = scale * Stream(seeds, "init").normal(2, DIM, DIM, dtype=torch.float64)  # (R, 2, d, d)
    return State(*(factor.unsqueeze(1).repeat(1, len(SIZES), 1, 1) for factor in factors.unbind(1)))


def make_step(configs: Sequence[Config], M: Tensor) -> Callable[[State, None], State]:
    """One step of gradient descent on the sum of (AB - M)^2 over the observed entries. M: (R, d, d)."""
    lr = per_run(configs, "lr", torch.float64, ndim=4)
    rate = (2 * lr * observed()).flatten(0, 1)  # (R 16, d, d)
    target = M.unsqueeze(1).expand(-1, len(SIZES), -1, -1).flatten(0, 1)  # (R 16, d, d)

    def step(state: State, _: None) -> State:
        A = state.A.flatten(0, 1)  # (R 16, d, d)
        B = state.B.flatten(0, 1)  # (R 16, d, d)
        # E = mask o (AB - M); here -2 lr E, (R 16, d, d)
        E = rate * torch.baddbmm(target, A, B, beta=-1)
        # A <- A - 2 lr E B^T, B <- B - 2 lr A^T E
        after = torch.baddbmm(A, E, B.mT, alpha=-1), torch.baddbmm(B, A.mT, E, alpha=-1)
        return State(*(factor.view_as(state.A) for factor in after))

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Fit R matrices from their first n entries, for all n = 1..16 at once.

    Values at 60 log-spaced steps: mse (R, 16), the mean squared error over all entries. At step 0 also those of
    `tangent_space`.
    """
    M = draw_matrix(configs, seeds)

    def measure(k: int, state: State) -> dict[str, Array]:
        mse = (state.A @ state.B - M.unsqueeze(1)).square().mean((2, 3)).numpy()  # (R, 16)
        return {"mse": mse} if k else {"mse": mse, **tangent_space(configs[0], seeds)}

    return train(
        initial_state(configs, seeds),
        make_step(configs, M),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        measure,
    )


# ---- What is measured, claims ----

GRID = torch.linspace(-1, 1, 400, dtype=torch.float64)  # inputs of the tanh network
RECOVERED = 1e-2  # mean squared error over all entries below which a matrix counts as recovered


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


def metrics(history: History) -> dict[str, Array]:
    """mse_1 ... mse_16: mean squared error over all 16 entries at the end, from so many observed ones. Each (R,).

    mse_at: that at the optimistic size r(2d - r). recovered_below, recovered_at: 1 where the error is below 1e-2 one
    entry below this size, and at it. tangent_condensed, tangent_generic: tangent rank of the tanh network.
    """
    mse, at = history.last("mse"), history.config.optimistic - 1  # (R, 16)
    return {
        **{f"mse_{n}": mse[:, n - 1] for n in SIZES},
        "mse_at": mse[:, at],
        "recovered_below": (mse[:, at - 1] < RECOVERED).astype(np.float64),
        "recovered_at": (mse[:, at] < RECOVERED).astype(np.float64),
        "tangent_condensed": history.last("tangent_condensed").astype(np.float64),
        "tangent_generic": history.last("tangent_generic").astype(np.float64),
    }


def _jump(rows: Sequence[Metrics]) -> Array:
    """Share of seeds recovered at the optimistic size minus the share one entry below it, (1,)."""
    return np.array([rows[0]["recovered_at"].mean() - rows[0]["recovered_below"].mean()])


def _median(rows: Sequence[Metrics]) -> Array:
    """The median error at the optimistic size over the seeds, (1,)."""
    return np.array([np.median(rows[0]["mse_at"])])


CLAIMS = (
    Claim(
        id="recovery_jump",
        statement="Rank 1: of 30 seeds or more, the share recovered rises by 0.2 or more from n = 6 to "
        "n = r(2d − r) = 7.",
        sweep=Sweep(({},), _jump, least_seeds=30),
        bound=at_least(0.2),
        where=settings(rank=1, lr=0.02, steps=at_least(20000), init_scale=1e-3),
        controls=(Control("initialization scale 1", {"init_scale": 1.0}),),
    ),
    Claim(
        id="large_init_fails",
        statement="From initialization scale 1 the matrix is not recovered at n = 7: the median error over at least "
        "10 seeds.",
        sweep=Sweep(({"init_scale": 1.0},), _median, least_seeds=10),
        bound=above(0.5),
        where=settings(rank=1, lr=0.02, steps=at_least(20000)),
    ),
    Claim(
        id="tangent_rank",
        statement="A tanh network of equal neurons has a tangent space of 3 dimensions, whatever its width.",
        metric="tangent_condensed",
        bound=between(3, 3),
        controls=(Control("20 random neurons", {"student_width": 20}, above(15), metric="tangent_generic"),),
    ),
)

# ---- Figure ----

ENTRIES = Axis("observed entries n", range=(0.5, DIM * DIM + 0.5))
SHARE = Axis("share of seeds", range=(-0.03, 1.03))
ERROR = Axis("mean squared error, all entries", log=True)
LIMIT = Level("counts as recovered", y=RECOVERED)
TINY = 1e-12  # smaller errors and singular values are drawn here


def panels(history: History) -> list[Panel]:
    """Error and share recovered against n, the error during training, and the tangent space of a tanh network."""
    mse = history.last("mse") if "mse" in history else np.empty((0, DIM * DIM))  # (R, 16)
    at = Level(f"r(2d − r) = {history.config.optimistic}", x=history.config.optimistic)
    return [
        Panel("Error by number of entries", ENTRIES, ERROR, [_error("measured", mse, MEASURED), at, LIMIT]),
        Panel("Recovered", ENTRIES, SHARE, [_share("measured", mse, MEASURED), at]),
        _training(history),
        _tangent(history),
    ]


def sweep_panels(rows: Rows) -> list[Panel]:
    """Share recovered and median error against n over all trained seeds, for each initialization scale."""
    config, runs = max(by_field(rows, "init_scale").items(), key=lambda group: sum(map(len, group[1].values())))
    shares: list[Mark] = []
    errors: list[Mark] = []
    for (scale, found), color in zip(runs.items(), SERIES, strict=False):
        name = f"initialization scale {scale:g}, {len(found)} seeds"
        ends = np.array([[metrics[f"mse_{n}"] for n in SIZES] for metrics in found])  # (R, 16)
        shares.append(_share(name, ends, color))
        errors.append(_error(name, ends, color))
    at = Level(f"r(2d − r) = {config.optimistic}", x=config.optimistic)
    return [
        Panel("Recovered", ENTRIES, SHARE, [*shares, at]),
        Panel("Error by number of entries", ENTRIES, ERROR, [*errors, at, LIMIT]),
    ]


def _error(name: str, mse: Array, color: str) -> Line:
    """The median error over the runs (R, 16) at each size."""
    known = SIZES if len(mse) else SIZES[:0]
    values = np.maximum(mse.T, TINY) if len(mse) else np.empty((0, 1))
    return median_line(name, known, values, color, markers="both")


def _share(name: str, mse: Array, color: str) -> Line:
    """The share of the runs (R, 16) that are recovered at each size."""
    known = SIZES if len(mse) else SIZES[:0]
    return Line(name, known, (mse < RECOVERED).mean(0) if len(mse) else known, color, markers="both")


def _training(history: History) -> Panel:
    """The error below, at and above the optimistic size, and with all entries; without step 0."""
    at = history.config.optimistic
    sizes: Sequence[int] = (at - 1, at, min(at + 1, DIM * DIM), DIM * DIM)
    steps, mse = recorded(history, "mse", start=1)
    mse = np.maximum(mse, TINY) if len(mse) else np.empty((0, len(history.seeds), DIM * DIM))  # (T, R, 16)
    lines: list[Mark] = [
        median_line(f"n = {n}", steps, mse[:, :, n - 1], color)
        for n, color in zip(sizes, (ORANGE, BLUE, GREEN, RED), strict=True)
    ]
    return Panel("Error during training", Axis("step", log=True), ERROR, [*lines, LIMIT])


def _tangent(history: History) -> Panel:
    """Singular values of the tangent space beside the largest, of the first run."""
    marks: list[Mark] = []
    for name, label, color in (
        ("condensed_spectrum", "equal neurons", MEASURED),
        ("generic_spectrum", "random neurons", BASELINE),
    ):
        values = history.last(name)[0] if name in history else np.empty(0)
        relative = np.maximum(values / values[:1], 1e-20)
        marks.append(Line(label, np.arange(1, len(values) + 1), relative, color, markers="both", width=1.2))
    return Panel(
        f"Tangent space, tanh, m = {history.config.student_width}",
        Axis("index"),
        Axis("singular value / largest", log=True, range=(1e-18, 3)),
        [*marks, Level("counts for the rank", y=1e-8)],
    )


# ---- The record ----

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
