"""What the row below the figure gives, and the picture of a link."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import segno
from PIL import Image

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.share import LONGEST, picture
from dyntoolkit.experiment.record import Actions

LINK = "https://example.org/voila/render/label_noise.ipynb?experiment=label_noise.linear&lr=0.1"


@pytest.fixture
def dashboard(tiny):
    dashboard = Dashboard(tiny)
    yield dashboard
    dashboard.close()
    dashboard.runner.join(60)


def squares(address):
    """The squares of a picture, True for a dark one, (n, n)."""
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png)).convert("L")) == 0


def test_the_picture_is_the_code_of_the_link_in_a_quiet_zone():
    found = squares(picture(LINK))
    expected = np.array([list(row) for row in segno.make(LINK, error="m").matrix], dtype=bool)
    np.testing.assert_array_equal(found[4:-4, 4:-4], expected)
    assert found.sum() == expected.sum()  # nothing is dark around it


def test_a_link_that_no_camera_could_read_has_no_picture():
    assert picture("x" * LONGEST)
    assert picture("x" * (LONGEST + 1)) == ""


def test_the_page_gets_the_picture_of_what_it_asks_for(dashboard, monkeypatch):
    sent = []
    monkeypatch.setattr(dashboard.share, "send", sent.append)
    dashboard.share._handle_custom_msg({"kind": "picture", "text": LINK}, [])
    assert sent == [{"kind": "picture", "text": LINK, "picture": picture(LINK)}]


def test_what_is_given_follows_sliders_seeds_pins_and_what_is_compared(dashboard, until):
    share = dashboard.share
    assert share.query == share.plain == "experiment=tiny.one"
    dashboard.sliders.widget("lr").value = 0.1
    dashboard.seed.value = 3
    assert share.query == "experiment=tiny.one&lr=0.1&seed=3"
    assert "lr=0.1, seeds=[3]" in share.python
    assert share.command.endswith("--set lr=0.1 --seed 3")
    until(lambda: dashboard.claims)
    dashboard.pin()
    dashboard.spread("lr", "0.1, 0.2")
    assert share.query.endswith("&compare.pin=lr:0.1,seed:3&compare.spread=lr:0.1,0.2")
    dashboard.reset()
    dashboard.unpin([0])
    assert share.query == "experiment=tiny.one&compare.spread=lr:0.1,0.2"


def test_it_says_what_is_left_out(tiny, dashboard):
    assert dashboard.share.note == ""
    acting = Dashboard(replace(tiny, actions=Actions("At the next alarm", {"wait": "Wait"})))
    assert acting.share.note.startswith("This experiment is defined in its notebook:")
    assert acting.share.note.endswith("What was done in the midst of a run is left out.")
    acting.close()
