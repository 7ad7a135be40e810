"""Do attention logits explode with the learning rate, and does QK-norm bound them?

Attention-entropy collapse: Zhai et al. 2023 (arXiv 2303.06296). QK-norm: Henry et al. 2020 (arXiv 2010.04245), Dehghani
et al. 2023 (arXiv 2302.05442). No loss spike is claimed here.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    above,
    at_least,
    at_most,
    below,
    between,
    config,
    defaults,
    number,
    switch,
)
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
from dyntoolkit.figure.recorded import newest, recorded, recorded_line
from dyntoolkit.figure.sweeps import Row, Rows, sweep_line
from dyntoolkit.phenomena._attention_measures import attention_measures
from dyntoolkit.phenomena._number_text import vocabulary
from dyntoolkit.phenomena._text_training import (
    CONTEXT,
    check_width,
    make_step,
    next_token_loss,
    training_starts,
    validation_windows,
    windows,
)

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one tiny transformer that learns sums in words."""

    lr: float = number(0.1, 0.001, 0.3, label="learning rate η", help="largest step size of AdamW", log=True, main=True)
    steps: int = number(200, 50, 1000, label="steps", help="updates", log=True, main=True, structural=True)
    qk_norm: bool = switch(False, label="QK-norm", help="queries and keys of fixed length", main=True)
    batch_size: int = number(8, 4, 32, label="batch size", help="windows of 32 characters per step", structural=True)
    width: int = number(32, 16, 64, label="width", help="of the network; a multiple of 4", structural=True)
    weight_decay: float = number(0.0, 0.0, 0.3, label="weight decay", help="decoupled decay of all but the gains")

    def check(self) -> None:
        """Two heads of even size."""
        check_width(self.width)


PRESETS = {
    "explode": Preset("A large learning rate: attention scores in the hundreds, and attention to one place alone."),
    "qk_norm": Preset("The same learning rate, but scores cannot pass the dashed line.", {"qk_norm": True}),
    "lr_0.003": Preset("A usual learning rate: the scores stay small.", {"lr": 0.003}),
    "lr_0.3": Preset("Three times larger still: scores in the ten thousands, and a loss that stays high.", {"lr": 0.3}),
}


# ---- Data, model, step ----

# The text, its windows and AdamW with its schedule: `_text_training`; the network: `engine.transformer`

EVERY = 10  # steps between two measurements


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R transformers; every 10 steps and at the end a frame with the values of `attention_measures`, float32.

    Also `validation`: (R,) the loss on 32 fixed windows of the validation text.
    """
    config = configs[0]
    network = Transformer(len(vocabulary()), config.width, qk_norm=config.qk_norm)
    starts = training_starts(seeds, "batches", config.steps + 1, config.batch_size)  # (R, steps + 1, B)
    held_out = validation_windows(len(seeds))  # (R, 32, 33)

    def batches(k0: int, k1: int) -> Tensor:
        return windows(starts[:, k0:k1]).transpose(0, 1)  # (steps, R, B, 33)

    def measure(k: int, state: Adam) -> dict[str, Array]:
        batch = batches(k, k + 1)[0]  # the batch of the update that comes next
        return {
            **attention_measures(network, state.theta, batch[..., :-1], batch[..., 1:], held_out[:, :1, :-1]),
            "validation": next_token_loss(network, state.theta, held_out).numpy(),
        }

    record = sorted({*range(0, config.steps, EVERY), config.steps})
    start = Adam.start(network.init(Stream(seeds, "init")))
    yield from train(start, make_step(network, configs), batches, record, measure)


# ---- What is measured, claims ----

SETTLED = 10  # step from which on attention counts


def score_bound(width: int) -> float:
    """sqrt(head_dim): with QK-norm q and k have the length sqrt(head_dim), so |q.k|/sqrt(head_dim) is at most that."""
    return float(np.sqrt(width // 2))


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run from step 10 on, name -> (R,).

    logit_max: largest |score| of all layers. logit_excess: the same minus sqrt(head_dim). entropy_min: lowest entropy
    of a layer, nats. loss_end, validation_end: the last loss on a training batch and on the validation windows, nats.
    """
    late = history.at("logit_max") >= SETTLED  # (T,)
    if not late.any():
        late[-1] = True  # the run has only begun
    logit_max = history["logit_max"][late].max((0, 2)).astype(np.float64)  # (R,)
    return {
        "logit_max": logit_max,
        "logit_excess": logit_max - score_bound(history.config.width),
        "entropy_min": history["entropy"][late].min((0, 2)).astype(np.float64),
        "loss_end": history.last("loss").astype(np.float64),
        "validation_end": history.last("validation").astype(np.float64),
    }


RATES = (0.003, 0.01, 0.03, 0.1, 0.3)  # learning rates at which QK-norm must bound the scores
ROUNDING = 0.001  # of the scores, over the bound
USUAL_RATE = {"lr": 0.003}


def _largest_excess(runs: Sequence[Metrics]) -> Array:
    """The largest excess over the bound; infinity where it is kept, but the entropy falls to 1 or less."""
    excess = np.max([run["logit_excess"] for run in runs], axis=0)
    lowest = np.min([run["entropy_min"] for run in runs], axis=0)
    return np.where((lowest <= 1) & (excess <= ROUNDING), np.inf, excess)


CLAIMS = (
    Claim(
        id="logits_explode",
        statement="At a learning rate of 0.1 or more attention scores grow beyond 100.",
        metric="logit_max",
        bound=above(100),
        where=defaults(lr=at_least(0.1)),
        controls=(Control("η = 0.003", USUAL_RATE),),
    ),
    Claim(
        id="entropy_collapse",
        statement="Attention narrows: in some layer its entropy falls below 0.4 nats.",
        metric="entropy_min",
        bound=below(0.4),
        where=defaults(),
        controls=(Control("η = 0.003", USUAL_RATE),),
    ),
    Claim(
        id="qk_norm_bounds",
        statement="QK-norm keeps scores within √head_dim and the entropy above 1, "
        "at rates from 0.003 to 0.3 (shown: excess).",
        metric="logit_excess",
        bound=at_most(ROUNDING),
        where=defaults(lr=between(0.001, 0.3), qk_norm=(False, True)),
        controls=(Control("without QK-norm", {"qk_norm": False}),),
        sweep=Sweep(tuple({"qk_norm": True, "lr": lr} for lr in RATES), _largest_excess),
    ),
)


# ---- Figure ----

STEP = Axis("step")
LAYERS = ((0, "layer 1", LAYER1), (1, "layer 2", LAYER2))


def panels(history: History) -> list[Panel]:
    """Largest score and entropy of each layer, loss, and one head's attention (of the first run).

    Dashed: the bound of QK-norm; the entropy of attention that takes equally from all places so far, and from two.
    """
    return [
        Panel(
            "Largest attention score",
            STEP,
            Axis("max |q·k|/√head_dim", log=True),
            [*_by_layer(history, "logit_max"), Level("√head_dim", y=score_bound(history.config.width))],
        ),
        Panel(
            "Attention entropy",
            STEP,
            Axis("entropy (nats)"),
            [
                *_by_layer(history, "entropy"),
                Level("even attention", y=float(np.log(np.arange(2, CONTEXT + 1)).mean())),
                Level("even over two places", y=float(np.log(2))),
            ],
        ),
        Panel(
            "Loss",
            STEP,
            Axis("cross-entropy (nats)"),
            [
                median_line("training batch", *recorded(history, "loss"), TRAIN, width=1.2),
                recorded_line(history, "validation", "validation", TEST),
            ],
        ),
        Panel("Attention of the narrowest head", Axis("key place"), Axis("query place"), [_map(history)]),
    ]


def _by_layer(history: History, name: str) -> list[Mark]:
    return [recorded_line(history, name, label, color, column=layer) for layer, label, color in LAYERS]


def _map(history: History) -> Heat:
    """How much each place takes from each place before it, on a fixed validation window."""
    a = newest(history, "attention", 2, 2)[0]
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
    for (settings, _), row in rows.items():
        if settings.qk_norm == qk_norm:
            found[settings.lr].append(row)
    return dict(sorted(found.items()))


# ---- The record ----

EXPERIMENT = Experiment(
    name="loss_spikes.logit_growth",
    title="Exploding attention",
    question="Do a transformer's attention scores explode with the learning rate, and does QK-norm bound them?",
    paper="2303.06296",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    network=lambda history: Transformer(len(vocabulary()), history.config.width, qk_norm=history.config.qk_norm),
)
