import pytest
import torch
from torch import nn

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.module import Module
from dyntoolkit.engine.update import Momentum, momentum
from dyntoolkit.errors import InputError

R, N = 3, 6
X = torch.sin(torch.arange(R * N * 4.0, dtype=torch.float64)).view(R, N, 4)


def mlp(bias=True):
    return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.Tanh(), nn.Linear(5, 2, bias=bias)).double()


def squares(network, x):
    return value_and_grad(lambda theta: network(theta, x).square().mean((1, 2)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_adapter_equals_the_mlp_of_the_run_axis(twin, bias, shared):
    built_in = MLP((4, 5, 2), torch.tanh, bias)
    theta = torch.cos(torch.arange(R * built_in.parameters, dtype=torch.float64)).view(R, -1)
    twins = [twin(built_in, row) for row in theta]
    adapter = Module(twins[0])
    other = adapter.theta_of(*twins)
    x = X[0] if shared else X
    assert adapter.parameters == built_in.parameters
    torch.testing.assert_close(adapter(other, x), built_in(theta, x))
    loss, gradient = squares(adapter, x)(other)
    expected_loss, expected = squares(built_in, x)(theta)
    torch.testing.assert_close(loss, expected_loss)
    for alone, row, its in zip(twins, gradient, expected, strict=True):
        nn.utils.vector_to_parameters(row, alone.parameters())  # the gradient in the place of the weights
        torch.testing.assert_close(alone.flat(lambda p: p.detach()), its)


def test_a_module_trains_on_the_run_axis_as_it_does_alone():
    modules = [mlp() for _ in range(R)]
    network = Module(modules[0])
    state, lr = Momentum.start(network.theta_of(*modules)), torch.tensor([0.1, 0.3, 0.01], dtype=torch.float64)
    for _ in range(20):
        state = momentum(state, squares(network, X)(state.theta)[1], lr, 0.9)
    for r, module in enumerate(modules):
        optimizer = torch.optim.SGD(module.parameters(), lr=lr[r].item(), momentum=0.9)
        for _ in range(20):
            optimizer.zero_grad()
            module(X[r]).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(state.theta, network.theta_of(*modules), rtol=1e-10, atol=1e-12)


def test_images_need_the_dimensions_of_a_sample():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    network = Module(module, sample_ndim=3)
    images = torch.sin(torch.arange(R * 5 * 16.0, dtype=torch.float64)).view(R, 5, 1, 4, 4)
    theta = network.theta_of(module).repeat(R, 1)
    for x in (images[0], images):
        output = network(theta, x)
        assert output.shape == (R, 5, 3)
        for r in range(R):
            torch.testing.assert_close(output[r], module(x if x.ndim == 4 else x[r]))


def test_frozen_parameters_and_constant_buffers_stay_as_they_are():
    module = mlp()
    module[0].requires_grad_(False)
    module.register_buffer("constant", torch.ones(3))
    network = Module(module)
    assert network.parameters == 12
    torch.testing.assert_close(network(network.theta_of(module), X[0])[0], module(X[0]))


def test_the_users_module_is_neither_changed_nor_followed():
    module = mlp()
    module[0].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = Module(module)
    theta = network.theta_of(module)
    output = network(theta, X[0])
    squares(network, X[0])(theta)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    nn.init.zeros_(module[0].weight)
    nn.init.zeros_(module[2].weight)
    assert torch.equal(network(theta, X[0]), output)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Tanh(), "Tanh has no parameters to train"),
        (nn.Linear(2, 2).requires_grad_(False), "Linear has no parameters to train"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "BatchNorm1d '1' changes its running statistics"),
        (nn.BatchNorm1d(2), "BatchNorm1d changes its running statistics"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), "Dropout '1' draws from torch's global random state"),
    ],
)
def test_a_module_that_cannot_train_so_is_refused(module, sentence):
    with pytest.raises(InputError, match=sentence):
        Module(module)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(2).eval(), nn.BatchNorm1d(2, track_running_stats=False), nn.Dropout(0.5).eval()]
)
def test_layers_that_keep_still_are_welcome(layer):
    module = nn.Sequential(nn.Linear(4, 2), layer)
    network = Module(module)
    x = X[0].float()
    torch.testing.assert_close(network(network.theta_of(module), x)[0], module(x))


def test_theta_of_a_module_of_another_make_is_refused():
    with pytest.raises(InputError, match="Linear has other parameters"):
        Module(mlp()).theta_of(nn.Linear(4, 5))
