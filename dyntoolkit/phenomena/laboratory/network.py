"""The laboratory: does your network, on your data, do what the papers say?

A network of any depth, with or without residual connections and layer normalization, learns synthetic data of known
structure, real data, or a file of the reader's own, by any of six update rules; and whatever of it can be measured is
switched on and off while it trains. The presets are the toolkit's phenomena found again by settings alone; where one
has a claim, the number behind it is that of the paper it names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.own_state import own_state
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Metrics,
    Preset,
    Sweep,
    above,
    at_least,
    at_most,
    below,
    between,
    choice,
    config,
    defaults,
    number,
    switch,
)
from dyntoolkit.experiment.judging import DIVERGED
from dyntoolkit.figure.panels import TEST, TRAIN, Axis, Line, Mark, Panel
from dyntoolkit.laboratory.built_in import NEURON_PROBES, PROBES
from dyntoolkit.laboratory.csv_table import read_csv
from dyntoolkit.laboratory.function_panel import Data, Moment, function_panel, newest_weights
from dyntoolkit.laboratory.losses import LOSSES, Loss
from dyntoolkit.laboratory.panels import accuracy_panel, loss_panel, probe_panel, watched
from dyntoolkit.laboratory.probe import Probe, with_switches
from dyntoolkit.laboratory.real_data import REAL
from dyntoolkit.laboratory.tables import MISSING, MOST_ROWS, TASKS, Table
from dyntoolkit.laboratory.training import Training, train_network
from dyntoolkit.phenomena.laboratory._data import NUMBERS, SYNTHETIC, load
from dyntoolkit.phenomena.laboratory._network import Network
from dyntoolkit.phenomena.laboratory._neurons import neurons_panel
from dyntoolkit.phenomena.laboratory._spectrum import SPECTRUM, spectrum_panel
from dyntoolkit.probes.barrier import ALPHAS, along_segment, barrier
from dyntoolkit.probes.crossing_times import delay, first_above, first_value

Tensor = torch.Tensor

# ---- Settings and presets ----


class Task(config.Config):
    """What is to be learned, and the network that learns it."""

    data: str = choice("moons", (*SYNTHETIC, *REAL, "file"), label="data", help="what is to be learned", main=True)
    depth: int = number(2, 0, 4, label="hidden layers", help="0: a linear network", structural=True, main=True)
    width: int = number(32, 1, 512, label="width", help="units per hidden layer", log=True, structural=True, main=True)
    n_train: int = number(
        200, 10, 2000, label="training samples", help="as far as there are so many", log=True, structural=True
    )
    input_noise: float = number(0.15, 0.0, 1.0, label="input noise", help="of two moons, spirals, XOR and circles")
    irrelevant: int = number(0, 0, 50, label="irrelevant inputs", help="Gaussian ones, added", structural=True)
    n_bits: int = number(10, 2, 12, label="bits n", help="of the parity", structural=True)
    parity_bits: int = number(3, 1, 12, label="bits in the product k", help="of the parity", structural=True)
    activation: str = choice("relu", tuple(ACTIVATIONS), label="activation", help="of the hidden units")
    residual: bool = switch(False, label="residual", help="each hidden layer but the first adds to the one before")
    layer_norm: bool = switch(False, label="LayerNorm", help="of each hidden layer, before the activation")
    output_scale: float = number(
        1.0,
        0.01,
        100.0,
        label="output scale α",
        help="times the output; a large one trains lazily, if the loss is mse and η is divided by α²",
        log=True,
        structural=True,
    )
    init_exponent: float = number(
        0.0, 0.0, 2.0, label="initialization exponent γ", help="initial weights are multiplied by width to the −γ"
    )
    loss: str = choice(
        "cross_entropy",
        ("cross_entropy", "mse"),
        label="loss",
        help="of classes; numbers always have mse. Two classes share one output, with labels ±1 for mse",
    )


class Settings(Training, Task):
    """Settings of one run of the laboratory."""

    def check(self) -> None:
        """A product of bits takes no more of them than there are."""
        if self.data == "parity" and self.parity_bits > self.n_bits:
            raise InputError(
                f"parity_bits takes a whole number from 1 to n_bits = {self.n_bits}, got {self.parity_bits}.",
                "parity_bits",
            )

    def warnings(self) -> list[str]:
        """Settings that mean nothing here, and what is done in their place."""
        found = []
        if self.data in NUMBERS and self.label_noise > 0:
            found.append(f"The targets of {self.data} are numbers, so no label is wrong: use target_noise.")
        if self.data not in (*NUMBERS, "file") and self.target_noise > 0:
            found.append(f"The targets of {self.data} are classes, so target_noise does nothing: use label_noise.")
        if self.fresh_noise and self.label_noise == self.target_noise == 0:
            found.append("fresh_noise does nothing without label_noise or target_noise.")
        if self.batch_size >= self.n_train:
            found.append(f"batch_size is not below n_train = {self.n_train}: every step sees all samples.")
        if self.residual and self.depth < 2:
            found.append("residual does nothing with fewer than two hidden layers.")
        if self.layer_norm and self.depth and self.width == 1:
            found.append("LayerNorm of a single unit is 0 for every input: make the network wider.")
        return found


WATCHED = (*PROBES, *NEURON_PROBES, SPECTRUM)
Config = with_switches(Settings, WATCHED)

CATAPULT = {"loss": "mse", "optimizer": "sgd", "lr": 0.045, "depth": 1, "width": 128, "n_train": 100, "steps": 300}
EDGE = {"data": "sines", "optimizer": "sgd", "lr": 0.04, "activation": "tanh", "n_train": 100, "steps": 3000}
SPIKES = {"data": "sines", "lr": 0.02, "activation": "tanh", "n_train": 50, "steps": 3000}
CONDENSED = {"depth": 1, "width": 64, "init_exponent": 2.0, "steps": 500}
WRONG = {"data": "digits", "label_noise": 0.3, "lr": 0.003, "width": 64, "n_train": 500, "steps": 400}
PARITY = {"data": "parity", "loss": "mse", "optimizer": "adamw", "lr": 0.003, "weight_decay": 0.1, "n_train": 180}
PARITY |= {"depth": 1, "width": 128, "steps": 4000}
SMALL_OUTPUT = {"output_scale": 0.1, "lr": 1.0}
LAZY = {"loss": "mse", "optimizer": "sgd", "depth": 1, "width": 256, "n_train": 100, "steps": 400}
LAZY |= {"output_scale": 10.0, "lr": 1e-4}
DESCENT = {"data": "digits", "loss": "mse", "label_noise": 0.2, "lr": 0.003, "activation": "tanh", "n_train": 300}
DESCENT |= {"depth": 1, "width": 48, "steps": 2000}
DEAD = {"depth": 4, "width": 8, "lr": 1.0, "steps": 200}
EXPLODING = {"optimizer": "sgd", "depth": 4, "width": 64, "init_scale": 10.0, "steps": 200}

PRESETS = {
    "moons": Preset("Two moons: the border between the classes finds its way. Move anything."),
    "catapult": Preset(
        "A step too large for the start (Lewkowycz et al. 2020): the loss shoots up, and comes down where it is flat.",
        {**CATAPULT, "watch_sharpness": True},
    ),
    "edge_of_stability": Preset(
        "Plain gradient descent (Cohen et al. 2021): the sharpness climbs to 2/η and stays there.",
        {**EDGE, "watch_sharpness": True},
    ),
    "spikes": Preset(
        "Adam with its long memory β₂ (Bai et al. 2025): the loss spikes. Change β₂ to 0.9, or the optimizer.",
        {**SPIKES, "watch_preconditioned_sharpness": True},
    ),
    "condensation": Preset(
        "Small initial weights (Luo et al. 2021): the arrows of 64 neurons gather in a few directions.",
        {**CONDENSED, "watch_distinct_neurons": True},
    ),
    "wrong_labels": Preset(
        "Three of ten labels are wrong (Arpit et al. 2017): the right ones are fitted first, the wrong ones by heart.",
        {**WRONG, "watch_labels_fitted": True},
    ),
    "grokking": Preset(
        "The parity of three of ten bits (Zhou et al. 2024): the training samples by heart, the rule long after that.",
        {**PARITY, "watch_spectrum": True},
    ),
    "lazy": Preset(
        "Output times 10, η by 100 (Chizat et al. 2019): it learns, and its tangent kernel hardly moves.",
        {**LAZY, "watch_kernel_distance": True},
    ),
    "rich": Preset(
        "Output by 10, η times 100, all else as in the lazy one: the tangent kernel moves.",
        {**LAZY, **SMALL_OUTPUT, "watch_kernel_distance": True},
    ),
    "double_descent": Preset(
        "Noisy digits, just fitted (Belkin et al. 2019): with more units than 48, or fewer, the test loss is lower.",
        DESCENT,
    ),
    "dead_units": Preset(
        "Known bad: steps of 1 throw the weights so far that most ReLUs are off for every sample. They get no gradient "
        "any more, and nothing is learned. Lower η.",
        {**DEAD, "watch_dead_units": True},
    ),
    "exploding_start": Preset(
        "Known bad: five layers, each ten times too large, make the first outputs 100,000 times too large; the first "
        "steps are as much too long, and it diverges. Lower the initialization scale, or switch LayerNorm on.",
        {**EXPLODING, "watch_weight_norms": True},
    ),
}


# ---- Data, model, step ----


def network_of(config: Settings, data: Data) -> Network:
    """Two classes share one output, more have one each; numbers have as many as there are."""
    problem = data.problem
    return Network(
        inputs=problem.x.shape[2],
        outputs=1 if problem.classes == 2 else problem.outputs,
        depth=config.depth,
        width=config.width,
        activation=config.activation,
        residual=config.residual,
        norm=config.layer_norm,
        scale=config.output_scale,
    )


def loss_of(config: Settings, network: Network, data: Data) -> Loss:
    """mse for numbers and where it is asked for; cross-entropy, which with one output is the logistic loss."""
    if config.loss == "mse" or not data.problem.classes:
        return LOSSES["mse"]
    return LOSSES["logistic" if network.outputs == 1 else "cross_entropy"]


def initial_theta(configs: Sequence[Settings], seeds: Sequence[int], network: Network) -> Tensor:
    """The usual weights of `Network.initial_theta` times init_scale width^-init_exponent, (R, P)."""
    scale = per_run(configs, "init_scale") * float(configs[0].width) ** -per_run(configs, "init_exponent")  # (R,)
    return network.initial_theta(scale, Stream(seeds, "init"))


def simulate(
    configs: Sequence[Settings],
    seeds: Sequence[int],
    table: Table | None = None,
    probes: Sequence[Probe] = WATCHED,
) -> Iterator[Frame]:
    """Train R networks as `laboratory.training.train_network` does, on the data of `_data.load`."""
    data = load(configs, seeds, table)
    network = network_of(configs[0], data)
    start = initial_theta(configs, seeds, network)
    loss = loss_of(configs[0], network, data)
    return train_network(configs, seeds, network, start, data.problem, loss, probes)


# ---- What is measured, claims ----


FITTED, FOUND = 0.95, 0.9  # accuracy on the training data, and on the test data
RIGHT = 0.9  # share of the right labels


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, name -> (R,); NaN for "never" or "not measured".

    Of every recorded number NAME the last value, the first and the largest as NAME_start and NAME_peak, and the mean
    over the last quarter as NAME_late. loss_rise: the largest ratio of a loss to the lowest one before it, from a fifth
    of the steps on. Of classes t_train, t_test: first recorded steps with a training accuracy above .95, and with a
    test accuracy above .9; delay: their ratio. Where labels_fitted is watched right_fitted, wrong_fitted: shares at the
    end; wrong_by_right: that of the wrong ones when 90 % of the right ones are fitted.
    """
    found: dict[str, Array] = {}
    for name in history.names():
        values = history[name]  # (T, R, ...)
        if values.ndim == 2:
            found |= {name: values[-1], f"{name}_start": values[0], f"{name}_peak": np.fmax.reduce(values)}
            found[f"{name}_late"] = values[-(len(values) // 4 + 1) :].mean(0, dtype=np.float64)
    settled = history["loss"][len(history["loss"]) // 5 :]
    lowest = np.maximum(np.fmin.accumulate(settled), np.finfo(np.float32).tiny)
    found["loss_rise"] = np.fmax.reduce(settled / lowest)
    if "accuracy" in history:
        steps = history.at("accuracy")
        early = first_above(steps, history["accuracy"], FITTED)
        late = first_above(steps, history["test_accuracy"], FOUND)
        found |= {"t_train": early, "t_test": late, "delay": delay(late, early)}
    if "labels_fitted" in history:
        right, wrong = np.moveaxis(history["labels_fitted"], 2, 0)  # (T, R)
        found |= {"right_fitted": right[-1], "wrong_fitted": wrong[-1]}
        found["wrong_by_right"] = first_value(wrong, right >= RIGHT)
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def _by_limit(found: Metrics, config: Any) -> Array:
    """The mean sharpness of the last quarter over 2/lr, (R,)."""
    return np.asarray(found["sharpness_late"] * config.lr / 2)


def _flattened(found: Metrics, _: Any) -> Array:
    """The last sharpness over the first, (R,)."""
    return np.asarray(found["sharpness"] / found["sharpness_start"])


def _risen(found: Metrics, _: Any) -> Array:
    """The largest loss over the first, (R,)."""
    return np.asarray(found["loss_peak"] / found["loss_start"])


def _forgotten(found: Metrics, _: Any) -> Array:
    """How much of its best test accuracy a run has lost at the end, (R,)."""
    return np.asarray(found["test_accuracy_peak"] - found["test_accuracy"])


def _descent(runs: Sequence[Metrics]) -> Array:
    """Test loss of the middle one of three widths over the larger one of the others, (R,)."""
    narrow, middle, wide = (run["test_loss"] for run in runs)
    return np.asarray(middle / np.maximum(narrow, wide))


def widths(**changes: Any) -> Sweep:
    """The test loss of 48 hidden units over that of 8 and of 256."""
    return Sweep(tuple({"width": width, **changes} for width in (8, 48, 256)), _descent)


def _log_loss(history: History) -> Array:
    """log10 of the newest training loss, (R,)."""
    return np.asarray(np.log10(np.maximum(history.last("loss"), np.finfo(np.float32).tiny)))


SMALL_STEP = Control("η = 0.005", {"lr": 0.005})

CLAIMS = (
    Claim(
        id="catapult_rises",
        statement="With η between 2/λ and 4/λ, λ the first sharpness, the loss first more than doubles.",
        value=_risen,
        bound=above(2),
        where=defaults(**CATAPULT),
        preset="catapult",
        controls=(SMALL_STEP,),
    ),
    Claim(
        id="catapult_flattens",
        statement="And it ends where the sharpness is less than nine tenths of the first.",
        value=_flattened,
        bound=below(0.9),
        where=defaults(**CATAPULT, watch_sharpness=True),
        preset="catapult",
        controls=(SMALL_STEP,),
    ),
    Claim(
        id="at_the_edge",
        statement="In the last quarter the sharpness is, in the mean, 2/η to 5 %.",
        value=_by_limit,
        bound=between(0.95, 1.05),
        where=defaults(**EDGE, watch_sharpness=True),
        preset="edge_of_stability",
        controls=(Control("η = 0.01", {"lr": 0.01}, below(0.95)),),
    ),
    Claim(
        id="spikes",
        statement="In a spike the loss of Adam rises more than fiftyfold.",
        metric="loss_rise",
        bound=above(50),
        where=defaults(**SPIKES),
        preset="spikes",
        controls=(Control("β₂ = 0.9", {"beta2": 0.9}), Control("momentum", {"optimizer": "momentum"})),
    ),
    Claim(
        id="condensed",
        statement="The neurons end in fewer than 4 directions.",
        metric="distinct_neurons",
        bound=below(4),
        where=defaults(**CONDENSED, watch_distinct_neurons=True),
        preset="condensation",
        controls=(Control("usual initial weights", {"init_exponent": 0.0}),),
    ),
    Claim(
        id="right_first",
        statement="When 90 % of the right labels are fitted, less than 20 % of the wrong ones are.",
        metric="wrong_by_right",
        bound=below(0.2),
        where=defaults(**WRONG, watch_labels_fitted=True),
        preset="wrong_labels",
        controls=(Control("all labels at random", {"label_noise": 0.9}),),
    ),
    Claim(
        id="forgets",
        statement="Fitting the wrong labels costs more than 8 % of the test accuracy that there was.",
        value=_forgotten,
        bound=above(0.08),
        where=defaults(**WRONG),
        preset="wrong_labels",
        controls=(Control("no wrong labels", {"label_noise": 0.0}),),
    ),
    Claim(
        id="delay",
        statement="Test accuracy passes 0.9 at least 2.5 times as late as training accuracy passes 0.95.",
        metric="delay",
        bound=at_least(2.5),
        where=defaults(**PARITY),
        preset="grokking",
        controls=(
            Control("more samples: 614", {"n_train": 614}),
            Control("no weight decay", {"weight_decay": 0.0}),
        ),
    ),
    Claim(
        id="lazy",
        statement="The tangent kernel changes by less than 2 %.",
        metric="kernel_distance",
        bound=below(0.02),
        where=defaults(**LAZY, watch_kernel_distance=True),
        preset="lazy",
        controls=(Control("output by 10", SMALL_OUTPUT, above(0.1)),),
    ),
    Claim(
        id="double_descent",
        statement="With 48 units the test loss is more than 1.25 times that of 8 and of 256 units.",
        sweep=widths(),
        bound=above(1.25),
        where=defaults(**DESCENT),
        preset="double_descent",
        controls=(Control("no wrong labels", sweep=widths(label_noise=0.0)),),
    ),
    Claim(
        id="dies",
        statement="More than half of the units are dead at the end.",
        metric="dead_units",
        bound=above(0.5),
        where=defaults(**DEAD, watch_dead_units=True),
        preset="dead_units",
        controls=(Control("η = 0.01", {"lr": 0.01}),),
    ),
    Claim(
        id="learns_nothing",
        statement="The training loss ends where that of a guess is, at ln 2 to 6 %.",
        metric="loss",
        bound=between(0.65, 0.735),
        where=defaults(**DEAD),
        preset="dead_units",
        controls=(Control("η = 0.01", {"lr": 0.01}),),
    ),
    Claim(
        id="explodes",
        statement="It diverges within 20 steps.",
        metric=DIVERGED,
        bound=at_most(20),
        where=defaults(**EXPLODING),
        preset="exploding_start",
        controls=(Control("usual initial weights", {"init_scale": 1.0}),),
    ),
)


# ---- Figure ----


@lru_cache(maxsize=8)
def first_run(config: Settings, seed: int, table: Table | None) -> tuple[Data, Network]:
    """Data and network of one run; a figure asks for them several times a second."""
    data = load([config], [seed], table)
    return data, network_of(config, data)


def moment(history: History, table: Table | None) -> Moment:
    """The first run's network at the newest step; its weights are NaN as long as none are known."""
    config = history.config
    data, network = first_run(config, history.seeds[0], table)
    return Moment(network, newest_weights(history, network), data, logits=config.loss != "mse")


@own_state()
def panels(history: History, table: Table | None = None) -> list[Panel]:
    """Loss, accuracy, and for the first run its function and its neurons; a panel for each measurement that is on."""
    now = moment(history, table)
    classes = now.data.problem.classes
    label = "cross-entropy" if classes and now.logits else "mean squared error"
    return [
        loss_panel(history, label),
        *([accuracy_panel(history)] if classes else []),
        function_panel(now),
        neurons_panel(now),
        *(watched_panel(history, probe, now) for probe in watched(history, WATCHED)),
    ]


def watched_panel(history: History, probe: Probe, now: Moment) -> Panel:
    """The panel of one measurement."""
    if probe is SPECTRUM:
        return spectrum_panel(history, len(now.data.features))
    panel = probe_panel(probe, history, now.network)
    if probe.name == "labels_fitted" and not now.data.problem.classes:
        return replace(panel, marks=[], note="The targets are numbers: there are no labels to be fitted.")
    return panel


NETWORK = ("data", "loss", "depth", "width", "activation", "residual", "layer_norm", "output_scale")
NO_LINE = "The pinned run has another network, or learned something else: there is no line between the two."


@own_state()
def compare(history: History, pinned: History, table: Table | None = None) -> list[Panel]:
    """The loss along the straight line from the present weights to the last ones of the pinned run (first runs)."""
    title = "On the straight line to the pinned run"
    now, config = moment(history, table), history.config
    x, y = Axis("share of the pinned run's weights", range=(0, 1)), Axis("loss")
    if "theta" not in pinned or "theta" not in history or not same_function(history, pinned):
        return [Panel(title, x, y, note=NO_LINE)]
    problem, loss = now.data.problem, loss_of(config, now.network, now.data)
    there = torch.from_numpy(pinned.last("theta")[:1])  # (1, P)

    def line(name: str, inputs: Tensor, targets: Tensor, color: str) -> Line:
        along = along_segment(lambda theta: loss(now.network(theta, inputs), targets), there, now.theta)  # (1, A)
        values = along[0].double().numpy()
        return Line(f"{name}: barrier {barrier(values):.2g}", ALPHAS, values, color, markers="both")

    marks: list[Mark] = [
        line("training", problem.x, problem.y, TRAIN),
        line("test", problem.test_x, problem.test_y, TEST),
    ]
    return [Panel(title, x, y, marks)]


def same_function(history: History, pinned: History) -> bool:
    """Whether the pinned weights mean, in the present network and for its data, what they meant in their own."""
    now, then = history.config, pinned.config
    of_file = now.data == "file"
    if of_file and type(now) is not type(then):  # another file's
        return False
    fields = (*NETWORK, "target", "task") if of_file else NETWORK
    same = all(getattr(now, name) == getattr(then, name) for name in fields)
    return same and history.last("theta").shape[1:] == pinned.last("theta").shape[1:]


# ---- The record ----


LACKING = {
    "drop rows": "Rows that lack a value are dropped; among the settings, missing values can be filled instead.",
    "fill with the mean": "Missing values are filled with the mean of the training rows.",
}


def with_file(name: str, content: bytes) -> Experiment:
    """The laboratory with the table of a reader's file."""
    return laboratory(read_csv(name, content))


def settings_for(table: Table) -> type[config.Config]:
    """The same settings with those of a table before them."""

    class Columns(config.Config):
        """What is taken from a table."""

        target: str = choice(table.target, table.names, label="target", help="the column to be learned", main=True)
        task: str = choice(
            "guessed", ("guessed", *TASKS), label="task", help="what the target holds: classes, or numbers", main=True
        )
        test_share: float = number(0.25, 0.05, 0.9, label="test share", help="of all rows", structural=True)
        missing: str = choice(MISSING[0], MISSING, label="missing values", help="what becomes of rows that lack one")
        standardize: bool = switch(True, label="standardize", help="columns get mean 0 and standard deviation 1")

    class OfTable(Config, Columns):  # type: ignore[misc, valid-type]  # made while the program runs
        """Settings of one run of the laboratory on a table."""

        data: str = choice("file", (*SYNTHETIC, *REAL, "file"), label="data", help="what is to be learned", main=True)
        n_train: int = number(
            MOST_ROWS, 10, MOST_ROWS, label="training samples", help="at most", log=True, structural=True
        )

        def warnings(self) -> list[str]:
            """Also what was recognized in the table and left out."""
            found = super().warnings()
            if self.data == "file":
                found += table.notes
                if any(column.n_missing for column in table.columns):
                    found.append(LACKING[self.missing])
            return found

    return OfTable


def laboratory(table: Table | None = None) -> Experiment:
    """The experiment, with a reader's table if there is one."""
    return Experiment(
        name="laboratory.network",
        title="The laboratory",
        question="Does your own network, on your own data, do what the papers say?",
        seconds=1.0,
        config=settings_for(table) if table else Config,
        presets={"file": Preset("Your data, with the settings as they come.")} if table else PRESETS,
        simulate=partial(simulate, table=table),
        metrics=metrics,
        claims=() if table else CLAIMS,
        panels=partial(panels, table=table),
        map=Map(
            title="Where it learns",
            label="log<sub>10</sub> of the last training loss",
            x="lr",
            y="init_scale",
            xs=(1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0),
            ys=(0.03, 0.1, 0.3, 1.0, 3.0),
            simulate=partial(simulate, table=table, probes=()),
            value=_log_loss,
        ),
        file=with_file,
        compare=partial(compare, table=table),
        network=lambda history: moment(history, table).network.plain,
    )


EXPERIMENT = laboratory()
