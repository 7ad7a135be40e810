"""What gradient descent would do if the tangent kernel stood still: its whole course in closed form."""

import torch

Tensor = torch.Tensor

LEAST = 1e-12  # eigenvalues below it count as this


def kernel_flow(K: Tensor, K_test: Tensor, y: Tensor, rate: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs on training and on test points after each number of steps, (R, T, n) and (R, T, n_test).

    The function begins at 0 and moves by f <- f - rate K (f - y). K: (R, n, n) positive semidefinite, between training
    points. K_test: (R, n_test, n). y: (R, n). rate: (R,). steps: (T,) whole numbers. Give float64: small eigenvalues
    are divided by. Jacot, Gabriel and Hongler 2018 (arXiv 1806.07572).
    """
    eigenvalues, U = torch.linalg.eigh(K)  # (R, n), (R, n, n)
    eigenvalues = eigenvalues.clamp_min(LEAST)
    # along u_k the residual is (1 - rate lambda_k)^t of what it was
    left = (1 - rate[:, None] * eigenvalues)[:, None] ** steps[:, None]  # (R, T, n)
    learned = (1 - left) * (y[:, None] @ U)  # (R, T, n)
    return learned @ U.mT, (learned / eigenvalues[:, None]) @ (K_test @ U).mT
