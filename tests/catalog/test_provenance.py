"""What files say about their run, and what these files are called."""

import dataclasses
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_experiment import TINY

from dyntoolkit.catalog.provenance import LONGEST_NAME, file_name, numbers, parse, plain, provenance, safe_name
from dyntoolkit.engine.history import Live
from dyntoolkit.errors import InputError

MADE = provenance(TINY, TINY.run(TINY.configure("lost"), (3, 4)))
DOCUMENT = json.loads(MADE.text())


def test_it_is_read_as_it_was_written():
    found = parse(MADE.text(), "run.csv")
    assert found.text() == MADE.text()
    assert found.settings == (TINY.configure("lost").asdict(),) * 2
    assert (found.experiment, found.seeds, found.engine, found.step) == ("tiny.decay", (3, 4), "eager", 100)
    assert np.isnan(found.metrics["end"]).all()  # both diverged


def test_settings_before_anything_was_sent_are_kept_with_what_was_sent():
    history, frames = TINY.start([TINY.configure()], [0])
    history.append(next(frames))
    history.note("stop & <look>")
    history.note(Live({"pull": 0.5}))
    found = parse(provenance(TINY, history).text(), "run.csv")
    assert found.settings == (TINY.configure().asdict(),)
    assert found.sent == ((0, "stop & <look>"), (0, {"pull": 0.5}))


@given(st.lists(st.floats() | st.integers(-1000, 1000)))
def test_numbers_of_all_kinds_survive_as_json(values):
    text = json.dumps(plain(np.array(values, dtype=float)), allow_nan=False)
    np.testing.assert_array_equal(numbers(json.loads(text)), np.array(values, dtype=float))


@given(st.text(max_size=20))
def test_its_text_can_stand_in_any_markup(text):
    line = dataclasses.replace(MADE, sent=((0, text),)).text()
    assert not set("<>&\n\r") & set(line)
    assert parse(line, "x").sent == ((0, text),)


def changed(**changes):
    return json.dumps(DOCUMENT | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        '"run"',
        "[" * 100_000,
        "9" * 10_000,
        json.dumps({key: value for key, value in DOCUMENT.items() if key != "seeds"}),
        changed(seeds=[]),
        changed(seeds=[-1, 0]),
        changed(seeds=[0, 1, 2]),
        changed(seeds=list(range(10_001)), others=[{}] * 10_000, metrics={}),
        changed(seeds="01"),
        changed(settings=[]),
        changed(others=[1]),
        changed(others=[]),
        changed(experiment=None),
        changed(asked="__import__('os')"),
        changed(asked=[]),
        changed(device="gpu"),
        changed(step="many"),
        changed(step=True),
        changed(sent=[[0, 1]]),
        changed(sent=[[0]]),
        changed(sent={"a": 1}),
        changed(versions=["1"]),
        changed(versions={"torch": 2}),
        changed(metrics={"end": [0.0]}),
        changed(metrics={"end": [[0.0], [1.0, 2.0]]}),
        changed(metrics={"end": ["x", "y"]}),
        changed(metrics={"end": 1}),
        changed(metrics=[]),
    ],
)
def test_what_is_no_provenance_is_said_in_one_sentence(text):
    with pytest.raises(InputError, match=r"^run\.csv: .+\.$") as refusal:
        parse(text, "run.csv")
    assert "\n" not in str(refusal.value)


# Names of files.


@given(st.text(max_size=300), st.sampled_from([".csv", ".report.html", ".safetensors"]))
def test_a_name_is_one_that_every_file_system_takes(name, suffix):
    safe = safe_name(name, suffix)
    assert re.fullmatch(r"[A-Za-z0-9_=+][A-Za-z0-9_.=+-]*", safe)
    assert safe.endswith(suffix)
    assert len(safe) <= LONGEST_NAME


@given(st.text(max_size=200), st.text(max_size=200))
def test_two_names_stay_two(one, other):
    assert (safe_name(one, ".csv") == safe_name(other, ".csv")) == (one == other)


@pytest.mark.parametrize(
    "name", ["con", "CON.x", "lpt1", "..", ".hidden", "-rf", "a/b", "a\\b", "a:b", "ü", "", " ", "a\0"]
)
def test_a_name_that_some_systems_refuse_is_changed(name):
    assert safe_name(name, ".csv") != f"{name}.csv"


def test_a_file_is_called_after_experiment_settings_and_seeds():
    def name(preset=None, seeds=(0,), **changes):
        history, _ = TINY.start([TINY.configure(preset, **changes)] * len(seeds), seeds)
        return file_name(TINY, history, ".svg")

    assert name() == "tiny.decay_seed=0.svg"
    assert name("pulled", (4, 5, 6)) == "tiny.decay_pull=0.5_steps=30_seeds=4-6.svg"
    assert name(seeds=(1, 9), law="cubic") == "tiny.decay_law=cubic_seeds=1-9.svg"
    assert len(name(seeds=tuple(range(0, 400, 2)))) <= LONGEST_NAME


def test_runs_on_two_files_of_data_are_called_differently():
    history, _ = TINY.start([TINY.configure()], [0])
    taking = replace(TINY, file=lambda name, content: TINY)
    files = [("a.csv", b"1"), ("a.csv", b"2"), ("b.csv", b"1"), ("b/csv", b"1")]
    names = {file_name(taking.with_file(*file), history, ".csv") for file in files} | {file_name(TINY, history, ".csv")}
    assert {"tiny.decay_seed=0.csv", "tiny.decay_data=a.csv-6b86b273_seed=0.csv"} < names
    assert len(names) == 5


def test_plain_gives_null_for_nan_and_a_word_for_what_is_infinite():
    assert plain(np.array([[1.5, math.nan], [math.inf, -math.inf]])) == [[1.5, None], ["inf", "-inf"]]
