"""Memory of finished trainings, for settings that change only what is measured on the trained networks."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from threading import Lock

from dyntoolkit.engine.choice import current
from dyntoolkit.engine.history import Frame


class Memory:
    """The frames of the newest complete trainings, up to `limit` bytes of values. Safe to share between threads.

    A training that was stopped, failed, or is larger than the limit is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, tuple[list[Frame], int]] = OrderedDict()  # the newest last

    def frames(self, key: Hashable, train: Callable[[], Iterator[Frame]]) -> Iterator[Frame]:
        """The frames that this engine left under `key`; else those of `train()`, remembered once it is through."""
        key = key, current()  # another engine gives other roundings
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is not None:
            yield from known[0]
            return
        frames: list[Frame] = []
        size = 0
        for frame in train():
            yield frame
            size += sum(value.nbytes for value in frame.values.values())
            if frame.values and size <= self.limit:
                frames.append(frame)
        if size <= self.limit:
            self._keep(key, frames, size)

    def _keep(self, key: Hashable, frames: list[Frame], size: int) -> None:
        with self._lock:
            self._kept[key] = frames, size
            self._kept.move_to_end(key)
            while sum(each for _, each in self._kept.values()) > self.limit:
                self._kept.popitem(last=False)
