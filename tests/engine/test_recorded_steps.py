"""Which steps are recorded: `evenly` and `geometrically` of loop.py."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.engine.loop import evenly, geometrically


@given(st.integers(0, 3000), st.integers(2, 60), st.lists(st.integers(-5, 3005), max_size=3))
def test_recorded_steps_are_even_increasing_and_inside(steps, frames, extra):
    record = evenly(steps, frames, *extra)
    assert record[0] == 0
    assert record[-1] == steps
    assert list(record) == sorted(set(record))
    assert set(record) >= {k for k in extra if 0 <= k <= steps}
    if not extra:
        assert len(record) == min(frames, steps + 1)
        assert max(np.diff(record), default=0) - min(np.diff(record), default=0) <= 1


@given(steps=st.integers(1, 20_000), frames=st.integers(2, 120))
def test_geometric_record_starts_at_zero_ends_at_the_last_step_and_grows_by_a_constant_factor(steps, frames):
    record = geometrically(steps, frames)
    assert record[:2] == (0, 1)
    assert record[-1] == steps
    assert list(record) == sorted(set(record))
    factor = steps ** (1 / (frames - 1))
    assert all(b <= factor * (a + 0.5) + 0.5 for a, b in itertools.pairwise(record[1:]))
