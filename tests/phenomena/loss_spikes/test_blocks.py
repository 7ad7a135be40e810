"""Average sharpness by block: blocks, measured steps, metrics, claims, figure."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import judge_history
from dyntoolkit.phenomena._text_training import training_starts, windows
from dyntoolkit.phenomena.loss_spikes.blocks import BLOCKS, EXPERIMENT, Config, block_sharpness
from dyntoolkit.probes.fisher_trace import sampled_labels

SHORT = Config(steps=100, width=16, batch_size=4)
SHAPE = [6, 1, 3, 2]


def begun(configs, seeds, measurements):
    """The history until the sharpness has been measured so often."""
    history, coming = EXPERIMENT.start(configs, seeds)
    for frame in coming:
        history.append(frame)
        if "sharpness" in history and len(history.at("sharpness")) == measurements:
            return history
    raise AssertionError("too few measurements")


def test_every_weight_lies_in_one_block():
    network = Transformer(24)
    counts = sum(network.mask(*names).int() for names in BLOCKS.values())
    assert (counts == 1).all()
    sizes = {block: int(network.mask(*names).sum()) for block, names in BLOCKS.items()}
    assert sizes == {"Emb": 56 * 32, "QK": 4096, "FFN": 16384, "VO": 4096, "Norm": 160, "Head": 768}


def test_sharpness_is_tokens_times_squared_gradient_per_weight_over_the_draws():
    network = Transformer(24, width=16)
    theta = 10 * network.init(Stream([0, 1], "init"))
    probe = windows(training_starts([0, 1], "probe", 3))
    uniform = torch.rand(2, 2, 96, generator=torch.Generator().manual_seed(0))
    found = block_sharpness(network, theta, probe, uniform)
    for r in range(2):
        p = network(theta[r : r + 1], probe[r : r + 1, :, :-1])[0].flatten(0, 1).softmax(1)  # (96, 24)
        expected = np.zeros(6)
        for u in uniform[r]:
            row = theta[r : r + 1].clone().requires_grad_()
            logits = network(row, probe[r : r + 1, :, :-1])[0].flatten(0, 1)
            functional.cross_entropy(logits, sampled_labels(p, u)).backward()
            blocks = network.split(row.grad)
            for b, names in enumerate(BLOCKS.values()):
                parts = torch.cat([g.flatten() for name, g in blocks.items() if name.startswith(names)])
                expected[b] += 96 * float(parts.square().sum()) / len(parts) / 2
        np.testing.assert_allclose(found[r], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (400, [0, 10, 20, 40, 60, 80, 100, 150, 200, 300, 400]),
        (100, [0, 2, 5, 10, 15, 20, 25, 38, 50, 75, 100]),
    ],
)
def test_sharpness_is_measured_at_the_shares_of_the_recipe(steps, expected, monkeypatch):
    def nothing(network, theta, probe, uniform):
        return torch.ones(len(theta), 6)

    monkeypatch.setattr("dyntoolkit.phenomena.loss_spikes.blocks.block_sharpness", nothing)
    monkeypatch.setattr("dyntoolkit.phenomena.loss_spikes.blocks.make_step", lambda *_: lambda state, _: state)
    history = EXPERIMENT.run(Config(steps=steps, width=16, batch_size=4))
    assert history.at("sharpness").tolist() == expected
    assert history.at("loss")[-1] == steps


def fake(vo, ffn, qk, at, steps=400):
    """A history of one run with these sharpnesses; 1 for all other blocks."""
    history, _ = EXPERIMENT.start([SHORT.replace(steps=steps)], [0])
    for k, row in zip(at, zip(vo, ffn, qk, strict=True), strict=True):
        values = np.ones((1, 6))
        for name, value in zip(("VO", "FFN", "QK"), row, strict=True):
            values[0, list(BLOCKS).index(name)] = value
        history.append(Frame(k, steps, {"sharpness": values, "validation": np.ones(1)}, np.array([-1])))
    return history


def test_metrics_look_at_the_shares_of_the_steps_that_the_claims_name():
    at = [0, 40, 60, 80, 100, 200, 400]
    history = fake([0.5, 1, 3, 6, 8, 9, 10], [1] * 7, [1e-3, 0.1, 0.2, 0.4, 3, 2, 0.5], at)
    metrics = {name: value[0] for name, value in EXPERIMENT.metrics(history).items()}
    assert metrics["vo_ffn_min"] == 3
    assert metrics["vo_ffn_start"] == 0.5
    assert metrics["ffn_qk_early"] == pytest.approx(1 / 0.4)
    assert metrics["ffn_qk_late"] == pytest.approx(np.median([1 / 2, 1 / 0.5]))
    young = EXPERIMENT.metrics(fake([0.5], [1], [1e-3], [0]))
    assert np.isnan(young["vo_ffn_min"][0])
    assert young["ffn_qk_early"][0] == pytest.approx(1000)


@pytest.mark.parametrize("lr", [0.001, 0.01])
@pytest.mark.parametrize(("width", "batch_size", "weight_decay"), [(16, 32, 0.0), (64, 4, 0.3)])
def test_the_corners_of_the_settings_run_and_the_figure_keeps_its_shape(lr, width, batch_size, weight_decay):
    history = begun([Config(lr, 100, batch_size, width, weight_decay)], [0], 2)
    assert all(np.isfinite(history[name]).all() for name in history.names())
    assert [len(panel.marks) for panel in EXPERIMENT.panels(history)] == SHAPE


def test_a_width_without_two_even_heads_is_refused_by_name():
    with pytest.raises(InputError, match="width takes a multiple of 4"):
        Config(width=34)


@pytest.mark.claims
def test_the_claims_hold_in_a_default_run():
    history = EXPERIMENT.run(seeds=(7,))
    for verdict in judge_history(EXPERIMENT, history):
        assert verdict.expected
        assert verdict.passed, verdict
        assert all(all(control.confirmed) for control in verdict.controls), verdict
    _, now, ratios, _ = EXPERIMENT.panels(history)
    assert now.marks[0].y[list(BLOCKS).index("FFN")] == 0
    assert ratios.marks[0].y[0] == EXPERIMENT.metrics(history)["vo_ffn_start"][0]
