"""What the updates of a block see: all their batches at once, with a leading step axis."""

from collections.abc import Callable, Iterator
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
    look(batch, steps)
    return _unbound(batch, steps)


def _unbound(part: Any, steps: int) -> Iterator[Any]:
    if isinstance(part, torch.Tensor):
        return iter(part.unbind(0))
    if isinstance(part, tuple) and part:
        return map(_kind(part), zip(*[_unbound(each, steps) for each in part], strict=True))
    return repeat(part, steps)


def _kind(parts: Any) -> Callable[[Any], Any]:
    """What makes a tuple of the same type from a sequence."""
    return getattr(type(parts), "_make", type(parts))  # a NamedTuple is not made from a sequence


def look(batch: Any, steps: int) -> Any:
    """What the batches of a block have in common: (shape, dtype) in place of each tensor.

    Raises InputError for what does not hold a batch for each of so many steps.

    >>> look((torch.zeros(3, 2), None), 3)
    ((torch.Size([2]), torch.float32), None)
    """
    if isinstance(batch, torch.Tensor):
        if batch.shape[:1] != (steps,):
            got = f"shape {tuple(batch.shape)}"
            raise InputError(f"batches takes tensors whose first axis is the {steps} steps, got {got}.", "batches")
        return batch.shape[1:], batch.dtype
    if isinstance(batch, tuple):
        return tuple(look(part, steps) for part in batch)
    if batch is None:
        return None
    got = type(batch).__name__
    raise InputError(f"batches takes None, a tensor or a tuple of these for all steps at once, got {got}.", "batches")


def parts_of(batch: Any) -> list[torch.Tensor]:
    """The tensors of a batch, in order, of one step or of many."""
    if isinstance(batch, tuple):
        return [tensor for part in batch for tensor in parts_of(part)]
    return [] if batch is None else [batch]


def mapped(function: Callable[[torch.Tensor], Any], batch: Any) -> Any:
    """The batch, of one step or of many, with function(tensor) in place of each tensor."""
    if isinstance(batch, tuple):
        return _kind(batch)([mapped(function, part) for part in batch])
    return None if batch is None else function(batch)


def taken(batch: Any, first: int, last: int) -> Any:
    """The batches of the steps first..last-1 among those of many steps."""
    return mapped(lambda tensor: tensor[first:last], batch)
