"""Collapsing attention: the plain network is that of another experiment, the other one is torch's spectral norm."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.phenomena.attention import entropy
from dyntoolkit.phenomena.attention.entropy import EXPERIMENT, MATRICES, Config, Reparametrized, State
from dyntoolkit.phenomena.loss_spikes import logit_growth

SHORT = Config(steps=50, width=16, batch_size=4)


def begun(network, configs):
    model = Reparametrized(network)
    theta, left = model.start(network.init(Stream([0, 1], "init")))
    none = torch.zeros(2, dtype=torch.int64)
    return model, State(theta, torch.zeros_like(theta), torch.zeros_like(theta), none, left)


def test_the_plain_network_is_that_of_the_experiment_on_growing_logits():
    configs, seeds = [SHORT, SHORT.replace(lr=0.01)], [3, 4]
    theirs = [logit_growth.Config(lr=c.lr, steps=50, width=16, batch_size=4) for c in configs]
    with asking(Asked("eager")):
        frames = [frame for frame in EXPERIMENT.simulate(configs, seeds) if frame.values]
        expected = [frame for frame in logit_growth.simulate(theirs, seeds) if frame.values]
    assert [frame.step for frame in frames] == [frame.step for frame in expected] == [0, 10, 20, 30, 40, 50]
    for found, other in zip(frames, expected, strict=True):
        for name in ("logit_max", "entropy", "loss", "validation", "attention"):
            np.testing.assert_allclose(found.values[name][:, 0], other.values[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_every_matrix_starts_at_spectral_norm_one_and_follows_its_factor():
    network = Transformer(24, width=16)
    model, state = begun(network, [SHORT] * 2)
    theta, left = state.theta.flatten(0, 1), state.left.flatten(0, 1)
    theta[:, network.parameters + 3] = -2.0  # the factor of the first layer's output
    used, stored = (network.split(part) for part in (model.weights(theta, *model.follow(theta, left)), theta[:, :-12]))
    for name, block in used.items():
        torch.testing.assert_close(block[::2], stored[name][::2])  # plain
        if name.startswith(MATRICES):
            gamma = -2 if name == "output0" else 1
            size = torch.linalg.matrix_norm(stored[name], 2)[1::2, None, None]
            torch.testing.assert_close(block[1::2], gamma * stored[name][1::2] / size, rtol=1e-4, atol=1e-5)
        else:
            torch.testing.assert_close(block, stored[name])


def test_updates_are_those_of_torch_with_power_iterations_that_have_no_gradient():
    configs = [SHORT, SHORT.replace(lr=0.03)]
    network = Transformer(24, width=16)
    model, state = begun(network, configs)
    start, step, batches = state, entropy.make_step(configs, model), entropy.make_batches(configs, [0, 1])(0, 2)
    for k in range(2):
        state = step(state, entropy.Batch(*(part[k] for part in batches)))
    theta, u = start.theta[1, 1].clone().requires_grad_(), dict(model._each(start.left[1, 1:]))
    adamw = torch.optim.AdamW([theta], betas=(0.9, 0.95), weight_decay=0)
    for k in range(2):
        used = network.split(theta[None, :-12])
        for m, name in enumerate(u):
            V = used[name][0]
            v = (V.detach().T @ u[name][0]) / (V.detach().T @ u[name][0]).norm()
            u[name] = (V.detach() @ v / (V.detach() @ v).norm())[None]
            used[name] = theta[network.parameters + m] * used[name] / (u[name][0] @ V @ v)
        weights = torch.cat([block.flatten(1) for block in used.values()], 1)
        adamw.zero_grad()
        logits = network(weights, batches.tokens[k, 3:])
        torch.nn.functional.cross_entropy(logits.flatten(0, 2), batches.targets[k, 3:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_([theta], 1.0)
        adamw.param_groups[0]["lr"] = 0.03 * float(entropy.schedule(torch.tensor(k), 50))
        adamw.step()
    moved, expected = state.theta[1, 1] - start.theta[1, 1], theta.detach() - start.theta[1, 1]
    assert (moved - expected).norm() < 1e-2 * expected.norm()
    torch.testing.assert_close(state.left[1, 1], torch.cat(list(u.values()), 1)[0], rtol=1e-3, atol=1e-4)
    assert (state.theta[:, 0, -12:] == 1).all()  # the plain network has no factors


def test_wrong_targets_are_the_share_asked_for_and_the_text_stays():
    configs = [SHORT.replace(target_noise=0.4), SHORT]
    tokens, targets = entropy.make_batches(configs, [5, 5])(0, 51)  # (K, 4, B, 32)
    assert (tokens[:, 0] == tokens[:, 2]).all()
    assert (tokens[:, 0] == tokens[:, 1]).all()  # both networks see the same
    assert (targets[:, 2, :, :-1] == tokens[:, 2, :, 1:]).all()
    wrong = (targets[:, 0] != targets[:, 2]).float().mean()
    assert wrong == pytest.approx(0.4 * 23 / 24, abs=0.02)


def test_metrics_and_claims_of_a_course_that_is_known():
    history, _ = EXPERIMENT.start([Config()], [0])
    for k, size in ((0, 9e9), (10, 6e3), (200, 10.0)):
        values = {
            "logit_max": np.array([[[size, 1.0], [30.0, 2.0]]]),
            "entropy": np.array([[[0.01 if k else 0.0, 2.0], [0.5, 0.4]]]),
            "loss": np.ones((1, 2)),
            "validation": np.array([[2.0, 0.9]]),
            "attention": np.ones((1, 2, 32, 32)),
            "gamma": np.ones((1, 12)),
        }
        history.append(Frame(k, 200, values, np.full(1, -1)))
    found = EXPERIMENT.metrics(history)
    expected = {"logit_max_plain": 6e3, "logit_max_sigma": 30, "entropy_min_plain": 0.01, "entropy_min_sigma": 0.4}
    for name, value in {**expected, "val_plain": 2, "val_sigma": 0.9}.items():
        assert found[name] == pytest.approx(value), name
    values = [claim.value(found, Config()) for claim in EXPERIMENT.claims]
    np.testing.assert_allclose(values, [[0.01], [0.4], [0.9]])
    worse = {name: np.array([value]) for name, value in {**expected, "val_sigma": 0.9}.items()}
    worse |= {"logit_max_plain": np.array([4e3]), "logit_max_sigma": np.array([500.0]), "val_plain": np.array([1.0])}
    assert np.isnan([claim.value(worse, Config()) for claim in EXPERIMENT.claims]).all()
    scores, entropies, *_, factors = EXPERIMENT.panels(history)
    assert scores.marks[0].y.tolist() == [9e9, 6e3, 10]
    assert entropies.marks[1].y[-1] == pytest.approx(0.4)
    assert len(factors.marks) == 13
    query, key = factors.marks[:2]
    assert query.width > key.width + 2  # both are seen, though they move alike


def test_the_sweep_shows_both_networks_by_learning_rate():
    found = dict.fromkeys(EXPERIMENT.metrics(EXPERIMENT.start([Config()], [0])[0]), 1.0)
    rows = {(Config(lr=lr), 0): {**found, "val_sigma": lr} for lr in (0.01, 0.1)}
    loss, *_ = EXPERIMENT.sweep_panels(rows)
    np.testing.assert_allclose(loss.marks[1].x, [0.01, 0.1])
    np.testing.assert_allclose(loss.marks[1].y, [0.01, 0.1])
