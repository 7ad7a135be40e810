import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.engine.streams import Stream, check_seeds
from dyntoolkit.errors import InputError

DRAWS = {
    "normal": lambda stream, steps: stream.normal(steps, 5),
    "signs": lambda stream, steps: stream.signs(steps, 5),
    "uniform": lambda stream, steps: stream.uniform(steps, 5),
    "unit": lambda stream, steps: stream.unit(steps, 5),
    "indices": lambda stream, steps: stream.indices(7, steps, 5),
}
kinds = pytest.mark.parametrize("kind", list(DRAWS))


@kinds
@given(chunks=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_numbers_do_not_depend_on_how_many_are_drawn_at_once(kind, chunks):
    draw = DRAWS[kind]
    stream = Stream((1, 2), "data")
    pieces = torch.cat([draw(stream, steps) for steps in chunks], dim=1)
    assert torch.equal(pieces, draw(Stream((1, 2), "data"), sum(chunks)))


@kinds
def test_a_run_draws_the_same_alone_and_among_sixteen(kind):
    together = DRAWS[kind](Stream(tuple(range(16)), "noise"), 20)
    for seed in (0, 9, 15):
        assert torch.equal(DRAWS[kind](Stream((seed,), "noise"), 20)[0], together[seed])


@kinds
def test_seeds_and_names_make_different_numbers_and_equal_ones_the_same(kind):
    a, b, again = DRAWS[kind](Stream((1, 2, 1), "init"), 20)
    assert torch.equal(a, again)
    assert not torch.equal(a, b)
    assert not torch.equal(a, DRAWS[kind](Stream((1,), "init_b"), 20)[0])


def test_streams_do_not_touch_each_other():
    left, right = Stream((1,), "left"), Stream((1,), "right")
    left.normal(3)
    assert torch.equal(right.normal(4), Stream((1,), "right").normal(4))


def test_the_global_random_state_of_torch_is_left_alone():
    before = torch.get_rng_state()
    Stream((1,), "init").normal(10)
    assert torch.equal(torch.get_rng_state(), before)


def test_normal_numbers_have_mean_zero_and_variance_one():
    numbers = Stream((1, 2), "x").normal(20_000, dtype=torch.float64)
    assert numbers.dtype == torch.float64
    assert numbers.mean(1).abs().max() < 0.03
    assert (numbers.var(1) - 1).abs().max() < 0.04


def test_float32_numbers_are_the_float64_ones_rounded():
    assert torch.equal(Stream((1,), "x").normal(50), Stream((1,), "x").normal(50, dtype=torch.float64).float())


def test_signs_are_plus_and_minus_one_equally_often():
    signs = Stream((1,), "x").signs(20_000)
    assert signs.abs().eq(1).all()
    assert signs.mean().abs() < 0.03


def test_uniform_numbers_fill_the_interval_evenly():
    numbers = Stream((3,), "init").uniform(40_000)
    assert -1 <= numbers.min() < -0.99
    assert 0.99 < numbers.max() < 1
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.square().mean() - 1 / 3) < 0.01
    unit = Stream((3,), "init").unit(40_000)
    assert 0 <= unit.min() < 0.01
    assert 0.99 < unit.max() < 1
    assert abs(unit.mean() - 0.5) < 0.01


def test_permutations_hold_every_number_once_and_differ_between_runs_and_draws():
    stream = Stream((1, 2, 1), "split")
    first, second = stream.permutations(50), stream.permutations(50)
    assert torch.equal(first.sort(1).values, torch.arange(50).expand(3, 50))
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_indices_cover_the_whole_range_evenly():
    counts = torch.bincount(Stream((4,), "x").indices(10, 20_000)[0], minlength=10)
    assert len(counts) == 10
    assert (counts - 2000).abs().max() < 250


@pytest.mark.parametrize(
    "seeds", [(0,), [3, 2**32 - 1], range(2), np.arange(2), np.array([7], dtype=np.uint32), ["4", "1e1"], [2.0]]
)
def test_good_seeds_become_plain_whole_numbers(seeds):
    assert check_seeds(seeds) == tuple(int(float(seed)) for seed in seeds)
    assert all(type(seed) is int for seed in check_seeds(seeds))


@pytest.mark.parametrize("seed", [1.5, "1.5", "one", "", True, None, -1, "-1", 2**32, math.nan, np.int64(-1), [1]])
def test_what_is_no_seed_is_named(seed):
    with pytest.raises(InputError) as caught:
        check_seeds([0, seed])
    assert str(caught.value) == f"seed takes a whole number from 0 to 4294967295, got {seed!r}."
    assert caught.value.field == "seed"


def test_zero_seeds_are_refused():
    with pytest.raises(InputError, match="at least one seed"):
        check_seeds([])
