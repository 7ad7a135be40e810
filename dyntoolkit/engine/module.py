"""Any torch.nn.Module on the run axis, so that a user's own network trains in the loops of the built-in ones."""

import copy
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _get_current_dispatch_mode

from dyntoolkit.engine.module_make import first_difference
from dyntoolkit.engine.module_trial import try_module
from dyntoolkit.errors import InputError, problem_words

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class Module:
    """R copies of a torch.nn.Module, one per row of theta (R, P), called as the built-in networks are.

    module: maps (n, *sample) to (n, *out). Its parameters that require gradients make up theta, in the order of
    `named_parameters`; all others, and its buffers, stay as they are. It is copied, never changed. torch runs it under
    `vmap`; where XLA trains, it is at most twice as slow as `MLP` (benchmarks/own_module.py).
    x: some samples (n, *sample) as it is to see them, on which it is tried at once. Without them samples are vectors,
    and it is tried on the first ones that it sees.

    Raises InputError, which says what to use in its place, for a module that cannot train so: one without trainable
    parameters, one that changes while it is called (BatchNorm in training mode), draws random numbers (Dropout in
    training mode), returns anything but one tensor (n, ...), or gives NaN; and for what `vmap` cannot do.

    >>> network = Module(torch.nn.Linear(3, 1))
    >>> network(torch.zeros(8, network.parameters), torch.ones(20, 3)).shape
    torch.Size([8, 20, 1])
    """

    def __init__(self, module: nn.Module, x: torch.Tensor | None = None) -> None:
        _check(module)
        self.module = _copied(module)
        self.sample_ndim = 1 if x is None else x.ndim - 1
        self.shapes = {name: tuple(p.shape) for name, p in module.named_parameters() if p.requires_grad}
        self.constants: dict[str, torch.Tensor] = {}  # what each run has for itself and does not train, (R, ...)
        self._tried = False
        self._lock = threading.Lock()  # functional_call swaps the module's parameters for the length of a call
        if x is not None:
            self._try(x)

    @classmethod
    def of_runs(cls, modules: Sequence[nn.Module], x: torch.Tensor | None = None) -> tuple[Self, torch.Tensor]:
        """The network of R modules of one make and their weights (R, P).

        Each run keeps its own module's buffers and parameters that are not trained, such as random features.
        """
        network = cls(modules[0], x)
        theta = network._rows(modules, constants=False)
        named = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in modules]
        for name in named[0].keys() - network.shapes.keys():
            values = torch.stack([tensors[name].detach() for tensors in named])
            if not (values == values[0]).all():
                network.constants[name] = values
        return network, theta

    @property
    def parameters(self) -> int:
        """P, the number of trainable weights of one run."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def theta_of(self, *modules: nn.Module) -> torch.Tensor:
        """The weights of modules of the same make, one row each, (R, P).

        InputError, with the first difference, for one of another make: other classes, sizes, functions, ties, frozen
        weights or buffers.
        """
        return self._rows(modules, constants=True)

    def _rows(self, modules: Sequence[nn.Module], *, constants: bool) -> torch.Tensor:
        rows = []
        for module in modules:
            if difference := first_difference(module, self.module, constants):
                kind = type(module).__name__
                raise InputError(f"module: this {kind} is not of the network's make: {difference}.", "module")
            named = dict(module.named_parameters())
            rows.append(torch.cat([named[name].detach().flatten() for name in self.shapes]))
        return torch.stack(rows)

    def __call__(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The output (R, n, *out) for theta (R, P) and x (n, *sample) shared by all runs, or (R, n, *sample)."""
        # Where a step is recorded, the trial is no part of it. Asked of this thread: torch's is_in_torch_dispatch_mode
        # knows one answer for all threads, of which others may be recording.
        if not self._tried and _get_current_dispatch_mode() is None:
            self._try(x if x.ndim == self.sample_ndim + 1 else x[0])
        parts = torch.split(theta, [math.prod(shape) for shape in self.shapes.values()], dim=1)
        named = {name: part.view(-1, *shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}
        for name, values in self.constants.items():
            if len(values) != len(theta):
                raise InputError(
                    f"theta takes {len(values)} runs, which have their own {name}; got {len(theta)}.", "theta"
                )
        return self._run({**named, **self.constants}, x)

    def _run(self, named: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        run_axis = 0 if x.ndim > self.sample_ndim + 1 else None
        with self._lock:
            output: torch.Tensor = torch.vmap(self._one_run, in_dims=(0, run_axis))(named, x)
        return output

    def _one_run(self, named: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.func.functional_call(self.module, dict(named), (x,))
        return output

    def _try(self, x: torch.Tensor) -> None:
        try_module(self.module, self._run, x)
        self._tried = True


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as problem:  # of anybody's code, or of a tensor that was computed and is no weight
        kind = type(module).__name__
        raise InputError(f"module: {kind} cannot be copied: {problem_words(problem)}", "module") from problem


def _check(module: nn.Module) -> None:
    """InputError for a module that can be seen not to train on the run axis without trying it."""
    if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
        raise InputError(f"module: {type(module).__name__} is compiled already: give the module itself.", "module")
    if not any(p.requires_grad for p in module.parameters()):
        raise InputError(f"module: {type(module).__name__} has no parameters to train.", "module")
    for name, part in module.named_modules():
        kind = f"module: {type(part).__name__} {name!r}" if name else f"module: {type(part).__name__}"
        if any(is_lazy(p) for p in part.parameters(recurse=False)):
            raise InputError(f"{kind} has no weights yet: call the module on a few samples before.", "module")
        if part.training and getattr(part, "track_running_stats", False):
            raise InputError(
                f"{kind} changes its running statistics while it trains, which the run axis cannot keep apart: "
                "use LayerNorm or GroupNorm, or track_running_stats=False.",
                "module",
            )
        if isinstance(part, DROPOUTS) and part.training and getattr(part, "p", 1) > 0:
            raise InputError(f"{kind} draws from torch's global random state: call eval() on it or drop it.", "module")
        if isinstance(part, nn.RNNBase):
            raise InputError(
                f"{kind} cannot be vectorized by torch: go through the steps in a loop, with nn.RNNCell, nn.GRUCell or "
                "nn.Linear.",
                "module",
            )
