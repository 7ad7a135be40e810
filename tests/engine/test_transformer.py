"""The run-axis transformer against one that is built from torch.nn, run by run."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import GAINS, Transformer, attention, cross_entropy

SMALL = Transformer(vocabulary=5, width=8, context=7)
X = torch.randint(5, (3, 2, 6), generator=torch.Generator().manual_seed(0))  # shorter than the context
Y = torch.randint(5, (3, 2, 6), generator=torch.Generator().manual_seed(1))


def weights(network=SMALL, runs=3):
    """Far from the initial ones, which hardly attend to anything; gains differ from 1."""
    shape = (runs, network.parameters)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 2


class Layer(nn.Module):
    def __init__(self, network, take):
        super().__init__()
        d, self.network = network.width, network
        self.norms = nn.ModuleList([take(nn.RMSNorm(d, eps=1e-6), n) for n in ("attention_gain", "ffn_gain")])
        names = ("query", "key", "value", "output")
        self.projections = nn.ModuleList([take(nn.Linear(d, d, bias=False), name) for name in names])
        up, down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)
        self.ffn = nn.Sequential(take(up, "w1"), nn.GELU(), take(down, "w2"))

    def forward(self, h):  # (B, T, d)
        query, key, value, output = self.projections
        z = self.norms[0](h)
        heads = [p(z).unflatten(2, (self.network.heads, -1)).transpose(1, 2) for p in (query, key, value)]
        if self.network.qk_norm:
            heads[:2] = [functional.rms_norm(u, u.shape[-1:], eps=1e-6) for u in heads[:2]]
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        h = h + output(mixed.transpose(1, 2).flatten(2))
        return h + self.ffn(self.norms[1](h))


class Twin(nn.Module):
    """One run, with the weights of one row of theta."""

    def __init__(self, network, row):
        super().__init__()
        blocks = {name: block[0] for name, block in network.split(row[None]).items()}

        def take(module, name):
            block = blocks[name]
            linear = isinstance(module, nn.Linear)
            module.weight = nn.Parameter((block.T if linear else block.view_as(module.weight)).clone())
            return module

        self.tok = take(nn.Embedding(*blocks["tok"].shape), "tok")
        self.pos = nn.Parameter(blocks["pos"].clone())
        self.layers = nn.Sequential(
            *[Layer(network, lambda module, name, k=k: take(module, f"{name}{k}")) for k in range(network.layers)]
        )
        self.norm = take(nn.RMSNorm(network.width, eps=1e-6), "gain")
        self.head = take(nn.Linear(network.width, network.vocabulary, bias=False), "head")

    def forward(self, x):
        return self.head(self.norm(self.layers(self.tok(x) + self.pos[: x.shape[1]])))


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize(("heads", "layers"), [(2, 2), (4, 1), (1, 3)])
def test_logits_are_those_of_the_same_network_in_torch_nn(qk_norm, heads, layers):
    network = Transformer(5, 8, heads, 7, layers, qk_norm)
    theta = weights(network)
    logits = network(theta, X)
    for r in range(3):
        torch.testing.assert_close(logits[r], Twin(network, theta[r])(X[r]))


def test_the_twin_uses_every_weight():
    parameters = sum(p.numel() for p in Twin(SMALL, weights()[0]).parameters())
    assert parameters == SMALL.parameters == weights().shape[1]


def test_loss_and_gradient_are_those_of_torch_nn():
    theta = weights()
    loss, gradient = value_and_grad(lambda at: cross_entropy(SMALL(at, X), Y))(theta)
    for r in range(3):
        twin = Twin(SMALL, theta[r])
        value = functional.cross_entropy(twin(X[r]).flatten(0, 1), Y[r].flatten())
        value.backward()
        torch.testing.assert_close(loss[r], value.detach())
        blocks = SMALL.split(gradient[r : r + 1])
        torch.testing.assert_close(blocks["tok"][0], twin.tok.weight.grad)
        torch.testing.assert_close(blocks["query1"][0], twin.layers[1].projections[0].weight.grad.T)
        torch.testing.assert_close(blocks["ffn_gain0"][0, 0], twin.layers[0].norms[1].weight.grad)
        norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm()
        torch.testing.assert_close(gradient[r].norm(), norm)


def test_scores_are_products_of_queries_and_keys_also_of_later_places():
    theta, (R, B, T), d = weights(), X.shape, SMALL.head_dim
    _, scores = SMALL.forward(theta, X)
    w = SMALL.split(theta)
    for r in range(R):
        h = w["tok"][r][X[r]] + w["pos"][r][:T]  # (B, T, width): what the first layer reads
        z = h / (h.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w["attention_gain0"][r]
        q, k = z @ w["query0"][r], z @ w["key0"][r]
        for b, head, i, j in np.ndindex(B, 2, T, T):
            part = slice(head * d, (head + 1) * d)
            expected = float(q[b, i, part] @ k[b, j, part]) / math.sqrt(d)
            assert float(scores[0][r, b, head, i, j]) == pytest.approx(expected, rel=1e-9)


def test_no_place_sees_a_later_one():
    theta, changed = weights(), X.clone()
    changed[..., 3] = (changed[..., 3] + 1) % 5
    before, after = SMALL(theta, X), SMALL(theta, changed)
    assert torch.equal(before[..., :3, :], after[..., :3, :])
    assert not torch.isclose(before[..., 3:, :], after[..., 3:, :]).all(-1).any()


def test_qk_norm_bounds_every_score_however_large_the_weights():
    network = Transformer(5, 8, context=7, qk_norm=True)
    _, scores = network.forward(1e3 * weights(network), X)
    largest = max(float(s.abs().max()) for s in scores)
    assert 0.9 * math.sqrt(network.head_dim) < largest <= math.sqrt(network.head_dim) * (1 + 1e-12)


def test_attention_is_a_softmax_over_the_places_so_far():
    scores = torch.tensor([[0.0, 9.0], [1.0, 1.0]])
    torch.testing.assert_close(attention(scores), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


def test_initial_weights_have_the_variances_of_the_recipe():
    network = Transformer(24)
    theta = network.init(Stream(range(20), "init"))
    for name, block in network.split(theta).items():
        if name.startswith(GAINS):
            assert (block == 1).all()
        else:
            expected = 0.01 if name.startswith(("output", "w2")) else 0.02  # sqrt(2 layers) = 2
            assert float(block.std()) == pytest.approx(expected, rel=0.03), name
    assert torch.equal(network.init(Stream([7], "init"))[0], theta[7])


def test_a_mask_marks_the_blocks_of_these_names():
    marked = SMALL.split(SMALL.mask("tok", "w1")[None])
    assert {name for name, block in marked.items() if block.all()} == {"tok", "w10", "w11"}
    assert {name for name, block in marked.items() if block.any()} == {"tok", "w10", "w11"}
    assert int(SMALL.mask(*GAINS).sum()) == 5 * SMALL.width
