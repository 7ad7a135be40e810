import numpy as np
import pytest

from dyntoolkit.phenomena.flatness import _theory as theory

LR, CURVATURE = np.array([0.05, 0.02]), np.array([24.0, 60.0])


@pytest.mark.parametrize("rho", [0.0, 0.01, 0.1])
def test_a_parabola_grows_by_the_factor(rho):
    x, slope = np.ones(2), lambda x: CURVATURE * x
    after = x - LR * slope(x + rho * slope(x))
    np.testing.assert_allclose(np.abs(after / x), theory.factor(LR, CURVATURE, rho))


def test_at_the_threshold_nothing_grows_or_shrinks():
    rho = theory.threshold(LR, CURVATURE)
    np.testing.assert_allclose(theory.factor(LR, CURVATURE, rho), 1)
    assert (theory.factor(LR, CURVATURE, 1.01 * rho) > 1).all()
    assert theory.threshold(np.array(0.1), np.array(25.0)) < 0  # beyond the edge of gradient descent


@pytest.mark.parametrize("rho", [1e-6, 0.01, 0.5])
def test_at_the_edge_nothing_grows_or_shrinks(rho):
    np.testing.assert_allclose(theory.factor(LR, theory.edge(LR, rho), rho), 1)
    root = (np.sqrt(1 + 8 * rho / LR) - 1) / (2 * rho)  # as the docstring has it
    np.testing.assert_allclose(theory.edge(LR, rho), root, rtol=1e-6)


def test_without_a_radius_the_edge_is_that_of_gradient_descent():
    np.testing.assert_allclose(theory.edge(LR, 0.0), 2 / LR)
