import math
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.config import Config, carry_over, choice, number, switch, watched


class Settings(Config):
    lr: float = number(0.1, 1e-4, 2.5, label="learning rate", help="step size", log=True, main=True)
    steps: int = number(100, 10, 1000, label="steps", help="updates", structural=True)
    mode: str = choice("plain", ("plain", "noisy"), label="mode", help="what to do")
    shared: bool = switch(True, label="shared", help="one start")

    def check(self) -> None:
        if self.mode == "noisy" and self.lr > 1:
            raise InputError(f"lr takes at most 1 with mode noisy, got {self.lr:g}.", "lr")


BAD = [
    ("lr", 3.0, "lr takes a number from 0.0001 to 2.5, got 3."),
    ("lr", 0, "lr takes a number from 0.0001 to 2.5, got 0."),
    ("lr", 2.500001, "lr takes a number from 0.0001 to 2.5, got 2.500001."),
    ("lr", math.nan, "lr takes a number from 0.0001 to 2.5, got nan."),
    ("lr", math.inf, "lr takes a number from 0.0001 to 2.5, got inf."),
    ("lr", 10**400, "lr takes a number from 0.0001 to 2.5, got inf."),
    ("lr", "0,1", "lr takes a number from 0.0001 to 2.5, got '0,1'."),
    ("lr", None, "lr takes a number from 0.0001 to 2.5, got None."),
    ("lr", True, "lr takes a number from 0.0001 to 2.5, got True."),
    ("lr", [0.1], "lr takes a number from 0.0001 to 2.5, got [0.1]."),
    ("lr", 1j, "lr takes a number from 0.0001 to 2.5, got 1j."),
    ("steps", 50.5, "steps takes a whole number from 10 to 1000, got 50.5."),
    ("steps", 9, "steps takes a whole number from 10 to 1000, got 9."),
    ("steps", True, "steps takes a whole number from 10 to 1000, got True."),
    ("steps", math.nan, "steps takes a whole number from 10 to 1000, got nan."),
    ("mode", "quiet", "mode takes one of plain, noisy; got 'quiet'."),
    ("mode", 1, "mode takes one of plain, noisy; got 1."),
    ("mode", np.array(["plain", "noisy"]), "mode takes one of plain, noisy; got array("),
    ("shared", "maybe", "shared takes true or false, got 'maybe'."),
    ("shared", 2, "shared takes true or false, got 2."),
    ("shared", np.array([0, 1]), "shared takes true or false, got array([0, 1])."),
]


@pytest.mark.parametrize(("field", "value", "sentence"), BAD)
def test_bad_input_gets_one_sentence_with_field_value_and_range(field, value, sentence):
    for way in (lambda: Settings(**{field: value}), lambda: Settings().replace(**{field: value})):
        with pytest.raises(InputError) as caught:
            way()
        assert str(caught.value).startswith(sentence)
        assert caught.value.field == field


def test_an_unknown_field_is_refused_with_a_suggestion():
    with pytest.raises(InputError) as caught:
        Settings().replace(step=3)
    assert str(caught.value) == "unknown field 'step'. Did you mean 'steps'? Allowed: lr, steps, mode, shared."


def test_rules_between_fields_are_checked_after_each_field():
    assert Settings(lr=2.0).lr == 2.0
    with pytest.raises(InputError, match="lr takes at most 1 with mode noisy, got 2"):
        Settings(lr=2.0).replace(mode="noisy")


@given(st.floats() | st.integers())
def test_every_number_is_kept_or_refused(value):
    inside = 1e-4 <= value <= 2.5
    near = math.isfinite(value) and not inside and min(abs(value - 1e-4), abs(value - 2.5)) <= 2.6e-9
    if inside:
        assert Settings(lr=value).lr == value
    elif near:
        assert Settings(lr=value).lr in (1e-4, 2.5)
    else:
        with pytest.raises(InputError):
            Settings(lr=value)


def test_a_sliders_end_may_be_off_by_rounding():
    assert Settings(lr=2.5 * (1 + 1e-12)).lr == 2.5
    assert Settings(lr=1e-4 - 1e-12).lr == 1e-4


@pytest.mark.parametrize("value", [20, 20.0, np.int64(20), np.float64(20)])
def test_a_number_becomes_a_plain_one_of_the_fields_kind(value):
    settings = Settings(lr=np.float32(0.5), steps=value, shared=np.bool_(False))
    assert settings.asdict() == {"lr": 0.5, "steps": 20, "mode": "plain", "shared": False}
    assert [type(v) for v in settings.asdict().values()] == [float, int, str, bool]


def test_settings_are_frozen_hashable_values():
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.lr = 0.2
    with pytest.raises(FrozenInstanceError):
        del settings.lr
    with pytest.raises(FrozenInstanceError):
        settings.other = 0.2
    assert settings.replace(lr=0.2).replace(lr=0.1) == settings
    assert len({settings, Settings()}) == 1
    assert settings.warnings() == []


def test_a_subclass_is_a_frozen_dataclass_by_itself_and_inherits_fields():
    class More(Settings):
        width: int = number(4, 1, 9)

    for config in (Settings, More):
        assert is_dataclass(config)
        assert config.__dataclass_params__.frozen
    assert [field.name for field in fields(More)] == ["lr", "steps", "mode", "shared", "width"]
    assert More(width=5) == More().replace(width=5) != More()
    assert repr(More()).endswith("More(lr=0.1, steps=100, mode='plain', shared=True, width=4)")
    with pytest.raises(InputError, match="lr takes at most 1"):
        More(lr=2.0, mode="noisy")  # the rule is inherited, too


def test_the_decorator_on_top_is_refused():
    """It would see the defaults without their sliders."""
    with pytest.raises(TypeError):

        @dataclass(frozen=True)
        class Written(Config):
            lr: float = number(0.1, 0.0, 1.0)


def plain():
    class Wrong(Config):
        lr: float = 0.1


def ill_named(name):
    def write():
        type("Wrong", (Config,), {"__annotations__": {name: float}, name: number(0.5, 0.0, 1.0)})

    return write


def described(default):
    def write():
        class Wrong(Config):
            lr: float = default

    return write


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (plain, "Wrong.lr has no slider: write it as number(...), choice(...) or switch(...)."),
        (described(number(7.0, 0.0, 1.0)), "Wrong.lr: its default is refused: lr takes a number from 0 to 1, got 7."),
        (described(number(3, 10, 20)), "Wrong.lr: its default is refused: lr takes a number from 10 to 20, got"),
        (described(number(math.nan, 0, 1)), "Wrong.lr: its default is refused: lr takes a number from 0 to 1, got nan"),
        (described(choice("c", ["a", "b"])), "Wrong.lr: its default is refused: lr takes one of a, b; got 'c'."),
        (described(number(0.5, 1.0, 0.0)), "Wrong.lr: its range must ascend, got 1 to 0."),
        (described(number(0.5, 0.5, 0.5)), "Wrong.lr: its range must ascend, got 0.5 to 0.5."),
        (described(number(5, -1, 10, log=True)), "Wrong.lr: a logarithmic slider begins at 0 or above, got -1."),
        (described(number(5.0, -1, 9, log=True)), "Wrong.lr: a logarithmic slider begins at 0 or above, got -1."),
        (described(number(0.5, 0.0, 1.0, doubling=True)), "Wrong.lr: a slider that doubles holds whole numbers from 1"),
        (described(number(0.5, 0.0, 1.0, near_one=True)), "Wrong.lr: a slider that is logarithmic near 1 ends below 1"),
        *[
            (ill_named(name), f"Wrong.{name}: a field cannot be called {name!r}, which has a meaning of its own.")
            for name in (
                "seed",
                "n_seeds",
                "seeds",
                "preset",
                "step",
                "metric",
                "experiment",
                "check",
                "replace",
                "_lr",
            )
        ],
    ],
)
def test_a_field_that_no_slider_could_show_is_refused_as_the_class_is_written(write, sentence):
    with pytest.raises(InputError) as caught:
        write()
    assert str(caught.value).startswith(sentence)
    assert caught.value.field == sentence.removeprefix("Wrong.").split(":")[0].split()[0]


def test_a_logarithmic_slider_may_begin_at_0():
    class Off(Config):
        select: int = number(0, 0, 2000, log=True)
        decay: float = number(0.0, 0, 1, log=True)

    assert (Off().select, Off().decay) == (0, 0.0)


def test_what_is_live_is_not_structural():
    class Watched(Config):
        width: int = number(4, 1, 9, structural=True)
        sharpness: bool = switch(False, live=True)
        norm: str = choice("l2", ["l1", "l2"], live=True)
        every: int = number(10, 1, 100, structural=True, live=True)

    sliders = Watched.sliders()
    assert [slider.live for slider in sliders.values()] == [False, True, True, True]
    assert [slider.structural for slider in sliders.values()] == [True, False, False, False]


def test_sliders_come_in_the_order_of_the_fields_with_a_label_each():
    sliders = Settings.sliders()
    assert list(sliders) == ["lr", "steps", "mode", "shared"]
    assert (sliders["lr"].low, sliders["lr"].high, sliders["lr"].log, sliders["lr"].main) == (1e-4, 2.5, True, True)
    assert sliders["mode"].options == ("plain", "noisy")
    assert [slider.structural for slider in sliders.values()] == [False, True, True, True]
    assert sliders["lr"].label == "learning rate"

    class Unlabelled(Config):
        init_scale: float = number(0.1, 0.0, 1.0)

    assert Unlabelled.sliders()["init_scale"].label == "init scale"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("lr", "0.2", 0.2),
        ("lr", "1e-3", 1e-3),  # YAML reads it as text
        ("lr", " 2e-1 ", 0.2),
        ("steps", "50", 50),
        ("steps", "1e2", 100),
        ("mode", " noisy", "noisy"),
        ("shared", "True", True),
        ("shared", " yes ", True),
        ("shared", "1", True),
        ("shared", "0", False),
        ("shared", "no", False),
    ],
)
def test_text_becomes_the_value_of_its_field(field, text, value):
    assert getattr(Settings().replace(**{field: text}), field) == getattr(Settings(**{field: text}), field) == value


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("lr", "fast", "lr takes a number from 0.0001 to 2.5, got 'fast'."),
        ("lr", "", "lr takes a number from 0.0001 to 2.5, got ''."),
        ("lr", "nan", "lr takes a number from 0.0001 to 2.5, got nan."),
        ("steps", "50.5", "steps takes a whole number from 10 to 1000, got 50.5."),
        ("mode", "quiet", "mode takes one of plain, noisy; got 'quiet'."),
        ("shared", "maybe", "shared takes true or false, got 'maybe'."),
        ("rate", "1", "unknown field 'rate'. Allowed: lr, steps, mode, shared."),
    ],
)
def test_bad_text_gets_the_sentence_too(field, text, sentence):
    with pytest.raises(InputError) as caught:
        Settings().replace(**{field: text})
    assert str(caught.value) == sentence


def test_a_number_that_is_annotated_as_a_float_takes_fractions():
    class Whole(Config):
        rate: float = number(1, 0, 10)
        count: int = number(1, 0, 10)

    assert Whole(rate=0.5).rate == 0.5
    assert type(Whole().rate) is float
    with pytest.raises(InputError, match="count takes a whole number"):
        Whole(count=0.5)


@pytest.mark.parametrize("default", ["0.15", True, None])
def test_a_default_that_is_no_number_is_refused(default):
    with pytest.raises(InputError, match="number takes a number as its default, got"):
        number(default, 0, 1)


def test_values_are_carried_over_as_far_as_they_are_taken():
    class Other(Config):
        lr: float = number(0.1, 1e-4, 1.0)
        mode: str = choice("loud", ("loud", "noisy"))
        depth: int = number(2, 1, 9)

    kept = carry_over({"lr": 2.0, "mode": "noisy", "steps": 50, "depth": 3}, Other())
    assert kept == Other(mode="noisy", depth=3)
    assert carry_over({"lr": 2.0, "mode": "noisy"}, Settings()) == Settings(lr=2.0)  # by a rule between fields


def test_what_differs_in_what_is_watched_only():
    class Watched(Config):
        lr: float = number(0.1, 0.0, 1.0)
        norm: bool = switch(False, live=True)
        every: int = number(1, 1, 9, live=True)

    assert watched(Watched(), Watched(norm=True)) == {"norm": True, "every": 1}
    assert watched(Watched(), Watched(norm=True, lr=0.2)) == {}
    assert watched(Settings(), Settings()) == {}
    assert watched(Settings(), Watched()) == {}


def test_a_number_that_doubles_takes_its_doublings_only():
    class Batches(Config):
        batch_size: int = number(8, 2, 40, doubling=True)

    assert Batches.sliders()["batch_size"].log
    assert [Batches(batch_size=2**k).batch_size for k in range(1, 6)] == [2, 4, 8, 16, 32]
    for wrong in (1, 12, 40, 64):
        with pytest.raises(InputError, match=f"^batch_size takes one of 2, 4, 8, 16, 32, got {wrong}.$"):
            Batches(batch_size=wrong)
