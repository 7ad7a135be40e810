"""Which engine trains: the best one that a step allows, or the one that was asked for.

The choice depends on the structure of the step and on what is installed, never on a clock or on numbers.
"""

import importlib
import importlib.util
import logging
import math
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dyntoolkit.engine.batches import parts_of, taken, unbind
from dyntoolkit.engine.engines import Eager, Engine, Recorded, Step
from dyntoolkit.engine.fingerprint import fingerprint
from dyntoolkit.engine.program_cache import ProgramCache
from dyntoolkit.engine.record import Look, Recording, RecordingError, in_float64, record
from dyntoolkit.engine.replay import replay
from dyntoolkit.errors import InputError, unknown

if TYPE_CHECKING:
    from dyntoolkit.engine.xla import Program

ENGINES = ("xla", "recorded", "eager")
DEVICES = ("cpu", "cuda")
FEW = 100  # updates below which a training is not worth a program
GLANCE = 0.03  # seconds between two heartbeats while a program compiles
MOST = 128  # programs in memory
CHUNK = 2**19  # bytes that are in use at a time where runs are trained a few at a time, half of a core's own cache
FITS = 2**22  # bytes that all runs may use at once: below, a few at a time gain nothing
CLOSE = 0.01  # part of what steps change, by which two engines may differ in them
AMPLIFIED = 300  # times the rounding of the step itself, by which they may: Adam makes whole steps of it where a
# gradient vanishes, and XLA's tanh is 4 units off in the last place
MOST_ROUNDED = 1e-3  # of what steps change: so much of that rounding is believed

_log = logging.getLogger(__name__)


# ---- What was asked for ----


@dataclass(frozen=True)
class Asked:
    """The engine that trainings are to use, None for the best one that they can, and the device."""

    engine: str | None = None
    device: str = "cpu"


BEST = Asked()
_ASKED: ContextVar[Asked] = ContextVar("asked")


def check_asked(engine: str | None, device: str = "cpu") -> Asked:
    """An engine and a device; InputError for an unknown one, and for one that this machine does not have."""
    if engine is not None and engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if engine == "xla" and not _usable:
        raise InputError("engine: xla does not work in a process forked off one that has used it; spawn it.", "engine")
    if engine == "xla" and not has_jax():
        raise InputError("engine: xla needs JAX, which is not installed here: pip install jax.", "engine")
    if device == "cuda" and engine == "eager":
        raise InputError(
            "device: an eager step runs on the CPU, where its tensors are; leave the engine out.", "device"
        )
    if device == "cuda" and not (has_jax() and _jax_has_gpu()) and not torch.cuda.is_available():
        raise InputError("device: cuda needs a GPU and a JAX or torch that is built for it; there is none.", "device")
    return Asked(engine, device)


def current() -> Asked:
    """What trainings use here."""
    return _ASKED.get(BEST)


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """A context in which trainings use this engine and device."""
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)


def preload() -> None:
    """Load JAX in a thread, which takes most of a second, so that the first training need not wait for it.

    Not before a fork: what is forked while another thread runs may hang.
    """
    if has_jax() and "dyntoolkit.engine.xla" not in sys.modules:
        threading.Thread(target=importlib.import_module, args=("dyntoolkit.engine.xla",)).start()


def has_jax() -> bool:
    """Whether JAX is installed."""
    return importlib.util.find_spec("jax") is not None


def _jax_has_gpu() -> bool:
    import jax

    return any(device.platform in ("gpu", "cuda") for device in jax.devices())


# ---- The choice ----


def choose(
    step: Step, state: Any, batches: Any, steps: int, *, updates: int, room: int, every: bool
) -> Generator[None, None, Engine]:
    """The engine of one training; yields from time to time while a program compiles.

    batches: those of the first `steps` updates. updates: of the whole training. room: most updates of a block. every:
    whether all states of a block are wanted.
    Raises InputError where what was asked for cannot be had.
    """
    asked = current()
    if asked.engine == "eager" or (asked == BEST and updates < FEW):
        return Eager(step)
    try:
        recording, here = _recorded(step, state, taken(batches, 0, min(2, steps)), min(2, steps))
        others = taken(batches, min(1, steps - 1), min(3, steps))  # what the check is to see
        count = min(3, steps) - min(1, steps - 1)
        if _xla_wanted(asked):
            try:
                return (yield from _xla(step, recording, here, others, count, room, every, asked.device))
            except RecordingError as reason:
                if asked.engine == "xla":
                    sentence = f"engine: {_name(step)} trains with recorded or eager, and not with xla: {reason}."
                    raise InputError(sentence, "engine") from reason
                _say_once(f"{_name(step)} trains in torch, operator by operator: {reason}.")
        engine = Recorded(recording, type(state), asked.device)
        _check(engine, step, recording, here, others, count)
        return engine
    except RecordingError as reason:
        if asked != BEST:
            raise InputError(
                f"engine: {_name(step)} trains with the engine eager only: {reason}.", "engine"
            ) from reason
        _say_once(f"{_name(step)} trains in Python, step by step: {reason}.")
        return Eager(step)


class Choice:
    """The choice of an engine, which begins at once and may go on in another thread, and holds while nothing changes.

    engine: None until it is made.
    """

    def __init__(self, choosing: Generator[None, None, Engine], step: Step) -> None:
        self.engine: Engine | None = None
        self._choosing, self._step = choosing, step
        self.glance()
        self._seen = fingerprint(step)

    def glance(self) -> None:
        """Go on with it, for a moment."""
        try:
            next(self._choosing)
        except StopIteration as end:
            self.engine = end.value

    def look(self) -> None:
        """Leave the recorded step for the step itself, for good, where what it reads has been changed meanwhile."""
        if self.engine is not None and self.engine.name != "eager" and fingerprint(self._step) != self._seen:
            _say_once(
                f"{_name(self._step)} goes on in Python, step by step: something, such as `measure`, has changed what "
                "it holds."
            )
            self.engine = Eager(self._step)


def _xla_wanted(asked: Asked) -> bool:
    """Whether XLA is to be tried: not excluded, installed, and there for the device."""
    return asked.engine != "recorded" and _usable and has_jax() and (asked.device == "cpu" or _jax_has_gpu())


def _recorded(step: Step, state: Any, batches: Any, steps: int) -> tuple[Recording, Any]:
    """The recorded step, and the state after it.

    It is recorded twice, with other numbers: RecordingError if the two differ, for then Python does something else in
    each step, such as to count or to draw numbers. batches: of one or two steps.
    """
    first, *others = unbind(batches, steps)
    recording, here = record(step, state, first)
    for _ in range(2):  # twice, for the first call may fill a cache
        before, seen = recording, fingerprint(step)
        recording, _ = record(step, here, others[0] if others else first)
        pairs = zip(before.held.values(), recording.held.values(), strict=False)
        if before.key == recording.key and all(_same(a, b) for a, b in pairs) and fingerprint(step) == seen:
            return recording, here
    raise RecordingError(
        "it does not do the same in each step, such as to count or to draw numbers; so they depend on how often it is "
        "called, and once for each update it is with the engine eager only"
    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers of one dtype; NaN is the same as NaN."""
    if a.dtype != b.dtype:
        return False
    if (a.data_ptr(), a.stride()) == (b.data_ptr(), b.stride()):
        return True
    return bool(((a == b) | ((a != a) & (b != b))).all())


# ---- Programs of XLA ----

_PROGRAMS: "OrderedDict[tuple[object, ...], Future[Program]]" = OrderedDict()  # the one used last at the end
_CHECKED: set[tuple[object, ...]] = set()
_TOGETHER: set[tuple[object, ...]] = set()  # programs that are right with all runs at once only
_LOCK = threading.Lock()  # held while these are looked at
_COMPILING = threading.Lock()  # held by the one thread that compiles: two at once would take twice as long
_usable = True  # not in a process that was forked off one that has run XLA: its threads are not there


def _after_fork() -> None:
    """Make the child of a fork work: with locks that nobody holds, and without XLA if that has threads."""
    global _LOCK, _COMPILING, _usable
    _LOCK, _COMPILING = threading.Lock(), threading.Lock()
    _usable = _usable and not _PROGRAMS


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _xla(
    step: Step, recording: Recording, here: Any, batches: Any, steps: int, room: int, every: bool, device: str
) -> Generator[None, None, Engine]:
    """The engine that runs this recording, once its program is there and has been checked.

    Raises RecordingError where an operator has no rule, XLA cannot compile the step, or gives other numbers.
    """

    def check(engine: Engine) -> None:
        _check(Recorded(recording, type(here)), step, recording, here, batches, steps)  # the recording, bit by bit
        _check(engine, step, recording, here, batches, steps)

    size = _at_a_time(recording) if device == "cpu" else None
    alike = recording.key, room, every, size
    if size is not None and alike not in _TOGETHER:
        try:
            return (yield from _checked(check, type(here), recording, room, every, device, size))
        except RecordingError:  # an operator looks up runs by their number, say
            _TOGETHER.add(alike)
    return (yield from _checked(check, type(here), recording, room, every, device, None))


def _at_a_time(recording: Recording) -> int | None:
    """How many runs to train at a time, so that their numbers stay in the cache: a divisor of R; None for all."""
    results = (look for line in recording.lines for look in line.looks)
    used = max(map(_bytes, results), default=0) + sum(map(_bytes, recording.shapes[: len(recording.outputs)]))
    few = [size for size in range(2, recording.runs) if recording.runs % size == 0]
    if used <= FITS or not few:
        return None
    return max((size for size in few if size * used <= CHUNK * recording.runs), default=few[0])


def _bytes(look: Look) -> int:
    shape, dtype = look
    return math.prod(shape) * dtype.itemsize


def _checked(
    check: Callable[[Engine], None],
    kind: type,
    recording: Recording,
    room: int,
    every: bool,
    device: str,
    size: int | None,
) -> Generator[None, None, Engine]:
    """The engine that trains so many runs at a time, None for all; if it is new, it goes through the check."""
    key = (recording.key, room, every, device, size)
    program = _program(key, recording, device, room, every, size)
    while not program.done():
        wait([program], GLANCE)
        yield
    done = program.result()  # or why there is none, such as a JAX that cannot be loaded
    from dyntoolkit.engine.xla import Xla  # it is loaded by now

    engine = Xla(kind, recording, done)
    if key not in _CHECKED:
        check(engine)
        _CHECKED.add(key)
    return engine


def _program(
    key: tuple[object, ...], recording: Recording, device: str, room: int, every: bool, size: int | None
) -> "Future[Program]":
    """The program of this key: known, or to come from a thread that loads JAX and compiles it."""
    with _LOCK:
        if key not in _PROGRAMS:
            _PROGRAMS[key] = Future()
            arguments = (_PROGRAMS[key], recording, device, room, every, size)
            # no daemon: Python would abort if it ended while XLA is at work
            threading.Thread(target=_build, args=arguments, name="compile").start()
            if len(_PROGRAMS) > MOST:
                _PROGRAMS.popitem(last=False)
        _PROGRAMS.move_to_end(key)
        return _PROGRAMS[key]


def _build(
    future: "Future[Program]", recording: Recording, device: str, room: int, every: bool, size: int | None
) -> None:
    try:
        with _COMPILING:
            if not threading.main_thread().is_alive():
                raise RecordingError("Python is about to end")
            from dyntoolkit.engine.xla import Program

            future.set_result(Program(recording, device, room, every=every, size=size, cache=ProgramCache()))
    except RecordingError as reason:
        future.set_exception(reason)
    except Exception as problem:  # of JAX, on a step of anybody: it is trained without
        future.set_exception(RecordingError(f"XLA refuses it: {_in_a_line(problem)}"))


# ---- Trust ----


def _check(engine: Engine, step: Step, recording: Recording, state: Any, batches: Any, steps: int) -> None:
    """RecordingError unless the engine does with these updates what the step itself does."""
    expected = state
    for batch in unbind(batches, steps):
        expected = step(expected, batch)
    try:
        got = engine.leave(engine.advance(engine.enter(state), engine.load(batches, steps), 0, steps))
    except Exception as problem:  # the step itself has done it without
        raise RecordingError(f"{engine.name} fails: {_in_a_line(problem)}") from problem
    same = isinstance(engine, Recorded) and engine.device == "cpu"
    exact = expected if same else _exactly(recording, state, batches, steps) or expected
    names = getattr(state, "_fields", range(len(state)))
    for name, before, right, found, true in zip(names, state, expected, got, exact, strict=True):
        if not (_same(right, found) if same else _close(before, right, found, true)):
            raise RecordingError(f"{engine.name} gives other numbers than the step itself for {name}")


def _exactly(recording: Recording, state: Any, batches: Any, steps: int) -> Sequence[torch.Tensor]:
    """The leaves after these updates with all numbers of float32 in float64; () where that fails."""
    leaves: Sequence[torch.Tensor] = [in_float64(leaf) for leaf in state]
    try:
        repeat = replay(recording.in_float64())
        for batch in unbind(batches, steps):
            leaves = repeat([*leaves, *map(in_float64, parts_of(batch))])
    except Exception:  # operators that depend on the dtype: then the rounding of the step itself is not known
        return ()
    return leaves


def _close(before: torch.Tensor, right: torch.Tensor, found: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether a leaf (R, ...) differs, in each run, by no more than a small part of its change and than rounding does.

    exact: the leaf as float64 gives it, which says how much rounding does to `right`.
    """
    if not right.is_floating_point():
        return _same(right, found)
    eps = torch.finfo(right.dtype).eps
    before, right, found, exact = (leaf.double().reshape(len(leaf), -1) for leaf in (before, right, found, exact))
    agree = (right == found) | ~(right.isfinite() | found.isfinite())  # (R, N)
    difference, changed, rounded, size = (
        torch.where(agree, 0, part).norm(dim=1) for part in (found - right, right - before, right - exact, right)
    )  # (R,)
    rounded = torch.minimum(rounded.nan_to_num(0), MOST_ROUNDED * changed)
    return bool((difference <= CLOSE * changed + AMPLIFIED * rounded + 16 * eps * size).all())


def _in_a_line(problem: Exception) -> str:
    """What an exception is and the first line that it says."""
    said = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {said[0].rstrip('.')}" if said else type(problem).__name__


def _name(step: Step) -> str:
    """What a step is called: module and function."""
    return f"{getattr(step, '__module__', '')}.{getattr(step, '__qualname__', type(step).__name__)}"


def _say_once(reason: str) -> None:
    """A warning in the log, unless it was there before."""
    with _LOCK:
        if reason in _SAID:
            return
        _SAID.add(reason)
    _log.warning("%s", reason)


_SAID: set[str] = set()
