"""The trained weights of a run as named tensors, and the lines of Python that load them into a plain module."""

from typing import NamedTuple

import numpy as np

from dyntoolkit.engine.activations import ACTIVATIONS, Activation
from dyntoolkit.engine.history import Array, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.module import Module
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment

FILE = "FILE"  # stands for the name of the file
MODULES = {
    "tanh": "nn.Tanh()",
    "relu": "nn.ReLU()",
    "gelu": "nn.GELU()",
    "sigmoid": "nn.Sigmoid()",
    "softplus": "nn.Softplus()",
    "identity": "nn.Identity()",
    "sin": "Of(torch.sin)",
    "erf": "Of(torch.erf)",
    "xtanh": "Of(lambda x: x * torch.tanh(x))",
    "x2tanh": "Of(lambda x: x * x * torch.tanh(x))",
}
OF = 'Of = lambda f: type("Of", (nn.Module,), {"forward": lambda self, x: f(x)})()'


class Weights(NamedTuple):
    """tensors: name -> (R, ...), or (R, N, ...) of N networks a run. lines: load those of the first one."""

    tensors: dict[str, Array]
    lines: str


def weights(experiment: Experiment, history: History) -> Weights:
    """The weights of a finished run.

    Of an `MLP` they are those of a torch.nn.Sequential, of a `Module` those of the reader's own module; else they are
    parameters by name. The lines import what they need, and read a file called `FILE`.

    Raises InputError where there are none: it is not trained to its end, or has no training loop of the engine's.
    """
    if not history.done:
        raise InputError("weights: they are there when the run has ended.", "weights")
    if not history.weights:
        raise InputError(
            f"weights: {experiment.name} keeps none: a run of it is not one training by `dt.train`.", "weights"
        )
    network = None if experiment.network is None else experiment.network(history)
    theta = history.weights.get("theta")
    if isinstance(network, MLP) and theta is not None and (inner := _activation(network.activation)):
        return _sequential(network, theta, inner)
    if isinstance(network, Module) and theta is not None:
        return _module(network, theta)
    shapes = getattr(network, "shapes", None)
    tensors = _blocks(theta, shapes) if theta is not None and isinstance(shapes, dict) else dict(history.weights)
    body = f"for name, w in load_file({FILE!r}).items(): net.register_parameter(name, nn.Parameter(w[0]))"
    return Weights(tensors, _lines("net = nn.Module()", body))


def _lines(make: str, load: str) -> str:
    return f"import torch; from torch import nn; from safetensors.torch import load_file\n{make}\n{load}"


def _activation(function: Activation) -> str:
    """The module of an activation as Python writes it; "" for one that has no name."""
    return next((MODULES[name] for name, known in ACTIVATIONS.items() if known is function), "")


def _blocks(theta: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Rows of theta (..., P) cut into blocks of these shapes, name -> (..., *shape)."""
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
    parts = np.split(theta, ends[:-1], axis=-1)
    return {name: p.reshape(*theta.shape[:-1], *s) for (name, s), p in zip(shapes.items(), parts, strict=True)}


def _sequential(network: MLP, theta: Array, inner: str) -> Weights:
    """Those of nn.Sequential(nn.Linear(...), activation, ...); torch keeps a matrix as (out, in)."""
    layers: list[str] = []
    shapes: dict[str, tuple[int, ...]] = {}
    bias = "" if network.bias else ", bias=False"
    for k, (fan_in, out) in enumerate(zip(network.sizes[:-1], network.sizes[1:], strict=True)):
        layers.append(f"nn.Linear({fan_in}, {out}{bias})")
        shapes[f"{2 * k}.weight"] = (fan_in, out)
        if network.bias:
            shapes[f"{2 * k}.bias"] = (out,)
    blocks = _blocks(theta, shapes)
    tensors = {name: part.swapaxes(-1, -2) if name.endswith("weight") else part for name, part in blocks.items()}
    make = f"net = nn.Sequential({f', {inner}, '.join(layers)})"
    make += ".double()" if theta.dtype == np.float64 else ""
    if inner.startswith("Of("):
        make = f"{OF}; {make}"
    place = ", ".join("0" for _ in theta.shape[:-1])
    load = f"net.load_state_dict({{name: w[{place}] for name, w in load_file({FILE!r}).items()}})"
    return Weights({name: np.ascontiguousarray(part) for name, part in tensors.items()}, _lines(make, load))


def _module(network: Module, theta: Array) -> Weights:
    """The whole state of a reader's module, buffers and frozen weights included."""
    trained = _blocks(theta, network.shapes)
    runs = len(theta)
    names = {id(p): name for name, p in network.module.named_parameters()}  # of tied ones the first
    tensors = {}
    for name, value in network.module.state_dict(keep_vars=True).items():
        first = names.get(id(value), name)
        constant = network.constants.get(first, value.detach().expand(runs, *value.shape))
        tensors[name] = trained[first] if first in trained else constant.numpy()
    kind = type(network.module).__name__
    load = f"net.load_state_dict({{name: w[0] for name, w in load_file({FILE!r}).items()}})"
    return Weights(tensors, _lines(f"net = {kind}(...)  # made as for the run", load))
