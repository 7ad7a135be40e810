"""Processes of this machine, one thread each, that end with whoever started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import threadpoolctl
import torch

from dyntoolkit.engine.choice import preload
from dyntoolkit.errors import InputError


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local_workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A context with so many worker processes (default: one for each processor).

    They end at once when it is left by an exception, and when this process is killed.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that imports the script it is for
        sentence = 'a script that sweeps must say `if __name__ == "__main__":` before it does, for workers import it'
        raise InputError(f"{sentence}.", "executor")
    spawning = multiprocessing.get_context("spawn")  # a fork would share locks and threads of XLA
    alive, ours = spawning.Pipe(duplex=False)
    count = count or cores()
    with ProcessPoolExecutor(count, spawning, _begin, (alive,)) as pool:
        try:
            for _ in range(count):
                pool.submit(preload)  # all of them begin now, not when there is something for each to do
            yield pool
        except BaseException:
            ours.close()  # the workers end, and with them the pool
            pool.shutdown(cancel_futures=True)
            raise
    ours.close()
    alive.close()


def _begin(alive: "Connection[None, None]") -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: "Connection[None, None]") -> None:
    """End this process, whatever it does, as soon as the other end of the pipe is closed."""
    alive.poll(None)
    os._exit(1)
