"""Parity: labels and metrics against their definitions, training against torch's own AdamW, the whole Config."""

from itertools import combinations
from math import comb, prod

import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.loop import geometrically
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.grokking import parity
from dyntoolkit.phenomena.grokking.parity import EXPERIMENT, Config, expected_alias

SMALL = Config(n_bits=6, k=2, width=32, steps=200, train_fraction=0.5)


def weight(values, points, bits):
    """The squared Walsh coefficient of the product of these bits, the sum written out."""
    return (sum(v * prod(x[b] for b in bits) for v, x in zip(values, points, strict=True)) / len(points)) ** 2


def test_labels_split_and_alias_weight_are_those_of_the_recipe():
    data, n = parity.draw_data(SMALL, [1, 2]), SMALL.n_train
    points = data.x.tolist()
    assert n == 32
    assert data.y.tolist() == [x[0] * x[1] for x in points]
    assert not torch.equal(data.order[0], data.order[1])
    found = parity.alias_low_degree(data, n)
    for r in range(2):
        values = [0.0] * 64
        for i in data.order[r, :n].tolist():
            values[i] = 64 / n * points[i][0] * points[i][1]
        assert weight(values, points, (0, 1)) == pytest.approx(1)
        low = sum(weight(values, points, bits) for d in range(1, 5) for bits in combinations(range(6), d))
        assert found[r] == pytest.approx(low)


def test_theory_of_the_alias_weight_is_the_mean_over_many_samples():
    assert expected_alias(Config(k=10), np.array(205)) == pytest.approx(1.504, abs=0.001)
    assert sum(comb(10, d) for d in range(1, 5)) == 385
    for k in (2, 6):
        config = SMALL.replace(k=k)
        data = parity.draw_data(config, range(400))
        assert float(parity.alias_low_degree(data, 16).mean()) == pytest.approx(
            float(expected_alias(config, np.array(16))), rel=0.03
        )


def test_the_start_is_that_of_the_recipe():
    config = Config(n_bits=10, width=1000, init_scale=2)
    theta = parity.initial_theta([config], [1])[0]
    W, a = theta[:11000], theta[11000:12000]
    for part, bound in ((W, 2 / 10**0.5), (a, 2 / 1000**0.5)):
        assert 0.95 * bound < float(part.abs().max()) <= bound
        assert float(part.std()) == pytest.approx(bound / 3**0.5, rel=0.1)
    assert theta[-1] == 0


def test_training_is_torchs_own_and_frames_show_what_they_say():
    config = SMALL.replace(weight_decay=0.5, eps=1e-6, lr=0.01, init_scale=2)
    history, data = EXPERIMENT.run(config, (5,)), parity.draw_data(config, [5])
    W, b, a, c = parity.initial_theta([config], [5])[0].split([6 * 32, 32, 32, 1])
    leaves = [torch.nn.Parameter(part.clone()) for part in (W.view(6, 32), b, a, c)]
    rule, chosen = torch.optim.AdamW(leaves, lr=0.01, eps=1e-6, weight_decay=0.5), data.order[0, :32]
    others = data.order[0, 32:]
    for k in range(21):
        W, b, a, c = leaves
        f = torch.relu(data.x @ W + b) @ a + c
        value = (f[chosen] - data.y[chosen]).square().mean()
        if k in history.at("train_loss"):
            (row,) = np.flatnonzero(history.at("train_loss") == k)
            out, points = f.detach().tolist(), data.x.tolist()
            share = [sum(weight(out, points, bits) for bits in combinations(range(6), d)) for d in range(7)]
            share = np.array(share) / sum(share)
            true = weight(out, points, (0, 1)) / np.mean(np.square(out))
            spectrum = [
                abs(sum(v * np.exp(-1j * q * sum(x)) for v, x in zip(out, points, strict=True))) / 64
                for q in np.linspace(0, np.pi, 65)
            ]
            expected = {
                "train_loss": float(value.detach()),
                "test_loss": float((f - data.y)[others].detach().square().mean()),
                "train_accuracy": np.mean([out[i] * data.y[i] > 0 for i in chosen]),
                "test_accuracy": np.mean([out[i] * data.y[i] > 0 for i in others]),
                "weights": share,
                "share": true,
                "false_low": share[1:5].sum() - true,
                "cube_spectrum": spectrum,
            }
            for name, number in expected.items():
                np.testing.assert_allclose(history[name][row, 0], number, rtol=2e-3, atol=1e-3, err_msg=name)
        rule.zero_grad()
        value.backward()
        rule.step()


def test_along_all_ones_the_target_is_a_power_of_cosine_and_sine():
    config = Config(n_bits=8, k=3)
    truth = EXPERIMENT.panels(EXPERIMENT.start([config], [0])[0])[5].marks[2]
    data = parity.draw_data(config, [0])
    x, y = data.x.sum(1).numpy(), data.y.numpy()
    direct = [abs((y * np.exp(-1j * q * x)).mean()) for q in truth.x]
    np.testing.assert_allclose(truth.y, direct, atol=1e-6)


def test_the_metrics_are_those_of_the_recipe():
    history = History("grokking.parity", [SMALL], [0])
    rows = {0: (0.5, 0.5, 0.1, 3.0), 2: (0.96, 0.6, 0.15, 2.0), 10: (1.0, 0.9, 0.5, 1.0), 20: (1.0, 0.95, 0.8, 0.1)}
    for step, (train, test, share, loss) in rows.items():
        values = {"train_accuracy": train, "test_accuracy": test, "share": share, "train_loss": loss, "test_loss": loss}
        values |= {} if step else {"alias": 1.4}
        history.append(Frame(step, 20, {name: np.array([value]) for name, value in values.items()}, np.array([-1])))
    metrics = EXPERIMENT.metrics(history)
    assert metrics["delay_accuracy"] == pytest.approx([10])  # .9 itself does not count
    assert metrics["share_at_memorisation"] == pytest.approx([0.15])
    assert metrics["test_peak"] == pytest.approx([3])
    assert metrics["alias_low_degree"] == pytest.approx([1.4])
    claims = {claim.id: claim for claim in EXPERIMENT.claims}
    concentrates, alias = claims["walsh_concentrates"], claims["alias_weight"].sweep
    assert concentrates.value(metrics, SMALL) == pytest.approx([0.8])
    assert np.isnan(concentrates.value({**metrics, "share_at_memorisation": np.array([0.21])}, SMALL))
    row = {"alias_low_degree": np.array([1.0, 1.2]), "alias_theory": np.array([1.0, 1.0])}
    assert alias.value([row, {**row, "alias_theory": np.array([2.0, 2.0])}]) == pytest.approx([0.45])


def test_the_product_takes_no_more_bits_than_there_are():
    with pytest.raises(InputError, match="k takes a whole number from 1 to n_bits = 6, got 7"):
        SMALL.replace(k=7)


@pytest.mark.claims
def test_default_run_claims_metrics_and_figure():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    assert tuple(history.at("train_loss")) == geometrically(2500, 60)
    for claim in EXPERIMENT.claims[:3]:
        assert claim.where(history.config)
        assert not claim.where(EXPERIMENT.configure("rich"))
        assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    _, accuracy, degrees, sets, labels, _ = EXPERIMENT.panels(history)
    assert [level.x for level in accuracy.marks[2:]] == [metrics["t_train"][0], metrics["t_test"][0]]
    np.testing.assert_array_equal(degrees.marks[0].z, history["weights"][1:, 0].T)
    np.testing.assert_allclose(degrees.marks[0].z.sum(0), 1)
    assert sets.marks[0].y[-1] == metrics["share_end"][0]
    assert labels.marks[1].y == metrics["alias_low_degree"]
    np.testing.assert_allclose(labels.marks[0].y[2], labels.marks[1].y[0])  # the curve's third share is .2


def test_the_figure_of_a_sweep_has_the_means_by_share():
    full = EXPERIMENT.configure("full_parity")
    rows = {
        (full.replace(train_fraction=share), seed): {"alias_low_degree": 1.0 + seed, "test_peak": share}
        for share in (0.5, 0.2)
        for seed in (0, 1)
    }
    rows[Config(), 0] = {"alias_low_degree": 9.0, "test_peak": 9.0}
    labels, bump = EXPERIMENT.sweep_panels(rows)
    assert labels.marks[0].x.tolist() == [0.2, 0.5]
    assert labels.marks[0].y.tolist() == [1.5, 1.5]
    assert bump.marks[0].y.tolist() == [0.2, 0.5]
    empty = EXPERIMENT.sweep_panels({})
    assert [len(panel.marks) for panel in empty] == [1, 1]
