"""The row for a file of data, spoken to as its view in a browser does."""

import threading

import pytest

from dyntoolkit.dashboard.file_row import FileRow
from dyntoolkit.experiment.record import FILE_LIMIT


class Page:
    """A view that sends a file part by part, when it is asked."""

    def __init__(self, row, monkeypatch, part=4):
        self.row, self.part, self.heard, self.files = row, part, [], {}
        self.ended = threading.Event()
        monkeypatch.setattr(row, "send", self.receive)

    def choose(self, name, content, choice="a", size=None):
        self.files[choice] = content
        self.row._handle_custom_msg(
            {"kind": "chosen", "choice": choice, "name": name, "size": size or len(content)}, []
        )

    def receive(self, message, _buffers=None):
        self.heard.append(message)
        if message["kind"] == "end":
            self.ended.set()
        else:
            self.part_from(message["offset"], message["choice"])

    def part_from(self, offset, choice="a"):
        content = memoryview(self.files[choice][offset : offset + self.part])
        self.row._handle_custom_msg({"kind": "part", "choice": choice, "offset": offset}, [content])


@pytest.fixture
def taken():
    return []


@pytest.fixture
def refused():
    return []


@pytest.fixture
def page(taken, refused, monkeypatch):
    row = FileRow(FILE_LIMIT, lambda *file: taken.append(file), refused.append)
    yield Page(row, monkeypatch)
    row.close()


def test_a_file_comes_in_parts(page, taken, refused):
    page.choose("a.csv", b"x,y\n1,2\n3,4\n5")
    assert page.ended.wait(60)
    assert taken == [("a.csv", b"x,y\n1,2\n3,4\n5")]
    assert [message.get("offset") for message in page.heard] == [0, 4, 8, 12, None]
    assert refused == []


def test_an_empty_one_is_there_at_once(page, taken):
    page.choose("none.csv", b"")
    assert page.ended.wait(60)
    assert taken == [("none.csv", b"")]


def test_a_large_one_is_refused_before_any_of_it_is_sent(page, taken, refused):
    page.choose("large.csv", b"", size=200_000_000)
    assert page.ended.wait(60)
    assert refused == ["large.csv has 200.0 MB: a file of data may have 50 MB at most."]
    assert taken == []


def test_one_that_cannot_be_read_is_said_and_the_next_comes(page, taken, refused):
    page.row._handle_custom_msg({"kind": "unreadable", "choice": "a", "name": "gone.csv"}, [])
    assert refused == ["gone.csv cannot be read by the browser: choose it again."]
    page.ended.clear()
    page.choose("a.csv", b"1")
    assert page.ended.wait(60)
    assert taken == [("a.csv", b"1")]


def test_parts_that_nobody_asked_for_are_not_taken(page, taken, monkeypatch):
    monkeypatch.setattr(page.row, "send", lambda message: page.heard.append(message))
    page.choose("a.csv", b"12345678")
    page.part_from(4)
    page.part_from(0)
    page.part_from(0)
    page.files["b"] = b"other"
    page.part_from(4, choice="b")
    assert [message.get("offset") for message in page.heard] == [0, 4]
    assert taken == []


def test_a_second_file_takes_the_place_of_one_on_its_way(page, taken, monkeypatch):
    whole = page.receive
    monkeypatch.setattr(page.row, "send", lambda message: None)
    page.choose("first.csv", b"12345678", choice="a")
    monkeypatch.setattr(page.row, "send", whole)
    page.choose("second.csv", b"123456", choice="b")
    assert page.ended.wait(60)
    page.part_from(0)
    assert taken == [("second.csv", b"123456")]


def test_a_file_that_fails_leaves_the_row_free(monkeypatch):
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)

    def take(_name, _content):
        raise ZeroDivisionError("no table")

    page = Page(FileRow(FILE_LIMIT, take, failed.append), monkeypatch)
    page.choose("a.csv", b"1")
    assert page.ended.wait(60)
    assert page.heard[-1] == {"kind": "end", "choice": "a"}
    page.row.close()
