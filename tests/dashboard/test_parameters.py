"""Settings from a notebook's parameters, papermill and links."""

import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.catalog import registry
from dyntoolkit.dashboard.parameters import chosen, parameters, run_seeds
from dyntoolkit.dashboard.show import explore
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena import EXPERIMENTS

module = sys.modules["dyntoolkit.dashboard.parameters"]  # in its package the name is the function's


@pytest.fixture(autouse=True)
def headless(tiny, monkeypatch):
    """Nobody looks; returns the switch."""
    monkeypatch.setattr(registry, "EXPERIMENTS", (tiny,))
    monkeypatch.delenv("QUERY_STRING", raising=False)

    def switch(wanted, query=None):
        monkeypatch.setattr(module, "is_headless", lambda: wanted)
        monkeypatch.setattr(module, "is_voila", lambda: query is not None)
        if query is not None:
            monkeypatch.setenv("QUERY_STRING", query)

    switch(True)
    return switch


def test_what_is_given_is_taken_and_none_means_as_the_preset():
    given = {"preset": "slow", "seed": 3, "n_seeds": None, "lr": None, "noise_std": 0, "flip": False}
    assert parameters(given, "tiny") == {"preset": "slow", "seed": 3, "noise_std": 0, "flip": False}


def test_nothing_given():
    assert parameters({}, "tiny.one") == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lr": 9}, "lr takes a number from 0.001 to 4, got 9."),
        ({"lr": "fast"}, "lr takes a number"),
        ({"lr": math.nan}, "lr takes a number"),
        ({"preset": "slwo"}, "unknown preset 'slwo'. Did you mean 'slow'?"),
        ({"seed": 1.5}, "seed takes a whole number"),
        ({"seed": -1}, "seed takes a whole number"),
        ({"n_seeds": 0}, "n_seeds takes a whole number from 1 to 32, got 0."),
        ({"n_seeds": 33}, "n_seeds takes"),
        ({"n_seeds": "2.5"}, "n_seeds takes"),
        ({"n_seeds": [2]}, "n_seeds takes"),
        ({"kind": "sam", "noise_std": 0.9}, "at most 0.5"),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(given, words):
    with pytest.raises(InputError) as error:
        parameters(given, "tiny")
    assert words in str(error.value)


def test_an_unknown_experiment_is_refused():
    with pytest.raises(InputError, match="unknown experiment"):
        parameters({}, "tyni")


def test_what_ipython_and_imports_put_there_is_no_parameter():
    def helper():
        pass

    shell = {"In": [""], "Out": {}, "_": 1, "_i3": "x", "exit": 1, "quit": 1, "open": open, "get_ipython": helper}
    imported = {"math": math, "helper": helper, "Kind": types.SimpleNamespace}
    assert parameters({**shell, **imported, "lr": 0.1}, "tiny") == {"lr": 0.1}


def injected(*lines):
    """The namespace after papermill's cell with these assignments has run."""
    source = "# Parameters\n" + "".join(f"{line}\n" for line in lines)
    namespace = {"In": ["", "lr = 0.05", source, "parameters(globals())"]}
    exec(source, namespace)
    return namespace


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nois_std = 0", "unknown parameter 'nois_std'. Did you mean 'noise_std'?"),
        ('preste = "slow"', "Did you mean 'preset'?"),
        ("n = 5", "unknown parameter 'n'."),
    ],
)
def test_an_injected_parameter_with_a_typo_is_refused(headless, line, words):
    with pytest.raises(InputError) as error:
        parameters(injected("lr = 0.1", line), "tiny")
    assert words in str(error.value)
    headless(False)  # what looks alike in a live notebook was written by a person
    assert parameters(injected("lr = 0.1", line), "tiny") == {"lr": 0.1}


def test_own_variables_above_the_dashboard_are_none():
    own = {"n": 5, "nois_std": 0, "In": ["", "# my parameters\nn = 5", "nois_std = 0"], "lr": 0.1}
    assert parameters(own, "tiny") == {"lr": 0.1}


def test_where_papermill_has_its_files_is_no_parameter():
    lines = ('PAPERMILL_INPUT_PATH = "a.ipynb"', 'PAPERMILL_OUTPUT_PATH = "b.ipynb"', "lr = 0.1")
    assert parameters(injected(*lines), "tiny") == {"lr": 0.1}


def test_the_same_cells_twice_in_one_kernel():
    once = injected("lr = 0.1")
    again = {**once, "In": once["In"] * 2, "view": object(), "given": {"lr": 0.1}}
    assert parameters(again, "tiny") == {"lr": 0.1}


@pytest.mark.parametrize("text", ["1e-3", "0.001", " 1E-3 "])
def test_a_number_may_be_text_as_yaml_reads_it(text):
    assert parameters(injected(f"lr = {text!r}", 'flip = "yes"', 'seed = "1e1"'), "tiny") == {
        "seed": "1e1",
        "lr": text,
        "flip": "yes",
    }


def test_an_experiment_of_ones_own_is_taken_as_a_name_is(tiny, monkeypatch):
    monkeypatch.setattr(registry, "EXPERIMENTS", ())
    assert parameters({"lr": 0.1, "n": 5}, tiny) == {"lr": 0.1}
    with pytest.raises(InputError, match="lr takes a number"):
        parameters({"lr": 9}, tiny)


def test_the_page_of_any_experiment_takes_the_name_too(tiny, headless, monkeypatch):
    other = replace(tiny, name="other.one")
    monkeypatch.setattr(registry, "EXPERIMENTS", (tiny, other))
    assert chosen({"lr": 0.1}, "tiny") == (tiny, {"lr": 0.1})
    assert chosen(injected('experiment = "other.one"', "lr = 0.1"), "tiny") == (other, {"lr": 0.1})
    with pytest.raises(InputError, match="unknown parameter 'lrr'"):
        chosen(injected('experiment = "other.one"', "lrr = 0.1"), "tiny")
    headless(False, "experiment=other.one&lr=0.2")
    assert chosen({"experiment": "tiny", "lr": 0.1}, "tiny") == (other, {})  # `explore` follows the rest
    assert parameters({"lr": 0.1}, "tiny") == {"lr": 0.1}  # it is not for this one


def test_a_link_to_an_experiment_that_there_is_not_is_named_in_the_page(tiny, headless, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, "experiment=gone&lr=0.2")
    assert chosen({"lr": 0.1}, "tiny")[0] is tiny
    assert "unknown experiment &#x27;gone&#x27;" in shown[0]


@pytest.mark.parametrize("target", ["{file}", "{file}:EXPERIMENT", "my_module:EXPERIMENT"])
def test_a_link_loads_no_file_and_no_module(tmp_path, tiny, headless, monkeypatch, target):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "display", lambda html: None)
    path = tmp_path / "my_module.py"
    path.write_text("raise SystemExit('loaded')")
    headless(False, f"experiment={target.format(file=path)}")
    assert chosen({}, "tiny") == (tiny, {})
    assert "my_module" not in sys.modules


@pytest.mark.parametrize(
    ("seed", "n_seeds", "seeds"), [(3, 2, (3, 4)), ("3", "2", (3, 4)), (np.int64(3), np.int32(2), (3, 4)), (0, 1, (0,))]
)
def test_the_seeds_of_a_run(seed, n_seeds, seeds):
    assert run_seeds(seed, n_seeds) == seeds
    assert all(type(one) is int for one in run_seeds(seed, n_seeds))


@pytest.mark.parametrize(
    ("seed", "n_seeds", "words"),
    [
        (-1, 1, "seed takes"),
        ("one", 1, "seed takes"),
        (0, 33, "n_seeds takes a whole number from 1 to 32, got 33."),
        (0, "many", "n_seeds takes"),
        (2**32 - 1, 2, "seed takes a whole number from 0 to 4294967295, got 4294967296."),
    ],
)
def test_what_are_no_seeds_is_named(seed, n_seeds, words):
    with pytest.raises(InputError, match=words):
        run_seeds(seed, n_seeds)


def test_a_live_notebook_may_have_other_variables(headless):
    headless(False)
    assert parameters({"x": 1, "lr": 0.1}, "tiny") == {"lr": 0.1}


def test_a_link_goes_before_the_notebook(headless):
    headless(False, "preset=slow&lr=1e-1&dim=4&flip=true&seed=7&n_seeds=2&token=abc")
    given = parameters({"preset": "plain", "lr": 0.2, "noise_std": 0.1}, "tiny")
    assert given == {
        "preset": "slow",
        "seed": "7",
        "n_seeds": "2",
        "lr": "1e-1",
        "noise_std": 0.1,
        "dim": "4",
        "flip": "true",
    }
    result = explore("tiny", **given)  # it takes the text
    assert result.history.seeds == (7, 8)
    assert result.history.config == result.experiment.configure("slow", lr=0.1, dim=4, flip=True, noise_std=0.1)


@pytest.mark.parametrize(
    "added",
    [
        "utm_source=news&utm_medium=email&utm_campaign=a%20b&utm_id=7",
        "fbclid=IwAR0&gclid=1&msclkid=2&igshid=3&mc_cid=4&mc_eid=5&ref=home&ref_src=twsrc",
        "mc_eid=",
    ],
)
def test_what_mailings_and_social_sites_add_to_a_link_is_passed_over(headless, added, monkeypatch):
    monkeypatch.setattr(module, "display", lambda html: pytest.fail(html.data))
    headless(False, f"{added}&preset=slow&lr=0.1")
    assert parameters({}, "tiny") == {"preset": "slow", "lr": "0.1"}


def test_a_field_of_such_a_name_is_a_field(headless, monkeypatch):
    monkeypatch.setattr(module, "TRACKERS", frozenset({"lr"}))
    headless(False, "lr=0.1")
    assert parameters({}, "tiny") == {"lr": "0.1"}


def test_no_experiment_has_a_field_that_sites_add():
    fields = {name for experiment in EXPERIMENTS for name in experiment.config.sliders()}
    assert not fields & module.TRACKERS
    assert not [name for name in fields if name.startswith(module.CAMPAIGN)]


@pytest.mark.parametrize(
    "wrong",
    [
        "utm=1",
        "fbclid2=1",
        "REF=1",
        "nois_std=0",
        "lr=9",
        "lr=fast",
        "lr=nan",
        "lr=inf",
        "lr=%00",
        "lr=" + "9" * 5000,
        "lr=" + "[" * 5000,
        "seed=one",
        "seed=-1",
        "preset=no",
        "lr=",
        "n_seeds=99",
        "compare.pin=lr:1",
    ],
)
def test_what_is_wrong_in_a_link_is_named_in_the_page_and_the_rest_is_followed(headless, wrong, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, wrong + "&dim=4")
    assert parameters({"noise_std": 0.1}, "tiny") == {"noise_std": 0.1, "dim": "4"}
    (html,) = shown
    assert html.startswith('<div role="alert"><p><b>Not followed in this link:</b> ')
    assert html.count("<p>") == 1
    assert wrong.split("=")[0] in html
    assert len(html) < 500


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("step=5", "step takes a link that names its experiment: experiment=tiny.one."),
        ("compare.spread=lr:3", "compare.spread takes a link that names its experiment: experiment=tiny.one."),
        ("seed=1&seed=2", "&#x27;seed&#x27; stands 2 times in it: the last counts, &#x27;2&#x27;."),
    ],
)
def test_why_a_part_of_a_link_is_not_followed(headless, query, words, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, query)
    parameters({}, "tiny")
    assert words in shown[0]
    assert shown[0].count("<p>") == 1


def test_what_a_rule_between_fields_refuses_is_left_out(headless, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, "noise_std=0.9&kind=sam&dim=4")
    assert parameters({}, "tiny") == {"kind": "sam", "dim": "4"}  # it blames noise_std
    assert "noise_std must be at most 0.5 with SAM." in shown[0]


def test_of_a_great_many_wrong_names_a_few_are_named(headless, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, "&".join(f"x{k}=1" for k in range(9000)) + "&lr=0.1")
    assert parameters({}, "tiny") == {"lr": "0.1"}
    assert shown[0].count("<p>") == 7
    assert "And 8994 more." in shown[0]


@pytest.mark.parametrize("name", ["lr", "<img src=x onerror=alert(1)>", "preset", "seed"])
def test_a_link_cannot_put_its_own_html_in_the_page(headless, name, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, f"{name}=<script>alert(1)</script>\"'")
    parameters({}, "tiny")
    assert "<script" not in shown[0]
    assert "<img" not in shown[0]


def test_outside_of_voila_a_query_is_not_read(monkeypatch):
    monkeypatch.setenv("QUERY_STRING", "lr=0.1")
    assert parameters({}, "tiny") == {}
