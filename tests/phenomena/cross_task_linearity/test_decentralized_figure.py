"""What the figure of the decentralized training shows."""

import numpy as np
import pytest
from run_together import run_together

from dyntoolkit.figure.panels import Line, Spans
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena.cross_task_linearity.decentralized import EXPERIMENT, Config

TINY = Config(n_nodes=5, rounds=11, local_steps=3, batch_size=8, width=16, depth=1, dirichlet_beta=1.0)


def test_curves_are_medians_of_what_was_recorded() -> None:
    history = run_together(EXPERIMENT, [TINY] * 2, [0, 1])
    accuracies, nodes, spread, budget = EXPERIMENT.panels(history)
    local, merged, final, _ = accuracies.marks
    for mark, name in ((local, "local_acc"), (merged, "merged_acc"), (budget.marks[0], "messages")):
        assert isinstance(mark, Line)
        assert mark.x.tolist() == [0, 6, 12, 18, 24, 30, 33]
        np.testing.assert_allclose(mark.y, np.median(history[name], axis=1))
        np.testing.assert_allclose(mark.high, history[name].max(1))
    assert isinstance(final, Line)
    assert final.x.tolist() == [33, 33]
    assert final.y.tolist() == history.last("final_local_acc").tolist()
    assert len(nodes.marks) == 5
    for k, mark in enumerate(nodes.marks):
        assert isinstance(mark, Line)
        np.testing.assert_allclose(mark.y, history["node_acc"][:, 0, k])
        assert mark.legend == (k == 0)
    (consensus,) = spread.marks
    assert isinstance(consensus, Line)
    np.testing.assert_allclose(consensus.y, np.median(history["consensus"], axis=1)[1:])  # 0 at the start
    for shown in (history, history.run(0)):
        assert still_png(EXPERIMENT.panels(shown)).startswith(b"\x89PNG")


def test_axes_say_what_is_drawn() -> None:
    history, frames = EXPERIMENT.start([TINY], [0])
    history.append(next(frames))
    accuracies, nodes, spread, budget = EXPERIMENT.panels(history)
    for panel in (accuracies, nodes, spread, budget):
        assert "steps" in panel.x.label
        assert panel.x.range == (0, 33)
    assert "accuracy" in accuracies.y.label
    assert accuracies.y.range == nodes.y.range == (0, 1)
    assert "norm" in spread.y.label
    assert spread.y.log
    assert "models" in budget.y.label


@pytest.mark.parametrize(
    ("schedule", "shaded"),
    [
        ("gossip_merge", [[30, 33]]),
        ("mid", [[12, 15], [15, 18], [18, 21]]),
        ("full", [[0, 33]]),
        ("none", []),
    ],
)
def test_full_rounds_are_shaded(schedule: str, shaded: list[list[int]]) -> None:
    history, _ = EXPERIMENT.start([TINY.replace(schedule=schedule)], [0])
    spans = EXPERIMENT.panels(history)[0].marks[-1]
    assert isinstance(spans, Spans)
    assert np.stack([spans.low, spans.high], 1).tolist() == shaded
