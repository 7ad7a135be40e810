"""Does the loss descend by plateaus, at losses of narrower networks, while directions multiply?

"Embedding principle" and condensation: Zhou et al. 2022 (arXiv 2207.05952), Xu et al. 2025 (arXiv 2504.09484).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation import two_layer
from dyntoolkit.phenomena.condensation.staircase_claims import CLAIMS, metrics
from dyntoolkit.phenomena.condensation.staircase_config import PRESETS, TARGETS, Config
from dyntoolkit.phenomena.condensation.staircase_figure import panels
from dyntoolkit.probes.effective_neurons import effective_neurons

Tensor = torch.Tensor
POINTS = 40
LOSS_EVERY = 5  # steps
WITHIN = 5.0  # degrees over which two directions count as one


class State(NamedTuple):
    """The weights w, b and a of R networks."""

    theta: Tensor  # (R, 3, m)


def load_data(config: Config) -> tuple[Tensor, Tensor]:
    """40 evenly spaced points x and the target's values y, float32 (40,)."""
    target = TARGETS[config.target]
    x = torch.linspace(-target.reach, target.reach, POINTS, dtype=torch.float64)
    return x.float(), target.function(x).float()


def affine_loss(x: Tensor, y: Tensor) -> float:
    """The mean squared error of the straight line that fits best."""
    line = np.polynomial.Polynomial.fit(x.numpy(), y.numpy(), 1)
    return float(np.mean((line(x.numpy()) - y.numpy()) ** 2))


def snapshot_steps(steps: int) -> set[int]:
    """Where the directions are measured: floor(10^(i/12)) for i = 8 to 49, and the last step."""
    return {k for i in range(8, 50) if (k := int(10 ** (i / 12))) <= steps} | {0, steps}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; loss (R,) every 5 steps.

    At `snapshot_steps`: n_eff (R,), weighted by amplitude (of lines for tanh); orientation in degrees and amplitude
    (R, m); output (R, 40). At step 0 affine (R,), the loss of the straight line that fits best.
    """
    c, (x, y) = configs[0], load_data(configs[0])
    kind, shots = TARGETS[c.target].activation, snapshot_steps(c.steps)
    scale, lr = (per_run(configs, name, ndim=3) for name in ("init_scale", "lr"))
    affine = np.full(len(configs), affine_loss(x, y))

    def step(state: State, _: None) -> State:
        return State(torch.addcmul(state.theta, lr, two_layer.gradient(state.theta, x, y, kind), value=-1))

    def measure(k: int, state: State) -> dict[str, Array]:
        theta = state.theta
        found = {"loss": two_layer.loss(theta, x, y, kind).numpy()}
        if k in shots:
            size = two_layer.amplitude(theta)
            neurons = effective_neurons(theta[:, :2].mT, size, WITHIN, lines=kind == "tanh")
            found |= {"n_eff": neurons.numpy(), "orientation": two_layer.orientation(theta).numpy()}
            found |= {"amplitude": size.numpy(), "output": two_layer.outputs(theta, x, kind).numpy()}
        return found | ({"affine": affine} if k == 0 else {})

    start = State(scale * Stream(seeds, "init").normal(3, c.width))
    record = sorted({*range(0, c.steps, LOSS_EVERY), *shots})
    return train(start, step, full_batch, record, measure)


EXPERIMENT = Experiment(
    name="condensation.staircase",
    title="A staircase of plateaus",
    question="Does the loss descend by plateaus at narrow networks' losses, while directions multiply?",
    paper="2207.05952",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
