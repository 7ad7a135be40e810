"""Quantities that are measured at every step, carried block by block in frames that come every 50 steps."""

import numpy as np
import torch

from dyntoolkit.engine.history import Array, History

BLOCK = 50  # steps between two frames


def padded(values: torch.Tensor) -> Array:
    """Values (T, R) of T <= BLOCK steps as (R, BLOCK), filled up with NaN."""
    block = np.full((values.shape[1], BLOCK), np.nan)
    block[:, : len(values)] = values.T.numpy()
    return block


def trace(history: History, name: str) -> Array:
    """The value at every step so far, (N, R): index i belongs to the weights before update i + 1."""
    blocks = history[name]  # (T, R, BLOCK)
    runs = blocks.shape[1]
    return blocks.transpose(0, 2, 1).reshape(-1, runs)[: history.at(name)[-1]]
