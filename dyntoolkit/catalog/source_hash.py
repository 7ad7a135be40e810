"""A number for the source that an experiment's results depend on: another one, and they may be others."""

import ast
import functools
import hashlib
import sys
import types
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dyntoolkit
from dyntoolkit.errors import LIBRARIES
from dyntoolkit.experiment import Experiment

PACKAGE = Path(dyntoolkit.__file__).parent
ROOMS = ("phenomena", "laboratory", "probes", "engine", "experiment", "data.py")  # in which a change may change numbers
RUNS = (PACKAGE / "experiment" / "record.py", PACKAGE / "experiment" / "judging.py")  # what every run goes through
FACE = PACKAGE / "__init__.py"
LIBRARIES_USED = ("torch", "numpy", "jax")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


def versions() -> dict[str, str]:
    """The versions of the package and of the libraries that compute, "" for one that is not installed."""
    return {"dyntoolkit": dyntoolkit.__version__} | {name: _version(name) for name in LIBRARIES_USED}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def source_hash(experiment: Experiment) -> str:
    """The hash of the experiment's files, of all that they import, and of what was written in a notebook.

    Libraries are left out, and of the package what cannot change a number (figures, words, pages, sweeps). Of functions
    and classes that stand in no file it takes the code; of closures also what they hold, such as a reader's data.
    """
    look = _Look()
    look.files.update(*map(_reached, RUNS))
    parts = [repr(part).encode() for part in look.at((experiment.config, experiment.simulate, experiment.metrics))]
    files = [path.read_bytes() for path in sorted(look.files)]
    return hashlib.sha256(b"\0".join([*files, *parts])).hexdigest()[:16]


@functools.cache
def _reached(path: Path) -> frozenset[Path]:
    """A file of the package and those of ROOMS that it imports, and these again."""
    reached, new = {path}, [path]
    while new:
        found = _imported_once(new.pop()) - reached
        reached |= found
        new += found
    return frozenset(reached - {FACE})


def _imported(path: Path) -> set[Path]:
    """The files of ROOMS that a file imports, also within functions; FACE for the public face of the package."""
    found = _files_of("dyntoolkit.probes") if path == FACE else set()  # which are attributes of it
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(*(_files_of(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found.update(_files_of(f"{node.module}.{alias.name}") or _files_of(str(node.module)))
    return found


_imported_once = functools.cache(_imported)  # of the package's own files, which nobody edits while it runs


def _files_of(module: str) -> set[Path]:
    """The file of ROOMS in which a module of the package stands, or FACE; none for another module."""
    first, *inner = module.split(".")
    if first != PACKAGE.name:
        return set()
    if not inner:
        return {FACE}
    place = PACKAGE.joinpath(*inner)
    return {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file() and _is_own(file)}


class _Look:
    """Walks through functions, classes and what they hold; `files` are the own files that it has come upon."""

    def __init__(self) -> None:
        self.files: set[Path] = set()
        self._seen: dict[int, Any] = {}  # held, so that no id is given again

    def at(self, value: Any) -> Iterator[Any]:
        """What tells this value from others, in parts, the same in every process."""
        if isinstance(value, _PLAIN):
            yield value
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            yield from self._into(value)

    def _into(self, value: Any) -> Iterator[Any]:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray):
            yield value.shape
            yield value.tobytes() if value.dtype != object else repr(value)
        elif isinstance(value, types.CodeType):
            yield value.co_code
            yield value.co_names
            yield from self.at(value.co_consts)
        elif isinstance(value, types.FunctionType | type):
            yield value.__qualname__
            yield from self._written(value)
        elif isinstance(value, types.ModuleType):
            self._add_files(value.__name__)
        else:
            yield type(value).__qualname__
            for each in _parts(value):
                yield from self.at(each)

    def _written(self, value: Any) -> Iterator[Any]:
        """A function or class: the file that it stands in, or else its code; and what a closure holds."""
        in_file = self._add_files(value.__module__)
        if isinstance(value, types.FunctionType):
            yield from self.at([value.__defaults__, value.__kwdefaults__])
            for cell in value.__closure__ or ():
                yield from self.at(getattr(cell, "cell_contents", None))  # it may not be bound yet
            if not in_file:
                yield from self.at(value.__code__)
                yield from self.at([value.__globals__.get(name) for name in sorted(_names(value.__code__))])
        elif not in_file:
            yield from self.at(value.__bases__)
            yield from self.at({name: part for name, part in vars(value).items() if not name.startswith("__")})

    def _add_files(self, name: str) -> bool:
        """Whether a module stands in a file, or is built in; an own file and those that it imports are added."""
        path = _file(name)
        if path is None:
            return name in sys.builtin_module_names
        if path == FACE or (path.is_relative_to(PACKAGE) and _is_own(path)):
            self.files |= _reached(path)
        elif path not in self.files and _is_own(path):
            self.files.add(path)
            self.files.update(*map(_reached, _imported(path)))
            for value in list(vars(sys.modules[name]).values()):
                of = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
                if isinstance(of, str) and of in sys.modules:
                    self._add_files(of)
        return True


def _file(module: str) -> Path | None:
    """The file of a module, None where there is none, as for a notebook."""
    name = getattr(sys.modules.get(module), "__file__", None)
    return Path(name).resolve() if name and Path(name).is_file() else None


def _is_own(path: Path) -> bool:
    """Whether a change of this file may change a number: neither a library's, nor the package's outside of ROOMS."""
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).parts[0] in ROOMS
    return not any(path.is_relative_to(folder.resolve()) for folder in LIBRARIES)


def _parts(value: Any) -> Iterator[Any]:
    """What a container or object holds."""
    if isinstance(value, set | frozenset):
        yield from sorted(value, key=repr)
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, dict | types.MappingProxyType):
        for item in value.items():
            yield from item
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, property | staticmethod | classmethod):
        yield from (getattr(value, name, None) for name in ("fget", "__func__"))
    else:
        yield type(value)
        yield getattr(value, "__dict__", None)


def _names(code: types.CodeType) -> set[str]:
    """The names that code reads, and code that is defined within it."""
    inner = (_names(each) for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*inner)
