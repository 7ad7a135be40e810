"""Batches: which runs are trained together in one loop."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

TOGETHER = 64  # runs in one loop: more of them are no faster, and hold more memory

T = TypeVar("T")


def batches(group: Sequence[T], most: int) -> list[Sequence[T]]:
    """Runs that may share a loop, in as few batches of at most `most` as there can be, nearly of one size.

    >>> [len(batch) for batch in batches(range(100), 64)]
    [50, 50]
    """
    count = -(-len(group) // most)
    ends = [k * len(group) // count for k in range(count + 1)]
    return [group[first:end] for first, end in pairwise(ends)]
