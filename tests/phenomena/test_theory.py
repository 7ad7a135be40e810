"""What experiments say that theory predicts, against what is measured, where a recipe has measured it."""

import numpy as np
import pytest

from dyntoolkit.catalog.registry import find
from dyntoolkit.catalog.run import run

pytestmark = pytest.mark.claims

PREDICTED = [  # experiment, its metric, settings, seeds, and how far off the recipe saw their mean
    ("label_noise.linear", "t_align", {"steps": 20000}, 2, 0.1),
    ("label_noise.diagonal", "l1_end", {"n_nonzero": 3}, 4, 0.29),
    ("label_noise.diagonal", "w_ratio", {"init_scale": 0.45}, 4, 0.29),
    ("grokking.parity", "alias_low_degree", {"k": 10, "train_fraction": 0.35, "steps": 200}, 6, 0.15),
    ("grokking.parity", "alias_low_degree", {"k": 3, "n_bits": 8, "steps": 200}, 6, 0.15),
    ("grokking.polynomial", "norm_end", {"alpha": 0.3}, 1, 0.02),
    ("grokking.polynomial", "norm_end", {"alpha": 3.0}, 1, 0.02),
    ("loss_spikes.edge_of_stability", "limit_end", {}, 1, 0.05),
]
SIDES = [  # experiment, its metric, the value of that on the border, settings on either side: the first has more
    ("label_noise.linear", "align_end", 0.5, {"steps": 15000, "noise_std": [2.0, 1.0]}),
    ("label_noise.linear", "align_end", 0.5, {"steps": 10000, "noise_std": 0.0, "init_scale": [0.08, 0.3]}),
    ("loss_spikes.quadratic", "spikes", 1.5, {"steps": 8000, "eps": [0.0025, 0.00276]}),
    ("loss_spikes.quadratic", "spikes", 1.5, {"steps": 8000, "eps": 0.002, "lr": [0.08, 0.07]}),
]


@pytest.mark.parametrize(("name", "metric", "settings", "seeds", "within"), PREDICTED)
def test_a_prediction_is_what_is_measured(name, metric, settings, seeds, within):
    experiment = find(name)
    runs = run(experiment, seeds=seeds, **settings)
    predicted = experiment.predictions[metric](experiment.configure(**settings))
    assert float(runs["metrics"].sel(metric=metric).mean()) == pytest.approx(predicted, rel=within)


@pytest.mark.parametrize(("name", "metric", "there", "settings"), SIDES)
def test_a_border_is_where_the_measured_value_crosses(name, metric, there, settings):
    experiment = find(name)
    (side,) = experiment.borders.values()
    measured = run(experiment, seeds=1, **settings)["metrics"].sel(metric=metric).values[:, 0]
    (field,) = (field for field, value in settings.items() if isinstance(value, list))
    sides = [side(experiment.configure(**{**settings, field: value})) for value in settings[field]]
    assert (np.array(sides) > 0).tolist() == (measured > there).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "metric", "changes"),
    [
        ("label_noise.linear", "t_align", {"noise_std": 0.0}),
        ("label_noise.linear", "t_align", {"noise_period": 100}),
        ("label_noise.diagonal", "l1_end", {"noise_std": 0.0}),
        ("loss_spikes.edge_of_stability", "limit_end", {"lr": 0.02}),
    ],
)
def test_where_theory_does_not_speak_it_is_nan(name, metric, changes):
    experiment = find(name)
    assert np.isnan(experiment.predictions[metric](experiment.configure(**changes)))


def test_a_border_is_not_where_other_laws_hold():
    (side,) = find("label_noise.linear").borders.values()
    configure = find("label_noise.linear").configure
    assert np.isnan([side(configure(preset)) for preset in ("fixed_noise", "kick")]).all()
    assert np.isfinite([side(configure(preset)) for preset in ("two_phase", "lazy_control", "sam", "on_off")]).all()
