"""Is a residual network a straight line while its branches are zero, and does it fit a sine from there all the same?

A torch.nn.Module of your own: `dyntoolkit run examples/own_network.py --set branch_scale=0 --seeds 4`
"""

import torch
from torch import nn

import dyntoolkit as dt

X = torch.linspace(-1, 1, 40).unsqueeze(1)  # (n, 1)
Y = torch.sin(4 * X + 1)  # (n, 1)


class Residual(nn.Module):
    """Three layers h -> h + tanh(branch(h)); the branches begin at branch_scale times the usual size."""

    def __init__(self, width=16, branch_scale=1.0):
        super().__init__()
        self.first, self.last = nn.Linear(1, width), nn.Linear(width, 1)
        self.branches = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        for p in self.branches.parameters():
            p.data *= branch_scale

    def forward(self, x):
        """The output (n, 1) for x (n, 1)."""
        h = self.first(x)
        for branch in self.branches:
            h = h + torch.tanh(branch(h))
        return self.last(h)


def bend(theta, model, data):
    """The largest second difference of each run's output, (R,): 0 for a straight line."""
    return model(theta, X).diff(n=2, dim=1).abs().amax((1, 2))


SLIDERS = {"width": (4, 64), "branch_scale": (0.0, 2.0)}
EXPERIMENT = dt.own(Residual, (X, Y), probes=[bend], sliders=SLIDERS, name="residual")

if __name__ == "__main__":
    dt.explore(EXPERIMENT, branch_scale=0, n_seeds=4)
