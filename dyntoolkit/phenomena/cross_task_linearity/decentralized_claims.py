"""Metrics and claims of `cross_task_linearity.decentralized`."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above
from dyntoolkit.phenomena.cross_task_linearity.decentralized_config import APART, Config


def metrics(history: History) -> dict[str, Array]:
    """Of the newest frame, name -> (R,).

    local_acc, merged_acc: before the averaging of that round; merge_gain: their difference. final_local_acc: mean
    accuracy of the nodes after the last averaging (NaN before). consensus: their spread. messages: models sent.
    """
    never = np.full(len(history.seeds), np.nan)
    local, merged = history.last("local_acc"), history.last("merged_acc")
    return {
        "local_acc": local,
        "merged_acc": merged,
        "merge_gain": merged - local,
        "final_local_acc": history.last("final_local_acc") if "final_local_acc" in history else never,
        "consensus": history.last("consensus"),
        "messages": history.last("messages"),
    }


def _late_minus_early(rows: Sequence[Metrics]) -> Array:
    """What the last nodes are better by if the window is late, (R,)."""
    return np.asarray(rows[0]["final_local_acc"] - rows[1]["final_local_acc"])


def _measured(c: Config) -> bool:
    """Where it was measured: the defaults, with gossip of .05 to .5 or none at all."""
    if c.replace(schedule="gossip_merge") != Config().replace(gossip_prob=c.gossip_prob):
        return False
    return c.schedule == "gossip_merge" and 0.05 <= c.gossip_prob <= 0.5


def _windows(c: Config) -> bool:
    """The schedule is what the sweep changes."""
    return c.replace(schedule="gossip_merge", gossip_prob=0.2) == Config()


CLAIMS = (
    Claim(
        id="final_merge_gain",
        statement="One average of all at the end is better than its nodes by over 12 points.",
        metric="merge_gain",
        bound=above(0.12),
        where=_measured,
        controls=(
            Control("even data", {"dirichlet_beta": 100.0}),
            Control("silent nodes, different starts", APART),
        ),
    ),
    Claim(
        id="late_beats_early",
        statement="Three full rounds at the end leave better nodes than three at the start, by over 15 points.",
        metric="final_local_acc",
        bound=above(0.15),
        where=_windows,
        sweep=Sweep(({"schedule": "late"}, {"schedule": "early"}), _late_minus_early),
    ),
)
