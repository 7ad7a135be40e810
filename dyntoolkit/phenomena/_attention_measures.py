"""What the attention of a transformer does on a batch, for the experiments that watch it."""

import torch

from dyntoolkit.engine.history import Array
from dyntoolkit.engine.transformer import Transformer, attention, cross_entropy
from dyntoolkit.probes.attention_entropy import attention_entropy

Tensor = torch.Tensor


def attention_measures(
    network: Transformer, theta: Tensor, tokens: Tensor, targets: Tensor, shown: Tensor
) -> dict[str, Array]:
    """What attention does on a batch of tokens (R, B, T), by layer.

    logit_max: the largest |score| of all pairs of places, masked ones too. entropy: mean over the heads, nats. Both
    (R, layers). loss: (R,) nats, of the targets (R, B, T). attention: of the head of lowest entropy, on the one window
    `shown` (R, 1, T), (R, T, T).
    """
    logits, scores = network.forward(theta, tokens)
    by_head = torch.stack([attention_entropy(attention(s)) for s in scores], dim=1)  # (R, layers, heads)
    _, seen = network.forward(theta, shown)
    maps = torch.cat([attention(s)[:, 0] for s in seen], dim=1)  # (R, layers heads, T, T)
    narrow = by_head.flatten(1).argmin(1)  # (R,)
    return {
        "logit_max": torch.stack([s.abs().amax((1, 2, 3, 4)) for s in scores], dim=1).numpy(),
        "entropy": by_head.mean(2).numpy(),
        "loss": cross_entropy(logits, targets).numpy(),
        "attention": maps[torch.arange(len(maps), dtype=torch.int64), narrow].numpy(),
    }
