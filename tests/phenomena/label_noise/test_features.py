"""Features: selection, metrics and figure. The network is tested in test__signal_noise."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.phenomena.label_noise import features
from dyntoolkit.phenomena.label_noise.features import EXPERIMENT, Config

SMALL = Config(n_train=20, dim=50, width=3, steps=100, early_step=10)


def test_the_samples_of_smallest_loss_are_kept():
    losses = torch.tensor([[0.5, 0.1, 0.9, 0.3], [1.0, 1.0, 1.0, 0.2]])
    assert features.selected(losses, torch.tensor([[2], [3]])).tolist() == [[0, 1, 0, 1], [1, 1, 0, 1]]


def test_samples_are_dropped_for_good_just_before_the_update_of_select_step():
    configs = [SMALL.replace(select_step=10, select_drop=0.25), SMALL]
    history = run_together(EXPERIMENT, configs, [1, 1])
    steps = history.at("losses")
    same = steps <= 10
    np.testing.assert_allclose(history["losses"][same, 0], history["losses"][same, 1], rtol=1e-5)
    after = int(np.flatnonzero(steps > 10)[0])
    assert np.abs(history["losses"][after, 0] - history["losses"][after, 1]).max() > 1e-3
    flipped, losses = history["flipped"][0, 0] > 0, history["losses"][int(np.flatnonzero(steps == 10)[0]), 0]
    kept = np.argsort(losses, kind="stable")[:15]
    assert history.last("kept_clean")[0] == pytest.approx((~flipped[kept]).mean())
    assert np.isnan(EXPERIMENT.metrics(history)["select_precision"][1])


def test_the_metrics_are_those_of_the_recipe():
    history = History("label_noise.features", [SMALL], [0])
    rows = {  # step: clean fit, noisy fit, test
        0: (0.5, 0.5, 0.5),
        1: (0.98, 0.95, 0.6),
        10: (0.99, 0.2, 0.97),
        50: (1.0, 0.9, 0.9),
        100: (1.0, 1.0, 0.8),
    }
    for step, (clean, noisy, test) in rows.items():
        names = ("auc", "gamma", "rho", "rho_noisy", "grad_ratio", "loss", "kept_clean")
        values = {"clean_fit": clean, "noisy_fit": noisy, "test": test, **dict.fromkeys(names, step / 100)}
        history.append(Frame(step, 100, {name: np.array([value]) for name, value in values.items()}, np.array([-1])))
    found = {name: float(value[0]) for name, value in EXPERIMENT.metrics(history).items()}
    assert (found["early_clean_fit"], found["early_noisy_fit"], found["early_test"]) == (0.99, 0.2, 0.97)
    assert (found["early_auc"], found["auc_end"], found["grad_ratio_1"]) == (0.1, 1.0, 0.01)
    assert found["test_drop"] == pytest.approx(0.17)
    assert (found["t_clean"], found["t_memorized"]) == (10, 50)  # step 1 does not count: it does not stay
    later = History("label_noise.features", [SMALL.replace(early_step=60)], [0])
    for frame in [Frame(0, 100, {name: row[0] for name, row in values_of(history).items()}, np.array([-1]))]:
        later.append(frame)
    assert np.isnan(EXPERIMENT.metrics(later)["early_test"][0])


def values_of(history):
    names = ("clean_fit", "noisy_fit", "test", "auc", "gamma", "rho", "rho_noisy", "grad_ratio", "loss", "kept_clean")
    return {name: history[name] for name in names}


@pytest.mark.parametrize("preset", ["two_stages", "select_early"])
def test_claims_metrics_and_figure_on_a_fresh_seed(preset):
    history = EXPERIMENT.run(EXPERIMENT.configure(preset), (901,))
    metrics = EXPERIMENT.metrics(history)
    judged = [claim for claim in EXPERIMENT.claims if claim.where(history.config)]
    assert [claim.id for claim in judged] == (
        ["selection"] if preset == "select_early" else [c.id for c in EXPERIMENT.claims if c.id != "selection"]
    )
    for claim in judged:
        value = claim.value(metrics, history.config) if claim.value else metrics[claim.metric]
        assert claim.bound.holds(value)[0], claim.id
    fits, _, losses, _ = EXPERIMENT.panels(history)
    assert fits.marks[3].x == 20
    assert fits.marks[4].x == (20 if preset == "select_early" else pytest.approx(np.nan, nan_ok=True))
    assert [bars.y.sum() for bars in losses.marks] == [70, 30]


def test_what_lies_beyond_the_end_of_the_run_is_warned_of():
    assert SMALL.replace(early_step=SMALL.steps, select_step=SMALL.steps - 1).warnings() == []
    (early, select) = SMALL.replace(early_step=SMALL.steps + 1, select_step=SMALL.steps).warnings()
    assert early.startswith("early_step = ")
    assert select.startswith("select_step = ")


def test_where_no_label_is_flipped_the_panel_that_needs_some_says_so():
    assert [panel.note for panel in EXPERIMENT.panels(EXPERIMENT.run(SMALL.replace(flip_rate=0.0)))] == [
        "",
        "",
        "",
        "No label is flipped.",
    ]
    assert not any(panel.note for panel in EXPERIMENT.panels(EXPERIMENT.run(SMALL)))


def test_a_run_alone_is_the_run_among_others():
    configs = [SMALL.replace(lr=0.05, signal_norm=2), SMALL.replace(select_step=5)]
    together, alone = run_together(EXPERIMENT, configs, [1, 2]), EXPERIMENT.run(configs[1], [2])
    np.testing.assert_allclose(together["losses"][:, 1], alone["losses"][:, 0], rtol=1e-3, atol=1e-5)
