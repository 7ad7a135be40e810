"""Is a residual network a straight line while its branches are zero, and does it fit a sine from there all the same?

A torch.nn.Module of your own: `dyntoolkit run examples/own_network.py --set branch_scale=0 --seeds 4`
"""

import torch
from torch import nn

import dyntoolkit as dt

X = torch.linspace(-1, 1, 32, dtype=torch.float64).unsqueeze(1)  # (n, 1)
Y = torch.sin(4 * X + 1)  # (n, 1); were it odd, the biases' gradients would be rounding, which Adam makes large


class Block(nn.Module):
    """h -> h + tanh(branch(h)), a layer of a residual network."""

    def __init__(self, width):
        super().__init__()
        self.branch = nn.Linear(width, width)

    def forward(self, h):
        """The output (n, width) for h (n, width)."""
        return h + torch.tanh(self.branch(h))


# Made here and not in a run: making a module draws from torch's global generator, which no run may touch.
MODULE = nn.Sequential(nn.Linear(1, 16), Block(16), Block(16), Block(16), nn.Linear(16, 1)).double()


class Config(dt.Config):
    """Adam on 32 points of a sine; the branches' weights begin at branch_scale times the usual size."""

    branch_scale: float = dt.number(1.0, 0.0, 2.0, main=True)
    lr: float = dt.number(0.003, 1e-4, 0.1, log=True, main=True)
    steps: int = dt.number(500, 20, 5000, log=True, structural=True)


def simulate(configs, seeds):
    """The loss, and the bend: the largest second difference of the output, 0 for a straight line."""
    network, stream, theta = dt.Module(MODULE), dt.Stream(seeds, "init"), []  # R copies: the rows of theta (R, P)
    lr, scale = dt.per_run(configs, "lr", X.dtype), dt.per_run(configs, "branch_scale", X.dtype, ndim=2)
    for name, p in MODULE.named_parameters():  # weights of variance 1/fan_in, biases 0
        std = (scale if "branch" in name else 1.0) * (p.ndim - 1) * p.shape[-1] ** -0.5
        theta.append(stream.normal(p.numel(), dtype=X.dtype) * std)
    gradient = dt.value_and_grad(lambda theta: (network(theta, X) - Y).square().mean((1, 2)))

    def measure(k, state):
        bend = network(state.theta, X).diff(n=2, dim=1).abs().amax((1, 2))
        return {"loss": gradient(state.theta)[0].numpy(), "bend": bend.numpy()}  # (R,) each

    start, record = dt.Adam.start(torch.cat(theta, dim=1)), dt.evenly(configs[0].steps, 51)
    return dt.train(start, lambda s, _: dt.adam(s, gradient(s.theta)[1], lr), dt.full_batch, record, measure)


EXPERIMENT = dt.Experiment("residual", Config, simulate)

if __name__ == "__main__":
    dt.explore(EXPERIMENT, branch_scale=0, n_seeds=4)
