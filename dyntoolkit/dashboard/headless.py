"""Whether anybody is looking: a live dashboard needs a browser, papermill and nbval get a picture."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from IPython import get_ipython

from dyntoolkit.errors import InputError

IPYTHON_PROMPT = "In : "  # what IPython puts into `sys.ps1`, and leaves there when it ends


def is_headless() -> bool:
    """Whether the present cell runs without a front end that could show live widgets.

    DYNTOOLKIT_HEADLESS=1 or 0 decides where it is set. Voila names itself in the kernel's environment. Otherwise an
    interactive client (JupyterLab, Notebook, VS Code) says in its execute request that it can answer `input()`;
    nbclient, and with it papermill and nbconvert, and nbval say that they cannot. No kernel at all is headless, too.
    """
    wish = os.environ.get("DYNTOOLKIT_HEADLESS", "")
    if wish:
        if wish not in ("0", "1"):
            raise InputError(f"DYNTOOLKIT_HEADLESS takes 0 or 1, got {wish!r}.", "DYNTOOLKIT_HEADLESS")
        return wish == "1"
    return not (is_voila() or bool(request().get("content", {}).get("allow_stdin")))


def is_voila() -> bool:
    """Whether Voila started this kernel: for a page (server's name in the environment) or in advance (preheated)."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/") or "VOILA_PREHEAT" in os.environ


def request() -> Mapping[str, Any]:
    """The message that asked for the present cell to be run; {} outside of a kernel."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return {}
    message: Mapping[str, Any] = kernel.get_parent("shell")
    return message


def cell() -> str:
    """What identifies the present cell: its id, where the front end tells it; "" where not."""
    return str(request().get("metadata", {}).get("cellId", ""))


def execution() -> str:
    """What identifies the present execution of a cell, or of a line of a terminal's IPython; "" outside of both."""
    shell = get_ipython()
    if shell is not None and not in_notebook():
        return f"line {shell.execution_count}"
    return str(request().get("header", {}).get("msg_id", ""))


def in_notebook() -> bool:
    """Whether there is a kernel, so somebody or something that takes pictures; a terminal takes text only."""
    return getattr(get_ipython(), "kernel", None) is not None


def echoes() -> bool:
    """Whether this is Python's own prompt, which shows what an expression returns by itself."""
    return get_ipython() is None and getattr(sys, "ps1", IPYTHON_PROMPT) != IPYTHON_PROMPT
