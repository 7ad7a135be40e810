import numpy as np
import pytest
import torch

from dyntoolkit.phenomena.condensation._two_layer import State, loss, make_step, ntk_step
from dyntoolkit.phenomena.condensation.final import CLAIMS, EXPERIMENT, PRESETS, Config, X, Y, initial_theta, target
from dyntoolkit.probes.effective_neurons import effective_neurons

SMALL = Config(width=30, steps=400, tol=1e-3)


def test_the_target_is_zero_in_the_middle_and_has_slope_a_fifth_outside():
    assert target(torch.tensor([-1.0, 0.0, 0.3, 1.0])).tolist() == pytest.approx([0.4 / 3, 0, 0, 0.4 / 3])
    assert Y.tolist() == pytest.approx([0.4 / 3, 0, 0, 0.4 / 3], abs=1e-7)


def test_all_weights_begin_with_the_same_std():
    theta = initial_theta([Config(width=1000, init_exponent=t) for t in (0.25, 1.0)], [1, 2])
    for row in range(3):
        np.testing.assert_allclose(theta[:, row].std(1) / torch.tensor([1000**-0.25, 1e-3]), 1, rtol=0.1)


def test_each_run_stops_by_itself_as_if_alone():
    """Beside a run of another step size; the numbers are those of the naive loop."""
    configs = [SMALL, SMALL.replace(init_exponent=0.25), SMALL.replace(lr_factor=0.3)]
    history, frames = EXPERIMENT.start(configs, [1, 2, 1])
    for frame in frames:
        history.append(frame)
    for r, (config, seed) in enumerate(zip(configs, (1, 2, 1), strict=True)):
        start = initial_theta([config], [seed])
        step, state, settled = (
            make_step(X, Y, ntk_step(start, X, config.lr_factor, config.lr_damping), "relu"),
            State(start),
            -1,
        )
        for k in range(1, config.steps + 1):
            state = step(state, None)
            if k % 50 == 0 and loss(state.theta, X, Y, "relu") < config.tol:
                settled = k
                break
        w, w0 = state.theta[0, :2], start[0, :2]
        assert history.last("settled_at")[r] == settled
        assert history.last("loss")[r] == pytest.approx(loss(state.theta, X, Y, "relu").item(), rel=1e-3)
        assert history.last("rd")[r] == pytest.approx(((w - w0).norm() / w0.norm()).item(), rel=1e-3)
    assert len(set(history.last("settled_at"))) > 1


def test_the_scatter_and_n_eff_are_those_of_the_weights():
    history = EXPERIMENT.run(SMALL, [3])
    w, b, a = initial_theta([SMALL], [3])[0].double()
    turn, size = history["orientation"][0, 0], history["amplitude"][0, 0]
    np.testing.assert_allclose(size * np.cos(np.radians(turn)), a.abs() * w, atol=1e-5)
    np.testing.assert_allclose(size * np.sin(np.radians(turn)), a.abs() * b, atol=1e-5)
    expected = effective_neurons(torch.stack([w, b], 1)[None], torch.from_numpy(size)[None].double(), 5.0)
    assert history["n_eff"][0, 0] == pytest.approx(expected.item(), rel=1e-3)


def test_metrics_tell_start_and_end():
    history = EXPERIMENT.run(SMALL.replace(tol=1e-9), [0, 1])
    found = EXPERIMENT.metrics(history)
    assert np.isnan(found["settled"]).all()
    np.testing.assert_array_equal(found["n_eff_start"], history["n_eff"][0])
    np.testing.assert_array_equal(found["n_eff"], history["n_eff"][-1])


def test_small_weights_condense_and_large_ones_do_not():
    small, large = (EXPERIMENT.run(Config(width=200, steps=3000, init_exponent=t), [0]) for t in (1.0, 0.25))
    assert small.last("n_eff")[0] < 3 < 15 < large.last("n_eff")[0]
    assert large.last("rd")[0] < 0.5 < 1 < small.last("rd")[0]


def test_where_the_claims_are_expected():
    expected = {name: [c.where(Config().replace(**p.changes)) for c in CLAIMS] for name, p in PRESETS.items()}
    assert expected == {
        "condensed": [True, True, True],
        "near": [True, False, True],
        "critical": [False] * 3,
        "lazy": [False] * 3,
    }
