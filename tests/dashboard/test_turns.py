"""Whose turn it is to train."""

import threading

from dyntoolkit.dashboard.turns import Turns


def test_the_last_one_to_enter_holds_it_until_it_leaves():
    floor = Turns()
    assert not floor.holds("a")
    floor.enter("a")
    floor.enter("b")
    assert floor.holds("b")
    assert not floor.holds("a")
    floor.enter("a")
    assert floor.holds("a")
    floor.leave("a")
    assert floor.holds("b")
    floor.leave("b")
    assert not floor.holds("b")


def test_a_sleeper_wakes_when_somebody_leaves(until):
    floor = Turns()
    floor.enter("a")
    woken = threading.Event()
    sleeper = threading.Thread(target=lambda: (floor.wait(30), woken.set()))
    sleeper.start()

    def leave():
        floor.leave("a")  # again and again: it may not sleep yet
        return woken.is_set()

    until(leave)
    sleeper.join()
