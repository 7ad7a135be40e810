"""What a torch.nn.Module is made of, apart from the numbers that it trains."""

import functools
import math
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import type_before_parametrizations

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_NOTHING = object()


def first_difference(module: nn.Module, other: nn.Module, constants: bool = True) -> str:
    """Where two modules first differ but for the numbers that they train, in words; "" for modules of one make.

    Compared are, for each submodule in order: its class, whether it trains or evaluates, each parameter's shape, dtype,
    whether it is trained and with which other one it is tied, its other attributes (sizes, functions, lists of
    anything), its hooks, and, if `constants`, the numbers of buffers and of parameters that are not trained.

    >>> first_difference(nn.Linear(2, 1), nn.Linear(3, 1))
    'its weight is (1, 2) torch.float32, trained, and not (1, 3) torch.float32, trained'
    """
    ours, theirs = dict(_facts(module, constants)), dict(_facts(other, constants))
    named = dict(other.named_parameters())
    seen = {(id(p), id(named[name])): (p, named[name]) for name, p in module.named_parameters() if name in named}
    for what in [*ours, *(what for what in theirs if what not in ours)]:
        here, there = ours.get(what, _NOTHING), theirs.get(what, _NOTHING)
        if not _same(here, there, seen):
            return f"its {what} {_unlike(here, there)}"
    return ""


def _facts(module: nn.Module, constants: bool) -> Iterator[tuple[str, Any]]:
    """What is the case -> where it is, of all submodules, in order."""
    first: dict[int, str] = {}  # id of a parameter -> the name by which it was met first
    for path, part in module.named_modules(remove_duplicate=False):
        inside, dot = (f" of {path!r}", f"{path}.") if path else ("", "")
        yield f"class{inside}", type_before_parametrizations(part)
        yield f"training mode{inside}", part.training
        for name, value in part._parameters.items():
            yield f"{name}{inside}", None if value is None else _look(value)
            if value is not None:
                yield f"tie of {name}{inside}", first.setdefault(id(value), f"{dot}{name}")
                if constants and not value.requires_grad:
                    yield f"frozen {name}{inside}", value.detach()
        for name, buffer in part._buffers.items():
            yield f"buffer {name}{inside}", buffer if constants or buffer is None else _look(buffer)
        for name, value in vars(part).items():
            if name not in _OF_EVERY_MODULE:
                yield f"{name}{inside}", value
        for name in _HOOKS:
            yield f"{name.strip('_').replace('_', ' ')}{inside}", list(getattr(part, name).values())


def _look(tensor: torch.Tensor) -> str:
    if is_lazy(tensor):
        return "not made yet"
    trained = "trained" if tensor.requires_grad else "not trained"
    return f"{tuple(tensor.shape)} {tensor.dtype}, {trained}"


def _same(a: Any, b: Any, seen: dict[tuple[int, int], Any]) -> bool:
    """Whether two things that modules hold are alike; things of which nothing is known are, if of one class.

    seen: pairs that need no second look, by their ids.
    """
    if a is b or (id(a), id(b)) in seen:
        return True
    if not _same_class(type(a), type(b)):
        return False
    if isinstance(a, _PLAIN):
        return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
    seen[id(a), id(b)] = a, b  # held, so that no id is given twice
    if isinstance(a, torch.Tensor):
        return _look(a) == _look(b) and torch.allclose(a, b, rtol=0, atol=0, equal_nan=a.is_floating_point())
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, nn.Module):  # one that is hidden in a list, say: nothing of it is trained
        return not first_difference(a, b) and _same(dict(a.named_parameters()), dict(b.named_parameters()), seen)
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key], seen) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(x, y, seen) for x, y in zip(a, b, strict=True))
    if isinstance(a, types.FunctionType):
        return a.__code__ == b.__code__ and _same(_bound(a), _bound(b), seen)
    if isinstance(a, types.MethodType):
        return _same((a.__func__, a.__self__), (b.__func__, b.__self__), seen)
    if isinstance(a, functools.partial):
        return _same((a.func, a.args, a.keywords), (b.func, b.args, b.keywords), seen)
    if isinstance(a, type):
        return _same_class(a, b)
    if isinstance(a, types.ModuleType | types.BuiltinFunctionType | set | frozenset):
        return bool(a == b)
    return _same(getattr(a, "__dict__", None), getattr(b, "__dict__", None), seen)


def _same_class(a: type, b: type) -> bool:
    """Whether they are one class, or made by the same lines, which a function has run twice."""
    if a is b:
        return True
    codes = [{name: f.__code__ for name, f in vars(c).items() if isinstance(f, types.FunctionType)} for c in (a, b)]
    return (a.__module__, a.__qualname__, codes[0]) == (b.__module__, b.__qualname__, codes[1])


def _bound(function: types.FunctionType) -> tuple[Any, ...]:
    """What a function was given when it was written: defaults and the variables around it."""
    around = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    return function.__defaults__, function.__kwdefaults__, around


def _unlike(here: Any, there: Any) -> str:
    """What a module has, and what the other one has in its place."""
    if there is _NOTHING:
        return "is there, and not in the other"
    if here is _NOTHING:
        return "is missing"
    if isinstance(here, torch.Tensor) and isinstance(there, torch.Tensor):
        return "has other numbers" if _look(here) == _look(there) else f"is {_look(here)}, and not {_look(there)}"
    said, other = _short(here), _short(there)
    return f"is {said}, and not {other}" if said != other else f"is another {said}"


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _look(value)
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return value.__name__
    if isinstance(value, str):
        return value
    text = repr(value)
    return text if len(text) <= 60 else type(value).__name__
