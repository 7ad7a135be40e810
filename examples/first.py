"""Does gradient descent converge in a valley that is steep one way and flat the other?

    dyntoolkit run examples/first.py --set lr=0.19 --seeds 4

Below lr = 2/curvature it does. In a notebook, `%run examples/first.py` opens the live dashboard.
"""

import torch

import dyntoolkit as dt


class Valley(dt.Config):
    """Gradient descent in a valley with curvatures 1 and `curvature`."""

    lr: float = dt.number(0.15, 0.01, 0.3, log=True, main=True)
    curvature: float = dt.number(10.0, 1.0, 20.0, main=True)
    steps: int = dt.number(100, 10, 1000, log=True, structural=True)


def simulate(configs, seeds):
    """Frames of R runs, one for each pair of settings and seed: the loss at 51 steps."""
    h = torch.tensor([[1.0, c.curvature] for c in configs], dtype=torch.float32)  # (R, 2)
    lr = dt.per_run(configs, "lr")  # (R,)
    return dt.train(
        dt.Sgd(dt.Stream(seeds, "init").normal(2)),
        lambda state, _: dt.sgd(state, h * state.theta, lr),
        dt.full_batch,
        dt.evenly(configs[0].steps, 51),
        lambda k, state: {"loss": (h * state.theta.double() ** 2).sum(1).numpy() / 2},  # (R,), finite while theta is
    )


EXPERIMENT = dt.Experiment("valley", Valley, simulate)

if __name__ == "__main__":
    dt.explore(EXPERIMENT, lr=0.2)
