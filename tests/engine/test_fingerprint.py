"""What is seen of a change, and that nothing is seen where nothing changes."""

import functools
import itertools
import random

import numpy as np
import pytest
import torch

from dyntoolkit.engine.fingerprint import fingerprint

FACTOR = [1.0]
NUMBER = 1.0


class Holder:
    def __init__(self):
        self.rate = 0.1
        self.network = torch.nn.Linear(2, 1)
        self.items = [{"a": (1, [2])}]

    def step(self, x):
        return x


def closure(**held):
    return lambda: held


def set_rate(holder):
    holder.rate = 0.2


def deep(holder):
    holder.items[0]["a"][1].append(3)


def trained(holder):
    with torch.no_grad():
        holder.network.weight.mul_(0.5)


def exchanged(holder):
    holder.network.weight = torch.nn.Parameter(torch.ones(1, 2))


@pytest.mark.parametrize("change", [set_rate, deep, trained, exchanged])
@pytest.mark.parametrize("kind", [lambda h: h.step, lambda h: closure(holder=h), lambda h: functools.partial(print, h)])
def test_a_change_anywhere_in_what_it_holds_is_seen(change, kind):
    holder = Holder()
    function = kind(holder)
    before = fingerprint(function)
    assert fingerprint(function) == before
    change(holder)
    assert fingerprint(function) != before


@pytest.mark.parametrize(
    ("held", "change"),
    [
        (itertools.count(), next),
        (np.random.default_rng(0), lambda g: g.random()),
        (random.Random(0), lambda g: g.random()),
        ((k for k in range(3)), next),
        (np.zeros(3), lambda a: a.fill(1)),
        (torch.zeros(3), lambda t: t.fill_(1)),
        ({1, 2}, lambda s: s.add(3)),
    ],
)
def test_counters_generators_and_data_are_seen_to_move(held, change):
    function = closure(held=held)
    before = fingerprint(function)
    assert fingerprint(function) == before
    change(held)
    assert fingerprint(function) != before


def reads_globals():
    return FACTOR[0] * NUMBER + helper()


def helper():
    return random.random()


def test_globals_that_the_code_names_are_seen_also_by_way_of_another_function(monkeypatch):
    seen = [fingerprint(reads_globals)]
    FACTOR.append(2.0)
    seen.append(fingerprint(reads_globals))
    monkeypatch.setitem(globals(), "NUMBER", 2.0)
    seen.append(fingerprint(reads_globals))
    random.random()
    seen.append(fingerprint(reads_globals))
    FACTOR.pop()
    assert len(set(map(repr, seen))) == 4


def test_circles_come_to_an_end():
    circle = []
    circle.append(circle)
    function = closure(circle=circle)
    assert fingerprint(function) == fingerprint(function)
