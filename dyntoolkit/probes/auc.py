"""How well a number separates two groups."""

import numpy as np
from scipy.stats import rankdata

Array = np.ndarray


def auc(values: Array, positive: Array) -> Array:
    """The probability that a positive sample's value exceeds a negative one's, ties counted half: (R, n) -> (R,).

    positive: (R, n) bool. The area under the ROC curve, from ranks (Mann and Whitney 1947). NaN without both groups.
    """
    ranks = rankdata(values, axis=1)  # (R, n) from 1, ties at their mean
    ones = positive.sum(1)  # (R,)
    pairs = ones * (positive.shape[1] - ones)
    larger = (ranks * positive).sum(1) - ones * (ones + 1) / 2
    return np.asarray(np.divide(larger, pairs, out=np.full(len(values), np.nan), where=pairs > 0))
