"""Files of a run: each kind says what reproduces it, and is read as it was written."""

import dataclasses
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from tiny_experiment import TINY

from dyntoolkit.catalog import data_files, stored_run
from dyntoolkit.catalog.rerun import differences, train_again, warnings
from dyntoolkit.catalog.stored_run import read_content, read_run
from dyntoolkit.dashboard.save import FORMATS, Finished, content, save
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Frame, Live
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Sgd, sgd
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.figure.recorded import recorded_panels

CURVES = dataclasses.replace(TINY, panels=recorded_panels)
STAMPED = [suffix for suffix in FORMATS if suffix != ".bib"]


def descend(configs, seeds):
    """Gradient descent on |theta|^2 / 2, with a vector and a picture beside the loss."""
    lr = per_run(configs, "lr")
    runs = len(seeds)
    picture = np.arange(300.0) * np.ones((runs, 1))
    return train(
        Sgd(Stream(seeds, "init").normal(2)),
        lambda state, _: sgd(state, state.theta, lr),
        full_batch,
        evenly(configs[0].steps, 5),
        lambda k, state: {"loss": (state.theta**2).sum(1).numpy() / 2, "theta": state.theta.numpy(), "map": picture},
    )


DESCENT = Experiment("descent", TINY.config, descend)


def nothing(_frame):
    pass


TINY_RUN, RUN = (Finished(one, one.run(one.configure(lr=0.3), (3, 4))) for one in (CURVES, DESCENT))
run = pytest.mark.parametrize("run", [TINY_RUN, RUN], ids=["tiny", "descent"])


@pytest.mark.parametrize("suffix", STAMPED)
@run
def test_each_kind_of_file_reproduces_its_run(run, suffix):
    if suffix == ".safetensors":
        run = RUN  # the other one trains without a loop of the engine's
    stored = read_content(content(run, f"run{suffix}"), "run")
    assert suffix.endswith(stored.suffix)
    assert stored.made.text() == run.made.text()
    again = Finished(run.experiment, train_again(run.experiment, stored.made, nothing))
    assert warnings(stored.made, again.made) == []
    assert differences(stored.made.metrics, again.made.metrics) == dict.fromkeys(run.made.metrics, 0.0)
    assert bool(stored.values) == (suffix in (".csv", ".nc", ".json", ".safetensors"))
    if stored.values:
        now = read_content(content(again, f"run{suffix}"), "run")
        assert set(differences(stored.values, now.values).values()) == {0.0}


def test_data_are_what_was_recorded():
    run = Finished(DESCENT, DESCENT.run(seeds=(3, 4)))
    loss, theta = run.history["loss"], run.history["theta"]
    table = read_content(content(run, "a.csv"), "a").values
    assert [*table] == ["run", "seed", "step", "loss", "theta[0]", "theta[1]"]
    np.testing.assert_array_equal(table["loss"], loss.T.ravel())
    np.testing.assert_array_equal(table["theta[1]"], theta[:, :, 1].T.ravel())
    assert b"# left out, too many for a table (netCDF has them): map (300 numbers)\n" in content(run, "a.csv")
    document = read_content(content(run, "a.json"), "a").values
    np.testing.assert_array_equal(document["theta"], theta)
    np.testing.assert_array_equal(document["map"], run.history["map"])
    with xr.open_dataset(io.BytesIO(content(run, "a.nc")), engine="h5netcdf") as data:
        np.testing.assert_array_equal(data["theta"], theta)


def test_what_is_not_measured_or_infinite_survives():
    def simulate(configs, seeds):
        for k, value in enumerate((np.nan, np.inf, -np.inf, 1e-300)):
            yield Frame(
                k,
                3,
                {"x": np.full(len(seeds), value)} | ({"y": np.ones(len(seeds))} if k > 1 else {}),
                np.full(len(seeds), -1),
            )

    run = Finished(dataclasses.replace(DESCENT, simulate=simulate), RUN.history)
    run = dataclasses.replace(run, history=run.experiment.run())
    for suffix in (".csv", ".json", ".nc"):
        values = read_content(content(run, f"a{suffix}"), "a").values
        np.testing.assert_array_equal(values["x"].ravel(), [np.nan, np.inf, -np.inf, 1e-300])


def test_a_difference_is_seen_whatever_it_is():
    then = {"same": np.array([1.0, np.nan]), "off": np.array([1.0, np.inf]), "long": np.ones(3), "gone": np.ones(1)}
    now = {"same": np.array([1.0, np.nan]), "off": np.array([1.5, np.inf]), "long": np.ones(2), "new": np.ones(1)}
    found = differences(then, now)
    assert found["same"] == 0
    assert found["off"] == 0.5
    assert all(isinstance(found[name], str) for name in ("long", "gone", "new"))
    assert differences({"x": np.array([np.nan])}, {"x": np.ones(1)}) == {"x": np.inf}


def test_a_run_that_was_stopped_is_trained_as_far_again():
    history, frames = TINY.start([TINY.configure()], [5])
    for frame in frames:
        history.append(frame)
        if frame.step == 7:  # at which nothing is measured
            break
    run = Finished(CURVES, history.until(7))
    stored = read_content(content(run, "a.csv"), "a")
    again = train_again(TINY, stored.made, nothing)
    assert again.step == 7
    now = read_content(content(Finished(CURVES, again), "a.csv"), "a")
    assert set(differences(stored.values, now.values).values()) == {0.0}
    assert b"stopped at step 7 of 20" in content(run, "a.report.html")


def test_what_was_sent_into_a_run_is_sent_again():
    def simulate(configs, seeds):
        x, heard = np.zeros(len(seeds)), []
        for k in range(6):
            sent = yield Frame(k, 5, {"x": x.copy()}, np.full(len(seeds), -1), asks=k % 2 == 1)
            heard.append(sent)
            if isinstance(sent, Live):
                x += sent.values["pull"]
            elif sent is not None:
                x += float(sent)

    experiment = dataclasses.replace(TINY, simulate=simulate)
    history, frames = experiment.start([TINY.configure()], [0])
    frame = next(frames)
    while frame is not None:
        history.append(frame)
        news = {1: "10", 2: Live({"pull": 0.25}), 3: "100"}.get(frame.step)
        if news is None:
            frame = next(frames, None)
        else:
            history.note(news)
            frame = frames.send(news)
    assert history["x"][:, 0].tolist() == [0, 0, 10, 10.25, 110.25, 110.25]
    made = read_content(content(Finished(experiment, history), "a.json"), "a").made
    again = train_again(experiment, made, nothing)
    np.testing.assert_array_equal(again["x"], history["x"])
    assert again.config == history.config != again.first_configs[0]


# Pictures and pages.


@run
def test_a_png_has_twice_the_pixels_of_a_notebooks_picture(run):
    with Image.open(io.BytesIO(content(run, "a.png"))) as picture:
        panels = max(1, len(run.panels))
        assert picture.width == 2 * int(5.4 * 75) * min(2, panels)


@run
def test_an_svg_is_one_and_reaches_for_nothing(run):
    picture = content(run, "a.svg").decode()
    assert picture.startswith("<?xml")
    assert re.findall(r'(?:href|src)="(?!#|data:)[^"]*"', picture) == []


class Whole(HTMLParser):
    """The elements that are open, and addresses that a page would load."""

    def __init__(self):
        super().__init__()
        self.loads = []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]


@pytest.mark.parametrize("suffix", [".html", ".report.html"])
def test_a_page_needs_no_other_file(suffix):
    page = Whole()
    page.feed(content(RUN, f"a{suffix}").decode())
    assert page.loads == []


def test_a_report_on_a_file_of_data_names_it():
    run = CURVES.run(CURVES.configure())
    page = content(Finished(replace(CURVES, data="<my> data.csv"), run), "a.report.html").decode()
    command = "dyntoolkit rerun FILE --file tiny_experiment.py --file &#39;&lt;my&gt; data.csv&#39;"
    assert f"<code>{command}</code>, where FILE is this file; what stands after --file is not in it." in page


def test_a_report_says_settings_claims_and_what_to_cite():
    page = content(Finished(CURVES, CURVES.run(CURVES.configure(pull=0.25))), "a.report.html").decode()
    assert '<li class="differs">pull <b>0.25</b></li>' in page
    assert "x settles at pull / lr" in page
    assert "arXiv0000.00000" in page
    assert "Underlined: other than in the preset “default”." in page


def test_strangers_words_are_no_markup():
    evil = "</script><img src=x onerror=alert(1)>"
    experiment = dataclasses.replace(DESCENT, title=evil, question=evil)
    for suffix in (".html", ".report.html", ".svg"):
        assert b"<img src=x" not in content(Finished(experiment, RUN.history), f"a{suffix}")


def test_json_leaves_the_largest_quantities_out_and_says_so(monkeypatch):
    monkeypatch.setattr(data_files, "MOST_NUMBERS", 30)
    document = json.loads(content(RUN, "a.json"))
    assert (list(document["quantities"]), document["left_out"]) == (["loss", "theta"], ["map"])


def test_a_file_of_more_numbers_than_a_run_has_is_not_unpacked(monkeypatch):
    packed = content(RUN, "a.nc")
    monkeypatch.setattr(stored_run, "LIMIT", 100)
    with pytest.raises(InputError, match=r"^run is no file of a run: it has more than 100 numbers\.$"):
        read_content(packed, "run")


# dt.save.


def test_save_writes_what_the_name_says(tmp_path):
    history = RUN.history
    save(history, tmp_path / "Run.CSV", DESCENT)
    assert read_run(tmp_path / "Run.CSV").made.experiment == "descent"
    with pytest.raises(InputError, match=r"^unknown ending of a file's name '\.txt'\. .*Allowed: \.csv, \.nc,"):
        save(history, tmp_path / "run.txt", DESCENT)
    with pytest.raises(InputError, match=r"^unknown experiment 'descent'"):
        save(history, tmp_path / "run.csv")
    with pytest.raises(
        InputError,
        match=r"^run takes a History, or what `explore` gives; got Dataset \(which writes itself: its `to_netcdf`\)\.$",
    ):
        save(xr.Dataset(), tmp_path / "run.csv")
    assert os.listdir(tmp_path) == ["Run.CSV"]


@pytest.mark.parametrize("suffix", [".csv", ".html"])
def test_a_full_disk_leaves_what_was_there(suffix, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    history, path = RUN.history, tmp_path / f"run{suffix}"
    path.write_text("older")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"run\..* could not be written: No space left on device\.$"):
        save(history, path, DESCENT)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(path.name, "older")]


@pytest.mark.parametrize("place", ["missing/run.csv", "/proc/run.csv", "/dev/full/run.csv"])
def test_a_place_that_cannot_be_written_is_said(place, tmp_path):
    with pytest.raises(InputError, match=r"could not be written: .+\.$"):
        save(RUN.history, tmp_path / place, DESCENT)


# Files that are none.


def damaged(written):
    """The file cut and changed in several ways."""
    yield b""
    for share in (0.02, 0.5, 0.98):
        yield written[: int(share * len(written))]
    yield written[1:]
    yield b"\0" * len(written)
    yield written.replace(b"dyntoolkit-run", b"something-else")


@pytest.mark.parametrize("suffix", STAMPED)
def test_a_damaged_file_is_said_in_one_sentence(suffix):
    written = content(Finished(DESCENT, RUN.history), f"a{suffix}")
    for wrong in damaged(written):
        with pytest.raises(InputError, match=r"^run .+\.$|^run: .+\.$") as refusal:
            read_content(wrong, "run")
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "wrong",
    [
        b"hello",
        b"{}",
        b"{" * 100_000,
        b"<svg></svg>",
        b"<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY lol 'lol'>]><svg>&lol;</svg>",
        b"\x80\x04\x95.",  # a pickle
        b"PK\x03\x04",  # what torch.save writes
        (2**63).to_bytes(8, "little") + b"{}",
        b"# dyntoolkit-run: {}\n",
        b'{"dyntoolkit-run": {}, "quantities": 3}',
        torch.zeros(3).numpy().tobytes(),
    ],
)
def test_another_file_is_said_in_one_sentence(wrong):
    with pytest.raises(InputError, match=r"^run .+\.$|^run: .+\.$"):
        read_content(wrong, "run")


def test_a_place_that_cannot_be_read_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=r"\.$"):
            read_run(path)
