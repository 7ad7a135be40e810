"""A recorded step repeated in torch, operator by operator: the same bits as eager, without autograd and its Python."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from dyntoolkit.engine.record import Line, Place, Recording

Tensor = torch.Tensor


def replay(recording: Recording, device: str = "cpu") -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """The function: leaves of the state and parts of the batch -> leaves of the next state, all on `device`.

    The lines become the text of a Python function, as those of a dataclass do: to walk through them anew in every step
    would take longer than the operators of a small network.
    """
    once, every = recording.once_and_every
    scope: dict[str, Any] = {"torch": torch, "inf": math.inf, "nan": math.nan}
    scope |= {f"v{at}": tensor.to(device) for at, tensor in recording.held.items()}
    scope |= {f"op{id(line)}": _function(line) for line in recording.lines}
    head = f"def step({', '.join(f'v{at}' for at in recording.inputs)}):"
    body = [f"    {_text(line, device)}" for line in every]
    end = f"    return [{', '.join(f'v{at}' for at in recording.outputs)}]"
    with torch.no_grad():
        exec("\n".join([*(_text(line, device) for line in once), head, *body, end]), scope)
    step: Callable[..., list[Tensor]] = scope["step"]

    def repeat(values: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return step(*values)

    return repeat


_NAMES_ONLY = {torch.ops.aten.detach.default, torch.ops.aten.alias.default, torch.ops.aten.lift_fresh.default}
_VIEWS = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}


def _function(line: Line) -> Callable[..., Any]:
    """What does a line: torch's own function or method of that name, called at half the cost of an operator."""
    if line.operator in _VIEWS:  # which of them can be had without copying may differ from step to step
        return torch.reshape
    name = line.operator.overloadpacket.__name__
    for place in (torch, Tensor):
        function = getattr(place, name, None)
        if inspect.isbuiltin(function) or inspect.ismethoddescriptor(function):  # the others are written in Python
            return cast(Callable[..., Any], function)
    return line.operator


def _text(line: Line, device: str) -> str:
    """A line as a statement of Python."""
    if line.operator in _NAMES_ONLY:
        return f"v{line.places[0]} = {_argument(line.args[0])}"
    keywords = dict(line.keywords)
    if device != "cpu" and any(argument.name == "device" for argument in line.operator._schema.arguments):
        keywords["device"] = device
    given = [*map(_argument, line.args), *(f"{name}={_argument(value)}" for name, value in keywords.items())]
    targets = ["_" if at is None else f"v{at}" for at in line.places]
    return f"{', '.join(targets)}{',' if line.several else ''} = op{id(line)}({', '.join(given)})"


def _argument(value: Any) -> str:
    if isinstance(value, Place):
        return f"v{value.at}"
    if isinstance(value, list):
        return f"[{', '.join(map(_argument, value))}]"
    return repr(value)
