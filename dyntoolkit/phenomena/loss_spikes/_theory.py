"""What v does between two spikes, in theory (Bai et al. 2025, arXiv 2506.04805)."""

import numpy as np

from dyntoolkit.engine.history import Array

AROUND = 100  # steps before and after a peak of sqrt(v) that do not exceed it


def forgetting(root: Array, beta2: float) -> Array:
    """The fall of sqrt(v) by beta2^(1/2) per step where no gradient comes in, from each of its peaks to the next (N,).

    A peak is a value that none of the 100 before and after it exceeds. Before the first one there is no line.
    """
    line = np.full(len(root), np.nan)
    peaks = [i for i in range(1, len(root) - 1) if root[i] == root[max(0, i - AROUND) : i + AROUND + 1].max()]
    for start, end in zip(peaks, [*peaks[1:], len(root)][: len(peaks)], strict=True):
        # between spikes sqrt(v) falls like beta2^(n/2), wherever g^2 << v
        line[start:end] = root[start] * beta2 ** (np.arange(end - start) / 2)
        line[end - 1] = np.nan  # the line breaks before the next peak
    return line
