"""The empirical tangent kernel of a network with several outputs, without its gradients."""

import torch

from dyntoolkit.engine.layers import MLP, linear

Tensor = torch.Tensor


def tangent_kernel(model: MLP, theta: Tensor, x: Tensor) -> Tensor:
    """Trace over the outputs of the empirical neural tangent kernel, sum_c grad f_c(x).grad f_c(x').

    theta: (R, P). x: (n, d) shared by all runs, or (R, n, d). Returns (R, n, n) in theta's dtype.
    Layer by layer it is (a.a' + 1) sum_c d_c.d'_c with a the layer's input and d_c the derivative of output c with
    respect to its preactivation; without the 1 where layers have no bias. Jacot et al. 2018 (arXiv 1806.07572).
    """
    layers = model.split(theta.detach())
    inputs, slopes = _forward(model, layers, x.expand(len(theta), *x.shape[-2:]))
    runs, n, _ = inputs[0].shape
    outputs = model.sizes[-1]
    d = torch.eye(outputs, dtype=theta.dtype, device=theta.device).expand(runs, n, outputs, outputs)  # (R, n, c, out)
    kernel = torch.zeros(runs, n, n, dtype=theta.dtype, device=theta.device)
    for a, slope, (weight, _) in zip(reversed(inputs), [*reversed(slopes), None], reversed(layers), strict=True):
        flat = d.flatten(2)  # (R, n, c out)
        kernel = kernel + (a @ a.mT + float(model.bias)) * (flat @ flat.mT)
        if slope is not None:
            d = d @ weight[:, None].mT * slope[:, :, None]  # (R, n, c, in)
    return kernel


def _forward(model: MLP, layers: list[tuple[Tensor, Tensor | None]], x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The input of every layer, (R, n, in), and the activation's slope at every hidden unit, (R, n, width)."""
    inputs, slopes = [x], []
    for weight, bias in layers[:-1]:
        with torch.enable_grad():
            z = linear(inputs[-1], weight, bias).requires_grad_()  # (R, n, width)
            h = model.activation(z)
            (slope,) = torch.autograd.grad(h.sum(), z)
        inputs.append(h.detach())
        slopes.append(slope)
    return inputs, slopes
