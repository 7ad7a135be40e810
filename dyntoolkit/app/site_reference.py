"""The pages of the static site that are made from the code: every claim, and the public names."""

import inspect
import re
from collections.abc import Iterable, Iterator

import dyntoolkit
from dyntoolkit import probes
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.claims import Claim, Control, Settings, anywhere

TOPICS = {  # room -> what its public names are for
    "experiment": "To describe an experiment",
    "catalog": "To find, run and sweep experiments",
    "dashboard": "In a notebook",
    "engine": "To train",
    "laboratory": "Your own network and data",
    "figure": "Figures",
}


def claims_reference(experiments: Iterable[Experiment]) -> str:
    """Every claim with threshold, settings and controls, in MyST."""
    return "\n".join(line for experiment in experiments for line in _claims_of(experiment))


def _claims_of(experiment: Experiment) -> Iterator[str]:
    if not experiment.claims:
        return
    yield f"## {_plain(experiment.title)}\n"
    paper = f" From [arXiv:{experiment.paper}](https://arxiv.org/abs/{experiment.paper})." if experiment.paper else ""
    yield f"`{experiment.name}`. {_plain(experiment.question)}{paper}\n"
    for claim in experiment.claims:
        yield f"- **{_plain(claim.id)}**: {_plain(claim.statement)}"
        yield f"  Judged by {_number(claim)}: {_plain(str(claim.bound))}. Expected {_plain(_where(claim))}."
        yield from (f"  - Control {_plain(_control(claim, control))}" for control in claim.controls)
    yield ""


def _number(claim: Claim) -> str:
    if claim.metric:
        return f"`{claim.metric}`"
    return f"a number over {len(claim.sweep.changes)} runs" if claim.sweep else "a number made of several metrics"


def _where(claim: Claim) -> str:
    shown = f" (preset {claim.preset})" if claim.preset else ""
    if claim.where is anywhere:
        return f"everywhere{shown}"
    if isinstance(claim.where, Settings):
        return f"at {claim.where}{shown}"
    rule = inspect.getdoc(claim.where)
    return f"{'where this is so: ' + rule.rstrip('.') if rule else 'where a rule in the source says so'}{shown}"


def _control(claim: Claim, control: Control) -> str:
    bound = str(control.bound) if control.bound else f"not {claim.bound}"
    changes = ", ".join(f"{name} {value}" for name, value in control.changes.items())
    return f"{control.label}{f' ({changes})' if changes else ''}: must be {bound}"


def names_reference() -> str:
    """The public names with their docstrings, by topics, in MyST."""
    homes = {name: home.split(".")[0] for name, home in dyntoolkit._HOME.items()}
    parts = []
    for room in dict.fromkeys(homes.values()):
        parts.append(f"## {TOPICS[room]}\n")
        parts += [_described("dyntoolkit", name) for name, own in homes.items() if own == room]
    parts.append("## Measurements: `dyntoolkit.probes`\n")
    parts += [_described("dyntoolkit.probes", name) for name in probes.__all__]
    return "\n".join(parts)


def _described(module: str, name: str) -> str:
    thing = getattr(probes if module.endswith("probes") else dyntoolkit, name)
    if inspect.isclass(thing):
        members = "" if issubclass(thing, tuple) else "\n   :members:"
        return f"```{{eval-rst}}\n.. autoclass:: {module}.{name}{members}\n```\n"
    kind = "autofunction" if callable(thing) else "autodata"
    return f"```{{eval-rst}}\n.. {kind}:: {module}.{name}\n```\n"


def _plain(text: str) -> str:
    """A text in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>$~^-])", r"\\\1", text)
