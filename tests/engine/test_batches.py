"""Blocks of batches and their slices."""

from typing import NamedTuple

import pytest
import torch

from dyntoolkit.engine.batches import full_batch, look, mapped, parts_of, taken, unbind
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.update import Sgd
from dyntoolkit.errors import InputError

BLOCK = torch.arange(24).view(3, 2, 4)


class Sample(NamedTuple):
    x: torch.Tensor
    kick: torch.Tensor | None


def test_no_batch_is_none_in_every_step():
    assert list(unbind(full_batch(4, 7), 3)) == [None] * 3


def test_a_tensor_gives_its_slices_without_copying_them():
    slices = list(unbind(BLOCK.transpose(0, 1), 2))
    assert len(slices) == 2
    for i, part in enumerate(slices):
        assert torch.equal(part, BLOCK[:, i])
        assert part.stride() == BLOCK[:, i].stride()
        assert part.data_ptr() == BLOCK[:, i].data_ptr()


def test_a_tensor_of_steps_gives_numbers_without_axes():
    assert [(k.shape, int(k)) for k in unbind(torch.arange(5, 8), 3)] == [((), 5), ((), 6), ((), 7)]


@pytest.mark.parametrize("kick", [None, torch.arange(3)])
def test_a_tuple_stays_of_its_kind_and_keeps_what_is_none(kick):
    for kind in (Sample, lambda *parts: parts):
        block = kind(BLOCK, kick)
        batches = list(unbind(block, 3))
        assert len(batches) == 3
        for k, batch in enumerate(batches):
            assert type(batch) is type(block)
            assert torch.equal(batch[0], BLOCK[k])
            assert batch[1] is None if kick is None else int(batch[1]) == k


def test_tuples_may_hold_tuples_or_nothing():
    first, *others = unbind((Sample(BLOCK, None), (), None), 3)
    assert torch.equal(first[0].x, BLOCK[0])
    assert first[1:] == ((), None)
    assert len(others) == 2
    assert list(unbind((), 3)) == [()] * 3


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (BLOCK, r"first axis is the 2 steps, got shape \(3, 2, 4\)"),
        ((None, BLOCK), r"first axis is the 2 steps, got shape \(3, 2, 4\)"),
        (torch.tensor(2), r"first axis is the 2 steps, got shape \(\)"),
        ([BLOCK, BLOCK], "all steps at once, got list"),
        (iter([BLOCK, BLOCK]), "all steps at once, got list_iterator"),
        (Sample(BLOCK[:2], 0.5), "all steps at once, got float"),
        (range(2), "all steps at once, got range"),
    ],
)
def test_what_is_no_block_of_so_many_steps_is_refused_before_the_first(block, told):
    for refusing in (unbind, look):
        with pytest.raises(InputError, match=told) as refused:
            refusing(block, 2)
        assert refused.value.field == "batches"


NESTED = (Sample(BLOCK, None), (), None, (torch.arange(3.0), Sample(BLOCK.bool(), BLOCK)))


def test_what_batches_look_like_says_nothing_about_their_number():
    common = look(NESTED, 3)
    matrix = (2, 4), torch.int64
    assert common == ((matrix, None), (), None, (((), torch.float32), (((2, 4), torch.bool), matrix)))
    assert look(taken(NESTED, 1, 3), 2) == common
    assert look(mapped(torch.Tensor.double, NESTED), 3) != common
    assert look(mapped(lambda tensor: tensor[..., None], NESTED), 3) != common
    assert look((*NESTED[:2], BLOCK, NESTED[3]), 3) != common


def test_parts_are_the_tensors_in_order():
    assert [tensor is part for tensor, part in zip(parts_of(NESTED), [BLOCK, NESTED[3][0]], strict=False)] == [True] * 2
    assert parts_of(NESTED)[2].dtype == torch.bool
    assert parts_of(NESTED)[3] is BLOCK
    assert len(parts_of(NESTED)) == 4
    assert parts_of(BLOCK)[0] is BLOCK
    assert parts_of(None) == parts_of(()) == parts_of((None, ((), None))) == []


@pytest.mark.parametrize(("first", "last"), [(0, 3), (1, 3), (2, 3), (0, 1), (1, 2)])
def test_what_is_taken_holds_the_batches_of_these_steps_alone(first, last):
    some = taken(NESTED, first, last)
    assert type(some[0]) is type(some[3][1]) is Sample
    assert type(some) is type(some[3]) is tuple
    assert (some[0].kick, some[1], some[2]) == (None, (), None)
    found, wanted = list(unbind(some, last - first)), list(unbind(NESTED, 3))[first:last]
    assert len(found) == len(wanted) == last - first
    for a, b in zip(found, wanted, strict=True):
        for part, other in zip(parts_of(a), parts_of(b), strict=True):
            assert torch.equal(part, other)
    assert taken(None, first, last) is None


def test_a_function_is_done_with_each_tensor_and_the_rest_stays():
    doubled = mapped(lambda tensor: 2.0 * tensor, NESTED)
    assert type(doubled[0]) is Sample
    assert (doubled[0].kick, doubled[1], doubled[2]) == (None, (), None)
    for part, other in zip(parts_of(doubled), parts_of(NESTED), strict=True):
        assert torch.equal(part, 2.0 * other)
    assert mapped(torch.neg, torch.tensor(3)) == -3


def test_a_training_refuses_batches_that_come_one_by_one():
    frames = train(Sgd(torch.ones(1, 1)), lambda state, _: state, lambda k0, k1: range(k0, k1), (0, 5), lambda k, s: {})
    next(frames)
    with pytest.raises(InputError, match="all steps at once, got range"):
        next(frames)
