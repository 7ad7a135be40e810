"""What a sweep has found, and what is missing, in words."""

import json

import numpy as np
import pytest
import xarray as xr

from dyntoolkit.catalog.sweep_words import sweep_words


def found(trained, failed=0):
    """A sweep of two settings and two seeds, so many of which are trained, and so many in batches that failed."""
    dims = ("lr", "seed")
    lost = np.full((2, 2), np.nan)
    lost[0, 0] = 7.0
    return xr.Dataset(
        {"diverged_at": (dims, lost), "trained": (dims, np.arange(4).reshape(2, 2) < trained)},
        {"lr": [0.1, 0.2], "seed": [0, 1]},
        {"experiment": "tiny", "failed": json.dumps(["why", "why", "because"][: 3 * failed]), "failed_runs": failed},
    )


@pytest.mark.parametrize(
    ("trained", "failed", "lines"),
    [
        (4, 0, ["tiny, 4 of 4 runs, seeds 0 to 1, 1 diverged"]),
        (3, 1, ["tiny, 3 of 4 runs, seeds 0 to 1, 1 diverged", "failed: why", "failed: because"]),
        (
            1,
            1,
            [
                "tiny, 1 of 4 runs, seeds 0 to 1, 1 diverged",
                "failed: why",
                "failed: because",
                "not trained yet: 2 of the runs; the same sweep, begun again, trains them",
            ],
        ),
    ],
)
def test_it_says_what_is_there_each_error_once_and_what_is_left(trained, failed, lines):
    assert sweep_words(found(trained, failed)) == lines
