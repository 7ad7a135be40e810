"""The code that really runs, shown in a notebook."""

import inspect
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown


def source(*objects: Callable[..., Any]) -> Markdown:
    """The source of functions and classes as the package runs it, one below the other."""
    code = "\n\n".join(inspect.getsource(item).rstrip() for item in objects)
    return Markdown(f"```python\n{code}\n```")  # type: ignore[no-untyped-call]
