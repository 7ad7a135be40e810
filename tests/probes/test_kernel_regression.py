import torch

from dyntoolkit.probes.kernel_regression import kernel_regression


def draw(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_ridge_regression_on_the_features_of_the_kernel():
    features, test, y, ridge = (
        draw(2, 6, 3, seed=0),
        draw(2, 4, 3, seed=1),
        draw(2, 6, seed=2),
        torch.tensor([0.1, 2.0]),
    )
    found = kernel_regression(features @ features.mT, test @ features.mT, y, ridge.double())
    for r in range(2):
        F = features[r]
        beta = torch.linalg.solve(F.T @ F + ridge[r].double() * torch.eye(3, dtype=torch.float64), F.T @ y[r])
        torch.testing.assert_close(found[r], test[r] @ beta)
