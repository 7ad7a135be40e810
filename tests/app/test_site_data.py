"""A page's script holds the numbers that the runs have."""

import base64
import gzip
import json

import numpy as np

from dyntoolkit.app import site_data
from dyntoolkit.app.site_data import BITS, MAP_BITS, script
from dyntoolkit.app.site_runs import Grid, Moment, Shown
from dyntoolkit.dashboard.board import pack
from dyntoolkit.experiment.config import Config, number
from dyntoolkit.figure.panels import Axis, Heat, Line, Panel

RANDOM = np.random.default_rng(0)
STEPS = np.arange(0, 60_000, 300)  # (200,): beyond what 12 bits can tell apart


class Settings(Config):
    lr: float = number(0.1, 0.01, 1.0, log=True, unit="1/s")


GRID = Grid(Settings(), {"lr": [0.05, 0.1]})


def panels(curve, count):
    """A curve with a band, and a map, after `count` points."""
    x, y = STEPS[:count], curve[:count]
    line = Line("loss", x, y, "#0072B2", low=y - 0.1, high=y + 0.1)
    heat = Heat("map", np.arange(8), np.arange(9), np.outer(np.arange(9), np.full(8, curve[count - 1])))
    return [Panel("Loss", Axis("step"), Axis("loss"), [line]), Panel("Map", Axis("a"), Axis("b"), [heat])]


def run(offset, counts=(1, 60, 200)):
    curve = offset + RANDOM.normal(size=200)
    curve[100] = np.nan
    moments = tuple(Moment(int(STEPS[count - 1]), panels(curve, count)) for count in counts)
    return Shown(f"lr={offset}", moments, "", "<ul></ul>")


def unpacked(text):
    """As explore.js does it."""
    packed = gzip.decompress(base64.b64decode(text.removeprefix('dyntoolkitRuns("').removesuffix('");\n')))
    length = int.from_bytes(packed[:4], "little")
    page = json.loads(packed[4 : 4 + length])
    planes = np.frombuffer(packed, np.uint8, offset=4 + length).reshape(4, -1)
    arrays = np.split(planes.T.copy().view("<f4").ravel(), np.cumsum(page["sizes"])[:-1])
    return page, arrays


def gathered(arrays, moment):
    parts = []
    for k, *ends in moment["arrays"]:
        whole = arrays[k]
        parts += [whole[: ends[0]], whole[len(whole) - ends[1] :]] if ends else [whole]
    return np.concatenate(parts)


def test_every_moment_of_every_run_comes_back():
    runs = [run(0.0), run(1e4)]
    page, arrays = unpacked(script("Title", GRID, runs, ["a", "b"], 3))
    (slider,) = page["sliders"]
    assert slider == {"label": "lr (1/s)", "values": ["0.05", "0.1"], "at": 1}
    assert [told["live"] for told in page["runs"]] == ["a", "b"]
    for told, shown in zip(page["runs"], runs, strict=True):
        _, last_shapes, last = pack(shown.moments[-1].panels)
        whole = np.split(last, np.cumsum([int(np.prod(shape)) for shape in last_shapes]))[:-1]
        for moment, original in zip(told["moments"], shown.moments, strict=True):
            template, shapes, numbers = pack(original.panels)
            assert moment["step"] == original.step
            assert moment["shapes"] == shapes
            assert page["templates"][moment["template"]] == template
            found = gathered(arrays, moment)
            ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
            parts = zip(shapes, np.split(found, ends)[:-1], np.split(numbers, ends)[:-1], whole, strict=True)
            for shape, got, wanted, later in parts:
                is_map = len(shape) == 2
                bits = MAP_BITS if is_map else BITS
                span = np.nanmax(wanted if is_map else later) - np.nanmin(wanted if is_map else later)
                np.testing.assert_allclose(got, wanted, atol=span * 2.0**-bits)
                np.testing.assert_allclose(got, wanted, rtol=2.0**-bits)


def test_steps_stay_whole():
    page, arrays = unpacked(script("Title", GRID, [run(0.0), run(0.0)], ["", ""], 1))
    last = page["runs"][0]["moments"][-1]
    assert any(np.array_equal(arrays[k], STEPS.astype(np.float32)) for k, *_ in last["arrays"])


def test_a_curve_is_kept_once_however_often_it_is_looked_back_at():
    few = unpacked(script("Title", GRID, [run(0.0, (200,)), run(1.0, (200,))], ["", ""], 1))[0]
    many = unpacked(script("Title", GRID, [run(0.0, range(2, 201, 2)), run(1.0, range(2, 201, 2))], ["", ""], 1))[0]
    maps = 2 * 99 * 9 * 8  # numbers of the 99 further maps of each run; of some moments too few numbers are known
    assert sum(many["sizes"]) <= sum(few["sizes"]) + maps + 100


def test_a_page_that_would_be_too_large_has_fewer_moments(monkeypatch):
    runs = [run(0.0, range(2, 201, 2)), run(1.0, range(2, 201, 2))]
    whole = unpacked(script("Title", GRID, runs, ["", ""], 1))[0]
    assert len(whole["runs"][0]["moments"]) == 100
    monkeypatch.setattr(site_data, "LIMIT", len(script("Title", GRID, runs, ["", ""], 1)) // 3)
    page, _ = unpacked(script("Title", GRID, runs, ["", ""], 1))
    kept = [moment["step"] for moment in page["runs"][0]["moments"]]
    assert 2 <= len(kept) <= 50
    assert kept[-1] == runs[0].moments[-1].step
    assert kept == sorted(kept)
