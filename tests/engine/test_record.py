"""What is recorded of a step, what its recordings have in common, and which steps are refused, with which words."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from dyntoolkit.engine.batches import parts_of
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.module import Module
from dyntoolkit.engine.record import Place, RecordingError, record
from dyntoolkit.engine.update import Adam, Sgd, adam, sgd

aten = torch.ops.aten
THETA = torch.sin(torch.arange(1.0, 7.0)).view(2, 3)
OTHER = torch.cos(torch.arange(1.0, 7.0)).view(2, 3)
ROWS = torch.tensor([1, 0])


class Pair(NamedTuple):
    """Two leaves (R, 3)."""

    a: torch.Tensor
    b: torch.Tensor


class Sample(NamedTuple):
    """A batch: x (R, 3), and a kick or None."""

    x: torch.Tensor
    kick: torch.Tensor | None


def of(function):
    """The step whose next weights are function(weights)."""
    return lambda state, _: Sgd(function(state.theta))


def recorded(function, theta=THETA):
    """The recording of function: (2, 3) -> (2, 3)."""
    return record(of(function), Sgd(theta), None)[0]


def walked(recording, state, batch=None):
    """What the lines compute of a state, operator by operator, by the plainest reading of them."""
    values = dict(zip(recording.inputs, [*state, *parts_of(batch)], strict=True)) | recording.held

    def of(value):
        if isinstance(value, Place):
            return values[value.at]
        return [of(each) for each in value] if isinstance(value, list) else value

    for line in recording.lines:
        result = line.operator(*map(of, line.args), **{name: of(value) for name, value in line.keywords.items()})
        results = result if line.several else [result]
        for at, each, size in zip(line.places, results, line.sizes, strict=True):
            if at is not None:
                assert at not in values  # straight-line: each place is written once
                assert each.numel() == size
                values[at] = each
    return type(state)(*(values[at] for at in recording.outputs))


def assert_equal(found, expected):
    assert type(found) is type(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


# ---- What a recording is ----


def test_the_lines_of_a_step_are_its_operators_with_places_for_tensors():
    recording = recorded(lambda theta: 0.5 * theta - OTHER.exp())
    half, grown, left = recording.lines
    assert (half.operator, half.args, half.keywords) == (aten.mul.Tensor, (Place(recording.inputs[0]), 0.5), {})
    (held,) = recording.held
    assert (grown.operator, grown.args) == (aten.exp.default, (Place(held),))
    assert (left.operator, left.args) == (aten.sub.Tensor, (Place(half.places[0]), Place(grown.places[0])))
    assert recording.outputs == left.places
    assert [line.sizes for line in recording.lines] == [(6,)] * 3
    assert left.reads == {*half.places, *grown.places}
    assert torch.equal(recording.held[held], OTHER)
    assert recording.shapes == (((2, 3), torch.float32),) * 2


def test_a_recording_gives_the_state_that_the_step_gives_too():
    def step(state, batch):
        return Pair(state.a + batch.x, state.b * 2)

    before = Pair(THETA.clone(), OTHER.clone())
    recording, after = record(step, before, Sample(THETA, None))
    assert_equal(after, step(before, Sample(THETA, None)))
    assert_equal(before, Pair(THETA, OTHER))
    assert len(recording.inputs) == 3


NETWORK = MLP((3, 4, 1), torch.tanh)
WEIGHTS = torch.sin(torch.arange(2.0 * NETWORK.parameters)).view(2, -1)
X, Y = torch.sin(torch.arange(15.0)).view(5, 3), torch.cos(torch.arange(5.0)).view(5, 1)


def descending(network, lr=0.1, *, rule=adam):
    """Gradient descent of a network on X, Y."""
    gradients = value_and_grad(lambda theta, x: (network(theta, x) - Y).square().mean((1, 2)))
    return lambda state, batch: rule(state, gradients(state.theta, X if batch is None else batch)[1], lr)


def test_a_recording_repeats_the_step_on_other_states_and_batches():
    step = descending(NETWORK, torch.tensor([0.1, 0.2]))
    recording, state = record(step, Adam.start(WEIGHTS), X)
    for k in range(3):
        batch = X * (k + 2)
        expected = step(state, batch)
        assert_equal(walked(recording, state, batch), expected)
        state = expected


def test_two_leaves_that_are_one_tensor_are_two_inputs():
    def step(state, _):
        return Pair(state.a * 2, state.b + 1)

    recording, _ = record(step, Pair(THETA, THETA), None)
    assert len(set(recording.inputs)) == 2
    state = Pair(THETA, OTHER)
    assert_equal(walked(recording, state), step(state, None))
    again, _ = record(step, state, None)
    assert again.key == recording.key


def test_leaves_that_are_views_of_one_tensor_are_two_inputs():
    both = torch.cat([THETA, OTHER])
    recording, _ = record(lambda state, _: Pair(state.b, state.a), Pair(both[:2], both[2:]), None)
    assert_equal(walked(recording, Pair(OTHER, THETA)), Pair(THETA, OTHER))


def test_a_batch_that_lies_in_a_tensor_that_the_step_holds_is_an_input_all_the_same():
    data = torch.stack([THETA, OTHER, THETA + OTHER])
    first = data[0]
    recording, _ = record(lambda state, batch: Sgd(state.theta + batch - first), Sgd(THETA), data[0])
    expected = (THETA + OTHER - THETA,)
    assert_equal(walked(recording, Sgd(THETA), OTHER), Sgd(*expected))
    recording, _ = record(lambda state, batch: Sgd(state.theta + batch * data.mean()), Sgd(THETA), data[0])
    assert_equal(walked(recording, Sgd(THETA), OTHER), Sgd(THETA + OTHER * data.mean()))


def test_a_leaf_that_the_step_holds_too_is_an_input_all_the_same():
    recording, _ = record(lambda state, _: Sgd(state.theta - THETA), Sgd(THETA), None)
    assert_equal(walked(recording, Sgd(OTHER)), Sgd(OTHER - THETA))


def test_parts_of_a_batch_that_are_one_tensor_are_two_inputs():
    recording, _ = record(lambda state, batch: Sgd(batch[0] - 2 * batch[1]), Sgd(THETA), (THETA, THETA))
    assert_equal(walked(recording, Sgd(THETA), (THETA, OTHER)), Sgd(THETA - 2 * OTHER))


@pytest.mark.parametrize("theta", [torch.ones(1, 3).expand(2, 3), OTHER.view(3, 2).T, OTHER.repeat(1, 2)[:, ::2]])
def test_how_a_state_lies_in_memory_does_not_matter(theta):
    step = of(lambda theta: theta.reshape(-1).view(2, 3) * 2)
    recording, after = record(step, Sgd(theta), None)
    assert_equal(after, Sgd(theta * 2))
    assert recording.key == record(step, after, None)[0].key


def test_a_state_may_stay_be_constant_or_change_its_places():
    recording, _ = record(lambda state, _: Pair(state.b, state.b), Pair(THETA, OTHER), None)
    assert (recording.lines, recording.outputs) == ((), (recording.inputs[1],) * 2)
    recording, _ = record(lambda state, _: Pair(OTHER, torch.zeros(2, 3)), Pair(THETA, THETA), None)
    assert_equal(walked(recording, Pair(THETA, THETA)), Pair(OTHER, torch.zeros(2, 3)))


def test_what_no_output_depends_on_drops_out():
    def step(state, batch):
        (state.theta @ OTHER.T).exp().sum()
        unused, used = torch.split(state.theta, [1, 2], dim=1)
        unused.sin()
        return Sgd(torch.cat([used, used[:, :1]], 1))

    recording, _ = record(step, Sgd(THETA), THETA)
    assert {str(line.operator) for line in recording.lines} == {
        "aten.split_with_sizes.default",
        "aten.slice.Tensor",
        "aten.cat.default",
    }
    assert recording.held == {}
    assert recording.shapes == (((2, 3), torch.float32),) * 2  # of the state, and of a batch that nobody reads
    assert_equal(walked(recording, Sgd(OTHER), THETA), Sgd(OTHER[:, [1, 2, 1]]))


def test_lines_that_read_held_tensors_alone_are_done_once_unless_they_grow():
    def step(state, _):
        small = OTHER.exp().mean(0)  # (3,)
        large = small.expand(50, 3).sin()
        scalar = torch.zeros(())
        return Sgd(state.theta * small + large[:2] + scalar + torch.zeros(2, 3))

    recording, _ = record(step, Sgd(THETA), None)
    once, every = recording.once_and_every
    names = [str(line.operator) for line in once]
    assert names == ["aten.exp.default", "aten.mean.dim", "aten.zeros.default", "aten.detach.default"]
    assert set(map(id, once)) | set(map(id, every)) == set(map(id, recording.lines))
    assert not any(line.reads & set(recording.inputs) for line in once)


def test_undefined_results_have_no_place():
    image = torch.sin(torch.arange(32.0)).view(1, 2, 4, 4)
    weight = torch.cos(torch.arange(36.0)).view(2, 2, 3, 3)

    def step(state, _):
        theta = state.theta.detach().requires_grad_()
        with torch.enable_grad():
            out = functional.conv2d(image, weight * theta[0, 0])  # no gradient of the image is asked for
            return Sgd(state.theta - torch.autograd.grad(out.square().sum(), theta)[0])

    recording, after = record(step, Sgd(THETA), None)
    (line,) = [line for line in recording.lines if "convolution_backward" in str(line.operator)]
    assert line.places[0] is None
    assert line.sizes[0] == 0
    assert line.several
    assert_equal(walked(recording, Sgd(THETA)), after)


def test_views_of_one_tensor_may_be_held_beside_it():
    row = OTHER[1]
    recording, _ = record(lambda state, _: Sgd(state.theta * row + OTHER), Sgd(THETA), None)
    assert len(recording.held) == 2
    assert_equal(walked(recording, Sgd(THETA)), Sgd(THETA * row + OTHER))


def test_what_is_held_needs_no_gradient():
    weight = nn.Parameter(OTHER.clone())
    recording, _ = record(of(lambda theta: theta * weight.detach() + weight.sum().detach()), Sgd(THETA), None)
    assert [held.requires_grad for held in recording.held.values()] == [False]
    assert torch.equal(*recording.held.values(), weight)


# ---- Keys ----


def test_recordings_that_differ_in_numbers_alone_have_one_key():
    keys = {
        record(descending(NETWORK, torch.tensor(lr)), Adam.start(scale * WEIGHTS), scale * X)[0].key
        for lr in ([0.1, 0.2], [0.3, 0.4])
        for scale in (1, 2)
    }
    assert len(keys) == 1


def test_recordings_that_differ_in_more_have_other_keys():
    rates = torch.tensor([0.1, 0.2])
    recordings = [
        record(descending(NETWORK, rates), Adam.start(WEIGHTS), X)[0],
        record(descending(NETWORK, rates), Adam.start(WEIGHTS), X.expand(2, 5, 3))[0],
        record(descending(NETWORK, rates), Adam.start(WEIGHTS), None)[0],  # it is held
        record(descending(NETWORK, rates.double()), Adam.start(WEIGHTS), X)[0],
        record(descending(NETWORK, rates[:1]), Adam.start(WEIGHTS), X)[0],
        record(descending(NETWORK, rates[:1]), Adam.start(WEIGHTS[:1]), X)[0],
        record(descending(NETWORK, rates, rule=sgd), Sgd(WEIGHTS), X)[0],
        record(descending(MLP((3, 4, 1), torch.relu), rates), Adam.start(WEIGHTS), X)[0],
        record(of(lambda theta: theta * 2), Sgd(THETA), None)[0],
        record(of(lambda theta: theta * 2.0), Sgd(THETA), None)[0],
        record(of(lambda theta: theta * 2.0000000000000004), Sgd(THETA), None)[0],
        record(of(lambda theta: theta.sum(0, keepdim=True).expand(2, 3)), Sgd(THETA), None)[0],
        record(of(lambda theta: theta.sum(1, keepdim=True).expand(2, 3)), Sgd(THETA), None)[0],
        record(lambda state, _: Pair(state.a, state.b), Pair(THETA, THETA), None)[0],
        record(lambda state, _: Pair(state.b, state.a), Pair(THETA, THETA), None)[0],
    ]
    assert len({recording.key for recording in recordings}) == len(recordings)


def test_numbers_of_held_tensors_are_those_of_this_recording():
    recordings = [recorded(lambda theta, lr=lr: theta * torch.tensor([[lr], [0.5]])) for lr in (0.1, 0.2)]
    assert recordings[0].key == recordings[1].key
    for recording, lr in zip(recordings, (0.1, 0.2), strict=True):
        assert_equal(walked(recording, Sgd(THETA)), Sgd(THETA * torch.tensor([[lr], [0.5]])))


# ---- What may be recorded ----


def added(theta):
    x = theta * OTHER
    x += theta
    x *= 2
    x.sub_(OTHER, alpha=3).clamp_(-1, 1)
    return x


def written_by_index(theta):
    x = theta * 1
    x[ROWS] = OTHER
    x[:, torch.tensor([0])] = 5.0
    return x


def written_by_mask(theta):
    x = theta * 1
    x[theta > 0] = 0.0
    return x.masked_fill_(theta < -0.5, 2.0)


def filled(theta):
    x = torch.empty(2, 3)
    x.copy_(theta)
    y = torch.zeros(2, 3)
    y[:] = x
    y.add_(torch.ones_like(theta).fill_(3))
    return y.exp_()


def summed(theta):
    total = torch.tensor(0.0)  # fresh: the step may write into it
    for row in theta:
        total += row.sum()
    return theta * total


def cast(theta):
    x = theta * 1
    x += OTHER.double() / 3  # in place, the result stays float32
    y = theta * 1
    y.lt_(0.3)  # and that of a comparison, too
    return x + y


def viewed(theta):
    x = theta * 1
    y = x.view(-1)
    y += 1  # x is not read any more
    return y.view(2, 3)


def renamed(theta):
    x = theta * 1
    x += OTHER
    parameter = nn.Parameter(x)  # another name of what x is now, which no operator gives
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(parameter.square().sum(), parameter)
    return gradient + x


def scattered(theta):
    x = torch.zeros(2, 3)
    return x.scatter_add_(1, torch.tensor([[0, 0, 1], [2, 2, 2]]), theta).index_add_(0, ROWS, theta)


def gathered(theta):
    return theta[ROWS] + theta[:, torch.tensor([2, 1, 0])] + theta[ROWS, torch.tensor([0, 2])][:, None]


def differentiated(theta):
    with torch.enable_grad():
        leaf = theta.detach().requires_grad_()
        (leaf.square() * OTHER).sum().backward()
    return leaf.grad


def twice_differentiated(theta):
    with torch.enable_grad():
        leaf = theta.detach().requires_grad_()
        (first,) = torch.autograd.grad(leaf.tanh().pow(3).sum(), leaf, create_graph=True)
        return torch.autograd.grad(first.square().sum(), leaf)[0]


def functionally(theta):
    return torch.func.grad(lambda theta: (theta.exp() * OTHER).sum())(theta)


def forward(theta):
    return torch.func.jvp(torch.sin, (theta,), (OTHER,))[1]


def mapped_in_place(theta):
    def one(row):
        x = row * 2
        x += row.sum()
        return x

    return torch.vmap(one)(theta)


def split(theta):
    first, second = theta.split([1, 2], 1)
    values, places = theta.sort(1)
    return torch.cat([second, first], 1) + values * places + theta.max(1, keepdim=True).values


def on_the_cpu(theta):
    return theta + torch.ones(2, 3, device="cpu", pin_memory=False, layout=torch.strided).to("cpu", non_blocking=True)


def in_python(theta):
    for k, row in enumerate(theta):
        if row.ndim == 1 and len(row) == 3:  # shapes are no numbers
            theta = theta + k * row.shape[0] / 7
    return theta


def by_scan(theta):
    return torch.stack([row.cumsum(0) for row in theta.unbind(0)])


ALLOWED = [
    added,
    written_by_index,
    written_by_mask,
    filled,
    summed,
    cast,
    viewed,
    renamed,
    scattered,
    gathered,
    differentiated,
    twice_differentiated,
    functionally,
    forward,
    mapped_in_place,
    split,
    on_the_cpu,
    in_python,
    by_scan,
]


@pytest.mark.parametrize("function", ALLOWED)
def test_what_torch_code_may_do_is_recorded(function):
    """The lines do with other numbers what the function does; twice it is the same recording."""
    recording = recorded(function)
    for theta in (THETA, OTHER, THETA * OTHER - 0.2):
        assert_equal(walked(recording, Sgd(theta)), Sgd(function(theta)))
    assert recorded(function, OTHER).key == recording.key
    assert not any(line.operator._schema.is_mutable for line in recording.lines)
    assert not any({"device", "layout", "pin_memory", "non_blocking"} & set(line.keywords) for line in recording.lines)


def test_modules_under_vmap_are_recorded():
    torch.manual_seed(0)
    network = Module(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 1)))
    theta = torch.sin(torch.arange(2.0 * network.parameters)).view(2, -1)
    step = descending(network)
    recording, state = record(step, Adam.start(theta), None)
    assert_equal(walked(recording, state), step(state, None))


def test_a_step_may_be_recorded_without_gradients_being_on():
    step = descending(NETWORK)
    with torch.no_grad():
        recording, state = record(step, Adam.start(WEIGHTS), None)
    assert_equal(walked(recording, state), step(state, None))


def test_recording_leaves_nothing_behind():
    held, theta = OTHER.clone(), THETA.clone()
    record(of(lambda theta: added(theta) * held), Sgd(theta), None)
    with pytest.raises(RecordingError):
        record(of(lambda theta: theta * theta.sum().item()), Sgd(theta), None)
    assert torch.equal(held, OTHER)
    assert torch.equal(theta, THETA)
    assert theta.sum().item() == pytest.approx(float(THETA.sum()))  # nobody looks on any more
    assert theta.numpy().shape == (2, 3)
    assert not theta.requires_grad


# ---- What is refused ----


def into_state(theta):
    theta += 1
    return theta


def into_held(theta):
    OTHER.mul_(1)
    return theta * OTHER


def into_a_view_of_what_is_held(theta):
    OTHER[0].mul_(1)
    return theta


def through_a_view(theta):
    x = theta * 1
    x[0] = 0.0
    return x


def through_a_view_read_later(theta):
    x = theta * 1
    row = x[0]
    x += 1
    return theta + row


def behind_our_back(theta):
    x = theta * 1
    with _disable_current_modes():
        row = x[0]
    return theta + row


def conditional(theta):
    return theta if theta.sum() > 0 else -theta


def failing(theta):
    raise ZeroDivisionError("of its own")


REFUSED = {
    "item": (lambda theta: theta * theta.sum().item(), ".item(), or a tensor as a condition, makes Python depend"),
    "float": (lambda theta: theta * float(theta[0, 0]), ".item(), or a tensor as a condition, makes Python depend"),
    "if": (conditional, ".item(), or a tensor as a condition, makes Python depend on numbers"),
    "range": (lambda theta: theta * sum(range(theta.argmax())), ".item(), or a tensor as a condition, makes Python"),
    "numpy": (lambda theta: torch.from_numpy(theta.numpy() + 1), ".numpy() makes Python depend on numbers"),
    "asarray": (lambda theta: torch.from_numpy(np.asarray(theta) + 1), ".__array__() makes Python depend on numbers"),
    "dlpack": (lambda theta: torch.from_numpy(np.from_dlpack(theta) + 1), ".__dlpack__() makes Python depend"),
    "tolist": (lambda theta: torch.tensor(theta.tolist()), ".tolist() makes Python depend on numbers"),
    "equal": (lambda theta: theta if torch.equal(theta, OTHER) else -theta, "torch.equal makes Python depend"),
    "allclose": (lambda theta: theta if torch.allclose(theta, OTHER) else -theta, "allclose makes Python depend"),
    "nonzero": (lambda theta: theta + len(theta.nonzero()), "nonzero makes Python depend on numbers"),
    "unique": (lambda theta: theta + len(theta.unique()), "_unique2 makes Python depend on numbers"),
    "mask": (lambda theta: theta + theta[theta > 0].sum(), "a mask as an index makes Python depend on numbers"),
    "mask of bytes": (lambda theta: theta + theta[0][torch.ones(3, dtype=torch.uint8)].sum(), "a mask as an index"),
    "masked_select": (lambda theta: theta + theta.masked_select(theta > 0).sum(), "masked_select makes Python depend"),
    "randn": (lambda theta: theta + torch.randn(2, 3), "randn draws random numbers: let `batches` draw them, from a"),
    "rand_like": (lambda theta: theta + torch.rand_like(theta), "rand_like draws random numbers"),
    "dropout": (functional.dropout, "bernoulli_ draws random numbers"),
    "bernoulli": (lambda theta: theta * torch.bernoulli(theta.sigmoid()), "bernoulli draws random numbers"),
    "randperm": (lambda theta: theta[:, torch.randperm(3)], "randperm draws random numbers"),
    "normal_": (lambda theta: theta + torch.empty(2, 3).normal_(), "normal_ draws random numbers"),
    "state": (into_state, "add_ writes into what the step was given"),
    "held": (into_held, "mul_ writes into what the step was given"),
    "view of held": (into_a_view_of_what_is_held, "mul_ writes into what the step was given"),
    "through a view": (through_a_view, "fill_ writes into a tensor of which views are read afterwards"),
    "view, read later": (through_a_view_read_later, "add_ writes into a tensor of which views are read afterwards"),
    "no operator": (behind_our_back, "it reads a view that no operator made"),
    "out": (lambda theta: torch.add(theta, 1, out=torch.empty(2, 3)), "add writes in place, and has no form that does"),
    "foreach": (lambda theta: torch._foreach_add_([theta * 1], 1.0), "_foreach_add_ writes in place, and has no form"),
    "as_strided": (lambda theta: theta.as_strided((2, 3), (1, 2)), "as_strided depends on how a tensor lies in memory"),
    "resize": (lambda theta: (theta * 1).resize_(2, 3), "resize_ depends on how a tensor lies in memory"),
    "error": (failing, "it raised ZeroDivisionError while it was recorded: of its own"),
    "shape": (lambda theta: theta[:, :2], "its next state has other shapes or dtypes than the state"),
    "dtype": (torch.Tensor.double, "its next state has other shapes or dtypes than the state"),
    "no tensor": (lambda theta: 1.0, "it raised AttributeError while it was recorded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_repeated_is_refused_with_a_reason(name):
    function, reason = REFUSED[name]
    before, generator = OTHER.clone(), torch.get_rng_state()
    with pytest.raises(RecordingError) as refused:
        recorded(function)
    assert str(refused.value).startswith(reason)
    assert torch.equal(OTHER, before)
    assert torch.equal(torch.get_rng_state(), generator)  # nothing was drawn


def test_a_batch_is_not_written_to():
    with pytest.raises(RecordingError, match="add_ writes into what the step was given"):
        record(lambda state, batch: Sgd(batch.add_(1) * state.theta), Sgd(THETA), OTHER.clone())


def test_an_error_of_the_step_is_the_cause():
    with pytest.raises(RecordingError) as refused:
        recorded(failing)
    assert isinstance(refused.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("after", [Sgd(THETA), (THETA, THETA), None])
def test_the_next_state_is_of_the_kind_of_the_state(after):
    with pytest.raises(RecordingError):
        record(lambda state, _: after, Pair(THETA, THETA), None)


@pytest.mark.parametrize(("dropout", "recordable"), [(0.0, True), (0.1, False)])
def test_attention_is_recorded_unless_it_drops_something(dropout, recordable):
    q = torch.ones(1, 1, 4, 8)

    def step(state, _):
        mixed = torch.nn.functional.scaled_dot_product_attention(q * state.theta, q, q, dropout_p=dropout)
        return Sgd(state.theta * mixed.mean())

    if recordable:
        assert record(step, Sgd(torch.ones(1, 1)), None)[0].lines
    else:
        with pytest.raises(RecordingError, match="draws random numbers"):
            record(step, Sgd(torch.ones(1, 1)), None)
