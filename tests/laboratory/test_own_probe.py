import numpy as np
import pytest
import torch
from small_network import Small, problem
from torch import nn

from dyntoolkit import probes as measurements
from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.built_in import PROBES
from dyntoolkit.laboratory.losses import cross_entropy
from dyntoolkit.laboratory.own_probe import own_probe, own_probes
from dyntoolkit.laboratory.probe import Moment, Probe

R = 3
MODEL = Small(True)
THETA = torch.sin(torch.arange(R * MODEL.mlp.parameters * 1.0)).view(R, -1)
MOMENT = Moment(0, THETA, THETA, None, MODEL, problem(True, R), cross_entropy, [])


def size(theta, model, data):
    return theta.norm(dim=1)


def margin(output, target):
    return output.gather(1, target[:, None]).mean()


def share_right(output, target):
    return (output.numpy().argmax(1) == target.numpy()).mean()


def test_a_function_of_the_weights():
    probe = own_probe(size, PROBES)
    assert (probe.name, probe.field, probe.label) == ("size", "watch_size", "size")
    torch.testing.assert_close(probe.measure(MOMENT), THETA.norm(dim=1))


@pytest.mark.parametrize("function", [margin, share_right])
def test_a_function_of_the_outputs_is_measured_on_both_parts_of_the_data(function):
    probe = own_probe(function, PROBES)
    data = MOMENT.problem
    expected = [
        [float(function(MODEL(THETA, x)[r], y[r])) for x, y in ((data.x, data.y), (data.test_x, data.test_y))]
        for r in range(R)
    ]
    np.testing.assert_allclose(probe.measure(MOMENT), expected, rtol=1e-6)
    assert probe.lines is not None
    assert list(probe.lines(MODEL)) == ["training", "test"]


def test_a_function_may_write_into_what_it_is_given():
    def greedy(theta, model, data):
        return theta.zero_().sum(1)

    before = THETA.clone()
    own_probe(greedy, PROBES).measure(MOMENT)
    assert torch.equal(THETA, before)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (measurements.sharpness, "sharpness"),
        (measurements.gradient_curvature, "gradient_curvature"),
        (measurements.relative_distance, "distance"),
        (measurements.kernel_change, "kernel_distance"),
        ("noise_scale", "noise_scale"),
    ],
)
def test_functions_of_the_toolkit_are_what_the_laboratory_measures(function, name):
    assert own_probe(function, PROBES) is next(probe for probe in PROBES if probe.name == name)


def test_a_probe_is_taken_as_it_is_and_one_alone_need_be_no_list():
    mine = Probe("mine", "mine", "none", lambda moment: moment.theta[:, 0])
    assert own_probes([mine, size], PROBES)[0] is mine
    assert [probe.name for probe in own_probes(size, PROBES)] == ["size"]
    assert [probe.name for probe in own_probes("sharpness", PROBES)] == ["sharpness"]


def sharpness(theta, model, data):
    return theta[:, 0]


def loss(theta, model, data):
    return theta[:, 0]


@pytest.mark.parametrize(
    ("probes", "sentence"),
    [
        ([measurements.auc], "unknown probe 'auc'. Allowed: weight_norms, "),
        (["sharpnes"], "unknown probe 'sharpnes'. Did you mean 'sharpness'"),
        ([3], "probes takes functions, dt.probes and dt.Probe; got 3"),
        ([nn.Tanh], "probes takes functions, dt.probes and dt.Probe; got <class"),
        ([lambda theta, model, data: 0], "<lambda> has no name to show"),
        ([share_right, share_right], "the name 'share_right' is taken"),
        ([sharpness], "the name 'sharpness' is taken"),
        ([loss], "the name 'loss' is taken"),
        ([torch.relu], "probes: relu does not say what it takes"),
    ],
)
def test_what_is_no_probe_is_refused(probes, sentence):
    with pytest.raises(InputError, match=sentence):
        own_probes(probes, PROBES)


def test_the_number_of_arguments_says_what_it_measures():
    def alone(theta):
        return theta[:, 0]

    with pytest.raises(InputError, match="alone takes 1 arguments; a probe takes"):
        own_probe(alone, PROBES)

    def with_default(theta, model, data, power=2):
        return theta[:, 0] ** power

    torch.testing.assert_close(own_probe(with_default, PROBES).measure(MOMENT), THETA[:, 0] ** 2)


def test_anything_but_a_number_for_each_run_is_refused():
    def total(theta, model, data):
        return theta.sum()

    def table(output, target):
        return output

    with pytest.raises(InputError, match=r"total gives the shape \(\); it must be one number for each of the 3 runs"):
        own_probe(total, PROBES).measure(MOMENT)
    with pytest.raises(InputError, match=r"table gives a tensor \(12, 2\), and must give one number"):
        own_probe(table, PROBES).measure(MOMENT)
