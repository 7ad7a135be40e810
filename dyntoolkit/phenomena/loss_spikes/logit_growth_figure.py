"""The figures of `loss_spikes.logit_growth`: one run, and what the learning rate changes."""

from collections import defaultdict

import numpy as np

from dyntoolkit.engine.history import Array, History
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    LAYER1,
    LAYER2,
    TEST,
    TRAIN,
    Axis,
    Heat,
    Level,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.sweeps import Row, Rows, sweep_line
from dyntoolkit.phenomena.loss_spikes.logit_growth_claims import score_bound
from dyntoolkit.phenomena.loss_spikes.text_training import CONTEXT

STEP = Axis("step")
LAYERS = ((0, "layer 1", LAYER1), (1, "layer 2", LAYER2))


def panels(history: History) -> list[Panel]:
    """Largest score and entropy of each layer, loss, and one head's attention (of the first run).

    Dashed: the bound of QK-norm; the entropy of attention that takes equally from all places so far, and from two.
    """
    at = history.at("logit_max") if "logit_max" in history else np.empty(0)
    return [
        Panel(
            "Largest attention score",
            STEP,
            Axis("max |q·k|/√head_dim", log=True),
            [*_by_layer(history, at, "logit_max"), Level("√head_dim", y=score_bound(history.config.width))],
        ),
        Panel(
            "Attention entropy",
            STEP,
            Axis("entropy (nats)"),
            [
                *_by_layer(history, at, "entropy"),
                Level("even attention", y=float(np.log(np.arange(2, CONTEXT + 1)).mean())),
                Level("even over two places", y=float(np.log(2))),
            ],
        ),
        Panel(
            "Loss",
            STEP,
            Axis("cross-entropy (nats)"),
            [
                median_line("training batch", at, _known(history, "loss"), TRAIN, width=1.2),
                median_line("validation", at, _known(history, "validation"), TEST),
            ],
        ),
        Panel("Attention of the narrowest head", Axis("key place"), Axis("query place"), [_map(history)]),
    ]


def _known(history: History, name: str, *shape: int) -> Array:
    """The measured values (T, R, *shape), or none yet."""
    return history[name] if name in history else np.empty((0, len(history.seeds), *shape))


def _by_layer(history: History, at: Array, name: str) -> list[Mark]:
    values = _known(history, name, len(LAYERS))  # (T, R, layers)
    return [median_line(label, at, values[..., layer], color) for layer, label, color in LAYERS]


def _map(history: History) -> Heat:
    """How much each place takes from each place before it, on a fixed validation window."""
    a = history.last("attention")[0] if "attention" in history else np.full((2, 2), np.nan)
    places = np.arange(len(a))
    return Heat("weight", places, places, a, low=0, high=1)


def sweep_panels(rows: Rows) -> list[Panel]:
    """Largest score, lowest entropy and validation loss against the learning rate, with QK-norm and without.

    rows: (settings, seed) -> metrics of finished runs.
    """
    rate = Axis("learning rate η", log=True)
    bound = score_bound(next(iter(rows))[0].width)
    return [
        Panel(
            "Largest score by learning rate",
            rate,
            Axis("max |q·k|/√head_dim", log=True),
            [*_by_rate(rows, "logit_max"), Level("√head_dim", y=bound)],
        ),
        Panel("Lowest entropy by learning rate", rate, Axis("entropy (nats)"), _by_rate(rows, "entropy_min")),
        Panel("Validation loss by learning rate", rate, Axis("cross-entropy (nats)"), _by_rate(rows, "validation_end")),
    ]


def _by_rate(rows: Rows, name: str) -> list[Mark]:
    """Median and band over the seeds at each learning rate, without QK-norm and with it."""
    kinds = ((False, "plain", BLUE), (True, "QK-norm", GREEN))
    return [sweep_line(label, _runs(rows, qk_norm), name, color) for qk_norm, label, color in kinds]


def _runs(rows: Rows, qk_norm: bool) -> dict[float, list[Row]]:
    """All finished runs of one kind, by learning rate."""
    found: dict[float, list[Row]] = defaultdict(list)
    for (config, _), metrics in rows.items():
        if config.qk_norm == qk_norm:
            found[config.lr].append(metrics)
    return dict(sorted(found.items()))
