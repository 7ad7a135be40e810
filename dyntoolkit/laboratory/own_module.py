"""Modules of a reader's own class: which of its arguments are settings, and how each run makes one from its seed."""

import copy
import dataclasses
import inspect
import math
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dyntoolkit.engine.module import Module
from dyntoolkit.errors import InputError, as_number, unknown
from dyntoolkit.experiment.config import number, switch

Tensor = torch.Tensor
Make = Callable[..., nn.Module]

WIDE = 20  # times the lower end of a range from which on its slider is logarithmic
NORMALIZATIONS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
_SEEDING = threading.RLock()  # held while the global random states are ours


@dataclass(frozen=True)
class OwnModule:
    """What makes a reader's module: a class, a function, or an instance, which is copied.

    arguments: field of the settings for each argument that is one, all of them structural.
    """

    make: Make | nn.Module
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called."""
        return _name(type(self.make) if isinstance(self.make, nn.Module) else self.make)

    def start(self, config: Any, seeds: Sequence[int], x: Tensor) -> tuple["Network", Tensor]:
        """The network of len(seeds) runs and their initial weights (R, P), as each module makes them from its seed.

        config: the settings of all runs. x: some samples (n, *sample). An instance is the same in all runs.
        """
        given = {name: getattr(config, name) for name in self.arguments}
        modules = [self.module(given, seed, x) for seed in seeds]
        return Network.of_runs(modules, x)

    def module(self, given: Mapping[str, Any], seed: int, x: Tensor) -> Any:
        """The module that one run makes, in float32 and on the CPU."""
        with seeded(seed):
            made: Any = copy.deepcopy(self.make) if isinstance(self.make, nn.Module) else self.make(**given)
            if not isinstance(made, nn.Module):
                got = type(made).__name__
                raise InputError(f"model: {self.name} must give a torch.nn.Module, and gives {got}.", "model")
            if any(map(is_lazy, made.parameters())):
                made(x[:2])
        return made.to("cpu", torch.float32)


class Network(Module):
    """A reader's module on the run axis; an output that is one number for each sample gets an axis of its own."""

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """The output (R, n, k) for theta (R, P) and x (n, *sample) or (R, n, *sample)."""
        output = super().__call__(theta, x)
        return output.unsqueeze(-1) if output.ndim == 2 else output

    def scalable(self) -> Tensor:
        """The weights that an initialization scale multiplies, (P,) bool: all but those of normalizations."""
        kept = {
            f"{path}.{name}".removeprefix(".")
            for path, part in self.module.named_modules()
            if isinstance(part, NORMALIZATIONS)
            for name, _ in part.named_parameters(recurse=False)
        }
        return torch.cat([torch.full((math.prod(shape),), name not in kept) for name, shape in self.shapes.items()])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What follows torch.manual_seed(seed), numpy.random.seed(seed) and random.seed(seed), in float32.

    All these global states are what they were afterwards.
    """
    with _SEEDING, torch.random.fork_rng(devices=[]):
        dtype, states = torch.get_default_dtype(), (np.random.get_state(), random.getstate())
        try:
            if dtype != torch.float32:
                torch.set_default_dtype(torch.float32)
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
        finally:
            if dtype != torch.float32:
                torch.set_default_dtype(dtype)
            np.random.set_state(states[0])
            random.setstate(states[1])


def own_module(model: Any, sliders: Mapping[str, Any] | None) -> OwnModule:
    """The module of a reader; InputError for a model that is none, or arguments that are left without a value.

    sliders: argument -> (low, high), or a `number`, `choice` or `switch`; others keep their default. None: all
    arguments whose default is a number or a truth value, in a range around it.
    """
    if isinstance(model, nn.Module):
        if sliders:
            raise InputError(
                "sliders: an instance takes no arguments any more; give its class, or a function.", "sliders"
            )
        return OwnModule(model, {})
    if not callable(model):
        raise InputError(
            f"model takes a torch.nn.Module, its class, or a function that makes one; got {model!r}.", "model"
        )
    found: dict[str, Any] = {}
    name = _name(model)
    by_position = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = {k: p for k, p in inspect.signature(model).parameters.items() if p.kind in by_position}
    for argument in sliders or {}:
        if argument not in parameters:
            raise unknown(f"argument of {name}", argument, parameters)
    for argument, parameter in parameters.items():
        default = None if parameter.default is parameter.empty else parameter.default
        field = _guessed(default) if sliders is None else _field(argument, default, sliders.get(argument))
        if field is not None:
            found[argument] = field
        elif parameter.default is parameter.empty:
            raise InputError(
                f"model: {name} needs a value for {argument!r}: give it a default or a slider, or write a function "
                "that gives it one.",
                "model",
            )
    return OwnModule(model, found)


def _name(make: Any) -> str:
    name = getattr(make, "__name__", type(make).__name__)
    return name if name.isidentifier() else "Network"  # of a lambda


def _field(argument: str, default: Any, asked: Any) -> Any:
    """The field of the settings for an argument, None where no slider is asked for."""
    if asked is None:
        return None
    if isinstance(asked, dataclasses.Field):
        slider = dataclasses.replace(asked.metadata["slider"], main=True, structural=True, live=False)
        return dataclasses.field(default=asked.default, metadata={"slider": slider})
    found = map(_plain_number, asked) if isinstance(asked, tuple | list) else ()
    ends = [end for end in found if end is not None]
    if len(ends) != 2:
        raise InputError(f"sliders takes {argument}=(low, high), or a dt.number; got {asked!r}.", "sliders")
    return _number(ends[0] if _plain_number(default) is None else default, *ends)


def _guessed(default: Any) -> Any:
    """The field for an argument with that default; None where it is no number."""
    if isinstance(default, bool):
        return switch(default, main=True)
    found = _plain_number(default)
    if found is None:
        return None
    if isinstance(found, int):
        return _number(found, min(1, 4 * found), max(4 * found, 8))
    return _number(found, *sorted((found / 10, 10 * found)) if found else (0.0, 1.0))


def _plain_number(value: Any) -> int | float | None:
    found = None if isinstance(value, str) else as_number(value)
    return found if found is not None and math.isfinite(found) else None


def _number(default: Any, low: float, high: float) -> Any:
    wide = low > 0 and high >= WIDE * low
    whole = all(isinstance(value, int) for value in (default, low, high))
    return number(default if whole else float(default), low, high, log=wide, main=True, structural=True)
