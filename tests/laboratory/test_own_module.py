import random

import numpy as np
import pytest
import torch
from torch import nn

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.config import Config, choice, number
from dyntoolkit.laboratory.own_module import own_module, seeded

X = torch.linspace(-1, 1, 12).view(4, 3)


class Net(nn.Module):
    def __init__(self, width=8, scale=0.5, bias=True, activation="tanh", depth=None):
        super().__init__()
        self.hidden, self.norm = nn.Linear(3, width, bias), nn.LayerNorm(width)
        self.out, self.scale = nn.Linear(width, 1), scale
        self.activation = getattr(torch, activation)

    def forward(self, x):
        return self.scale * self.out(self.activation(self.norm(self.hidden(x))))


class Drawn(nn.Module):
    """Initialized by three different generators of random numbers."""

    def __init__(self):
        super().__init__()
        w = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))], dtype=torch.float32)
        self.w = nn.Parameter(w)

    def forward(self, x):
        return x @ self.w


def settings(made):
    fields = dict(made.arguments)
    annotations = {name: type(field.default) for name, field in fields.items()}
    return type("Settings", (Config,), {"__annotations__": annotations, "__module__": __name__, **fields})


def states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def test_arguments_with_numbers_become_structural_settings():
    sliders = settings(own_module(Net, None)).sliders()
    assert set(sliders) == {"width", "scale", "bias"}
    assert all(slider.structural and slider.main for slider in sliders.values())
    assert (sliders["width"].low, sliders["width"].high) == (1, 32)
    assert (sliders["scale"].low, sliders["scale"].high, sliders["scale"].log) == (0.05, 5.0, True)


@pytest.mark.parametrize(
    ("default", "low", "high", "value"),
    [(0, 0, 8, 0), (0.0, 0.0, 1.0, 0.0), (-2.0, -20.0, -0.2, -2.0), (-3, -12, 8, -3), (2, 1, 8, 2), (1, 1, 8, 1)],
)
def test_the_range_that_is_guessed_holds_the_default(default, low, high, value):
    def make(argument=default):
        return nn.Linear(3, 1)

    config = settings(own_module(make, None))
    slider = config.sliders()["argument"]
    assert (slider.low, slider.high, config().argument) == pytest.approx((low, high, value))
    assert type(config().argument) is type(default)


def test_sliders_say_which_arguments_and_which_range():
    asked = {"width": (4, 512), "scale": number(1.0, 0.5, 2.0), "activation": choice("relu", ["relu", "tanh"])}
    config = settings(own_module(Net, asked))
    sliders = config.sliders()
    assert config().asdict() == {"width": 8, "scale": 1.0, "activation": "relu"}
    assert (sliders["width"].low, sliders["width"].high, sliders["width"].log) == (4, 512, True)
    assert sliders["scale"].structural
    assert isinstance(config(width=5).width, int)
    (depth,) = settings(own_module(Net, {"depth": (1, 3)}))().asdict().values()
    assert depth == 1  # the lower end, where there is no default


@pytest.mark.parametrize("seed", [0, 7])
def test_a_run_makes_its_module_as_after_manual_seed(seed):
    made, config = own_module(Net, None), None
    config = settings(made)(width=6)
    network, theta = made.start(config, (3, seed), X)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Net(width=6)
    expected = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert torch.equal(theta[1], expected)
    torch.testing.assert_close(network(theta, X)[1], module(X))
    assert not torch.equal(theta[0], theta[1])


def test_no_global_random_state_is_touched_and_every_one_is_seeded():
    made, before = own_module(Drawn, None), states()
    _, theta = made.start(settings(made)(), (5, 5, 6), X)
    for a, b in zip(before, states(), strict=True):
        assert (
            np.array_equal(a, b)
            if isinstance(a, np.ndarray)
            else (a == b if isinstance(a, tuple) else torch.equal(a, b))
        )
    assert torch.equal(theta[0], theta[1])
    assert not (theta[0] == theta[2]).any()


def test_an_error_while_seeded_leaves_the_states_alone():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded(3):
        torch.rand(2) @ torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_default_dtype_does_not_matter():
    made = own_module(Net, None)
    config = settings(made)()
    expected = made.start(config, (1,), X)[1]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        found = made.start(config, (1,), X)[1]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)


def test_an_instance_is_the_same_in_all_runs_and_stays_as_it_is():
    module = nn.Linear(3, 1).double()
    made = own_module(module, None)
    _, theta = made.start(Config(), (0, 1), X)
    assert theta.dtype == torch.float32
    assert torch.equal(theta[0], theta[1])
    assert module.weight.dtype == torch.float64
    assert made.name == "Linear"


def test_lazy_modules_are_made_on_the_data():
    made = own_module(lambda: nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(1)), None)
    network, theta = made.start(Config(), (0, 1), X)
    assert network.shapes["0.weight"] == (4, 3)
    assert not torch.equal(theta[0], theta[1])


def test_the_scale_of_initialization_leaves_normalizations_alone():
    made = own_module(Net, None)
    network, theta = made.start(settings(made)(), (0,), X)
    kept = torch.cat([torch.full((p.numel(),), "norm" in name) for name, p in Net().named_parameters()])
    assert torch.equal(network.scalable(), ~kept)
    assert theta.shape == (1, len(kept))


def test_one_number_for_each_sample_gets_an_axis():
    made = own_module(lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), None)
    network, theta = made.start(Config(), (0, 1), X)
    assert network(theta, X).shape == (2, 4, 1)


@pytest.mark.parametrize(
    ("model", "sliders", "sentence"),
    [
        (3, None, "model takes a torch.nn.Module, its class, or a function that makes one; got 3"),
        (nn.Linear(3, 1), {"width": (1, 2)}, "sliders: an instance takes no arguments"),
        (Net, {"wdith": (1, 2)}, "unknown argument of Net 'wdith'. Did you mean 'width'"),
        (Net, {"width": 3}, r"sliders takes width=\(low, high\), or a dt.number; got 3"),
        (Net, {"width": (1, "many")}, r"sliders takes width=\(low, high\)"),
        (lambda width: nn.Linear(3, width), None, "Network needs a value for 'width'"),
        (nn.Linear, None, "Linear needs a value for 'in_features'"),
    ],
)
def test_what_is_no_model_is_refused(model, sliders, sentence):
    with pytest.raises(InputError, match=sentence):
        own_module(model, sliders)


def test_a_function_that_makes_no_module_is_refused():
    with pytest.raises(InputError, match=r"model: Network must give a torch.nn.Module, and gives int"):
        own_module(lambda: 3, None).start(Config(), (0,), X)
