"""A small causal transformer for R runs at once: all its weights are one flat theta (R, P)."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from dyntoolkit.engine.layers import linear
from dyntoolkit.engine.streams import Stream

Tensor = torch.Tensor
EPS = 1e-6  # added to the mean square that a normalization divides by
GAINS = ("attention_gain", "ffn_gain", "gain")  # beginnings of the names of all gains


@dataclass(frozen=True)
class Transformer:
    """A pre-norm language model, whose R copies are the rows of theta (R, P).

    h = tok[x] + pos; in each layer h += Attn(RMS(h)), then h += W2 GELU(W1 RMS(h)) with 4 width hidden units; the
    logits are Head RMS(h). No biases, no dropout, Head is not tied to tok; each of these RMS has a gain. Attention is
    causal, its scores are q.k/sqrt(head_dim). width: a multiple of heads. context: most tokens that are read.
    qk_norm: q and k pass an RMS without gain, head by head, so that |score| <= sqrt(head_dim) (after Henry et al. 2020,
    arXiv 2010.04245).
    """

    vocabulary: int
    width: int = 32
    heads: int = 2
    context: int = 32
    layers: int = 2
    qk_norm: bool = False

    @property
    def head_dim(self) -> int:
        """Numbers in a query or key of one head."""
        return self.width // self.heads

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Name -> shape of each block of a row of theta, in order; a matrix is (in, out), a gain (1, width)."""
        d = self.width
        shapes = {"tok": (self.vocabulary, d), "pos": (self.context, d)}
        for layer in range(self.layers):
            square = dict.fromkeys(("query", "key", "value", "output"), (d, d))
            blocks = {"attention_gain": (1, d), **square, "ffn_gain": (1, d), "w1": (d, 4 * d), "w2": (4 * d, d)}
            shapes |= {f"{name}{layer}": shape for name, shape in blocks.items()}
        return shapes | {"gain": (1, d), "head": (d, self.vocabulary)}

    @property
    def sizes(self) -> dict[str, int]:
        """Name -> number of weights of each block of a row of theta, in order."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}

    @property
    def parameters(self) -> int:
        """P, the number of trainable weights of one run."""
        return sum(self.sizes.values())

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Name -> (R, *shape) of each block, as views of theta (R, P)."""
        parts = torch.split(theta, list(self.sizes.values()), dim=1)
        return {name: part.view(-1, *shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}

    def mask(self, *names: str) -> Tensor:
        """Which weights of a row of theta lie in blocks whose names begin with one of `names`, bool (P,)."""
        return torch.cat(
            [torch.full((size,), block.startswith(names), dtype=torch.bool) for block, size in self.sizes.items()]
        )

    def init(self, stream: Stream) -> Tensor:
        """Random theta (R, P): weights N(0, .02^2), output and w2 N(0, (.02/sqrt(2 layers))^2), gains 1.

        As in GPT-2 (Radford et al. 2019).
        """
        std = torch.full((self.parameters,), 0.02, dtype=torch.float32)  # (P,)
        std[self.mask("output", "w2")] /= math.sqrt(2 * self.layers)
        return torch.where(self.mask(*GAINS), 1.0, stream.normal(self.parameters) * std)

    def forward(self, theta: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (R, B, T, vocabulary), and each layer's attention scores (R, B, heads, T, T) before the causal mask.

        theta: (R, P). x: tokens (R, B, T), T at most `context`; scores[..., i, j] is that of query i and key j.
        """
        w, (R, B, T) = self.split(theta), x.shape
        h = embed(w["tok"], x) + w["pos"][:, None, :T]  # (R, B, T, d)
        h = h.view(R, B * T, self.width)
        scores = []
        for layer in range(self.layers):
            z = rms_norm(h) * w[f"attention_gain{layer}"]  # (R, B T, d)
            q, k, v = (self._by_head(linear(z, w[f"{name}{layer}"]), B) for name in ("query", "key", "value"))
            scores.append(self._scores(q, k))
            mixed = attention(scores[-1]) @ v  # (R, B, heads, T, head_dim)
            h = h + linear(mixed.transpose(2, 3).reshape(h.shape), w[f"output{layer}"])
            z = rms_norm(h) * w[f"ffn_gain{layer}"]
            h = h + linear(functional.gelu(linear(z, w[f"w1{layer}"])), w[f"w2{layer}"])
        return linear(rms_norm(h) * w["gain"], w["head"]).view(R, B, T, -1), scores

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """The logits (R, B, T, vocabulary) of the token after each of x (R, B, T)."""
        return self.forward(theta, x)[0]

    def _by_head(self, z: Tensor, batch: int) -> Tensor:
        """(R, B T, d) -> (R, B, heads, T, head_dim)."""
        return z.view(len(z), batch, -1, self.heads, self.head_dim).transpose(2, 3)

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        """q.k/sqrt(head_dim) of all pairs of places, (R, B, heads, T, T)."""
        if self.qk_norm:
            q, k = rms_norm(q), rms_norm(k)
        return q @ k.mT / math.sqrt(self.head_dim)


def embed(table: Tensor, x: Tensor) -> Tensor:
    """The row of each token in its run's own table: (R, V, d), tokens (R, ...) -> (R, ..., d)."""
    runs, rows, width = table.shape
    first = torch.arange(runs, dtype=torch.int64).view(-1, *[1] * (x.ndim - 1)) * rows  # where a run's rows begin
    return functional.embedding(x + first, table.reshape(-1, width))


def rms_norm(z: Tensor) -> Tensor:
    """z / sqrt(mean z^2 + 1e-6) over the last axis, without gain (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return z * torch.rsqrt(z.square().mean(-1, keepdim=True) + EPS)


def attention(scores: Tensor) -> Tensor:
    """The causal softmax of scores (..., T, T): how much place i takes from each place j <= i, (..., T, T)."""
    T = scores.shape[-1]
    ahead = torch.ones(T, T, dtype=torch.bool).triu(1)  # (T, T)
    return scores.masked_fill(ahead, -math.inf).softmax(-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p(target) in nats, mean over the tokens of a run: logits (R, B, T, V), targets (R, B, T) -> (R,)."""
    each = functional.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none")  # (R B T,)
    return each.view(len(logits), -1).mean(1)
