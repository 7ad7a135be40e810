"""Weights that are taken away do in a plain module what they did in the run."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tiny_experiment import TINY
from torch import nn

from dyntoolkit.catalog.registry import find
from dyntoolkit.catalog.weights import FILE, weights
from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.engine.update import Adam
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.laboratory.own import own

X = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


def experiment_of(network, dtype=torch.float32, networks=()):
    """One that draws the network's weights and leaves them as they are. networks: how many each run has."""

    def simulate(configs, seeds):
        start = Adam.start(Stream(seeds, "init").normal(*networks, network.parameters, dtype=dtype))
        stand = lambda state, _: state._replace(updates=state.updates + 1)  # noqa: E731
        return train(start, stand, full_batch, (0, 1), lambda k, state: {"updates": state.updates})

    return Experiment("net", TINY.config, simulate, network=lambda history: network)


def loaded(found, tmp_path, monkeypatch, **names):
    """The module that the lines make of the tensors."""
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    save_file(found.tensors, FILE)
    exec(found.lines, names)
    return names["net"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_mlp_is_a_sequential_with_the_same_outputs(name, bias, tmp_path, monkeypatch):
    network = MLP((3, 5, 4, 2), ACTIVATIONS[name], bias)
    history = experiment_of(network).run(seeds=(3, 4))
    net = loaded(weights(experiment_of(network), history), tmp_path, monkeypatch)
    assert type(net) is nn.Sequential
    wanted = network(torch.from_numpy(history.weights["theta"])[:1], X)[0]
    torch.testing.assert_close(net(X), wanted, rtol=1e-6, atol=1e-6)  # torch multiplies in another order


def test_weights_in_float64_stay_so(tmp_path, monkeypatch):
    network = MLP((3, 4, 1), torch.tanh)
    experiment = experiment_of(network, torch.float64)
    history = experiment.run()
    net = loaded(weights(experiment, history), tmp_path, monkeypatch)
    wanted = network(torch.from_numpy(history.weights["theta"]), X.double())[0]
    torch.testing.assert_close(net(X.double()), wanted, rtol=1e-14, atol=1e-14)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(3, 1)
        self.frozen.requires_grad_(False)
        self.register_buffer("shift", torch.rand(1))

    def forward(self, x):
        return self.frozen(self.second(torch.tanh(self.first(x)))) + self.shift


def test_a_readers_module_has_its_whole_state_back(tmp_path, monkeypatch):
    experiment = own(Tied, (X, X[:, 0]))
    config = experiment.configure(steps=20)
    history = experiment.run(config, (5, 6))
    found = weights(experiment, history)
    found = found._replace(lines=found.lines.replace("Tied(...)", "Tied()"))
    net = loaded(found, tmp_path, monkeypatch, Tied=Tied)
    network = experiment.network(history)
    wanted = network(torch.from_numpy(history.weights["theta"]), X)[0]
    torch.testing.assert_close(net(X), wanted[:, 0].unsqueeze(1), rtol=1e-6, atol=1e-6)
    assert found.tensors["frozen.weight"].shape == (2, 1, 3)
    assert (found.tensors["frozen.weight"][0] != found.tensors["frozen.weight"][1]).any()  # each run has its own


def check_names(experiment, history, shapes, tmp_path, monkeypatch):
    """The tensors have these shapes, and the lines load those of the first run (and network)."""
    found = weights(experiment, history)
    assert {name: value.shape for name, value in found.tensors.items()}.items() >= shapes.items()
    for name, value in loaded(found, tmp_path, monkeypatch).state_dict().items():
        first = found.tensors[name].reshape(-1, *value.shape)[0]
        np.testing.assert_array_equal(value.numpy(), first)


def test_several_networks_of_a_run_keep_their_axis(tmp_path, monkeypatch):
    network = MLP((3, 4, 2), torch.relu)
    experiment = experiment_of(network, networks=(2,))
    shapes = {"0.weight": (3, 2, 4, 3), "2.bias": (3, 2, 2)}
    check_names(experiment, experiment.run(seeds=(0, 1, 2)), shapes, tmp_path, monkeypatch)


def test_blocks_of_a_transformer_have_their_names(tmp_path, monkeypatch):
    experiment = experiment_of(Transformer(5, width=4, context=3, layers=1))
    check_names(experiment, experiment.run(), {"tok": (1, 5, 4), "query0": (1, 4, 4)}, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        ({"width": 4, "depth": 1}, {"0.weight": (1, 4, 2), "2.weight": (1, 1, 4)}),
        ({"width": 4, "layer_norm": True}, {"W1": (1, 2, 4), "gain1": (1, 4)}),
    ],
)
def test_the_laboratory_gives_a_plain_network_where_it_is_one(changes, shapes, tmp_path, monkeypatch):
    experiment = find("laboratory.network")
    history = experiment.run(experiment.configure(steps=20, **changes))
    check_names(experiment, history, shapes, tmp_path, monkeypatch)


def test_a_state_of_layers_gives_each_of_them(tmp_path, monkeypatch):
    class Layers(NamedTuple):
        W: torch.Tensor
        a: torch.Tensor

    def simulate(configs, seeds):
        start = Layers(torch.ones(1, 4, 3), torch.zeros(1, 4))
        return train(start, lambda state, _: state, full_batch, (0, 1), lambda k, state: {"a": state.a[:, 0]})

    experiment = dataclasses.replace(TINY, simulate=simulate)
    check_names(experiment, experiment.run(), {"W": (1, 4, 3), "a": (1, 4)}, tmp_path, monkeypatch)


def test_what_has_no_weights_says_so():
    history, frames = TINY.start([TINY.configure()], [0])
    history.append(next(frames))
    with pytest.raises(InputError, match=r"^weights: they are there when the run has ended\.$"):
        weights(TINY, history)
    with pytest.raises(
        InputError, match=r"^weights: tiny\.decay keeps none: a run of it is not one training by `dt\.train`\.$"
    ):
        weights(TINY, TINY.run())


def test_an_experiment_with_a_loop_of_its_own_may_give_weights():
    def simulate(configs, seeds):
        yield Frame(1, 1, {"x": np.ones(1)}, np.full(1, -1), weights={"w": np.array([[1.0, 2.0]])})

    experiment = dataclasses.replace(TINY, simulate=simulate)
    assert weights(experiment, experiment.run()).tensors["w"].tolist() == [[1.0, 2.0]]
