import torch

from dyntoolkit.probes.kernel_flow import kernel_flow


def test_as_descending_step_by_step_with_the_kernel_of_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 9, 5, generator=generator, dtype=torch.float64)  # fewer than points: K is singular
    X, X_test = features[:, :6], features[:, 6:]
    y = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    rate = torch.tensor([0.01, 0.09], dtype=torch.float64)  # the second one jumps over the minimum
    steps = torch.tensor([0, 1, 7, 40])
    K = X @ X.mT
    assert (
        (rate * torch.linalg.eigvalsh(K)[:, -1]).tolist()[0] < 1 < (rate * torch.linalg.eigvalsh(K)[:, -1]).tolist()[1]
    )
    found, found_test = kernel_flow(K, X_test @ X.mT, y, rate, steps)
    assert found.shape == (2, 4, 6)
    assert found_test.shape == (2, 4, 3)
    w = torch.zeros(2, 5, 1, dtype=torch.float64)
    at = 0
    for t in range(41):
        if t in steps.tolist():
            torch.testing.assert_close(found[:, at], (X @ w).squeeze(2), rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(found_test[:, at], (X_test @ w).squeeze(2), rtol=1e-6, atol=1e-6)
            at += 1
        w = w - rate[:, None, None] * X.mT @ (X @ w - y[..., None])
    assert at == 4
