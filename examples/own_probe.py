"""Weights begin small: do they leave for one direction, and how many do they fill later?

Two measurements of your own, one of the weights and one of the outputs:

    dyntoolkit run examples/own_probe.py --set init_scale=1 --seeds 4
"""

import torch
from torch import nn

import dyntoolkit as dt

X = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))  # (n, 5)
Y = torch.sin(2 * X.sum(1)) + X[:, 0]  # (n,)


def stable_rank(theta, model, data):
    """|W|_F^2 / |W|_2^2 of each run's input weights, (R,): between 1, all neurons on one line, and 5."""
    neurons, inputs = model.shapes["0.weight"]  # the first numbers of a row of theta (R, P)
    weights = theta[:, : neurons * inputs].view(-1, neurons, inputs)
    values = torch.linalg.svdvals(weights)  # (R, 5), the largest one first
    return (values / values[:, :1]).square().sum(1)


def largest_error(output, target):
    """Of the outputs (n, 1) of one run: on the training and on the test data."""
    return (output - target).abs().max()


def network(width=50):
    """A tanh network with one hidden layer."""
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 1))


EXPERIMENT = dt.own(network, (X, Y), probes=[stable_rank, largest_error], name="rank")

if __name__ == "__main__":
    dt.explore(EXPERIMENT, init_scale=0.02)
