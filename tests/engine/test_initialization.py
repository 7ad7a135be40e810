import numpy as np
import pytest
import torch

from dyntoolkit.engine.initialization import he, lecun, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.streams import Stream

SEEDS = (3, 11)
NETWORK = MLP((4, 6, 2), torch.relu)


def test_numbers_are_drawn_in_the_order_of_theta_and_only_multiplied():
    drawn = Stream(SEEDS, "init").normal(NETWORK.parameters, dtype=torch.float64)
    stds = [(2.0, 0.5), (torch.tensor([0.0, 3.0]), 1.0)]
    theta = normal_init(NETWORK, Stream(SEEDS, "init"), stds, dtype=torch.float64)
    first = torch.cat([torch.full((2, 24), 2.0), torch.full((2, 6), 0.5)], 1)
    second = torch.cat([torch.tensor([[0.0], [3.0]]).expand(2, 12), torch.ones(2, 2)], 1)
    scale = torch.cat([first, second], 1).double()
    torch.testing.assert_close(theta, drawn * scale, rtol=0, atol=0)


def test_a_network_without_bias_draws_no_biases():
    network = MLP((4, 6, 2), torch.relu, bias=False)
    theta = normal_init(network, Stream(SEEDS, "init"), [(1.0, 9.0), (1.0, 9.0)])
    assert torch.equal(theta, Stream(SEEDS, "init").normal(36))


def test_one_pair_of_stds_per_layer_is_asked_for():
    with pytest.raises(ValueError, match="zip"):
        normal_init(NETWORK, Stream(SEEDS, "init"), [(1.0, 1.0)])


@pytest.mark.parametrize(("rule", "gain"), [(he, 2.0), (lecun, 1.0)])
def test_variance_follows_fan_in_and_the_scale_of_each_run(rule, gain):
    network = MLP((50, 400, 30), torch.relu)
    init_scale = torch.tensor([0.5, 2.0])
    theta = normal_init(network, Stream(SEEDS, "init"), rule(network, init_scale))
    for (weight, bias), fan_in in zip(network.split(theta), (50, 400), strict=True):
        assert not bias.any()
        expected = init_scale.numpy() * np.sqrt(gain / fan_in)
        np.testing.assert_allclose(weight.std((1, 2)).numpy(), expected, rtol=0.03)


def test_a_run_starts_alike_alone_and_among_others():
    many = tuple(range(16))
    together = normal_init(NETWORK, Stream(many, "init"), he(NETWORK, torch.linspace(0.1, 2, 16)))
    alone = normal_init(NETWORK, Stream((5,), "init"), he(NETWORK, torch.linspace(0.1, 2, 16)[5:6]))
    assert torch.equal(alone[0], together[5])
