"""Every experiment of the package keeps the rules of `check`."""

from dataclasses import replace

import pytest
from hypothesis import settings

from dyntoolkit.catalog.check import check
from dyntoolkit.phenomena import EXPERIMENTS

# The largest values to try, so that runs of any settings come to their end quickly.
BOUNDS: dict[str, dict[str, float]] = {
    "label_noise.linear": {"steps": 550, "width": 32},
    "label_noise.map": {"steps": 500, "n_init_scale": 4, "n_noise_std": 4, "width": 24, "dim": 6, "n_train": 60},
    "label_noise.diagonal": {"steps": 1100},
    "label_noise.features": {"steps": 105, "dim": 200, "n_train": 60, "width": 6},
    "label_noise.refresh": {"steps": 505, "dim": 400, "n_train": 40, "width": 6},
    "cross_task_linearity.digits": {"steps": 35, "pretrain_steps": 20, "width": 40, "batch_size": 20},
    "cross_task_linearity.spawn": {"spawn_step": 20, "steps": 103, "anneal_steps": 20, "width": 20, "batch_size": 8},
    "cross_task_linearity.permutation": {"steps": 103, "width": 20, "batch_size": 18},
    "cross_task_linearity.decentralized": {
        "rounds": 12,
        "local_steps": 4,
        "n_nodes": 7,
        "window_rounds": 12,
        "width": 20,
        "batch_size": 10,
    },
    "cross_task_linearity.merging": {"steps": 203, "width": 70, "batch_size": 20},
    "loss_spikes.mlp": {"steps": 505, "width": 8, "n_train": 30},
    "loss_spikes.edge_of_stability": {"steps": 1010, "width": 8, "n_train": 30},
    "loss_spikes.quadratic": {"steps": 500},
    "loss_spikes.rescue": {"steps": 505, "width": 8, "n_train": 30, "horizon": 30},
    "loss_spikes.digits": {"steps": 505, "width": 10, "n_train": 60},
    "loss_spikes.logit_growth": {"steps": 52, "width": 18, "batch_size": 5},
    "loss_spikes.blocks": {"steps": 102, "width": 18, "batch_size": 5},
    "grokking.oned": {"steps": 505, "width": 50, "n_uniform": 200},
    "grokking.parity": {"steps": 205, "width": 48, "n_bits": 9, "k": 6},
    "grokking.digits": {"steps": 205, "n_train": 300, "width": 40},
    "grokking.polynomial": {"steps": 310, "n_train": 200, "input_dim": 80, "width": 60},
    "grokking.modular": {"steps": 110, "width": 48},
    "condensation.directions": {"steps": 30, "width": 150},
    "condensation.final": {"steps": 100, "width": 100},
    "condensation.phase": {"n_gammas": 3, "width_min": 40, "width_factor": 3, "steps": 500},
    "condensation.staircase": {"steps": 1000},
    "condensation.dropout": {"steps": 500, "width": 40},
    "condensation.split": {"steps": 1000, "fit_steps": 500},
    "condensation.isometric": {"steps": 60, "width": 16, "n_train": 40},
    "condensation.recovery": {"steps": 1000},
    "chaos.amplification": {"steps": 520, "n_train": 300, "width": 20, "batch": 32},
    "chaos.cone": {"steps": 520, "n_train": 300, "width": 20, "batch": 32},
    "chaos.linearized": {"steps": 520, "n_train": 300, "width": 20, "batch": 32},
    "flatness.late_sam": {"steps": 510, "n_train": 100, "width": 20, "batch": 32},
    "flatness.escape": {"steps": 510, "sam_steps": 60, "n_train": 110, "width": 20},
    "schedules.batch_size": {"data": 8000, "n_features": 150, "large_batch": 64},
    "schedules.catch_up": {"n_features": 150, "large_batch": 64},
    "schedules.digits": {"steps": 525, "width": 20, "large_batch": 32},
    "schedules.annealing": {"n_features": 110, "batch": 4, "replicas": 2},
    "attention.one_step": {"steps": 110, "n_context": 8, "batch_size": 40},
    "attention.sign_descent": {"steps": 210, "n_train": 12},
    "attention.composition": {"steps": 310, "items": 26, "batch_size": 64},
    "attention.entropy": {"steps": 52, "width": 18, "batch_size": 5},
    "kernels.width": {"steps": 110, "width": 40, "n_train": 12},
    "kernels.geometry": {"steps": 110, "width": 40, "patterns": 18},
    "kernels.lr_transfer": {"steps": 21, "n_train": 110},
    "kernels.swing_by": {"steps": 210},
    "laboratory.network": {"steps": 40, "width": 40, "n_train": 80, "batch_size": 50, "n_bits": 8, "irrelevant": 5},
}

# The preset of which a run alone equals the same run among others, where the first one doubles rounding in every step.
CALM = {"attention.entropy": "gentle"}


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_an_experiment_keeps_the_rules(experiment):
    examples = max(2, settings().max_examples // 16)
    first = CALM.get(experiment.name, next(iter(experiment.presets)))
    calm = replace(experiment, presets={first: experiment.presets[first], **experiment.presets})
    report = check(calm, most=BOUNDS[experiment.name], examples=examples)
    assert report.passed, report


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_presets_differ_from_each_other_and_the_first_one_is_the_default(experiment):
    configs = [experiment.configure(name) for name in experiment.presets]
    assert len(set(configs)) == len(configs)
    assert configs[0] == experiment.configure() == experiment.config()


def test_bounds_are_of_experiments_that_there_are():
    assert list(BOUNDS) == [experiment.name for experiment in EXPERIMENTS]
