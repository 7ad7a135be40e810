"""Metrics and claims of `label_noise.diagonal`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, below
from dyntoolkit.phenomena.label_noise.diagonal_config import Config

END = 3  # frames whose mean is "the end"


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, means over the last three frames, name -> (R,).

    test_end, train_end: losses without noise. l1_end = |beta|_1; sparsity = l1_end/n_nonzero. w_ratio: sum of
    u^2 + v^2 over its start. ntk_end: change of the tangent kernel. cos_end: cosine between beta and the truth.
    """
    end = {name: history[name][-END:].mean(0) for name in ("test", "train", "l1", "size", "ntk", "cos")}
    nonzero = np.array([config.n_nonzero for config in history.configs])
    return {
        "test_end": end["test"],
        "train_end": end["train"],
        "l1_end": end["l1"],
        "sparsity": end["l1"] / nonzero,
        "w_ratio": end["size"] / history["size"][0],
        "ntk_end": end["ntk"],
        "cos_end": end["cos"],
    }


def _measured(c: Config) -> bool:
    """Where it was measured."""
    same = (c.dim, c.lr, c.batch_size) == (100, 0.005, 1) and c.n_nonzero <= 5 and c.n_train >= 40
    return same and 0.2 <= c.init_scale <= 0.6 and c.noise_std >= 1.5 and c.steps >= 15000


CONTROL = (Control("no noise", {"noise_std": 0.0}),)

CLAIMS = (
    Claim(
        id="generalizes",
        statement="With label noise it generalises: the loss on all possible points is below 0.5 in the end.",
        metric="test_end",
        bound=below(0.5),
        where=_measured,
        controls=CONTROL,
    ),
    Claim(
        id="weights_shrink",
        statement="The weights have shrunk: the sum of u² + v² is below 0.4 of its start.",
        metric="w_ratio",
        bound=below(0.4),
        where=lambda c: _measured(c) and c.init_scale >= 0.3,
        controls=CONTROL,
    ),
    Claim(
        id="sparse",
        statement="‖β‖₁ is near that of the truth, below 1.4 of it.",
        metric="sparsity",
        bound=below(1.4),
        where=_measured,
        controls=CONTROL,
    ),
)
