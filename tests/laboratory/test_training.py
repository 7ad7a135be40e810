import numpy as np
import pytest
import torch
from small_network import ALL, EVERYTHING, MLP_OF, Config, frames, problem
from torch import nn

from dyntoolkit.engine.history import History, Live
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.training import to_the_end
from dyntoolkit.laboratory.training import OPTIMIZERS, SCHEDULES, Epochs, factors

STEPS = 40


def trained(classes=True, seeds=(0,), configs=None, **changes):
    configs = configs or [Config(steps=STEPS, **changes)] * len(seeds)
    return to_the_end(History("small", configs, seeds), frames(configs, seeds, classes))


def twin(theta):
    """The network of one run by torch.nn."""
    layers = []
    for weight, bias in MLP_OF[True].split(theta[None]):
        layer = nn.Linear(*weight.shape[1:])
        with torch.no_grad():
            layer.weight.copy_(weight[0].T)
            layer.bias.copy_(bias[0, 0])
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def torch_optimizer(name, parameters):
    decay, lr = 0.1, 0.05
    return {
        "sgd": lambda: torch.optim.SGD(parameters, lr, weight_decay=decay),
        "momentum": lambda: torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=decay),
        "adam": lambda: torch.optim.Adam(parameters, lr, weight_decay=decay),
        "adamw": lambda: torch.optim.AdamW(parameters, lr, weight_decay=decay),
    }[name]()


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_as_torch_trains(name):
    found = trained(optimizer=name, lr=0.05, weight_decay=0.1, schedule="cosine", clip=0.5)
    network = twin(torch.from_numpy(found["theta"][0, 0]))
    data = problem(True, 1)
    optimizer = torch_optimizer(name, network.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step, expected in zip(range(STEPS), found["loss"][:, 0], strict=False):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(data.x[0]), data.y[0])
        np.testing.assert_allclose(loss.item(), expected, rtol=2e-4, err_msg=f"step {step}")
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        schedule.step()


def test_sign_descent_moves_every_weight_as_far():
    theta = trained(optimizer="sign", lr=0.01)["theta"]
    np.testing.assert_allclose(np.abs(theta[1] - theta[0]), 0.01, rtol=1e-3)


def test_sam_with_a_small_rho_is_gradient_descent_and_with_a_large_one_is_not():
    plain, near, far = (
        trained(optimizer=name, rho=rho, lr=0.1)["theta"][-1]
        for name, rho in (("sgd", 0.05), ("sam", 0.001), ("sam", 1.0))
    )
    moved = np.linalg.norm(near - plain)
    assert 0 < moved < 0.02 * np.linalg.norm(far - plain) * 5
    assert np.linalg.norm(far - plain) > 20 * moved


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_alone_is_as_among_others(optimizer, fresh):
    setting = {"batch_size": 5, "label_noise": 0.3, "fresh_noise": fresh, "optimizer": optimizer, "steps": STEPS}
    configs = [Config(**setting, lr=lr) for lr in (0.01, 0.03, 0.1)]
    together = trained(configs=configs, seeds=(4, 5, 6))["loss"]
    alone = trained(configs=configs[1:2], seeds=(5,))["loss"]
    np.testing.assert_allclose(together[:, 1], alone[:, 0], rtol=1e-3)


@pytest.mark.parametrize("classes", [False, True])
def test_measuring_changes_no_bit_of_the_training(classes):
    bare, measured = (trained(classes, (0, 1), batch_size=4, **on)["theta"] for on in ({}, EVERYTHING))
    assert np.array_equal(bare, measured)


def test_probes_are_switched_on_and_off_in_the_middle():
    config = Config(steps=STEPS)
    run = frames([config], (0,))
    seen = []
    frame = next(run, None)
    while frame is not None:
        if frame.values:
            seen.append(tuple(probe.name for probe in ALL if probe.name in frame.values))
        values = {probe.field: probe.name == "distance" and 10 <= len(seen) < 20 for probe in ALL}
        try:
            frame = run.send(Live(values))
        except StopIteration:
            break
    assert set(seen[:10]) == {()}
    assert set(seen[10:20]) == {("distance",)}
    assert set(seen[20:]) == {()}


@pytest.mark.parametrize("classes", [False, True])
def test_fresh_noise_is_another_one_in_every_step_and_noise_without_size_none(classes):
    field = "label_noise" if classes else "target_noise"
    losses = {
        rate: trained(classes, fresh_noise=True, **{field: rate}, batch_size=6)["loss"][-1, 0] for rate in (0.0, 0.5)
    }
    bare = trained(classes, batch_size=6)["loss"][-1, 0]
    assert losses[0.0] == pytest.approx(bare, rel=1e-4)
    assert losses[0.5] != pytest.approx(bare, rel=1e-2)


def test_epochs_show_every_sample_once():
    taken = Epochs(12, 4, Stream((0, 1), "batches"))
    order = torch.cat([taken.take(k) for k in (1, 4, 4)])  # (9, R, B): three epochs
    assert order.shape == (9, 2, 4)
    for epoch in order.split(3):
        for run in epoch.transpose(0, 1):
            assert sorted(run.flatten().tolist()) == list(range(12))
    again = Epochs(12, 4, Stream((1,), "batches")).take(9)
    assert torch.equal(again[:, 0], order[:, 1])


def test_what_is_left_of_an_epoch_is_dropped():
    first = Epochs(10, 4, Stream((0,), "batches")).take(2)
    assert len(set(first.flatten().tolist())) == 8


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_comes_in_pieces_as_in_whole(schedule):
    whole = factors(schedule, 0, 100, 100)
    assert torch.equal(torch.cat([factors(schedule, 0, 33, 100), factors(schedule, 33, 100, 100)]), whole)
    assert whole.max() <= 1
    assert (whole > 0).all()


def test_schedules():
    drops = factors("drops", 0, 100, 100)[[0, 49, 50, 74, 75, 99]]
    assert drops.tolist() == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
    assert factors("warm-up", 0, 100, 100)[[0, 4, 9, 99]].tolist() == [0.1, 0.5, 1.0, 1.0]
    assert factors("cosine", 50, 51, 100).item() == pytest.approx(0.5)


def test_a_run_that_diverges_keeps_its_history():
    found = trained(False, optimizer="sgd", lr=10.0, init_scale=30.0)
    assert found.diverged[0] > 0
    assert np.isfinite(found["loss"][0]).all()


def test_settings_out_of_range():
    with pytest.raises(InputError, match="momentum takes a number from 0 to"):
        Config(momentum=1.0)
