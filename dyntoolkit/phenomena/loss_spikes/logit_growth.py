"""Do attention logits explode with the learning rate, and does QK-norm bound them?

Attention-entropy collapse: Zhai et al. 2023 (arXiv 2303.06296). QK-norm: Henry et al. 2020 (arXiv 2010.04245), Dehghani
et al. 2023 (arXiv 2302.05442). No loss spike is claimed here.
"""

from collections.abc import Iterator, Sequence

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer, attention, cross_entropy
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.loss_spikes.logit_growth_claims import CLAIMS, metrics
from dyntoolkit.phenomena.loss_spikes.logit_growth_config import PRESETS, Config
from dyntoolkit.phenomena.loss_spikes.logit_growth_figure import panels, sweep_panels
from dyntoolkit.phenomena.loss_spikes.number_text import vocabulary
from dyntoolkit.phenomena.loss_spikes.text_training import (
    make_step,
    next_token_loss,
    training_starts,
    validation_windows,
    windows,
)

Tensor = torch.Tensor
EVERY = 10  # steps between two measurements


def entropy(a: Tensor) -> Tensor:
    """-sum_j a_ij ln(a_ij + 1e-12) in nats of each head, mean over batch and places i >= 1 (place 0 has no choice).

    a: (R, B, heads, T, T). Returns (R, heads).
    """
    each = -(a * (a + 1e-12).log()).sum(-1)  # (R, B, heads, T)
    return each[..., 1:].mean((1, 3))


def attention_measures(network: Transformer, theta: Tensor, batch: Tensor, shown: Tensor) -> dict[str, Array]:
    """What attention does on a batch (R, B, 33), by layer, before the update with it.

    logit_max: the largest |score| of all pairs of places, masked ones too. entropy: mean over the heads, nats. Both
    (R, layers). loss: (R,) nats. attention: of the head of lowest entropy, on the one window `shown` (R, 1, 33),
    (R, T, T).
    """
    logits, scores = network.forward(theta, batch[..., :-1])
    by_head = torch.stack([entropy(attention(s)) for s in scores], dim=1)  # (R, layers, heads)
    _, seen = network.forward(theta, shown[..., :-1])
    maps = torch.cat([attention(s)[:, 0] for s in seen], dim=1)  # (R, layers heads, T, T)
    narrow = by_head.flatten(1).argmin(1)  # (R,)
    return {
        "logit_max": torch.stack([s.abs().amax((1, 2, 3, 4)) for s in scores], dim=1).numpy(),
        "entropy": by_head.mean(2).numpy(),
        "loss": cross_entropy(logits, batch[..., 1:]).numpy(),
        "attention": maps[torch.arange(len(maps)), narrow].numpy(),
    }


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R transformers; every 10 steps and at the end a frame with the values of `attention_measures`, float32.

    Also `validation`: (R,) the loss on 32 fixed windows of the validation text.
    """
    config = configs[0]
    network = Transformer(len(vocabulary()), config.width, qk_norm=config.qk_norm)
    starts = training_starts(seeds, "batches", config.steps + 1, config.batch_size)  # (R, steps + 1, B)
    held_out = validation_windows(len(seeds))  # (R, 32, 33)

    def batches(k0: int, k1: int) -> Iterator[Tensor]:
        return iter(windows(starts[:, k0:k1]).unbind(1))

    def measure(k: int, state: Adam) -> dict[str, Array]:
        (batch,) = batches(k, k + 1)  # the batch of the update that comes next
        return {
            **attention_measures(network, state.theta, batch, held_out[:, :1]),
            "validation": next_token_loss(network, state.theta, held_out).numpy(),
        }

    record = sorted({*range(0, config.steps, EVERY), config.steps})
    start = Adam.start(network.init(Stream(seeds, "init")))
    yield from train(start, make_step(network, configs), batches, record, measure)


EXPERIMENT = Experiment(
    name="loss_spikes.logit_growth",
    title="Exploding attention",
    question="Do a transformer's attention scores explode with the learning rate, and does QK-norm bound them?",
    paper="2303.06296",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
)
