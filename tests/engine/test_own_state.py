"""What torch is told globally does not reach a simulation."""

import contextlib

import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import Frame, Live
from dyntoolkit.engine.own_state import in_own_state, one_thread, own_state
from dyntoolkit.errors import InputError

WORLDS = {
    "plain": contextlib.nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "device": lambda: torch.device("meta"),
}
worlds = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)


def modes():
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_device().type


OURS = (True, False, "cpu")


def frames(log):
    """Frames that tell in which modes they are computed, and what they were sent."""
    try:
        for step in range(4):
            log.append(modes())
            leaf = torch.ones(1, requires_grad=True)
            (slope,) = torch.autograd.grad((leaf * 2).sum(), leaf)
            sent = yield Frame(step, 3, {"slope": slope.numpy()}, np.full(1, -1), asks=True)
            log.append(sent)
    finally:
        log.append("closed")


@worlds
def test_the_block_has_its_own_modes_and_gives_the_callers_back(world):
    with world():
        outside = modes()
        with own_state():
            assert modes() == OURS
        assert modes() == outside
        with pytest.raises(ZeroDivisionError), own_state():
            raise ZeroDivisionError
        assert modes() == outside


@worlds
def test_every_frame_is_computed_in_our_modes_and_handed_over_in_the_callers(world):
    log = []
    with world():
        outside = modes()
        for frame in in_own_state(frames(log), "tiny"):
            assert modes() == outside
            assert frame.values["slope"] == 2
    assert log == [OURS, None] * 4 + ["closed"]


def test_what_is_sent_goes_through():
    log = []
    own = in_own_state(frames(log), "tiny")
    next(own)
    assert own.send("cool").step == 1
    assert next(own).step == 2
    assert log == [OURS, "cool", OURS, None, OURS]


def test_what_is_watched_may_be_sent_after_any_frame_and_need_not_be_heard():
    log, live = [], Live({"sharpness": True})
    own = in_own_state(frames(log), "tiny")
    next(own)
    assert own.send(live).step == 1
    assert log == [OURS, live, OURS]
    deaf = in_own_state((frame for frame in frames([])), "tiny")
    next(deaf)
    assert deaf.send(live).step == 1


def test_closing_closes_the_frames():
    log = []
    inner = frames(log)  # held here, so that nothing but `close` ends it
    own = in_own_state(inner, "tiny")
    next(own)
    own.close()
    assert log == [OURS, "closed"]


def test_an_error_of_the_simulation_arrives_and_the_modes_are_back():
    def failing():
        yield Frame(0, 1, {}, np.full(1, -1))
        raise ZeroDivisionError("no loss")

    with torch.no_grad():
        own = in_own_state(failing(), "tiny")
        next(own)
        with pytest.raises(ZeroDivisionError, match="no loss"):
            next(own)
        assert not torch.is_grad_enabled()


def test_frames_may_come_from_any_iterator():
    several = [Frame(step, 1, {}, np.full(1, -1)) for step in range(2)]
    own = in_own_state(iter(several), "tiny")
    assert [next(own), own.send("ignored")] == several
    assert list(own) == []


def test_no_frame_at_all_is_said():
    with pytest.raises(InputError, match="simulate of tiny ended without a frame"):
        next(in_own_state(iter(()), "tiny"))


def test_one_thread_for_a_while(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with one_thread():
        assert torch.get_num_threads() == before
