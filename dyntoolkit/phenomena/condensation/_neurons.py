"""The neurons of a two-layer network on one input as points: the orientation of their weights, and their amplitude."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import Array
from dyntoolkit.figure.panels import Axis, Line, Panel

AMPLITUDE = Axis("|a||w| / largest", range=(-0.02, 1.05))


def of_largest(amplitude: Array) -> Array:
    """Amplitudes (m,) over the largest one; NaN where that is 0, or infinite as in a run that is about to diverge."""
    most = amplitude.max(initial=0)
    return amplitude / (most if 0 < most < np.inf else np.nan)


def neurons_panel(lines: Sequence[Line]) -> Panel:
    """Neurons by orientation, in degrees from -180 to 180, and amplitude over the largest one."""
    return Panel("Neurons", Axis("orientation of (w, b) in degrees", range=(-185, 185)), AMPLITUDE, [*lines])
