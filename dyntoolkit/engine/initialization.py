"""Random initial weights, drawn for each run from its own seed and scaled run by run."""

import math
from collections.abc import Sequence

import torch

from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import PerRun


def normal_init(
    network: MLP, stream: Stream, stds: Sequence[tuple[PerRun, PerRun]], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Gaussian theta (R, P), mean 0, with (weight std, bias std) of each layer; a std is one number or (R,).

    The standard normals are drawn in the order W_1, b_1, W_2, ... whatever the stds, so a scale only multiplies the
    same numbers. Without biases the second std of a pair means nothing and no number is drawn for it.
    """
    per_block = [std for pair in stds for std in (pair if network.bias else pair[:1])]
    blocks = []
    for (rows, columns), std in zip(network.shapes, per_block, strict=True):
        scale = torch.as_tensor(std, dtype=dtype).view(-1, 1)  # (R, 1) or (1, 1)
        blocks.append(stream.normal(rows * columns, dtype=dtype) * scale)  # (R, rows columns)
    return torch.cat(blocks, dim=1)


def he(network: MLP, init_scale: PerRun = 1.0) -> list[tuple[PerRun, PerRun]]:
    """Weight variance init_scale^2 2/fan_in, biases 0 (He et al. 2015, arXiv 1502.01852): the stds of `normal_init`."""
    return [(init_scale * math.sqrt(2 / fan_in), 0.0) for fan_in in network.sizes[:-1]]


def lecun(network: MLP, init_scale: PerRun = 1.0) -> list[tuple[PerRun, PerRun]]:
    """Weight variance init_scale^2/fan_in, biases 0 (LeCun et al. 1998): the stds of `normal_init`."""
    return [(init_scale / math.sqrt(fan_in), 0.0) for fan_in in network.sizes[:-1]]
