"""Settings of an experiment: a frozen dataclass whose fields carry their slider and refuse what lies outside it."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, dataclass_transform

import numpy as np

from dyntoolkit.errors import InputError, as_number, unknown

TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
RUN_NAMES = (
    "preset",
    "seed",
    "n_seeds",
    "seeds",
    "step",
    "metric",
    "experiment",
)  # what a run is asked for beside its settings


@dataclass(frozen=True)
class Slider:
    """How one field is shown and what it accepts.

    label: its name on the screen (default: the field's own). help: one line on what it does.
    low, high: the closed range of a number (unused for switches and choices).
    log: the slider is logarithmic; `low` may be 0: then come 0 and, for fractions, the six decades below `high`.
    near_one: the slider is logarithmic in 1 - value, for memories such as beta2.
    doubling: whole numbers low, 2 low, 4 low, ... up to high only; logarithmic, too.
    main: shown in sight; the others are under "More settings".
    structural: runs that share one training loop must agree on it (sizes, step counts, choices of data).
    live: what is watched, not trained: it may change in the middle of a run. Such a field is not structural.
    """

    label: str = ""
    help: str = ""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    near_one: bool = False
    doubling: bool = False
    unit: str = ""
    options: tuple[str, ...] = ()
    main: bool = False
    structural: bool = False
    live: bool = False

    @property
    def title(self) -> str:
        """Its label with its unit, if it has one."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def number(
    default: float,
    low: float,
    high: float,
    *,
    label: str = "",
    help: str = "",
    log: bool = False,
    near_one: bool = False,
    doubling: bool = False,
    unit: str = "",
    main: bool = False,
    structural: bool = False,
    live: bool = False,
) -> Any:
    """A number field in [low, high]; whole numbers only where `default` is an int. See `Slider` for the rest.

    >>> class Descent(Config):
    ...     lr: float = number(0.1, 0.01, 1.0, log=True, main=True)
    >>> Descent(lr=0.5).lr
    0.5
    """
    given: Any = default  # of anybody's code
    if as_number(given) is None or isinstance(given, str):
        raise InputError(f"number takes a number as its default, got {default!r}.", "default")
    structural = structural and not live
    log = log or doubling
    slider = Slider(label, help, low, high, log, near_one, doubling, unit, (), main, structural, live)
    return dataclasses.field(default=default, metadata={"slider": slider})


def choice(
    default: str, options: Sequence[str], *, label: str = "", help: str = "", main: bool = False, live: bool = False
) -> Any:
    """A field that takes one of a few words; structural, unless it is live.

    >>> class Descent(Config):
    ...     rule: str = choice("sgd", ["sgd", "adam"])
    >>> Descent(rule="adam").rule
    'adam'
    """
    slider = Slider(label, help, options=tuple(options), main=main, structural=not live, live=live)
    return dataclasses.field(default=default, metadata={"slider": slider})


def switch(
    default: bool, *, label: str = "", help: str = "", main: bool = False, structural: bool = True, live: bool = False
) -> Any:
    """A yes/no field; structural, unless said otherwise or live.

    >>> class Descent(Config):
    ...     momentum: bool = switch(False)
    >>> Descent(momentum=True).momentum
    True
    """
    slider = Slider(label, help, main=main, structural=structural and not live, live=live)
    return dataclasses.field(default=default, metadata={"slider": slider})


@dataclass_transform(frozen_default=True)  # without field specifiers: a checker takes what follows "=" for a default
class _Fields:
    """Makes each subclass a frozen dataclass as soon as it is written."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, annotation in inspect.get_annotations(cls).items():
            field = cls.__dict__.get(name)
            if annotation in (float, "float") and isinstance(field, dataclasses.Field) and type(field.default) is int:
                field.default = float(field.default)  # `lr: float = number(1, 0, 10)` takes fractions
        dataclass(frozen=True)(cls)
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # it is one now
            _check_description(cls, field)


class Config(_Fields):
    """Base of every experiment's settings; a subclass is a frozen dataclass by itself.

    Each field is checked on every way in: constructor, preset, notebook, link, command line. A number may also come
    as text or from numpy. Raises InputError naming the field, the value and what is allowed; and, when a subclass is
    written, for a field that is not described by `number`, `choice` or `switch`.

    >>> class Descent(Config):
    ...     lr: float = number(0.1, 0.01, 1.0, log=True, main=True)
    >>> Descent().replace(lr="0.2")
    Descent(lr=0.2)
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
        known = self.sliders()
        for name in changes:
            if name not in known:
                raise unknown("field", name, known)
        return dataclasses.replace(self, **changes)

    def asdict(self) -> dict[str, Any]:
        """Field name -> plain value."""
        return dataclasses.asdict(self)

    @classmethod
    def sliders(cls) -> dict[str, Slider]:
        """Field name -> its Slider, in order."""
        named = {field.name: field.metadata["slider"] for field in dataclasses.fields(cls)}
        return {
            name: dataclasses.replace(slider, label=slider.label or name.replace("_", " "))
            for name, slider in named.items()
        }


def carry_over(values: Mapping[str, Any], to: Config) -> Config:
    """The settings `to` with those of the values that they have a field for and take."""
    known = {name: values[name] for name in to.sliders() if name in values}
    with suppress(InputError):
        return to.replace(**known)  # one by one, rules between fields may refuse what goes together
    for name, value in known.items():
        with suppress(InputError):
            to = to.replace(**{name: value})
    return to


def value_words(value: Any) -> str:
    """The value of a setting in words, as its slider shows it; a switch is "yes" or "no".

    >>> [value_words(value) for value in (0.1, 20000, True, "adam")]
    ['0.1', '20000', 'yes', 'adam']
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def watched(before: Config, after: Config) -> dict[str, Any]:
    """The live fields of `after`, name -> value, if it differs from `before` in nothing else; {} if in more."""
    live = {name: getattr(after, name) for name, slider in after.sliders().items() if slider.live}
    return live if type(before) is type(after) and before.asdict() | live == after.asdict() else {}


def _check_description(cls: type, field: "dataclasses.Field[Any]") -> None:
    """InputError, while the class is written, for a field that no slider could show."""
    name, where = field.name, f"{cls.__name__}.{field.name}"
    slider = field.metadata.get("slider")
    if slider is None:
        raise InputError(f"{where} has no slider: write it as number(...), choice(...) or switch(...).", name)
    if name in RUN_NAMES or name.startswith("_") or hasattr(Config, name):
        raise InputError(f"{where}: a field cannot be called {name!r}, which has a meaning of its own.", name)
    if not isinstance(field.default, str | bool):
        if not slider.low < slider.high:
            raise InputError(f"{where}: its range must ascend, got {slider.low:g} to {slider.high:g}.", name)
        if slider.log and slider.low < 0:
            raise InputError(f"{where}: a logarithmic slider begins at 0 or above, got {slider.low:g}.", name)
        if slider.doubling and not (isinstance(field.default, int) and slider.low >= 1):
            raise InputError(f"{where}: a slider that doubles holds whole numbers from 1 on.", name)
        if slider.near_one and not slider.high < 1:
            raise InputError(f"{where}: a slider that is logarithmic near 1 ends below 1, got {slider.high:g}.", name)
    try:
        _checked(field, field.default)
    except InputError as refusal:
        raise InputError(f"{where}: its default is refused: {refusal}", name) from None


def _allowed(field: "dataclasses.Field[Any]") -> str:
    """What a number field takes, in words."""
    slider: Slider = field.metadata["slider"]
    kind = "a whole number" if isinstance(field.default, int) else "a number"
    if slider.doubling:
        return f"one of {', '.join(f'{value:g}' for value in doublings(slider))}"
    return f"{kind} from {slider.low:g} to {slider.high:g}"


def doublings(slider: Slider) -> list[int]:
    """The values of a slider that doubles: low, 2 low, 4 low, ... up to high."""
    values = [int(slider.low)]
    while 2 * values[-1] <= slider.high:
        values.append(2 * values[-1])
    return values


def _checked(field: "dataclasses.Field[Any]", value: Any) -> Any:
    """`value` as the field's own type, or InputError."""
    name, default = field.name, field.default
    slider: Slider = field.metadata["slider"]
    if isinstance(default, bool):
        return _truth(name, value)
    if isinstance(default, str):
        if not isinstance(value, str) or value.strip() not in slider.options:
            raise InputError(f"{name} takes one of {', '.join(slider.options)}; got {value!r}.", name)
        return value.strip()
    found = as_number(value)
    if found is None:
        raise InputError(f"{name} takes {_allowed(field)}, got {value!r}.", name)
    whole = isinstance(default, int)
    slack = 1e-9 * max(abs(slider.low), abs(slider.high))  # a slider's end may be off by rounding
    inside = slider.low - slack <= found <= slider.high + slack
    between = slider.doubling and found not in doublings(slider)
    if not inside or (whole and found != round(found)) or between:
        raise InputError(f"{name} takes {_allowed(field)}, got {_short(found)}.", name)
    return round(found) if whole else min(max(float(found), slider.low), slider.high)


def _truth(name: str, value: Any) -> bool:
    """True or False, also as 1 or 0, from numpy, or as a word."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in TRUTH:
        return TRUTH[value.strip().lower()]
    found = as_number(value)
    if found not in (0, 1):
        raise InputError(f"{name} takes true or false, got {value!r}.", name)
    return bool(found)


def _short(value: float) -> str:
    """A number in an error, also one of hundreds of digits."""
    try:
        return f"{value:.12g}"
    except OverflowError:
        return "-inf" if value < 0 else "inf"
