"""Steps of many runs a few runs at a time, so that what one operator hands to the next stays in the processor's cache.

The runs of a state are independent, but a recording has their number R in it: in the shapes of tensors and in lists of
sizes. Which axis of a tensor belongs to the runs shows in what becomes of its shape if the leaves of the state have c
runs in place of R. All that does not follow from the state, such as data and hyperparameters, has an axis of runs where
an operator would not take it otherwise.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Any, NamedTuple

import jax
import torch

from dyntoolkit.engine.record import CHECKS, Line, Look, Place, Recording
from dyntoolkit.engine.rules import DTYPES, done

Shape = tuple[int, ...]

aten = torch.ops.aten
_COUNTS = {aten.arange.default, aten.arange.start}  # what numbers the runs
_BY_NUMBER = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_select.default,
    aten.gather.default,
    aten.embedding.default,
    aten.embedding_dense_backward.default,
}  # what looks up rows of its first argument by their number


class Part(NamedTuple):
    """Which part of the batch, or held tensor, it is, and how many rows of it belong to a run; 0 if all have it."""

    at: int
    rows: int


class Chunks(NamedTuple):
    """A step of c runs, and what it takes of the parts of the batch and of the held tensors."""

    recording: Recording
    batch: tuple[Part, ...]
    held: tuple[Part, ...]


def chunked(recording: Recording, size: int) -> Chunks | None:
    """The same step for `size` of its runs, None where that cannot be told from shapes.

    An operator that mixes runs and keeps the shape, such as `flip`, is not noticed: compare what comes out.
    """
    cutter = _Cutter(recording, size)
    with jax.enable_x64(True):
        for line in recording.lines:
            cutter.add(line)
        return cutter.chunks()


class _Cutter:
    """Writes the lines for c runs in place of R.

    A place has up to two versions: the recorded one, unless it depends on the state, and one of c runs, which is
    `shift` places behind.
    """

    def __init__(self, recording: Recording, size: int) -> None:
        self.recording, self.size = recording, size
        self.runs = recording.runs
        leaves = recording.inputs[: len(recording.outputs)]
        given = (*recording.inputs, *recording.held)
        self.looks: dict[int, Look] = dict(zip(given, recording.shapes, strict=True))  # of both versions
        for line in recording.lines:
            self.looks |= {at: look for at, look in zip(line.places, line.looks, strict=True) if at is not None}
        self.shift = max(self.looks) + 1
        self.given = set(given).difference(leaves)
        self.lines: list[Line] = []
        self.makers: dict[int, Line] = {}  # by place, the lines that do not depend on the state
        self.own = set(leaves)  # places that depend on the state, and have the version of c runs only
        self.mixed: set[int] = set()  # those of them that mix runs, so that their numbers are wrong
        self.counted: set[int] = set()  # those versions that number the runs, from the first one of the chunk on
        self.cut: set[int] = set()  # other places that have been needed in the version of c runs
        self.looks |= {at + self.shift: self._first_cut(at) for at in leaves}

    def add(self, line: Line) -> None:
        """Write the next line of the recording."""
        places = {at for at in line.places if at is not None}
        if not line.reads & self.own:
            self.lines.append(line)
            self.makers |= dict.fromkeys(places, line)
            return
        numbers = _numbers_read(line)
        # other axes may be as long as that of the runs, which is most often the first one
        if not numbers & self.mixed and any(self._write(line, first=first) for first in (True, False)):
            self.own |= places
            return
        shapes = self._shapes(line, ())
        if not numbers and shapes == [shape for shape, _ in line.looks]:
            self.lines.append(self._named(line, (), 0))  # such as ones_like of a number
            return
        if shapes is not None:  # there may be who reads no more than what it looks like
            self._put(line, (), shapes)
        self.own |= places
        self.mixed |= places

    def chunks(self) -> Chunks | None:
        """What has been written, without that on which no output depends; None if an output mixes runs."""
        recording, leaves = self.recording, len(self.recording.outputs)
        for at, (shape, _) in zip(recording.outputs, recording.shapes, strict=False):
            if at in self.mixed or not (at in self.own or self._demand(at)):
                return None
            if at + self.shift in self.counted or self.looks[at + self.shift][0] != (self.size, *shape[1:]):
                return None
        outputs = tuple(at + self.shift for at in recording.outputs)
        needed, lines = set(outputs), []
        for line in reversed(self.lines):
            if needed & set(line.places) or line.operator in CHECKS:
                lines.append(line)
                needed |= line.reads
        batch = self._parts(recording.inputs[leaves:], needed)
        held = self._parts(recording.held, needed)
        inputs = (*(at + self.shift for at in recording.inputs[:leaves]), *batch)
        tensors = list(recording.held.values())
        examples = {at: tensors[k][: rows * self.size] if rows else tensors[k] for at, (k, rows) in held.items()}
        shapes = tuple(self.looks[at] for at in (*inputs, *held))
        chunk = Recording(tuple(lines[::-1]), inputs, examples, outputs, shapes)
        return Chunks(chunk, tuple(batch.values()), tuple(held.values()))

    def _parts(self, places: Iterable[int], needed: set[int]) -> dict[int, Part]:
        """The needed ones of both versions of these places, and where they come from."""
        both = chain.from_iterable(
            [(at, Part(k, 0)), (at + self.shift, Part(k, self._rows(at)))] for k, at in enumerate(places)
        )
        return {at: part for at, part in both if at in needed}

    def _write(self, line: Line, *, first: bool) -> bool:
        """Write a line whose results all have an axis of runs, the first one if asked; whether it can be done.

        As few as possible of the places with two versions are read in that of c runs.
        """
        either = [at for at in sorted(line.reads - self.own) if self._rows(at)]
        for cuts in chain.from_iterable(combinations(either, n) for n in range(len(either) + 1)):
            for option in (line, *self._resized(line)):
                shapes = self._shapes(option, cuts)
                found = None if shapes is None else self._sums(line, shapes, first=first)
                if shapes is None or found is None:
                    continue
                if all(map(self._demand, cuts)) and self._counts(option, cuts):
                    self.mixed |= found
                    self._put(option, cuts, shapes)
                    return True
        return False

    def _sums(self, line: Line, shapes: Sequence[Shape], *, first: bool) -> set[int] | None:
        """The results without axes of a line whose other ones have all an axis of runs; None if they have not."""
        cut = [self._is_cut(a, b, first=first) for a, (b, _) in zip(shapes, line.looks, strict=True)]
        sums = {at for at, shape in zip(line.places, shapes, strict=True) if at is not None and shape == ()}
        right = all(yes or (at in sums and not first) for at, yes in zip(line.places, cut, strict=True))
        return sums if right and (any(cut) or not cut) else None

    def _counts(self, line: Line, cuts: Iterable[int]) -> bool:
        """Whether runs that are counted within the chunk, if any, are looked up among those of the chunk."""
        named = self._named(line, cuts, 0)
        return line.operator not in _BY_NUMBER or not named.reads & self.counted or named.args[0].at >= self.shift

    def _demand(self, at: int) -> bool:
        """Write the version of c runs of a place that does not depend on the state; whether it can be done."""
        if at in self.given:
            self.looks[at + self.shift] = self._first_cut(at)
            self.cut.add(at)
        elif at not in self.cut and at in self.makers and self._write(self.makers[at], first=True):
            self.cut |= {at for at in self.makers[at].places if at is not None}
        return at in self.cut

    def _put(self, line: Line, cuts: Iterable[int], shapes: Sequence[Shape]) -> None:
        """Write a line in the version of c runs."""
        named = self._named(line, cuts, self.shift)
        looks = tuple((shape, dtype) for shape, (_, dtype) in zip(shapes, line.looks, strict=True))
        self.looks |= {at: look for at, look in zip(named.places, looks, strict=True) if at is not None}
        if line.operator in _COUNTS or (named.reads & self.counted and line.operator not in _BY_NUMBER):
            self.counted |= {at for at in named.places if at is not None}
        self.lines.append(replace(named, looks=looks))

    def _named(self, line: Line, cuts: Iterable[int], shift: int) -> Line:
        """A line that reads the version of c runs where there is no other one, and of `cuts`."""
        mine = self.own.union(cuts)

        def of(value: Any) -> Any:
            if isinstance(value, Place):
                return Place(value.at + self.shift) if value.at in mine else value
            return [of(each) for each in value] if isinstance(value, list) else value

        places = tuple(None if at is None else at + shift for at in line.places)
        keywords = {name: of(value) for name, value in line.keywords.items()}
        return replace(line, args=tuple(map(of, line.args)), keywords=keywords, places=places)

    def _shapes(self, line: Line, cuts: Iterable[int]) -> list[Shape] | None:
        """What the results of a line look like in the version of c runs; None for an error."""
        named = self._named(line, cuts, 0)
        looks = {at + self.shift: self._first_cut(at) for at in cuts} | self.looks
        try:
            given = {at: _struct(*looks[at]) for at in named.reads}
            found = jax.eval_shape(lambda values: done([named], values), given)
        except Exception:  # whatever a rule raises for shapes that do not go together
            return None
        return [look[0] if at is None else found[at].shape for at, look in zip(line.places, line.looks, strict=True)]

    def _resized(self, line: Line) -> Iterator[Line]:
        """The line with one of its sizes for c runs."""
        for k, argument in enumerate(line.args):
            if type(argument) is int and argument > 0 and argument % self.runs == 0:
                yield replace(line, args=(*line.args[:k], argument // self.runs * self.size, *line.args[k + 1 :]))
            for i, each in enumerate(argument if isinstance(argument, list) else ()):
                if type(each) is int and each > 0 and each % self.runs == 0:
                    sizes = [*argument[:i], each // self.runs * self.size, *argument[i + 1 :]]
                    yield replace(line, args=(*line.args[:k], sizes, *line.args[k + 1 :]))

    def _rows(self, at: int) -> int:
        """How many rows of a place belong to a run, 0 if that does not come out even."""
        rows, rest = divmod((*self.looks[at][0], 1)[0], self.runs)
        return 0 if rest else rows

    def _first_cut(self, at: int) -> Look:
        """What a place looks like with c runs along its first axis."""
        (_, *rest), dtype = self.looks[at]
        return (self._rows(at) * self.size, *rest), dtype

    def _is_cut(self, shape: Shape, whole: Shape, *, first: bool) -> bool:
        """Whether the shape is the whole one but for one axis, which has c runs in place of R."""
        if len(shape) != len(whole):
            return False
        other = [k for k, (a, b) in enumerate(zip(shape, whole, strict=True)) if a != b]
        if len(other) != 1 or (first and other != [0]):
            return False
        return shape[other[0]] == whole[other[0]] // self.runs * self.size


def _numbers_read(line: Line) -> set[int]:
    """The places of which a line reads more than the shape."""
    name = line.operator.overloadpacket.__name__
    if name.endswith("_like") or name.startswith("new_"):
        return set()
    if line.operator == aten.nll_loss_backward.default and line.args[4] == 0:  # the total is for the mean only
        return set(line.reads - {line.args[-1].at})
    return set(line.reads)


def _struct(shape: Shape, dtype: torch.dtype) -> Any:
    return jax.ShapeDtypeStruct(shape, DTYPES[dtype])  # type: ignore[no-untyped-call]
