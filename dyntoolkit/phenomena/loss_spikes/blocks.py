"""Is the sharpness of a transformer ordered by block? The average sharpness of each kind of weight while it trains.

Wang et al. 2025, "The sharpness disparity principle in transformers for accelerating language model pre-training"
(arXiv 2502.19002): embeddings are flattest, then queries and keys, feed-forward, value and output; gains are sharpest.
"""

from collections.abc import Iterator, Sequence

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.loss_spikes.blocks_claims import CLAIMS, metrics
from dyntoolkit.phenomena.loss_spikes.blocks_config import BLOCKS, PRESETS, Config
from dyntoolkit.phenomena.loss_spikes.blocks_figure import panels
from dyntoolkit.phenomena.loss_spikes.number_text import vocabulary
from dyntoolkit.phenomena.loss_spikes.text_training import (
    CONTEXT,
    make_step,
    next_token_loss,
    training_starts,
    validation_windows,
    windows,
)
from dyntoolkit.probes.fisher_trace import average_sharpness, fisher_diagonal

Tensor = torch.Tensor
PROBE, DRAWS = 16, 8  # windows and draws of labels of a measurement
SHARES = (0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.375, 0.5, 0.75, 1)  # of the steps, where sharpness is measured
EVERY = 5  # steps between two measurements of the loss


def block_sharpness(network: Transformer, theta: Tensor, probe: Tensor, uniform: Tensor) -> Tensor:
    """Average sharpness of each of BLOCKS on the windows `probe` (R, 16, 33), (R, 6).

    uniform: (R, draws, 16 32) random numbers from [0, 1) that draw the labels.
    """
    x = probe[..., :-1]  # (R, 16, 32)
    diagonal = fisher_diagonal(lambda at: network(at, x).flatten(1, 2), theta, uniform)  # (R, P)
    return torch.stack([average_sharpness(diagonal, network.mask(*names)) for names in BLOCKS.values()], dim=1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R transformers. Every 5 steps: `loss` on the coming batch and `validation`, (R,) in nats.

    At the SHARES of the steps also `sharpness` (R, 6) float32, in the order of BLOCKS.
    """
    config = configs[0]
    network = Transformer(len(vocabulary()), config.width)
    starts = training_starts(seeds, "batches", config.steps + 1, config.batch_size)  # (R, steps + 1, B)
    probe, labels = windows(training_starts(seeds, "probe", PROBE)), Stream(seeds, "labels")
    held_out = validation_windows(len(seeds))  # (R, 32, 33)
    measured = {round(share * config.steps) for share in SHARES}

    def batches(k0: int, k1: int) -> Iterator[Tensor]:
        return iter(windows(starts[:, k0:k1]).unbind(1))

    def measure(k: int, state: Adam) -> dict[str, Array]:
        (batch,) = batches(k, k + 1)  # the batch of the update that comes next
        read = {"loss": batch, "validation": held_out}
        found = {name: next_token_loss(network, state.theta, at) for name, at in read.items()}  # (R,) each
        if k in measured:
            uniform = (labels.uniform(DRAWS, PROBE * CONTEXT) + 1) / 2  # (R, 8, 512)
            found["sharpness"] = block_sharpness(network, state.theta, probe, uniform)
        return {name: value.numpy() for name, value in found.items()}

    record = sorted({*range(0, config.steps, EVERY), *measured})
    start = Adam.start(network.init(Stream(seeds, "init")))
    yield from train(start, make_step(network, configs), batches, record, measure)


EXPERIMENT = Experiment(
    name="loss_spikes.blocks",
    title="Sharpness by block",
    question="Are some blocks of a transformer sharper than others, in a fixed order?",
    paper="2502.19002",
    seconds=2.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
