"""The one exception for input that a person can correct."""

import difflib
from collections.abc import Iterable


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
