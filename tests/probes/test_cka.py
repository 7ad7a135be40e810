import torch

from dyntoolkit.probes.cka import cka


def test_as_the_cosine_of_centred_gram_matrices():
    generator = torch.Generator().manual_seed(0)
    H, Z = (torch.randn(3, 8, d, generator=generator) + 2 for d in (5, 2))
    centre = torch.eye(8) - 1 / 8
    found = cka(H[:, None], Z)
    assert found.shape == (3, 3)
    for i in range(3):
        for j in range(3):
            K, L = (centre @ M @ M.mT @ centre for M in (H[i], Z[j]))
            expected = (K * L).sum() / (K.norm() * L.norm())
            torch.testing.assert_close(found[i, j].float(), expected, rtol=1e-4, atol=1e-6)


def test_rotation_scale_and_shift_change_nothing():
    H = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2))).Q
    torch.testing.assert_close(cka(H, 3 * H @ rotation + 1), torch.tensor(1.0, dtype=torch.float64), rtol=1e-6, atol=0)
    assert torch.isnan(cka(H, torch.ones(8, 1)))
