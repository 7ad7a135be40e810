import numpy as np
import pytest
import torch

from dyntoolkit.probes.linearity import cosine_distance, feature_linearity, log_slope, parabola_fit


def features(seed: int) -> list[torch.Tensor]:
    """Post-ReLU features of 2 runs, 5 points, layers of 4 and 3 units."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 5, width, generator=generator).relu() for width in (4, 3)]


def test_feature_linearity_is_its_definition_point_by_point() -> None:
    f_i, f_j, f_mid, alpha = features(0), features(1), features(2), torch.tensor([0.3, 0.8])
    found = feature_linearity(f_i, f_j, f_mid, alpha)
    for r in range(2):
        for layer in range(2):
            i, j, mid = (f[layer][r].double().numpy() for f in (f_i, f_j, f_mid))
            a = float(alpha[r])
            ctl, base, coef, deviation, spread = [], [], [], 0.0, 0.0
            for x in range(5):
                mix = a * i[x] + (1 - a) * j[x]
                ctl.append(1 - mid[x] @ mix / (np.linalg.norm(mid[x]) * np.linalg.norm(mix) + 1e-12))
                base.append(1 - i[x] @ j[x] / (np.linalg.norm(i[x]) * np.linalg.norm(j[x]) + 1e-12))
                coef.append(mid[x] @ mix / (mix @ mix + 1e-12))
                deviation += np.sum((mid[x] - mix) ** 2)
                spread += np.sum((i[x] - j[x]) ** 2)
            expected = [np.mean(ctl), np.mean(base), np.mean(coef), deviation**0.5, (deviation / spread) ** 0.5]
            np.testing.assert_allclose([column[r, layer] for column in found], expected, rtol=1e-6)


def test_a_linear_network_is_perfectly_linear() -> None:
    f_i, f_j = ([f + 0.1 for f in features(seed)] for seed in (0, 1))
    alpha = torch.tensor([0.25, 0.5])
    weight = alpha[:, None, None]
    f_mid = [weight * a + (1 - weight) * b for a, b in zip(f_i, f_j, strict=True)]
    found = feature_linearity(f_i, f_j, f_mid, alpha)
    np.testing.assert_allclose(found.coef, 1, atol=1e-6)
    np.testing.assert_allclose(found.dev, 0, atol=1e-6)
    np.testing.assert_allclose(found.ctl, 0, atol=1e-9)


def test_dead_features_give_numbers() -> None:
    dead = [torch.zeros(1, 5, 4)]
    found = feature_linearity(dead, dead, dead, torch.tensor([0.5]))
    assert all(np.isfinite(column).all() for column in found)
    assert found.ctl[0, 0] == found.base[0, 0] == 1


def test_cosine_distance_keeps_its_sign() -> None:
    a = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    assert cosine_distance(a, -3 * a).item() == pytest.approx(2)
    assert cosine_distance(a, 3 * a).item() == pytest.approx(0, abs=1e-9)


def test_parabola_fit_finds_the_parabola() -> None:
    alpha = np.linspace(0.05, 0.95, 19)
    curves = np.stack([3 * alpha * (1 - alpha), alpha], 1)  # a parabola, and a straight line
    c, r2 = parabola_fit(alpha, curves)
    s = alpha * (1 - alpha)
    assert c[0] == pytest.approx(3)
    assert r2[0] == pytest.approx(1)
    best = np.linalg.lstsq(s[:, None], alpha, rcond=None)[0][0]
    assert c[1] == pytest.approx(best)
    assert r2[1] == pytest.approx(1 - np.sum((alpha - best * s) ** 2) / np.sum((alpha - 0.5) ** 2))
    assert np.isnan(parabola_fit(alpha, np.zeros(19))[1])


def test_log_slope_is_polyfit() -> None:
    generator = np.random.default_rng(0)
    x, y = np.array([0.03, 0.06, 0.12, 0.25]), np.exp(generator.normal(size=(4, 2, 3)))
    flat = np.polyfit(np.log(x), np.log(y.reshape(4, 6)), 1)[0]
    np.testing.assert_allclose(log_slope(x, y), flat.reshape(2, 3))
    assert log_slope(y[:, 0, 0], y[:, 0, 0] ** 2) == pytest.approx(2)
    assert np.isnan(log_slope(x, np.zeros(4)))
