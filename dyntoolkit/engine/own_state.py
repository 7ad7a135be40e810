"""Frames that come out the same whatever torch was told globally: grad mode, inference mode, default device."""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager

import torch

from dyntoolkit.engine.history import Frame, Live
from dyntoolkit.errors import InputError


@contextmanager
def own_state() -> Iterator[None]:
    """A context in which torch computes on the CPU and can differentiate; the caller's modes are back afterwards.

    All of these belong to the thread, so nobody else notices. (The default dtype does not; our tensors say theirs.)
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":  # otherwise not entered: it would slow every call of torch
            stack.enter_context(torch.device("cpu"))
        yield


def use_one_thread() -> None:
    """Let torch compute with one thread from now on, unless OMP_NUM_THREADS says how many.

    Networks this small lose time with more, and on a busy machine they lose most of it.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which the same holds; the number of threads is back afterwards."""
    before = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_own_state(frames: Iterator[Frame], name: str) -> Generator[Frame, str | Live | None, None]:
    """The same frames, each computed in `own_state`; what is sent goes through, and closing closes them.

    name: the experiment that they are of. Raises InputError if there is not a single one.
    """
    begun, sent = False, None
    try:
        while True:
            with own_state():
                try:
                    hears = sent is not None and isinstance(frames, Generator)
                    frame = frames.send(sent) if hears else next(frames)  # type: ignore[attr-defined]
                except StopIteration:
                    break
            begun = True
            sent = yield frame
    finally:
        if isinstance(frames, Generator):
            frames.close()
    if not begun:
        raise InputError(f"simulate of {name} ended without a frame: it must yield them, as `train` does.", "simulate")
