import numpy as np

from dyntoolkit.probes.crossing_times import delay, first_above, first_below, first_step, first_value, value_at

STEPS = np.array([0, 1, 3, 10])
VALUES = np.array([[0.9, 0.2], [0.5, 0.2], [0.2, 0.2], [0.6, 0.3]])  # (T, R)


def test_the_first_recorded_step_strictly_beyond_a_level():
    np.testing.assert_array_equal(first_below(STEPS, VALUES, 0.5), [3, 0])
    np.testing.assert_array_equal(first_above(STEPS, VALUES, 0.25), [0, 10])
    np.testing.assert_array_equal(first_below(STEPS, VALUES, 0.2), [np.nan, np.nan])


def test_the_value_at_a_runs_own_time():
    np.testing.assert_array_equal(value_at(STEPS, VALUES, np.array([3.0, 10.0])), [0.2, 0.3])
    np.testing.assert_array_equal(value_at(STEPS, VALUES, np.array([np.nan, 0.0])), [np.nan, 0.2])


def test_a_delay_is_a_ratio_and_undefined_where_a_time_is():
    never = np.nan
    late, early = np.array([10.0, never, 3.0, 3.0]), np.array([4.0, 1.0, never, 0.0])
    np.testing.assert_array_equal(delay(late, early), [2.5, never, never, never])


def test_before_anything_is_recorded_there_is_no_time():
    assert np.isnan(first_above(np.empty(0), np.empty((0, 2)), 0.5)).tolist() == [True, True]


def test_the_first_time_of_any_event_and_another_quantity_then():
    reached = np.array([[False, False], [False, False], [True, False], [True, False]])
    np.testing.assert_array_equal(first_step(STEPS, reached), [3, np.nan])
    np.testing.assert_array_equal(first_value(VALUES, reached), [0.2, np.nan])
