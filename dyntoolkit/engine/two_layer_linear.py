"""Two-layer linear network on the run axis: f(x) = scale a^T W x, and its gradient written out by hand."""

import torch

Tensor = torch.Tensor


def forward(x: Tensor, W: Tensor, a: Tensor, scale: float) -> Tensor:
    """f(x) = scale a^T W x of each run.

    x: (R, n, d) inputs. W: (R, m, d) first layer. a: (R, m) second layer. Returns (R, n).
    """
    u = torch.bmm(a.unsqueeze(1), W)  # (R, 1, d)  a^T W
    return scale * torch.bmm(u, x.mT).squeeze(1)  # (R, n)


def gradients(x: Tensor, target: Tensor, W: Tensor, a: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Gradients of each run's batch loss, the mean of (f(x_i) - target_i)^2 / 2, with respect to W and a.

    x: (R, B, d). target: (R, B). W: (R, m, d). a: (R, m). Returns dW (R, m, d) and da (R, m).

    The loss depends on the weights through u = W^T a alone, so with g = dL/du they are dW = a g^T and da = W g.
    """
    u = torch.bmm(a.unsqueeze(1), W)  # (R, 1, d)
    residual = torch.baddbmm(target.unsqueeze(1), u, x.mT, beta=-1, alpha=scale)  # (R, 1, B)  f(x) - target
    g = torch.bmm(residual, x).mul_(scale / x.shape[1])  # (R, 1, d)
    return a.unsqueeze(2) * g, torch.bmm(g, W.mT).squeeze(1)
