"""Whether any number moved since a revision: default runs of every experiment, there and here, compared bit by bit.

    python benchmarks/same_numbers.py REVISION [NAME ...]

"Here" is the working tree as it is. Compared are every metric, every recorded array with its steps, the steps of
divergence, and the settings of the presets, for the fields that both trees know. Prints a line for each experiment;
exit code 1 if any differs, is gone, or fails.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
Found = Mapping[str, Any]  # what of an experiment -> array, or a preset's settings; "error" -> why there is nothing


def measure(folder: Path, seeds: Sequence[int], names: Sequence[str]) -> None:
    """Run the experiments of the dyntoolkit that Python finds, and leave a file of each in the folder."""
    from dyntoolkit.phenomena import EXPERIMENTS  # not at the top: the revision's own, in a process of its own

    for experiment in EXPERIMENTS:
        if not names or experiment.name in names:
            began = time.perf_counter()
            (folder / experiment.name).write_bytes(pickle.dumps(_measured(experiment, seeds)))
            print(f"  {experiment.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)


def _eagerly() -> AbstractContextManager[None]:
    """A context in which steps train as they stand; revisions without engines know nothing else."""
    try:
        from dyntoolkit.engine.choice import Asked, asking
    except ModuleNotFoundError:
        return nullcontext()
    return asking(Asked("eager"))


def _measured(experiment: Any, seeds: Sequence[int]) -> dict[str, Any]:
    """All of one experiment, by what any revision offers: its default run, as plain arrays."""
    try:
        with _eagerly():
            history = experiment.run(experiment.configure(), seeds)
        found = {"diverged": np.asarray(history.diverged)}
        found |= {f"metric {name}": np.asarray(value) for name, value in experiment.metrics(history).items()}
        found |= {f"steps of {name}": history.at(name) for name in history.names()}
        found |= {f"array {name}": history[name] for name in history.names()}
        return found | {f"preset {name}": experiment.configure(name).asdict() for name in experiment.presets}
    except Exception as problem:  # the other experiments go on
        return {"error": f"{type(problem).__name__}: {problem}"}


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """A checkout of a revision beside this one, as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measured_in(tree: Path, seeds: Sequence[int], names: Sequence[str]) -> dict[str, Found]:
    """What the experiments of a tree give in a new process with one thread, name -> Found."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    place = subprocess.run(
        [sys.executable, "-c", "import dyntoolkit; print(dyntoolkit.__file__)"],
        env=environment,
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if not Path(place).resolve().is_relative_to(tree.resolve()):
        raise RuntimeError(f"Python finds dyntoolkit in {place}, not in {tree}")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "HEAD", *names, "--seeds", *map(str, seeds), "--measure", folder]
        subprocess.run(command, env=environment, cwd=tree, check=True)
        return {path.name: pickle.loads(path.read_bytes()) for path in sorted(Path(folder).iterdir())}


def differences(then: Found, now: Found) -> list[str]:
    """What is not the same, in words; [] where every bit is."""
    if problems := [f"fails {where}: {found['error']}" for where, found in _places(then, now) if "error" in found]:
        return problems
    words = [f"{name} is gone" for name in then if name not in now]
    words += [f"{name} is new" for name in now if name not in then]
    for name in (name for name in then if name in now):
        before, after = then[name], now[name]
        if isinstance(before, dict):
            changed = [field for field in before if field in after and before[field] != after[field]]
            words += [f"{name}: {field} {before[field]} -> {after[field]}" for field in changed]
        elif (before.dtype, before.shape) != (after.dtype, after.shape):
            words.append(f"{name}: {before.dtype}{before.shape} -> {after.dtype}{after.shape}")
        elif before.tobytes() != after.tobytes():
            words.append(f"{name}: {_distance(before, after)}")
    return words


def _places(then: Found, now: Found) -> tuple[tuple[str, Found], tuple[str, Found]]:
    return ("there", then), ("here", now)


def _distance(before: np.ndarray, after: np.ndarray) -> str:
    """By how much two arrays of a shape differ."""
    other = (before != after) & ~(np.isnan(before) & np.isnan(after))  # numbers; a zero's sign, say, is only a bit
    with np.errstate(invalid="ignore"):
        most = np.abs(before.astype(np.float64) - after.astype(np.float64))[other]
    return f"{other.sum()} of {other.size} numbers, by {np.nanmax(most, initial=0):.2g} at most"


def main() -> int:
    """Measure in both trees, one after the other, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="of git, to compare with")
    parser.add_argument("names", nargs="*", help="of experiments (default: all of the revision)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.seeds, options.names)
        return 0
    try:
        with tree_of(options.revision) as tree:
            print(f"{options.revision}:", file=sys.stderr)
            then = measured_in(tree, options.seeds, options.names)
    except subprocess.CalledProcessError as problem:
        parser.error(f"{options.revision} cannot be measured: {problem}")  # git or Python has said why
    if unknown := set(options.names) - set(then):
        parser.error(f"{options.revision} has no {', '.join(sorted(unknown))}")
    print("here:", file=sys.stderr)
    now = measured_in(ROOT, options.seeds, options.names)
    moved = 0
    for name in [*then, *(name for name in now if name not in then)]:
        if name not in then:
            print(f"{name}: new")
            continue
        words = differences(then[name], now[name]) if name in now else ["gone"]
        moved += bool(words)
        print(f"{name}: {'; '.join(words)}" if words else f"{name}: equal, {len(then[name])} quantities")
    print(f"{moved} of {len(then)} differ" if moved else f"all {len(then)} equal")
    return int(moved > 0)


if __name__ == "__main__":
    sys.exit(main())
