"""`own`: a network, data, a loss, an optimizer and measurements of the reader's own as an experiment."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.own_state import own_state
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Sgd
from dyntoolkit.errors import InputError, problem_words, unknown
from dyntoolkit.experiment import Config, Experiment
from dyntoolkit.experiment.record import last_values
from dyntoolkit.figure.panels import Panel
from dyntoolkit.laboratory import function_panel as function
from dyntoolkit.laboratory.built_in import PROBES
from dyntoolkit.laboratory.losses import Loss
from dyntoolkit.laboratory.own_data import OwnData, own_data
from dyntoolkit.laboratory.own_loss import own_loss
from dyntoolkit.laboratory.own_module import Network, OwnModule, own_module
from dyntoolkit.laboratory.own_probe import COST, own_probes
from dyntoolkit.laboratory.panels import accuracy_panel, loss_panel, probe_panel, watched
from dyntoolkit.laboratory.probe import Moment, Probe, with_switches
from dyntoolkit.laboratory.problem import Problem, shared, with_noise
from dyntoolkit.laboratory.training import OPTIMIZERS, Training, Update, train_network

Tensor = torch.Tensor
Rule = tuple[Callable[[Tensor], Any], Update]

MANY, BATCH = 1000, 64  # training samples from which on a step sees a batch of them, and how many
TRIED = 4  # samples on which a network is tried
# What a rule of the reader's own has no use for, and what stands in its place for those who ask.
OF_NAMED_RULES = {"optimizer": "own", "weight_decay": 0.0, "momentum": math.nan, "beta2": math.nan, "eps": math.nan}
OF_NAMED_RULES |= {"rho": math.nan}
NEED_A_NAMED_RULE = ("preconditioned_sharpness", "gradient_curvature")


def own(
    model: nn.Module | type[nn.Module] | Callable[..., nn.Module],
    data: Any,
    *,
    target: str | None = None,
    loss: str | Callable[[Tensor, Tensor], Tensor] | None = None,
    optimizer: str | Callable[[Any, Tensor, Tensor], Any] = "adam",
    probes: Iterable[Any] = (),
    sliders: Mapping[str, Any] | None = None,
    name: str = "own",
) -> Experiment:
    """The experiment of a network of your own on data of your own: for `explore`, `run`, `check` and the command line.

    model: a torch.nn.Module class, a function that makes one, or an instance. Each run makes its own from its seed, as
    after torch.manual_seed(seed), and multiplies its weights by `init_scale` (no gains and shifts of normalizations);
    an instance is the same in all runs. sliders: argument of the class -> (low, high), or `number(...)`,
    `choice(...)`; without sliders each argument whose default is a number or a truth value gets one.
    data: (X, y), or (X, y, test_X, test_y), of arrays, tensors or lists, X (n, *sample), such as images (n, c, h, w);
    a torch Dataset; a pandas frame or the path of a CSV file, of which `target` is the column to learn, and which are
    standardized. Without data to test on a fifth of the rows is taken for it.
    loss: "mse", "cross_entropy", "logistic", or a function of the output (n, k) and the targets of one run, (n, k) or
    classes (n,), that gives one number. Default: the usual one for the data.
    optimizer: a name, or an update (state, gradient (R, P), lr (R, 1)) -> state, such as `adam`; the annotation of its
    first argument says what state it needs, without one it is `Sgd`.
    probes: what is measured from the start: of `dyntoolkit.probes` what the laboratory knows, functions
    (theta (R, P), model, data) -> (R,), functions (output, target) of one run -> a number, or a `Probe`. The other
    probes of the laboratory can be switched on.

    Raises InputError, which says what to write in its place, for anything that cannot be trained.

    >>> X = torch.linspace(-1, 1, 50)[:, None]
    >>> line = own(torch.nn.Linear(1, 1), (X, 2 * X), probes=["sharpness"])
    >>> run(line, steps=100, lr=0.1, seeds=2)["loss"].sizes["step"]
    101
    """
    if isinstance(optimizer, str) and optimizer not in OPTIMIZERS:
        raise unknown("optimizer", optimizer, (*OPTIMIZERS, "an update"))
    with own_state():
        made, found = own_module(model, sliders), own_data(data, target, loss)
        rule = None if isinstance(optimizer, str) else own_rule(optimizer)
        known = [probe for probe in PROBES if _can_be_measured(probe, found, rule)]
        on = own_probes(probes, known)
        offered = [*on, *(probe for probe in known if probe not in on)]
        config = with_switches(_settings(made, found, optimizer, rule), offered, on)
        network = OwnNetwork(made, found, loss, rule, offered)
        network.try_out(config())
    return Experiment(
        name,
        config,
        network.simulate,
        title=made.name,
        question=_question(made, found),
        metrics=network.metrics,
        panels=network.panels,
        network=lambda history: network.model(history.config, history.seeds)[0],
    )


@dataclasses.dataclass(frozen=True, eq=False)
class OwnNetwork:
    """What trains and is measured: the module, its data, its loss, its rule (None for one by name) and all probes."""

    module: OwnModule
    data: OwnData
    loss: Any
    rule: Rule | None
    probes: Sequence[Probe]
    _networks: dict[tuple[Any, ...], Network] = dataclasses.field(default_factory=dict)

    def model(self, config: Any, seeds: Sequence[int] = (0,)) -> tuple[Network, Tensor, Loss]:
        """Network, initial weights (R, P) before they are scaled, and loss, for these settings; InputError if wrong."""
        network, theta = self.module.start(config, seeds, self.data.x[:TRIED])
        output = network(theta[:1] if not network.constants else theta, self.data.x[:TRIED])
        if output.ndim != 3:
            raise InputError(
                f"model: {self.module.name} gives {tuple(output.shape[1:])} for {output.shape[1]} samples; it must "
                "give a number or a row of numbers for each.",
                "model",
            )
        y = self.data.y[:TRIED].expand(len(output), *self.data.y[:TRIED].shape)
        return network, theta, own_loss(self.loss, output, y, self.data.classes)

    def try_out(self, config: Any) -> None:
        """Measure once, on a few samples of two runs; InputError for what cannot be trained or measured."""
        network, theta, loss = self.model(config, (0, 1))
        x, y = self.data.x[:TRIED], self.data.y[:TRIED]
        moment = Moment(0, theta, theta, None, network, shared(x, y, x, y, self.data.classes, 2), loss, [config] * 2)
        for probe in self.probes:
            if probe.cost == COST:
                probe.measure(moment)

    def simulate(self, configs: Sequence[Any], seeds: Sequence[int]) -> Generator[Frame, Any, None]:
        """Frames of len(configs) runs."""
        network, theta, loss = self.model(configs[0], seeds)
        scale = per_run(configs, "init_scale", ndim=2)  # (R, 1)
        start = torch.where(network.scalable(), scale * theta, theta)
        problem = self.problem(configs, seeds)
        if callable(self.loss) and loss(network(start, problem.x), problem.y).isnan().any():
            what = getattr(self.loss, "__name__", type(self.loss).__name__)
            raise InputError(f"loss: {what} gives NaN at the start, for all {len(self.data.x):,} samples.", "loss")
        return train_network(configs, seeds, network, start, problem, loss, self.probes, self.rule)

    def problem(self, configs: Sequence[Any], seeds: Sequence[int]) -> Problem:
        """The data of all runs, with noise that is drawn once."""
        data = self.data
        problem = shared(data.x, data.y, data.test_x, data.test_y, data.classes, len(seeds))
        if configs[0].fresh_noise:
            return problem
        return with_noise(problem, configs, Stream(seeds, "label noise" if data.classes else "target noise"))

    def metrics(self, history: History) -> dict[str, Array]:
        """All last values, (R,) each; those of the outputs on the training and, called test_NAME, on the test data."""
        found = last_values(history)
        for probe in self.probes:
            if probe.cost == COST and probe.lines is not None and probe.name in history:
                found[probe.name], found[f"test_{probe.name}"] = history.last(probe.name).T
        return found

    def panels(self, history: History) -> list[Panel]:
        """Loss, accuracy of classes, the function over one or two inputs, and what is measured."""
        found = [loss_panel(history)]
        if self.data.classes:
            found.append(accuracy_panel(history))
        with own_state():
            network = self._network(history)
            if len(self.data.features) in (1, 2) and (self.data.classes or self.data.y.shape[1] == 1):
                found.append(function.function_panel(self._shown(history, network)))
        return [*found, *(probe_panel(probe, history, network) for probe in watched(history, self.probes))]

    def _shown(self, history: History, network: Network) -> function.Moment:
        """What the first run's network is by now."""
        problem = self.problem(history.configs[:1], history.seeds[:1])
        data = function.named(problem, self.data.features, self.data.target, self.data.names)
        return function.Moment(network, function.newest_weights(history, network), data, logits=self.loss != "mse")

    def _network(self, history: History) -> Network:
        """The network of the first run; made once."""
        key = (history.seeds[0], *(getattr(history.config, name) for name in self.module.arguments))
        if key not in self._networks:
            self._networks[key] = self.model(history.config, history.seeds[:1])[0]
        return self._networks[key]


def own_rule(update: Any) -> Rule:
    """The state that a reader's update begins with, and the update; InputError for what does not work as one."""
    if issubclass(update if isinstance(update, type) else type(update), torch.optim.Optimizer):
        raise InputError(
            f"optimizer: one of torch.optim changes weights in place, which runs cannot: take {', '.join(OPTIMIZERS)} "
            "by name, or write an update (state, gradient, lr) -> state.",
            "optimizer",
        )
    if not callable(update):
        raise InputError(f"optimizer takes one of {', '.join(OPTIMIZERS)}, or an update; got {update!r}.", "optimizer")
    name = getattr(update, "__name__", type(update).__name__)

    def step(state: Any, gradient: Tensor, lr: Tensor) -> Any:
        return update(state, gradient, lr.to(gradient.dtype)[:, None])

    weights = torch.ones(2, 3, dtype=torch.float32)
    try:
        kind = next(iter(inspect.signature(update, eval_str=True).parameters.values())).annotation
        begin: Callable[[Tensor], Any] = Sgd if kind in (inspect.Parameter.empty, Any) else getattr(kind, "start", kind)
        before = begin(weights)
        after = step(before, weights, torch.full((2,), 0.1, dtype=torch.float64))
    except Exception as problem:  # of anybody's code
        raise InputError(
            f"optimizer: {name} fails on weights (2, 3): {problem_words(problem)}", "optimizer"
        ) from problem
    looks = [[(leaf.shape, leaf.dtype) for leaf in leaves] for leaves in (before, after) if isinstance(leaves, tuple)]
    if len(looks) != 2 or looks[0] != looks[1]:
        raise InputError(
            f"optimizer: {name} must give a {type(before).__name__}, with parts of the shapes that it was given.",
            "optimizer",
        )
    return begin, step


def _can_be_measured(probe: Probe, data: OwnData, rule: Rule | None) -> bool:
    if probe.name == "labels_fitted":
        return data.classes > 0
    return rule is None or probe.name not in NEED_A_NAMED_RULE


def _settings(module: OwnModule, data: OwnData, optimizer: Any, rule: Rule | None) -> type[Any]:
    """The settings: arguments of the module, then those of `Training` that mean something here."""
    unused: dict[str, Any] = {"target_noise": 0.0} if data.classes else {"label_noise": 0.0}
    unused |= {} if rule is None else OF_NAMED_RULES
    defaults = {"optimizer": optimizer, "batch_size": BATCH if len(data.x) > MANY else 0}
    fields = dict(module.arguments)
    for field in dataclasses.fields(Training):
        if field.name in fields:
            raise InputError(
                f"model: {module.name} has an argument {field.name!r}, a setting of the training: call it otherwise.",
                "model",
            )
        if field.name not in unused:
            default = defaults.get(field.name, field.default)
            fields[field.name] = dataclasses.field(default=default, metadata=field.metadata)
    notes = list(data.notes)
    described = {
        "__annotations__": {name: type(field.default) for name, field in fields.items()},
        "__module__": __name__,
        "__doc__": _question(module, data),
        "warnings": lambda config: notes,
    }
    return type("Settings", (Config,), {**described, **unused, **fields})


def _question(module: OwnModule, data: OwnData) -> str:
    shape = " x ".join(map(str, data.x.shape[1:]))
    what = (
        f"{data.classes} classes"
        if data.classes
        else f"{data.y.shape[1]} numbers"
        if data.y.shape[1] > 1
        else "a number"
    )
    return f"How does {module.name} learn {what} from {len(data.x):,} samples of {shape} numbers?"
