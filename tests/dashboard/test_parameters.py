"""Settings from a notebook's parameters, papermill and links."""

import math
import sys
import types

import pytest

from dyntoolkit import phenomena
from dyntoolkit.errors import InputError
from dyntoolkit.dashboard.parameters import parameters

module = sys.modules["dyntoolkit.dashboard.parameters"]  # in its package the name is the function's


@pytest.fixture(autouse=True)
def headless(tiny, monkeypatch):
    """Nobody looks; returns the switch."""
    monkeypatch.setattr(phenomena, "EXPERIMENTS", (tiny,))
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
        ({"nois_std": 0}, "unknown parameter 'nois_std'. Did you mean 'noise_std'?"),
        ({"preste": "slow"}, "Did you mean 'preset'?"),
        ({"lr": 9}, "lr takes a number from 0.001 to 4, got 9."),
        ({"lr": "fast"}, "lr takes a number"),
        ({"lr": math.nan}, "lr takes a number"),
        ({"preset": "slwo"}, "unknown preset 'slwo'. Did you mean 'slow'?"),
        ({"seed": 1.5}, "seed takes a whole number"),
        ({"seed": -1}, "seed takes a whole number"),
        ({"n_seeds": 0}, "n_seeds takes a whole number from 1 to 32, got 0."),
        ({"n_seeds": 33}, "n_seeds takes"),
        ({"n_seeds": "2"}, "n_seeds takes"),
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


def test_a_live_notebook_may_have_other_variables(headless):
    headless(False)
    assert parameters({"x": 1, "lr": 0.1}, "tiny") == {"lr": 0.1}


def test_a_link_goes_before_the_notebook(headless):
    headless(False, "preset=slow&lr=1e-1&dim=4&flip=true&seed=7&n_seeds=2&token=abc")
    given = parameters({"preset": "plain", "lr": 0.2, "noise_std": 0.1}, "tiny")
    assert given == {
        "preset": "slow",
        "seed": 7,
        "n_seeds": 2,
        "lr": 0.1,
        "noise_std": 0.1,
        "dim": 4,
        "flip": True,
    }


@pytest.mark.parametrize(
    "query", ["nois_std=0", "lr=9", "lr=fast", "seed=one", "seed=-1", "preset=no", "lr=", "n_seeds=99"]
)
def test_a_wrong_link_is_named_in_the_page_and_not_followed(headless, query, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, query + "&preset=slow" if "preset" not in query else query)
    assert parameters({"noise_std": 0.1}, "tiny") == {"noise_std": 0.1}
    assert len(shown) == 1
    assert 'role="alert"' in shown[0]
    assert query.split("=")[0] in shown[0]


def test_a_link_cannot_put_its_own_html_in_the_page(headless, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda html: shown.append(html.data))
    headless(False, "lr=<script>alert(1)</script>")
    parameters({}, "tiny")
    assert "<script>" not in shown[0]


def test_outside_of_voila_a_query_is_not_read(monkeypatch):
    monkeypatch.setenv("QUERY_STRING", "lr=0.1")
    assert parameters({}, "tiny") == {}
