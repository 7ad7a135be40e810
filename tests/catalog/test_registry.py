"""Which experiments there are, by name, in files, and in modules."""

import sys
from dataclasses import replace

import pytest
from tiny_experiment import TINY, TinyConfig, simulate

from dyntoolkit.catalog import registry
from dyntoolkit.catalog.registry import experiments, find, load, load_one, register
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena import EXPERIMENTS

FILE = """
from dyntoolkit import Config, Experiment, number

class Valley(Config):
    lr: float = number(0.1, 0.01, 1.0)

def simulate(configs, seeds):
    yield

"""
ONE = FILE + 'EXPERIMENT = Experiment("valley", Valley, simulate)\n'


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Nothing is registered, and what a test imports is forgotten."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("dyntoolkit_file_", "some_", "a_package")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file in a folder of its own, which is the present one; returns the path as a person would give it."""
    monkeypatch.chdir(tmp_path)

    def put(text, name="my_file.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return name

    return put


def names(found):
    return [experiment.name for experiment in found]


def test_the_bare_name_of_a_phenomenon_is_its_first_experiment():
    for experiment in EXPERIMENTS:
        first = next(e for e in EXPERIMENTS if e.name.split(".")[0] == experiment.name.split(".")[0])
        assert find(experiment.name.split(".")[0]) is first
        assert find(experiment.name) is experiment


def test_an_experiment_is_itself():
    assert find(TINY) is TINY


@pytest.mark.parametrize("name", ["label_nose", "", "label_noise.", "linear", None, 3, ["label_noise"]])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(InputError, match="unknown experiment"):
        find(name)


def test_a_near_name_is_suggested():
    with pytest.raises(InputError, match=r"Did you mean 'label_noise\.linear'\?"):
        find("label_noise.liner")


def test_what_is_registered_is_found_and_listed_last():
    assert register(TINY) is TINY
    assert find("tiny") is find("tiny.decay") is TINY
    assert experiments()[-1] is TINY
    assert experiments()[: len(EXPERIMENTS)] == EXPERIMENTS


def test_the_same_definition_may_be_registered_again_and_the_newest_counts():
    register(TINY)
    again = register(replace(TINY, title="Decay, edited"))
    assert find("tiny.decay") is again
    assert names(experiments()).count("tiny.decay") == 1


def test_a_name_that_another_one_has_is_refused():
    def other(configs, seeds):
        yield

    register(TINY)
    with pytest.raises(InputError, match=r"the name 'tiny\.decay' is taken by another experiment \(tiny_experiment\."):
        register(replace(TINY, simulate=other))
    for name in ("label_noise.linear", "label_noise"):  # a phenomenon's bare name has a meaning, too
        with pytest.raises(InputError, match=f"the name '{name}' is taken by another experiment"):
            register(replace(TINY, name=name))
    assert find("tiny.decay") is TINY


def test_one_of_our_own_may_be_registered_and_nothing_changes():
    before = experiments()
    assert register(EXPERIMENTS[0]) is EXPERIMENTS[0]
    assert experiments() == before


def test_an_exact_name_goes_before_a_bare_one():
    one = register(replace(TINY, name="valley.one"))
    valley = register(replace(TINY, name="valley"))
    assert find("valley") is valley
    assert find("valley.one") is one


@pytest.mark.parametrize("thing", ["tiny.decay", TinyConfig, None, simulate])
def test_only_experiments_can_be_registered(thing):
    with pytest.raises(InputError, match="register takes an Experiment, got"):
        register(thing)


# Files and modules.


def test_a_name_is_loaded_as_it_is_found():
    register(TINY)
    assert load("tiny") == (TINY,)
    assert load_one("label_noise").name == "label_noise.linear"


@pytest.mark.parametrize("target", ["my_file.py", "./my_file.py", "my_file.py:EXPERIMENT"])
def test_a_file_is_loaded(write, target):
    write(ONE)
    assert names(load(target)) == ["valley"]
    assert load_one(target).configure(lr=0.2).lr == 0.2


def test_a_path_may_hold_colons_and_spaces(write, tmp_path):
    write(ONE, "a: b/my file.py")
    assert names(load("a: b/my file.py")) == ["valley"]
    assert names(load(str(tmp_path / "a: b/my file.py"))) == ["valley"]
    assert names(load("a: b/my file.py:EXPERIMENT")) == ["valley"]


def test_a_file_imports_its_neighbours_also_while_it_trains(write):
    write("NAME = 'valley'", "some_neighbour.py")
    write("LATE = 1", "some_other.py")
    late = FILE.replace("    yield\n", "    import some_other\n    yield some_other.LATE\n")
    target = write(late + "import some_neighbour\nE = Experiment(some_neighbour.NAME, Valley, simulate)\n")
    assert list(load_one(target).simulate([], [])) == [1]


def test_a_file_is_no_main_program(write):
    target = write(ONE + "if __name__ == '__main__':\n    raise SystemExit('trained')\n")
    assert names(load(target)) == ["valley"]


TWO = FILE + 'A = Experiment("valley.a", Valley, simulate)\nB = Experiment("valley.b", Valley, simulate)\nC = A\n'


def test_all_experiments_of_a_file_are_meant_each_once(write):
    target = write(TWO + "from dyntoolkit.phenomena import EXPERIMENTS\nOURS = EXPERIMENTS[0]\n")
    assert names(load(target)) == ["valley.a", "valley.b"]
    assert names(load(target + ":B")) == ["valley.b"]
    with pytest.raises(InputError) as caught:
        load_one(target)
    assert str(caught.value) == (
        "my_file.py defines several experiments (valley.a, valley.b): name one as my_file.py:VARIABLE."
    )


def test_a_list_of_experiments_has_a_name_too(write):
    target = write(TWO + "BOTH = [A, B]\n")
    assert names(load(target + ":BOTH")) == ["valley.a", "valley.b"]


@pytest.mark.parametrize(
    ("text", "target", "sentence"),
    [
        ("1 / 0", "my_file.py", "my_file.py cannot be loaded: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "my_file.py", "my_file.py cannot be loaded: SystemExit: 3"),
        ("def", "my_file.py", "my_file.py cannot be loaded: SyntaxError: "),
        ("import no_such_thing", "my_file.py", "ModuleNotFoundError: No module named 'no_such_thing'"),
        (FILE + "Valley(lr=2)", "my_file.py", "my_file.py cannot be loaded: lr takes a number from 0.01 to 1, got 2."),
        (FILE, "my_file.py", "my_file.py defines no dyntoolkit Experiment."),
        (TWO, "my_file.py:D", "unknown experiment in my_file.py 'D'."),
        (TWO, "my_file.py:Valley", "my_file.py:Valley is no dyntoolkit Experiment, but type."),
        (TWO, "my_file.py:", "unknown experiment 'my_file.py:'"),
        (TWO, "your_file.py", "there is no file your_file.py."),
        (TWO, "your_file.py:A", "there is no file your_file.py."),
        (TWO, "some_missing.module:A", "module some_missing.module cannot be loaded: ModuleNotFoundError"),
        (TWO, "my_file", "unknown experiment 'my_file'."),
        (TWO, ".py", "there is no file .py."),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(write, text, target, sentence):
    write(text)
    before = set(sys.modules)
    with pytest.raises(InputError) as caught:
        load(target)
    assert sentence in str(caught.value)
    assert "dyntoolkit_file_my_file" not in set(sys.modules) - before or "my_file.py" in target


def test_a_folder_that_ends_like_a_file_is_none(tmp_path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InputError, match="there is no file"):
        load(str(tmp_path / "folder.py"))


def test_a_module_is_loaded_by_its_name_also_from_the_present_folder(write):
    write("", "a_package/__init__.py")
    write(TWO, "a_package/some_module.py")
    assert names(load("a_package.some_module:A")) == ["valley.a"]
    assert isinstance(load_one("a_package.some_module:B"), Experiment)
