"""Values around the present one, as the slider is spaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.dashboard.around import around
from dyntoolkit.experiment.config import Config, doublings, number


class Fields(Config):
    rate: float = number(0.1, 0.001, 0.5, log=True)
    scale: float = number(1.0, 0, 2)
    off: float = number(0.0, 0.0, 10.0, log=True)
    memory: float = number(0.999, 0.5, 0.9999, near_one=True)
    width: int = number(16, 8, 1024, log=True)
    few: int = number(2, 1, 3)
    batch: int = number(16, 2, 256, doubling=True)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("rate", [0.01, 0.0266, 0.1, 0.188, 0.5]),  # a decade down, and as far up as there is
        ("scale", [0.0, 0.5, 1.0, 1.5, 2.0]),
        ("off", [0.0, 0.01, 0.1, 1.0, 10.0]),
        ("memory", [0.99, 0.9968, 0.999, 0.99968, 0.9999]),
        ("width", [8, 16, 36, 76, 160]),
        ("few", [1, 2, 3]),
        ("batch", [4, 8, 16, 32, 64]),
    ],
)
def test_they_are_spaced_as_the_slider_and_the_present_one_is_among_them(field, values):
    assert around(Fields(), field, 5) == pytest.approx(values)


@given(st.data())
def test_every_one_is_accepted_and_they_ascend(data):
    field = data.draw(st.sampled_from(list(Fields.sliders())))
    slider, default = Fields.sliders()[field], getattr(Fields(), field)
    kind = st.integers if isinstance(default, int) else st.floats
    if slider.doubling:
        value = data.draw(st.sampled_from(doublings(slider)))
    elif kind is st.integers:
        value = data.draw(kind(int(slider.low), round(slider.high)))
    else:
        value = data.draw(kind(slider.low, slider.high))
    config = Fields().replace(**{field: value})
    values = around(config, field, data.draw(st.integers(2, 17)))
    assert getattr(config, field) in values
    assert values == sorted(set(values))
    assert [getattr(config.replace(**{field: each}), field) for each in values] == values
