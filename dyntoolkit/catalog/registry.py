"""Every experiment that can be named: the package's own, those of installed packages, and what was registered.

An installed package offers its experiments in the entry-point group `dyntoolkit.experiments`; each entry is an
Experiment or a sequence of them:

    [project.entry-points."dyntoolkit.experiments"]
    valley = "my_package.valley:EXPERIMENT"
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from dyntoolkit.errors import InputError, problem_words, unknown
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena import EXPERIMENTS

GROUP = "dyntoolkit.experiments"
OWN_FILE = "dyntoolkit_file_"  # how the names of modules begin that are files of a command line

_registered: dict[str, Experiment] = {}  # in this process, by name


def experiments() -> tuple[Experiment, ...]:
    """All experiments: the package's own, then those of installed packages, then those registered in this process.

    >>> experiments()[0].name
    'label_noise.linear'
    """
    return (*packaged(), *_registered.values())


def packaged() -> tuple[Experiment, ...]:
    """The package's own experiments and those of installed packages: any process here knows them by their names."""
    return (*EXPERIMENTS, *installed())


def installed() -> tuple[Experiment, ...]:
    """The experiments of installed packages."""
    return _installed()[0]


def problems() -> tuple[str, ...]:
    """Why entries of installed packages are not among `experiments`, a sentence each; () where all are."""
    return _installed()[1]


def find(name: str | Experiment) -> Experiment:
    """The experiment of that name; a phenomenon's bare name means its first one; an Experiment is itself.

    Raises InputError for an unknown name.

    >>> find("label_noise").name
    'label_noise.linear'
    """
    if isinstance(name, Experiment):
        return name
    known = _by_name(experiments())
    if not isinstance(name, str) or name not in known:
        raise unknown("experiment", name, [experiment.name for experiment in experiments()])
    return known[name]


def _by_name(several: Sequence[Experiment]) -> dict[str, Experiment]:
    """Name -> experiment; the first one of each phenomenon also by the phenomenon's bare name."""
    bare = {experiment.name.split(".")[0]: experiment for experiment in reversed(several)}
    return bare | {experiment.name: experiment for experiment in several}


def register(experiment: Experiment) -> Experiment:
    """Make an experiment known by its name in this process, and return it.

    The same definition may be registered again, as running a cell anew does. Raises InputError for an object that is
    no Experiment, and for a name that another one has.

    >>> register(find("label_noise")).name
    'label_noise.linear'
    """
    if not isinstance(experiment, Experiment):
        raise InputError(f"register takes an Experiment, got {type(experiment).__name__}.", "experiment")
    fixed = _by_name(EXPERIMENTS) | {other.name: other for other in installed()}
    other = fixed.get(experiment.name) or _registered.get(experiment.name)
    if other is not None and not _is_same_definition(other, experiment):
        raise InputError(f"the name {experiment.name!r} is taken by another experiment ({_origin(other)}).", "name")
    if experiment.name not in fixed:
        _registered[experiment.name] = experiment
    return experiment


def load(target: str) -> tuple[Experiment, ...]:
    """The experiments that a command line names: by name, `my_file.py`, `my_file.py:NAME` or `package.module:NAME`.

    A file is run as a module of its own, once; all Experiments that it defines are meant. Raises InputError for what
    cannot be found or raises itself.
    """
    place, colon, name = target.rpartition(":") if _has_name(target) else (target, "", "")
    if not place.endswith(".py") and not colon:
        return (find(target),)
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    if name:
        if not hasattr(module, name):
            there = [key for key, _ in _defined(module)]
            raise unknown(f"experiment in {place}", name, there)
        return tuple(_checked(getattr(module, name), target))
    found = {id(experiment): experiment for _, experiment in _defined(module)}
    if not found:
        raise InputError(f"{place} defines no dyntoolkit Experiment.", place)
    return tuple(found.values())


def load_one(target: str) -> Experiment:
    """As `load`, where exactly one experiment is meant."""
    found = load(target)
    if len(found) > 1:
        names = ", ".join(experiment.name for experiment in found)
        raise InputError(f"{target} defines several experiments ({names}): name one as {target}:VARIABLE.", target)
    return found[0]


def absolute(target: str) -> str:
    """A target that names a file or module, to be found from any folder; "" for the mere name of an experiment."""
    place, colon, name = target.rpartition(":") if _has_name(target) else (target, "", "")
    if place.endswith(".py"):
        return f"{Path(place).resolve()}{colon}{name}"
    return target if colon else ""


def _has_name(target: str) -> bool:
    """Whether a target ends with `:NAME` (a colon may also stand after the letter of a drive)."""
    return target.rpartition(":")[2].isidentifier() and len(target.rpartition(":")[0]) > 1


def _defined(module: ModuleType) -> Iterator[tuple[str, Experiment]]:
    """The Experiments among a module's variables, but those it has from dyntoolkit."""
    for name, value in vars(module).items():
        if isinstance(value, Experiment) and not any(value is own for own in EXPERIMENTS):
            yield name, value


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}.", str(path))
    name = OWN_FILE + path.stem
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # for a name that ends with .py there always is one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    _look_in(path.resolve().parent)  # as `python my_file.py` does: its neighbours can be imported, then and later
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        del sys.modules[name]
        raise InputError(f"{path} cannot be loaded: {problem_words(problem)}", str(path)) from problem  # type: ignore[arg-type]
    return module


def _module(name: str) -> ModuleType:
    _look_in(Path.cwd())  # as `python -m package.module` does
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as problem:
        raise InputError(f"module {name} cannot be loaded: {problem_words(problem)}", name) from problem  # type: ignore[arg-type]


def _look_in(folder: Path) -> None:
    """Let Python import from there."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _checked(found: Any, where: str) -> Iterable[Experiment]:
    """What a name stands for, as Experiments; InputError for anything else."""
    several = found if isinstance(found, tuple | list) else (found,)
    for one in several:
        if not isinstance(one, Experiment):
            raise InputError(f"{where} is no dyntoolkit Experiment, but {type(one).__name__}.", where)
    return several


@functools.cache
def _installed() -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    """The experiments of installed packages, and what is wrong with those that cannot be had; looked up once."""
    found = _by_name(EXPERIMENTS)
    wrong = []
    for entry in entry_points(group=GROUP):
        try:
            for experiment in _checked(_value(entry), f"entry point {entry.name} ({entry.value})"):
                if found.setdefault(experiment.name, experiment) is not experiment:
                    taken = f"the name {experiment.name!r} is taken ({_origin(found[experiment.name])})"
                    raise InputError(f"entry point {entry.name} ({entry.value}): {taken}.", entry.name)
        except InputError as problem:
            wrong.append(str(problem))
    others = {id(experiment): experiment for experiment in found.values() if experiment not in EXPERIMENTS}
    return tuple(others.values()), tuple(wrong)


def _value(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as problem:
        words = problem_words(problem)  # type: ignore[arg-type]
        raise InputError(f"entry point {entry.name} ({entry.value}) cannot be loaded: {words}", entry.name) from problem


def _is_same_definition(one: Experiment, other: Experiment) -> bool:
    return one is other or _origin(one) == _origin(other)


def _origin(experiment: Experiment) -> str:
    """Where its simulation was written."""
    simulate = experiment.simulate
    return f"{getattr(simulate, '__module__', '?')}.{getattr(simulate, '__qualname__', type(simulate).__qualname__)}"
