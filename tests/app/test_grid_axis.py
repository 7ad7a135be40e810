"""Dimensions of a grid as they are written on a command line."""

import pytest
from tiny_experiment import TinyConfig

from dyntoolkit.app.grid_axis import grid_axis
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, number, switch


class Kinds(Config):
    lr: float = number(0.1, 0.0, 1.0)
    width: int = number(8, 1, 1000)
    wide: bool = switch(False)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr=0.1,0.2", ["0.1", "0.2"]),
        ("lr= .5 ", [".5"]),
        ("lr=0:1:5", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("lr=0.001:0.1:log3", [0.001, 0.01, 0.1]),
        ("width=8:512:log4", [8, 32, 128, 512]),
        ("width=1:10:4", [1, 4, 7, 10]),
        ("width=1:4:log8", [1, 2, 3, 4]),
        ("wide=true,false", ["true", "false"]),
    ],
)
def test_lists_and_ranges(text, values):
    name, found = grid_axis(text, Kinds)
    assert name == text.partition("=")[0]
    assert found == (pytest.approx(values) if "log" in text else values)
    assert all(type(value) is type(listed) for value, listed in zip(found, values, strict=True))


FORM = "takes values such as 0.9,0.99 or a range LOW:HIGH:COUNT, such as 0:1:5 or, logarithmic, 0.001:0.1:log8; got "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr", "--grid takes FIELD=VALUES, got 'lr'."),
        ("lrr=0.1", "unknown field 'lrr'. Did you mean 'lr'? Allowed: lr, pull, steps, law."),
        ("lr=", f"--grid lr {FORM}''."),
        ("lr=0.1,", f"--grid lr {FORM}'0.1,'."),
        ("lr=0:1", f"--grid lr {FORM}'0:1'."),
        ("lr=0:1:2:3", f"--grid lr {FORM}'0:1:2:3'."),
        ("lr=a:1:3", f"--grid lr {FORM}'a:1:3'."),
        ("lr=0:1:many", f"--grid lr {FORM}'0:1:many'."),
        ("lr=0.1:1:log", f"--grid lr {FORM}'0.1:1:log'."),
        ("law=linear:cubic:2", f"--grid law {FORM}'linear:cubic:2'."),
        ("lr=1:0:5", "--grid lr: a range ascends, got '1:0:5'."),
        ("lr=1:1:5", "--grid lr: a range ascends, got '1:1:5'."),
        ("lr=nan:1:5", "--grid lr: a range ascends, got 'nan:1:5'."),
        ("lr=0:1:log5", "--grid lr: a logarithmic range begins above 0, got '0:1:log5'."),
        ("lr=0:1:1", "--grid lr: a range takes a whole number from 2 to 100000, got '1'."),
        ("lr=0:1:1e9", "--grid lr: a range takes a whole number from 2 to 100000, got '1e9'."),
        ("lr=0:1:2.5", "--grid lr: a range takes a whole number from 2 to 100000, got '2.5'."),
    ],
)
def test_what_is_none_is_refused(text, sentence):
    with pytest.raises(InputError) as refusal:
        grid_axis(text, TinyConfig)
    assert str(refusal.value) == sentence
