"""Settings of an experiment: a frozen dataclass whose fields carry their slider and refuse what lies outside it."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dyntoolkit.errors import InputError, unknown


@dataclass(frozen=True)
class Control:
    """How one field is shown and what it accepts.

    low, high: the closed range of a number (unused for switches and choices).
    log: the slider is logarithmic; `low` may be 0 for whole numbers ("log, 0 allowed").
    near_one: the slider is logarithmic in 1 - value, for memories such as beta2.
    main: shown in sight; the others are under "More settings".
    structural: runs that share one training loop must agree on it (sizes, step counts, choices of data).
    """

    label: str
    help: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    near_one: bool = False
    unit: str = ""
    options: tuple[str, ...] = ()
    main: bool = False
    structural: bool = False


def number(
    default: float,
    low: float,
    high: float,
    *,
    label: str,
    help: str,
    log: bool = False,
    near_one: bool = False,
    unit: str = "",
    main: bool = False,
    structural: bool = False,
) -> Any:
    """A number field in [low, high]; whole numbers only where `default` is an int."""
    control = Control(label, help, low, high, log, near_one, unit, main=main, structural=structural)
    return dataclasses.field(default=default, metadata={"control": control})


def choice(default: str, options: Sequence[str], *, label: str, help: str, main: bool = False) -> Any:
    """A field that takes one of a few words; always structural."""
    control = Control(label, help, options=tuple(options), main=main, structural=True)
    return dataclasses.field(default=default, metadata={"control": control})


def switch(default: bool, *, label: str, help: str, main: bool = False, structural: bool = True) -> Any:
    """A yes/no field."""
    control = Control(label, help, main=main, structural=structural)
    return dataclasses.field(default=default, metadata={"control": control})


@dataclass(frozen=True)
class Config:
    """Base of every experiment's settings. Each field is checked on every way in.

    Raises InputError naming the field, the value and what is allowed.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Rules between fields; an experiment overrides it and raises InputError."""

    def warnings(self) -> list[str]:
        """Sentences about settings that run but mislead; an experiment overrides it."""
        return []

    def replace(self, **changes: Any) -> Self:
        """The same settings with some fields changed; unknown names raise InputError."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise unknown("field", name, known)
        return dataclasses.replace(self, **changes)

    def asdict(self) -> dict[str, Any]:
        """Field name -> plain value."""
        return dataclasses.asdict(self)

    @classmethod
    def controls(cls) -> dict[str, Control]:
        """Field name -> its Control, in order."""
        return {field.name: field.metadata["control"] for field in dataclasses.fields(cls)}

    @classmethod
    def parse(cls, name: str, text: str) -> Any:
        """The value of field `name` written as text (command line, link); InputError where it is not of its kind."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if name not in fields:
            raise unknown("field", name, fields)
        default = fields[name].default
        if isinstance(default, bool):
            words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
            if text.strip().lower() not in words:
                raise InputError(f"{name} takes true or false, got {text!r}.", name)
            return words[text.strip().lower()]
        if isinstance(default, str):
            return text.strip()
        try:
            return float(text)
        except ValueError:
            raise InputError(f"{name} takes {_allowed(fields[name])}, got {text!r}.", name) from None


def _allowed(field: "dataclasses.Field[Any]") -> str:
    control: Control = field.metadata["control"]
    kind = "a whole number" if isinstance(field.default, int) else "a number"
    return f"{kind} from {control.low:g} to {control.high:g}"


def _checked(field: "dataclasses.Field[Any]", value: Any) -> Any:
    """`value` as the field's own type, or InputError."""
    name, default = field.name, field.default
    control: Control = field.metadata["control"]
    if isinstance(default, bool):
        if not (isinstance(value, numbers.Real | np.bool_) and value in (0, 1)):
            raise InputError(f"{name} takes true or false, got {value!r}.", name)
        return bool(value)
    if isinstance(default, str):
        if not isinstance(value, str) or value not in control.options:
            raise InputError(f"{name} takes one of {', '.join(control.options)}; got {value!r}.", name)
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{name} takes {_allowed(field)}, got {value!r}.", name)
    try:
        value = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        value = math.inf
    whole = isinstance(default, int)
    slack = 1e-9 * max(abs(control.low), abs(control.high))  # a slider's end may be off by rounding
    inside = control.low - slack <= value <= control.high + slack
    if not inside or (whole and value != round(value)):
        raise InputError(f"{name} takes {_allowed(field)}, got {value:.12g}.", name)
    return round(value) if whole else min(max(value, control.low), control.high)
