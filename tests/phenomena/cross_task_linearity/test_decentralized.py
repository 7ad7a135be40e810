"""Decentralized training: shards, mixing and messages by hand, rounds against torch, claims."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from run_together import run_together
from torch_twin import descend, forward, he_start, layers_of, sizes_of, theta_of, twin

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.claims import Metrics
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.phenomena.cross_task_linearity import decentralized
from dyntoolkit.phenomena.cross_task_linearity.decentralized import APART, EXPERIMENT, PRESETS, Config

Array = np.ndarray
TINY = Config(n_nodes=5, rounds=11, local_steps=3, batch_size=8, width=16, depth=1, dirichlet_beta=1.0)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}
ONE_POINT = 1.5 / 597  # one test digit may fall to the other side by rounding

run = partial(run_together, EXPERIMENT)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 20), st.sampled_from([0.1, 1.0, 100.0]), st.integers(0, 2**32 - 1))
def test_shards_share_out_all_training_points_and_leave_no_node_empty(nodes: int, beta: float, seed: int) -> None:
    labels = rotated_digits(0).train_y.numpy()
    found = decentralized.shards(labels, beta, nodes, np.random.default_rng(seed))
    assert len(found) == nodes
    assert sorted(np.concatenate(found).tolist()) == list(range(1200))
    assert min(len(shard) for shard in found) >= 8


class Scripted:
    """A source of randomness that turns the order around and takes its proportions from a list."""

    def __init__(self, *proportions: list[float]) -> None:
        self.proportions = list(proportions)
        self.betas: list[list[float]] = []

    def permutation(self, points: Array) -> Array:
        return points[::-1]

    def dirichlet(self, beta: Array) -> Array:
        self.betas.append(beta.tolist())
        return np.array(self.proportions.pop(0))


def test_shards_are_cut_class_by_class_and_all_are_redrawn_until_each_has_eight() -> None:
    labels = np.array([0, 1] * 15)  # 15 points of each class, even and odd numbers
    random = Scripted([0.2, 0.1, 0.7], [0.5, 0.3, 0.2], [0.3, 0.3, 0.4], [0.27, 0.45, 0.28])
    first, second, third = decentralized.shards(labels, 0.6, 3, random)  # type: ignore[arg-type]
    # cut at floor(15 * .2) = 3 and floor(15 * .3) = 4: the second node has 1 + 4 points of the first draw, too few;
    # of the second draw, cuts at 4 and 9 of the one class and at 4 and 10 of the other
    assert first.tolist() == [28, 26, 24, 22, 29, 27, 25, 23]
    assert second.tolist() == [20, 18, 16, 14, 12, 21, 19, 17, 15, 13, 11]
    assert third.tolist() == [10, 8, 6, 4, 2, 0, 9, 7, 5, 3, 1]
    assert random.betas == [[0.6] * 3] * 4


def test_a_small_beta_gives_each_node_few_classes_and_a_large_one_all_alike() -> None:
    labels = rotated_digits(0).train_y.numpy()
    counts = {
        beta: np.array(
            [
                np.bincount(labels[s], minlength=10)
                for s in decentralized.shards(labels, beta, 16, np.random.default_rng(1))
            ]
        )
        for beta in (0.1, 100.0)
    }
    main = {beta: np.sort(count, axis=1)[:, ::-1][:, :3].sum() / 1200 for beta, count in counts.items()}
    assert main[0.1] > 0.75  # three classes are most of a node's points
    assert main[100.0] < 0.5
    assert (counts[100.0] > 0).all()


def test_every_node_has_400_samples_of_its_own_shard() -> None:
    digits, configs, seeds = rotated_digits(0), [TINY, TINY.replace(dirichlet_beta=100.0)], [3, 4]
    table = decentralized.draw_table(configs, seeds)
    assert table.x.shape == (10, 400, 64)
    where = {tuple(pixels.tolist()): k for k, pixels in enumerate(digits.train_x)}
    labels = digits.train_y.numpy()
    for r, (config, seed) in enumerate(zip(configs, seeds, strict=True)):
        parts = decentralized.shards(labels, config.dirichlet_beta, 5, Stream([seed], "shards").generators[0])
        for x, y, part in zip(table.x[5 * r : 5 * r + 5], table.y[5 * r : 5 * r + 5], parts, strict=True):
            points = [where[tuple(pixels.tolist())] for pixels in x]
            assert set(points) <= set(part.tolist())
            assert len(set(points)) > 0.6 * min(len(part), 400)
            assert y.tolist() == labels[points].tolist()
    alone = decentralized.draw_table(configs[1:], seeds[1:])
    assert torch.equal(alone.x, table.x[5:])


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 33), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_gossip_averages_pairs_and_keeps_the_mean(nodes: int, probability: float, seed: int) -> None:
    W = decentralized.gossip(nodes, probability, np.random.default_rng(seed))
    np.testing.assert_array_equal(W, W.T)
    np.testing.assert_array_equal(W.sum(0), 1)
    np.testing.assert_array_equal(W.sum(1), 1)
    talking = [row[row > 0].tolist() for row in W]
    assert all(shares in ([1.0], [0.5, 0.5]) for shares in talking)
    pairs = sum(len(shares) == 2 for shares in talking) / 2
    assert pairs <= nodes // 2
    assert decentralized.messages(W) == 2 * pairs
    if probability in (0, 1):
        assert pairs == probability * (nodes // 2)
    theta = torch.randn(1, nodes, 6, generator=torch.Generator().manual_seed(seed))
    mixed = decentralized.mixed(theta, torch.from_numpy(W).float()[None])
    torch.testing.assert_close(mixed.mean(1), theta.mean(1))
    for k, row in enumerate(W):
        torch.testing.assert_close(mixed[0, k], theta[0, row > 0].mean(0))


def test_every_pair_meets_and_talks_with_the_given_probability() -> None:
    random = np.random.default_rng(0)
    met = np.mean([decentralized.gossip(5, 0.3, random) == 0.5 for _ in range(4000)], axis=0)
    pairs = met[~np.eye(5, dtype=bool)]  # 2 of the 10 pairs of five nodes are made, 3 of 10 of them talk
    np.testing.assert_allclose(pairs, 0.2 * 0.3, atol=0.015)


def test_messages_are_two_of_each_pair_and_one_to_each_other_node_of_a_full_round() -> None:
    two_pairs = np.eye(5)
    for a, b in ((0, 3), (1, 4)):
        two_pairs[[a, a, b, b], [a, b, a, b]] = 0.5
    found = decentralized.messages(np.stack([np.eye(5), two_pairs, np.full((5, 5), 0.2)]))
    assert found.tolist() == [0, 4, 20]


WINDOWS: list[tuple[dict[str, Any], list[int]]] = [
    ({"schedule": "gossip_merge"}, [10]),
    ({"schedule": "early"}, [0, 1, 2]),
    ({"schedule": "mid"}, [4, 5, 6]),
    ({"schedule": "mid", "window_rounds": 4}, [3, 4, 5, 6]),  # floor(7/2)
    ({"schedule": "late"}, [8, 9, 10]),
    ({"schedule": "late", "window_rounds": 11}, list(range(11))),
    ({"schedule": "full"}, list(range(11))),
    ({"schedule": "none"}, []),
]


@pytest.mark.parametrize(("changes", "rounds"), WINDOWS)
def test_who_averages_when(changes: dict[str, Any], rounds: list[int]) -> None:
    config = TINY.replace(**changes)
    assert list(config.full_rounds) == rounds
    W = decentralized.mixings([config, config.replace(gossip_prob=1.0)], [0, 1])
    assert W.shape == (11, 2, 5, 5)
    for r in range(11):
        if r in rounds:
            np.testing.assert_allclose(W[r], 0.2)
        elif config.schedule == "gossip_merge":
            assert (W[r, 1] == 0.5).sum() == 8  # two pairs of five nodes
        else:
            np.testing.assert_array_equal(W[r], [np.eye(5)] * 2)
    np.testing.assert_array_equal(decentralized.mixings([config.replace(gossip_prob=1.0)], [1])[:, 0], W[:, 1])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [  # at the start, after 2, 4, 6, 8 and 10 rounds before the mixing of the last one, and in all
        ({"schedule": "full"}, [0, 20, 60, 100, 140, 180, 220]),
        ({"schedule": "early"}, [0, 20, 60, 60, 60, 60, 60]),
        ({"schedule": "mid"}, [0, 0, 0, 20, 60, 60, 60]),
        ({"schedule": "late"}, [0, 0, 0, 0, 0, 20, 60]),
        ({"schedule": "none"}, [0] * 7),
        ({"gossip_prob": 1.0}, [0, 4, 12, 20, 28, 36, 60]),  # 4 a round, then 20
        ({"gossip_prob": 0.0}, [0] * 6 + [20]),
    ],
)
def test_messages_so_far_are_counted_by_hand(changes: dict[str, Any], expected: list[int]) -> None:
    history = run([TINY.replace(local_steps=1, **changes)], [0])
    assert history.at("messages").tolist() == [0, 2, 4, 6, 8, 10, 11]
    assert history["messages"][:, 0].tolist() == expected


def test_frames_come_after_every_second_round_and_the_last() -> None:
    history = run([TINY], [0])
    assert history.at("local_acc").tolist() == [0, 6, 12, 18, 24, 30, 33]
    assert history.at("loss").tolist() == [6, 12, 18, 24, 30, 33]
    assert history.at("final_local_acc").tolist() == [33]
    assert history.done
    assert run([TINY.replace(rounds=10)], [0]).at("local_acc").tolist() == [0, 6, 12, 18, 24, 30]


def accuracy(theta: torch.Tensor, config: Config) -> float:
    """Of one network (P,) on the upright test digits."""
    digits = rotated_digits(0)
    logits = forward(layers_of(twin(sizes_of(config), theta)), digits.test_x.numpy())[-1]
    return float(np.mean(logits.argmax(1) == digits.test_y.numpy()))


def by_torch(config: Config, seed: int) -> dict[int, dict[str, Any]]:
    """What is seen before each mixing, by the number of steps: node after node is trained, from rest in every round."""
    table, batches = decentralized.draw_table([config], [seed]), Stream([seed], "batch")
    index = batches.indices(400, config.steps, config.n_nodes, config.batch_size)[0]
    W = torch.from_numpy(decentralized.mixings([config], [seed])[:, 0]).float()  # (rounds, n, n)
    nodes = [he_start(config, seed, "init" if config.shared_init else f"init {k}") for k in range(config.n_nodes)]
    seen = {}
    for r in range(config.rounds):
        rows, losses = index[r * config.local_steps : (r + 1) * config.local_steps], []
        for k, node in enumerate(nodes):
            losses.append(descend(node, table.x[k], table.y[k], rows[:, k], config.lr, config.momentum))
        theta = torch.stack([theta_of(node) for node in nodes])  # (n, P)
        mean, after = theta.mean(0), [sum(w * one for w, one in zip(row, theta, strict=True)) for row in W[r]]
        spread = np.mean([float((one - mean).norm()) ** 2 for one in theta]) ** 0.5
        seen[(r + 1) * config.local_steps] = {
            "node_acc": [accuracy(one, config) for one in theta],
            "merged_acc": accuracy(mean, config),
            "consensus": spread / float(mean.norm()),
            "loss": np.mean(losses),
            "final_local_acc": np.mean([accuracy(one, config) for one in after]),
        }
        nodes = [twin(sizes_of(config), one) for one in after]
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        {"gossip_prob": 0.8},
        {"schedule": "mid", "window_rounds": 2},
        {"schedule": "none", "shared_init": False},
        {"schedule": "full", "depth": 2},
    ],
)
def test_rounds_are_those_of_torch(changes: dict[str, Any]) -> None:
    """Of a run among others, with settings of its own."""
    other = TINY.replace(**changes)
    own = other.replace(lr=0.08, momentum=0.8, dirichlet_beta=0.5, init_scale=0.9)
    history, expected = run([other, own], [1, 9]).run(1), by_torch(own, 9)
    steps = history.at("local_acc").tolist()
    for row, step in enumerate(steps[1:], 1):
        seen = expected[step]
        np.testing.assert_allclose(history["node_acc"][row, 0], seen["node_acc"], atol=ONE_POINT, err_msg=str(step))
        assert history["local_acc"][row, 0] == pytest.approx(np.mean(seen["node_acc"]), abs=ONE_POINT)
        assert history["merged_acc"][row, 0] == pytest.approx(seen["merged_acc"], abs=ONE_POINT)
        assert history["consensus"][row, 0] == pytest.approx(seen["consensus"], rel=1e-3)
        rounds = [expected[k]["loss"] for k in range(steps[row - 1] + 3, step + 1, 3)]  # since the frame before
        assert history["loss"][row - 1, 0] == pytest.approx(np.mean(rounds), rel=1e-3)
    assert history.last("final_local_acc")[0] == pytest.approx(expected[33]["final_local_acc"], abs=ONE_POINT)


def test_after_a_full_round_every_node_is_the_average_and_after_a_quiet_one_it_is_itself() -> None:
    for schedule in ("gossip_merge", "late", "full"):
        history = run([TINY.replace(schedule=schedule)] * 2, [0, 1])
        np.testing.assert_allclose(history.last("final_local_acc"), history.last("merged_acc"), atol=ONE_POINT)
        assert (history.last("local_acc") != history.last("merged_acc")).all()
    for schedule in ("none", "early"):
        history = run([TINY.replace(schedule=schedule)] * 2, [0, 1])
        np.testing.assert_allclose(history.last("final_local_acc"), history.last("local_acc"), atol=1e-12)


def test_nodes_start_together_or_each_from_its_own_network() -> None:
    together, apart = (run([TINY.replace(shared_init=shared)], [0]) for shared in (True, False))
    assert together["consensus"][0, 0] == pytest.approx(0, abs=1e-6)
    assert len(set(together["node_acc"][0, 0].tolist())) == 1
    # five independent networks: the mean square of each about their average is 4/5, that of the average 1/5
    assert apart["consensus"][0, 0] == pytest.approx(2, rel=0.05)
    assert len(set(apart["node_acc"][0, 0].tolist())) > 1


def test_metrics_of_the_first_frame_and_of_the_last() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, [0, 1])
    history.append(next(frames))
    found = EXPERIMENT.metrics(history)
    assert {name for name, values in found.items() if np.isnan(values).any()} == {"final_local_acc"}
    for frame in frames:
        history.append(frame)
    found = EXPERIMENT.metrics(history)
    assert all(np.isfinite(values).all() and values.shape == (2,) for values in found.values())
    np.testing.assert_allclose(found["merge_gain"], history["merged_acc"][-1] - history["node_acc"][-1].mean(1))
    assert found["messages"].tolist() == history["messages"][-1].tolist()


def test_where_claims_are_expected() -> None:
    assert list(CLAIMS) == ["final_merge_gain", "late_beats_early"]
    gain, late = CLAIMS.values()
    for probability in (0.05, 0.2, 0.5):
        assert gain.where(Config(gossip_prob=probability))
    for probability in (0.0, 0.04, 0.6, 1.0):
        assert not gain.where(Config(gossip_prob=probability))
    for schedule in ("early", "mid", "late", "full", "none"):
        assert not gain.where(Config(schedule=schedule))
        assert late.where(Config(schedule=schedule))
    assert late.where(Config())
    for changes in ({"n_nodes": 8}, {"rounds": 30}, {"dirichlet_beta": 1.0}, {"shared_init": False}, {"lr": 0.02}):
        assert not any(claim.where(Config(**changes)) for claim in CLAIMS.values()), changes


@pytest.fixture(scope="module")
def fresh() -> dict[str, Metrics]:
    """Full-size runs of a seed that was not used to write the claims."""
    presets = ("one_merge", "iid", "different_inits", "late", "early")
    return {name: run_metrics(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure(name), (811,))) for name in presets}


@pytest.mark.claims
def test_one_merge_recovers_most_for_a_fresh_seed_and_not_in_its_controls(fresh: dict[str, Metrics]) -> None:
    claim = CLAIMS["final_merge_gain"]
    assert claim.bound.holds(fresh["one_merge"][claim.metric]).all()
    assert [dict(control.changes) for control in claim.controls] == [{"dirichlet_beta": 100.0}, APART]
    for name in ("iid", "different_inits"):
        assert not claim.bound.holds(fresh[name][claim.metric]).any(), name
    assert fresh["one_merge"]["messages"] < 1000  # of the 14,400 of full rounds only


@pytest.mark.claims
def test_late_beats_early_for_a_fresh_seed(fresh: dict[str, Metrics]) -> None:
    claim = CLAIMS["late_beats_early"]
    assert claim.sweep is not None
    assert [dict(change) for change in claim.sweep.changes] == [{"schedule": "late"}, {"schedule": "early"}]
    rows = [fresh["late"], fresh["early"]]
    assert claim.bound.holds(claim.sweep.value(rows)).all()
    assert not claim.bound.holds(claim.sweep.value(rows[::-1])).any()
    assert fresh["late"]["messages"] == fresh["early"]["messages"] == 3 * 16 * 15
    by_hand = [{"final_local_acc": np.array([0.7, 0.5])}, {"final_local_acc": np.array([0.3, 0.4])}]
    np.testing.assert_allclose(claim.sweep.value(by_hand), [0.4, 0.1])
    assert claim.bound.holds(claim.sweep.value(by_hand)).tolist() == [True, False]


@pytest.mark.parametrize("schedule", ["early", "mid", "late"])
def test_a_window_longer_than_the_run_is_refused(schedule: str) -> None:
    with pytest.raises(InputError, match="window_rounds takes at most rounds = 10, got 11"):
        Config(schedule=schedule, rounds=10, window_rounds=11)
    assert list(Config(schedule=schedule, rounds=10, window_rounds=10).full_rounds) == list(range(10))


def test_a_window_that_is_not_used_is_not_refused_but_a_wrong_setting_is() -> None:
    for schedule in ("gossip_merge", "full", "none"):
        Config(schedule=schedule, rounds=10, window_rounds=20)
    for name, value in (("n_nodes", 3), ("gossip_prob", 1.1), ("dirichlet_beta", 0.01), ("schedule", "always")):
        with pytest.raises(InputError, match=name):
            Config(**{name: value})


def test_presets_are_those_of_the_recipe() -> None:
    assert {name: dict(preset.changes) for name, preset in PRESETS.items()} == {
        "one_merge": {},
        "silent": {"schedule": "none"},
        "always": {"schedule": "full"},
        "early": {"schedule": "early"},
        "late": {"schedule": "late"},
        "iid": {"dirichlet_beta": 100.0},
        "different_inits": {"schedule": "none", "shared_init": False},
    }
    assert not any(EXPERIMENT.configure(name).warnings() for name in PRESETS)
    (warning,) = Config(lr=0.1, batch_size=8, momentum=0.9).warnings()
    assert "kills the network" in warning
