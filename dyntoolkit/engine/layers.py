"""Layers for R runs at once: every weight has a leading run axis, and all weights are one flat theta (R, P)."""

from dataclasses import dataclass

import torch

from dyntoolkit.engine.activations import Activation

Layer = tuple[torch.Tensor, torch.Tensor | None]  # weight (R, in, out), bias (R, 1, out) or None


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The affine map x W + b of every run, (R, n, out).

    x: (R, n, in), or (n, in) shared by all runs. weight: (R, in, out). bias: (R, 1, out).
    """
    x = x.expand(len(weight), *x.shape[-2:])  # (R, n, in), no copy; measured faster than one wide product for all runs
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight)


@dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron whose R copies are the rows of theta (R, P).

    sizes: width of the input, of each hidden layer and of the output. The activation follows every hidden layer.
    A row of theta holds W_1 (in x out, row by row), b_1, W_2, b_2, ...; without bias only the W.

    >>> network = MLP((5, 100, 1), torch.tanh)
    >>> network(torch.zeros(8, network.parameters), torch.ones(20, 5)).shape
    torch.Size([8, 20, 1])
    """

    sizes: tuple[int, ...]
    activation: Activation
    bias: bool = True

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, columns) of each block of a row of theta, in order; a bias has one row."""
        shapes = []
        for fan_in, out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            shapes += [(fan_in, out), (1, out)] if self.bias else [(fan_in, out)]
        return shapes

    @property
    def parameters(self) -> int:
        """P, the number of trainable weights of one run."""
        return sum(rows * columns for rows, columns in self.shapes)

    def split(self, theta: torch.Tensor) -> list[Layer]:
        """Weight (R, in, out) and bias (R, 1, out), or None, of each layer, as views of theta (R, P)."""
        # torch.split and not slices: its backward is one cat, that of P slices fills P tensors of zeros
        parts = torch.split(theta, [rows * columns for rows, columns in self.shapes], dim=1)
        blocks = [part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        if not self.bias:
            return [(weight, None) for weight in blocks]
        return list(zip(blocks[::2], blocks[1::2], strict=True))

    def features(self, theta: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        """Every hidden layer after its activation, then the output: tensors (R, n, width).

        theta: (R, P). x: (n, in) shared by all runs, or (R, n, in).
        """
        *hidden, (weight, bias) = self.split(theta)
        outputs = []
        for w, b in hidden:
            x = self.activation(linear(x, w, b))  # (R, n, width)
            outputs.append(x)
        return [*outputs, linear(x, weight, bias)]

    def __call__(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The output (R, n, out) for theta (R, P) and x (n, in) shared by all runs, or (R, n, in)."""
        return self.features(theta, x)[-1]
