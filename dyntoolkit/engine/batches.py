"""What the updates of a block see: all their batches at once, with a leading step axis."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, TypeVar

import torch

from dyntoolkit.errors import InputError

Batch = TypeVar("Batch")  # of one step, or of K steps with a leading axis K


def full_batch(k0: int, k1: int) -> None:
    """The `batches` of a training whose every step sees all data: None, whatever the steps.

    >>> full_batch(0, 3) is None
    True
    """


def unbind(batch: Batch, steps: int) -> Iterator[Batch]:
    """The batches of a block, step by step.

    batch: None, a tensor (steps, ...), or a (named) tuple of such parts. A step's batch is of the same kind, with the
    slice of each tensor (a view), and None where the block has it.

    >>> [batch.tolist() for batch in unbind(torch.tensor([[1, 2], [3, 4]]), 2)]
    [[1, 2], [3, 4]]
    >>> list(unbind((torch.tensor([5, 6]), None), 2))
    [(tensor(5), None), (tensor(6), None)]
    """
    return _unbound(batch, steps)


def _unbound(part: Any, steps: int) -> Iterator[Any]:
    if isinstance(part, torch.Tensor):
        if part.shape[:1] != (steps,):
            got = f"shape {tuple(part.shape)}"
            raise InputError(f"batches takes tensors whose first axis is the {steps} steps, got {got}.", "batches")
        return iter(part.unbind(0))
    if isinstance(part, tuple) and part:
        kind = getattr(type(part), "_make", type(part))  # a NamedTuple is not made from a sequence
        return map(kind, zip(*[_unbound(each, steps) for each in part], strict=True))
    if part is None or part == ():
        return repeat(part, steps)
    got = type(part).__name__
    raise InputError(f"batches takes None, a tensor or a tuple of these for all steps at once, got {got}.", "batches")


def parts_of(batch: Any) -> list[torch.Tensor]:
    """The tensors of a batch, in order, of one step or of many."""
    if isinstance(batch, tuple):
        return [tensor for part in batch for tensor in parts_of(part)]
    return [] if batch is None else [batch]


def taken(batch: Any, first: int, last: int) -> Any:
    """The batches of the steps first..last-1 among those of many steps."""
    if isinstance(batch, tuple):
        kind = getattr(type(batch), "_make", type(batch))
        return kind([taken(part, first, last) for part in batch])
    return None if batch is None else batch[first:last]
