"""Sign descent, Adam and gradient descent on signal and noise: data, model, updates, theory, metrics."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.phenomena.attention import sign_descent
from dyntoolkit.phenomena.attention.sign_descent import EXPERIMENT, Config, draw, forward, growth, overlap

CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


def test_samples_are_a_signal_and_a_sparse_noise_patch():
    x, y = draw([Config(noise_scale=0.5, signal=3.0)], [0], "some", 300)
    assert set(y[0].tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(x[0, :, 0, 0], 3 * y[0])
    assert not x[0, :, 0, 1:].any()
    assert not x[0, :, 1, 0].any()
    assert ((x[0, :, 1] != 0).sum(1) == 25).all()
    assert x[0, :, 1][x[0, :, 1] != 0].std() == pytest.approx(0.5, rel=0.05)
    assert (x[0, :, 1] != 0).any(0)[1:].float().mean() > 0.99  # all coordinates but the first


def test_wrong_labels_leave_the_signal_and_are_the_share_asked_for():
    x, y = sign_descent.training_samples([Config(flip=0.2, n_train=80), Config(n_train=80)], [0, 0])
    right = x[:, :, 0, 0].sign() == y
    assert 0.65 < right[0].float().mean() < 0.95
    assert right[1].all()


def naive(theta, x):
    """Output and attention of one network on one sample (2, 500)."""
    query, key, value = theta.split([10_000, 10_000, 10_000])
    v = (value.view(20, 500)[:10].sum(0) - value.view(20, 500)[10:].sum(0)) / 10
    A = torch.softmax((x @ query.view(500, 20)) @ (x @ key.view(500, 20)).T, dim=1)
    return sum(A[i, a] * (x[a] @ v) for i in range(2) for a in range(2)), A


def test_three_updates_are_those_of_torch_for_each_optimizer():
    configs = [Config(init_scale=1.0, n_train=10), Config(init_scale=0.5, lr=1e-3, lr_gd=1.0, n_train=10, flip=0.2)]
    samples = sign_descent.training_samples(configs, [0, 1])
    start = sign_descent.initial(configs, [0, 1])
    theta, *rest = sign_descent.Adam.start(start)
    state = sign_descent.State(theta[:, None].repeat(1, 3, 1), *rest)
    step = sign_descent.make_step(configs, samples)
    for _ in range(3):
        state = step(state, None)
    config, x, y = configs[1], samples.x[1], samples.y[1]
    kinds = {1: torch.optim.Adam, 2: torch.optim.SGD}
    for c, lr in ((0, config.lr), (1, config.lr), (2, config.lr_gd)):
        theta = start[1].clone().requires_grad_()
        optimizer = kinds.get(c, torch.optim.SGD)([theta], lr=lr)
        for _ in range(3):
            optimizer.zero_grad()
            f = torch.stack([naive(theta, one)[0] for one in x])
            functional.softplus(-y * f).mean().backward()
            if c == 0:
                theta.grad.sign_()
            optimizer.step()
        moved, expected = state.theta[1, c] - start[1], theta.detach() - start[1]
        # where a gradient is rounding alone its sign is anything
        assert (moved - expected).norm() < 0.02 * expected.norm(), c


def test_attention_and_output_are_those_of_the_recipe():
    samples = draw([Config(init_scale=3.0)], [0], "some", 4)
    theta = sign_descent.initial([Config(init_scale=3.0)], [0])
    f, A, values = forward(theta[:, None], samples.x)
    for i in range(4):
        output, attention = naive(theta[0], samples.x[0, i])
        assert float(f[0, 0, i]) == pytest.approx(float(output), rel=1e-4)
        torch.testing.assert_close(A[0, 0, i], attention, rtol=1e-4, atol=1e-6)
    assert values.shape == (1, 1, 4, 2)


def test_a_frame_shows_losses_errors_and_what_patches_take_and_make():
    configs = [Config(init_scale=3.0, n_train=10, flip=0.2)]
    training, test = sign_descent.training_samples(configs, [2]), draw(configs, [2], "test", 20)
    theta = torch.stack([sign_descent.initial(configs, [seed]) for seed in (2, 3, 4)], 1)  # (R, 3, P)
    none = torch.zeros(1)
    found = sign_descent.measure(sign_descent.State(theta, none, none, none), training, test)
    for c in range(3):
        of_training = [naive(theta[0, c], one) for one in training.x[0]]
        of_test = torch.stack([naive(theta[0, c], one)[0] for one in test.x[0]])
        value = theta[0, c, 20_000:].view(20, 500)
        v, y = (value[:10].sum(0) - value[10:].sum(0)) / 10, training.y[0]
        f = torch.stack([output for output, _ in of_training])
        expected = {
            "train": functional.softplus(-y * f).mean(),
            "test": functional.softplus(-test.y[0] * of_test).mean(),
            "error": (test.y[0] * of_test <= 0).float().mean(),
            "attention": torch.stack([A[1, 0] for _, A in of_training]).mean(),
            "value_noise": (y * (training.x[0, :, 1] @ v)).mean(),
            "value_signal": 2 * v[0],
        }
        for name, number in expected.items():
            assert found[name][0, c] == pytest.approx(float(number), rel=1e-4, abs=1e-6), name
        np.testing.assert_allclose(
            found["on_signal"][0, c], [A[:, 0].numpy() for _, A in of_training], rtol=1e-3, atol=1e-6
        )


def test_theory_is_the_number_of_the_recipe_and_the_average_over_drawn_data():
    assert growth(Config()) == pytest.approx(0.0102, abs=5e-5)
    assert overlap(40, 25) == pytest.approx(0.64, abs=5e-3)
    assert overlap(1, 25) == 1
    x, y = draw([Config(n_train=40)] * 40, range(40), "some", 40)
    v = (y[:, :, None] * x[:, :, 1]).sum(1).sign()  # one step of sign descent, (R, 500)
    made = (y * torch.einsum("rnd,rd->rn", x[:, :, 1], v)).mean()
    assert 2 * Config().lr * float(made) == pytest.approx(growth(Config()), rel=0.03)


def test_the_metrics_of_courses_that_are_known():
    config = Config(n_train=10, sparsity=10)
    history, _ = EXPERIMENT.start([config], [0])
    for k in [*range(11), 20, 100, 150, 200, 400, 500]:
        sign = max(0.5 * np.exp(-0.05 * k), 1e-12)
        values = {
            "train": np.array([[1 - k / 501, 0.04, 1.0]]),
            "test": np.array([[0.7 + k / 1000, 0.7, 0.7]]),
            "error": np.array([[0.5, 0.4, 0.1]]),
            "attention": np.array([[sign, 1e-3 if k < 500 else 0.2, 0.7]]),
            "value_noise": np.array([[1 + 2 * growth(config) * k, 0, 0]]),
            "value_signal": np.zeros((1, 3)),
            "on_signal": np.zeros((1, 3, 10, 2)),
        }
        history.append(Frame(k, 500, values, np.full(1, -1)))
    found = EXPERIMENT.metrics(history)
    expected = {
        "value_ratio": 2,
        "value_ratio_naive": 2 * overlap(10, 10),
        "decay_rate": 0.05,
        "decay_r2": 1,
        "test_range": 1.2 / 0.72,
        "test_range_gd": 1,
        "attention_400": 0.2,
        "t_fit_sign": 500,
        "t_fit_adam": 0,
        "error_gd": 0.1,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert np.isnan(found["t_fit_gd"])
    assert CLAIMS["exponential"].value(found, config) == pytest.approx(0.05)
    assert CLAIMS["adam_alike"].value(found, config) == pytest.approx(0.4)
    assert CLAIMS["sign_overfits"].value(found, config) == pytest.approx(0.5)
    assert np.isnan(CLAIMS["sign_overfits"].value({**found, "train_sign": np.array([0.02])}, config))


@pytest.mark.claims
def test_a_fresh_seed_keeps_the_claims():
    with asking(Asked("eager")):
        found = EXPERIMENT.metrics(EXPERIMENT.run(seeds=(811,)))
    for claim in EXPERIMENT.claims:
        value = claim.value(found, Config()) if claim.value else found[claim.metric]
        assert claim.bound.holds(value).all(), (claim.id, value)
        for control in claim.controls:
            if not control.changes:
                bound = control.bound or claim.bound
                assert bound.holds(found[control.metric]).all() == (control.bound is not None), control.label
