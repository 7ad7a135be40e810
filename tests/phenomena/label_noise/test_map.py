"""The map: every cell is a run of `label_noise.linear`, and its borders are those of the flow and of the formula."""

import numpy as np
import pytest
from run_together import run_together

from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.label_noise import _theory, linear
from dyntoolkit.phenomena.label_noise.map import (
    EXPERIMENT,
    Config,
    critical_noise,
    edges,
    flow_border,
    noise_free_alignment,
)

SMALL = Config(n_init_scale=3, n_noise_std=2, width=16, dim=4, n_train=40, batch_size=5, steps=500)


def finished(config, **values):
    """A finished map of one run; values: name -> (n_noise_std, n_init_scale)."""
    history, _ = EXPERIMENT.start([config], [0])
    history.append(Frame(config.steps, config.steps, {k: np.array(v)[None] for k, v in values.items()}, np.array([-1])))
    return history


def test_the_grid_is_logarithmic_in_the_initialization_and_linear_in_the_noise():
    config = Config(init_scale_min=0.1, init_scale_max=1.6, n_init_scale=5, noise_std_max=2, n_noise_std=3)
    np.testing.assert_allclose(config.init_scales, [0.1, 0.2, 0.4, 0.8, 1.6])
    np.testing.assert_allclose(config.noise_stds, [0, 1, 2])
    assert [(c.init_scale, c.noise_std) for c in config.cells[4:6]] == [(1.6, 0), (0.1, 1)]


def test_settings_that_linear_refuses_are_refused():
    with pytest.raises(InputError, match="unstable"):
        Config(batch_size=1)
    with pytest.raises(InputError, match="init_scale_min must be below"):
        Config(init_scale_min=0.5, init_scale_max=0.5)
    assert not Config().warnings()
    assert "unstable" in Config(init_scale_max=1.8).warnings()[0]
    assert "minutes" in Config(n_init_scale=16, n_noise_std=16, width=256).warnings()[0]


def test_every_cell_is_a_run_of_linear():
    config = SMALL.replace(lr=0.15)
    history = EXPERIMENT.run(config, [5])
    for i, noise in enumerate(config.noise_stds):
        for j, scale in enumerate(config.init_scales):
            alone = linear.EXPERIMENT.run(config.cell(scale, noise), [5])
            for name in ("align", "ntk"):
                assert history.last(name)[0, i, j] == pytest.approx(alone.last(name)[0], rel=1e-3), (name, i, j)
            if noise:
                assert history.last("flow_align")[0, i, j] == pytest.approx(alone.last("flow_align")[0], rel=1e-3)


def test_without_noise_the_flow_rests_where_clean_training_ends():
    config = SMALL.replace(init_scale_min=0.2, lr=0.3, steps=4000, batch_size=400)
    rest = noise_free_alignment([config, config], [5, 6])
    for r, seed in enumerate((5, 6)):
        cells = [config.cell(scale, 0.0) for scale in config.init_scales]
        trained = run_together(linear.EXPERIMENT, cells, [seed] * 3)
        np.testing.assert_allclose(rest[r], trained.last("align"), rtol=1e-3)
    np.testing.assert_array_equal(EXPERIMENT.run(config.replace(steps=500), [5, 6]).last("flow_align")[:, 0], rest)


def test_cells_that_differ_in_noise_alone_share_their_clean_descent(monkeypatch):
    descents, original = [], _theory.clean_descent
    monkeypatch.setattr(_theory, "clean_descent", lambda W, *rest: descents.append(len(W)) or original(W, *rest))
    EXPERIMENT.run(SMALL.replace(n_noise_std=4), [1, 2])
    assert descents == [6, 6]  # two seeds, three initialization scales; of the row without noise, and of the flow


def test_a_map_alone_equals_the_same_map_among_others():
    configs = [SMALL, SMALL.replace(lr=0.1, init_scale_min=0.2, noise_std_max=1)]
    together, alone = run_together(EXPERIMENT, configs, [1, 2]), EXPERIMENT.run(configs[1], [2])
    for name in alone.names():
        np.testing.assert_allclose(together.last(name)[1], alone.last(name)[0], rtol=1e-3, err_msg=name)


def test_a_diverged_cell_is_nan_and_a_map_is_marked_when_all_its_cells_are_lost(monkeypatch):
    original = linear.simulate

    def broken(cells, seeds, frames):
        marks = np.where(np.arange(len(cells)) >= 5, 40, -1)  # the last cell of the first map, and all of the second
        for frame in original(cells, seeds, frames):
            yield Frame(frame.step, frame.total, frame.values, marks)

    monkeypatch.setattr(linear, "simulate", broken)
    history = EXPERIMENT.run(SMALL, [1, 2])
    assert np.isnan(history.last("align")).sum((1, 2)).tolist() == [1, 6]
    assert history.diverged.tolist() == [-1, 40]
    EXPERIMENT.metrics(history)
    EXPERIMENT.panels(history)


def test_metrics_of_the_recipe():
    config = Config(n_init_scale=3, n_noise_std=2)
    align = [[0.9, 0.55, 0.1], [0.95, 0.8, 0.7]]
    flow_align = [[0.8, 0.45, 0.1], [0.95, np.nan, 0.6]]
    found = {
        name: value[0]
        for name, value in EXPERIMENT.metrics(finished(config, align=align, flow_align=flow_align)).items()
    }
    assert found["map_agree"] == pytest.approx(4 / 6)  # one on the other side, one without a flow
    assert np.isnan(found["map_max_error"])
    assert (found["corner_lazy"], found["corner_noisy"], found["corner_rich"]) == (0.1, 0.7, 0.9)
    assert found["frac_aligned"] == pytest.approx(5 / 6)
    flow_align[1][1] = 0.8
    found = EXPERIMENT.metrics(finished(config, align=align, flow_align=flow_align))
    assert found["map_max_error"][0] == pytest.approx(0.1)
    (gain,) = (claim for claim in EXPERIMENT.claims if claim.id == "noise_makes_rich")
    assert gain.value(found, config)[0] == pytest.approx(0.6)


def test_where_claims_are_expected():
    expected = {claim.id: claim.where for claim in EXPERIMENT.claims}
    assert all(e(Config()) for e in expected.values())
    assert expected["map_agrees"](Config(n_init_scale=5, n_noise_std=5))
    for changes in ({"n_noise_std": 4}, {"noise_std_max": 3}, {"lr": 0.3}, {"width": 32}, {"steps": 1000}):
        assert not expected["map_error"](Config(**changes)), changes
    for changes in ({"steps": 15000}, {"noise_std_max": 2}, {"dim": 2, "steps": 60000}):
        assert not expected["noise_makes_rich"](Config(**changes)), changes
    assert not expected["small_init_is_rich"](Config(init_scale_min=0.06))
    assert not expected["small_init_is_rich"](Config(lr=0.01, steps=5000))


def test_at_the_critical_noise_alignment_one_half_is_due_at_the_last_step():
    config = Config()
    scales, noise = critical_noise(config)
    known = np.flatnonzero(np.isfinite(noise))
    for k in known[[0, len(known) // 2, -1]]:
        cell = config.cell(config.init_scale_max, float(noise[k])).replace(init_scale=min(1.8, scales[k]))
        if scales[k] <= 1.8:
            assert cell.log_ratio / (2 * cell.rate) == pytest.approx(config.steps)
    assert np.isnan(noise[0])  # L < 0: rich without noise
    assert np.nanmax(noise) <= config.noise_std_max


def test_the_border_of_a_known_flow():
    config = Config(n_init_scale=9, n_noise_std=11)
    x, y = np.meshgrid(np.log(config.init_scales), config.noise_stds)
    line_x, line_y = flow_border(config, 0.5 + 0.1 * (y - (x + 2)))  # 1/2 where noise = ln(scale) + 2
    np.testing.assert_allclose(line_y, np.log(line_x) + 2, atol=1e-9)
    assert (line_x[0], line_y[0]) == (pytest.approx(np.exp(-2)), 0)
    assert len(line_x) > 6
    assert len(flow_border(config, np.full(config.shape, np.nan))[0]) == 0


@pytest.mark.claims
def test_the_default_map_shows_all_claims_and_fills_in_while_it_trains():
    history, frames = EXPERIMENT.start([Config()], [110])
    seen = []
    for frame in frames:
        if frame.values:
            history.append(frame)
            seen.append(EXPERIMENT.panels(history)[0].marks[0].z)
    assert len({z.tobytes() for z in seen}) == len(seen) == 41
    found = EXPERIMENT.metrics(history)
    for claim in EXPERIMENT.claims:
        value = claim.value(found, history.config) if claim.value else found[claim.metric]
        assert claim.bound.holds(value)[0], (claim.id, value)
        for control in claim.controls:
            assert not claim.bound.holds(found[control.metric])[0], claim.id
    assert found["frac_aligned"][0] == pytest.approx(0.6875, abs=0.05)
    alignment, kernel, *_ = EXPERIMENT.panels(history)
    np.testing.assert_array_equal(alignment.marks[0].z, history.last("align")[0])
    np.testing.assert_array_equal(kernel.marks[0].z, history.last("ntk")[0])
    low, high = edges(history.config)
    assert low < 0.05 < 1.6 < high
