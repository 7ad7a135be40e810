"""The pair never seen: sequences, network and update against their definitions, measurements, metrics, figure."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.phenomena.attention import composition
from dyntoolkit.phenomena.attention.composition import EXPERIMENT, SEEN, UNSEEN, Config, Network, sequences, vocabulary

SMALL = Config(items=25, batch_size=64, steps=300)


def test_answers_are_sums_of_the_shifts_but_for_the_pair_taught_wrong_and_the_one_left_out():
    every = sequences(25)
    taught = composition.training_answers([SMALL], [0], every)[0]
    told, shifts = iter(taught.tolist()), (5, 1, -2, -8)
    row = 0
    for a in range(4):
        for b in range(4):
            for x in range(25):
                assert every.tokens[row].tolist() == [20 + x, 65 + a, 65 + b]
                right = 20 + x + shifts[a] + shifts[b]
                assert every.composed[row] == right
                if (a, b) != (3, 2):
                    assert next(told) == (20 + x - 6 if (a, b) == (2, 3) else right)
                row += 1
    assert row == len(every.pair)
    assert next(told, None) is None


def test_label_noise_is_a_share_of_random_answers_drawn_once():
    every = sequences(60)
    clean, noisy = composition.training_answers([Config(items=60), Config(items=60, label_noise=0.3)], [0, 0], every)
    changed = noisy != clean
    assert 0.25 < changed.float().mean() < 0.33
    assert noisy[changed].min() == 12
    assert noisy[changed].max() == vocabulary(60) - 5


def naive_network(network, theta, x):
    """Logits of one network for one sequence x (3,), every place of every layer computed."""
    blocks, at = {}, 0
    for name, (rows, columns) in network.shapes.items():
        blocks[name] = theta[at : at + rows * columns].view(rows, columns)
        at += rows * columns
    h = blocks["tok"][x] + blocks["pos"]  # (3, d)
    for layer in range(2):
        q, k, v = (h @ blocks[f"{name}{layer}"] for name in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        h = functional.layer_norm(h + mixed @ blocks[f"output{layer}"], (network.width,))
        h = functional.layer_norm(h + functional.relu(h @ blocks[f"A{layer}"]) @ blocks[f"B{layer}"], (network.width,))
    return h[-1] @ blocks["U"]


def test_the_last_place_of_the_last_layer_is_all_that_the_answer_needs():
    network = Network(69)
    theta = network.init(Stream([0, 1], "init"), torch.tensor([0.2, 0.8]))
    x = sequences(25).tokens[[3, 200, 399]].expand(2, -1, -1)
    found = network(theta, x)
    for r in range(2):
        for b in range(3):
            torch.testing.assert_close(found[r, b], naive_network(network, theta[r], x[r, b]), rtol=1e-3, atol=1e-4)


def test_weights_start_with_the_size_that_the_rate_gives_their_fan_in():
    network = Network(104)
    blocks = network.split(network.init(Stream([0], "init"), torch.tensor([0.3])))
    for name, fan_in in {"tok": 32, "query1": 32, "A0": 32, "B1": 64, "U": 32}.items():
        assert blocks[name].std() == pytest.approx(fan_in**-0.3, rel=0.06), name


def test_updates_are_those_of_adamw_with_clipped_gradients_and_the_schedule():
    configs, every = [SMALL, SMALL.replace(lr=0.03, weight_decay=0.1, init_rate=0.2)], sequences(25)
    network, trained = Network(vocabulary(25)), every.tokens[every.pair != UNSEEN]
    taught = composition.training_answers(configs, [0, 1], every)
    start = network.init(Stream([0, 1], "init"), per_run(configs, "init_rate"))
    step, batches = (
        composition.make_step(configs, network, trained, taught),
        Stream([0, 1], "batches").indices(375, 3, 64),
    )
    state = Adam.start(start)
    for k in range(3):
        state = step(state, batches[:, k])
    theta = start[1].clone().requires_grad_()
    adamw = torch.optim.AdamW([theta], betas=(0.9, 0.98), weight_decay=0.1)
    for k in range(3):
        adamw.param_groups[0]["lr"] = 0.03 * min(1, (k + 1) / 100) * (0.1 + 0.45 * (1 + math.cos(math.pi * k / 300)))
        adamw.zero_grad()
        logits = network(theta[None], trained[batches[1:, k]])[0]
        functional.cross_entropy(logits, taught[1, batches[1, k]]).backward()
        torch.nn.utils.clip_grad_norm_([theta], 1.0)
        adamw.step()
    moved, expected = state.theta[1] - start[1], theta.detach() - start[1]
    assert (moved - expected).norm() < 1e-2 * expected.norm()


def test_a_frame_counts_the_answers_to_every_pair():
    """Of a network in whose place the answers are known: composed, but x - 6 for half of the pair never seen."""
    every = sequences(40)
    answer = every.composed.clone()
    answer[every.pair == SEEN] = every.tokens[every.pair == SEEN, 0] - 6
    answer[13 * 40 + 40 : 13 * 40 + 60] = every.tokens[13 * 40 + 40 : 13 * 40 + 60, 0] - 6
    network = Network(vocabulary(40))

    class Known(Network):
        def __call__(self, theta, x):
            return 3.0 * functional.one_hot(answer, self.vocabulary).float()[None]

    theta = network.init(Stream([0], "init"), torch.tensor([0.5]))
    found = composition.measure(Known(vocabulary(40)), theta, every)
    expected = np.ones(16)
    expected[SEEN], expected[UNSEEN] = 0, 0.5
    np.testing.assert_allclose(found["composed"][0], expected)
    assert found["symmetric"][0, SEEN] == 1
    assert found["symmetric"][0, UNSEEN] == 0.5
    assert found["train_accuracy"] == 1
    right = math.log(1 + 83 * math.exp(-3))
    assert found["train_loss"] == pytest.approx(right, rel=1e-5)
    assert found["unseen_loss"] == pytest.approx(right + 3 / 2, rel=1e-5)


def test_metrics_and_figure_of_a_course_that_is_known():
    history, _ = EXPERIMENT.start([Config()], [0])
    for k, share in ((0, 0.0), (500, 0.6), (1000, 0.8)):
        composed = np.full((1, 16), 1.0)
        composed[0, UNSEEN], composed[0, SEEN] = share, 0.0
        values = {"train_accuracy": np.array([share + 0.15]), "train_loss": np.ones(1), "unseen_loss": np.ones(1)}
        values |= {"composed": composed, "symmetric": (1 - composed) / 2}
        history.append(Frame(k, 1000, values, np.full(1, -1)))
    found = EXPERIMENT.metrics(history)
    expected = {"unseen_accuracy": 0.8, "symmetric": 0.1, "t_unseen": 500, "t_train": 1000, "train_accuracy": 0.95}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    composes = EXPERIMENT.claims[0]
    assert composes.value(found, Config()) == pytest.approx(0.8)
    assert np.isnan(composes.value({**found, "train_accuracy": np.array([0.8])}, Config()))
    np.testing.assert_allclose(EXPERIMENT.map.value(history), [0.8])
    _, table, special, _ = EXPERIMENT.panels(history)
    assert table.marks[0].z[3, 2] == pytest.approx(0.8)
    assert table.marks[0].z[2, 3] == 0
    np.testing.assert_allclose([bars.y for bars in special.marks], [[0, 0.8], [0.5, 0.1], [0.5, 0.1]])
