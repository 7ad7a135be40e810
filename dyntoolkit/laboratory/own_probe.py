"""A reader's own measurement: a function of weights, network and data, or of outputs and targets."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from dyntoolkit.errors import InputError, unknown
from dyntoolkit.laboratory.probe import Moment, Probe

Tensor = torch.Tensor

TAKEN = ("loss", "test_loss", "accuracy", "test_accuracy", "theta")  # what is recorded anyway
OTHER_NAMES = {  # of dyntoolkit.probes -> what measures it here
    "gradient_noise_scale": "noise_scale",
    "kernel_change": "kernel_distance",
    "relative_distance": "distance",
}
COST = "your own"


def own_probes(probes: Iterable[Any], known: Sequence[Probe]) -> list[Probe]:
    """The measurements that a reader asks for; InputError for what is none, and for names that are taken.

    probes: functions (see `own_probe`), a `Probe`, or one of `known` by its name or its function in dyntoolkit.probes.
    """
    if callable(probes) or isinstance(probes, str | Probe):
        probes = [probes]
    found = [own_probe(probe, known) for probe in probes]
    names = [probe.name for probe in found]
    for probe in found:
        other = any(one.name == probe.name and one is not probe for one in known)
        if probe.name in TAKEN or names.count(probe.name) > 1 or other:
            raise InputError(f"probes: the name {probe.name!r} is taken; give yours another one.", "probes")
    return found


def own_probe(probe: Any, known: Sequence[Probe]) -> Probe:
    """One measurement.

    A function (theta, model, data) gives one number for each run, (R,): theta (R, P) are the weights, model(theta, x)
    the outputs (R, n, k), data the inputs and targets (x, y, test_x, test_y). A function (output, target) gives one
    number for the output (n, k) and the targets of one run; it is measured on the training and on the test data.
    """
    names = {one.name: one for one in known}
    if isinstance(probe, Probe):
        return probe
    if isinstance(probe, str) or (getattr(probe, "__module__", None) or "").startswith("dyntoolkit.probes"):
        name = probe if isinstance(probe, str) else probe.__name__
        name = OTHER_NAMES.get(name, name)
        if name not in names:
            raise unknown("probe", name, names)
        return names[name]
    if not callable(probe) or isinstance(probe, type):
        raise InputError(f"probes takes functions, dt.probes and dt.Probe; got {probe!r}.", "probes")
    name = getattr(probe, "__name__", type(probe).__name__)
    if not name.isidentifier():
        raise InputError(f"probes: {name} has no name to show; write it with def, or dt.Probe.", "probes")
    label, count = name.replace("_", " "), _arguments(probe, name)
    if count == 2:
        return Probe(name, label, COST, lambda moment: _of_outputs(probe, moment), lambda model: ("training", "test"))
    return Probe(name, label, COST, lambda moment: _of_weights(probe, name, moment))


def _arguments(probe: Callable[..., Any], name: str) -> int:
    """How many arguments without a default it takes, 2 or 3."""
    try:
        parameters = inspect.signature(probe).parameters.values()
    except ValueError as problem:  # of a function in C
        raise InputError(f"probes: {name} does not say what it takes; call it in a function.", "probes") from problem
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(p.kind in kinds and p.default is p.empty for p in parameters)
    if count not in (2, 3):
        raise InputError(
            f"probes: {name} takes {count} arguments; a probe takes (theta, model, data) or (output, target).", "probes"
        )
    return count


def _of_weights(probe: Callable[..., Any], name: str, moment: Moment) -> Tensor:
    found = torch.as_tensor(probe(moment.theta.clone(), moment.model, moment.problem))
    if found.shape != moment.theta.shape[:1]:
        raise InputError(
            f"probes: {name} gives the shape {tuple(found.shape)}; it must be one number for each of the "
            f"{len(moment.theta)} runs, ({len(moment.theta)},).",
            "probes",
        )
    return found.detach()


def _of_outputs(probe: Callable[..., Any], moment: Moment) -> Tensor:
    problem, columns = moment.problem, []
    for x, y in ((problem.x, problem.y), (problem.test_x, problem.test_y)):
        output = moment.model(moment.theta, x).detach()
        columns.append([_one(probe(*pair), probe) for pair in zip(output, y, strict=True)])
    return torch.tensor(columns, dtype=torch.float64).T  # (R, 2)


def _one(value: Any, probe: Callable[..., Any]) -> float:
    """A number of anybody's code."""
    try:
        found = float(value)
    except (TypeError, ValueError, RuntimeError) as problem:
        got = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise InputError(f"probes: {probe.__name__} gives {got}, and must give one number.", "probes") from problem
    return found if math.isfinite(found) else math.nan
