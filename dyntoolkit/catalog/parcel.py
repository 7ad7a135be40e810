"""Parcel: an experiment on its way to another process."""

import dataclasses
import functools
import io
import socket
from collections import ChainMap
from dataclasses import dataclass
from typing import Any, ClassVar

import cloudpickle

from dyntoolkit.catalog.registry import absolute, find, load_one, packaged
from dyntoolkit.errors import InputError, problem_words
from dyntoolkit.experiment import Experiment


@dataclass(frozen=True)
class Parcel:
    """What an experiment is found by in another process, a name or a file; or else the experiment itself, pickled."""

    target: str = ""
    pickled: bytes = b""


def pack(given: str | Experiment) -> tuple[Experiment, Parcel]:
    """An experiment, or the one that is named (as on a command line), and how to send it.

    Raises InputError where it cannot be found, or cannot be sent.
    """
    experiment = load_one(given) if isinstance(given, str) else find(given)
    if any(experiment is known for known in packaged()):
        return experiment, Parcel(experiment.name)
    target = "" if isinstance(given, Experiment) else absolute(given)
    if target:
        return experiment, Parcel(target)
    pickled = io.BytesIO()
    try:
        _Pickler(pickled).dump(experiment)
        return experiment, Parcel(pickled=pickled.getvalue())
    except Exception as problem:  # whatever the things that it holds raise
        cure = "write it into a file and give that, such as 'my_file.py'"
        raise InputError(
            f"{experiment.name} cannot be sent to other processes ({problem_words(problem)}): {cure}.", "experiment"
        ) from problem


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # it ships no types
    """cloudpickle, but for the sign by which dataclasses know that a field has no default: it must be the one there.

    Classes of a notebook travel whole; in a process that has them they are set anew, and would then have another sign.
    """

    dispatch_table: ClassVar[Any] = ChainMap(
        {type(dataclasses.MISSING): lambda _: "MISSING"}, cloudpickle.CloudPickler.dispatch_table
    )


@functools.lru_cache(maxsize=8)
def unpack(parcel: Parcel) -> Experiment:
    """The experiment; InputError, which says where, if it cannot be had."""
    try:
        if parcel.target:
            return load_one(parcel.target)
        found = cloudpickle.loads(parcel.pickled)
    except Exception as problem:  # of anybody's code
        words = problem_words(problem).rstrip(".")
        raise InputError(f"the experiment cannot be had on {socket.gethostname()}: {words}.", "experiment") from problem
    assert isinstance(found, Experiment)
    return found
