"""The metrics of a sweep in columns of a terminal."""

import json

import numpy as np
import xarray as xr

from dyntoolkit.app.sweep_table import sweep_table


def found(metrics, *, trained=True, diverged=0):
    """A sweep over two settings and two seeds with so many metrics of a long name; the last runs diverged."""
    names = [f"a_metric_with_a_long_name_{k}" for k in range(metrics)]
    dims = ("lr", "seed")
    values = np.arange(4.0 * metrics).reshape(2, 2, metrics)
    lost = np.arange(4).reshape(2, 2) >= 4 - diverged
    values[lost] = np.nan
    return xr.Dataset(
        {
            "metrics": ((*dims, "metric"), values),
            "diverged_at": (dims, np.where(lost, 7.0, np.nan)),
            "trained": (dims, np.array([[True, True], [True, trained]])),
        },
        {"lr": [0.1, 0.2], "seed": [0, 1], "metric": names},
        {"experiment": "tiny", "failed": json.dumps([]), "failed_runs": 0},
    )


def test_what_is_wider_than_the_terminal_goes_on_below():
    tables = sweep_table(found(7)).split("\n\n")
    assert [table.splitlines()[0].split()[0] for table in tables] == ["lr"] * len(tables)
    assert sum(len(table.splitlines()[0].split()) - 1 for table in tables) == 7
    assert 1 < len(tables) < 7
    assert max(len(line) for table in tables for line in table.splitlines()) <= 100
    assert all(len(table.splitlines()) == 3 for table in tables)


def test_runs_that_are_not_there_are_no_numbers():
    assert sweep_table(found(1)).splitlines()[2].split() == ["0.2", "2.5", "[2,", "3]"]
    assert sweep_table(found(1, trained=False)).splitlines()[2].split() == ["0.2", "2"]
    assert sweep_table(found(0)).splitlines() == ["lr", "0.1", "0.2"]


def test_runs_that_diverged_have_no_metrics_and_say_so():
    assert sweep_table(found(1, diverged=1)).splitlines()[2].split() == ["0.2", "2,", "1", "diverged"]
    assert sweep_table(found(1, diverged=2)).splitlines()[2].split() == ["0.2", "2", "diverged"]
    assert sweep_table(found(1, trained=False, diverged=1)).splitlines()[2].split() == ["0.2", "2"]
