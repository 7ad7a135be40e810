"""Whose turn it is to train: of all dashboards on a page, the one that was asked last."""

import threading


class Turns:
    """Keeps several workers from sharing the processor: the one that came last goes on, the others wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._workers: list[object] = []

    def enter(self, worker: object) -> None:
        """Take the floor."""
        with self._changed:
            self._workers = [other for other in self._workers if other is not worker] + [worker]
            self._changed.notify_all()

    def leave(self, worker: object) -> None:
        """Give it back to the one that had it before."""
        with self._changed:
            self._workers = [other for other in self._workers if other is not worker]
            self._changed.notify_all()

    def holds(self, worker: object) -> bool:
        """Whether it is this worker's turn."""
        return self._workers[-1:] == [worker]

    def wait(self, seconds: float) -> None:
        """Sleep until somebody enters or leaves, at most so long."""
        with self._changed:
            self._changed.wait(seconds)


TURNS = Turns()  # of this kernel
