"""Modular addition: network and metrics against their formulas, training against torch.optim, the whole Config."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.loop import geometrically
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.grokking import modular
from dyntoolkit.phenomena.grokking.modular import EXPERIMENT, PRIMES, Config

SMALL = Config(p="11", width=32, steps=100)


def drawn(config, seeds=(3,)):
    return modular.initial_theta([config] * len(seeds), seeds), modular.draw_data(config, seeds)


def naive_outputs(theta, p):
    """f_c(a, b) of one run from the sums written out, (p, p, p) with axes a, b, c."""
    U, V, O = theta.double().view(3, -1, p).numpy()  # noqa: E741
    return np.array([[(O * ((U[:, a] + V[:, b]) ** 2)[:, None]).sum(0) for b in range(p)] for a in range(p)])


def naive_loss(theta, data, chosen):
    p = data.target.shape[1]
    f = naive_outputs(theta, p)
    pairs = [divmod(i, p) for i in np.flatnonzero(chosen.numpy())]
    return np.mean([sum((f[a, b, c] - (c == (a + b) % p)) ** 2 for c in range(p)) for a, b in pairs])


def test_network_losses_and_accuracies_are_those_of_the_recipe():
    theta, data = drawn(SMALL, (3, 4))
    values = modular.measure(theta, data)
    for r in range(2):
        f = naive_outputs(theta[r], 11)
        np.testing.assert_allclose(modular.network(theta, 11)[r].view(11, 11, 11), f, rtol=1e-3, atol=1e-4)
        for name, chosen in (("train", data.train[r]), ("test", ~data.train[r])):
            right = [f[i // 11, i % 11].argmax() == (i // 11 + i % 11) % 11 for i in np.flatnonzero(chosen)]
            assert values[f"{name}_loss"][r] == pytest.approx(naive_loss(theta[r], data, chosen), rel=1e-4)
            assert values[f"{name}_accuracy"][r] == pytest.approx(np.mean(right))
    assert modular.loss(theta, data).numpy() == pytest.approx(values["train_loss"])


def test_the_gains_are_those_of_the_recipe_and_1_for_the_exact_table():
    theta, data = drawn(SMALL)
    f, p = naive_outputs(theta[0], 11), 11
    G = [np.mean([f[a, b, (a + b + d) % p] for a in range(p) for b in range(p)]) for d in range(p)]
    expected = [abs(sum(G[d] * np.exp(-2j * np.pi * k * d / p) for d in range(p))) for k in range(1, 6)]
    np.testing.assert_allclose(modular.mode_gains(modular.network(theta, p))[0], expected, rtol=1e-3)
    np.testing.assert_allclose(modular.mode_gains(data.target.unsqueeze(0)), 1, rtol=1e-9)


def test_the_split_and_the_initial_weights_are_those_of_the_recipe():
    config = Config(train_fraction=0.7, init_scale=2)
    theta, data = drawn(config, range(20))
    assert (data.train.sum(1) == round(0.7 * 529)).all()
    assert not torch.equal(data.train[0], data.train[1])
    U, V, O = modular.weights(theta, 23)  # noqa: E741
    assert U.shape == (20, 128, 23)
    assert [float(w.std()) for w in (U, V, O)] == pytest.approx([2 / 46**0.5, 2 / 46**0.5, 2 / 128**0.5], rel=0.02)
    start = modular.measure(theta, data)["train_loss"]
    assert config.start_loss == pytest.approx(9.35, abs=0.005)
    assert start.mean() == pytest.approx(config.start_loss, rel=0.15)


@pytest.mark.parametrize("optimizer", ["adamw", "gd"])
def test_training_is_torchs_own(optimizer):
    config = SMALL.replace(optimizer=optimizer, lr=0.02, weight_decay=0.5, eps=1e-6, init_scale=1)
    theta, data = drawn(config)
    history = EXPERIMENT.run(config, (3,))
    leaf = torch.nn.Parameter(theta)
    if optimizer == "adamw":
        rule = torch.optim.AdamW([leaf], lr=0.02, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.5)
    else:
        rule = torch.optim.SGD([leaf], lr=0.02, momentum=0.9)
    seen = []
    for _ in range(31):
        rule.zero_grad()
        value = modular.loss(leaf, data).sum()
        value.backward()
        seen.append(float(value.detach()))
        rule.step()
    known = history.at("train_loss") <= 30
    np.testing.assert_allclose(
        history["train_loss"][known, 0], np.array(seen)[history.at("train_loss")[known]], rtol=1e-3
    )


def test_a_modulus_is_a_prime_as_a_word_or_a_number():
    assert Config(p=23) == Config(p=23.0) == Config(p="23") == Config()
    assert Config(p=31).modulus == 31
    assert Config(p=31).modes == 15
    for wrong in (22, 7, "x", 11.5, True, None):
        with pytest.raises(InputError, match="p takes one of 11, 13, 17, 19, 23, 29, 31"):
            Config(p=wrong)
    assert [Config(p=p).p for p in PRIMES] == list(PRIMES)


@pytest.mark.claims
def test_default_run_claims_metrics_and_figure():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    assert tuple(history.at("train_loss")) == geometrically(800, 60)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert claim.where(EXPERIMENT.configure("rich"))
        assert not claim.where(EXPERIMENT.configure("no_decay"))
        assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    steps, test = history.at("test_accuracy"), history["test_accuracy"][:, 0]
    first = next(k for k, share in zip(steps, test, strict=True) if share > 0.9)
    memorized = next(k for k, share in zip(steps, history["train_accuracy"][:, 0], strict=True) if share > 0.95)
    assert metrics["delay_accuracy"][0] == first / memorized
    _, accuracy, gains, spectrum = EXPERIMENT.panels(history)
    assert accuracy.marks[1].y[-1] == test[-1]
    np.testing.assert_array_equal(gains.marks[0].z, history["gains"][1:, 0].T)
    assert gains.marks[0].z[:, -1].min() == metrics["g_min"][0]
    np.testing.assert_allclose(spectrum.marks[0].z.sum(1), 1, rtol=1e-5)
    assert spectrum.marks[0].z.max(1).mean() == pytest.approx(metrics["concentration_end"][0], rel=1e-5)
