"""The laboratory: does your network, on your data, do what the papers say?

A network of any depth, with or without residual connections and layer normalization, learns synthetic data of known
structure, real data, or a file of the reader's own, by any of six update rules; and whatever of it can be measured is
switched on and off while it trains. The presets are the toolkit's phenomena found again by settings alone; where one
has a claim, the number behind it is that of the paper it names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.own_state import own_state
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Claim, Experiment, Preset, choice, config, number, switch
from dyntoolkit.figure.panels import TEST, TRAIN, Axis, Line, Mark, Panel
from dyntoolkit.laboratory.built_in import NEURON_PROBES, PROBES
from dyntoolkit.laboratory.csv_table import read_csv
from dyntoolkit.laboratory.losses import LOSSES, Loss
from dyntoolkit.laboratory.panels import accuracy_panel, loss_panel, probe_panel, watched
from dyntoolkit.laboratory.probe import Probe, with_switches
from dyntoolkit.laboratory.real_data import REAL
from dyntoolkit.laboratory.tables import MISSING, MOST_ROWS, TASKS, Table
from dyntoolkit.laboratory.training import Training, train_network
from dyntoolkit.phenomena.laboratory import _pictures as pictures
from dyntoolkit.phenomena.laboratory._data import NUMBERS, SYNTHETIC, Data, load
from dyntoolkit.phenomena.laboratory._network import Network
from dyntoolkit.phenomena.laboratory._spectrum import SPECTRUM, spectrum_panel
from dyntoolkit.probes.barrier import ALPHAS, along_segment, barrier

Tensor = torch.Tensor

# ---- Settings and presets ----


class Task(config.Config):
    """What is to be learned, and the network that learns it."""

    data: str = choice("moons", (*SYNTHETIC, *REAL, "file"), label="data", help="what is to be learned", main=True)
    depth: int = number(2, 0, 4, label="hidden layers", help="0: a linear network", structural=True, main=True)
    width: int = number(32, 1, 512, label="width", help="units of a hidden layer", log=True, structural=True, main=True)
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
        """The product takes no more bits than there are."""
        if self.parity_bits > self.n_bits:
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

PRESETS = {
    "moons": Preset("Two moons: see the border between the classes find its way."),
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


def simulate(configs: Sequence[Settings], seeds: Sequence[int], table: Table | None = None) -> Iterator[Frame]:
    """Train R networks as `laboratory.training.train_network` does, on the data of `_data.load`."""
    data = load(configs, seeds, table)
    network = network_of(configs[0], data)
    start = initial_theta(configs, seeds, network)
    loss = loss_of(configs[0], network, data)
    return train_network(configs, seeds, network, start, data.problem, loss, WATCHED)


# ---- What is measured, claims ----


def metrics(history: History) -> dict[str, Array]:
    """Of every recorded number per run NAME: the last value, and as NAME_start and NAME_peak the first and the largest.

    Where labels_fitted is watched also right_fitted and wrong_fitted, the last values. Each (R,).
    """
    found: dict[str, Array] = {}
    for name in history.names():
        values = history[name]  # (T, R, ...)
        if values.ndim == 2:
            found |= {name: values[-1], f"{name}_start": values[0], f"{name}_peak": np.fmax.reduce(values)}
    if "labels_fitted" in history:
        found |= dict(zip(("right_fitted", "wrong_fitted"), history.last("labels_fitted").T, strict=True))
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


CLAIMS: tuple[Claim, ...] = ()

# ---- Figure ----


@lru_cache(maxsize=8)
def first_run(config: Settings, seed: int, table: Table | None) -> tuple[Data, Network]:
    """Data and network of one run; a figure asks for them several times a second."""
    data = load([config], [seed], table)
    return data, network_of(config, data)


def moment(history: History, table: Table | None) -> pictures.Moment:
    """The first run's network at the newest step; its weights are NaN as long as none are known."""
    config = history.config
    data, network = first_run(config, history.seeds[0], table)
    if "theta" in history:
        theta = torch.from_numpy(history.last("theta")[:1])  # (1, P)
    else:
        theta = torch.full((1, network.parameters), torch.nan, dtype=torch.float32)
    return pictures.Moment(network, theta, data, logits=config.loss != "mse")


@own_state()
def panels(history: History, table: Table | None = None) -> list[Panel]:
    """Loss, accuracy, and for the first run its function and its neurons; a panel for each measurement that is on."""
    now = moment(history, table)
    classes = now.data.problem.classes
    label = "cross-entropy" if classes and now.logits else "mean squared error"
    return [
        loss_panel(history, label),
        *([accuracy_panel(history)] if classes else []),
        pictures.function_panel(now),
        pictures.neurons_panel(now),
        *(watched_panel(history, probe, now) for probe in watched(history, WATCHED)),
    ]


def watched_panel(history: History, probe: Probe, now: pictures.Moment) -> Panel:
    """The panel of one measurement."""
    if probe is SPECTRUM:
        return spectrum_panel(history, len(now.data.features))
    panel = probe_panel(probe, history, now.network)
    if probe.name == "labels_fitted" and not now.data.problem.classes:
        return replace(panel, marks=[], note="The targets are numbers: there are no labels to be fitted.")
    return panel


@own_state()
def compare(history: History, pinned: History, table: Table | None = None) -> list[Panel]:
    """The loss along the straight line from the present weights to the last ones of the pinned run (first runs)."""
    title = "On the straight line to the pinned run"
    now, config = moment(history, table), history.config
    x, y = Axis("share of the pinned run's weights", range=(0, 1)), Axis("loss")
    if "theta" not in pinned or "theta" not in history or not same_shapes(history, pinned):
        return [Panel(title, x, y, note="The pinned network has another shape: there is no line between the two.")]
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


def same_shapes(history: History, pinned: History) -> bool:
    """Whether the weights of both mean the same."""
    fields = ("depth", "width", "layer_norm")
    same = all(getattr(history.config, name) == getattr(pinned.config, name) for name in fields)
    return same and history.last("theta").shape[1:] == pinned.last("theta").shape[1:]


# ---- The record ----


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
        file=with_file,
        compare=partial(compare, table=table),
    )


EXPERIMENT = laboratory()
