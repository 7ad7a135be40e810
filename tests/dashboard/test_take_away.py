"""What the row hands out, and when; tests/browser/test_take_away.py presses its buttons."""

import gzip

import pytest
from tiny_experiment import TINY

from dyntoolkit.catalog.stored_run import read_content
from dyntoolkit.dashboard import take_away
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.pins import Pin
from dyntoolkit.dashboard.runner import State
from dyntoolkit.dashboard.save import Finished, content, save
from dyntoolkit.dashboard.take_away import TakeAway
from dyntoolkit.dashboard.work import Work


@pytest.fixture
def asked(monkeypatch, until):
    """asked(row, suffix): what the row sends when its button is pressed, and the bytes."""

    def ask(row, suffix):
        sent = []
        monkeypatch.setattr(row, "send", lambda message, buffers=None: sent.append((message, buffers)))
        row._receive(row, {"kind": "wanted", "suffix": suffix, "ask": "7"}, [])
        until(lambda: sent)
        ((message, buffers),) = sent
        return message, buffers

    return ask


def test_a_file_of_the_present_run_is_made_when_it_is_wanted(asked, until):
    dashboard = Dashboard(TINY, TINY.configure(lr=0.3), 3, 2)
    dashboard.train()
    until(lambda: dashboard.runner.progress.state is State.FINISHED)
    message, (packed,) = asked(dashboard.take_away, ".json")
    assert message == {"kind": "file", "ask": "7", "name": "tiny.decay_lr=0.3_seeds=3-4.json", "lines": ""}
    made = read_content(gzip.decompress(packed), "run").made
    assert (made.settings[0]["lr"], made.seeds, made.finished) == (0.3, (3, 4), True)
    report = gzip.decompress(asked(dashboard.take_away, ".report.html")[1][0]).decode()
    assert "x shrinks" in report
    assert dashboard.take_away.rerun == "dyntoolkit rerun FILE --file tiny_experiment.py"
    dashboard.close()


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html"])
def test_a_figure_has_the_pinned_runs_that_the_page_shows(tiny, suffix, tmp_path):
    dashboard = Dashboard(tiny, tiny.configure(steps=50))
    history = tiny.run(tiny.configure(steps=50))
    dashboard.build()
    dashboard.view.extend(Work(tiny), history)
    dashboard.keep(Pin(tiny, tiny.run(tiny.configure(steps=50, lr=0.25)), []))
    taken = dashboard.take_away._taken()
    (panel,) = taken.panels
    assert [mark.name for mark in panel.marks] == ["norm", "lr 0.25"]
    file = content(taken, f"run{suffix}")
    assert read_content(file, "run").made.text() == taken.made.text()  # what `rerun` trains is the run itself
    assert file != content(Finished(tiny, history), f"run{suffix}")
    if suffix == ".svg":
        assert b"lr 0.25" in file
        assert b'"pinned": [{"settings": {"lr": 0.25' in file
    if suffix == ".html":
        save(dashboard, tmp_path / "run.html")
        assert (tmp_path / "run.html").read_bytes() == file
    dashboard.close()


def test_nothing_is_made_before_a_run_and_of_what_there_is_not(asked, monkeypatch):
    assert asked(TakeAway(lambda: None), ".csv")[0]["why"] == "Nothing is trained yet."
    row = TakeAway(lambda: Finished(TINY, TINY.run()))
    row.train = "dyntoolkit run tiny.py --set lr=0.3"
    message, _ = asked(row, ".safetensors")
    assert (message["kind"], message["ask"]) == ("refused", "7")
    assert message["why"].startswith("weights: tiny.decay keeps none")
    monkeypatch.setattr(take_away, "MOST", 10)
    words = "too much for a page: dyntoolkit run tiny.py --set lr=0.3 --out tiny.decay_seed=0.csv writes it."
    assert asked(row, ".csv")[0]["why"].endswith(words)


def test_a_mistake_in_a_readers_figure_is_said_and_the_next_file_works(asked):
    def fails():
        raise ZeroDivisionError("no figure")

    row = TakeAway(fails)
    assert "ZeroDivisionError: no figure" in asked(row, ".svg")[0]["why"]
    row._taken = lambda: Finished(TINY, TINY.run())
    assert asked(row, ".bib")[0]["kind"] == "file"


@pytest.mark.parametrize(
    "message", [{}, {"kind": "wanted"}, {"kind": "wanted", "suffix": "../x"}, {"kind": "wanted", "suffix": []}]
)
def test_other_messages_are_left_alone(message):
    TakeAway(lambda: pytest.fail("made"))._receive(None, message, [])
