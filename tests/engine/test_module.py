import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.module import Module
from dyntoolkit.engine.record import record
from dyntoolkit.engine.update import Momentum, Sgd, momentum
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
    network = Module(module, torch.zeros(1, 1, 4, 4, dtype=torch.float64))
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
    with pytest.raises(InputError, match="this Linear is not of the network's make: its class is Linear"):
        Module(mlp()).theta_of(nn.Linear(4, 5))
    deeper = nn.Sequential(*mlp(), nn.Tanh())
    with pytest.raises(InputError, match="its class of '3' is there"):
        Module(mlp()).theta_of(deeper)


class Applied(nn.Module):
    """A layer, and after it what it is given."""

    def __init__(self, function):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.function = function

    def forward(self, x):
        return self.function(self.layer(x))


def into_shared(h):
    shared = torch.zeros(h.shape)
    shared += h
    return shared


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda h: (h, h), "Applied returns a tuple: it must return one tensor"),
        (lambda h: {"y": h}, "Applied returns a dict: it must return one tensor"),
        (lambda h: h.sum(), r"Applied returns \(\) torch.float32 for 3 samples"),
        (lambda h: h.argmax(1), "Applied returns .3,. torch.int64 for 3 samples"),
        (lambda h: h / 0, "Applied gives NaN or infinity at the start"),
        (lambda h: h.detach(), "Applied gives what does not depend on its weights"),
        (lambda h: nn.functional.dropout(h, training=True), "Applied gives other numbers each time"),
        (lambda h: h * float(np.random.rand()), "Applied gives other numbers each time"),
        (lambda h: h * h.sum().item(), r"Applied takes a number out of a tensor \(.item"),
        (lambda h: h if h.sum() > 0 else -h, "Applied decides by the numbers of a tensor"),
        (lambda h: h + h[h > 0].sum(), "Applied makes tensors whose size depends on numbers"),
        (lambda h: h + torch.from_numpy(h.detach().numpy()), r"Applied leaves torch \(.numpy"),
        (into_shared, r"Applied writes in place \(.*write z = z \+ h"),
        (lambda h: h @ torch.ones(4), r"Applied fails on samples \(n, 3\) of torch.float32: .* \(test_module.py, line"),
        (lambda h: h + nothing, "NameError: name 'nothing' is not defined .test_module.py, line"),  # noqa: F821
    ],
)
def test_what_a_module_may_not_do_is_said_at_once(function, sentence):
    module, before = Applied(function), torch.get_rng_state()
    with pytest.raises(InputError, match=f"^module: .*{sentence}"):
        Module(module, torch.ones(5, 3) * torch.arange(5.0)[:, None])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x * x.mean().item(), r"takes a number out of a tensor \(.item"),
        (lambda x: x if x.sum() > 0 else -x, "decides by the numbers of a tensor"),
    ],
)
def test_what_it_may_not_do_with_samples_of_each_run_is_said_too(function, sentence):
    class OfSamples(nn.Linear):
        def forward(self, x):
            return super().forward(function(x))

    with pytest.raises(InputError, match=sentence):
        Module(OfSamples(3, 2), torch.ones(5, 3))


def test_without_samples_it_is_said_at_the_first_data():
    network = Module(Applied(lambda h: (h, h)))
    with pytest.raises(InputError, match="returns a tuple"):
        network(torch.zeros(R, network.parameters), torch.ones(5, 3))


def test_the_trial_is_made_while_another_thread_records():
    recording, seen = threading.Event(), threading.Event()

    def record_meanwhile():
        with TorchDispatchMode():
            recording.set()
            seen.wait(60)

    other = threading.Thread(target=record_meanwhile)
    other.start()
    recording.wait(60)
    try:
        network = Module(Applied(lambda h: (h, h)))
        with pytest.raises(InputError, match="returns a tuple"):
            network(torch.zeros(R, network.parameters), torch.ones(5, 3))
    finally:
        seen.set()
        other.join()


def test_the_trial_is_no_part_of_a_recorded_step():
    network, x = Module(nn.Linear(4, 1)), X[0].float()  # the trial looks at numbers, which a recorded step may not
    step = lambda state, _: Sgd(state.theta - network(state.theta, x).sum(1))  # noqa: E731
    recording, _ = record(step, Sgd(torch.zeros(R, network.parameters)), None)
    assert 0 < len(recording.lines) < 20


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        h, c = x.new_zeros(len(x), 4), x.new_zeros(len(x), 4)
        return self.cell(x, (h, c))[0] if isinstance(self.cell, nn.LSTMCell) else self.cell(x, h)


class Counting(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.LSTM(4, 4), "LSTM cannot be vectorized by torch: go through the steps in a loop"),
        (Recurrent(nn.LSTMCell(4, 4)), "Recurrent has an LSTMCell"),
        (spectral_norm(nn.Linear(4, 4)), "has spectral_norm in training mode|its buffer _u .* has other numbers"),
        (Counting(4, 4), r"changes while it is called \(its calls is 2, and not 0"),
        (nn.LazyLinear(3), "LazyLinear has no weights yet"),
        (nn.TransformerEncoderLayer(4, 2, 8), "Dropout 'dropout' draws"),
        (nn.Linear(3, 4), r"Linear fails on samples \(n, 4\)"),
        (torch.jit.script(nn.Linear(4, 4)), "RecursiveScriptModule is compiled already"),
    ],
)
def test_a_module_for_which_torch_has_no_rule_is_refused(module, sentence):
    with pytest.raises(InputError, match=sentence):
        Module(module, X[0].float())


@pytest.mark.parametrize("module", [spectral_norm(nn.Linear(4, 4)).eval(), orthogonal(nn.Linear(4, 4))])
def test_parametrized_weights_pass_the_trial(module):
    network = Module(module, X[0].float())
    torch.testing.assert_close(network(network.theta_of(module), X[0].float())[0], module(X[0].float()))


class Features(nn.Module):
    """A trained layer on random features."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("frequencies", torch.randn(4, 6, generator=generator))
        self.frozen = nn.Parameter(torch.randn(6, 5, generator=generator), requires_grad=False)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        return self.out(torch.cos(x @ self.frequencies) @ self.frozen)


def test_each_run_may_keep_random_features_of_its_own():
    modules, x = [Features(seed) for seed in range(R)], X.float()
    network, theta = Module.of_runs(modules, x[0])
    assert network.parameters == 12
    assert set(network.constants) == {"frequencies", "frozen"}
    for samples in (x[0], x):
        output = network(theta, samples)
        for r, module in enumerate(modules):
            torch.testing.assert_close(output[r], module(samples if samples.ndim == 2 else samples[r]))
    with pytest.raises(InputError, match=r"theta takes 3 runs, which have their own \w+; got 1"):
        network(theta[:1], x[0])
    with pytest.raises(InputError, match="has other numbers"):
        Module(modules[0]).theta_of(modules[1])
