import numpy as np
import pytest
import torch

from dyntoolkit.probes.commutativity import additivity, commutativity, relative_square


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_distances_are_those_of_their_definition():
    H_i, H_j, W_i, W_j = drawn(2, 6, 3), drawn(2, 6, 3) * 2 + 1, drawn(2, 3, 4), drawn(2, 3, 4) + 0.5
    found = commutativity(H_i, W_i, H_j, W_j)
    for r in range(2):
        a, b, V, U = (part[r].double().numpy() for part in (H_i, H_j, W_i, W_j))
        left, right = a @ V + b @ U, a @ U + b @ V
        expected = ((left - right) ** 2).sum() / (np.linalg.norm(left) * np.linalg.norm(right))
        assert found[r] == pytest.approx(expected, rel=1e-6)
    pre, other = drawn(2, 6, 3), drawn(2, 6, 5)[:, :, :3]
    a, b = pre.double().numpy(), other.double().numpy()
    both, apart = np.maximum(a + b, 0), np.maximum(a, 0) + np.maximum(b, 0)
    for r in range(2):
        expected = ((both[r] - apart[r]) ** 2).sum() / (np.linalg.norm(both[r]) * np.linalg.norm(apart[r]))
        assert additivity(pre, other)[r] == pytest.approx(float(expected), rel=1e-5)


def test_equal_weights_or_equal_inputs_commute_and_a_dead_layer_is_no_error():
    H_i, H_j, W = drawn(1, 6, 3), drawn(1, 6, 4)[:, :, :3], drawn(1, 3, 4)
    assert float(commutativity(H_i, W, H_j, W)) < 1e-12
    assert float(commutativity(H_i, W, H_i, 2 * W)) < 1e-12
    assert float(relative_square(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2))) == 0
