"""Values of a setting around the present one."""

from typing import Any

import numpy as np

from dyntoolkit.experiment.config import Config, Slider, doublings

DECADES = 1.0  # to either side on a logarithmic slider
SHARE = 0.5  # of a linear slider's range, to either side
LEAST = 1e-3  # where the values of a logarithmic slider go on after 0, as a share of its end


def around(config: Config, field: str, count: int) -> list[Any]:
    """About `count` values of a number field, ascending, the present one among them, spaced as its slider is.

    They are fewer where there are not so many whole numbers.

    >>> from dyntoolkit.experiment.config import number
    >>> class Descent(Config):
    ...     lr: float = number(0.1, 0.001, 1.0, log=True)
    >>> around(Descent(), "lr", 5)
    [0.01, 0.0316, 0.1, 0.316, 1.0]
    """
    slider, value = config.sliders()[field], getattr(config, field)
    if slider.doubling:
        all_values = doublings(slider)
        place = all_values.index(value)
        first = min(max(0, place - count // 2), max(0, len(all_values) - count))
        return all_values[first : first + count]
    values = [float(f"{each:.3g}") for each in _spaced(slider, value, count)]
    if slider.near_one:
        values = [1 - float(f"{1 - each:.2g}") for each in _spaced(slider, value, count)]
    nearest = min(range(len(values)), key=lambda k: abs(values[k] - value))
    values[nearest] = value
    inside = [min(max(each, slider.low), slider.high) for each in values]
    kind = round if isinstance(value, int) else float
    return sorted({kind(each) for each in inside})


def _spaced(slider: Slider, value: float, count: int) -> Any:
    if slider.log and value == 0:
        return [0.0, *np.geomspace(slider.high * LEAST, slider.high, count - 1)]
    if slider.log:
        reach = 10.0**DECADES
        return np.geomspace(max(slider.low, value / reach), min(slider.high, value * reach), count)
    if slider.near_one:
        reach, rest = 10.0**DECADES, 1 - value
        return 1 - np.geomspace(min(1 - slider.low, rest * reach), max(1 - slider.high, rest / reach), count)
    reach = SHARE * (slider.high - slider.low)
    return np.linspace(max(slider.low, value - reach), min(slider.high, value + reach), count)
