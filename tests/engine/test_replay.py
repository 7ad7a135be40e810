"""A recorded step repeated in torch is the step, bit by bit."""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from dyntoolkit.engine.batches import parts_of
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.module import Module
from dyntoolkit.engine.record import record
from dyntoolkit.engine.replay import replay
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer, cross_entropy
from dyntoolkit.engine.update import Adam, AmsGrad, Momentum, Sgd, adam, amsgrad, clip, momentum, sam, sgd

THETA = torch.sin(torch.arange(1.0, 7.0)).view(2, 3)


class Pair(NamedTuple):
    """Two leaves (R, 3)."""

    a: torch.Tensor
    b: torch.Tensor


def same(a, b):
    """Whether two tensors agree in shape, dtype and every number, zeros with their sign; NaN is the same as NaN."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return bool((((a == b) & (a.signbit() == b.signbit())) | ((a != a) & (b != b))).all())


def assert_repeats(step, state, batches=(None,), steps=4):
    """The step and its recording side by side, on other states than it was recorded with, and on batch after batch."""
    recording, _ = record(step, state, batches[0])
    repeat = replay(recording)
    for k in range(steps):
        batch = batches[k % len(batches)]
        expected = step(state, batch)
        found = repeat([*state, *parts_of(batch)])
        assert all(same(a, b) for a, b in zip(found, expected, strict=True))
        assert not any(leaf.requires_grad for leaf in found)
        state = expected


# ---- Random programs ----

UNARY = {
    "neg": torch.neg,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "layer_norm": lambda x: functional.layer_norm(x, (3,)),
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "round": torch.round,
    "transposed": lambda x: x.reshape(3, 2).T,
    "flattened": lambda x: x.T.reshape(2, 3),
    "flip": lambda x: x.flip(1),
    "roll": lambda x: x.roll(1, 0),
    "mean": lambda x: x - x.mean(1, keepdim=True),
    "sum": lambda x: x + x.sum(),
    "double": lambda x: x.double().cumsum(1).float(),
    "norm": lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "max": lambda x: x + x.max(1, keepdim=True).values + x.argmin(),
    "sorted": lambda x: x.sort(1).values,
    "gathered": lambda x: x.gather(1, torch.tensor([[0, 0, 2], [2, 1, 0]])),
    "taken": lambda x: x[torch.tensor([1, 0])],
    "split": lambda x: torch.cat(x.split([1, 2], 1)[::-1], 1),
    "a list of one": lambda x: x.split(3, 1)[0] + x.unbind(1)[1][:, None],
    "unbound": lambda x: torch.stack(x.unbind(1)[::-1], 1),
    "clamped": lambda x: x.clamp(-0.5, math.inf),
    "cubed": lambda x: x**3,
    "powers": lambda x: 1.5**x,
    "not a number": lambda x: torch.where(x > 2, math.nan, x),
    "triangle": lambda x: x.tril() + torch.ones(2, 3).triu(1),
    "counted": lambda x: x + torch.arange(3) // 2,
    "in place": lambda x: (x * 2).add_(1).mul_(x),
    "written": lambda x: (x + 0).index_fill_(1, torch.tensor([1]), -math.inf),
    "slope": lambda x: torch.func.grad(lambda y: y.tanh().square().sum())(x),
}
BINARY = {
    "add": torch.add,
    "sub": lambda x, y: torch.sub(x, y, alpha=0.5),
    "mul": torch.mul,
    "div": torch.div,
    "floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "pow": torch.pow,
    "atan2": torch.atan2,
    "maximum": torch.maximum,
    "where": lambda x, y: torch.where(x > y, x, y),
    "matmul": lambda x, y: x @ y.T @ x,
    "bmm": lambda x, y: torch.bmm(x[:, None], y[:, :, None])[:, 0] * y,
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=-2),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "einsum": lambda x, y: torch.einsum("ri,rj->rij", x, y).sum(2),
    "cat": lambda x, y: torch.cat([x, y], 1)[:, 1:6:2],
    "mse": lambda x, y: x * functional.mse_loss(x, y),
    "scattered": lambda x, y: x.index_add(0, torch.tensor([0, 0]), y),
}
PROGRAMS = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8
)


@given(PROGRAMS, st.integers(0, 5))
def test_any_program_is_repeated_bit_by_bit(program, seed):
    """Straight-line code over a few (2, 3) values; each line reads earlier ones."""
    held = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))

    def step(state, batch):
        values = [state.a, state.b, batch, held]
        for name, i, j in program:
            x, y = values[i % len(values)], values[j % len(values)]
            values.append(UNARY[name](x) if name in UNARY else BINARY[name](x, y))
        return Pair(values[-1], values[len(values) // 2])

    assert_repeats(step, Pair(THETA, held + 1), [THETA.exp(), THETA], steps=3)


@pytest.mark.parametrize("name", UNARY)
def test_each_function_is_repeated_with_its_gradient(name):
    def step(state, _):
        with torch.enable_grad():
            x = state.theta.detach().requires_grad_()
            y = UNARY[name](x).square().sum()
            return Sgd(state.theta - 0.1 * torch.autograd.grad(y, x)[0])

    assert_repeats(step, Sgd(THETA.clone()))


# ---- Training steps ----

X, Y = torch.sin(torch.arange(60.0)).view(20, 3), torch.cos(torch.arange(20.0)).view(20, 1)
LR = torch.tensor([0.1, 0.01])


def descending(network, rule=lambda state, gradient: adam(state, gradient, LR)):
    gradients = value_and_grad(lambda theta, x, y: (network(theta, x) - y).square().mean((1, 2)))
    return lambda state, batch: rule(state, gradients(state.theta, *([X, Y] if batch is None else batch))[1])


def weights(network):
    return 0.5 * torch.sin(torch.arange(2.0 * network.parameters)).view(2, -1)


ROWS = [torch.tensor([[0, 3, 5], [1, 1, 2]]) + k for k in range(4)]
BATCHES = [(X[rows], Y[rows]) for rows in ROWS]  # (2, 3, 3), (2, 3, 1)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("activation", [torch.tanh, torch.relu, functional.gelu])
def test_an_mlp_with_adam_is_repeated_bit_by_bit(activation, batched):
    network = MLP((3, 8, 8, 1), activation)
    assert_repeats(descending(network), Adam.start(weights(network)), BATCHES if batched else (None,), steps=40)


RULES = {
    "sgd": (Sgd, lambda s, g: sgd(s, g, LR, weight_decay=0.1)),
    "momentum": (Momentum.start, lambda s, g: momentum(s, clip(g, 0.1), LR.double(), 0.9)),
    "amsgrad": (AmsGrad.start, lambda s, g: amsgrad(s, g, LR.double())),
    "adamw": (Adam.start, lambda s, g: adam(s, g, 0.1, weight_decay=0.1, decoupled=True)),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_repeated_bit_by_bit(rule):
    begin, update = RULES[rule]
    network = MLP((3, 8, 1), torch.tanh)
    assert_repeats(descending(network, update), begin(weights(network)), steps=20)


def test_two_gradients_in_one_step_are_repeated_bit_by_bit():
    network = MLP((3, 8, 1), torch.tanh)
    gradients = value_and_grad(lambda theta: (network(theta, X) - Y).square().mean((1, 2)))
    assert_repeats(lambda s, _: sgd(s, sam(gradients, s.theta, 0.05)[1], LR), Sgd(weights(network)), steps=20)


def test_a_module_under_vmap_is_repeated_bit_by_bit():
    torch.manual_seed(0)
    network = Module(nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 1)))
    assert_repeats(descending(network), Adam.start(weights(network)), steps=20)


def test_a_convolution_is_repeated_bit_by_bit():
    torch.manual_seed(0)
    images = torch.sin(torch.arange(180.0)).view(5, 1, 6, 6)
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 1))
    network = Module(module, images)
    gradients = value_and_grad(lambda theta: (network(theta, images) - Y[:5]).square().mean((1, 2)))
    step = lambda state, _: adam(state, gradients(state.theta)[1], LR)  # noqa: E731
    assert_repeats(step, Adam.start(weights(network)), steps=10)


def test_a_transformer_is_repeated_bit_by_bit():
    network = Transformer(5, width=8, context=3, layers=1)
    start = network.init(Stream((0, 1), "init"))
    tokens = torch.arange(24).view(2, 4, 3) % 5
    gradients = value_and_grad(lambda theta, x, y: cross_entropy(network(theta, x), y))
    batches = [(tokens, (tokens + k) % 5) for k in range(3)]
    assert_repeats(lambda s, batch: adam(s, gradients(s.theta, *batch)[1], LR), Adam.start(start), batches, steps=9)


# ---- What lines may hold ----


def test_keywords_are_passed_on():
    def step(state, _):
        x = state.theta
        return Pair(
            x.sum(0, dtype=torch.float64).to(torch.float32).expand(2, 3)
            + torch.full((2, 3), 2, dtype=torch.int32, device="cpu"),
            x.T.clone(memory_format=torch.contiguous_format).view(2, 3)
            + torch.zeros_like(x, dtype=torch.float64, memory_format=torch.preserve_format).float()
            + functional.gelu(x, approximate="tanh")
            + torch.std(x, 1, correction=0, keepdim=True),
        )

    recording, after = record(lambda pair, _: step(Sgd(pair.a), None), Pair(THETA, THETA), None)
    keywords = set().union(*(line.keywords for line in recording.lines))
    assert keywords >= {"dtype", "memory_format", "approximate", "correction"}
    assert all(same(a, b) for a, b in zip(replay(recording)([THETA, THETA]), after, strict=True))


def test_numbers_that_python_writes_as_words_are_passed_on():
    step = lambda state, _: Sgd(torch.where(state.theta > 0, math.inf, -math.inf).clamp(max=3) + math.nan * THETA)  # noqa: E731
    assert_repeats(step, Sgd(THETA))


def test_several_results_come_apart_and_undefined_ones_are_left_out():
    image = torch.sin(torch.arange(32.0)).view(1, 2, 4, 4)
    weight = torch.cos(torch.arange(36.0)).view(2, 2, 3, 3)

    def step(state, _):
        values, places = state.theta.sort(1)
        one, rest = values.split([1, 2], 1)
        with torch.enable_grad():
            scale = state.theta.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(functional.conv2d(image, weight * scale[0, 0]).square().sum(), scale)
        return Sgd(torch.cat([rest, one], 1) + places - 0.01 * gradient)

    assert_repeats(step, Sgd(THETA))


def test_what_reads_held_tensors_alone_is_computed_once():
    held = THETA.clone()
    recording, _ = record(lambda state, _: Sgd(state.theta + held.exp()), Sgd(THETA), None)
    repeat = replay(recording)
    held.zero_()
    assert torch.equal(repeat([THETA])[0], THETA + THETA.exp())


@pytest.mark.parametrize("theta", [torch.ones(1, 3).expand(2, 3), THETA.view(3, 2).T, THETA.repeat(1, 2)[:, ::2]])
def test_a_state_or_batch_may_lie_in_memory_in_another_way_than_when_it_was_recorded(theta):
    step = lambda state, batch: Sgd(state.theta.reshape(-1).view(2, 3) + batch.flatten().reshape(2, 3))  # noqa: E731
    for recorded, given_ in ((theta, theta), (THETA, theta), (theta, THETA)):
        recording, _ = record(step, Sgd(recorded), recorded)
        assert torch.equal(replay(recording)([given_, given_])[0], 2 * given_)


def test_no_graph_is_kept_whatever_the_grad_mode():
    recording, _ = record(lambda state, _: Sgd(state.theta * 2), Sgd(THETA), None)
    theta = THETA.clone().requires_grad_()
    with torch.enable_grad():
        (after,) = replay(recording)([theta])
    assert not after.requires_grad


def test_a_step_that_gives_what_it_got_gives_it_again():
    recording, _ = record(lambda state, _: Pair(state.b, state.b), Pair(THETA, THETA + 1), None)
    a, b = replay(recording)([THETA, THETA + 1])
    assert torch.equal(a, THETA + 1)
    assert torch.equal(b, THETA + 1)
