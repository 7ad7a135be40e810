"""`own` through what people call: run, explore, check, sweeps; and against torch alone."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import dyntoolkit as dt
from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.own import BATCH, own
from dyntoolkit.laboratory.own_data import own_data

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
NUMBERS = np.sin(X.sum(1))


class Net(nn.Module):
    """A network with one hidden layer."""

    def __init__(self, width=8, scale=1.0, outputs=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.LayerNorm(width), nn.Linear(width, outputs))
        self.scale = scale

    def forward(self, x):
        return self.scale * self.layers(x)


def size(theta, model, data):
    return theta.norm(dim=1)


def margin(output, target):
    return output.gather(1, target[:, None]).mean()


def classes(**more):
    return own(Net, (X, LABELS), sliders={"width": (2, 64), "scale": (0.1, 2.0)}, **more)


def last(experiment, seeds=(0,), engine=None, **changes):
    """The history of a short run."""
    with asking(Asked(engine)):
        return experiment.run(experiment.configure(**{"steps": 20, **changes}), seeds=seeds)


def test_it_is_an_ordinary_experiment():
    experiment = classes(probes=[size, dt.probes.sharpness], name="mine")
    assert (experiment.name, experiment.title) == ("mine", "Net")
    assert experiment.question == "How does Net learn 3 classes from 48 samples of 3 numbers?"
    fields = experiment.configure().asdict()
    assert list(fields)[:3] == ["width", "scale", "optimizer"]
    assert "target_noise" not in fields
    assert fields["watch_size"]
    assert fields["watch_sharpness"]
    assert not fields["watch_distance"]
    history = last(experiment)
    assert {"loss", "accuracy", "test_loss", "test_accuracy", "theta", "size", "sharpness"} == set(history.names())
    titles = [panel.title for panel in experiment.panels(history)]
    assert titles[:3] == ["Loss", "Accuracy", "Size"]
    assert titles[3].startswith("Sharpness")


@pytest.mark.parametrize("loss", [None, "cross_entropy", nn.functional.cross_entropy])
@pytest.mark.parametrize("optimizer", ["adam", dt.adam])
def test_it_trains_as_torch_does(loss, optimizer):
    history = last(classes(loss=loss, optimizer=optimizer), seeds=(3, 4), width=5, lr=0.02)
    x, y = own_data((X, LABELS), None, None)[:2]
    for r, seed in enumerate((3, 4)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = Net(width=5)
        rule = torch.optim.Adam(module.parameters(), lr=0.02)
        for step in range(21):
            rule.zero_grad()
            value = nn.functional.cross_entropy(module(x), y)
            np.testing.assert_allclose(history["loss"][step, r], value.item(), rtol=1e-4)
            value.backward()
            rule.step()


def test_initial_weights_are_scaled_but_not_those_of_normalizations():
    usual, small = (last(classes(), init_scale=scale)["theta"][0, 0] for scale in (1, 0.1))
    names = [name for name, p in Net().named_parameters() for _ in range(p.numel())]
    kept = np.array(["layers.2" in name for name in names])
    np.testing.assert_allclose(small[~kept], 0.1 * usual[~kept], rtol=1e-6)
    np.testing.assert_array_equal(small[kept], usual[kept])


@pytest.mark.slow
def test_a_run_alone_is_as_among_others_on_every_engine():
    experiment = classes(probes=[size, margin])
    for engine in ("eager", "recorded", "xla"):
        together = last(experiment, seeds=(5, 6, 7), engine=engine, steps=110, label_noise=0.2)
        alone = last(experiment, seeds=(6,), engine=engine, steps=110, label_noise=0.2)
        assert together.engine == engine
        for name in ("loss", "size", "margin"):
            np.testing.assert_allclose(together[name][:, 1], alone[name][:, 0], rtol=1e-3)


def test_measurements_change_nothing():
    plain, watched = classes(), classes(probes=[size, margin, *("sharpness", "noise_scale", "kernel_distance")])
    np.testing.assert_array_equal(last(plain)["theta"], last(watched)["theta"])


def test_metrics_are_the_last_values_of_all_that_is_measured():
    experiment = classes(probes=[size, margin])
    history = last(experiment, seeds=(0, 1))
    metrics = experiment.metrics(history)
    assert set(metrics) == {"loss", "accuracy", "test_loss", "test_accuracy", "size", "margin", "test_margin"}
    np.testing.assert_array_equal(metrics["test_margin"], history.last("margin")[:, 1])


@pytest.mark.parametrize(
    ("inputs", "targets", "outputs", "title"),
    [(1, NUMBERS, 1, "The function"), (2, NUMBERS, 1, "The function"), (2, LABELS, 3, "The map of decisions")],
)
def test_the_function_of_one_or_two_inputs_is_seen(inputs, targets, outputs, title):
    experiment = own(lambda: nn.Linear(inputs, outputs), (X[:, :inputs], targets))
    history, frames = experiment.start([experiment.configure(steps=20, init_scale=2)], [3])
    assert [panel.title for panel in experiment.panels(history)][-1] == title  # before anything is known
    for frame in frames:
        history.append(frame)
    panel = experiment.panels(history)[-1]
    assert panel.title == title
    if inputs == 1:
        weight, bias = history.last("theta")[0]
        line = panel.marks[0]
        np.testing.assert_allclose(line.y, weight * line.x + bias, rtol=1e-4, atol=1e-5)


def test_images_and_numbers_and_given_test_data():
    images = X.repeat(12, axis=1).reshape(60, 1, 6, 6)
    network = lambda channels=2: nn.Sequential(nn.Conv2d(1, channels, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1))  # noqa: E731
    experiment = own(network, (images[:40], NUMBERS[:40], images[40:], NUMBERS[40:]), loss=nn.HuberLoss())
    assert "label_noise" not in experiment.configure().asdict()
    assert experiment.title == "Network"
    history = last(experiment, seeds=(0, 1), channels=3, target_noise=0.5)
    assert (history.last("loss") < history["loss"][0]).all()
    assert [panel.title for panel in experiment.panels(history)] == ["Loss"]


def test_one_output_for_two_classes_is_logistic():
    history = last(own(lambda: nn.Linear(3, 1), (X, X[:, 0] > 0)), steps=200, lr=0.1)
    assert history.last("accuracy")[0] > 0.95


def test_noise_is_drawn_once_or_in_every_step():
    once, fresh, none = (
        last(classes(optimizer="sgd"), label_noise=noise, fresh_noise=fresh)["theta"][-1, 0]
        for noise, fresh in ((0.4, False), (0.4, True), (0.0, False))
    )
    assert not np.allclose(once, none)
    assert not np.allclose(fresh, once)


class Lion(dt.Momentum):
    """What a rule of the reader's own remembers."""


def lion(state: Lion, gradient, lr):
    direction = 0.9 * state.velocity + 0.1 * gradient
    return Lion(state.theta - lr * direction.sign(), 0.99 * state.velocity + 0.01 * gradient)


def plain(state, gradient, lr):
    return dt.Sgd(state.theta - lr * gradient)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [lion, plain, dt.sgd, dt.adam, partial(dt.momentum, mu=0.9)])
def test_an_update_of_ones_own_trains(rule):
    experiment = classes(optimizer=rule)
    fields = experiment.configure().asdict()
    assert not {"optimizer", "momentum", "beta2", "watch_preconditioned_sharpness"} & set(fields)
    history = last(experiment, seeds=(0, 1), steps=150, watch_sharpness=True)
    assert history.engine == "xla"
    assert (history.last("loss") < history["loss"][0]).all()
    assert len(experiment.panels(history)) == 3


def test_rules_written_out_are_those_of_the_toolkit():
    named = last(classes(optimizer="sgd"), lr=0.1)["theta"][-1]
    np.testing.assert_allclose(last(classes(optimizer=plain), lr=0.1)["theta"][-1], named, rtol=1e-5, atol=1e-6)
    step = last(classes(optimizer=lion), lr=0.01)["theta"]
    np.testing.assert_allclose(np.abs(step[1] - step[0]), 0.01, rtol=1e-3)


def test_a_loss_that_is_nan_at_the_start_is_refused():
    def log_loss(output, target):
        return (output - 100).log().mean()

    experiment = classes(loss=log_loss)
    with pytest.raises(InputError, match="loss: log_loss gives NaN at the start, for all 48 samples"):
        last(experiment)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("adma", "unknown optimizer 'adma'. Did you mean 'adam'"),
        (3, "optimizer takes one of sgd, .*, or an update; got 3"),
        (torch.optim.Adam, "one of torch.optim changes weights in place, .*: take sgd, .* by name, or write an update"),
        (torch.optim.SGD(torch.nn.Linear(1, 1).parameters()), "one of torch.optim changes weights in place"),
        (dt.momentum, "optimizer: momentum fails on weights .2, 3.: TypeError: .* missing .* 'mu'"),
        (lambda state, gradient, lr: state.theta - lr * gradient, "must give a Sgd, with parts of the shapes"),
        (lambda state, gradient, lr: dt.Sgd(state.theta.double()), "must give a Sgd, with parts of the shapes"),
    ],
)
def test_what_is_no_update_is_refused(rule, sentence):
    with pytest.raises(InputError, match=sentence):
        classes(optimizer=rule)


def test_large_data_are_seen_in_batches():
    many = np.repeat(X, 30, axis=0)
    experiment = own(lambda: nn.Linear(3, 1), (many, many[:, 0]))
    assert experiment.configure().batch_size == BATCH
    assert classes().configure().batch_size == 0


def test_what_was_left_out_of_the_data_is_said():
    x = X.copy()
    x[2, 1] = np.nan
    said = own(lambda: nn.Linear(3, 3), (x, LABELS)).configure().warnings()
    assert any("1 of 60 rows" in sentence for sentence in said)


def test_sweeps_over_arguments_and_settings():
    runs = dt.run(classes(), width=[2, 4], lr=[0.01, 0.1], steps=20, seeds=2)
    assert dict(runs["loss"].sizes) == {"width": 2, "lr": 2, "seed": 2, "step": 21}
    assert np.isfinite(runs["metrics"].sel(metric="test_accuracy")).all()


@pytest.mark.slow
def test_it_keeps_the_rules():
    report = dt.check(classes(probes=[size, margin]), most={"steps": 120, "width": 16}, examples=5)
    assert report.passed, report


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (lambda: nn.Linear(4, 3), r"module: Linear fails on samples \(n, 3\) of torch.float32: RuntimeError: mat1"),
        (lambda: nn.Linear(3, 2), "it gives 2 outputs for each sample, and there are 3 classes"),
        (lambda: nn.Unflatten(1, (3, 1)), "Unflatten has no parameters to train"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout()), "Dropout '1' draws from torch's global random state"),
        (lambda: nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (3, 2))), r"Network gives \(4, 3, 2\) for 4 samples"),
        (lambda lr=0.1: nn.Linear(3, 3), "has an argument 'lr', a setting of the training"),
        (lambda: None, "must give a torch.nn.Module, and gives NoneType"),
    ],
)
def test_a_model_that_cannot_train_is_refused_at_once(model, sentence):
    with pytest.raises(InputError, match=sentence):
        own(model, (X, LABELS))


def test_a_measurement_that_fails_is_refused_at_once():
    def total(theta, model, data):
        return theta.sum()

    with pytest.raises(InputError, match=r"total gives the shape \(\); it must be one number for each of the 2 runs"):
        classes(probes=[total])


def test_sizes_at_which_the_module_fails_say_so_when_they_are_asked_for():
    def network(heads=2):
        return nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (heads, 6 // heads)), nn.Flatten(), nn.Linear(6, 3))

    experiment = own(network, (X, LABELS))
    with pytest.raises(InputError, match=r"module: Sequential fails on samples .*unflatten"):
        last(experiment, heads=4)


class RandomFeatures(nn.Module):
    """A trained layer on features that stay as they were drawn."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(3, 10))
        self.frozen = nn.Linear(10, 10).requires_grad_(False)
        self.out = nn.Linear(10, 3)

    def forward(self, x):
        return self.out(torch.cos(self.frozen(x @ self.frequencies)))


@pytest.mark.slow
def test_what_does_not_train_is_each_runs_own():
    experiment = own(RandomFeatures, (X, LABELS), probes=["distance"])
    together = last(experiment, seeds=(0, 1, 2), steps=150)
    assert together.engine == "xla"
    assert together["theta"].shape[2] == 33
    for r in range(3):
        alone = last(experiment, seeds=(r,), steps=150)
        np.testing.assert_allclose(together["loss"][:, r], alone["loss"][:, 0], rtol=1e-3)


def test_no_global_state_is_touched():
    before = torch.get_rng_state()
    last(classes(probes=[size]), seeds=(0, 1))
    assert torch.equal(before, torch.get_rng_state())
