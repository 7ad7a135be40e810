import numpy as np
import pytest
import torch

from dyntoolkit.laboratory.function_panel import Moment, function_panel
from dyntoolkit.phenomena.laboratory._neurons import neurons_panel
from dyntoolkit.phenomena.laboratory.network import Config, first_run, initial_theta


def moment(known=True, **settings):
    config = Config(**settings)
    data, network = first_run(config, 0, None)
    theta = initial_theta([config], (0,), network)
    return Moment(network, theta if known else torch.full_like(theta, torch.nan), data, config.loss != "mse")


def test_arrows_are_as_long_as_neurons_weigh():
    now = moment(data="moons", depth=1, width=3)
    lines, tips = neurons_panel(now).marks
    w = now.network.split(now.theta)
    outward = w["W2"][0].norm(dim=1)
    np.testing.assert_allclose(tips.x, w["W1"][0, 0] * outward, rtol=1e-5)
    np.testing.assert_array_equal(lines.x[1::3], tips.x)
    assert (lines.y[::3] == 0).all()
    assert np.isnan(lines.y[2::3]).all()


def test_kinks_are_where_a_neuron_turns():
    now = moment(data="sines", depth=1, width=4)
    w = now.network.split(now.theta)
    w["b1"][:] = torch.tensor([0.5, -0.2, 0.0, 1.0])
    (line,) = neurons_panel(now).marks
    np.testing.assert_allclose(w["W1"][0, 0] * torch.from_numpy(line.x) + w["b1"][0, 0], 0, atol=1e-6)


def test_images_are_tiles():
    now = moment(data="digits")
    (heat,) = neurons_panel(now).marks
    first = now.network.split(now.theta)["W1"][0, :, 7].reshape(8, 8)  # second row, second tile
    np.testing.assert_allclose(heat.z[9:17, 9:17], first, rtol=1e-6)
    assert np.isnan(heat.z[8]).all()


@pytest.mark.parametrize("name", ["moons", "sines", "digits", "wine", "gaussian", "iris", "parity"])
@pytest.mark.parametrize("depth", [0, 2])
def test_unknown_weights_leave_the_same_marks(name, depth):
    for panel in (function_panel, neurons_panel):
        before, then = (panel(moment(known, data=name, depth=depth)) for known in (False, True))
        kinds = [[(type(mark), mark.name) for mark in each.marks] for each in (before, then)]
        assert before.title == then.title
        assert kinds[0] == kinds[1]
