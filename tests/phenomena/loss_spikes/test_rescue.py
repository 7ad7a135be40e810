"""Branches at an alarm: the states they start from, what each changes, which alarm is chosen, metrics and figure."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.update import AmsGrad
from dyntoolkit.phenomena import _sines as sines
from dyntoolkit.phenomena.loss_spikes import _spikes as spikes
from dyntoolkit.phenomena.loss_spikes import mlp, rescue
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced
from dyntoolkit.phenomena.loss_spikes.rescue import BRANCHES, EXPERIMENT, Alarm, Alarms, Config

CONFIG, SEEDS = Config(steps=500, horizon=20), (11, 12)
HEARTBEAT = Frame(CONFIG.steps, CONFIG.steps + CONFIG.horizon, {}, np.full(2, -1))
CHANGES = {  # what each branch is, as a whole run with these settings
    "none": {},
    "lr_2": {"lr": 0.015},
    "lr_4": {"lr": 0.0075},
    "eps_0.01": {"eps": 0.01},
    "eps_0.1": {"eps": 0.1},
    "beta1_0.97": {"beta1": 0.97},
    "clip_0.001": {"grad_clip": 0.001},
    "beta2_0.99": {"beta2": 0.99},
    "beta2_0.9": {"beta2": 0.9},
}


def watched(config, seeds):
    """The data, the losses and curvatures (N, R), the alarms of a finished training."""
    configs = [config] * len(seeds)
    data, state = sines.draw_data(configs, seeds), mlp.initial_state(configs, seeds)
    alarms, seen = Alarms(configs, data), []

    def probe(*states_and_first):
        seen.append(alarms.probe(*states_and_first))
        return {}

    batches = mlp.make_batches(configs, seeds, state.theta.shape[1])
    list(traced(state, mlp.make_step(configs, data), batches, config.steps, probe))
    loss, along = (torch.cat([block[name] for block in seen]).numpy() for name in ("loss", "along_gradient"))
    return data, loss, along, alarms.found


@pytest.fixture(scope="module")
def run():
    return watched(CONFIG, SEEDS)


def returned(generator):
    """What a generator returns, and how often it yields."""
    beats = 0
    while True:
        try:
            next(generator)
            beats += 1
        except StopIteration as end:
            return end.value, beats


def followed(configs, seeds, data, alarms):
    return returned(rescue.follow(configs, seeds, data, alarms, HEARTBEAT))


def test_alarms_are_those_of_the_whole_run_with_the_state_before_that_update(run):
    data, loss, along, found = run
    assert all(found), "these seeds must have alarms for the other tests"
    for r, alarms in enumerate(found):
        groups = spikes.alarm_groups(spikes.alarm_state(along[:, r], CONFIG.lr))
        assert [alarm.at for alarm in alarms] == [first for first, _ in groups]
        for alarm in alarms:
            assert alarm.state.updates.tolist() == [alarm.at]
            here = float(sines.loss(alarm.state.theta, sines.Data(data.x, data.y[r : r + 1]))[0])
            assert here == pytest.approx(loss[alarm.at, r], rel=1e-12)
            assert alarm.usual == pytest.approx(np.log10(here) - spikes.excess(loss[:, r])[alarm.at])


def test_the_curvature_is_the_one_of_the_default_experiment(run):
    history = mlp.EXPERIMENT.run(mlp.Config(steps=500), SEEDS)
    np.testing.assert_array_equal(trace(history, "loss"), run[1])
    np.testing.assert_allclose(trace(history, "along_gradient"), run[2], rtol=1e-9)  # without a Hessian


def test_the_untouched_branch_goes_on_as_the_run_did_until_rounding_has_grown(run):
    data, loss, _, found = run
    losses, beats = followed([CONFIG] * 2, SEEDS, data, [alarms[0] for alarms in found])
    assert losses.shape == (2, len(BRANCHES), CONFIG.horizon)
    assert beats >= CONFIG.horizon // 8
    for r, alarms in enumerate(found):
        np.testing.assert_allclose(losses[r, 0, :15], loss[alarms[0].at :, r][:15], rtol=1e-6)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("name", BRANCHES)
def test_each_branch_is_a_run_with_its_settings(run, name, amsgrad):
    data, _, _, found = run
    alarms = [alarms[0] for alarms in found]
    if amsgrad:
        alarms = [alarm._replace(state=with_peak(alarm.state)) for alarm in alarms]
    config, own = CONFIG.replace(amsgrad=amsgrad), sines.Data(data.x, data.y[1:])
    losses, _ = followed([config] * 2, SEEDS, data, alarms)
    changed, n = config.replace(**CHANGES[name]), alarms[1].at
    step, state, expected = mlp.make_step([changed], own), alarms[1].state, []
    state = state._replace(square=state.square / (1 - config.beta2**n) * (1 - changed.beta2**n))
    for _ in range(8):
        expected.append(float(sines.loss(state.theta, own)[0]))
        state = step(state, None)
    np.testing.assert_allclose(losses[1, list(BRANCHES).index(name), :8], expected, rtol=1e-8)


def with_peak(state):
    """Adam's state as AMSGrad's, with a largest v that is twice the present one."""
    return AmsGrad(*state[:3], 2 * state.square / (1 - CONFIG.beta2**state.updates), state.updates)


def test_noise_is_one_for_all_branches_and_the_runs_own(run):
    data, _, _, found = run
    config = CONFIG.replace(grad_noise_std=1e-3)
    alarms = [alarms[0] for alarms in found]
    together, _ = followed([config] * 2, SEEDS, data, alarms)
    quiet, _ = followed([CONFIG] * 2, SEEDS, data, alarms)
    alone, _ = followed([config], SEEDS[1:], sines.Data(data.x, data.y[1:]), alarms[1:])
    assert not np.allclose(together[:, 0, 1:5], quiet[:, 0, 1:5], rtol=1e-4)
    np.testing.assert_allclose(together[1, :, :10], alone[0, :, :10], rtol=1e-7)
    # the noise that moves the untouched run moves a branch with the same step the same way
    same = followed([config.replace(beta2=0.99)], SEEDS[1:], sines.Data(data.x, data.y[1:]), alarms[1:])[0][0]
    names = list(BRANCHES)
    np.testing.assert_allclose(same[names.index("none"), :10], same[names.index("beta2_0.99"), :10], rtol=1e-9)


@pytest.mark.parametrize(("at_once", "trainings"), [(1, 4), (8, 2)])
def test_the_first_alarm_whose_untouched_branch_rises_tenfold_is_chosen(monkeypatch, at_once, trainings):
    rises = [[0.3, 1.2, 2.0], [0.5, 0.9], [], [1.0]]  # of each run (its seed is its row) after each of its alarms

    def follow(configs, seeds, data, alarms, heartbeat, names):
        yield heartbeat
        last = [10.0 ** rises[seed][alarm.at] for seed, alarm in zip(seeds, alarms, strict=True)]
        losses = np.ones((len(last), len(names), CONFIG.horizon))
        losses[:, :, -1] = np.array(last)[:, None]
        return losses

    monkeypatch.setattr(rescue, "follow", follow)
    monkeypatch.setattr(rescue, "AT_ONCE", at_once)
    alarms = [[Alarm(k, None, 0.0) for k in range(len(row))] for row in rises]
    data = sines.Data(torch.zeros(1), torch.zeros(4, 1))
    values, rounds = returned(rescue.first_spike([CONFIG] * 4, range(4), data, alarms, HEARTBEAT))
    assert rounds == trainings
    np.testing.assert_array_equal(values["alarm"], [1, np.nan, np.nan, 0])
    assert values["branches"][0].max() == pytest.approx(10**1.2)
    assert np.isnan(values["branches"][1:3]).all()


@pytest.mark.claims
def test_the_default_run_its_claims_and_its_figure():
    history = EXPERIMENT.run(seeds=(902,))
    metrics = EXPERIMENT.metrics(history)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    assert metrics["excess_none"][0] >= 1
    i = int(metrics["alarm"][0])
    before = np.sort(np.log10(trace(history, "loss")[i - 100 : i, 0]))[49]
    losses = np.log10(history.last("branches")[0])
    assert losses.shape == (9, 60)
    assert metrics["excess_beta2_0.9"][0] == pytest.approx(losses[8].max() - before)
    run, branches, excess = EXPERIMENT.panels(history)
    assert run.marks[2].x.tolist() == [i]
    assert len(run.marks[1].x) == metrics["alarms"][0]
    np.testing.assert_allclose(branches.marks[8].y[100:], 10 ** (losses[8] - before))
    assert excess.marks[0].y[0] == pytest.approx(metrics["excess_none"][0])


def test_a_history_that_begins_and_one_without_alarms():
    config = Config(steps=500, horizon=20, width=5, amsgrad=True)
    history, frames = EXPERIMENT.start([config] * 2, [0, 1])
    sizes = [len(panel.marks) for panel in EXPERIMENT.panels(history)]
    assert sizes == [3, 10, 3]
    names = None
    for frame in frames:
        history.append(frame)
        if frame.values:
            assert [len(panel.marks) for panel in EXPERIMENT.panels(history)] == sizes
            found = EXPERIMENT.metrics(history)
            assert names in (None, list(found))
            names = list(found)
    assert history.done
    assert np.isnan(found["excess_none"]).all()
    assert found["alarms"].tolist() == [0, 0]


def test_an_action_in_the_midst_of_a_run_is_tried_beside_doing_nothing_and_the_run_goes_on_untouched():
    plain, history = EXPERIMENT.run(CONFIG, SEEDS), EXPERIMENT.start([CONFIG] * 2, SEEDS)[0]
    frames, asked, action = rescue.simulate([CONFIG] * 2, SEEDS), 0, None
    while True:
        try:
            frame = frames.send(action)
        except StopIteration:
            break
        history.append(frame)
        asked += frame.asks
        action = "lr_4" if frame.asks and "tried" not in history else None
    assert asked >= 1
    for name in plain.names():
        np.testing.assert_array_equal(history[name], plain[name])
    start = int(history.last("tried_alarm")[0])
    first = spikes.alarm_groups(spikes.alarm_state(trace(plain, "along_gradient")[:, 0], CONFIG.lr))[0][0]
    assert start == first
    none, changed = history.last("tried")[0]
    assert none[0] == changed[0] == pytest.approx(trace(plain, "loss")[start, 0], rel=1e-12)
    assert none[1] != changed[1] or none[2] != changed[2]
    assert np.isnan(history.last("tried")[1]).all()  # the second run is left alone
    *_, tried = EXPERIMENT.panels(history)
    assert [mark.name for mark in tried.marks] == ["none", f"η/4 at step {start:,}", "ten times"]
    assert len(EXPERIMENT.panels(plain)) == 3
