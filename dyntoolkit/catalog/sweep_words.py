"""What a sweep has found, and what is missing, in words: the same ones on a terminal and on a page."""

import json
from typing import TYPE_CHECKING

from dyntoolkit.experiment.words import seeds_words

if TYPE_CHECKING:
    import xarray as xr


def sweep_words(runs: "xr.Dataset") -> list[str]:
    """What was swept and how much of it is there; what failed; what is not trained yet: a line each."""
    there, diverged = int(runs["trained"].sum()), int(runs["diverged_at"].notnull().sum())
    line = f"{runs.attrs['experiment']}, {there} of {runs['trained'].size} runs"
    lines = [f"{line}, {seeds_words(runs['seed'].values.tolist())}" + (f", {diverged} diverged" if diverged else "")]
    lines += [f"failed: {error}" for error in dict.fromkeys(json.loads(runs.attrs["failed"]))]
    left = runs["trained"].size - there - runs.attrs["failed_runs"]
    return lines + ([f"not trained yet: {left} of the runs; the same sweep, begun again, trains them"] if left else [])
