"""A dimension of a grid as it stands on a command line."""

from typing import Any

import numpy as np

from dyntoolkit.errors import InputError, as_number, unknown, whole_number
from dyntoolkit.experiment import Config

MOST = 100_000  # values of a dimension
FORM = "takes values such as 0.9,0.99 or a range LOW:HIGH:COUNT, such as 0:1:5 or, logarithmic, 0.001:0.1:log8"


def grid_axis(text: str, config: type[Config]) -> tuple[str, list[Any]]:
    """The field and its values. Of a field that takes whole numbers, those of a range are rounded, each once.

    Raises InputError for a field that there is not, and a range that is empty, reversed or no range.
    """
    name, sign, values = text.partition("=")
    if not sign:
        raise InputError(f"--grid takes FIELD=VALUES, got {text!r}.", "grid")
    if name not in config.sliders():
        raise unknown("field", name, config.sliders())
    listed = [value.strip() for value in values.split(",")]
    if ":" in values:
        return name, _range(name, values, whole=isinstance(getattr(config(), name), int))
    if not all(listed):
        raise InputError(f"--grid {name} {FORM}; got {values!r}.", name)
    return name, listed


def _range(name: str, text: str, *, whole: bool) -> list[Any]:
    parts = text.split(":")
    low, high = (as_number(part) for part in (*parts, "", "")[:2])
    count = parts[-1].removeprefix("log")
    if len(parts) != 3 or low is None or high is None or as_number(count) is None:
        raise InputError(f"--grid {name} {FORM}; got {text!r}.", name)
    if not low < high:
        raise InputError(f"--grid {name}: a range ascends, got {text!r}.", name)
    logarithmic = parts[2] != count
    if logarithmic and low <= 0:
        raise InputError(f"--grid {name}: a logarithmic range begins above 0, got {text!r}.", name)
    number = whole_number(f"--grid {name}: a range", count, 2, MOST)
    values = (np.geomspace if logarithmic else np.linspace)(low, high, number)
    return [int(value) for value in np.unique(values.round())] if whole else [float(value) for value in values]
