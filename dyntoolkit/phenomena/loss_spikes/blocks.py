"""Is the sharpness of a transformer ordered by block? The average sharpness of each kind of weight while it trains.

Wang et al. 2025, "The sharpness disparity principle in transformers for accelerating language model pre-training"
(arXiv 2502.19002): embeddings are flattest, then queries and keys, feed-forward, value and output; gains are sharpest.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import GAINS, Transformer
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Claim, Control, Experiment, Preset, above, config, defaults, number
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    RED,
    SKY,
    TEST,
    TRAIN,
    Axis,
    Bars,
    Level,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import newest, recorded, recorded_line
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
from dyntoolkit.probes.fisher_trace import average_sharpness, fisher_diagonal

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one tiny transformer whose sharpness is measured block by block (Wang et al. 2025, 2502.19002)."""

    lr: float = number(
        0.003, 0.001, 0.01, label="learning rate η", help="largest step size of AdamW", log=True, main=True
    )
    steps: int = number(400, 100, 1000, label="steps", help="updates", log=True, main=True, structural=True)
    batch_size: int = number(8, 4, 32, label="batch size", help="windows of 32 characters per step", structural=True)
    width: int = number(32, 16, 64, label="width", help="of the network; a multiple of 4", structural=True)
    weight_decay: float = number(
        0.1, 0.0, 0.3, label="weight decay", help="decoupled decay of all but the gains", main=True
    )

    def check(self) -> None:
        """Two heads of even size."""
        check_width(self.width)


PRESETS = {
    "order": Preset("Value and output matrices become sharper than feed-forward ones; others are out of order."),
    "short": Preset("Half the steps: the same start, less time to grow apart.", {"steps": 200}),
}


# ---- Data, model, step ----

# The text, its windows and AdamW with its schedule: `_text_training`; the network: `engine.transformer`

BLOCKS = {  # in the paper's order, flattest first, the head apart; and what the names of their weights begin with
    "Emb": ("tok", "pos"),
    "QK": ("query", "key"),
    "FFN": ("w1", "w2"),
    "VO": ("value", "output"),
    "Norm": GAINS,
    "Head": ("head",),
}
ORDER = tuple(BLOCKS)  # of the measured sharpnesses
PROBE, DRAWS = 16, 8  # windows and draws of labels of a measurement
SHARES = (0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.375, 0.5, 0.75, 1)  # of the steps, where sharpness is measured
EVERY = 5  # steps between two measurements of the loss


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R transformers. Every 5 steps: `loss` on the coming batch and `validation`, (R,) in nats.

    At the SHARES of the steps also `sharpness` (R, 6) float32, in the order of BLOCKS.
    """
    config = configs[0]
    network = Transformer(len(vocabulary()), config.width)
    starts = training_starts(seeds, "batches", config.steps + 1, config.batch_size)  # (R, steps + 1, B)
    probe, labels = windows(training_starts(seeds, "probe", PROBE)), Stream(seeds, "labels")
    held_out = validation_windows(len(seeds))  # (R, 32, 33)
    measured = {round(share * config.steps) for share in SHARES}

    def batches(k0: int, k1: int) -> Tensor:
        return windows(starts[:, k0:k1]).transpose(0, 1)  # (steps, R, B, 33)

    def measure(k: int, state: Adam) -> dict[str, Array]:
        batch = batches(k, k + 1)[0]  # the batch of the update that comes next
        read = {"loss": batch, "validation": held_out}
        found = {name: next_token_loss(network, state.theta, at) for name, at in read.items()}  # (R,) each
        if k in measured:
            uniform = labels.unit(DRAWS, PROBE * CONTEXT)  # (R, 8, 512)
            found["sharpness"] = block_sharpness(network, state.theta, probe, uniform)
        return {name: value.numpy() for name, value in found.items()}

    record = sorted({*range(0, config.steps, EVERY), *measured})
    start = Adam.start(network.init(Stream(seeds, "init")))
    yield from train(start, make_step(network, configs), batches, record, measure)


# ---- What is measured, claims ----


def block_sharpness(network: Transformer, theta: Tensor, probe: Tensor, uniform: Tensor) -> Tensor:
    """Average sharpness of each of BLOCKS on the windows `probe` (R, 16, 33), (R, 6).

    uniform: (R, draws, 16 32) random numbers from [0, 1) that draw the labels.
    """
    x = probe[..., :-1]  # (R, 16, 32)
    # S_b = N |grad_b|^2/(number of parameters in b), labels sampled from the model's softmax, mean over the draws
    diagonal = fisher_diagonal(lambda at: network(at, x).flatten(1, 2), theta, uniform)  # (R, P)
    return torch.stack([average_sharpness(diagonal, network.mask(*names)) for names in BLOCKS.values()], dim=1)


def ratio(history: History, sharper: str, flatter: str) -> Array:
    """Average sharpness of one block over that of another at every measurement, (T, R); (0, R) before the first."""
    if "sharpness" not in history:
        return np.empty((0, len(history.seeds)))
    measured = history["sharpness"].astype(np.float64)  # (T, R, 6)
    tiny = np.finfo(np.float32).tiny  # queries and keys start almost flat
    return np.asarray(measured[..., ORDER.index(sharper)] / np.maximum(measured[..., ORDER.index(flatter)], tiny))


def metrics(history: History) -> dict[str, Array]:
    """Ratios of average sharpnesses S, name -> (R,); NaN before a run has come so far.

    vo_ffn_min: least S_VO/S_FFN from 15 % of the steps on; vo_ffn_start: before training. ffn_qk_early: least
    S_FFN/S_QK up to 20 %; ffn_qk_late: median of it from 50 % on. norm_vo_late, emb_ffn_late: medians of S_Norm/S_VO
    and S_Emb/S_FFN from 50 % on. validation_end: the last loss on the validation windows, nats.
    """
    # a measurement lies at a rounded step
    done = (history.at("sharpness") + 0.5) / history.config.steps  # (T,)
    early = history.at("sharpness") - 0.5 <= 0.2 * history.config.steps
    late = done >= 0.5
    vo_ffn = ratio(history, "VO", "FFN")
    ffn_qk = ratio(history, "FFN", "QK")
    return {
        "vo_ffn_min": _reduced(np.min, vo_ffn[done >= 0.15]),
        "vo_ffn_start": vo_ffn[0],
        "ffn_qk_early": _reduced(np.min, ffn_qk[early]),
        "ffn_qk_late": _reduced(np.median, ffn_qk[late]),
        "norm_vo_late": _reduced(np.median, ratio(history, "Norm", "VO")[late]),
        "emb_ffn_late": _reduced(np.median, ratio(history, "Emb", "FFN")[late]),
        "validation_end": history.last("validation").astype(np.float64),
    }


def _reduced(function: Callable[..., Array], values: Array) -> Array:
    """Over the measurements (T', R) -> (R,); NaN where there is none."""
    return np.asarray(function(values, axis=0)) if len(values) else np.full(values.shape[1], np.nan)


CLAIMS = (
    Claim(
        id="vo_above_ffn",
        statement="From 15 % of the steps on, value and output are over 1.2 times as sharp as feed-forward matrices.",
        metric="vo_ffn_min",
        bound=above(1.2),
        where=defaults(steps=(200, 400)),
        controls=(Control("before training", metric="vo_ffn_start"),),
    ),
    Claim(
        id="qk_below_ffn_early",
        statement="In the first 20 % of the steps, queries and keys are flatter than feed-forward matrices.",
        metric="ffn_qk_early",
        bound=above(1.0),
        where=defaults(),
    ),
)


# ---- Figure ----

COLORS = dict(zip(ORDER, (SKY, PURPLE, BLUE, RED, GREEN, GREY), strict=True))
STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """Average sharpness of each block against the step, and now; the ratios of the claims; the loss."""
    curves = [
        recorded_line(history, "sharpness", name, COLORS[name], column=b, markers="both")
        for b, name in enumerate(ORDER)
    ]
    return [
        Panel("Average sharpness by block", STEP, Axis("average sharpness", log=True), [*curves]),
        _now(history),
        _ratios(history),
        _loss(history),
    ]


def _now(history: History) -> Panel:
    """The newest measurement in the paper's order, in decades above FFN; the median over the runs."""
    sharpness = newest(history, "sharpness", len(ORDER))  # (R, 6)
    logs = np.log10(np.maximum(sharpness, np.finfo(np.float32).tiny))
    decades = np.median(logs - logs[:, [ORDER.index("FFN")]], axis=0)  # (6,)
    bars = Bars("newest measurement", ORDER, decades, BLUE)
    return Panel("Now, in the paper's order", Axis("block"), Axis("decades above FFN"), [bars])


def _ratios(history: History) -> Panel:
    """VO against FFN, and FFN against QK; above 1 where the blocks are in the paper's order."""
    at, _ = recorded(history, "sharpness")
    lines = [
        median_line(f"{sharper}/{flatter}", at, ratio(history, sharper, flatter), COLORS[color], markers="both")
        for sharper, flatter, color in (("VO", "FFN", "VO"), ("FFN", "QK", "FFN"))
    ]
    return Panel("Ratios of the claims", STEP, Axis("ratio", log=True), [*lines, Level("equal", y=1.0)])


def _loss(history: History) -> Panel:
    """On the coming training batch and on the validation windows."""
    lines = [
        median_line("training batch", *recorded(history, "loss"), TRAIN, width=1.2),
        recorded_line(history, "validation", "validation", TEST),
    ]
    return Panel("Loss", STEP, Axis("cross-entropy (nats)"), [*lines])


# ---- The record ----

EXPERIMENT = Experiment(
    name="loss_spikes.blocks",
    title="Sharpness by block",
    question="Are some blocks of a transformer sharper than others, in a fixed order?",
    paper="2502.19002",
    seconds=2.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: Transformer(len(vocabulary()), history.config.width),
)
