"""The best step of gradient descent in context: the recipe's numbers, and an average over drawn prompts."""

import numpy as np
import pytest

from dyntoolkit.phenomena.attention._theory import Step, variances


def test_the_numbers_of_the_recipe():
    plain = Step.of(variances(5, 1), 20, 0, whitened=False)
    np.testing.assert_allclose(plain.eta, 0.7692, atol=5e-5)
    assert plain.loss == pytest.approx(0.5769, abs=5e-5)
    assert plain.plain_loss == pytest.approx(plain.loss)
    assert Step.of(variances(5, 1), 20, 1, whitened=False).eta[0] == pytest.approx(0.741, abs=5e-4)
    preconditioned = Step.of(variances(5, 10), 20, 0, whitened=False)
    assert preconditioned.eta.max() / preconditioned.eta.min() == pytest.approx(5.44, abs=5e-3)
    assert preconditioned.plain_loss / preconditioned.loss == pytest.approx(1.472, abs=5e-4)
    whitened = Step.of(variances(5, 10), 20, 0, whitened=True)
    assert whitened.eta.max() / whitened.eta.min() == pytest.approx(10)


def test_variances_fall_geometrically_from_large_to_small_with_mean_one():
    found = variances(4, 27)
    np.testing.assert_allclose(found[:-1] / found[1:], 3)
    assert found.mean() == pytest.approx(1)
    np.testing.assert_allclose(variances(1, 1), [1])


@pytest.mark.parametrize("whitened", [False, True])
def test_the_loss_is_the_average_over_prompts_and_least_at_the_best_step(whitened):
    """Of 200 000 prompts with three examples of two inputs."""
    rng, lam, n, noise_std = np.random.default_rng(0), variances(2, 4), 3, 0.7
    w = rng.standard_normal((200_000, 2)) / (np.sqrt(lam) if whitened else 1)
    x = rng.standard_normal((200_000, n + 1, 2)) * np.sqrt(lam)
    y = (x @ w[..., None])[..., 0]
    noisy = y[:, :n] + noise_std * rng.standard_normal((200_000, n))
    h = (noisy[..., None] * x[:, :n]).mean(1)  # (prompts, d)
    step = Step.of(lam, n, noise_std, whitened)

    def average(eta):
        return ((h * eta * x[:, n]).sum(1) - y[:, n]) ** 2 / 2

    assert average(step.eta).mean() == pytest.approx(step.loss, rel=0.02)
    for j in range(2):  # a parabola in each direction
        bent = [average(step.eta + bend * (np.arange(2) == j)).mean() for bend in (-0.2, 0.2)]
        rise = step.quadratic[j] * 0.2**2 / 2
        np.testing.assert_allclose(bent, step.loss + rise, rtol=0.02)
