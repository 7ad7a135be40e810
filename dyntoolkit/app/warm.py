"""`warm`: leave the programs of all default settings on disk, so that the first reader of a page does not wait."""

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dyntoolkit import __version__
from dyntoolkit.catalog.registry import experiments
from dyntoolkit.engine.own_state import one_thread
from dyntoolkit.engine.program_cache import ProgramCache
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, to_the_end


def warm() -> Iterator[tuple[str, float]]:
    """Train the default settings of all experiments that were not warmed yet; yields the name and seconds of each.

    A later phase of a training has a program of its own, so each is trained to its end. Raises InputError where nothing
    can be kept.
    """
    cache = ProgramCache()
    for experiment in experiments():
        key = _key(experiment)
        if cache.get(key) is not None:
            continue
        begin = time.perf_counter()
        with one_thread():
            history = to_the_end(*experiment.start([experiment.configure()], [0]))
        cache.put(key, history.engine.encode())
        if cache.get(key) is None:
            raise InputError(
                f"programs are kept in {cache.folder}, which must be a folder of yours, with room, where nobody else "
                "can write; here nothing can be kept.",
                "cache",
            )
        yield experiment.name, time.perf_counter() - begin


def _key(experiment: Experiment) -> str:
    """Of a note in the cache that this version of the experiment was warmed with these versions of the engine."""
    from dyntoolkit.engine.xla import machine

    module = sys.modules.get(experiment.simulate.__module__)
    file = getattr(module, "__file__", None)
    code = Path(file).read_bytes() if file else b""
    text = repr((__version__, experiment.name, experiment.configure(), machine("cpu"))).encode()
    return hashlib.sha256(text + code).hexdigest()
