"""Adam on the digits: training against torch.optim, curvature against a dense Hessian, metrics, figure."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dyntoolkit.phenomena.loss_spikes import digits
from dyntoolkit.phenomena.loss_spikes._spikes import find_spikes
from dyntoolkit.phenomena.loss_spikes._trace import trace
from dyntoolkit.phenomena.loss_spikes.digits import EXPERIMENT, Config, forgetting_corrected

SHORT = Config(steps=500, width=8, n_train=50)


def begun(configs, seeds, blocks):
    """The history of the first blocks of 50 steps."""
    history, frames = EXPERIMENT.start(configs, seeds)
    for frame in frames:
        history.append(frame)
        if "loss" in history and len(history.at("loss")) == blocks:
            return history
    raise AssertionError("too few frames")


def torch_net(theta, h):
    """The same weights in torch's own layers."""
    net = torch.nn.Sequential(torch.nn.Linear(64, h), torch.nn.Tanh(), torch.nn.Linear(h, 10))
    W, b, A, c = torch.split(theta, [64 * h, h, 10 * h, 10])
    for layer, weight, bias in ((net[0], W.view(64, h).T, b), (net[2], A.view(h, 10).T, c)):
        layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return net


def test_it_is_torchs_adam_on_the_first_images_of_the_file():
    history, raw = begun([SHORT], [5], 1), load_digits()
    x, y = torch.tensor(raw.data[:50] / 16).float(), torch.nn.functional.one_hot(torch.tensor(raw.target[:50])).float()
    net = torch_net(digits.initial_theta(SHORT, [5])[0], 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=SHORT.lr, betas=(SHORT.beta1, SHORT.beta2), eps=SHORT.eps)
    expected, norms, roots = [], [], []
    for i in range(50):
        optimizer.zero_grad()
        value = torch.nn.functional.mse_loss(net(x), y)
        value.backward()
        norms.append(float(torch.cat([p.grad.flatten() for p in net.parameters()]).norm()))
        optimizer.step()
        v = torch.cat([optimizer.state[p]["exp_avg_sq"].flatten() for p in net.parameters()])
        roots.append(float((v / (1 - SHORT.beta2 ** (i + 1))).sqrt().mean()))
        expected.append(float(value.detach()))
    np.testing.assert_allclose(trace(history, "loss")[:, 0], expected, rtol=1e-3)
    np.testing.assert_allclose(trace(history, "gradient_norm")[:, 0], norms, rtol=1e-2)
    np.testing.assert_allclose(trace(history, "root_v")[:, 0], roots, rtol=1e-3)


def test_the_initial_weights_have_the_variances_of_the_recipe():
    theta = digits.initial_theta(Config(width=64), range(20))
    W, b, A, c = torch.split(theta, [64 * 64, 64, 640, 10], dim=1)
    assert float(W.std()) == pytest.approx(1 / 8, rel=0.02)
    assert float(A.std()) == pytest.approx(1 / 8, rel=0.03)
    assert float(digits.initial_theta(Config(width=16), range(20))[:, 65 * 16 : 75 * 16].std()) == pytest.approx(
        1 / 4, rel=0.05
    )
    assert not b.any()
    assert not c.any()


def test_the_curvature_is_that_of_the_dense_hessian():
    data = digits.load_data(50)
    exact = digits.Data(data.x.double(), data.y.double())
    theta = digits.initial_theta(SHORT, [2, 3])
    v = torch.rand(theta.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    _, _, found = digits.along_gradient(theta, 1 / (v.sqrt() + torch.tensor([[1e-8], [1e-2]])), data)

    def one(row):
        return digits.loss(row.unsqueeze(0), exact)[0]

    for r, eps in enumerate((1e-8, 1e-2)):
        row = theta[r].double()
        g, H = torch.func.grad(one)(row), torch.func.hessian(one)(row)
        D = 1 / (v[r].double().sqrt() + eps)
        assert float(found[r]) == pytest.approx(float(g @ (D * (H @ g)) / (g @ g)), rel=1e-3)


def test_the_trace_holds_the_curvature_with_the_gradient_of_its_own_step_and_momentums_factor():
    config = SHORT.replace(beta1=0.5)
    history, data = begun([config], [2], 1), digits.load_data(50)
    theta = digits.initial_theta(config, [2])
    _, g = digits.value_and_grad(lambda at: digits.loss(at, data))(theta)
    _, _, along = digits.along_gradient(theta, 1 / (g.abs() + config.eps), data)  # v = g^2 at first
    mu = (1 - 0.5) / ((1 + 0.5) * (1 - 0.5))
    assert trace(history, "along_gradient")[0, 0] == pytest.approx(mu * float(along[0]), rel=1e-3)


def test_measuring_in_pieces_changes_nothing_but_rounding(monkeypatch):
    whole = begun([SHORT] * 2, [1, 2], 1)
    monkeypatch.setattr(digits, "HELD", 7 * 50 * 8)  # seven rows of weights at a time
    pieces = begun([SHORT] * 2, [1, 2], 1)
    for name in whole.names():
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-3, err_msg=name)


@pytest.mark.claims
def test_metrics_claims_and_figure_of_a_default_run():
    history = EXPERIMENT.run(seeds=(902,))
    metrics, losses = EXPERIMENT.metrics(history), trace(history, "loss")[:, 0]
    assert losses.shape == (2500,)
    assert metrics["spikes3"][0] == len(find_spikes(losses, 0.5, 150))
    assert metrics["rise"][0] > 0.8
    assert metrics["rise_below"][0] < 0.35
    assert metrics["recall3"][0] > metrics["chance"][0]
    assert all(claim.where(history.config) for claim in EXPERIMENT.claims)
    assert not any(claim.where(EXPERIMENT.configure("beta2_0.8")) for claim in EXPERIMENT.claims)
    loss, _, curvature, timing = EXPERIMENT.panels(history)
    assert len(loss.marks[2].x) == metrics["spikes3"][0]
    assert len(loss.marks[1].x) == metrics["alarms"][0]
    assert np.nanmax(curvature.marks[0].y) > 1
    assert timing.marks[0].y.sum() <= metrics["spikes3"][0]


def test_a_run_that_only_begins_has_no_bumps():
    assert EXPERIMENT.metrics(begun([SHORT] * 2, [0, 1], 1))["spikes3"].tolist() == [0, 0]


def test_the_dashed_line_forgets_and_corrects_the_bias():
    raw = np.concatenate([np.linspace(0.1, 1, 50), 0.9 ** np.arange(1, 301)])  # sqrt(v) falls by sqrt(0.81)
    bias = np.sqrt(1 - 0.81 ** np.arange(1, 351))
    line = forgetting_corrected(raw / bias, 0.81)
    assert np.isnan(line[:49]).all()
    np.testing.assert_allclose(line[49:-1], (raw / bias)[49:-1])
