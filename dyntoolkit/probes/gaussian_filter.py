"""Low and high frequencies of a function known at scattered points: a Gaussian filter over their distances.

The filter of Zhou et al. 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479), as the recipe of `grokking.digits` has it: low(V) = S V is what neighbours agree on, high(V) = V - S V the
rest. The two parts are not orthogonal, so their shares need not add up to 1.
"""

import torch

Tensor = torch.Tensor
NEIGHBOUR = 5  # whose distance sets the bandwidth


def squared_distances(x: Tensor) -> Tensor:
    """|x_i - x_j|^2 between all points of a run, (R, n, d) -> (R, n, n) float64; exactly 0 from a point to itself."""
    x = x.double()
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()


def squared_bandwidth(distances: Tensor) -> Tensor:
    """h^2: the median over points of the squared distance to their 5th nearest other one, (R, n, n) -> (R,)."""
    nearest = torch.kthvalue(distances, NEIGHBOUR + 1, dim=2).values  # (R, n); the nearest of all is the point itself
    return torch.quantile(nearest, 0.5, dim=1)


def gaussian_filter(x: Tensor) -> Tensor:
    """S with S_ij = exp(-|x_i - x_j|^2/2h^2), self included, each row divided by its sum: (R, n, d) -> (R, n, n).

    float64, without unit. h^2: see `squared_bandwidth`; at least six points, and not all in six-fold copies.
    """
    distances = squared_distances(x)
    weights = torch.exp(-distances / (2 * squared_bandwidth(distances)[:, None, None]))
    return weights / weights.sum(2, keepdim=True)


def high_frequency_share(S: Tensor, V: Tensor) -> Tensor:
    """|V - S V|_F^2/|V|_F^2 for values V (R, n, c), not centred, and a filter S (R, n, n): (R,), without unit."""
    V = V.double()
    share: Tensor = (V - S @ V).square().sum((1, 2)) / V.square().sum((1, 2))
    return share


def frequency_errors(S: Tensor, F: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    """Relative errors of F in the low and in the high frequencies of Y: |S(F - Y)|/|S Y| and |high(F - Y)|/|high(Y)|.

    F, Y: (R, n, c). S: (R, n, n). Returns two (R,), Frobenius norms, without unit.
    """
    error, Y = F.double() - Y.double(), Y.double()
    low_error, low = S @ error, S @ Y  # (R, n, c)
    norm = torch.linalg.matrix_norm
    return norm(low_error) / norm(low), norm(error - low_error) / norm(Y - low)
