"""The figure of `cross_task_linearity.decentralized`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import BLUE, GREEN, GREY, ORANGE, RED, SKY, Axis, Line, Mark, Panel, Spans
from dyntoolkit.figure.recorded import recorded, recorded_line
from dyntoolkit.phenomena.cross_task_linearity.decentralized_config import Config


def panels(history: History) -> list[Panel]:
    """Accuracies with the full rounds shaded; consensus; messages."""
    config: Config = history.config
    step = Axis("local steps of a node", range=(0, config.steps))
    share = Axis("test accuracy", range=(0, 1))
    return [
        Panel(
            "Nodes, and the average of all",
            step,
            share,
            [
                recorded_line(history, "local_acc", "nodes, mean", BLUE),
                recorded_line(history, "merged_acc", "average of all weights", RED),
                _final(history),
                full_rounds(config),
            ],
        ),
        Panel("Every node", step, share, _nodes(history)),
        Panel(
            "Spread of the nodes around their average",
            step,
            Axis("distance / norm", log=True),
            [recorded_line(history, "consensus", "root mean square", GREEN, start=1)],
        ),
        Panel("Budget", step, Axis("models sent"), [recorded_line(history, "messages", "messages so far", ORANGE)]),
    ]


def full_rounds(config: Config) -> Spans:
    """The steps after which all nodes take the average of all, one round wide; wide enough to be seen."""
    rounds = np.array(config.full_rounds, dtype=float)
    ends = (rounds + 1) * config.local_steps
    if config.schedule == "full":  # one stretch
        ends = ends[-1:]
        return Spans("all average", np.zeros(1), ends, ORANGE)
    return Spans("all average", ends - config.local_steps, ends, ORANGE)


def _final(history: History) -> Line:
    """The nodes after the last averaging, as a point at the end."""
    if "final_local_acc" not in history:
        return Line("nodes after the last averaging", np.empty(0), np.empty(0), SKY, markers="points")
    last = history.last("final_local_acc")
    return Line("nodes after the last averaging", np.full(len(last), history.step), last, SKY, markers="points")


def _nodes(history: History) -> list[Mark]:
    """A line for each node of the first run."""
    config: Config = history.config
    steps, values = recorded(history, "node_acc")
    known = values[:, 0] if values.ndim > 2 else np.empty((0, config.n_nodes))
    return [Line("a node", steps, known[:, k], GREY, width=1.0, legend=k == 0) for k in range(config.n_nodes)]
