"""One eager training step as a list of aten operators, which other engines repeat without Python or autograd."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dyntoolkit.engine.batches import mapped, parts_of

Tensor = torch.Tensor
Look = tuple[tuple[int, ...], torch.dtype]

# what gives numbers to Python without an operator that a dispatch mode would see
_NUMBERS = {getattr(Tensor, name): f".{name}()" for name in ("numpy", "tolist", "__array__", "__dlpack__")}
_NAMES = {
    "_local_scalar_dense": ".item(), or a tensor as a condition,",
    "equal": "torch.equal",
    "index": "a mask as an index",
}
_DEPENDS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_BY_MEMORY = {"as_strided", "as_strided_", "as_strided_copy", "as_strided_scatter", "_reshape_alias", "resize_", "set_"}
CHECKS = {torch.ops.aten._linalg_check_errors.default}  # no result, but an error where a matrix will not do
_UNDEFINED: Look = (0,), torch.float32
_DROPPED = ("device", "layout", "pin_memory", "non_blocking")  # keywords that belong to where a step is repeated


class RecordingError(Exception):
    """Why a step cannot be recorded, as a sentence; such a step is trained eagerly."""


@dataclass(frozen=True)
class Place:
    """Stands for a tensor among the arguments of an operator."""

    at: int


@dataclass(frozen=True)
class Line:
    """One call of an operator.

    places: where its results go, None for one that is undefined; looks: shape and dtype of each of them. several:
    whether it returns a list of tensors.
    """

    operator: OpOverload
    args: tuple[Any, ...]
    keywords: dict[str, Any]
    places: tuple[int | None, ...]
    looks: tuple[Look, ...]
    several: bool

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each of its results has."""
        return tuple(math.prod(shape) for shape, _ in self.looks)

    @cached_property
    def reads(self) -> frozenset[int]:
        """The places of all tensors among the arguments."""
        return frozenset(_places([self.args, list(self.keywords.values())]))


@dataclass(frozen=True)
class Recording:
    """A step as straight-line code: lines, in order, that compute its outputs from its inputs and what it holds.

    inputs: places of the leaves of the state, then of the parts of the batch. held: place -> a tensor that the step
    did not make, such as data and hyperparameters. outputs: places of the leaves of the next state. shapes: what
    inputs and held tensors look like, in that order.
    """

    lines: tuple[Line, ...]
    inputs: tuple[int, ...]
    held: dict[int, Tensor]
    outputs: tuple[int, ...]
    shapes: tuple[Look, ...]

    @property
    def runs(self) -> int:
        """R, the length of the first axis of the state's leaves."""
        return self.shapes[0][0][0]

    @cached_property
    def key(self) -> str:
        """The same for recordings that differ in nothing but the numbers of their inputs and held tensors."""
        lines = [(str(line.operator), line.args, line.keywords, line.places) for line in self.lines]
        text = repr((lines, self.inputs, tuple(self.held), self.outputs, self.shapes))
        return hashlib.sha256(text.encode()).hexdigest()

    def in_float64(self) -> "Recording":
        """The same with float64 wherever there is float32."""
        lines = tuple(
            replace(
                line,
                args=tuple(in_float64(line.args)),
                keywords={name: in_float64(value) for name, value in line.keywords.items()},
            )
            for line in self.lines
        )
        return replace(self, lines=lines, held={at: in_float64(tensor) for at, tensor in self.held.items()})

    @cached_property
    def once_and_every(self) -> tuple[list[Line], list[Line]]:
        """The lines that read nothing but held tensors, so that once is enough; and the lines of every step.

        A line whose result is larger than what it reads stays with the step: to expand is cheap, to hold is not.
        """
        sizes = {at: tensor.numel() for at, tensor in self.held.items()}
        once: list[Line] = []
        every: list[Line] = []
        for line in self.lines:
            fixed = line.reads <= sizes.keys()
            if fixed and max(line.sizes, default=0) <= max((sizes[at] for at in line.reads), default=1):
                sizes |= {at: size for at, size in zip(line.places, line.sizes, strict=True) if at is not None}
                once.append(line)
            else:
                every.append(line)
        return once, every


def in_float64(value: Any) -> Any:
    """A tensor of float32, the name of that dtype, or a list of arguments with such in it, in float64."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    if isinstance(value, list | tuple):
        return [in_float64(each) for each in value]
    return torch.float64 if value is torch.float32 else value


def record(step: Callable[[Any, Any], Any], state: Any, batch: Any) -> tuple[Recording, Any]:
    """The operators of step(state, batch), and the state that it gives.

    state: a NamedTuple of tensors; its leaves may share memory. batch: None, a tensor, or a tuple of such.
    Raises RecordingError for a step that cannot be repeated without Python: one that makes Python depend on numbers
    (`.item()`, a tensor as a condition, `.numpy()`), draws random numbers, writes into what it was given, or fails.
    """
    # two names of one tensor would be one input; and a batch may lie in the memory of a tensor that the step holds
    state, batch = type(state)(*map(_copied, state)), mapped(_copied, batch)
    recorder = _Recorder([*state, *parts_of(batch)])
    try:
        with _NoNumbers(), recorder:
            after = step(state, batch)
        outputs = tuple(recorder.place(leaf) for leaf in after)
    except RecordingError:
        raise
    except Exception as problem:  # of anybody's code: trained eagerly, it says itself what is wrong
        raise RecordingError(f"it raised {type(problem).__name__} while it was recorded: {problem}") from problem
    if type(after) is not type(state) or any(_look(a) != _look(b) for a, b in zip(after, state, strict=True)):
        raise RecordingError("its next state has other shapes or dtypes than the state")
    return recorder.recording(outputs), after


class _NoNumbers(TorchFunctionMode):
    """Refuses what takes numbers out of a tensor behind the back of a dispatch mode."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _NUMBERS:
            raise RecordingError(f"{_NUMBERS[function]} makes Python depend on numbers")
        return function(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operator; a tensor that nobody made while it looked on is held by the step."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first use imports torch._dynamo, which takes more than a second

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[Line] = []
        self.held: dict[int, Tensor] = {}
        self.alive: list[Tensor] = []  # all tensors seen, so that no id is given twice
        self.at: dict[int, int] = {}  # id of a tensor -> its place
        self.sharing: dict[int, list[int]] = {}  # memory -> the places that lie in it
        self.stale: dict[int, str] = {}  # places whose memory somebody has written to since, and who
        self.inputs = tuple(self.new(tensor) for tensor in inputs)
        self.read_only = {_memory(tensor) for tensor in inputs}  # memory of what the step was given or holds

    def new(self, tensor: Tensor) -> int:
        """A place for a tensor not seen before."""
        self.alive.append(tensor)
        place = len(self.alive) - 1
        self.at[id(tensor)] = place
        self.sharing.setdefault(_memory(tensor), []).append(place)
        return place

    def place(self, tensor: Tensor) -> int:
        """Where a tensor that is read comes from."""
        if id(tensor) not in self.at:
            self.at[id(tensor)] = self._unseen(tensor)
        place = self.at[id(tensor)]
        if place in self.stale:
            raise RecordingError(f"{self.stale[place]} writes into a tensor of which views are read afterwards")
        return place

    def _unseen(self, tensor: Tensor) -> int:
        """The place of a tensor that no operator gave: another name of one that it did, or held by the step."""
        sharing = self.sharing.get(_memory(tensor), [])
        for place in sharing:
            if _lies(self.alive[place]) == _lies(tensor):
                self.alive.append(tensor)
                return place
        if sharing and not any(place in self.held for place in sharing):
            raise RecordingError("it reads a view that no operator made")
        place = self.new(tensor)
        self.held[place] = tensor.detach()
        self.read_only.add(_memory(tensor))
        return place

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operator.overloadpacket.__name__
        by_index = operator is torch.ops.aten.index.Tensor and not any(_is_mask(index) for index in args[1])
        if _DEPENDS & set(operator.tags) and not by_index:  # with a mask, its result's shape depends on numbers
            raise RecordingError(f"{_NAMES.get(name, name)} makes Python depend on numbers")
        if torch.Tag.nondeterministic_seeded in operator.tags and not _without_dropout(operator, args, kwargs):
            raise RecordingError(f"{name} draws random numbers: let `batches` draw them, from a Stream")
        if name in _BY_MEMORY:
            raise RecordingError(f"{name} depends on how a tensor lies in memory")
        given = self._noted(args), {key: self._noted(value) for key, value in kwargs.items() if key not in _DROPPED}
        if operator._schema.is_mutable:
            return self._written(operator, name, args, kwargs, given)
        out = operator(*args, **kwargs)
        if operator is torch.ops.aten.lift_fresh.default:
            self._fresh(args[0])
        if isinstance(out, bool | int):
            return out  # about shapes; what depends on numbers was refused above
        results = list(out) if isinstance(out, list | tuple) else [out]
        self._note(operator, given, results, several=isinstance(out, list | tuple))
        return out

    def _fresh(self, tensor: Tensor) -> None:
        """What the step has just made of Python's numbers, as torch.tensor does: it may write into that."""
        place = self.at[id(tensor)]
        if place in self.held:
            self.held[place] = _copied(tensor)
            self.read_only.discard(_memory(tensor))

    def _noted(self, value: Any) -> Any:
        """An argument with places for its tensors."""
        if isinstance(value, Tensor):
            return Place(self.place(value))
        if isinstance(value, list | tuple):
            return [self._noted(each) for each in value]
        return value

    def _note(self, operator: OpOverload, given: tuple[Any, Any], results: Sequence[Any], *, several: bool) -> None:
        places = tuple(None if result is None else self.new(result) for result in results)
        looks = tuple(_UNDEFINED if result is None else _look(result) for result in results)
        self.lines.append(Line(operator, tuple(given[0]), given[1], places, looks, several))

    def _written(
        self, operator: OpOverload, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], given: tuple[Any, Any]
    ) -> Any:
        """Note an operator in place as its functional form, whose result takes the place of what was written to."""
        functional = getattr(getattr(torch.ops.aten, name.removesuffix("_"), None), operator._overloadname, None)
        written = [args[k] for k, argument in enumerate(operator._schema.arguments[: len(args)]) if _writes(argument)]
        if not name.endswith("_") or functional is None or len(written) != 1 or not isinstance(written[0], Tensor):
            raise RecordingError(f"{name} writes in place, and has no form that does not")
        (target,) = written
        if _memory(target) in self.read_only:
            raise RecordingError(f"{name} writes into what the step was given")
        result = functional(*args, **kwargs)
        out = operator(*args, **kwargs)
        for other in self.sharing[_memory(target)]:
            self.stale[other] = name
        self.sharing[_memory(target)] = []
        self._note(functional, given, [result if result.dtype != target.dtype else target], several=False)
        if result.dtype != target.dtype:  # in place, it is cast to what is there
            place = Place(self.at[id(result)])
            self._note(torch.ops.aten._to_copy.default, ((place,), {"dtype": target.dtype}), [target], several=False)
        return out

    def recording(self, outputs: tuple[int, ...]) -> Recording:
        """What was noted, without the lines on which no output depends."""
        needed = set(outputs)
        lines: list[Line] = []
        for line in reversed(self.lines):
            if needed & set(line.places) or line.operator in CHECKS:
                lines.append(line)
                needed |= line.reads
        held = {place: tensor for place, tensor in self.held.items() if place in needed}
        shapes = tuple(_look(tensor) for tensor in (*(self.alive[place] for place in self.inputs), *held.values()))
        return Recording(tuple(lines[::-1]), self.inputs, held, outputs, shapes)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _places(value: Any) -> Iterator[int]:
    if isinstance(value, Place):
        yield value.at
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _places(each)


def _look(tensor: Tensor) -> Look:
    return tuple(tensor.shape), tensor.dtype


def _memory(tensor: Tensor) -> int:
    """A number for the memory in which a tensor lies; views of it have the same one."""
    return int(tensor.untyped_storage()._cdata)


def _lies(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _without_dropout(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operator would draw random numbers for dropout only, and drops nothing, as attention in `eval()`."""
    names = [argument.name for argument in operator._schema.arguments]
    return (
        "dropout_p" in names and dict(zip(names, args, strict=False)).get("dropout_p", kwargs.get("dropout_p", 0)) == 0
    )


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def _writes(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write
