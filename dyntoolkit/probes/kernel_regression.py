"""Kernel regression: what a network would predict on test points if its tangent kernel did not change."""

import torch

Tensor = torch.Tensor


def kernel_regression(K: Tensor, K_test: Tensor, y: Tensor, ridge: Tensor) -> Tensor:
    """K_test (K + ridge I)^-1 y, the predictions on the test points, (R, n_test).

    K: (R, n, n) positive semidefinite, between training points. K_test: (R, n_test, n). y: (R, n) training targets.
    ridge: (R,) positive. Give float64: K may be singular, so the condition number is up to lambda_max(K)/ridge.
    """
    identity = torch.eye(K.shape[1], dtype=K.dtype)
    factor = torch.linalg.cholesky(K + ridge[:, None, None] * identity)  # (R, n, n)
    prediction: Tensor = K_test @ torch.cholesky_solve(y.unsqueeze(2), factor)  # (R, n_test, 1)
    return prediction.squeeze(2)
