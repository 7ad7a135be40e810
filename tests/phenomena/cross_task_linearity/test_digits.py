import dataclasses
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from run_together import run_together
from torch import nn

from dyntoolkit.data import noisy_labels, pixel_shuffled_digits, rotated_digits
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.streams import Stream
from dyntoolkit.phenomena.cross_task_linearity import digits, training
from dyntoolkit.phenomena.cross_task_linearity.digits import EXPERIMENT, MEMORY, network, trajectory
from dyntoolkit.phenomena.cross_task_linearity.digits_config import ANGLES, PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.memory import Memory

TINY = Config(pretrain_steps=12, steps=30, width=32, depth=2, batch_size=16)


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "MEMORY", Memory(MEMORY.limit))


run = partial(run_together, EXPERIMENT)


def theta_frames(configs: list[Config], seeds: list[int]) -> list[np.ndarray]:
    return [frame.values["theta"] for frame in trajectory(configs, seeds) if "theta" in frame.values]


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
    frames = {f.step: f.values for f in trajectory([TINY.replace(pretrain_steps=0)], [0]) if "theta" in f.values}
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


def test_a_run_alone_is_the_run_among_others() -> None:
    """To rounding: 42 steps are too few for it to grow."""
    configs = [TINY, TINY.replace(lr=0.01, alpha=0.3), TINY.replace(momentum=0.2, angle=20, task_scale=1.0)]
    together, alone = run(configs, [1, 2, 3]).run(1), run(configs[1:2], [2])
    assert together.names() == alone.names()
    for name in alone.names():
        np.testing.assert_array_equal(together.at(name), alone.at(name))
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-2, atol=2e-3, err_msg=name)


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
    assert all(np.isfinite(values).all() for name, values in EXPERIMENT.metrics(history).items() if "ratio" not in name)


def test_a_run_that_diverges_is_marked_and_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = training.normal_init

    def exploding(*arguments: Any) -> torch.Tensor:
        return original(*arguments) * torch.tensor([[1e30], [1.0]])

    healthy = run([TINY], [1])
    monkeypatch.setattr(training, "normal_init", exploding)
    history = run([TINY, TINY], [0, 1])
    assert history.diverged[0] >= 1
    assert history.diverged[1] == -1
    metrics = EXPERIMENT.metrics(history)
    assert all(np.isnan(values[0]) for values in metrics.values())
    for name, values in EXPERIMENT.metrics(healthy).items():
        np.testing.assert_allclose(metrics[name][1], values[0], rtol=1e-2, atol=2e-3)
    EXPERIMENT.panels(history)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Every field over its whole range, except that sizes and step counts stay tiny."""
    small = {"pretrain_steps": (0, 10), "steps": (30, 33), "batch_size": (8, 12), "width": (32, 40)}
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Config):
        control = field.metadata["control"]
        if control.options:
            values[field.name] = draw(st.sampled_from(control.options))
        elif isinstance(field.default, bool):
            values[field.name] = draw(st.booleans())
        elif isinstance(field.default, int):
            values[field.name] = draw(st.integers(*small.get(field.name, (int(control.low), int(control.high)))))
        else:
            values[field.name] = draw(st.floats(control.low, control.high))
    return Config(**values)


@settings(max_examples=12, deadline=None)
@given(configs(), st.integers(0, 2**32 - 1))
def test_any_settings_give_numbers_or_a_marked_divergence(config: Config, seed: int) -> None:
    history, frames = EXPERIMENT.start([config], [seed])
    assert all(np.isnan(values).all() for values in EXPERIMENT.metrics(history).values())
    marks = [len(panel.marks) for panel in EXPERIMENT.panels(history)]
    for frame in frames:
        history.append(frame)
        assert all(np.isfinite(value).all() for value in frame.values.values()) or (frame.diverged >= 0).all()
        if frame.values:
            assert [len(panel.marks) for panel in EXPERIMENT.panels(history)] == marks
            EXPERIMENT.metrics(history)
    assert all(values.shape == (1,) for values in EXPERIMENT.metrics(history).values())
    assert isinstance(config.warnings(), list)
