import pytest
import torch

from dyntoolkit.probes.amplification import amplification


def test_as_vector_by_vector():
    generator = torch.Generator().manual_seed(0)
    copies, theta = torch.randn(2, 3, 7, generator=generator), torch.randn(2, 7, generator=generator)
    eps = torch.tensor([1e-3, 0.5])
    found = amplification(copies, theta, eps)
    assert found.dtype == torch.float64
    for r in range(2):
        for c in range(3):
            expected = (copies[r, c] - theta[r]).norm() / theta[r].norm() / eps[r]
            assert float(found[r, c]) == pytest.approx(float(expected), rel=1e-6)


def test_a_kick_that_has_not_grown_is_1():
    theta, kick = torch.full((1, 50), 2.0), torch.linspace(-1, 1, 50)
    copies = theta + 1e-5 * theta.norm() * kick / kick.norm()
    assert amplification(copies[:, None], theta, torch.tensor([1e-5])).item() == pytest.approx(1, rel=0.02)
