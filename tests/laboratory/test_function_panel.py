import numpy as np
import torch
from small_network import Small, problem

from dyntoolkit.laboratory.function_panel import CURVE, GRID, Data, Moment, function_panel, named
from dyntoolkit.laboratory.problem import shared

X = torch.sin(torch.arange(40.0)).view(20, 2)  # (n, d)


class Linear:
    """f = x W for theta (R, P) that holds W (d, k), row by row."""

    def __init__(self, inputs, outputs):
        self.shapes = {"W": (inputs, outputs)}

    def __call__(self, theta, x):
        return x @ theta.view(-1, *self.shapes["W"])


def moment(theta, y, classes=0, columns=2, clean=None, logits=True):
    data = shared(X[:, :columns], y, X[:, :columns], y, classes, 1)
    if clean is not None:
        data = data._replace(clean=clean.expand(1, *clean.shape))
    theta = torch.tensor(theta)[None]
    names = tuple(f"class {k}" for k in range(classes))
    network = Linear(columns, theta.shape[1] // columns)
    return Moment(network, theta, Data(data, ("a", "b")[:columns], "y", names), logits)


def test_one_input_is_a_curve_with_the_points():
    panel = function_panel(moment([2.0], X[:, 1:], columns=1))
    network, points = panel.marks
    assert (panel.title, panel.x.label, panel.y.label) == ("The function", "a", "y")
    assert len(network.x) == CURVE
    np.testing.assert_allclose(network.y, 2 * network.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(points.y, X[:, 1])


def test_two_inputs_are_a_map_with_the_points_of_each_class():
    y = (X[:, 0] > 0).long()
    wrong = y.clone()
    wrong[:3] = 1 - y[:3]
    panel = function_panel(moment([3.0, -1.0], wrong, 2, clean=y))
    heat, *points = panel.marks
    assert panel.title == "The map of decisions"
    assert heat.z.shape == (GRID, GRID)
    expected = 1 / (1 + np.exp(-(3 * heat.x[None, :] - heat.y[:, None])))
    np.testing.assert_allclose(heat.z, expected, rtol=1e-4)
    assert [len(line.x) for line in points] == [int((y[3:] == 0).sum()), int((y[3:] == 1).sum()), 3]
    half = function_panel(moment([3.0, -1.0], wrong, 2, logits=False)).marks[0].z  # outputs about -1 and 1
    np.testing.assert_allclose(half, (3 * heat.x[None, :] - heat.y[:, None] + 1) / 2, rtol=1e-4, atol=1e-5)


def test_of_three_classes_the_most_likely_one_is_shown():
    theta = [1.0, -1.0, 0.0, 0.0, 0.0, 0.5]
    heat = function_panel(moment(theta, torch.arange(20) % 3, 3)).marks[0]
    points = np.stack(np.meshgrid(heat.x, heat.y), -1)
    np.testing.assert_array_equal(heat.z, (points @ np.array(theta).reshape(2, 3)).argmax(-1))
    unknown = function_panel(moment([np.nan] * 6, torch.arange(20) % 3, 3)).marks[0]
    assert np.isnan(unknown.z).all()


def test_for_more_inputs_answers_stand_against_the_truth():
    model, theta = Small(True), torch.cos(torch.arange(1.0 * Small(True).mlp.parameters))[None]
    data = problem(True, 1)
    panel = function_panel(Moment(model, theta, Data(data, (), "y", ("no", "yes")), logits=True))
    found, true = model(theta, data.test_x)[0].argmax(1), data.test_y[0]
    for k in range(2):
        for j in range(2):
            share = ((found == j) & (true == k)).sum() / (true == k).sum()
            assert panel.marks[0].z[k, j] == share
    model, theta = Small(False), torch.cos(torch.arange(1.0 * Small(False).mlp.parameters))[None]
    data = problem(False, 1)
    train, test, right = function_panel(Moment(model, theta, Data(data, (), "y", ()), logits=True)).marks
    np.testing.assert_array_equal(test.x, data.test_y[0, :, 0])
    np.testing.assert_allclose(test.y, model(theta, data.test_x)[0, :, 0], rtol=1e-6)
    assert len(train.x) == 12
    np.testing.assert_array_equal(right.x, right.y)


def test_names_of_a_reader_are_no_markup_and_those_of_classes_differ():
    long = "x" * 40
    data = named(problem(True, 1), ["<b>a</b>"], "$y$", ["<sub>", f"{long}a", f"{long}b"])
    assert (data.features, data.target) == (("&lt;b&gt;a&lt;/b&gt;",), "&#36;y&#36;")
    assert data.classes[0] == "&lt;sub&gt;"
    assert len(set(data.classes)) == 3
