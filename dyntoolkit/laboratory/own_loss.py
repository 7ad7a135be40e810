"""A loss by name, or a reader's own function of the output and the targets of one run, on the run axis."""

from collections.abc import Callable
from typing import Any

import torch

from dyntoolkit.engine.module_trial import vmap_words
from dyntoolkit.errors import InputError, problem_words, unknown
from dyntoolkit.laboratory.losses import LOSSES, Loss

Tensor = torch.Tensor

NAMES = (*LOSSES, "a function of (output, target)")


def named_loss(classes: int, outputs: int) -> str:
    """The usual loss for data of so many classes (0: numbers), and a network of so many outputs."""
    if not classes:
        return "mse"
    return "logistic" if classes == 2 and outputs == 1 else "cross_entropy"


def own_loss(loss: Any, output: Tensor, y: Tensor, classes: int) -> Loss:
    """The loss on the run axis, (output (R, n, k), y) -> (R,), tried on the output of a network; InputError where they
    do not fit.

    loss: None for the usual one, a name, or a function that takes the output (n, k) of one run and its targets, (n, k)
    or classes (n,), and gives one number.
    """
    found = named_loss(classes, output.shape[2]) if loss is None else loss
    if isinstance(found, str):
        if found not in LOSSES:
            raise unknown("loss", found, NAMES)
        _check_outputs(found, output.shape[2], y, classes)
        return LOSSES[found]
    if isinstance(found, type) or not callable(found):
        raise InputError(f"loss takes one of {', '.join(NAMES)}; got {found!r}.", "loss")
    vectorized: Loss = torch.vmap(found)
    _try(found, vectorized, output, y)
    return vectorized


def _check_outputs(name: str, outputs: int, y: Tensor, classes: int) -> None:
    """InputError where a network's outputs do not fit the loss and the data."""
    if name in ("cross_entropy", "logistic") and not classes:
        raise InputError(f"loss: {name} needs classes, and the targets are numbers: take mse.", "loss")
    if name == "logistic" and (classes, outputs) != (2, 1):
        got = f"{classes} classes and {outputs} outputs"
        raise InputError(f"loss: logistic needs two classes and one output, got {got}: take cross_entropy.", "loss")
    wanted = classes or y.shape[2]
    if outputs < wanted if name == "cross_entropy" else outputs != wanted and name == "mse":
        what = f"{classes} classes" if classes else f"{wanted} number{'s' * (wanted > 1)} to learn"
        hint = "; for whole numbers that are classes take cross_entropy" if outputs > wanted == 1 else ""
        raise InputError(f"model: it gives {outputs} outputs for each sample, and there are {what}{hint}.", "model")


def _try(loss: Callable[..., Any], vectorized: Loss, output: Tensor, y: Tensor) -> None:
    """InputError for a function that does not give one number for each run."""
    name = getattr(loss, "__name__", type(loss).__name__)
    output = output.detach().requires_grad_()
    try:
        alone = loss(output[0], y[0])
    except Exception as problem:  # of anybody's code
        shapes = f"output {tuple(output[0].shape)} and targets {tuple(y[0].shape)}"
        raise InputError(f"loss: {name} fails on {shapes}: {problem_words(problem)}", "loss") from problem
    if not isinstance(alone, Tensor) or alone.ndim:
        got = f"a tensor {tuple(alone.shape)}" if isinstance(alone, Tensor) else f"a {type(alone).__name__}"
        raise InputError(f"loss: {name} gives {got}, and must give one number, as with .mean().", "loss")
    if not alone.requires_grad:
        raise InputError(f"loss: {name} gives what does not depend on the output.", "loss")
    try:
        values = vectorized(output, y)
    except Exception as problem:  # of vmap, on anybody's code
        raise InputError(f"loss: {name} {vmap_words(problem).rstrip('.')}.", "loss") from problem
    torch.autograd.grad(values.sum(), output)
