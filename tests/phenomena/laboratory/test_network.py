import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import Frame, History, Live
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Plan, to_the_end
from dyntoolkit.laboratory.losses import LOSSES
from dyntoolkit.laboratory.tables import MOST_ROWS
from dyntoolkit.phenomena.laboratory.network import (
    EXPERIMENT,
    WATCHED,
    Config,
    first_run,
    initial_theta,
    loss_of,
    metrics,
    panels,
)

CSV = "\n".join(["area,rooms,age,price", *(f"{k / 7},{k % 5},{k % 7},{k % 13 + 0.5}" for k in range(60))]).encode()
ALL = {probe.field: True for probe in WATCHED}


def trained(seeds=(0,), **settings):
    return EXPERIMENT.run(Config(**{"steps": 20, "width": 4, **settings}), seeds)


# Settings


def test_a_product_takes_no_more_bits_than_there_are():
    with pytest.raises(InputError, match="parity_bits takes a whole number from 1 to n_bits = 4, got 5"):
        Config(data="parity", n_bits=4, parity_bits=5)
    assert Config(data="moons", n_bits=4, parity_bits=5).n_bits == 4


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"data": "sines", "label_noise": 0.1}, "use target_noise"),
        ({"data": "digits", "target_noise": 0.1}, "use label_noise"),
        ({"fresh_noise": True}, "fresh_noise does nothing"),
        ({"batch_size": 200}, "every step sees all samples"),
        ({"residual": True, "depth": 1}, "residual does nothing"),
        ({"layer_norm": True, "width": 1}, "LayerNorm of a single unit"),
    ],
)
def test_what_means_nothing_is_said(settings, word):
    (warning,) = Config(**settings).warnings()
    assert word in warning


def test_presets_and_defaults_mislead_nobody():
    assert not any(EXPERIMENT.configure(name).warnings() for name in EXPERIMENT.presets)


def test_what_is_watched_is_live_and_each_claim_is_expected_in_its_preset_whatever_else_is_watched():
    sliders = Config.sliders()
    assert {name for name, slider in sliders.items() if slider.live} == set(ALL)
    for claim in EXPERIMENT.claims:
        config = EXPERIMENT.configure(claim.preset)
        assert claim.where(config)
        assert claim.where(config.replace(**ALL))
        assert not claim.where(config.replace(weight_decay=0.5))


# Network and loss


def test_the_initial_weights_shrink_with_the_width_as_the_exponent_says():
    configs = [Config(width=16), Config(width=16, init_exponent=0.5, init_scale=2.0)]
    _, network = first_run(configs[0], 3, None)
    theta = initial_theta(configs, (3, 3), network)
    torch.testing.assert_close(theta[1], theta[0] * 2 / 16**0.5)


@pytest.mark.parametrize(
    ("settings", "name", "outputs"),
    [
        ({"data": "moons"}, "logistic", 1),
        ({"data": "moons", "loss": "mse"}, "mse", 1),
        ({"data": "digits"}, "cross_entropy", 10),
        ({"data": "digits", "loss": "mse"}, "mse", 10),
        ({"data": "sines"}, "mse", 1),
    ],
)
def test_each_target_has_its_loss(settings, name, outputs):
    config = Config(**settings)
    data, network = first_run(config, 0, None)
    assert network.outputs == outputs
    assert loss_of(config, network, data) is LOSSES[name]


# Training


def test_measurements_switched_on_and_off_change_no_bit_of_the_training():
    plain = trained(seeds=(0, 1))
    history, frames = EXPERIMENT.start([Config(steps=20, width=4)] * 2, (0, 1))
    for k, frame in enumerate(frames):
        history.append(frame)
        if k == 5:
            history.append(frames.send(Live(ALL)))
        if k == 12:
            history.append(frames.send(Live(dict.fromkeys(ALL, False))))
    np.testing.assert_array_equal(history["theta"], plain["theta"])
    assert 0 < len(history.at("sharpness")) < len(plain.at("loss"))


@pytest.mark.parametrize("data", ["moons", "sines", "parity", "digits", "diabetes"])
@pytest.mark.parametrize("depth", [0, 2])
def test_everything_can_be_watched(data, depth):
    history = trained(data=data, depth=depth, n_train=40, **ALL)
    shown = panels(history)
    assert (
        len({panel.title for panel in shown})
        == len(shown)
        == len(WATCHED) + (3 if data in ("sines", "diabetes") else 4)
    )
    for panel in shown:
        assert panel.marks or panel.note, panel.title


def test_the_first_picture_needs_no_frame():
    history, _ = EXPERIMENT.start([Config(watch_sharpness=True)], (0,))
    assert [panel.title for panel in panels(history)] == [
        panel.title for panel in panels(trained(watch_sharpness=True))
    ]


# Measures


def made_up(**values):
    """A history of two runs with these values (T, R, ...)."""
    history = History("laboratory.network", [Config()] * 2, (0, 1))
    for k in range(len(values["loss"])):
        row = {name: np.array(rows[k]) for name, rows in values.items()}
        history.append(Frame(10 * k, 10 * (len(values["loss"]) - 1), row, np.full(2, -1)))
    return history


def test_metrics_by_hand():
    loss = [[9, 1], [4, 1], [2, 1], [6, 0.5], [1, 0.5], [2, 4], [3, 1]]
    fitted = [[[0.5, 0.1], [0, 0]], [[0.95, 0.2], [0.5, 0]], *[[[1, 0.7], [0.6, 0.2]]] * 5]
    found = metrics(
        made_up(
            loss=loss,
            accuracy=[[0.5, 0.5], [0.96, 0.5], *[[1, 0.9]] * 5],
            test_accuracy=[*[[0.5, 0.5]] * 4, [0.91, 1], [0.8, 1], [0.8, 1]],
            labels_fitted=fitted,
        )
    )
    expected = {
        "loss": [3, 1],
        "loss_start": [9, 1],
        "loss_peak": [9, 4],
        "loss_late": [2.5, 2.5],
        "loss_rise": [3, 8],
        "t_train": [10, np.nan],
        "t_test": [40, 40],
        "delay": [4, np.nan],
        "test_accuracy_peak": [0.91, 1],
        "right_fitted": [1, 0.6],
        "wrong_fitted": [0.7, 0.2],
        "wrong_by_right": [0.2, np.nan],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


# The reader's file


def test_a_file_becomes_an_experiment_with_its_columns():
    own = EXPERIMENT.with_file("houses.csv", CSV)
    config = own.configure()
    assert (config.data, config.target, config.n_train) == ("file", "price", MOST_ROWS)
    history = own.run(config.replace(steps=20))
    loss, answers, _ = own.panels(history)
    assert loss.y.label == "mean squared error"
    assert answers.x.label == "price, true"
    assert "60 rows" in " ".join(config.warnings())
    assert not config.replace(data="moons").warnings()


def test_what_becomes_of_missing_values_is_said():
    own = EXPERIMENT.with_file("houses.csv", CSV.replace(b"\n0.0,", b"\n,"))
    assert "Rows that lack a value are dropped" in " ".join(own.configure().warnings())
    assert "filled with the mean" in " ".join(own.configure(missing="fill with the mean").warnings())
    assert "lack" not in " ".join(EXPERIMENT.with_file("houses.csv", CSV).configure().warnings())


def test_without_the_file_it_is_asked_for():
    with pytest.raises(InputError, match="choose it again"):
        EXPERIMENT.run(Config(data="file"))


# Comparison


def test_the_way_to_the_pinned_run_begins_and_ends_with_the_losses_of_the_two():
    history, pinned = trained(seeds=(0,), lr=0.02), trained(seeds=(1,), lr=0.05)
    (panel,) = EXPERIMENT.compare(history, pinned)
    training, test = panel.marks
    assert training.y[0] == pytest.approx(history.last("loss")[0], rel=1e-5)
    assert test.y[0] == pytest.approx(history.last("test_loss")[0], rel=1e-5)
    data, network = first_run(history.config, 0, None)
    theta = torch.from_numpy(pinned.last("theta"))
    there = LOSSES["logistic"](network(theta, data.problem.x), data.problem.y).item()
    assert training.y[-1] == pytest.approx(there, rel=1e-5)
    rise = (training.y - np.linspace(training.y[0], training.y[-1], 11)).max()
    assert training.name == f"training: barrier {rise:.2g}"


OTHERS = [{"width": 5}, {"depth": 3}, {"layer_norm": True}, {"data": "iris"}]
OTHERS += [{"data": "xor"}, {"activation": "tanh"}, {"residual": True}, {"output_scale": 2.0}, {"loss": "mse"}]


@pytest.mark.parametrize("settings", OTHERS)
def test_other_networks_and_other_data_have_no_way_between_them(settings):
    (panel,) = EXPERIMENT.compare(trained(), trained(**settings))
    assert not panel.marks
    assert "no line between the two" in panel.note


def test_of_a_file_the_target_is_the_same_and_the_file():
    own, other = (EXPERIMENT.with_file("houses.csv", content) for content in (CSV, CSV + b"\n1,2,3,4"))
    pinned = own.run(own.configure(steps=20, width=4))

    def found(experiment, **settings):
        history = experiment.run(experiment.configure(steps=20, width=4, **settings), (1,))
        return bool(experiment.compare(history, pinned)[0].marks)

    assert found(own)
    assert not found(own, target="area")
    assert not found(other)


# Claims, on seeds that no threshold and no setting was chosen by


@pytest.mark.slow
@pytest.mark.claims
@pytest.mark.parametrize("claim", EXPERIMENT.claims, ids=lambda claim: claim.id)
def test_a_claim_holds_and_its_controls_are_confirmed(claim):
    config, seeds = EXPERIMENT.configure(claim.preset), (901, 902, 903)
    plan = Plan(EXPERIMENT, config, seeds, [claim])
    histories = [EXPERIMENT.run(config, seeds), *(to_the_end(*stage()) for stage in plan.stages)]
    (verdict,) = plan.verdicts(histories)
    assert verdict.expected
    assert verdict.passed, verdict
    assert verdict.controls
    assert all(control.passed for control in verdict.controls), verdict
