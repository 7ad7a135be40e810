import math

import pytest
import torch
from torch import nn

from dyntoolkit.engine.activations import ACTIVATIONS, identity, x2_tanh, x_tanh

X = torch.linspace(-3, 3, 61, dtype=torch.float64)

DEFINITIONS = {
    "xtanh": lambda x: x * math.tanh(x),
    "x2tanh": lambda x: x**2 * math.tanh(x),
    "identity": lambda x: x,
    "tanh": math.tanh,
    "sin": math.sin,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "erf": math.erf,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_each_activation_is_its_definition(name):
    expected = torch.tensor([DEFINITIONS[name](x) for x in X.tolist()], dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](X), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("function", "multiplicity"), [(nn.functional.tanh, 1), (x_tanh, 2), (x2_tanh, 3)])
def test_multiplicity_is_the_power_near_zero(function, multiplicity):
    x = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    small, large = function(x)
    assert math.log2(large / small) == pytest.approx(multiplicity, abs=1e-5)


def test_identity_copies_nothing():
    assert identity(X) is X
