"""Polynomial regression: gradient, kernels and the three terms against their definitions, and the whole Config."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.loop import geometrically
from dyntoolkit.experiment import to_the_end
from dyntoolkit.phenomena.grokking import polynomial
from dyntoolkit.phenomena.grokking.polynomial import EXPERIMENT, Config, Data, Model

SMALL = Config(n_train=50, input_dim=10, width=20, steps=300, alpha=0.5, nonlinearity=0.4)
OTHER = SMALL.replace(alpha=2.0, nonlinearity=0.1, init_scale=2.0, lr_relative=0.1)


def drawn(configs=(SMALL, OTHER), seeds=(3, 4)):
    """Model and data in float64, and weights that have moved."""
    model = Model(*(part.double() for part in polynomial.make_model(configs, seeds)))
    data = Data(*(part.double() for part in polynomial.draw_data(configs[0], seeds)))
    moved = torch.randn(model.start.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return model, data, model.start + 0.3 * moved


def naive_output(w, start, x, config):
    """f at the points x (n, D) from the recipe's sums."""

    def g(w):
        h = torch.stack([x @ row for row in w])  # (N, n)
        return (h + config.nonlinearity * h**2 / 2).sum(0) / len(w)

    return config.alpha * (g(w) - g(start))


def test_data_and_weights_are_those_of_the_recipe():
    config = Config(init_scale=2.0)
    data, model = polynomial.draw_data(config, range(10)), polynomial.make_model([config] * 10, range(10))
    torch.testing.assert_close(data.direction.square().sum(1), torch.full((10,), 40.0))
    assert data.train_x.shape == (10, 200, 40)
    assert data.test_x.shape == (10, 500, 40)
    assert [float(data.train_x.std()), float(data.test_x.std())] == pytest.approx([40**-0.5] * 2, rel=0.01)
    assert float(model.start.std()) == pytest.approx(2, rel=0.01)
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        torch.testing.assert_close(y[1], (x[1] @ data.direction[1]) ** 2 / 2)


def test_output_and_gradient_are_those_of_the_recipe():
    model, data, w = drawn()
    gradient = polynomial.make_gradient(model, data)(w)
    for r, config in enumerate((SMALL, OTHER)):
        leaf = w[r].clone().requires_grad_()
        f = naive_output(leaf, model.start[r], data.train_x[r], config)
        torch.testing.assert_close(polynomial.output(model, w, data.train_x)[r], f.detach(), rtol=1e-6, atol=1e-8)
        (expected,) = torch.autograd.grad((f - data.train_y[r]).square().mean(), leaf)
        torch.testing.assert_close(gradient[r], expected, rtol=1e-6, atol=1e-8)


def test_the_kernels_are_tangent_kernels_at_the_start_and_at_the_solution():
    model, data, _ = drawn()
    x, other = data.train_x[:, :6], data.test_x[:, :4]
    b, (alpha, epsilon) = data.direction[0], (0.5, 0.4)

    def jacobian(w, points):  # of g, (n, N D)
        return torch.autograd.functional.jacobian(lambda w: naive_output(w, 0 * w, points, SMALL) / alpha, w).flatten(1)

    start = model.start[0]
    expected = len(start) * jacobian(start, x[0]) @ jacobian(start, other[0]).T
    torch.testing.assert_close(polynomial.initial_kernel(model, x, other)[0], expected)
    solution = torch.stack([b, -b]) / (alpha * epsilon) ** 0.5  # mean 0, w^T w/2 = b b^T/(alpha epsilon)
    expected = 2 * jacobian(solution, x[0]) @ jacobian(solution, x[0]).T
    torch.testing.assert_close(polynomial.final_kernel(model, data.direction, x)[0], expected)


def test_learning_rate_1_is_the_edge_where_the_initial_kernel_is_the_larger():
    """The Hessian of the mean squared error at a fitted start is 2 alpha^2 lambda/(P N); its edge is 2/lr."""
    config = SMALL.replace(alpha=10.0)
    model, data, _ = drawn([config], [3])
    fitted = data._replace(train_y=torch.zeros_like(data.train_y))
    gradient, w = polynomial.make_gradient(model, fitted), model.start

    def along(v):  # Hessian times v
        return (gradient(w + 1e-5 * v) - gradient(w - 1e-5 * v)) / 2e-5

    v = torch.ones_like(w)
    for _ in range(400):
        v = along(v)
        top = v.norm()
        v = v / top
    largest = polynomial.largest_eigenvalue(model, data)
    lr = config.n_train * config.width / (config.alpha**2 * largest)
    assert float(lr) == pytest.approx(2 / float(top), rel=1e-3)


def test_training_is_gradient_descent_with_the_step_of_the_recipe():
    model, data, _ = drawn([OTHER], [4])
    history = to_the_end(*EXPERIMENT.start([SMALL, OTHER], [3, 4]))  # the other run has a step of its own
    x, y, w = data.train_x[0], data.train_y[0], model.start[0].clone().requires_grad_()
    kernels = (
        polynomial.initial_kernel(model, data.train_x, data.train_x),
        polynomial.final_kernel(model, data.direction, data.train_x),
    )
    largest = max(float(torch.linalg.matrix_norm(K[0], 2)) for K in kernels)
    losses = []
    for _ in range(21):
        loss = (naive_output(w, model.start[0], x, OTHER) - y).square().mean()
        (gradient,) = torch.autograd.grad(loss, w)
        w = (w - 0.1 * 50 * 20 / (OTHER.alpha**2 * largest) * gradient).detach().requires_grad_()
        losses.append(float(loss.detach()))
    known = history.at("train_mse") <= 20
    np.testing.assert_allclose(history["train_mse"][known, 1], np.array(losses)[history.at("train_mse")[known]], 1e-3)


def test_the_three_terms_add_up_to_the_population_loss():
    model, data, w = drawn()
    terms = polynomial.three_terms(model, w, data.direction)
    torch.testing.assert_close(
        polynomial.three_terms(model, model.start, data.direction),
        torch.tensor([[0.25, 0.5, 0.0]] * 2, dtype=torch.float64),
        rtol=1e-6,
        atol=1e-9,
    )
    x = torch.randn(1, 400_000, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 10**0.5
    y = (x @ data.direction.unsqueeze(2)).squeeze(2).square() / 2
    error = (polynomial.output(model, w, x.expand(2, -1, -1)) - y).square().mean(1)
    torch.testing.assert_close(terms.sum(1), error, rtol=0.02, atol=0)


def test_the_floor_is_what_gradient_flow_with_a_frozen_kernel_reaches():
    model, data, _ = drawn()
    largest = polynomial.largest_eigenvalue(model, data)
    x, test = data.train_x, data.test_x
    K, K_test = polynomial.initial_kernel(model, x, x), polynomial.initial_kernel(model, test, x)
    found = polynomial.kernel_floor(model, data, largest)
    for r in range(2):
        inverse = torch.linalg.inv(K[r] + 1e-6 * largest[r] * torch.eye(50, dtype=torch.float64))
        error = K_test[r] @ inverse @ data.train_y[r] - data.test_y[r]
        assert float(found[r]) == pytest.approx(float(error @ error / (data.test_y[r] @ data.test_y[r])), rel=1e-4)


def test_default_run_claims_metrics_and_figure():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    assert tuple(history.at("test_mse")) == geometrically(3000, 80)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert not claim.where(EXPERIMENT.configure("lazy"))
        if claim.sweep is None:
            assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    steps, test, train = history.at("test_mse"), history["test_mse"][:, 0], history["train_mse"][:, 0]
    late = next(k for k, value in zip(steps, test, strict=True) if value < 0.2 * test[0])
    assert metrics["delay"][0] == late / next(k for k, v in zip(steps, train, strict=True) if v < 0.1 * train[0])
    assert metrics["norm_end"][0] == pytest.approx(history.config.final_norm, rel=0.05)
    _, stack, _, outputs = EXPERIMENT.panels(history)
    np.testing.assert_allclose(stack.marks[2].high, history["terms"][1:, 0].sum(1))
    np.testing.assert_array_equal(outputs.marks[0].y, history["prediction"][-1, 0])


def test_delays_grow_by_the_mean_over_the_runs_that_have_one():
    (claim,) = (claim for claim in EXPERIMENT.claims if claim.id == "delay_grows")
    rows = [{"delay": np.array([2.0, 4.0])}, {}, {}, {"delay": np.array([6.0, np.nan])}]
    assert claim.sweep.value(rows) == pytest.approx([2.0])
    assert np.isnan(claim.sweep.value([*rows[:3], {"delay": np.full(2, np.nan)}])).all()


def test_the_figure_of_a_sweep_shows_every_delay_there_is():
    delays = {(1.0, 0): 3.0, (0.1, 0): 2.0, (0.1, 1): 4.0, (3.0, 0): np.nan}
    rows = {(SMALL.replace(alpha=alpha), seed): {"delay": delay} for (alpha, seed), delay in delays.items()}
    rows[(OTHER, 0)] = {"delay": 99.0}
    (panel,) = EXPERIMENT.sweep_panels(rows)
    runs, means = panel.marks
    np.testing.assert_array_equal(runs.y, [2, 4, 3])
    np.testing.assert_array_equal(means.x, [0.1, 1, 3])
    np.testing.assert_array_equal(means.y, [3, 3, np.nan])
