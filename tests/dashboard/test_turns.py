"""Whose turn it is to train."""

import threading
import time

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


def test_a_sleeper_wakes_when_somebody_leaves():
    floor = Turns()
    floor.enter("a")
    woken = []
    sleeper = threading.Thread(target=lambda: (floor.wait(30), woken.append(time.monotonic())))
    sleeper.start()
    while not woken:
        floor.leave("a")
        time.sleep(0.01)
    sleeper.join(1)
    assert not sleeper.is_alive()
