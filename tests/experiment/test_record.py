from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from tiny_experiment import TINY, TinyConfig, simulate

from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, Experiment, Preset, number, run_metrics

ONE = np.full(1, -1)  # a healthy run
SMALL = Experiment("pendulum.long_swing", TinyConfig, simulate)


class Described(Config):
    """How long
    does it swing? As long as it
    can."""

    lr: float = number(0.5, 0.0, 1.0)


def test_title_and_question_come_from_name_and_docstring():
    assert SMALL.title == "Pendulum: long swing"
    assert SMALL.question == ""  # none of its own, and not the one that dataclass makes up
    assert Experiment("one", Described, simulate).question == "How long does it swing?"
    assert Experiment("one", Described, simulate, title="One", question="Why?").title == "One"
    assert Experiment("one", Described, simulate, title="One", question="Why?").question == "Why?"


def test_a_subclass_without_a_docstring_asks_no_question_of_its_base():
    class Bare(Described):
        pass

    assert Experiment("one", Bare, simulate).question == ""


def test_the_only_preset_is_the_defaults():
    assert list(SMALL.presets) == ["default"]
    assert SMALL.configure() == SMALL.configure("default") == TinyConfig()
    assert SMALL.claims == ()
    assert SMALL.seconds is SMALL.map is SMALL.actions is SMALL.sweep_panels is None


def recorded(**values):
    """An experiment that records these, name -> (T, R, ...), at steps 0, 1, ..."""

    def frames(configs, seeds):
        length = len(next(iter(values.values())))
        for t in range(length):
            yield Frame(t, length - 1, {name: np.asarray(v[t]) for name, v in values.items()}, np.full(len(seeds), -1))

    return Experiment("recorded", TinyConfig, frames)


def test_metrics_are_the_last_values_of_what_is_one_number_per_run():
    experiment = recorded(loss=[[3, 4], [1, 2]], wide=[[[1.0, 2.0]] * 2] * 2)
    metrics = experiment.metrics(experiment.run(seeds=(0, 1)))
    assert list(metrics) == ["loss"]
    np.testing.assert_array_equal(metrics["loss"], [1.0, 2.0])
    assert metrics["loss"].dtype == np.float64


def test_panels_are_a_curve_for_what_is_one_number_per_run():
    falls, rises = [[1.0, 2.0], [1e-3, 1e-2], [1e-5, 1e-4]], [[0.0, 1.0], [10.0, 20.0], [100.0, 1e3]]
    experiment = recorded(train_loss=falls, signed=rises, wide=[[[1.0, 2.0]] * 2] * 3)
    history = experiment.run(seeds=(0, 1))
    loss, signed = experiment.panels(history)
    assert (loss.title, loss.x.label, loss.y.label, loss.y.log) == ("train loss", "step", "train_loss", True)
    assert not signed.y.log  # it has a zero
    (line,) = loss.marks
    np.testing.assert_array_equal(line.x, [0, 1, 2])
    np.testing.assert_array_equal([line.low, line.high], np.transpose(falls))
    assert experiment.panels(history.until(0))[0].marks[0].x.tolist() == [0]
    assert experiment.panels(experiment.start([TinyConfig()], [0])[0]) == []


@pytest.mark.parametrize("last", [1e-5, 0.02, 0.0, -1.0, np.nan])
def test_an_axis_is_logarithmic_for_positive_values_over_more_than_two_powers_of_ten(last):
    experiment = recorded(x=[[1.0], [last]])
    (panel,) = experiment.panels(experiment.run())
    assert panel.y.log is (last == 1e-5)


@pytest.mark.parametrize(
    ("make", "field", "sentence"),
    [
        (lambda: Experiment("two words", TinyConfig, simulate), "name", "name takes words of letters, digits and _"),
        (lambda: Experiment("", TinyConfig, simulate), "name", "got ''"),
        (lambda: Experiment(".x", TinyConfig, simulate), "name", "got '.x'"),
        (lambda: Experiment("x\n", TinyConfig, simulate), "name", "got"),
        (lambda: Experiment(3, TinyConfig, simulate), "name", "got 3"),
        (lambda: Experiment("x", TinyConfig(), simulate), "config", "config of x takes a subclass of Config, got Tiny"),
        (lambda: Experiment("x", dict, simulate), "config", "config of x takes a subclass of Config"),
        (lambda: Experiment("x", TinyConfig, None), "simulate", "simulate of x takes a function, got None."),
        (lambda: Experiment("x", TinyConfig, simulate, presets={}), "presets", "presets of x needs one preset"),
    ],
)
def test_what_is_no_experiment_is_refused_in_one_sentence(make, field, sentence):
    with pytest.raises(InputError) as caught:
        make()
    assert sentence in str(caught.value)
    assert caught.value.field == field


def test_the_repr_tells_what_one_needs_to_go_on():
    assert repr(TINY) == (
        "Experiment tiny.decay: Decay\n"
        "  Does x shrink?\n"
        "  settings: lr 0.5, pull 0, steps 20, law linear\n"
        "  presets: default, still, pulled, lost\n"
        "  claims: shrinks, settles, falls, all_small, mean_start"
    )
    assert repr(SMALL) == (
        "Experiment pendulum.long_swing: Pendulum: long swing\n"
        "  settings: lr 0.5, pull 0, steps 20, law linear\n"
        "  presets: default"
    )


def test_changes_go_on_top_of_a_preset():
    assert TINY.configure("pulled", steps=40).asdict() == {"lr": 0.5, "pull": 0.5, "steps": 40, "law": "linear"}
    assert Preset("why", {"lr": 1.0}) == Preset("why", {"lr": 1.0})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TINY.configure("stil"), "unknown preset 'stil'. Did you mean 'still'?"),
        (lambda: TINY.configure(step=0.1), "unknown field 'step'. Did you mean 'steps'?"),
        (lambda: TINY.run(seeds=()), "at least one seed is needed"),
        (lambda: TINY.run(seeds=(0.5,)), "seed takes a whole number"),
    ],
)
def test_wrong_input_gets_one_sentence(call, words):
    with pytest.raises(InputError) as caught:
        call()
    assert words in str(caught.value)


def test_run_is_the_first_preset_with_seed_0_unless_said():
    assert TINY.run().config == TINY.configure()
    assert TINY.run().seeds == (0,)
    history = TINY.run(TINY.configure("still"), np.array([3, 4]))
    assert history.done
    assert (history.experiment, history.seeds) == ("tiny.decay", (3, 4))
    np.testing.assert_allclose(history["x"][-1], [1.3, 1.4])


@pytest.mark.parametrize("world", [torch.no_grad, torch.inference_mode, lambda: torch.device("meta")])
def test_a_simulation_works_under_its_own_modes_of_torch_also_before_its_first_frame(world):
    def frames(configs, seeds):
        leaf = torch.ones(len(seeds), requires_grad=True)  # at once: this is no generator
        (slope,) = torch.autograd.grad((leaf**2).sum(), leaf)
        return iter([Frame(0, 0, {"slope": slope.numpy()}, np.full(len(seeds), -1))])

    with world():
        history = Experiment("eager", TinyConfig, frames).run()
    np.testing.assert_array_equal(history["slope"], [[2.0]])


def test_the_figure_is_a_plotly_figure_of_the_panels():
    figure = SMALL.figure(SMALL.run(seeds=(3, 4)))
    assert isinstance(figure, go.Figure)
    assert "<b>x</b>" in {annotation.text for annotation in figure.layout.annotations}


@pytest.mark.parametrize(
    ("simulate", "words"),
    [
        (lambda configs, seeds: None, r"must yield or return frames; it returned None \(is a `return` missing\?\)"),
        (lambda configs, seeds: [1, 2], "must yield or return frames; it returned list"),
        (lambda configs, seeds: iter(()), "ended without a frame"),
        (lambda configs, seeds: iter((1,)), "must yield frames, as `train` does; got int"),
        (
            lambda configs, seeds: iter((Frame(0, 1, None, ONE),)),
            r"must measure a dict, name -> \(R, ...\); got NoneType",
        ),
        (
            lambda configs, seeds: iter((Frame(0, 1, {"w": ["a"]}, ONE),)),
            "must measure real numbers, .* got <U1 under 'w'",
        ),
        (lambda configs, seeds: iter((Frame(0, 1, {"w": 3.0}, ONE),)), r"'w' of \S+ has the shape \(\) at step 0"),
    ],
)
def test_a_simulation_that_gives_anything_but_frames_is_said_in_one_sentence(simulate, words):
    with pytest.raises(InputError, match=words):
        replace(TINY, simulate=simulate).run()


def test_measured_tensors_are_taken_with_or_without_a_graph():
    grows = torch.ones(1, dtype=torch.float32, requires_grad=True) * 2
    frames = [Frame(0, 0, {"w": grows}, np.full(1, -1))]
    history = replace(TINY, simulate=lambda configs, seeds: iter(frames)).run()
    assert history["w"].tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (lambda history: None, r"metrics of tiny\S+ must return a dict, name -> \(R,\); got NoneType"),
        (
            lambda history: {"end": 1.0},
            r"metric 'end' of \S+ has the shape \(\), not one number for each of the 1 runs",
        ),
    ],
)
def test_metrics_that_are_none_are_said_in_one_sentence(metrics, words):
    broken = replace(TINY, metrics=metrics)
    with pytest.raises(InputError, match=words):
        run_metrics(broken, broken.run())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"presets": {"fast": {"lr": 0.1}}}, "preset 'fast' of one takes a Preset, got"),
        ({"predictions": {"end": 1.0}}, r"predictions of one takes a dict, name -> function\(config\), got"),
        ({"borders": [print]}, r"borders of one takes a dict, name -> function\(config\), got \[<"),
        ({"claims": "all"}, "claims of one takes a tuple of Claim, got 'all'"),
    ],
)
def test_parts_of_a_record_are_of_their_kind(fields, words):
    with pytest.raises(InputError, match=words):
        Experiment("one", TinyConfig, simulate, **fields)


def on_file(name, content):
    if not content:
        raise InputError(f"{name} is empty.", "file")
    return replace(TINY, title=f"{name}: {len(content)}")


def test_an_experiment_may_become_that_of_a_readers_file(monkeypatch):
    takes = replace(TINY, file=on_file)
    assert takes.with_file("a.csv", b"1,2").title == "a.csv: 3"
    with pytest.raises(InputError, match=r"a\.csv is empty"):
        takes.with_file("a.csv", b"")
    with pytest.raises(InputError, match="takes no file of data"):
        TINY.with_file("a.csv", b"1,2")
    monkeypatch.setattr("dyntoolkit.experiment.record.FILE_LIMIT", 2_000_000)
    with pytest.raises(InputError, match=r"a\.csv has 3.0 MB: a file of data may have 2 MB at most"):
        takes.with_file("a.csv", bytes(3_000_000))
