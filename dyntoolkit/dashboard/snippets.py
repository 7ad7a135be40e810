"""What a reader types to get a run again: in Python, and in a terminal."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyntoolkit.catalog.registry import OWN_FILE, packaged
from dyntoolkit.dashboard.link import nearest_preset
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config

NOTEBOOK = "__main__"  # the module of what is defined in a notebook
FILE = "my_file.py"  # stands for where a reader has put what is in a notebook only
NAME = "EXPERIMENT"  # stands for an experiment that no variable holds


@dataclass(frozen=True)
class Source:
    """Where an experiment comes from: lines that import it, what it is called in Python, and in a terminal.

    everywhere: whether that is so on other machines, too, which have the same packages.
    """

    imports: str
    python: str
    command: str
    everywhere: bool


def source_of(experiment: Experiment) -> Source:
    """An experiment of this or an installed package by its name, another by its module, or the notebook's variable."""
    if any(experiment is known for known in packaged()):
        return Source("", repr(experiment.name), experiment.name, everywhere=True)
    for module in (experiment.config.__module__, NOTEBOOK):
        variables = list(vars(sys.modules[module]).items()) if module in sys.modules else []
        names = [name for name, value in variables if value is experiment and not name.startswith("_")]
        if names and module != NOTEBOOK:
            return Source(f"from {module} import {names[0]}\n", names[0], f"{module}:{names[0]}", everywhere=True)
        if names:
            return Source("", names[0], f"{FILE}:{names[0]}", everywhere=False)
    return Source("", NAME, f"{FILE}:{NAME}", everywhere=False)


def python_snippet(
    original: Experiment, experiment: Experiment, file: str, config: Config, seeds: Sequence[int]
) -> str:
    """A few lines that train the run: `original`, or what has become of it by a reader's `file`.

    >>> from dyntoolkit.catalog.registry import find
    >>> noise = find("label_noise.linear")
    >>> print(python_snippet(noise, noise, "", noise.configure("fast", lr=0.1), [3, 4]))
    import dyntoolkit as dt
    <BLANKLINE>
    runs = dt.run('label_noise.linear', preset='fast', lr=0.1, seeds=[3, 4])
    # In a notebook, with sliders:
    # dt.explore('label_noise.linear', preset='fast', lr=0.1, seed=3, n_seeds=2)
    """
    source = source_of(original)
    name, lines = source.python, [f"{source.imports}import dyntoolkit as dt", ""]
    if experiment is not original:
        lines[0] = f"from pathlib import Path\n\n{lines[0]}"
        lines.append(f"own = dt.find({name}).with_file({file!r}, Path({file!r}).read_bytes())")
        name = "own"
    settings = [f"{field}={value!r}" for field, value in _settings(experiment, config).items()]
    first, count = seeds[0], len(seeds)
    own = [f"seeds={list(seeds)}"] if first else [f"seeds={count}"] if count > 1 else []
    shown = ([f"seed={first}"] if first else []) + ([f"n_seeds={count}"] if count > 1 else [])
    lines.append(f"runs = dt.run({', '.join([name, *settings, *own])})")
    lines += ["# In a notebook, with sliders:", f"# dt.explore({', '.join([name, *settings, *shown])})"]
    return "\n".join(lines)


def command_snippet(
    original: Experiment, experiment: Experiment, file: str, config: Config, seeds: Sequence[int]
) -> str:
    """The line for a terminal that trains the same.

    >>> from dyntoolkit.catalog.registry import find
    >>> noise = find("label_noise.linear")
    >>> command_snippet(noise, noise, "", noise.configure("fast", lr=0.1), [3, 4])
    'dyntoolkit run label_noise.linear --preset fast --set lr=0.1 --seed 3 4'
    """
    words = ["dyntoolkit", "run", source_of(original).command]
    if experiment is not original:
        words += ["--file", file]
    settings = {name: str(value) for name, value in _settings(experiment, config).items()}
    if "preset" in settings:
        words += ["--preset", settings.pop("preset")]
    if settings:
        words += ["--set", *(f"{name}={value}" for name, value in settings.items())]
    if tuple(seeds) != (0,):
        words += ["--seed", *map(str, seeds)]
    return shlex.join(words)


def rerun_snippet(experiment: Experiment) -> str:
    """The line for a terminal that trains a run again from a file of it, FILE; it names the reader's own files.

    >>> from dyntoolkit.catalog.registry import find
    >>> rerun_snippet(find("label_noise.linear"))
    'dyntoolkit rerun FILE'
    """
    words = ["dyntoolkit", "rerun", "FILE"]
    if experiment.name not in [known.name for known in packaged()]:
        words += ["--file", _python_file(experiment)]
    if experiment.data:
        words += ["--file", experiment.data]
    return shlex.join(words)


def _python_file(experiment: Experiment) -> str:
    """What the file is called that defines an experiment of that name; FILE where that is a notebook."""
    for name in (experiment.config.__module__, *(name for name in sys.modules if name.startswith(OWN_FILE))):
        variables = vars(sys.modules[name]) if name in sys.modules else {}
        own = [value for value in variables.values() if isinstance(value, Experiment) and value.name == experiment.name]
        if own and (path := variables.get("__file__")):
            return Path(path).name
    return FILE


def _settings(experiment: Experiment, config: Config) -> dict[str, Any]:
    """The preset, if it is not the first one, and what differs from it."""
    preset, changes = nearest_preset(experiment, config)
    return changes if preset == next(iter(experiment.presets)) else {"preset": preset, **changes}
