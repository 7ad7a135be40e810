"""Parcel: an experiment on its way to another process."""

import functools
import socket
from dataclasses import dataclass

import cloudpickle

from dyntoolkit.catalog.registry import absolute, installed, load_one
from dyntoolkit.errors import InputError, problem_words
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena import EXPERIMENTS


@dataclass(frozen=True)
class Parcel:
    """What an experiment is found by in another process, a name or a file; or else the experiment itself, pickled."""

    target: str = ""
    pickled: bytes = b""


def pack(given: str | Experiment) -> tuple[Experiment, Parcel]:
    """An experiment, or the one that is named (as on a command line), and how to send it.

    Raises InputError where it cannot be found, or cannot be sent.
    """
    experiment = given if isinstance(given, Experiment) else load_one(given)
    if any(experiment is known for known in (*EXPERIMENTS, *installed())):
        return experiment, Parcel(experiment.name)
    target = "" if isinstance(given, Experiment) else absolute(given)
    if target:
        return experiment, Parcel(target)
    try:
        return experiment, Parcel(pickled=cloudpickle.dumps(experiment))
    except Exception as problem:  # whatever the things that it holds raise
        cure = "write it into a file and give that, such as 'my_file.py'"
        raise InputError(
            f"{experiment.name} cannot be sent to other processes ({problem_words(problem)}): {cure}.", "experiment"
        ) from problem


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
