"""Real data that comes with scikit-learn, as tables. Nothing is downloaded; do not write into what is cached here."""

from functools import lru_cache
from typing import Any

import numpy as np

from dyntoolkit.data import datasets, shuffled_images
from dyntoolkit.errors import unknown
from dyntoolkit.laboratory.tables import Column, Table, table

TARGETS = {
    "digits": "digit",
    "breast_cancer": "tumour",
    "wine": "cultivar",
    "iris": "species",
    "diabetes": "progression",
}
REAL = tuple(TARGETS)


@lru_cache(maxsize=len(REAL))
def real_table(name: str) -> Table:
    """One of the sets, by its name; InputError where there is none.

    digits: 1797 handwritten ones as images of 8x8 pixels from 0 to 1. breast_cancer: 569 tumours by 30 measures of
    their nuclei. wine: 178 by 13 chemical measures. iris: 150 by 4 lengths and widths of leaves. diabetes: 442 patients
    by 10 measures; how far it had progressed a year later, the only target of numbers and not of classes.
    """
    if name not in REAL:
        raise unknown("data", name, REAL)
    if name == "digits":
        return _digits()
    found: Any = getattr(datasets, f"load_{name}")()
    features = [Column(each, found.data[:, k]) for k, each in enumerate(found.feature_names)]
    classes = tuple(map(str, found.get("target_names", ())))
    values = found.target.astype(np.int64 if classes else np.float64)
    return table(name, [*features, Column(TARGETS[name], values, classes)], range(len(values)), [], TARGETS[name])


def _digits() -> Table:
    """In the order that all of the toolkit's experiments have them in."""
    images, labels = shuffled_images()
    columns = [
        Column("pixels", images.astype(np.float32)),
        Column(TARGETS["digits"], labels, tuple(map(str, range(10)))),
    ]
    return table("digits", columns, range(len(labels)), [], TARGETS["digits"])
