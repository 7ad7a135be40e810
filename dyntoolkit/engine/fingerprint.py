"""What a function can reach, in short: two fingerprints differ if a number or tensor that it may read has changed."""

import functools
import itertools
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

MOST = 1000  # items of a container that are looked at
DEPTH = 8  # of the things that things hold
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_DATA = (list, tuple, dict, set, torch.Tensor, np.ndarray)


def fingerprint(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Numbers, containers, tensors and objects in closures, defaults, `self` and the globals that the code names.

    Of tensors it takes what they are and how often they were written to. Not seen are numbers written into an array's
    memory behind torch's back, files and clocks.
    """
    return tuple(_walk(function, DEPTH, set()))


def _walk(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    if isinstance(value, _PLAIN):
        yield value
        return
    yield id(value)
    if id(value) in seen or depth == 0:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value.data_ptr()
        yield None if value.is_inference() else value._version
    elif isinstance(value, np.ndarray):
        yield value.tobytes() if value.nbytes < 100 * MOST and value.dtype != object else value.shape
    elif isinstance(value, itertools.count):
        yield repr(value)
    elif isinstance(value, np.random.Generator):
        yield repr(value.bit_generator.state)
    elif isinstance(value, random.Random):
        yield hash(value.getstate())
    elif isinstance(value, types.GeneratorType):
        yield None if value.gi_frame is None else value.gi_frame.f_lasti
    else:
        for each in _parts(value):
            yield from _walk(each, depth - 1, seen)


def _parts(value: Any) -> Iterator[Any]:
    """What a container, function or object holds."""
    if isinstance(value, list | tuple | set | frozenset):
        yield len(value)
        yield from itertools.islice(value, MOST)
    elif isinstance(value, dict):
        yield len(value)
        yield from itertools.chain.from_iterable(itertools.islice(value.items(), MOST))
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif not isinstance(value, types.ModuleType | type | types.BuiltinFunctionType):
        yield getattr(value, "__dict__", None)
        for name in ("__call__", "forward"):
            code = getattr(type(value), name, None)
            yield code if isinstance(code, types.FunctionType) else None


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    """Its defaults, its closure, and data and functions of its own module that it or code within it names."""
    yield function.__defaults__
    yield function.__kwdefaults__
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        own = isinstance(value, types.FunctionType) and value.__module__ == function.__module__
        if own or isinstance(value, _PLAIN + _DATA):
            yield value
        elif value is random:
            yield hash(random.getstate())
        elif value is np:
            yield repr(np.random.get_state(legacy=False))


def _names(code: types.CodeType) -> set[str]:
    """The names that code reads, and code that is defined within it."""
    inner = (_names(each) for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*inner)
