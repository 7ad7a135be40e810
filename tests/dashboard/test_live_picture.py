"""The picture beside a live dashboard, as it is published."""

import base64
import threading

import pytest

from dyntoolkit.dashboard import live_picture as module
from dyntoolkit.dashboard.live_picture import LivePicture


@pytest.fixture
def published(monkeypatch):
    """(data, metadata, display id, whether it is an update) of each output, in a notebook's file without pictures."""
    outputs = []

    def publish(data, metadata, *, transient, update):
        outputs.append((data, metadata, transient["display_id"], update))

    monkeypatch.setenv("JPY_SESSION_NAME", "/home/a page.ipynb")
    monkeypatch.setattr(module, "is_voila", lambda: False)
    monkeypatch.setattr(module, "stored_picture", lambda: b"")
    monkeypatch.setattr(module, "publish_display_data", publish)
    monkeypatch.setattr(module, "REST", 0.0)
    return outputs


def drawn(picture, draw):
    """Let it be drawn, and wait until that is done."""
    picture.draw_soon(draw)
    if (timer := picture._timer) is not None:
        timer.join(60)


def test_it_takes_no_room_until_there_is_one_and_is_updated_then(published):
    picture = LivePicture("A title")
    picture.show()
    drawn(picture, lambda: b"png")
    first, second = published
    assert first[0] == {"text/plain": "A title", "text/html": ""}
    assert second[0] == {"text/plain": "A title", "image/png": base64.b64encode(b"png").decode()}
    assert second[1] == {"needs_background": "light"}  # the style sheets hide what has that
    assert first[2] == second[2]
    assert (first[3], second[3]) == (False, True)


def test_it_begins_with_the_stored_one(published, monkeypatch):
    monkeypatch.setattr(module, "stored_picture", lambda: b"old")
    LivePicture("A title").show()
    assert base64.b64decode(published[0][0]["image/png"]) == b"old"


def test_only_the_newest_is_shown(published):
    picture, began, go_on = LivePicture("A title"), threading.Event(), threading.Event()

    def slow():
        began.set()
        assert go_on.wait(60)
        return b"old"

    picture.show()
    picture.draw_soon(slow)
    old = picture._timer
    assert began.wait(60)
    drawn(picture, lambda: b"new")
    go_on.set()
    old.join(60)
    assert [data.get("image/png") for data, *_ in published] == [None, base64.b64encode(b"new").decode()]


def test_what_is_not_drawn_yet_can_be_called_off(published, monkeypatch):
    monkeypatch.setattr(module, "REST", 600.0)
    picture = LivePicture("A title")
    picture.show()
    picture.draw_soon(lambda: b"png")
    timer = picture._timer
    picture.keep()
    timer.join(60)
    assert not timer.is_alive()
    assert len(published) == 1


@pytest.mark.parametrize(("name", "voila"), [("", False), ("/home/console", False), ("/home/a.ipynb", True)])
def test_outside_of_a_notebooks_file_there_is_nothing(published, monkeypatch, name, voila):
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    monkeypatch.setattr(module, "is_voila", lambda: voila)
    picture = LivePicture("A title")
    picture.show()
    drawn(picture, lambda: pytest.fail("drawn for nobody"))
    assert picture._timer is None
    assert published == []
