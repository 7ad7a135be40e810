"""Kicks: against copies of torch's networks, metrics of hand-written curves, claims, figure."""

from contextlib import closing
from copy import deepcopy
from functools import partial
from itertools import takewhile

import numpy as np
import pytest
import torch
from run_together import run_together
from torch_twin import between, layers_of, loss_and_error, theta_of, twin

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.figure.panels import Level
from dyntoolkit.phenomena.chaos import _training, amplification
from dyntoolkit.phenomena.chaos.amplification import EXPERIMENT, PRESETS, Config

TINY = Config(n_train=200, batch=16, hidden=1, width=16, steps=500, eps=1e-2)
SIZES = (64, 16, 10)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}

run = partial(run_together, EXPERIMENT)


def twin_step(network, velocity, x, y, lr, mu):
    """One update of heavy ball, written out; the new velocity."""
    network.zero_grad()
    torch.nn.functional.cross_entropy(network(x), y).backward()
    parameters = list(network.parameters())
    velocity = [mu * b + p.grad for b, p in zip(velocity, parameters, strict=True)]
    with torch.no_grad():
        for p, b in zip(parameters, velocity, strict=True):
            p -= lr * b
    return velocity


def kicked(network, direction, eps):
    theta = theta_of(network)
    return twin(SIZES, theta + eps * theta.norm() * direction / direction.norm())


def test_copies_are_those_of_torch_kicked_at_their_steps():
    """Of a run among others, with settings of its own: the momentum buffer is copied, the batches are shared."""
    other = TINY.replace(decay="cosine")
    own = other.replace(lr=0.05, momentum=0.8, label_noise=0.3, init_scale=0.7, eps=5e-3)
    history, frames = EXPERIMENT.start([other, own], [1, 9])
    with asking(Asked("eager")), closing(frames):
        for frame in takewhile(lambda frame: frame.step <= 40, frames):
            history.append(frame)
    problem = _training.draw([own], [9])
    x, y = problem.x[0], problem.y[0]
    batches = _training.batches([own], [9])(0, 60)
    network = twin(SIZES, _training.initial([own], [9])[0])
    directions = Stream([9], "kicks").normal(9, sum(p.numel() for p in network.parameters()))[0]
    velocity, copies = [torch.zeros_like(p) for p in network.parameters()], {}
    seen = dict(zip(history.at("amplification"), history["amplification"][:, 1], strict=True))
    for k in range(41):
        if k in (0, 2, 8, 25):
            copies[k] = kicked(network, directions[1 + len(copies)], own.eps), deepcopy(velocity)
        if k in seen:
            theta = theta_of(network)
            expected = [(theta_of(copy) - theta).norm() / theta.norm() / own.eps for copy, _ in copies.values()]
            np.testing.assert_allclose(seen[k][: len(copies)], torch.stack(expected).detach(), rtol=2e-3, err_msg=k)
            assert np.isnan(seen[k][len(copies) :]).all()
            assert seen[k][len(copies) - 1] == pytest.approx(1, rel=1e-3) or k not in copies
        rows, lr = batches.samples[k, 0], float(own.lr * batches.factor[k])
        velocity = twin_step(network, velocity, x[rows], y[rows], lr, own.momentum)
        for t0, (copy, buffer) in copies.items():
            copies[t0] = copy, twin_step(copy, buffer, x[rows], y[rows], lr, own.momentum)
    assert sorted(seen) == [0, 2, 8, 20, 25, 40]


@pytest.fixture(scope="module")
def tiny():
    with asking(Asked("eager")):
        return run([TINY, TINY.replace(lr=0.01)], [0, 1])


def test_frames_and_shapes(tiny):
    assert TINY.kicks == [0, 2, 8, 25, 50, 100, 200, 375]
    assert Config().kicks == [0, 10, 30, 100, 200, 400, 800, 1500]
    assert set(range(0, 501, 20)) | set(TINY.kicks) == set(tiny.at("train_loss").tolist())
    assert tiny.at("disagreement").tolist() == [0, 200, 400, 500]
    assert tiny.at("barrier").tolist() == [500]
    assert np.isfinite(tiny.last("barrier")).all()
    assert (tiny["disagreement"][0, :, 1:] != tiny["disagreement"][0, :, 1:]).all()  # NaN: not made yet
    assert ((tiny.last("disagreement") >= 0) & (tiny.last("disagreement") < 1)).all()
    assert tiny["train_loss"][-1, 0] < tiny["train_loss"][0, 0] / 10


def test_a_barrier_is_the_rise_over_the_mean_of_the_ends():
    generator = torch.Generator().manual_seed(0)
    problem = _training.draw([TINY], [5])
    P = sum((fan_in + 1) * out for fan_in, out in ((64, 16), (16, 10)))
    copies, trunk = (0.3 * torch.randn(*shape, generator=generator) for shape in ((1, 2, P), (1, P)))
    found = amplification.barriers(copies, trunk, TINY, problem)
    x, y = problem.x[0].numpy(), problem.y[0].numpy()
    for c in range(2):
        ends = [layers_of(twin(SIZES, theta)) for theta in (copies[0, c], trunk[0])]
        losses = [loss_and_error(between(*ends, k / 10), x, y)[0] for k in range(11)]
        assert found[0, c].item() == pytest.approx(max(losses) - (losses[0] + losses[-1]) / 2, rel=1e-4)


def by_hand(last):
    """A finished history of 2 runs with the last amplifications `last` (2, 8), and training losses by hand."""
    history, _ = EXPERIMENT.start([TINY] * 2, [0, 1])
    nothing = np.full((2, 8), np.nan)
    for step, loss in ((0, [2.0, 2.0]), (80, [0.001, 0.5]), (100, [0.02, 0.5]), (200, [0.009, 0.4])):
        history.append(Frame(step, 500, {"train_loss": np.array(loss), "amplification": nothing}, np.full(2, -1)))
    values = {
        "train_loss": np.array([0.001, 0.3]),
        "amplification": np.array(last),
        "disagreement": np.linspace([0.02, 0.009], [0.002, 0.003], 8).T,
        "barrier": np.linspace([0.1, 0.2], [0.0, 0.1], 8).T,
        "test_accuracy": np.array([0.9, 0.8]),
    }
    history.append(Frame(500, 500, values, np.full(2, -1)))
    return history


def test_the_metrics_are_those_of_the_recipe():
    found = EXPERIMENT.metrics(by_hand([[1e4, 9.0, 1e3, 1e2, 9.9, 1.0, 0.0, 0.1], [1e3] * 7 + [10.0]]))
    expected = {
        "amp_0": [4, 3],
        "amp_8": [3, 3],
        "amp_100": [0, 3],
        "amp_375": [-1, 1],
        "amp_first": [4, 3],
        "amp_last": [-1, 1],
        "drop": [5, 2],
        "transition": [50, np.nan],  # from there on below ten; ten itself is not below
        "disagreement_first": [0.02, 0.009],
        "disagreement_last": [0.002, 0.003],
        "barrier_first": [0.1, 0.2],
        "barrier_last": [0, 0.1],
        "t_fit": [200, np.nan],  # step 80 is not asked
        "train_loss": [0.001, 0.3],
        "test_accuracy": [0.9, 0.8],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)
    assert found["amp_200"][0] == -12  # no difference at all
    assert set(found) - set(expected) == {"amp_2", "amp_25", "amp_50", "amp_200"}
    seen = CLAIMS["seen_in_outputs"].value(found, TINY)
    np.testing.assert_allclose(seen, [0.02, np.nan])  # the second one is seen at the end, too


def test_where_claims_are_expected():
    assert [name for name, claim in CLAIMS.items() if claim.where(Config())] == list(CLAIMS)[:4]
    assert [name for name, claim in CLAIMS.items() if claim.where(EXPERIMENT.configure("noisy_cosine"))] == [
        "cosine_stabilises"
    ]
    for name in ("softmax", "gentle", "noisy", "tiny_kick"):
        assert not any(claim.where(EXPERIMENT.configure(name)) for claim in CLAIMS.values()), name


def test_saturation_is_said_where_chaos_reaches_it():
    saturation = EXPERIMENT.predictions["amp_first"]
    assert saturation(Config()) == pytest.approx(np.log10(0.6e4))
    assert saturation(Config(eps=1e-6)) == pytest.approx(np.log10(0.6e6))
    assert np.isnan([saturation(Config(**changes)) for changes in ({"hidden": 0}, {"lr": 0.01}, {"momentum": 0})]).all()


def test_the_figure_shows_the_kicks_with_their_bounds_and_the_fit(tiny):
    by_kick, courses, loss, outputs = EXPERIMENT.panels(tiny)
    line = by_kick.marks[0]
    np.testing.assert_allclose(line.x, [1, *TINY.kicks[1:]])  # step 0 has a place on the logarithmic axis
    np.testing.assert_allclose(line.y, np.median(tiny.last("amplification"), 0))
    np.testing.assert_allclose(line.high, tiny.last("amplification").max(0))
    assert [mark.y for mark in by_kick.marks if isinstance(mark, Level)][:2] == [1, pytest.approx(60)]
    fitted = np.nanmedian(EXPERIMENT.metrics(tiny)["t_fit"])
    for panel in (by_kick, loss, outputs):
        assert panel.marks[-1].x == pytest.approx(fitted, nan_ok=True)
    assert fitted > 0
    first = [np.flatnonzero(np.isfinite(mark.y))[0] for mark in courses.marks[:-1]]
    assert [mark.x[k] for mark, k in zip(courses.marks, first, strict=False)] == TINY.kicks
    np.testing.assert_allclose([mark.y[k] for mark, k in zip(courses.marks, first, strict=False)], 1, rtol=1e-3)
    np.testing.assert_allclose(outputs.marks[0].y, np.median(tiny.last("disagreement"), 0))


@pytest.mark.claims
def test_claims_hold_for_a_fresh_seed_and_their_controls_fail():
    found = {
        name: run_metrics(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure(name), (811,)))
        for name in ("chaos", "softmax", "noisy", "noisy_cosine")
    }
    held = {"chaos": list(CLAIMS)[:4], "noisy_cosine": ["cosine_stabilises"]}
    for preset, names in held.items():
        for name in names:
            claim = CLAIMS[name]
            value = claim.value(found[preset], Config()) if claim.value else found[preset][claim.metric]
            assert claim.bound.holds(value).all(), (name, value)
    for name in ("chaotic_start", "two_phases", "seen_in_outputs"):
        assert not CLAIMS[name].bound.holds(found["softmax"][CLAIMS[name].metric]).any(), name
    for name in ("stable_end", "two_phases", "cosine_stabilises"):
        assert not CLAIMS[name].bound.holds(found["noisy"][CLAIMS[name].metric]).any(), name
    assert set(PRESETS) > set(found)
