"""What repeats a training step: Python itself, or the operators that were recorded of it. (XLA: `engine.xla`.)"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from dyntoolkit.engine.batches import parts_of, unbind
from dyntoolkit.engine.history import Array
from dyntoolkit.engine.record import Recording
from dyntoolkit.engine.replay import replay

Step = Callable[[Any, Any], Any]  # (state, batch) -> state


class Engine(Protocol):
    """How the updates of one training are done. A native state is the engine's own form of a state."""

    name: str

    def enter(self, state: Any) -> Any:
        """The native form of a state, a NamedTuple of tensors."""

    def leave(self, native: Any) -> Any:
        """A state of tensors of their own: nobody else reads them or writes to them."""

    def load(self, batch: Any, steps: int) -> Any:
        """The batches of a block of so many steps, for `advance`."""

    def advance(self, native: Any, drawn: Any, first: int, last: int) -> Any:
        """The native state after the updates first..last-1 of the block."""

    def states(self, native: Any, drawn: Any, first: int, last: int) -> tuple[Any, list[Any]]:
        """The same, and the states (of tensors) after each of these updates."""

    def finite(self, native: Any) -> Array:
        """(R,) whether every number of a run is finite."""

    def select(self, mask: Array, yes: Any, no: Any) -> Any:
        """Run by run, `yes` where mask (R,), else `no`."""


class Eager:
    """The step itself, in Python and torch: a native state is the state."""

    name = "eager"

    def __init__(self, step: Step) -> None:
        self.step = step

    def enter(self, state: Any) -> Any:
        """The state itself."""
        return state

    def leave(self, native: Any) -> Any:
        """The state, copied."""
        return type(native)(*(leaf.detach().clone() for leaf in native))

    def load(self, batch: Any, steps: int) -> list[Any]:
        """One batch for each step."""
        return list(unbind(batch, steps))

    def advance(self, native: Any, drawn: Sequence[Any], first: int, last: int) -> Any:
        """The state after the updates first..last-1 of the block."""
        for batch in drawn[first:last]:
            native = self.step(native, batch)
        return native

    def states(self, native: Any, drawn: Sequence[Any], first: int, last: int) -> tuple[Any, list[Any]]:
        """The same, and the states after each of these updates."""
        found = []
        for k in range(first, last):
            native = self.advance(native, drawn, k, k + 1)
            found.append(self.leave(native))
        return native, found

    def finite(self, native: Any) -> Array:
        """(R,) whether every number of a run is finite."""
        finite = [torch.isfinite(t).flatten(1).all(1) if t.ndim > 1 else torch.isfinite(t) for t in native]
        return torch.stack(finite).all(0).numpy(force=True)

    def select(self, mask: Array, yes: Any, no: Any) -> Any:
        """Run by run, `yes` where mask (R,), else `no`."""
        return select(mask, yes, no)


class Recorded(Eager):
    """The step's operators, repeated by torch on a device."""

    name = "recorded"

    def __init__(self, recording: Recording, kind: type, device: str = "cpu") -> None:
        repeat = replay(recording, device)
        super().__init__(lambda state, batch: kind(*repeat([*state, *parts_of(batch)])))
        self.device = device

    def enter(self, state: Any) -> Any:
        """The state on the device."""
        return state if self.device == "cpu" else type(state)(*(leaf.to(self.device) for leaf in state))

    def leave(self, native: Any) -> Any:
        """The state on the CPU, copied."""
        return super().leave(native if self.device == "cpu" else type(native)(*(leaf.cpu() for leaf in native)))

    def load(self, batch: Any, steps: int) -> list[Any]:
        """The tensors of each step's batch, on the device."""
        tensors = tuple(part.to(self.device) for part in parts_of(batch))
        return list(unbind(tensors, steps))


def select(mask: Array, yes: Any, no: Any) -> Any:
    """A state (a NamedTuple of tensors) out of two: run by run, `yes` where mask (R,), else `no`."""
    chosen = torch.from_numpy(mask).to(yes[0].device)
    pairs = zip(yes, no, strict=True)
    return type(yes)(*(torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))
