import numpy as np

from dyntoolkit.probes.grid_minimum import grid_minimum


def test_the_vertex_of_a_parabola_is_found_between_the_points():
    x = np.arange(6)
    vertices = np.array([[1.3, 2.0], [3.49, 0.6]])
    np.testing.assert_allclose(grid_minimum(2 * (x - vertices[..., None]) ** 2 - 1), vertices, atol=1e-12)


def test_at_an_end_and_on_a_plateau_it_is_the_point():
    values = np.array([[0.0, 1, 2, 3], [3, 2, 1, 0.9], [1, 1, 1, 1], [2, 1, 1, 2]])
    np.testing.assert_allclose(grid_minimum(values), [0, 3, 0, 1.5])
