"""The largest eigenvalue along a path against a dense routine, also where following the path leads astray."""

import numpy as np
import pytest
import torch

from dyntoolkit.probes.largest_eigenvalue import FEW, FOLLOWED, SMALL, _certified, largest_eigenvalue
from dyntoolkit.probes.preconditioned_sharpness import preconditioned_sharpness
from dyntoolkit.probes.sharpness import sharpness

P, T = 30, 12
STEPS = torch.arange(T, dtype=torch.float64)
DECAY = 0.5 ** torch.arange(P, dtype=torch.float64)  # a spectrum as those of Hessians


def turned(spectra, speed=0.01, seed=0):
    """Matrices (T, P, P) with these eigenvalues (T, P) whose eigenvectors turn by `speed` from each to the next."""
    generator = torch.Generator().manual_seed(seed)
    A, basis = torch.randn(2, P, P, dtype=torch.float64, generator=generator)
    rotation = torch.matrix_exp(speed * (A - A.T) / P**0.5)
    Q = torch.stack([torch.linalg.matrix_power(rotation, t) @ torch.linalg.qr(basis).Q for t in range(T)])
    full = Q @ torch.diag_embed(spectra) @ Q.mT
    return (full + full.mT) / 2


def path(*leading):
    """A spectrum (T, P) whose first eigenvalues are these, each a number or (T,), with a decaying rest below 0.2."""
    columns = [torch.as_tensor(each, dtype=torch.float64).expand(T) for each in leading]
    return torch.cat([torch.stack(columns, dim=1), 0.2 * DECAY[: P - len(columns)].expand(T, -1)], dim=1)


def assert_right(matrices):
    """Equal to the dense routine's, to 1e-10 of the value and its own rounding."""
    expected = torch.linalg.eigvalsh(matrices)[..., -1]
    norm = float(torch.linalg.vector_norm(matrices, dim=(-2, -1)).max())
    torch.testing.assert_close(largest_eigenvalue(matrices), expected, rtol=1.1e-10, atol=1e-14 * norm)


@pytest.fixture
def dense(monkeypatch):
    """How many matrices the dense routine was asked for."""
    asked = []
    usual = torch.linalg.eigvalsh

    def counted(matrices):
        asked.append(matrices[..., 0, 0].numel())
        return usual(matrices)

    monkeypatch.setattr(torch.linalg, "eigvalsh", counted)
    return asked


CASES = {
    "decaying": path(1.0),
    "growing": path(2.0**STEPS),
    "crossing": path(1 + (STEPS - 5.5) / 20, 1 - (STEPS - 5.5) / 20),
    "degenerate": path(1.0, 1.0),
    "five times the same": path(*[1.0] * 5),
    "nearly degenerate, 1e-4": path(1.0, 1 - 1e-4),
    "nearly degenerate, 1e-8": path(1.0, 1 - 1e-8),
    "nearly degenerate, 1e-12": path(1.0, 1 - 1e-12),
    "a longer one below zero": path(1.0, -30.0),
    "a far longer one below zero": path(1.0, -1e9),
    "one as long below zero": path(1.0, -1.0),
    "all below zero": -0.1 - path(1.0),
    "the largest is zero": path(1.0) - path(1.0).amax(1, keepdim=True),
    "through zero": path(1.0) - STEPS.unsqueeze(1) / 8,
    "flat": torch.ones(T, P, dtype=torch.float64),
    "flat but for one": path(1.0).clamp_min(0.9),
    "rank one": path(1.0) * (torch.arange(P) == 0),
    "zero": torch.zeros(T, P, dtype=torch.float64),
    "zero in the middle": path(1.0) * (STEPS != T // 2).unsqueeze(1),
}


@pytest.mark.parametrize("speed", [0.0, 0.01, 0.3, 3.0])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_largest_eigenvalue(case, speed):
    assert_right(turned(CASES[case], speed))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-100, 1e-29, 1e-12, 1e12, 1e29, 1e100, 1e160, 1e300])
@pytest.mark.parametrize("case", ["decaying", "crossing", "a longer one below zero", "zero in the middle"])
def test_no_scale_is_too_small_or_too_large(case, scale):
    assert_right(scale * turned(CASES[case]))


def test_scales_may_differ_within_a_path():
    assert_right(10.0 ** (4 * STEPS - 24)[:, None, None] * turned(CASES["decaying"]))


@pytest.mark.parametrize("level", [0.5, 0.99, 1.0, 1 + 1e-9, 1.01, 10.0])
def test_an_eigenvalue_that_rises_apart_from_those_followed_is_not_overlooked(level):
    # its eigenvector is orthogonal to all that the products reach: only the certificate can tell
    spectra = path(*(1.0 - torch.arange(FOLLOWED) / 10))
    spectra[:, -1] = torch.linspace(0, 2 * level, T, dtype=torch.float64)
    spectra[T // 2, -1] = 0.0
    assert_right(torch.diag_embed(spectra))
    assert_right(turned(spectra, speed=0.0))


def test_what_turns_slowly_needs_no_dense_routine(dense):
    largest_eigenvalue(turned(CASES["decaying"]))
    largest_eigenvalue(turned(CASES["crossing"]))
    assert not dense
    largest_eigenvalue(turned(CASES["all below zero"]))
    assert dense == [T]


def test_runs_are_followed_each_for_itself_and_without_regard_to_the_others(dense):
    runs = [turned(CASES["decaying"], seed=1), turned(CASES["all below zero"], seed=2), turned(CASES["growing"], 0.3)]
    together = largest_eigenvalue(torch.stack(runs, dim=1))  # (T, R)
    assert sum(dense) < 2 * T
    for r, run in enumerate(runs):
        torch.testing.assert_close(together[:, r], largest_eigenvalue(run), rtol=2.1e-10, atol=0)


def test_where_a_path_is_cut_makes_no_difference():
    matrices = turned(CASES["crossing"])
    halves = torch.cat([largest_eigenvalue(matrices[:5]), largest_eigenvalue(matrices[5:])])
    torch.testing.assert_close(largest_eigenvalue(matrices), halves, rtol=2.1e-10, atol=0)


def test_small_matrices_short_paths_and_float32_are_decomposed(dense):
    assert largest_eigenvalue(torch.full((20, 1, 1), -3.0, dtype=torch.float64)).tolist() == [-3.0] * 20
    small = turned(CASES["decaying"])[:, : SMALL - 1, : SMALL - 1]
    short = turned(CASES["decaying"])[: FEW - 1]
    single = turned(CASES["decaying"]).float()
    dense.clear()
    for matrices in (small, short, single):
        assert torch.equal(largest_eigenvalue(matrices), torch.linalg.eigvalsh(matrices)[..., -1])
    assert dense == [T, T, FEW - 1, FEW - 1, T, T]
    assert largest_eigenvalue(torch.empty(0, 2, P, P, dtype=torch.float64)).shape == (0, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, T // 2, T - 1])
def test_a_hessian_that_is_not_finite_has_no_sharpness_and_spoils_no_other(bad, at):
    hessians = torch.stack([turned(CASES["decaying"], seed=1), turned(CASES["crossing"], seed=2)], dim=1)  # (T, R, ...)
    right = torch.linalg.eigvalsh(hessians)[..., -1]
    broken = hessians.clone()
    broken[at, 0, 3, 7] = bad
    found = sharpness(broken)
    assert found[at, 0].isnan()
    found[at, 0] = right[at, 0]
    torch.testing.assert_close(found, right, rtol=1.1e-10, atol=0)


def test_the_preconditioned_sharpness_along_a_path():
    hessians, D = turned(CASES["decaying"]), torch.exp(3 * turned(CASES["growing"])[:, 0].sin())
    expected = [np.linalg.eigvals((d[:, None] * h).numpy()).real.max() for d, h in zip(D, hessians, strict=True)]
    np.testing.assert_allclose(preconditioned_sharpness(hessians, D), expected, rtol=1e-9)


def is_certified(H, in_sight):
    """Whether the first coordinate's entry of H (k, k) is taken for lambda_max where only so many are in sight."""
    full = torch.zeros(P, P, dtype=torch.float64)
    full[: len(H), : len(H)] = torch.tensor(H, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(P, P, dtype=torch.float64, generator=torch.Generator().manual_seed(3))).Q
    matrices = (basis @ full @ basis.T).unsqueeze(0)
    found, _, known = _certified(matrices, torch.linalg.matrix_norm(matrices), basis.T[:in_sight].unsqueeze(0))
    assert float(found) == pytest.approx(H[0][0], rel=1e-6)
    return bool(known)


def test_the_certificate_sees_what_a_neighbour_hides():
    # lambda_max is 1.009, though the residual of the first Ritz vector is tiny, and |B| too
    e, E = 1e-8, 0.1
    assert not is_certified([[1.0, 0.0, e], [0.0, 0.999, E], [e, E, 0.0]], in_sight=2)
    assert is_certified([[1.0, 0.0, e], [0.0, 0.8, E], [e, E, 0.0]], in_sight=2)


def test_the_certificate_knows_its_own_rounding():
    # 10 is not in sight, and its square is less than the rounding of 1e18
    assert not is_certified(np.diag([1.0, -1e9, 10.0]).tolist(), in_sight=2)
    assert is_certified(np.diag([1.0, -1e3, 0.1]).tolist(), in_sight=2)
