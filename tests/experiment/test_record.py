import plotly.graph_objects as go
import pytest

from dyntoolkit.catalog.registry import find
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena import EXPERIMENTS


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_presets_differ_from_each_other_and_the_first_one_is_the_default(experiment):
    configs = [experiment.configure(name) for name in experiment.presets]
    assert len(set(configs)) == len(configs)
    assert configs[0] == experiment.configure() == experiment.config()


def test_changes_go_on_top_of_a_preset():
    assert find("label_noise").configure("fast", steps=600).asdict() == {
        **find("label_noise").configure("fast").asdict(),
        "steps": 600,
    }


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: find("label_nose"), "unknown experiment 'label_nose'. Did you mean 'label_noise"),
        (lambda: find("label_noise").configure("fastt"), "unknown preset 'fastt'. Did you mean 'fast'?"),
        (lambda: find("label_noise").configure(lrr=0.1), "unknown field 'lrr'. Did you mean 'lr'?"),
        (lambda: find("label_noise").run(seeds=()), "at least one seed is needed"),
        (lambda: find("label_noise").run(seeds=(0.5,)), "seed takes a whole number"),
    ],
)
def test_wrong_input_gets_one_sentence(call, words):
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        call()


def test_the_bare_name_of_a_phenomenon_is_its_first_experiment():
    for experiment in EXPERIMENTS:
        first = next(e for e in EXPERIMENTS if e.name.split(".")[0] == experiment.name.split(".")[0])
        assert find(experiment.name.split(".")[0]) is first
        assert find(experiment.name) is experiment


def test_figure_is_a_plotly_figure_of_the_panels():
    experiment = find("label_noise")
    history = experiment.run(experiment.configure(steps=500), seeds=(3, 4))
    figure = experiment.figure(history)
    assert isinstance(figure, go.Figure)
    titles = {f"<b>{panel.title}</b>" for panel in experiment.panels(history)}
    assert titles <= {annotation.text for annotation in figure.layout.annotations}
