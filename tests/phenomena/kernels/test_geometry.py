"""Two activations on one task: data and step against their definitions, metrics by hand, figure."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment.judging import judge_history
from dyntoolkit.phenomena.kernels import geometry
from dyntoolkit.phenomena.kernels.geometry import EXPERIMENT, Config
from dyntoolkit.probes.cka import cka

TINY = Config(patterns=16, width=30, steps=100)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


def test_data_are_copies_of_centres_with_half_of_each_label():
    odd = {"patterns": 17, "outputs": 3}
    data = geometry.draw([Config(alignment=0.5, input_noise=0, **odd), Config(flip=0.1, **odd)], [1, 1])
    assert (data.labels.sum(1) == -1).all()  # 8 of 17 are +1
    truth = data.labels.repeat_interleave(4, 1)
    assert torch.equal(data.test_y, truth)
    assert torch.equal(data.y[0], truth[0])
    wrong = (data.y[1] != truth[1]).double().mean().item()
    assert 0.02 < wrong < 0.2
    assert torch.equal(data.x[0], data.test_x[0])  # no noise
    assert torch.equal(data.x[0, 0], data.x[0, 3])
    spread = (data.x[1] - data.test_x[1]).std().item()
    assert spread == pytest.approx(0.1 * (2 / 50) ** 0.5, rel=0.05)
    assert cka(data.test_x[0], data.test_y[0]) > cka(data.test_x[1], data.test_y[1]) + 0.2


def test_both_branches_take_the_steps_of_adam_by_torch():
    """From the same start, of a run among others with settings of its own."""
    own = TINY.replace(lr=0.05, init_scale=0.5, flip=0.1, alignment=0.1)
    configs, seeds = [TINY, own], [1, 9]
    data = geometry.draw(configs, seeds)
    state = Adam.start(geometry.initial(configs, seeds))
    assert torch.equal(*state.theta.chunk(2, 1))
    parts = [state.theta[1].chunk(2)[i].clone().requires_grad_() for i in range(2)]
    optimizer = torch.optim.Adam(parts, lr=0.05)
    step = geometry.make_step(configs, data)
    for _ in range(3):
        state = step(state, None)
        optimizer.zero_grad()
        for part, phi in zip(parts, (torch.tanh, torch.relu), strict=True):
            W, b, A, c = part.split([50 * 30, 30, 30 * 2, 2])
            f = phi(data.x[1] @ W.view(50, 30) + b) @ A.view(30, 2) + c
            torch.log(1 + torch.exp(-data.y[1] * f)).sum(1).mean().backward()
        optimizer.step()
    torch.testing.assert_close(state.theta[1], torch.cat(parts).detach(), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def tiny():
    with asking(Asked("eager")):
        return run_together(EXPERIMENT, [TINY, TINY.replace(init_scale=1.0)], [0, 1])


def test_the_recorded_engine_finds_the_same(tiny):
    with asking(Asked("xla")):
        history = run_together(EXPERIMENT, tiny.configs, tiny.seeds)
    assert history.engine == "xla"
    for name, values in EXPERIMENT.metrics(history).items():
        np.testing.assert_allclose(values, EXPERIMENT.metrics(tiny)[name], rtol=1e-2, atol=1e-3, err_msg=name)


def test_the_metrics_are_those_of_the_recipe():
    history, _ = EXPERIMENT.start([TINY], [0])
    values = {"inputs": [0.3, 0.5], "targets": [0.9, 0.8], "train": [0.1, 0.2], "error": [0.0, 0.03]}
    frame = {name: np.array([pair]) for name, pair in values.items()} | {"task_alignment": np.array([0.2])}
    history.append(Frame(100, 100, frame, np.full(1, -1)))
    found = EXPERIMENT.metrics(history)
    assert found["gap_inputs"][0] == pytest.approx(0.2)
    assert found["gap_targets"][0] == pytest.approx(0.1)
    assert (found["error_tanh"][0], found["error_relu"][0], found["task_alignment"][0]) == (0, 0.03, 0.2)
    assert CLAIMS["both_reach_targets"].value(found, TINY)[0] == 0.8
    assert CLAIMS["both_solve"].value(found, TINY)[0] == 0.03


def test_the_figure_shows_centres_sorted_by_label_and_their_components(tiny):
    inputs, tanh, relu, labels, points, _ = EXPERIMENT.panels(tiny)
    np.testing.assert_allclose(inputs.marks[0].y, np.median(tiny["inputs"][1:, :, 0], 1))
    assert labels.marks[-1].y == pytest.approx(np.median(tiny.last("task_alignment")))
    for panel, name in ((inputs, "inputs"), (labels, "targets")):  # where each began, in its colour
        assert [mark.y for mark in panel.marks[2:4]] == pytest.approx(np.median(tiny[name][0], 0).tolist())
        assert [mark.color for mark in panel.marks[2:4]] == [mark.color for mark in panel.marks[:2]]
    gram = tiny.last("gram")[0, 0].astype(float)
    eigenvalues = np.linalg.eigvalsh(gram)
    x = np.concatenate([mark.x for mark in points.marks])
    assert (x**2).sum() == pytest.approx(eigenvalues[-1], rel=1e-4)
    assert points.marks[0].x.mean() > points.marks[1].x.mean()  # label +1 on the right
    np.testing.assert_allclose(np.diagonal(tanh.marks[0].z), 1, rtol=1e-5)
    z = tanh.marks[0].z
    assert z[:8, :8].mean() > z[:8, 8:].mean()  # the first label sorts first
    assert not np.allclose(z, relu.marks[0].z)


@pytest.mark.claims
def test_claims_hold_for_a_fresh_seed_and_their_controls_fail():
    for verdict in judge_history(EXPERIMENT, EXPERIMENT.run(seeds=(811,))):
        assert verdict.passed, verdict
    lazy = EXPERIMENT.metrics(EXPERIMENT.run(EXPERIMENT.configure("lazy"), (811,)))
    for name in ("relu_keeps_inputs", "tanh_forgets_inputs"):
        assert not CLAIMS[name].bound.holds(lazy[CLAIMS[name].metric]).any(), name
