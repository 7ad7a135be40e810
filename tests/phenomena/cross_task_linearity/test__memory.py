from collections.abc import Iterator

import numpy as np

from dyntoolkit.engine.history import Frame
from dyntoolkit.phenomena.cross_task_linearity._memory import Memory


class Training:
    """Three frames, a heartbeat among them; counts how often it was started."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.starts = 0

    def __call__(self) -> Iterator[Frame]:
        self.starts += 1
        for step, values in enumerate(({"x": np.full(self.size, 1.0)}, {}, {"x": np.full(self.size, 2.0)})):
            yield Frame(step, 2, values, np.array([-1]))


def test_a_complete_training_is_not_trained_again() -> None:
    memory, training = Memory(1000), Training()
    first = list(memory.frames("key", training))
    again = list(memory.frames("key", training))
    assert training.starts == 1
    assert [frame.step for frame in again] == [0, 2]  # without the heartbeat
    assert again == [first[0], first[2]]


def test_another_key_is_trained() -> None:
    memory, training = Memory(1000), Training()
    for key in ("one", "two", "one"):
        list(memory.frames(key, training))
    assert training.starts == 2


def test_a_stopped_training_is_forgotten() -> None:
    memory, training = Memory(1000), Training()
    frames = memory.frames("key", training)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert len(list(memory.frames("key", training))) == 3
    assert training.starts == 2


def test_what_is_too_large_is_not_kept() -> None:
    memory, training = Memory(159), Training(size=10)  # two frames of 80 bytes
    for _ in range(2):
        list(memory.frames("key", training))
    assert training.starts == 2


def test_the_oldest_makes_room() -> None:
    memory, training = Memory(400), Training()  # room for two
    for key in ("one", "two", "one", "three"):
        list(memory.frames(key, training))
    assert training.starts == 3
    list(memory.frames("one", training))
    assert training.starts == 3  # used later than "two"
    list(memory.frames("two", training))
    assert training.starts == 4
