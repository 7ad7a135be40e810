"""Training shared by the digit experiments: the update, batches and loss. Phases of training: test_digits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_twin import descend, theta_of, twin

from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.phenomena.cross_task_linearity import _training, decentralized, merging, permutation, spawn
from dyntoolkit.phenomena.cross_task_linearity._training import LossSinceLast, Table, Training, minibatches, sgd_step
from dyntoolkit.phenomena.cross_task_linearity.merging import Config

MODEL = MLP((5, 4, 3), torch.relu)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def problem(networks: int) -> Table:
    """A table of 12 points for each network, no two alike."""
    labels = torch.randint(0, 3, (networks, 12), generator=torch.Generator().manual_seed(5))
    return Table(draw(networks, 12, 5), labels)


def test_steps_are_those_of_torch_sgd_with_rates_by_run_and_tables_by_network() -> None:
    lr, mu, table = torch.tensor([0.1, 0.02]), torch.tensor([0.5, 0.9]), problem(4)
    strength = torch.tensor([0.0, 0.0, 0.3, 0.3])  # of both networks of the second run
    weights = torch.cat([torch.ones(20), torch.zeros(4), torch.ones(12), torch.zeros(3)])
    state = Training.start(0.7 * draw(2, 2, MODEL.parameters, seed=1))
    step = sgd_step(MODEL, table, lr, mu, strength[:, None] * weights)
    index = torch.randint(0, 12, (30, 2, 2, 6), generator=torch.Generator().manual_seed(2))
    end = state
    for batch in index:
        end = step(end, batch)
    for r in range(2):
        for n in range(2):
            alone, m = twin((5, 4, 3), state.theta[r, n]), 2 * r + n
            decay = float(strength[m])
            losses = descend(alone, table.x[m], table.y[m], index[:, r, n], float(lr[r]), float(mu[r]), decay)
            torch.testing.assert_close(end.theta[r, n], theta_of(alone), rtol=1e-4, atol=1e-5)
            assert end.loss_sum[r, n] == pytest.approx(sum(losses), rel=1e-5)
    assert end.updates.tolist() == [30, 30]


def test_without_decay_or_momentum_a_step_is_the_rate_times_the_gradient() -> None:
    table, start = problem(2), Training.start(draw(1, 2, MODEL.parameters))
    index = torch.arange(12).expand(1, 2, 12)
    end = sgd_step(MODEL, table, torch.tensor([0.1]), torch.zeros(1))(start, index)
    for n in range(2):
        theta = start.theta[0, n].clone().requires_grad_()
        loss = nn.functional.cross_entropy(MODEL(theta[None], table.x[n])[0], table.y[n])
        (gradient,) = torch.autograd.grad(loss, theta)
        torch.testing.assert_close(end.theta[0, n], theta.detach() - 0.1 * gradient)
        torch.testing.assert_close(end.velocity[0, n], gradient)


def test_the_start_has_a_network_for_every_name_that_is_the_runs_own() -> None:
    configs, names = [Config(width=64, init_scale=scale) for scale in (1.0, 0.5)], ["init", "init B", "init"]
    theta = _training.initial(configs, [3, 4], names)
    assert theta.shape == (2, 3, 64 * 64 + 64 + 640 + 10)
    assert torch.equal(theta[:, 0], theta[:, 2])
    assert not any(torch.allclose(one, other) for one, other in zip(theta[:, 0], theta[:, 1], strict=True))
    torch.testing.assert_close(_training.initial(configs[1:], [4], names)[0], theta[1])
    torch.testing.assert_close(_training.initial(configs[:1], [4], names)[0], 2 * theta[1])


def test_every_network_has_batches_of_its_own_whoever_trains_beside_it() -> None:
    batches = minibatches([Stream([7, 8], "batch A"), Stream([7, 8], "batch B")], 50, 40)
    drawn = torch.cat([batches(0, 3), batches(3, 10)])  # (steps, R, N, size), in two calls
    assert drawn.shape == (10, 2, 2, 40)
    for r, seed in enumerate((7, 8)):
        for n, name in enumerate(("batch A", "batch B")):
            assert torch.equal(drawn[:, r, n], Stream([seed], name).indices(50, 10, 40)[0])
    assert len({tuple(drawn[0, r, n].tolist()) for r in range(2) for n in range(2)}) == 4
    assert set(drawn.unique().tolist()) == set(range(50))
    assert len(drawn[0, 0, 0].unique()) < 40  # with replacement


def test_loss_is_the_mean_since_the_call_before_and_none_for_a_run_that_stood_still() -> None:
    def state(sums: list[list[float]], updates: list[int]) -> Training:
        rest = Training.start(torch.zeros(2, 2, 3))
        return rest._replace(loss_sum=torch.tensor(sums, dtype=torch.float64), updates=torch.tensor(updates))

    loss = LossSinceLast(state([[1, 1], [1, 1]], [1, 1]))
    np.testing.assert_allclose(loss(state([[7, 4], [2, 3]], [4, 2])), [[2, 1], [1, 2]])
    np.testing.assert_allclose(loss(state([[7, 4], [6, 3]], [4, 4])), [[np.nan, np.nan], [2, 0]])


def test_cross_entropy_is_a_mean_for_each_network() -> None:
    logits, labels = draw(2, 5, 10), torch.tensor([[0, 1, 2, 3, 4], [9, 8, 7, 6, 5]])
    found = _training.cross_entropy(logits, labels)
    for m in range(2):
        probability = np.exp(logits[m].double().numpy())
        probability /= probability.sum(1, keepdims=True)
        assert found[m] == pytest.approx(-np.log(probability[np.arange(5), labels[m]]).mean(), rel=1e-5)


def test_a_run_that_stops_being_finite_is_frozen_and_the_others_never_notice() -> None:
    table, record = problem(4), (0, 10, 20)
    index = torch.randint(0, 12, (20, 2, 2, 6), generator=torch.Generator().manual_seed(2))
    start = draw(2, 2, MODEL.parameters)
    start[0, 1] *= 1e25  # one network of the first run

    def frames(theta: torch.Tensor, table: Table, runs: slice) -> list[Frame]:
        state = Training.start(theta)
        loss = LossSinceLast(state)
        step = sgd_step(MODEL, table, torch.tensor([0.1, 0.05])[runs], torch.tensor([0.9, 0.9])[runs])
        return list(
            train(
                state,
                step,
                lambda k0, k1: index[k0:k1, runs],
                record,
                lambda k, state: {"theta": state.theta.numpy(), "loss": loss(state)},
            )
        )

    together = frames(start, table, slice(0, 2))
    alone = frames(start[1:], Table(table.x[2:], table.y[2:]), slice(1, 2))
    last, frozen = together[-1].values, together[0].values["theta"][0]
    assert together[-1].diverged.tolist() == [1, -1]
    np.testing.assert_array_equal(last["theta"][0], frozen)  # its healthy network, too
    assert np.isnan(last["loss"][0]).all()
    np.testing.assert_allclose(last["theta"][1], alone[-1].values["theta"][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last["loss"][1], alone[-1].values["loss"][0], rtol=1e-5)


EXPLODING = {
    "spawn": (spawn.EXPERIMENT, 1e30, {"spawn_step": 20, "steps": 100, "anneal_steps": 20, "width": 16}),
    "permutation": (permutation.EXPERIMENT, 1e30, {"steps": 100, "width": 16}),
    "permutation, some losses finite": (permutation.EXPERIMENT, 1e12, {"steps": 100, "width": 16}),
    "decentralized": (decentralized.EXPERIMENT, 1e30, {"rounds": 10, "local_steps": 4, "n_nodes": 4, "width": 16}),
    "merging": (merging.EXPERIMENT, 1e30, {"steps": 200, "width": 64}),
}


@pytest.mark.parametrize("case", EXPLODING)
def test_a_run_that_explodes_is_marked_in_every_experiment(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, scale, tiny = EXPLODING[case]
    original, config = _training.normal_init, experiment.configure(**tiny)

    def exploding(*arguments: Any) -> torch.Tensor:
        return original(*arguments) * torch.tensor([[scale], [1.0]])

    healthy = run_metrics(experiment, experiment.run(config, [1]))
    monkeypatch.setattr(_training, "normal_init", exploding)
    history, frames = experiment.start([config] * 2, [0, 1])
    for frame in frames:
        history.append(frame)
        if frame.values:
            experiment.panels(history)
    assert history.done
    assert history.diverged[0] >= 1
    assert history.diverged[1] == -1
    for name, values in run_metrics(experiment, history).items():
        np.testing.assert_allclose(values[1], healthy[name][0], rtol=1e-2, atol=2e-3, err_msg=name)
