import torch

from dyntoolkit.probes.gradient_noise_scale import gradient_noise_scale


def test_trace_of_the_covariance_over_the_squared_mean():
    gradients = torch.randn(2, 30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    for found, run in zip(gradient_noise_scale(gradients), gradients, strict=True):
        expected = torch.trace(torch.cov(run.T, correction=0)) / run.mean(0).square().sum()
        torch.testing.assert_close(found, expected)


def test_equal_gradients_have_no_noise():
    assert gradient_noise_scale(torch.ones(1, 5, 3)).tolist() == [0.0]
