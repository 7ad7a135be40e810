"""The runs of a page as a script that it loads: also from a disk, where a page may read no other file."""

import base64
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dyntoolkit.app.site_runs import Grid, Moment, Shown
from dyntoolkit.dashboard.board import pack
from dyntoolkit.experiment.words import value_names
from dyntoolkit.figure.plotly_figure import CONFIG

LIMIT = 1_000_000  # bytes of a page's runs, gzipped; above it every second moment is left out
BITS = 12  # of a curve's numbers are kept, counted from the largest difference within the curve
MAP_BITS = 8  # of a map's: as many colours
FEWEST = 2  # moments that are left in any case

Array = np.ndarray


def script(experiment_title: str, grid: Grid, runs: Sequence[Shown], links: Sequence[str], seeds: int) -> str:
    """JavaScript that holds all that explore.js needs to know of a page. links: where each of the runs is live."""
    sliders = grid.config.sliders()
    about = {
        "title": experiment_title,
        "seeds": seeds,
        "config": CONFIG,
        "sliders": [
            {
                "label": sliders[name].title,
                "values": value_names(values),
                "at": values.index(getattr(grid.config, name)),
            }
            for name, values in grid.values.items()
        ],
    }
    while True:
        packed = _packed(about, runs, links)
        longest = max(len(run.moments) for run in runs)
        if len(packed) <= LIMIT or longest <= FEWEST:
            return f'dyntoolkitRuns("{base64.b64encode(packed).decode()}");\n'
        runs = [Shown(run.link, _every_second(run.moments), run.note, run.claims) for run in runs]


def _every_second(moments: tuple[Moment, ...]) -> tuple[Moment, ...]:
    """The last one stays."""
    return moments[::-2][::-1]


def _packed(about: dict[str, Any], runs: Sequence[Shown], links: Sequence[str]) -> bytes:
    """Structure and numbers, gzipped: the length of the JSON, the JSON, and the numbers as float32, byte by byte.

    First come the first bytes of all numbers, then the second ones, ...: so they take less when they are compressed.
    """
    pool = _Pool()
    templates: dict[str, int] = {}
    described = []
    for run, live in zip(runs, links, strict=True):
        moments = [_moment(moment, pool, templates, k == 0) for k, moment in enumerate(reversed(run.moments))]
        described.append({"live": live, "note": run.note, "claims": run.claims, "moments": moments[::-1]})
    about = {**about, "runs": described, "sizes": [len(array) for array in pool.arrays]}
    about["templates"] = [json.loads(text) for text in templates]
    text = json.dumps(about, allow_nan=False).encode()
    rounded = [_rounded(array, bits) for array, bits in zip(pool.arrays, pool.bits, strict=True)]
    numbers = np.concatenate(rounded or [np.zeros(0, np.float32)])
    planes = numbers.astype("<f4").view(np.uint8).reshape(-1, 4).T  # (4, n)
    return gzip.compress(len(text).to_bytes(4, "little") + text + planes.tobytes(), 9, mtime=0)


def _moment(moment: Moment, pool: "_Pool", templates: dict[str, int], is_last: bool) -> dict[str, Any]:
    """A moment by the numbers of its template and of its arrays. The last one of a run must come first."""
    template, shapes, numbers = pack(moment.panels)
    counts = [int(np.prod(shape)) for shape in shapes]
    arrays = np.split(numbers, np.cumsum(counts)[:-1]) if counts else []
    bits = [MAP_BITS if len(shape) == 2 else BITS for shape in shapes]
    if is_last:
        pool.begin(arrays, bits)
    return {
        "step": moment.step,
        "template": templates.setdefault(json.dumps(template, allow_nan=False), len(templates)),
        "shapes": shapes,
        "arrays": [pool.place(*each) for each in zip(arrays, bits, strict=True)],
    }


class _Pool:
    """Arrays of float32, each kept once; curves as they grow are kept as beginnings of what they end as."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self.bits: list[int] = []  # to which each is to be rounded
        self._numbers: dict[bytes, int] = {}
        self._ends: list[int] = []  # of the present run

    def begin(self, arrays: Iterable[Array], bits: Iterable[int]) -> None:
        """A run begins, whose last moment has these arrays."""
        self._ends = sorted({self._number(*each) for each in zip(arrays, bits, strict=True)})

    def place(self, array: Array, bits: int) -> list[int]:
        """Where an array is: [number], or [number, first, last] for so many numbers at the start and the end of one."""
        known = self._numbers.get(array.tobytes())
        if known is not None:
            return [known]
        words, count, half = array.view(np.uint32), len(array), len(array) // 2
        for k in self._ends:
            whole = self.arrays[k].view(np.uint32)
            if count > len(whole) or count == 0 or whole[0] != words[0]:
                continue
            if np.array_equal(whole[:count], words):
                return [k, count, 0]
            is_band = count == 2 * half and np.array_equal(whole[:half], words[:half])  # there and back
            if is_band and np.array_equal(whole[-half:], words[half:]):
                return [k, half, half]
        return [self._number(array, bits)]

    def _number(self, array: Array, bits: int) -> int:
        number = self._numbers.setdefault(array.tobytes(), len(self.arrays))
        if number == len(self.arrays):
            self.arrays.append(array)
            self.bits.append(bits)
        return number


def _rounded(array: Array, bits: int) -> Array:
    """float32 (n,) to so many bits, which nobody sees in a figure and which takes half the room; whole numbers stay."""
    known = array[np.isfinite(array)]
    span = float(np.ptp(known)) if len(known) else 0.0
    if span == 0 or np.array_equal(known, np.round(known)):
        return array
    shared = max(0, math.ceil(math.log2(float(np.abs(known).max()) / span)))  # leading bits that all of them share
    dropped = 23 - bits - shared
    if dropped <= 0:
        return array
    words = array.view(np.uint32) + np.uint32(1 << (dropped - 1))
    rounded = (words & ~np.uint32((1 << dropped) - 1)).view(np.float32)
    return np.where(np.isfinite(array), rounded, array)
