"""Adam's loss spikes in one dimension, where their times can be predicted: L = h theta^2 / 2 (arXiv 2506.04805)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.loop import full_batch
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.loss_spikes.quadratic_claims import CLAIMS, metrics
from dyntoolkit.phenomena.loss_spikes.quadratic_config import PRESETS, Config
from dyntoolkit.phenomena.loss_spikes.quadratic_figure import panels
from dyntoolkit.phenomena.loss_spikes.trace import traced
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor


class Moment(NamedTuple):
    """One update: theta before it and the bias-corrected v that it used, both (R,)."""

    theta: torch.Tensor
    v: torch.Tensor


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Adam from theta0; nothing is random, so the seed has no effect.

    A frame every 50 steps with the values of each, (R, 50) float64 (see `trace`): theta, g2 = squared gradient, v =
    bias-corrected mean square, curvature = mu h/(sqrt(v) + eps), loss.
    """
    names = ("lr", "beta1", "beta2", "eps", "curvature", "theta0")
    columns = (per_run(configs, name, torch.float64) for name in names)
    lr, beta1, beta2, eps, h, theta0 = columns  # (R,)

    def step(state: Adam, _: None) -> Adam:
        return adam(state, h.unsqueeze(1) * state.theta, lr, beta1, beta2, eps)

    def moment(before: Adam, after: Adam) -> Moment:
        return Moment(before.theta[:, 0], after.square[:, 0] / (1 - beta2**after.updates))

    def probe(moments: Sequence[Moment], first: int) -> dict[str, torch.Tensor]:
        theta, v = (torch.stack(list(column)) for column in zip(*moments, strict=True))  # (T, R)
        updates = torch.arange(first + 1, first + 1 + len(theta), dtype=torch.float64).unsqueeze(1)  # (T, 1)
        curvature = momentum_factor(beta1, updates) * h / (v.sqrt() + eps)
        g2 = (h * theta).square()
        return {"theta": theta, "g2": g2, "v": v, "curvature": curvature, "loss": h * theta.square() / 2}

    return traced(Adam.start(theta0.unsqueeze(1)), step, full_batch, configs[0].steps, moment, probe)


EXPERIMENT = Experiment(
    name="loss_spikes.quadratic",
    title="Adam on a parabola",
    question="In one dimension, can the time of Adam's next loss spike be computed in advance?",
    paper="2506.04805",
    seconds=0.8,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
