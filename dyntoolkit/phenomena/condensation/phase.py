"""The phase diagram of two-layer ReLU networks: how does the change of the weights scale with the width?

Luo et al. 2021, "Phase diagram for two-layer ReLU neural networks at infinite-width limit" (JMLR 22, arXiv 2007.07497),
and Zhou et al. 2022 (arXiv 2105.11686). Weights that begin at the size m^-gamma hardly move in the linear regime, the
less the wider the network; in the condensed one they move by far more than they were.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.phenomena.condensation.phase_claims import CLAIMS, metrics, slopes
from dyntoolkit.phenomena.condensation.phase_config import PRESETS, Config
from dyntoolkit.phenomena.condensation.phase_figure import panels
from dyntoolkit.phenomena.condensation.relu_descent import State, make_step, ntk_step
from dyntoolkit.phenomena.condensation.two_layer import loss
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor
X = torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0])
Y = torch.tensor([0.6, -0.6, 0.3, 0.9])
FRAMES = 60


def initial_theta(configs: Sequence[Config], seeds: Sequence[int], m: int) -> Tensor:
    """The weights of width m at every gamma, (R G, 3, m): w and b with std m^-((gamma - gamma')/2), a with
    m^-((gamma + gamma')/2).

    The numbers are drawn anew for each width; all gammas of a seed share them.
    """
    normal = Stream(seeds, f"init {m}").normal(3, m, dtype=torch.float64)  # (R, 3, m)
    gamma = torch.from_numpy(np.stack([c.gammas for c in configs]))  # (R, G)
    sign = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)  # of gamma' for w, b, a
    gamma_prime = per_run(configs, "gamma_prime", torch.float64)
    exponent = (gamma[:, :, None] + sign * gamma_prime[:, None, None]) / 2  # (R, G, 3)
    theta = m ** -exponent[..., None] * normal[:, None]  # (R, G, 3, m)
    return theta.flatten(0, 1).float()


def train_width(configs: Sequence[Config], seeds: Sequence[int], m: int) -> Iterator[Frame]:
    """All networks of width m; a run of this loop is one network, R G of them. Each stops by itself at the tolerance.

    Values, (R G,): loss and distance, |w - w(0)|/|w(0)| over input weights and biases.
    """
    start = initial_theta(configs, seeds, m)
    tol, damping = (per_run(configs, name).repeat_interleave(configs[0].n_gammas) for name in ("tol", "lr_damping"))

    def measure(k: int, state: State) -> dict[str, Array]:
        distance = relative_distance(state.theta[:, :2], start[:, :2])
        return {"loss": loss(state.theta, X, Y, "relu").numpy(), "distance": distance.numpy()}

    yield from train(
        State(start),
        make_step(X, Y, ntk_step(start, X, 1.0, damping)),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        measure,
        settled=lambda state: (loss(state.theta, X, Y, "relu") < tol).numpy(),
    )


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """One run is n_gammas x n_widths networks of a seed; all runs' networks of one width train in one batch.

    Values, (R, n_gammas, n_widths) at 60 log-spaced steps: loss, distance (RD), and settled_at, the step at which a
    network reached the tolerance (-1: not yet). A network that diverges counts as NaN, a run is marked when all did.
    """
    widths = [train_width(configs, seeds, m) for m in configs[0].widths]
    shape, before = (len(seeds), configs[0].n_gammas), None
    for _ in geometrically(configs[0].steps, FRAMES):
        now = []
        for frames in widths:
            frame = next(frames)
            while not frame.values:
                if before is not None:
                    yield Frame(before.step, before.total, {}, before.diverged)
                frame = next(frames)
            now.append(frame)
        before = _merged(now, shape)
        yield before


def _merged(widths: Sequence[Frame], shape: tuple[int, int]) -> Frame:
    """One frame from those of the widths; shape: (R, n_gammas)."""
    marks = np.stack([frame.diverged.reshape(shape) for frame in widths], 2)  # (R, n_gammas, n_widths)
    values = {name: np.stack([frame.values[name].reshape(shape) for frame in widths], 2) for name in widths[0].values}
    for name in ("loss", "distance"):
        values[name] = np.where(marks < 0, values[name], np.nan).astype(np.float64)
    lost = (marks >= 0).all((1, 2))
    return Frame(widths[0].step, widths[0].total, values, np.where(lost, marks.max((1, 2)), -1))


def simulate_first(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The same, but only the networks at the first gamma."""
    return simulate([c.replace(n_gammas=1) for c in configs], seeds)


def first_slope(history: History) -> Array:
    """S at the first gamma, (R,)."""
    return slopes(history.last("distance"), history.config.widths)[:, 0]


EXPERIMENT = Experiment(
    name="condensation.phase",
    title="Phase diagram",
    question="How does the relative change of the weights scale with the width, over the plane of γ and γ′?",
    paper="2105.11686",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Slope S of ln RD against ln m",
        label="S",
        x="gamma_min",
        y="gamma_prime",
        xs=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        ys=(-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0),
        simulate=simulate_first,
        value=first_slope,
    ),
)
