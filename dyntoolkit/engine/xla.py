"""Recorded steps as programs of XLA, which do whole blocks of them without Python. Loads JAX: import it late."""

import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.experimental import serialize_executable
from jaxlib import xla_client

from dyntoolkit.engine import chunks, rules
from dyntoolkit.engine.batches import parts_of
from dyntoolkit.engine.chunks import Chunks, Part, chunked
from dyntoolkit.engine.history import Array
from dyntoolkit.engine.program_cache import ProgramCache
from dyntoolkit.engine.record import Recording, RecordingError

Tensor = torch.Tensor
Arrays = list[Any]  # of JAX

# networks this small lose time with more threads, and no number shall depend on how many a machine has
OPTIONS: Mapping[str, dict[str, Any]] = {
    "cpu": {"xla_cpu_multi_thread_eigen": False, "xla_cpu_prefer_vector_width": 512},
    "gpu": {},
}  # by platform


class Native(NamedTuple):
    """A state on XLA's side: its leaves, and (R,) whether all numbers of a run are finite."""

    leaves: Arrays
    finite: Any


class Program:
    """A recorded step that can be done any number of times within a block of at most `room` steps.

    every: whether all states of a block are kept. size: how many runs it trains at a time, if all is known that this
    takes, a divisor of R; None for all. The program runs on `device`, "cpu" or "cuda".
    """

    def __init__(
        self,
        recording: Recording,
        device: str,
        room: int,
        *,
        every: bool,
        cache: ProgramCache,
        size: int | None = None,
    ) -> None:
        missing = sorted({str(line.operator) for line in recording.lines if line.operator not in rules.RULES})
        if missing:
            raise RecordingError(f"there is no rule for {', '.join(missing)}")
        if torch.bfloat16 in (dtype for _, dtype in recording.shapes):
            raise RecordingError("numpy, by which numbers go to XLA, knows no bfloat16")
        self.device = _device(device)
        self.room, self.every = room, every
        with jax.enable_x64(True), jax.default_device(self.device):
            self.call = _compiled(recording, self.device, room, every, size, cache)


class Xla:
    """The engine that runs a Program on the numbers of one training."""

    name = "xla"

    def __init__(self, kind: type, recording: Recording, program: Program) -> None:
        self.kind = kind
        self.program = program
        self.held = [self._array(tensor) for tensor in recording.held.values()]
        self.kept: Arrays = []

    def enter(self, state: Any) -> Native:
        """A state (a NamedTuple of tensors), copied."""
        return Native([self._array(leaf) for leaf in state], np.ones(len(state[0]), dtype=bool))

    def leave(self, native: Native) -> Any:
        """The state as torch's, copied."""
        return self.kind(*(torch.from_numpy(np.array(leaf)) for leaf in native.leaves))

    def load(self, batch: Any, steps: int) -> Arrays:
        """The batches of a block, filled up with zeros to as many as the program takes."""
        return [self._block(tensor, steps) for tensor in parts_of(batch)]

    def advance(self, native: Native, drawn: Arrays, first: int, last: int) -> Native:
        """The state after the updates first..last-1 of the block."""
        program = self.program
        with (
            jax.enable_x64(True),
            jax.default_device(program.device),
            jax.disable_jit(False),
            jax.transfer_guard("allow"),
        ):
            if program.every and not self.kept:
                self.kept = [jnp.zeros((program.room, *leaf.shape), leaf.dtype) for leaf in native.leaves]
            bounds = np.int32(first), np.int32(last)
            leaves, finite, self.kept = program.call(self.held, native.leaves, drawn, self.kept, *bounds)
        return Native(leaves, finite.block_until_ready())

    def states(self, native: Native, drawn: Arrays, first: int, last: int) -> tuple[Native, list[Any]]:
        """The same, and the states after each of these updates, as torch's."""
        native = self.advance(native, drawn, first, last)
        leaves = [torch.from_numpy(np.asarray(kept)[first:last].copy()) for kept in self.kept]  # (steps, R, ...) each
        return native, [self.kind(*state) for state in zip(*leaves, strict=True)]

    def finite(self, native: Native) -> Array:
        """(R,) whether every number of a run is finite."""
        return np.asarray(native.finite)

    def select(self, mask: Array, yes: Native, no: Native) -> Native:
        """Run by run, `yes` where mask (R,), else `no`."""
        pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(yes.leaves, no.leaves, strict=True)]
        chosen = [np.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs]
        finite = np.where(mask, np.asarray(yes.finite), np.asarray(no.finite))
        with jax.enable_x64(True):
            return Native([jax.device_put(leaf, self.program.device) for leaf in chosen], finite)

    def _array(self, tensor: Tensor) -> Any:
        with jax.enable_x64(True):
            return jax.device_put(tensor.detach().numpy(), self.program.device, may_alias=False)

    def _block(self, tensor: Tensor, steps: int) -> Any:
        values = np.ascontiguousarray(tensor.detach().numpy())
        if steps < self.program.room:
            filled = np.zeros((self.program.room, *values.shape[1:]), values.dtype)
            filled[:steps] = values
            values = filled
        with jax.enable_x64(True):
            return jax.device_put(values, self.program.device)


def _block(recording: Recording, batch: Sequence[Part], *, every: bool) -> Callable[..., tuple[Arrays, Any, Arrays]]:
    """(held, state, batches (room, ...), kept (room, ...), first, last, begin) -> state, finite (R,), kept.

    batch: what the recording takes of the batches. begin: the run of `kept`, and of these, that is its first one.
    """
    once, always = recording.once_and_every
    shapes = [shape for shape, _ in recording.shapes[len(recording.outputs) : len(recording.inputs)]]

    def block(
        held: Arrays, state: Arrays, drawn: Arrays, kept: Arrays, first: Any, last: Any, begin: Any
    ) -> tuple[Arrays, Any, Arrays]:
        fixed = rules.done(once, dict(zip(recording.held, held, strict=True)))

        def one(i: Any, carry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
            state, kept = carry
            parts = [_slice(drawn[k], (i, begin * rows), shape) for (k, rows), shape in zip(batch, shapes, strict=True)]
            values = rules.done(always, fixed | dict(zip(recording.inputs, [*state, *parts], strict=True)))
            state = [values[at] for at in recording.outputs]
            if every:
                kept = [_put(array, leaf[None], (i, begin)) for array, leaf in zip(kept, state, strict=True)]
            return state, kept

        state, kept = jax.lax.fori_loop(first, last, one, (state, kept))
        finite = [jnp.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in state]  # (R,) each
        return state, jnp.stack(finite).all(0), kept

    return block


def _whole(recording: Recording, *, every: bool) -> Callable[..., tuple[Arrays, Any, Arrays]]:
    """(held, state, batches (room, ...), kept (room, ...), first, last) -> state, finite (R,), kept."""
    batch = [Part(k, 0) for k in range(len(recording.inputs) - len(recording.outputs))]
    return partial(_block(recording, batch, every=every), begin=0)


def _in_chunks(chunks: Chunks, runs: int, *, every: bool) -> Callable[..., tuple[Arrays, Any, Arrays]]:
    """The same, all steps with the first c runs, then all with the next ones."""
    block = _block(chunks.recording, chunks.batch, every=every)
    (size, *_), _ = chunks.recording.shapes[0]

    def all_blocks(held: Arrays, state: Arrays, drawn: Arrays, kept: Arrays, first: Any, last: Any) -> Any:
        def one(chunk: Any, carry: tuple[Arrays, Any, Arrays]) -> tuple[Arrays, Any, Arrays]:
            state, finite, kept = carry
            begin = chunk * size
            cut = partial(jax.lax.dynamic_slice_in_dim, axis=0)
            mine = [cut(held[k], begin * rows, size * rows) if rows else held[k] for k, rows in chunks.held]
            few, fine, kept = block(mine, [cut(leaf, begin, size) for leaf in state], drawn, kept, first, last, begin)
            state = [_put(leaf, part, (begin,)) for leaf, part in zip(state, few, strict=True)]
            return state, _put(finite, fine, (begin,)), kept

        return jax.lax.fori_loop(0, runs // size, one, (state, jnp.ones(runs, bool), kept))

    return all_blocks


def _slice(array: Any, at: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """The part of this shape that begins at these indices of the first axes; the first axis is left out."""
    return jax.lax.dynamic_slice(array, _indices(at, array.ndim), (1, *shape)).reshape(shape)


def _put(array: Any, part: Any, at: tuple[Any, ...]) -> Any:
    """The array with a part of it replaced, which begins at these indices of the first axes."""
    return jax.lax.dynamic_update_slice(array, part, _indices(at, array.ndim))


def _indices(at: tuple[Any, ...], axes: int) -> list[Any]:
    """These indices of the first axes, of one dtype, and 0 for the others."""
    return [jnp.asarray(each, jnp.int32) for each in (*at, *[0] * axes)[:axes]]


def _compiled(
    recording: Recording, device: Any, room: int, every: bool, size: int | None, cache: ProgramCache
) -> Callable[..., Any]:
    """The program of a block: from the disk if it is there, else compiled and left there."""
    sharding = jax.sharding.SingleDeviceSharding(device)

    def looks(shape: tuple[int, ...], dtype: torch.dtype) -> Any:
        return jax.ShapeDtypeStruct(shape, rules.DTYPES[dtype], sharding=sharding)  # type: ignore[no-untyped-call]

    leaves = len(recording.outputs)
    state, rest = recording.shapes[:leaves], recording.shapes[leaves:]
    drawn, held = rest[: len(recording.inputs) - leaves], rest[len(recording.inputs) - leaves :]
    number = looks((), torch.int32)
    given = (
        [looks(*each) for each in held],
        [looks(*each) for each in state],
        [looks((room, *shape), dtype) for shape, dtype in drawn],
        [looks((room, *shape), dtype) for shape, dtype in state] if every else [],
        number,
        number,
    )
    key = hashlib.sha256(repr((recording.key, room, every, size, machine(device.platform))).encode()).hexdigest()
    taken = jax.tree.structure((given, {}))
    returned = jax.tree.structure((given[1], 0, given[3]))
    stored = cache.get(key)
    if stored is not None:
        loaded = _loaded(stored, taken, returned, device)
        if loaded is not None:
            return loaded
    apart = None if size is None else chunked(recording, size)
    block = _whole(recording, every=every) if apart is None else _in_chunks(apart, recording.runs, every=every)
    program = jax.jit(block, donate_argnums=3).lower(*given).compile(OPTIONS[device.platform])
    cache.put(key, serialize_executable.serialize(program)[0])
    return program


def _loaded(stored: bytes, taken: Any, returned: Any, device: Any) -> Callable[..., Any] | None:
    """A program from the disk; None for one that this JAX cannot load."""
    try:
        program: Callable[..., Any] = serialize_executable.deserialize_and_load(
            stored, taken, returned, backend=device.client, execution_devices=[device]
        )
    except Exception:  # whatever a foreign file makes JAX raise, compiling anew is the answer
        return None
    return program


@cache
def _device(kind: str) -> Any:
    """The device of programs: "cpu" is one of our own, with one thread, whatever the reader's JAX uses.

    XLA hands even the smallest of loops to its threads, which takes as long as a step of a small network.
    """
    if kind != "cpu":
        return jax.devices(kind)[0]
    before = os.environ.get("PJRT_NPROC")
    os.environ["PJRT_NPROC"] = "1"  # read while a client is made, and at no other time
    try:
        return xla_client.make_cpu_client(asynchronous=False).local_devices()[0]  # type: ignore[attr-defined]
    except Exception:  # of a JAX in which this is done in another way
        return jax.devices("cpu")[0]
    finally:
        del os.environ["PJRT_NPROC"]
        if before is not None:
            os.environ["PJRT_NPROC"] = before


@cache
def machine(kind: str) -> str:
    """What programs for "cpu" or "cuda" depend on, apart from the step: the versions, our own code, the processor."""
    device = _device(kind)
    files = Path(__file__), Path(chunks.__file__), *sorted(Path(rules.__file__).parent.glob("*.py"))
    own = b"".join(file.read_bytes() for file in files)
    flags = Path("/proc/cpuinfo")
    features = (
        next((line for line in flags.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
        if flags.exists()
        else platform.processor()
    )
    text = (jax.__version__, version("jaxlib"), torch.__version__, platform.machine(), features, device.device_kind)
    return repr(text) + hashlib.sha256(own).hexdigest()
