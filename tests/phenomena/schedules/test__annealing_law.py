"""The annealing law: both areas against their definitions, and its fit on losses that obey it."""

import numpy as np
import pytest

from dyntoolkit.phenomena.schedules import _annealing_law as law

LR = np.stack([np.full(60, 0.2), np.linspace(0.2, 0.02, 60), np.where(np.arange(60) < 30, 0.2, 0.06)])


def test_the_areas_are_their_sums():
    mu = np.zeros(60)
    for i in range(1, 60):
        mu[i] = 0.9 * mu[i - 1] + LR[2, i - 1] - LR[2, i]
    for t in (1, 2, 31, 32, 60):
        assert law.area(LR)[2, t - 1] == pytest.approx(LR[2, :t].sum())
        assert law.annealed(LR, 0.9)[2, t - 1] == pytest.approx(mu[1:t].sum(), abs=1e-15)
    assert not law.annealed(LR, 0.9)[0].any()


def test_frames_hold_the_mean_over_their_updates():
    found = law.framewise(np.arange(1.0, 7)[None], np.array([0, 2, 6]))
    np.testing.assert_array_equal(found, [[1.5, 4.5]])


def test_a_fit_finds_the_law_behind_losses_and_its_decay():
    steps, frames = 2000, np.arange(0, 2001, 20)
    k = np.arange(steps)
    lr = 0.2 * np.stack([0.1 + 0.45 * (1 + np.cos(np.pi * k / steps)), 1 - 0.9 * np.clip((k - 1600) / 400, 0, 1)])
    S1, S2 = law.framewise(law.area(lr), frames), law.framewise(law.annealed(lr, 0.98), frames)
    true = np.array([0.01, -1.0, 0.5, 0.004])
    loss = law.predict(true, S1, S2)
    fitted = np.broadcast_to(frames[1:] > 100, loss.shape)
    found = law.fit_decay(loss, lr, frames, fitted)
    assert found.decay == 0.98
    np.testing.assert_allclose(found.coefficients, true, rtol=1e-3)
    without, error = law.fit(loss[fitted], S1[fitted], S2[fitted], with_S2=False)
    assert without[3] == 0
    assert error > 100 * found.error
