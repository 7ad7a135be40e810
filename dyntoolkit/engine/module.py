"""Any torch.nn.Module on the run axis, so that a user's own network trains in the loops of the built-in ones."""

import copy
import math
import threading

import torch
from torch import nn

from dyntoolkit.errors import InputError

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Module:
    """R copies of a torch.nn.Module, one per row of theta (R, P), called as the built-in networks are.

    module: maps (n, *sample) to (n, *out). Its parameters that require gradients make up theta, in the order of
    `named_parameters`; all others, and its buffers, stay as they are. It is copied, never changed. torch runs it under
    `vmap`, which for one small network is about three times slower than `MLP`.
    sample_ndim: dimensions of one sample, 1 for a vector, 3 for an image with channels.
    Raises InputError for a module without trainable parameters, one that updates running statistics (BatchNorm in
    training mode), or one that draws from torch's global random state (Dropout in training mode).

    >>> network = Module(torch.nn.Linear(3, 1))
    >>> network(torch.zeros(8, network.parameters), torch.ones(20, 3)).shape
    torch.Size([8, 20, 1])
    """

    def __init__(self, module: nn.Module, sample_ndim: int = 1) -> None:
        _check(module)
        self.module = copy.deepcopy(module)
        self.sample_ndim = sample_ndim
        self.shapes = {name: tuple(p.shape) for name, p in module.named_parameters() if p.requires_grad}
        self._lock = threading.Lock()  # functional_call swaps the module's parameters for the length of a call

    @property
    def parameters(self) -> int:
        """P, the number of trainable weights of one run."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def theta_of(self, *modules: nn.Module) -> torch.Tensor:
        """The weights of modules of the same make, one row each, (R, P); InputError for one of another make."""
        rows = []
        for module in modules:
            named = dict(module.named_parameters())
            if {name: tuple(named[name].shape) for name in self.shapes if name in named} != self.shapes:
                raise InputError(f"this {type(module).__name__} has other parameters than the network.", "module")
            rows.append(torch.cat([named[name].detach().flatten() for name in self.shapes]))
        return torch.stack(rows)

    def __call__(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The output (R, n, *out) for theta (R, P) and x (n, *sample) shared by all runs, or (R, n, *sample)."""
        parts = torch.split(theta, [math.prod(shape) for shape in self.shapes.values()], dim=1)
        named = {name: part.view(-1, *shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}
        run_axis = 0 if x.ndim > self.sample_ndim + 1 else None
        with self._lock:
            output: torch.Tensor = torch.vmap(self._one_run, in_dims=(0, run_axis))(named, x)
        return output

    def _one_run(self, named: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.func.functional_call(self.module, named, (x,))
        return output


def _check(module: nn.Module) -> None:
    """InputError for a module that cannot train on the run axis."""
    if not any(p.requires_grad for p in module.parameters()):
        raise InputError(f"{type(module).__name__} has no parameters to train.", "module")
    for name, part in module.named_modules():
        kind = f"{type(part).__name__} {name!r}" if name else type(part).__name__
        if part.training and getattr(part, "track_running_stats", False):
            raise InputError(
                f"{kind} changes its running statistics while it trains, which the run axis cannot keep apart: "
                "use LayerNorm, or track_running_stats=False.",
                "module",
            )
        if isinstance(part, DROPOUTS) and part.training and part.p > 0:
            raise InputError(f"{kind} draws from torch's global random state: call eval() on it or drop it.", "module")
