import math

import pytest
import torch

from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.laboratory import synthetic
from dyntoolkit.probes.walsh import cube, walsh

N = 101
NONE = torch.zeros(1)
IN_THE_PLANE = {
    "moons": synthetic.moons,
    "spirals": synthetic.spirals,
    "xor": synthetic.xor,
    "circles": synthetic.circles,
}
DRAWS = {
    **{name: lambda stream, n, draw=draw: draw(stream, n, torch.tensor([0.1])) for name, draw in IN_THE_PLANE.items()},
    "sines": synthetic.sines,
    "parity": lambda stream, n: synthetic.parity(stream, n, 8, 3),
    "gaussian": lambda stream, n: synthetic.gaussian(stream, n, 6),
    "teacher": lambda stream, n: synthetic.teacher(stream, n, 6),
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
in_the_plane = pytest.mark.parametrize("draw", IN_THE_PLANE.values(), ids=IN_THE_PLANE)


def stream(*seeds: int) -> Stream:
    return Stream(seeds or (0,), "data")


@draws
def test_a_run_draws_the_same_alone_and_among_others(draw):
    x, y = draw(stream(3, 5, 3), N)
    alone_x, alone_y = draw(stream(5), N)
    assert torch.equal(x[1], alone_x[0])
    assert torch.equal(y[1], alone_y[0])
    assert torch.equal(x[0], x[2])
    assert not torch.equal(x[0], x[1])


@draws
def test_shapes_and_types_and_no_sample_twice(draw):
    x, y = draw(stream(1, 2), N)
    assert x.dtype == torch.float32
    assert x.shape[:2] == y.shape[:2] == (2, N)
    assert (y.dtype, y.ndim) in ((torch.int64, 2), (torch.float32, 3))
    assert len(x[0].unique(dim=0)) == N


@in_the_plane
def test_classes_are_balanced_to_one_sample(draw):
    _, y = draw(stream(1, 2), N, NONE)
    assert y.sum(1).tolist() == [N // 2, N // 2]


@in_the_plane
def test_noise_is_of_its_size_and_of_each_run_alone(draw):
    n = 4000
    (clean, _), (noisy, _) = draw(stream(1, 1), n, NONE), draw(stream(1, 1), n, torch.tensor([0.1, 0.2]))
    spread = (noisy - clean).std((1, 2))
    torch.testing.assert_close(spread, torch.tensor([0.1, 0.2]), rtol=0.05, atol=0)
    torch.testing.assert_close(2 * (noisy - clean)[0], (noisy - clean)[1], rtol=0, atol=1e-5)


def test_moons_are_half_circles_that_reach_into_each_other():
    x, y = synthetic.moons(stream(), 2000, NONE)
    for label, centre in ((0, torch.tensor([-0.5, -0.25])), (1, torch.tensor([0.5, 0.25]))):
        relative = x[0][y[0] == label] - centre
        torch.testing.assert_close(relative.norm(dim=1), torch.ones(1000))
        assert ((1 - 2 * label) * relative[:, 1]).min() > -1e-6  # the upper half of one, the lower half of the other
        assert relative[:, 0].min() < -0.9
        assert relative[:, 0].max() > 0.9


def test_spirals_are_one_arm_turned_by_half_a_turn():
    x, y = synthetic.spirals(stream(), 2000, NONE)
    radius = x[0].norm(dim=1)
    assert 1.9 < radius.max() <= synthetic.RADIUS
    along = 2 * math.pi * synthetic.TURNS * radius / synthetic.RADIUS + math.pi * y[0]
    torch.testing.assert_close(x[0], radius[:, None] * torch.stack([along.cos(), along.sin()], 1), atol=1e-5, rtol=0)


def test_xor_fills_the_square_and_the_class_is_whether_signs_differ():
    x, y = synthetic.xor(stream(), 4000, NONE)
    assert torch.equal(y[0], (x[0, :, 0] * x[0, :, 1] < 0).long())
    quadrants = (2 * (x[0, :, 0] > 0) + (x[0, :, 1] > 0)).bincount()
    assert quadrants.min() > 900
    assert x.abs().max() <= 1
    torch.testing.assert_close(x[0].abs().mean(0), torch.tensor([0.5, 0.5]), atol=0.02, rtol=0)


def test_circles_lie_in_one_another():
    x, y = synthetic.circles(stream(), 200, NONE)
    torch.testing.assert_close(x[0].norm(dim=1), torch.where(y[0] == 0, 1.0, synthetic.INNER))


def test_sines_are_their_function():
    x, y = synthetic.sines(stream(), 1000)
    assert x.abs().max() <= 1
    torch.testing.assert_close(y, torch.sin(math.pi * x) + torch.sin(4 * math.pi * x))
    assert torch.equal(y, synthetic.sines_at(x))


def test_all_points_of_the_cube_have_the_parity_of_the_first_bits():
    x, y = synthetic.parity(stream(), 2**6, 6, 3)
    order = (x[0].unsqueeze(1) == cube(6)).all(2).int().argmax(1)
    signs = torch.empty(2**6)
    signs[order] = 1.0 - 2 * y[0]
    spectrum = walsh(signs)
    assert spectrum.nonzero().tolist() == [[0b111]]
    assert spectrum[0b111] == 1


def test_more_points_than_the_cube_has_are_refused():
    with pytest.raises(InputError, match="n_bits: 5 bits have 32 points, 33 are needed"):
        synthetic.parity(stream(), 33, 5, 2)


def test_the_gaussian_target_is_a_sum_of_three_inputs_of_variance_one():
    x, y = synthetic.gaussian(stream(1, 2), 4000, 6)
    torch.testing.assert_close(y.var((1, 2)), torch.ones(2), rtol=0.1, atol=0)
    truth = torch.linalg.lstsq(x, y).solution[:, :, 0]
    torch.testing.assert_close(truth[:, :3].abs(), torch.full((2, 3), 3**-0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(truth[:, 3:], torch.zeros(2, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["gaussian", "teacher"])
def test_the_truth_of_a_run_does_not_depend_on_how_many_samples_there_are(name):
    (x, y), (more, more_y) = DRAWS[name](stream(4), 10), DRAWS[name](stream(4), 500)
    assert torch.equal(x, more[:, :10])
    torch.testing.assert_close(y, more_y[:, :10])


def test_the_teacher_is_a_network_of_three_relus():
    x, y = synthetic.teacher(stream(1, 2), 2000, 5)
    w = torch.nn.functional.normalize(stream(1, 2).normal(5, 3), dim=1)  # drawn first
    hidden = torch.relu(x @ w)
    torch.testing.assert_close(y[:, :, 0], hidden[:, :, 0] - hidden[:, :, 1] + hidden[:, :, 2])


def test_irrelevant_inputs_are_gaussian_and_come_after_the_others():
    x, _ = synthetic.sines(stream(1, 2), 2000)
    wide = synthetic.with_irrelevant(x, 3, Stream((1, 2), "irrelevant"))
    assert torch.equal(wide[:, :, :1], x)
    assert wide.shape == (2, 2000, 4)
    torch.testing.assert_close(wide[:, :, 1:].std((1, 2)), torch.ones(2), rtol=0.05, atol=0)
    assert synthetic.with_irrelevant(x, 0, stream(1, 2)) is x
