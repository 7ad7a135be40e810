"""Every experiment is trained again from its file, to the bit."""

import pytest
from small_settings import small

from dyntoolkit.catalog.data_files import json_file
from dyntoolkit.catalog.provenance import provenance
from dyntoolkit.catalog.rerun import differences, experiment_of, train_again, warnings
from dyntoolkit.catalog.stored_run import read_content
from dyntoolkit.catalog.weights import weights
from dyntoolkit.phenomena import EXPERIMENTS


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_a_run_is_the_same_when_it_is_trained_again_from_its_file(experiment):
    history = experiment.run(small(experiment), (3, 4))
    stored = read_content(json_file(history, provenance(experiment, history)), "run.json")
    again = train_again(experiment_of(stored.made), stored.made, lambda frame: None)
    made = provenance(experiment, again)
    now = read_content(json_file(again, made), "again.json")
    assert warnings(stored.made, made) == []
    assert set(differences(stored.values, now.values).values()) == {0.0}
    assert set(differences(stored.made.metrics, made.metrics).values()) == {0.0}
    if experiment.network is not None:
        tensors = weights(experiment, history).tensors.values()
        assert len(tensors) > 1
        assert sum(tensor.size for tensor in tensors) == history.weights["theta"].size
