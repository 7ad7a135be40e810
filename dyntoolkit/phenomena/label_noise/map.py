"""The map: for which initialization scale and label noise does the network end rich, and does the flow say the same?

A sweep of `label_noise.linear` (Two phases, arXiv 2603.10397). All cells of a seed share their data, and their initial
weights up to scale.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.label_noise import linear
from dyntoolkit.phenomena.label_noise.flow import clean_descent
from dyntoolkit.phenomena.label_noise.map_claims import CLAIMS, metrics
from dyntoolkit.phenomena.label_noise.map_config import PRESETS, Config
from dyntoolkit.phenomena.label_noise.map_figure import panels

FRAMES = 41  # the metrics need the last one only; the picture is to move


def noise_free_alignment(configs: Sequence[Config], seeds: Sequence[int]) -> Array:
    """Where the flow without noise ends: alignment after clean gradient descent, for each initialization scale.

    Returns (R, n_init_scale), NaN where clean descent does not stay finite.
    """
    first = [cell for config in configs for cell in config.cells[: config.n_init_scale]]
    repeated = np.repeat(seeds, configs[0].n_init_scale).tolist()
    data, start = linear.draw_data(first, repeated), linear.initial_state(first, repeated)
    X, beta, lr = data.X.double(), data.beta.double().numpy(), np.array([cell.lr for cell in first])
    S = (X.mT @ X / first[0].n_train).numpy()  # (R n, d, d)
    with np.errstate(all="ignore"):  # a diverging run makes NaN
        W, _, _ = clean_descent(start.W.double().numpy(), S, beta, lr, first[0].scale)
        along = ((W @ beta[:, :, None]) ** 2).sum((1, 2)) / (beta**2).sum(1)
        return np.asarray((along / (W**2).sum((1, 2))).reshape(len(configs), -1))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """One run is a map of n_noise_std x n_init_scale networks of one seed; all maps train in one loop.

    Values at 41 evenly spaced steps, each (R, n_noise_std, n_init_scale) float64: align, ntk (see `linear.simulate`)
    and flow_align, the flow's alignment, NaN where it has none yet. A network that diverges counts as NaN; a run is
    marked when all of its networks did.
    """
    shape = (len(seeds), *configs[0].shape)
    cells = [cell for config in configs for cell in config.cells]
    rest = noise_free_alignment(configs, seeds)  # (R, n_init_scale)
    for frame in linear.simulate(cells, np.repeat(seeds, len(configs[0].cells)).tolist(), FRAMES):
        marks = frame.diverged.reshape(shape)
        lost = (marks >= 0).all((1, 2))
        values = {}
        if frame.values:
            values = {name: frame.values[name].reshape(shape) for name in ("align", "ntk", "flow_align")}
            values = {name: np.where(marks < 0, value, np.nan) for name, value in values.items()}
            quiet = np.array([config.noise_stds == 0 for config in configs])[:, :, None]  # (R, n_noise_std, 1)
            values["flow_align"] = np.where(quiet, rest[:, None], values["flow_align"])
        yield Frame(frame.step, frame.total, values, np.where(lost, marks.max((1, 2)), -1))


EXPERIMENT = Experiment(
    name="label_noise.map",
    title="Map of initialization and noise",
    question="Where in initialization scale and label noise does the network end rich, and does the flow say the same?",
    paper="2603.10397",
    seconds=3.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
