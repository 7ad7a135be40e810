"""What is measured of a network while it trains, and may be switched on and off meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from dyntoolkit.experiment.config import Config, switch
from dyntoolkit.laboratory.problem import Problem

Tensor = torch.Tensor


class Model(Protocol):
    """A network on the run axis: theta (R, P), and x (n, *sample) or (R, n, *sample), give outputs (R, n, k)."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Parameter name -> its shape, in the order in which a row of theta holds them."""

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """The outputs (R, n, k)."""
        ...


class Moment(NamedTuple):
    """All that is known at a step of a training of R runs.

    step: updates so far. theta, start: weights now and at first (R, P). state: of the update rule. configs: of the
    runs. loss(output, y) -> (R,).
    """

    step: int
    theta: Tensor
    start: Tensor
    state: Any
    model: Model
    problem: Problem
    loss: Callable[[Tensor, Tensor], Tensor]
    configs: Sequence[Any]


@dataclass(frozen=True)
class Probe:
    """A measurement: a moment in, one number per run (R,) out, or several (R, m). It changes nothing.

    name: under which it is recorded; the switch in the settings is called `watch_<name>`. label: its name on the
    screen, with the unit if it has one. cost: what one measurement costs, in words, such as "about 40 gradients".
    lines(model): names of the m numbers. level(config): where a dashed line stands for comparison, NaN for none, and
    level_label what it means. log: its axis is logarithmic.

    >>> Probe("size", "size of the weights", "no gradient", lambda moment: moment.theta.norm(dim=1)).field
    'watch_size'
    """

    name: str
    label: str
    cost: str
    measure: Callable[[Moment], Tensor]
    lines: Callable[[Model], Sequence[str]] | None = None
    level: Callable[[Any], float] | None = None
    level_label: str = ""
    log: bool = False

    @property
    def field(self) -> str:
        """The name of the switch in the settings."""
        return f"watch_{self.name}"


def with_switches(config: type[Config], probes: Sequence[Probe], on: Sequence[Probe] = ()) -> type[Any]:
    """The same settings and a switch for each probe, to be moved in the middle of a run; `on` begin switched on.

    >>> size = Probe("size", "size of the weights", "no gradient", lambda moment: moment.theta.norm(dim=1))
    >>> with_switches(Config, [size])(watch_size=True)
    Config(watch_size=True)
    """
    fields: dict[str, Any] = {
        probe.field: switch(probe in on, live=True, label=f"{probe.label.split(' (')[0]} ({probe.cost})")
        for probe in probes
    }
    described = {
        "__annotations__": dict.fromkeys(fields, bool),
        "__module__": config.__module__,
        "__doc__": config.__doc__,
    }
    return type(config.__name__, (config,), described | fields)
