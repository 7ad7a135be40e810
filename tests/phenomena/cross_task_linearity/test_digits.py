"""The digits experiment: settings, training against torch, metrics, claims. Measurements: test__bench."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from run_together import run_together
from torch import nn

from dyntoolkit.data import noisy_labels, pixel_shuffled_digits, rotated_digits
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Plan, judge_history, to_the_end
from dyntoolkit.phenomena.cross_task_linearity import _training, digits
from dyntoolkit.phenomena.cross_task_linearity._bench import ALPHAS, SCALES
from dyntoolkit.phenomena.cross_task_linearity._memory import Memory
from dyntoolkit.phenomena.cross_task_linearity.digits import (
    ANGLES,
    CLAIMS,
    EXPERIMENT,
    MEMORY,
    PRESETS,
    Config,
    metrics,
    network,
    ratio_without_over_with,
    slope_on_distance,
    trajectory,
)

TINY = Config(pretrain_steps=12, steps=30, width=32, depth=2, batch_size=16)


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "MEMORY", Memory(MEMORY.limit))


run = partial(run_together, EXPERIMENT)


def theta_frames(configs: list[Config], seeds: list[int]) -> list[np.ndarray]:
    frames = trajectory(configs, seeds, network(configs[0]))
    return [frame.values["theta"] for frame in frames if "theta" in frame.values]


class Twin(nn.Sequential):
    """One network by torch.nn, with the weights of a row of theta."""

    def __init__(self, config: Config, theta: torch.Tensor) -> None:
        sizes = [64, *[config.width] * config.depth, 10]
        layers: list[nn.Module] = []
        for fan_in, out in itertools.pairwise(sizes):
            layers += [nn.Linear(fan_in, out), nn.ReLU()]
        super().__init__(*layers[:-1])
        with torch.no_grad():
            for layer in self:
                if isinstance(layer, nn.Linear):
                    weight, bias, theta = theta.split(
                        [
                            layer.weight.numel(),
                            layer.out_features,
                            len(theta) - layer.weight.numel() - layer.out_features,
                        ]
                    )
                    layer.weight.copy_(weight.view(layer.in_features, layer.out_features).T)
                    layer.bias.copy_(bias)

    def theta(self) -> torch.Tensor:
        layers = [layer for layer in self if isinstance(layer, nn.Linear)]
        return torch.cat([part for layer in layers for part in (layer.weight.T.reshape(-1), layer.bias)]).detach()

    def train_on(
        self, x: torch.Tensor, y: torch.Tensor, stream: str, seed: int, steps: int, lr: float, c: Config
    ) -> None:
        optimizer = torch.optim.SGD(self.parameters(), lr=lr, momentum=c.momentum)
        batches = Stream([seed], stream)
        for _ in range(steps):
            index = batches.indices(len(x), c.batch_size)[0]
            optimizer.zero_grad()
            nn.functional.cross_entropy(self(x[index]), y[index]).backward()
            optimizer.step()


@pytest.mark.parametrize("shared", [True, False])
def test_training_is_that_of_torch_phase_by_phase(shared: bool) -> None:
    """Init, pretraining and both fine-tunings of a run among others, with settings of its own."""
    own = TINY.replace(
        lr=0.03, pretrain_lr=0.02, momentum=0.5, init_scale=0.7, angle=40, label_noise=0.3, shared_init=shared
    )
    configs, seeds = [TINY.replace(shared_init=shared), own], [3, 8]
    start, *_, end = theta_frames(configs, seeds)
    labels = noisy_labels(0.3)
    for k, (letter, angle) in enumerate((("A", 40), ("B", -40))):
        which = "" if shared or letter == "A" else " B"
        normals = Stream([8], f"init{which}")
        blocks = []
        for fan_in, out in ((64, 32), (32, 32), (32, 10)):
            weight, bias = normals.normal(fan_in * out)[0], normals.normal(out)[0]
            blocks += [0.7 * (2 / fan_in) ** 0.5 * weight, 0 * bias]
        twin = Twin(own, torch.cat(blocks))
        mixture = torch.cat([rotated_digits(angle).train_x for angle in ANGLES])
        twin.train_on(mixture, labels.repeat(7), f"pretrain{which}", 8, 12, 0.02, own)
        torch.testing.assert_close(torch.from_numpy(start[1, k]), twin.theta(), rtol=1e-3, atol=1e-5)
        twin.train_on(rotated_digits(angle).train_x, labels, f"finetune {letter}", 8, 30, 0.03, own)
        torch.testing.assert_close(torch.from_numpy(end[1, k]), twin.theta(), rtol=1e-3, atol=1e-5)


def test_the_two_copies_share_their_start_and_nothing_else() -> None:
    start, *_, end = theta_frames([TINY], [0])
    np.testing.assert_array_equal(start[:, 0], start[:, 1])
    assert np.abs(end[:, 0] - end[:, 1]).max() > 0.01
    apart, *_ = theta_frames([TINY.replace(shared_init=False)], [0])
    assert np.abs(apart[:, 0] - apart[:, 1]).max() > 0.01
    np.testing.assert_allclose(apart[:, 0], start[:, 0], atol=1e-5)  # the first one is the shared one


def test_tasks_of_each_kind_of_pretraining() -> None:
    a, b = digits.tasks(TINY)
    assert torch.equal(a.test_x, rotated_digits(60).test_x)
    assert torch.equal(b.test_x, rotated_digits(-60).test_x)
    upright = TINY.replace(pretrain_data="upright")
    assert torch.equal(digits.tasks(upright)[0].test_x, a.test_x)
    shuffled = TINY.replace(pretrain_data="pixel_shuffled")
    assert torch.equal(digits.tasks(shuffled)[0].train_x, rotated_digits(0).train_x)
    assert torch.equal(digits.tasks(shuffled)[1].train_x, pixel_shuffled_digits().train_x)
    for config, rows in ((TINY, 8400), (upright, 1200), (shuffled, 1200)):
        table = digits.pretraining_table([config], 2)
        assert table.x.shape == (2, rows, 64)
        assert table.y.shape == (2, rows)
    assert torch.equal(digits.pretraining_table([shuffled], 1).x[0], rotated_digits(0).train_x)


def test_loss_is_that_of_the_batches_since_the_last_frame() -> None:
    found = trajectory([TINY.replace(pretrain_steps=0)], [0], network(TINY))
    frames = {frame.step: frame.values for frame in found if "theta" in frame.values}
    assert "loss" not in frames[0]
    task, index = rotated_digits(60), Stream([0], "finetune A").indices(1200, 30, 16)[0]
    losses = []  # of the updates 0, 1, ..., each at the weights before it; no frame shows those of update 29
    for step in range(29):
        logits = network(TINY)(torch.from_numpy(frames[step]["theta"])[:, 0], task.train_x[index[step]])[0]
        losses.append(nn.functional.cross_entropy(logits, task.train_y[index[step]]))
    recorded = [frames[step]["loss"][0, 0] for step in range(1, 29)]
    np.testing.assert_allclose(recorded, losses[:28], rtol=1e-4)
    assert 29 not in frames
    assert frames[30]["loss"][0, 0] > losses[28] / 2  # mean of that of update 28 and a positive one


def test_alpha_and_task_scale_train_nothing_and_give_the_numbers_of_a_fresh_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts = []

    def counted(*arguments: Any) -> Iterator[Frame]:
        starts.append(arguments)
        return trajectory(*arguments)

    monkeypatch.setattr(digits, "trajectory", counted)
    run([TINY], [0])
    moved = TINY.replace(alpha=0.2, task_scale=1.0)
    remembered = run([moved], [0])
    assert len(starts) == 1
    run([TINY], [1])
    run([TINY.replace(lr=0.02)], [0])
    assert len(starts) == 3
    monkeypatch.setattr(digits, "MEMORY", Memory(0))
    fresh = run([moved], [0])
    assert len(starts) == 4
    assert fresh.names() == remembered.names()
    for name in fresh.names():
        np.testing.assert_array_equal(fresh[name], remembered[name])


def test_another_activation_trains_another_network_and_is_remembered_apart() -> None:
    smooth = partial(digits.simulate, activation=torch.tanh)
    relu, tanh, again = (
        run_together(replace(EXPERIMENT, simulate=simulate), [TINY], [0])
        for simulate in (digits.simulate, smooth, smooth)
    )
    np.testing.assert_array_equal(tanh["own_acc"], again["own_acc"])
    assert np.abs(tanh["distance"] - relu["distance"]).max() > 0.01
    # a network that is smooth in its weights deviates in second order of the distance, not of order 3/2
    assert metrics(relu)["deviation_exponent"][0] == pytest.approx(1.5, abs=0.15)
    assert metrics(tanh)["deviation_exponent"][0] == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_run(preset: str) -> None:
    changes = {"steps": 30, "width": 32}
    config = EXPERIMENT.configure(preset, **changes)
    config = config.replace(pretrain_steps=min(config.pretrain_steps, 12))
    history = run([config], [0])
    assert history.done
    assert all(np.isfinite(history[name]).all() for name in history.names())
    assert [len(panel.marks) for panel in EXPERIMENT.panels(history)] == [4, 5, 2, 4, 6, 5]


def test_frames_of_both_phases() -> None:
    history = run([TINY.replace(pretrain_steps=300, steps=90)], [0])
    assert len(history.at("pretrain_acc")) == 30 == len(history.at("ctl_l"))
    assert history.at("pretrain_acc")[[0, -1]].tolist() == [0, 300]
    assert history.at("ctl_l")[[0, -1]].tolist() == [300, 390]
    assert history.at("path_deviation").tolist() == [390]
    start = (history["own_acc"][0] + history["cross_acc"][0]) / 2
    np.testing.assert_allclose(history.last("pretrain_acc"), start)


def test_steps_never_go_back_and_the_last_frame_is_complete() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, (0, 1))
    before = 0
    for frame in frames:
        assert before <= frame.step <= frame.total == 42
        assert not history.done  # so the frame that ends the run brings all that was missing
        before = frame.step
        history.append(frame)
    assert history.done
    assert all(np.isfinite(values).all() for name, values in metrics(history).items() if "ratio" not in name)


def test_a_run_that_diverges_is_marked_and_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = _training.normal_init

    def exploding(*arguments: Any) -> torch.Tensor:
        return original(*arguments) * torch.tensor([[1e30], [1.0]])

    healthy = run([TINY], [1])
    monkeypatch.setattr(_training, "normal_init", exploding)
    history = run([TINY, TINY], [0, 1])
    assert history.diverged[0] >= 1
    assert history.diverged[1] == -1
    found = metrics(history)
    assert all(np.isnan(values[0]) for values in found.values())
    for name, values in metrics(healthy).items():
        np.testing.assert_allclose(found[name][1], values[0], rtol=1e-2, atol=2e-3)
    EXPERIMENT.panels(history)


def history_of(**values: Array) -> History:
    history = History("cross_task_linearity.digits", [Config(depth=2)], [0])
    history.append(Frame(600, 600, {name: value[None] for name, value in values.items()}, np.array([-1])))
    return history


def test_metrics_are_means_over_hidden_layers() -> None:
    found = metrics(
        history_of(
            ctl_l=np.array([1e-3, 3e-3, 9e-3]),
            base_l=np.array([0.1, 0.2, 0.9]),
            coef_l=np.array([0.5, 0.9, 0.1]),
            merged_acc=np.array(0.9),
            ensemble_acc=np.array(0.95),
            pretrain_acc=np.array(0.8),
            loss=np.array([0.2, 1.4]),
            addition_ctl=np.array(0.01),
            addition_base=np.array(0.1),
        )
    )
    expected = {
        "ctl": 2e-3,
        "base": 0.15,
        "ratio": (1e-2 + 1.5e-2) / 2,
        "coef_last": 0.9,
        "merged_minus_ensemble": -0.05,
        "pretrained_acc": 0.8,
        "addition_ratio": 0.1,
        "loss": 0.8,
        "loss_flag": 1.0,
        "ctl_3": 9e-3,
        "base_2": 0.2,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    for name in ("negation_ratio", "parabola_r2", "deviation_exponent", "own_acc"):
        assert np.isnan(found[name]).all(), name


def test_metrics_of_the_scans() -> None:
    """The first layer follows the law, the second one does not; the metric is their mean."""
    s = ALPHAS * (1 - ALPHAS)
    path = np.stack([s, 0.5 * s + 0.01 * np.sin(40 * ALPHAS)], 1)
    pulled = np.stack([SCALES**1.5, 2 * SCALES], 1)
    found = metrics(history_of(path_deviation=path, pulled_deviation=pulled))
    c = np.sum(path[:, 1] * s) / np.sum(s**2)
    left = np.sum((path[:, 1] - c * s) ** 2) / np.sum((path[:, 1] - path[:, 1].mean()) ** 2)
    assert found["parabola_r2"] == pytest.approx((1 + 1 - left) / 2)
    assert left > 0.01
    assert found["deviation_exponent"] == pytest.approx(1.25)


def test_ids_are_those_of_the_recipe() -> None:
    assert [claim.id for claim in CLAIMS] == [
        "ctl_ratio",
        "ctl_nontrivial",
        "coef_one",
        "merged_accuracy",
        "merged_equals_ensemble",
        "deviation_parabola",
        "deviation_exponent",
        "addition_linear",
        "negation_linear",
        "negation_forgets",
        "negation_spares",
        "ratio_falls",
        "ratio_follows_distance",
    ]


def test_each_claim_is_expected_where_it_is_shown_and_not_in_its_controls() -> None:
    for claim in CLAIMS:
        shown = EXPERIMENT.configure(claim.preset or "ctl")
        assert claim.where(shown), claim.id
        for control in claim.controls:
            for changes in control.sweep.changes if control.sweep else (control.changes,):
                assert not claim.where(shown.replace(**changes)), (claim.id, control.label)


@pytest.mark.parametrize(
    "changes",
    [{"angle": 45.0}, {"lr": 0.2}, {"label_noise": 0.2}, {"shared_init": False}, {"pretrain_data": "upright"}],
)
def test_nothing_is_expected_where_it_was_seen_to_fail_or_not_measured(changes: dict[str, object]) -> None:
    for preset in ("ctl", "arithmetic"):
        config = EXPERIMENT.configure(preset, **changes)
        assert [claim.id for claim in CLAIMS if claim.where(config)] == []


@pytest.mark.claims
def test_claims_hold_for_seeds_that_were_not_used_to_write_them() -> None:
    single = [claim for claim in CLAIMS if claim.sweep is None and not claim.preset]
    verdicts = judge_history(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure(), (41, 42)), single)
    assert len(verdicts) == 9
    for verdict in verdicts:
        assert verdict.expected, verdict.id
        assert all(verdict.holds), (verdict.id, verdict.value)


@pytest.mark.claims
def test_controls_of_two_claims_are_confirmed_for_a_new_seed() -> None:
    claims = [claim for claim in CLAIMS if claim.id in ("ctl_ratio", "coef_one")]
    config = EXPERIMENT.configure()
    plan = Plan(EXPERIMENT, config, (43,), claims)
    histories = [EXPERIMENT.run(config, (43,)), *(to_the_end(*stage()) for stage in plan.stages)]
    for verdict in plan.verdicts(histories):
        assert [control.passed for control in verdict.controls] == [True, True], verdict


def test_sweeps_judge_by_the_numbers_of_all_runs() -> None:
    runs = [{"ratio": np.array([0.09, 0.06])}, {"ratio": np.array([0.03, 0.03])}]
    np.testing.assert_allclose(ratio_without_over_with(runs), [3, 2])
    distances = [np.array([0.1, 0.2]), np.array([0.4, 0.8])]
    pooled = slope_on_distance([{"distance": d, "ratio": 0.2 * d**1.1} for d in distances])
    np.testing.assert_allclose(pooled, [1.1])


@pytest.mark.parametrize(("name", "value"), [("lr", 0.3), ("alpha", -0.1), ("depth", 5), ("pretrain_steps", 2001)])
def test_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Config().replace(**{name: value})


def test_presets_are_those_of_the_recipe() -> None:
    assert {name: dict(preset.changes) for name, preset in PRESETS.items()} == {
        "ctl": {},
        "no_pretraining": {"pretrain_steps": 0},
        "independent": {"shared_init": False, "pretrain_steps": 0},
        "lr_too_high": {"lr": 0.2},
        "wrong_pretraining": {"pretrain_data": "upright"},
        "arithmetic": {"pretrain_steps": 100, "task_scale": 1.0},
    }
    assert all(preset.reason for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.15, "batch_size": 16}, "kills the network"),
        ({"pretrain_data": "pixel_shuffled", "angle": 30}, "no effect"),
        ({"batch_size": 8}, "kills the network"),
        ({"angle": 45}, "lies between"),
        ({"angle": 87}, "lies between"),
    ],
)
def test_settings_that_mislead_are_said(changes: dict[str, object], words: str) -> None:
    (warning,) = Config().replace(**changes).warnings()
    assert words in warning


def test_of_the_presets_only_the_deadly_one_warns() -> None:
    for name, preset in PRESETS.items():
        assert len(Config().replace(**preset.changes).warnings()) == (name == "lr_too_high")
    for quiet in (Config(angle=30), Config(angle=90), Config(angle=45, pretrain_steps=0)):
        assert quiet.warnings() == []
