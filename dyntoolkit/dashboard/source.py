"""The code that really runs, shown in a notebook."""

import inspect
from typing import Any

from IPython.display import Markdown

from dyntoolkit.catalog.registry import find
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment


def source(*objects: Any) -> Markdown:
    """The source of functions and classes as Python runs it, one below the other.

    An Experiment, or the name of one, stands for its settings and its simulation. Raises InputError for what has no
    source of its own.

    >>> "def simulate(" in source("label_noise.linear").data
    True
    """
    parts: list[Any] = []
    for item in objects:
        experiment = find(item) if isinstance(item, str | Experiment) else None
        parts += [item] if experiment is None else [experiment.config, experiment.simulate]
    code = "\n\n".join(_source(part) for part in parts)
    return Markdown(f"```python\n{code}\n```")  # type: ignore[no-untyped-call]


def _source(part: Any) -> str:
    try:
        return inspect.getsource(part).rstrip()
    except (OSError, TypeError) as problem:
        name = getattr(part, "__name__", repr(part))
        raise InputError(f"source of {name} cannot be shown: {problem}.", "source") from None
