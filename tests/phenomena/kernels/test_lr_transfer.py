"""Transfer of learning rates: networks and updates against torch, divergence, metrics by hand, figure."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.phenomena.kernels import lr_transfer
from dyntoolkit.phenomena.kernels.lr_transfer import EXPERIMENT, MUP, SP, WIDTHS, Bank, Config, State

TINY = Config(n_train=100, steps=20)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


@pytest.fixture
def small(monkeypatch):
    """Widths that train in no time."""
    monkeypatch.setattr(lr_transfer, "WIDTHS", (4, 6, 8, 16))


def start_of(configs, seeds):
    """Banks, and all networks before the first update."""
    images = lr_transfer.draw(configs, seeds)
    banks = [Bank(configs, width, images) for width in lr_transfer.WIDTHS]
    starts = [lr_transfer.initial(configs, seeds, width) for width in lr_transfer.WIDTHS]
    theta = torch.cat([start[:, :, None].expand(-1, -1, 11, -1).flatten(1) for start in starts], 1)
    none = torch.zeros_like(theta)
    left = torch.zeros(len(seeds), 4, 2, 11, dtype=torch.int64)
    return images, banks, starts, State(theta, none, none.clone(), torch.zeros(len(seeds), dtype=torch.int64), left)


@pytest.mark.parametrize("optimizer", ["adam", "gd"])
def test_networks_are_those_that_torch_trains_with_a_rate_for_each_layer(small, optimizer):
    """The widest one of a run among others, in both parametrizations, at two rates of the grid and at its own."""
    own = TINY.replace(optimizer=optimizer, init_scale=0.9, lr=0.01, flip=0.4)
    images, banks, starts, state = start_of([TINY.replace(optimizer=optimizer), own], [1, 9])
    step = lr_transfer.make_step(banks)
    for _ in range(3):
        state = step(state, None)
    found = lr_transfer.split(state.theta, banks)[3].view(2, 2, 11, -1)
    losses = lr_transfer.losses(state, banks)
    x, y, r = images.x[1], images.y[1], 4.0
    for p in (SP, MUP):
        factors = {("adam", SP): (1, 1, 1), ("gd", SP): (1, 1, 1), ("adam", MUP): (1, 1 / r, 1 / r)}
        by_layer = factors.get((optimizer, p), (r, 1, 1 / r))
        for k, lr in ((0, own.grid[0]), (4, own.grid[4]), (10, 0.01)):
            layers = [W.clone().requires_grad_() for W in starts[3][1, p].split([64 * 16, 16 * 16, 160])]
            groups = [{"params": [W], "lr": lr * factor} for W, factor in zip(layers, by_layer, strict=True)]
            rule = torch.optim.Adam(groups) if optimizer == "adam" else torch.optim.SGD(groups)
            for _ in range(4):
                f = (x @ layers[0].view(64, 16)).relu() @ layers[1].view(16, 16)
                loss = (f.relu() @ layers[2].view(16, 10) - y).square().sum(1).mean() / 2
                if _ < 3:
                    rule.zero_grad()
                    loss.backward()
                    rule.step()
            torch.testing.assert_close(found[1, p, k], torch.cat(layers).detach(), rtol=1e-3, atol=1e-5)
            assert losses[1, 3, p, k] == pytest.approx(loss.item(), rel=1e-3)
    std = [part.std().item() for part in starts[3][1, MUP].split([64 * 16, 16 * 16, 160])]
    np.testing.assert_allclose(std, [0.9 / 8, 0.9 / 4, (1 / (16 * 4)) ** 0.5], rtol=0.15)


def test_sharpness_is_the_largest_eigenvalue_of_the_scaled_hessian(small):
    config = TINY.replace(activation="tanh")
    _, banks, starts, _ = start_of([config], [2])
    bank, theta = banks[0], 0.3 * starts[0]
    found = bank.sharpness(theta)
    hessian = torch.func.hessian(lambda row: bank.losses(row[None, None])[0, 0])(theta[0, MUP])
    root = bank.gd_factors[MUP].sqrt()
    expected = torch.linalg.eigvalsh(root[:, None] * hessian * root)[-1].item()
    assert found[0, MUP].item() == pytest.approx(expected, rel=0.05)


def test_a_network_that_diverges_stays_and_counts_as_the_worst(small):
    config = TINY.replace(optimizer="gd", init_scale=2)
    _, banks, _, state = start_of([config], [2])
    step = lr_transfer.make_step(banks)
    for _ in range(20):
        state = step(state, None)
    lost = state.left > 0
    assert lost[..., 9].any()
    assert not lost[..., 0].any()
    assert torch.isfinite(state.theta).all()
    losses = lr_transfer.losses(state, banks)
    assert (losses[lost.numpy()] == 1000).all()
    assert (losses[~lost.numpy()] < 1000).all()


def test_engines_agree(small):
    found = {}
    for engine in ("eager", "xla"):
        with asking(Asked(engine)):
            history = run_together(EXPERIMENT, [TINY, TINY.replace(lr=0.001)], [0, 1])
        assert history.engine == engine
        assert history.at("loss").tolist() == list(range(21))
        found[engine] = EXPERIMENT.metrics(history)
    for name in ("best_sp_4", "slope_mup", "loss_mup_16", "penalty_sp", "sharp_ratio_sp"):
        np.testing.assert_allclose(found["eager"][name], found["xla"][name], rtol=0.02, atol=0.02, err_msg=name)


def by_hand():
    """A finished history whose losses are parabolas around 2^-6 in muP, and around 2^-6 32/N in the standard one."""
    history, _ = EXPERIMENT.start([TINY], [0])
    loss = np.ones((1, 4, 2, 11))
    exponents = np.arange(-11, -1)
    for k, width in enumerate(WIDTHS):
        for p, vertex in enumerate((-6.0 - k, -6.0)):
            height = np.log(0.1 if p == SP else 0.1 / (k + 1))
            loss[0, k, p, :10] = np.exp(height + 0.25 * (exponents - vertex) ** 2)
        assert width == 32 * 2**k
    sharp = np.array([[0.5, 0.5], [0.6, 0.4], [0.8, 0.4], [1.5, 0.25]])[None, ..., None].repeat(2, 3)
    history.append(Frame(20, 20, {"loss": loss, "sharpness": sharp}, np.full(1, -1)))
    return history


def test_the_metrics_are_those_of_the_recipe():
    history = by_hand()
    found = EXPERIMENT.metrics(history)
    expected = {
        "slope_sp": -1,
        "slope_mup": 0,
        "shift_sp": -3,
        "shift_mup": 0,
        "penalty_sp": np.exp(0.25 * 9),
        "penalty_mup": 1,
        "loss_ratio": 0.25,
        "narrow_ratio": 1,
        "wider_mup": 0.25,
        "wider_sp": 1,
        "sharp_ratio_sp": 3,
        "sharp_ratio_mup": 0.5,
        "best_sp_128": -8,
        "loss_mup_64": 0.05,
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value), name
    loss = history.last("loss").copy()
    loss[0, 3, SP, 5] = 1000  # at 2^-6
    assert EXPERIMENT.config().grid[5] == 2.0**-6
    best = lr_transfer.best_rates(loss, TINY.grid)
    assert lr_transfer.penalties(loss, best, TINY.grid)[0, SP] == pytest.approx(99 / 0.1)
    assert CLAIMS["wider_is_better"].value(found, TINY)[0] == pytest.approx(0.25)
    assert CLAIMS["width_sharpens_standard"].value(found, TINY)[0] == pytest.approx(3)
    costs = CLAIMS["transfer_costs"].sweep.value
    assert costs([{"penalty_sp": np.array([2.0, 4]), "penalty_mup": np.array([1.0, 2])}]) == pytest.approx([3])
    assert np.isnan(costs([{"penalty_sp": np.array([2.0, 4]), "penalty_mup": np.array([2.0, 2])}])).all()


def test_the_figure_shows_best_rates_beside_both_slopes():
    standard, _, best, courses, _, sharpness = EXPERIMENT.panels(by_hand())
    assert [mark.x for mark in standard.marks[-2:]] == pytest.approx([2**-6, 2**-9])
    np.testing.assert_allclose(best.marks[0].y, best.marks[2].y)  # the standard one has slope -1
    np.testing.assert_allclose(best.marks[1].y, best.marks[3].y)
    assert courses.title == "At η = 0.016, standard"
    np.testing.assert_allclose(sharpness.marks[0].y, [0.5, 0.6, 0.8, 1.5])
