import math

import torch

from dyntoolkit.probes.kernel_distance import kernel_angle, kernel_distance


def test_as_one_minus_the_cosine_of_all_entries():
    kernels = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = kernel_distance(kernels[:, :, None], kernels[:, None])
    assert found.shape == (2, 3, 3)
    for r in range(2):
        for i in range(3):
            for j in range(3):
                a, b = kernels[r, i].flatten(), kernels[r, j].flatten()
                expected = 1 - torch.cosine_similarity(a.double(), b.double(), dim=0)
                torch.testing.assert_close(found[r, i, j], expected, rtol=1e-9, atol=1e-12)
    assert (found.diagonal(dim1=1, dim2=2) == 0).all()  # no rounding is left


def test_a_multiple_is_at_no_distance_and_another_direction_at_its_angle():
    H, K = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert kernel_distance(H, 3 * H) == 0
    assert kernel_distance(H, K) == 1
    angle = kernel_angle(kernel_distance(H, math.cos(1e-4) * H + math.sin(1e-4) * K))
    torch.testing.assert_close(angle, torch.tensor(1e-4, dtype=torch.float64), rtol=1e-3, atol=0)
    assert kernel_angle(torch.tensor(-1e-16, dtype=torch.float64)) == 0
