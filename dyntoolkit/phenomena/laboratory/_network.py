"""The laboratory's network on the run axis: any depth, with or without residual connections and layer normalization."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.layers import MLP, linear
from dyntoolkit.engine.streams import Stream

Tensor = torch.Tensor

HE = ("relu", "gelu")  # activations that let half of the variance through


@dataclass(frozen=True, eq=False)
class Network:
    """h_1 = s(N(W_1 x + b_1)), h_k = s(N(W_k h_(k-1) + b_k)), f = scale (W h_depth + c); its R copies are theta (R, P).

    s: the activation. N: with norm the layer normalization of the hidden units, with a gain and a shift of its own for
    each, else nothing. residual: h_k is that plus h_(k-1), from the second hidden layer on. depth: hidden layers, 0 for
    a linear network. A row of theta holds the blocks of `shapes`, in order; a matrix is (in, out).
    """

    inputs: int
    outputs: int
    depth: int
    width: int
    activation: str
    residual: bool = False
    norm: bool = False
    scale: float = 1.0

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each block of a row of theta."""
        shapes: dict[str, tuple[int, ...]] = {}
        fan_in = self.inputs
        for k in range(1, self.depth + 1):
            shapes |= {f"W{k}": (fan_in, self.width), f"b{k}": (self.width,)}
            if self.norm:
                shapes |= {f"gain{k}": (self.width,), f"shift{k}": (self.width,)}
            fan_in = self.width
        return shapes | {f"W{self.depth + 1}": (fan_in, self.outputs), f"b{self.depth + 1}": (self.outputs,)}

    @property
    def parameters(self) -> int:
        """P, the number of trainable weights of one run."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def plain(self) -> "MLP | Network":
        """The MLP with the same weights, where it is one."""
        if self.residual or self.norm or self.scale != 1:
            return self
        return MLP((self.inputs, *[self.width] * self.depth, self.outputs), ACTIVATIONS[self.activation])

    @cached_property
    def factor(self) -> Tensor:
        """The scale as a tensor, which a program takes as an argument."""
        return torch.tensor(self.scale, dtype=torch.float32)

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Name -> (R, in, out) or (R, 1, out) of each block, as views of theta (R, P)."""
        parts = torch.split(theta, [math.prod(shape) for shape in self.shapes.values()], dim=1)
        blocks = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view(-1, *(shape if len(shape) > 1 else (1, *shape))) for (name, shape), part in blocks}

    def forward(self, theta: Tensor, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The hidden layers, (R, n, width) each, and the output (R, n, outputs). x: (n, inputs) or (R, n, inputs)."""
        w, h, hidden = self.split(theta), x, []
        for k in range(1, self.depth + 1):
            z = linear(h, w[f"W{k}"], w[f"b{k}"])  # (R, n, width)
            if self.norm:
                z = torch.addcmul(w[f"shift{k}"], w[f"gain{k}"], functional.layer_norm(z, (self.width,)))
            z = ACTIVATIONS[self.activation](z)
            h = h + z if self.residual and k > 1 else z
            hidden.append(h)
        return hidden, self.factor * linear(h, w[f"W{self.depth + 1}"], w[f"b{self.depth + 1}"])

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """The output (R, n, outputs) for theta (R, P) and x (n, inputs) shared by all runs, or (R, n, inputs)."""
        return self.forward(theta, x)[1]

    def features(self, theta: Tensor, x: Tensor) -> list[Tensor]:
        """The hidden layers, (R, n, width) each."""
        return self.forward(theta, x)[0]

    def neurons(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (w, b) that lead into the first layer's neurons (R, m, inputs + 1), and |a| |(w, b)| of each (R, m).

        a: the weights that lead on from a neuron. Without hidden layers the neurons are the outputs, and |a| = 1.
        """
        w = self.split(theta)
        inward = torch.cat([w["W1"], w["b1"]], 1).mT  # (R, m, inputs + 1)
        size = inward.norm(dim=2)  # (R, m)
        return inward, size * w["W2"].norm(dim=2) if self.depth else size

    def initial_theta(self, scale: Tensor, stream: Stream) -> Tensor:
        """Random theta (R, P): weights N(0, scale^2 g/fan_in), g = 2 for ReLU and GELU, else 1; biases 0, gains 1.

        scale: (R,), which multiplies the same numbers. (He et al. 2015, arXiv 1502.01852; LeCun et al. 1998.)
        """
        runs, blocks = len(scale), []
        gain = 2.0 if self.activation in HE else 1.0
        for name, shape in self.shapes.items():
            if len(shape) > 1:
                std = scale[:, None] * math.sqrt(gain / shape[0])  # (R, 1)
                blocks.append(stream.normal(math.prod(shape)) * std)
            else:
                blocks.append(torch.full((runs, shape[0]), float(name.startswith("gain")), dtype=torch.float32))
        return torch.cat(blocks, 1)
