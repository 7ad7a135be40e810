"""Spikes and alarms on curves whose answer is known, and against the recipe's sentences spelled out."""

import numpy as np
import pytest

from dyntoolkit.phenomena.loss_spikes import _spikes as spikes
from dyntoolkit.phenomena.loss_spikes._spikes import THREE, Spike


def curve(length=1500, **jumps):
    """A loss that falls slowly, with a triangle of some decades at step name[1:]."""
    logs = -np.arange(length) * 1e-4
    for name, decades in jumps.items():
        top = int(name[1:])
        logs[top - 10 : top + 11] += decades * (1 - np.abs(np.arange(-10, 11)) / 10)
    return 10**logs


def test_excess_is_measured_from_the_lower_median_of_the_hundred_before():
    rng = np.random.default_rng(0)
    loss = np.exp(rng.standard_normal(400))
    naive = [0.0] * 100 + [np.log10(loss[i]) - sorted(np.log10(loss[i - 100 : i]))[49] for i in range(100, 400)]
    np.testing.assert_allclose(spikes.excess(loss), naive)
    assert not spikes.excess(loss[:60]).any()


def test_nothing_looks_ahead():
    rng = np.random.default_rng(1)
    loss, curvature = np.exp(rng.standard_normal(500)), rng.random(500)
    np.testing.assert_array_equal(spikes.excess(loss)[:300], spikes.excess(loss[:300]))
    np.testing.assert_array_equal(spikes.alarm_state(curvature, 3.0)[:300], spikes.alarm_state(curvature[:300], 3.0))


def test_a_spike_has_its_peak_height_and_onset():
    (spike,) = spikes.find_spikes(curve(p700=2.0))
    assert spike.peak == 700
    assert spike.height == pytest.approx(2.0, abs=0.02)
    assert spike.onset == 690


def test_small_early_and_neighbouring_spikes():
    assert not spikes.find_spikes(curve(p700=0.7))
    assert len(spikes.find_spikes(curve(p700=0.7), THREE)) == 1
    assert not spikes.find_spikes(curve(p200=2.0))
    assert len(spikes.find_spikes(curve(p200=2.0), skip=150)) == 1
    assert len(spikes.find_spikes(curve(p700=2.0, p740=2.0))) == 1
    assert len(spikes.find_spikes(curve(p700=2.0, p790=2.0))) == 2


def test_an_underflowing_loss_has_a_logarithm():
    assert np.isfinite(spikes.excess(np.zeros(300))).all()


def test_an_alarm_needs_three_steps_above_the_limit():
    over = np.array([0, 1, 1, 0, 1, 1, 1, 1, 0], dtype=float)
    assert spikes.alarm_state(5 * over, lr=0.5).tolist() == [False] * 6 + [True, True, False]
    assert not spikes.alarm_state(3.9 * over, lr=0.5).any()


def test_alarms_up_to_twenty_steps_apart_are_one_group():
    state = np.zeros(600, dtype=bool)
    state[[250, 400, 401, 420, 441, 500]] = True
    assert spikes.alarm_groups(state) == [(400, 420), (441, 441), (500, 500)]


def test_shares_and_leads():
    state = np.zeros(1100, dtype=bool)
    state[[675, 1000]] = True
    found = [Spike(690, 700, 2.0), Spike(790, 800, 2.0)]
    assert spikes.recall(found, state) == 0.5
    assert np.isnan(spikes.recall([], state))
    assert spikes.chance(state) == pytest.approx(5 / 15)  # 1000, 1007, ..., 1028 of 1000, ..., 1098
    groups = spikes.alarm_groups(state)
    assert spikes.leads(found, groups).tolist() == [[25.0, 15.0]]
    above = np.zeros(1100)
    above[704] = 1.5
    assert spikes.precision(groups, above, 1.0) == 0.5
    above[[704, 705]] = 0, 1.5  # one step too late
    assert spikes.precision(groups, above, 1.0) == 0.0


def test_rise_above_the_limit_and_below():
    loss = np.concatenate([np.linspace(1, 2, 400), np.linspace(2, 1, 400)])
    curvature = np.concatenate([np.full(400, 5.0), np.full(400, 3.0)])
    rise, below = spikes.rises(loss, curvature, 0.5)
    assert rise > 0.95
    assert below < 0.02
    assert np.isnan(spikes.rises(loss, curvature, 0.1)[0])


def test_the_stages_of_a_spike_follow_one_another_from_its_alarm_on():
    t = np.arange(1200)
    loss = 10.0 ** -np.minimum(t / 200, 4)
    loss[800:830] *= 10 ** np.linspace(0, 2, 30)  # up from index 800 on, down again by 900
    loss[830:900] *= 10 ** np.linspace(2, -0.1, 70)
    root = 0.99**t
    root[815:840] = root[815] * np.linspace(1, 3, 25)
    root[840:] = root[839] * 0.99 ** np.arange(len(t) - 840)
    found = spikes.stages(loss, root, spikes.find_spikes(loss), [(801, 825)])
    assert {name: len(pairs) for name, pairs in found.items()} == {"onset": 1, "growth": 1, "recovery": 1}
    assert found["onset"].tolist() == [[801, 815]]
    assert found["growth"].tolist() == [[815, 839]]
    ((start, end),) = found["recovery"].tolist()
    assert start == 839
    assert spikes.excess(loss)[int(end)] <= 0 < spikes.excess(loss)[int(end) - 1]


def test_a_spike_without_an_alarm_and_no_spike_at_all_have_no_stages():
    loss = np.ones(1000)
    assert all(len(pairs) == 0 for pairs in spikes.stages(loss, loss, [], [(400, 410)]).values())
    loss[500] = 100
    assert all(len(pairs) == 0 for pairs in spikes.stages(loss, loss, spikes.find_spikes(loss), []).values())
