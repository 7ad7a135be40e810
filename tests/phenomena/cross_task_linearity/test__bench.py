import numpy as np
import pytest
import torch

from dyntoolkit.engine.layers import MLP
from dyntoolkit.phenomena.cross_task_linearity._bench import (
    ALPHAS,
    LAMBDAS,
    SCALES,
    Bench,
    average,
    distance,
)

MODEL = MLP((64, 12, 8, 10), torch.relu)
Array = np.ndarray


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def bench() -> Bench:
    """Two runs, 5 test points for each task."""
    return Bench(
        MODEL, draw(2, 10, 64), torch.tensor([0, 1, 2, 3, 4] * 2), torch.tensor([0.3, 0.5]), torch.tensor([0.5, 0.8])
    )


@pytest.fixture
def pair() -> torch.Tensor:
    return start()[:, None] + 0.1 * draw(2, 2, MODEL.parameters, seed=2)


def start() -> torch.Tensor:
    return 0.3 * draw(2, MODEL.parameters, seed=1)


def outputs(theta: torch.Tensor, x: torch.Tensor) -> tuple[Array, Array, Array]:
    """Both hidden layers and the logits of one network (P,) on points (n, 64), written out."""
    W1, b1, W2, b2, W3, b3 = theta.split([64 * 12, 12, 12 * 8, 8, 8 * 10, 10])
    first = (x @ W1.view(64, 12) + b1).clamp_min(0)
    second = (first @ W2.view(12, 8) + b2).clamp_min(0)
    return tuple(h.double().numpy() for h in (first, second, second @ W3.view(8, 10) + b3))  # type: ignore[return-value]


def one_minus_cosine(a: Array, b: Array) -> float:
    """Mean over the points (rows)."""
    return float(
        np.mean([1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v) + 1e-12) for u, v in zip(a, b, strict=True)])
    )


def right(logits: Array, rows: slice) -> float:
    return float(np.mean(logits[rows].argmax(1) == np.array([0, 1, 2, 3, 4] * 2)[rows]))


ON_A, ON_B = slice(0, 5), slice(5, 10)


def test_average_and_distance_are_over_all_weights(pair: torch.Tensor) -> None:
    a, b = pair.double().numpy().swapaxes(0, 1)
    expected = np.array([[0.3], [0.5]]) * a + np.array([[0.7], [0.5]]) * b
    np.testing.assert_allclose(average(pair, torch.tensor([0.3, 0.5])), expected, rtol=1e-4, atol=1e-6)
    gap = [np.linalg.norm(a[r] - b[r]) / np.linalg.norm((a[r] + b[r]) / 2) for r in range(2)]
    np.testing.assert_allclose(distance(pair), gap)


def test_evaluate_is_the_recipe_run_by_run(bench: Bench, pair: torch.Tensor) -> None:
    found = bench.evaluate(pair, bench.ends(pair))
    for r, alpha in enumerate((0.3, 0.5)):
        f_a, f_b = outputs(pair[r, 0], bench.x[r]), outputs(pair[r, 1], bench.x[r])
        f_m = outputs(alpha * pair[r, 0] + (1 - alpha) * pair[r, 1], bench.x[r])
        mixed = [alpha * a + (1 - alpha) * b for a, b in zip(f_a, f_b, strict=True)]
        for k in range(3):
            assert found["ctl_l"][r, k] == pytest.approx(one_minus_cosine(f_m[k], mixed[k]), rel=1e-4)
            assert found["base_l"][r, k] == pytest.approx(one_minus_cosine(f_a[k], f_b[k]), rel=1e-4)
            gap = np.linalg.norm(f_m[k] - mixed[k]) / np.linalg.norm(f_a[k] - f_b[k])
            assert found["dev_l"][r, k] == pytest.approx(gap, rel=1e-4)
        assert found["own_acc"][r] == pytest.approx((right(f_a[2], ON_A) + right(f_b[2], ON_B)) / 2)
        assert found["cross_acc"][r] == pytest.approx((right(f_a[2], ON_B) + right(f_b[2], ON_A)) / 2)
        assert found["merged_acc"][r] == pytest.approx((right(f_m[2], ON_A) + right(f_m[2], ON_B)) / 2)
        assert found["ensemble_acc"][r] == pytest.approx((right(mixed[2], ON_A) + right(mixed[2], ON_B)) / 2)


def test_alpha_scan_is_the_recipe(bench: Bench, pair: torch.Tensor) -> None:
    *breaths, found = bench.alpha_scan(pair, bench.ends(pair))
    assert breaths == [{}] * 19
    f_a, f_b = outputs(pair[1, 0], bench.x[1]), outputs(pair[1, 1], bench.x[1])
    for i, alpha in enumerate(ALPHAS):
        f_m = outputs(float(alpha) * pair[1, 0] + float(1 - alpha) * pair[1, 1], bench.x[1])
        mixed = [alpha * a + (1 - alpha) * b for a, b in zip(f_a, f_b, strict=True)]
        gaps = [np.linalg.norm(f_m[k] - mixed[k]) for k in range(2)]
        np.testing.assert_allclose(found["path_deviation"][1, i], gaps, rtol=1e-4)
        assert found["path_merged_acc"][1, i] == pytest.approx(right(f_m[2], slice(0, 10)))
        assert found["path_ensemble_acc"][1, i] == pytest.approx(right(mixed[2], slice(0, 10)))


def test_displacement_scan_is_the_recipe(bench: Bench, pair: torch.Tensor) -> None:
    *_, found = bench.displacement_scan(start(), pair)
    for i, s in enumerate(SCALES):
        near = [start()[0] + float(s) * (theta - start()[0]) for theta in pair[0]]
        f_a, f_b, f_m = (outputs(theta, bench.x[0]) for theta in (*near, (near[0] + near[1]) / 2))
        gaps = [np.linalg.norm(f_m[k] - (f_a[k] + f_b[k]) / 2) for k in range(2)]
        np.testing.assert_allclose(found["pulled_deviation"][0, i], gaps, rtol=2e-3)


def test_arithmetic_is_the_recipe(bench: Bench, pair: torch.Tensor) -> None:
    *_, found = bench.arithmetic(start(), pair)
    for r, scale in enumerate((0.5, 0.8)):
        theta = start()[r]
        tau, other = pair[r, 0] - theta, pair[r, 1] - theta

        def hidden(weights: torch.Tensor, x: torch.Tensor = bench.x[r]) -> Array:
            return outputs(weights, x)[1]

        twice, twice_other = hidden(theta + 2 * scale * tau), hidden(theta + 2 * scale * other)
        added = one_minus_cosine(hidden(theta + scale * (tau + other)), (twice + twice_other) / 2)
        assert found["addition_ctl"][r] == pytest.approx(added, rel=1e-3)
        assert found["addition_base"][r] == pytest.approx(one_minus_cosine(twice, twice_other), rel=1e-3)
        plus, minus = hidden(theta + scale * tau), hidden(theta - scale * tau)
        assert found["negation_ctl"][r] == pytest.approx(one_minus_cosine(hidden(theta), (plus + minus) / 2), rel=1e-3)
        assert found["negation_base"][r] == pytest.approx(one_minus_cosine(plus, minus), rel=1e-3)
        before, after = outputs(theta, bench.x[r])[2], outputs(theta - scale * tau, bench.x[r])[2]
        assert found["target_drop"][r] == pytest.approx(right(before, ON_A) - right(after, ON_A))
        assert found["control_drop"][r] == pytest.approx(right(before, ON_B) - right(after, ON_B))


def test_arithmetic_scan_goes_from_the_start_to_the_whole_vector(bench: Bench, pair: torch.Tensor) -> None:
    *_, found = bench.arithmetic_scan(start(), pair)
    for i, scale in enumerate(LAMBDAS):
        tau, other = pair[1, 0] - start()[1], pair[1, 1] - start()[1]
        added = outputs(start()[1] + float(scale) * (tau + other), bench.x[1])[2]
        negated = outputs(start()[1] - float(scale) * tau, bench.x[1])[2]
        assert found["added_acc"][1, i] == pytest.approx(right(added, slice(0, 10)))
        np.testing.assert_allclose(found["negated_acc"][1, i], [right(negated, ON_A), right(negated, ON_B)])


def test_the_last_frame_has_the_scans_too(bench: Bench, pair: torch.Tensor) -> None:
    (every,) = bench.measure(start(), pair, last=False)
    names = {name for part in bench.measure(start(), pair, last=True) for name in part}
    assert names - set(every) >= {"path_deviation", "pulled_deviation", "addition_ctl", "added_acc"}
