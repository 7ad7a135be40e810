"""Input that a person can correct: the one exception for it, what counts as a number, and any exception in words."""

import difflib
import math
import numbers
import sysconfig
import textwrap
import traceback
from collections.abc import Iterable
from pathlib import Path

LONGEST = 300  # characters of an exception's text, and of a line of code
LIBRARIES = {Path(__file__).parent, *map(Path, map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))}


class InputError(ValueError):
    """Wrong input, said in one sentence that names the field, the value and what is allowed.

    `field` is the Config field (or other name) to correct, or "" where no single one is to blame.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: who made the mistake needs the sentence, not our frames."""
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, name: object, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not among `allowed`, with the nearest one as a suggestion."""
    known = list(allowed)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {str(name)!r}.{hint} Allowed: {', '.join(known)}.", str(name))


def as_number(value: object) -> int | float | None:
    """The number that `value` stands for: Python's, numpy's, or one written as text (a link, YAML, a command line).

    None where it stands for none; True and False are no numbers. The one rule for every way into the toolkit.
    """
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        return float(value)
    except OverflowError:  # a fraction beyond all floats
        return math.inf


def whole_number(name: str, value: object, low: int, high: int) -> int:
    """`value` as a whole number from low to high; InputError naming it where it is none."""
    found = as_number(value)
    if found is None or not low <= found <= high or found != int(found):
        raise InputError(f"{name} takes a whole number from {low} to {high}, got {value!r}.", name)
    return int(found)


def problem_words(problem: Exception) -> str:
    """An exception as the reader sees it: the sentence of an InputError, else its kind, its text and where it arose.

    That is the last line of code of the reader's own, if any of it took part, however deep in a library it happened.
    """
    if isinstance(problem, InputError):
        return str(problem)
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    place = _place(own[-1] if own else frames[-1]) if frames else ""
    text = textwrap.shorten(str(problem), LONGEST, placeholder=" …")
    return f"{type(problem).__name__}: {text}{place}"


def _is_own(file: str) -> bool:
    """Whether code is somebody's own: neither Python's, nor an installed package's, nor ours."""
    return not file.startswith("<frozen") and not any(Path(file).is_relative_to(folder) for folder in LIBRARIES)


def _place(frame: traceback.FrameSummary) -> str:
    """File or cell, line number and line."""
    if "importlib" in frame.filename:  # says nothing of the module that cannot be imported
        return ""
    is_cell = Path(frame.filename).parent.name.startswith("ipykernel_") or frame.filename.startswith("<ipython")
    line = f": {textwrap.shorten(frame.line, LONGEST, placeholder=' …')}" if frame.line else ""
    return f" ({'a cell' if is_cell else Path(frame.filename).name}, line {frame.lineno}{line})"
