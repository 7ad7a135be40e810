"""The networks of the digit experiments one by one by torch.nn, as the naive twin of the run axis."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from dyntoolkit.engine.streams import Stream

Array = np.ndarray


def twin(sizes: Sequence[int], theta: torch.Tensor) -> nn.Sequential:
    """A ReLU network with the weights of theta (P,): W_1 (in x out, row by row), b_1, W_2, ..."""
    layers: list[nn.Module] = []
    for fan_in, out in pairwise(sizes):
        weight, bias, theta = theta.split([fan_in * out, out, len(theta) - (fan_in + 1) * out])
        layer = nn.Linear(fan_in, out)
        with torch.no_grad():
            layer.weight.copy_(weight.view(fan_in, out).T)
            layer.bias.copy_(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def sizes_of(config: Any) -> list[int]:
    return [64, *[config.width] * config.depth, 10]


def he_start(config: Any, seed: int, stream: str = "init") -> nn.Sequential:
    """He weights times init_scale, biases 0, from a stream of the seed."""
    normals, blocks, sizes = Stream([seed], stream), [], sizes_of(config)
    for fan_in, out in pairwise(sizes):
        weight, bias = normals.normal(fan_in * out)[0], normals.normal(out)[0]
        blocks += [config.init_scale * (2 / fan_in) ** 0.5 * weight, 0 * bias]
    return twin(sizes, torch.cat(blocks))


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def theta_of(network: nn.Sequential) -> torch.Tensor:
    """All weights, (P,), in the order of `twin`."""
    return torch.cat([p for layer in linear_layers(network) for p in (layer.weight.T.reshape(-1), layer.bias)]).detach()


def descend(
    network: nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    batches: Iterable[torch.Tensor],
    lr: float,
    momentum: float,
    weight_decay: float = 0.0,
) -> list[float]:
    """SGD from rest on the rows of each batch, decay of the weights but not of the biases; the losses of the steps."""
    layers, losses = linear_layers(network), []
    groups = [
        {"params": [layer.weight for layer in layers], "weight_decay": weight_decay},
        {"params": [layer.bias for layer in layers], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum)
    for rows in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def layers_of(network: nn.Sequential) -> list[tuple[Array, Array]]:
    """Weight (in, out) and bias (out,) of each layer, float64."""
    return [
        (part.weight.detach().double().numpy().T, part.bias.detach().double().numpy())
        for part in linear_layers(network)
    ]


def forward(layers: Sequence[tuple[Array, Array]], x: Array) -> list[Array]:
    """The hidden layers after their ReLU, then the logits, at points x (n, 64); written out in float64."""
    found = []
    for k, (W, b) in enumerate(layers):
        x = x @ W + b
        if k < len(layers) - 1:
            x = np.maximum(x, 0)
        found.append(x)
    return found


def loss_and_error(layers: Sequence[tuple[Array, Array]], x: Array, y: Array) -> tuple[float, float]:
    """Cross-entropy and share of wrong answers."""
    logits = forward(layers, x)[-1]
    surprise = [
        np.log(np.exp(row - row.max()).sum()) + row.max() - row[label] for row, label in zip(logits, y, strict=True)
    ]
    return float(np.mean(surprise)), float(np.mean(logits.argmax(1) != y))


def between(
    first: Sequence[tuple[Array, Array]], second: Sequence[tuple[Array, Array]], alpha: float
) -> list[tuple[Array, Array]]:
    """alpha times the weights of the first network, and the rest of the second one."""
    return [
        (alpha * W + (1 - alpha) * V, alpha * b + (1 - alpha) * c) for (W, b), (V, c) in zip(first, second, strict=True)
    ]


def one_minus_cosine(a: Array, b: Array) -> float:
    """Mean over the points, the rows of a and b."""
    return float(
        np.mean([1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v) + 1e-12) for u, v in zip(a, b, strict=True)])
    )
