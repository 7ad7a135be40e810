"""What a torch.nn.Module cannot do on the run axis, found out by trying it once on a few samples."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from dyntoolkit.engine.module_make import first_difference
from dyntoolkit.engine.own_state import own_state
from dyntoolkit.errors import InputError, problem_words

Tensor = torch.Tensor
# name -> parameters (R, *shape), x (n, *sample) or (R, n, *sample) -> (R, n, *out)
Run = Callable[[Mapping[str, Tensor], Tensor], Tensor]

SAMPLES = 3
RTOL, ATOL = 1e-3, 1e-5  # between the run axis and the module alone

_RANDOM = "gives other numbers each time (functional dropout, random numbers): drop that, or draw them into the data"
_IN_PLACE = "writes in place (+=, copy_, x[...] = y) into a tensor that all runs share: write z = z + h"
_WORDS = {  # what torch says -> what is the case, and what to write in its place
    "randomness error mode": _RANDOM,
    ".item()": "takes a number out of a tensor (.item(), float(), int()): leave it a tensor",
    "data-dependent control flow": "decides by the numbers of a tensor (if, while, bool()): write torch.where(c, a, b)",
    "dynamic shape": "makes tensors whose size depends on numbers (a mask as an index): write torch.where(mask, x, 0)",
    "data pointer": "leaves torch (.numpy()): write it with functions of torch",
    "broadcast shape": _IN_PLACE,
    "inplace arithmetic": _IN_PLACE,
    "aten::lstm_cell": "has an LSTMCell, for which torch has no rule: write its gates with nn.Linear, or use GRUCell",
    "aten::div.out": "has spectral_norm in training mode, which writes in place: call eval() on it",
    "_transformer_encoder_layer_fwd": "has a TransformerEncoderLayer in eval(): take dropout=0 and training mode",
}


def try_module(module: nn.Module, run: Run, x: Tensor) -> None:
    """InputError, with what to write in its place, for a module that does not do the same on the run axis as alone.

    run: R copies of it on the run axis. x: samples (n, *sample) that it is to see, of which the first few are taken.
    Neither the module nor torch's global random state is changed.
    """
    kind, alone = type(module).__name__, copy.deepcopy(module)
    with own_state():
        x = x[:SAMPLES].detach().clone()
        with torch.random.fork_rng(devices=[]):
            output, again = _alone(alone, x), _alone(alone, x)
        if changed := first_difference(alone, module):
            raise _refusal(
                kind, f"changes while it is called ({changed}), which its copies cannot: call eval() on that"
            )
        _check_output(kind, output, x)
        if not torch.equal(output, again):
            raise _refusal(kind, _RANDOM)
        named = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        _check_runs(kind, alone, run, {name: torch.stack([p, 1.1 * p]) for name, p in named.items()}, x)


def _alone(module: nn.Module, x: Tensor) -> Any:
    """What the module itself gives for x."""
    try:
        return module(x)
    except Exception as problem:  # of anybody's code
        shape = ", ".join(map(str, ["n", *x.shape[1:]]))
        raise _refusal(
            type(module).__name__, f"fails on samples ({shape}) of {x.dtype}: {problem_words(problem)}"
        ) from problem


def _check_output(kind: str, output: Any, x: Tensor) -> None:
    """InputError for what is no tensor of numbers with one row for each sample."""
    if not isinstance(output, Tensor):
        raise _refusal(kind, f"returns a {type(output).__name__}: it must return one tensor (n, ...) for n samples")
    if output.shape[:1] != x.shape[:1] or not output.is_floating_point():
        got = f"{tuple(output.shape)} {output.dtype} for {len(x)} samples"
        raise _refusal(kind, f"returns {got}: it must return real numbers, and the samples are their first axis")
    if not output.isfinite().all():
        raise _refusal(kind, "gives NaN or infinity at the start: scale its initial weights or the data down")
    if not output.requires_grad:
        raise _refusal(kind, "gives what does not depend on its weights: drop detach(), .data, no_grad() and argmax")


def _check_runs(kind: str, module: nn.Module, run: Run, rows: Mapping[str, Tensor], x: Tensor) -> None:
    """InputError unless two runs on the run axis give what each gives alone, and have a gradient."""
    leaves = {name: part.requires_grad_() for name, part in rows.items()}
    try:
        outputs = run(leaves, x)  # (2, n, *out)
        torch.autograd.grad(outputs.sum(), list(leaves.values()), allow_unused=True)
        run(leaves, torch.stack([x, x]))  # of x, too, each run has its own
    except Exception as problem:  # of vmap, on anybody's code
        raise _refusal(kind, vmap_words(problem)) from problem
    for r, output in enumerate(outputs):
        expected = torch.func.functional_call(module, {name: part[r] for name, part in leaves.items()}, (x,))
        size = expected.abs().max().item()
        if not torch.allclose(output, expected, RTOL, ATOL + RTOL * size, equal_nan=True):
            raise _refusal(kind, "gives other numbers with a leading run axis than alone: copies of it cannot train so")


def vmap_words(problem: Exception) -> str:
    """Why vmap refuses a module, in our words."""
    said = str(problem)
    return next(
        (words for part, words in _WORDS.items() if part in said), f"cannot be vectorized: {problem_words(problem)}"
    )


def _refusal(kind: str, words: str) -> InputError:
    return InputError(f"module: {kind} {words.rstrip('.')}.", "module")
