from itertools import pairwise

import pytest
import torch
from torch import nn

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.streams import Stream
from dyntoolkit.phenomena.laboratory._network import Network


def network(**changes):
    make = {"inputs": 3, "outputs": 2, "depth": 2, "width": 5, "activation": "tanh"}
    return Network(**{**make, **changes})


class Twin(nn.Module):
    """The same network by torch.nn."""

    def __init__(self, made: Network) -> None:
        super().__init__()
        self.made = made
        sizes = [made.inputs, *[made.width] * made.depth]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(made.width) for _ in self.layers)
        self.last = nn.Linear(sizes[-1], made.outputs)

    def forward(self, x):
        for k, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            z = layer(x)
            z = ACTIVATIONS[self.made.activation](norm(z) if self.made.norm else z)
            x = x + z if self.made.residual and k else z
        return self.made.scale * self.last(x)

    def row(self):
        """Its weights as a row of theta."""
        parts = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            parts += [layer.weight.T, layer.bias, *([norm.weight, norm.bias] if self.made.norm else [])]
        return torch.cat([part.detach().flatten() for part in (*parts, self.last.weight.T, self.last.bias)])


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_it_is_the_network_of_torch(depth, residual, norm):
    made = network(depth=depth, residual=residual, norm=norm, scale=0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twins = [Twin(made) for _ in range(2)]
        for parameter in (each for twin in twins for each in twin.norms.parameters()):
            nn.init.normal_(parameter)
        x = torch.randn(7, 3)
    theta = torch.stack([twin.row() for twin in twins])
    assert theta.shape == (2, made.parameters)
    expected = torch.stack([twin(x).detach() for twin in twins])
    torch.testing.assert_close(made(theta, x), expected)
    torch.testing.assert_close(made(theta, x.expand(2, 7, 3)), expected)
    assert [part.shape for part in made.features(theta, x)] == [(2, 7, 5)] * depth


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("gelu", 2.0), ("tanh", 1.0)])
def test_initial_weights_have_their_variance_and_the_scale_only_multiplies_them(activation, gain):
    made = network(inputs=50, outputs=50, width=100, activation=activation, norm=True)
    one, other = (made.initial_theta(torch.tensor([scale, 1.0]), Stream((3, 3), "init")) for scale in (1.0, 0.1))
    blocks, small = made.split(one), made.split(other)
    for name, shape in made.shapes.items():
        if len(shape) > 1:
            assert blocks[name][0].var().item() == pytest.approx(gain / shape[0], rel=0.1)
            torch.testing.assert_close(small[name][0], 0.1 * blocks[name][0])
        else:
            assert (blocks[name] == float(name.startswith("gain"))).all()
        assert torch.equal(small[name][1], blocks[name][1])


def test_neurons_have_their_input_weights_with_bias_and_the_length_of_what_leads_on():
    made = network(depth=1)
    theta = Stream((0,), "any").normal(made.parameters)
    w = made.split(theta)
    inward, amplitudes = made.neurons(theta)
    for k in range(5):
        own = torch.cat([w["W1"][0, :, k], w["b1"][0, :, k]])
        torch.testing.assert_close(inward[0, k], own)
        torch.testing.assert_close(amplitudes[0, k], own.norm() * w["W2"][0, k].norm())
    linear = network(depth=0)
    inward, amplitudes = linear.neurons(theta[:, : linear.parameters])
    assert inward.shape == (1, 2, 4)
    torch.testing.assert_close(amplitudes, inward.norm(dim=2))
