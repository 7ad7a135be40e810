"""The swing: start and step against their definitions, the course against Monte Carlo, metrics by hand, figure."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.judging import judge_history, run_metrics
from dyntoolkit.phenomena.kernels import swing_by
from dyntoolkit.phenomena.kernels.swing_by import EXPERIMENT, Config, State

CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


def test_the_start_is_a_root_of_the_mixed_matrix_with_noise_on_each_entry():
    configs = [Config(perturb=0, concepts=3), Config(perturb=0, correlation=-0.5, concepts=3), Config(concepts=3)]
    U = swing_by.initial(configs, [1, 1, 1])
    M = (U @ U.mT).numpy()
    np.testing.assert_allclose(M[0], 0.1 * (0.01 * np.eye(3) + 0.99), atol=1e-12)
    signs = np.array([1, -1, 1])
    np.testing.assert_allclose(M[1], 0.1 * (0.5 * np.eye(3) + 0.5 * np.outer(signs, signs)), atol=1e-12)
    noise = Stream([1], "init").normal(3, 3, dtype=torch.float64)[0]
    torch.testing.assert_close(U[2], U[0] * (1 + 0.1 * noise))
    one = swing_by.initial([Config(perturb=0, layers=1)], [1])
    np.testing.assert_allclose(one[0], 0.1 * (0.01 * np.eye(2) + 0.99), atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_step_descends_the_expected_loss(layers):
    own = Config(layers=layers, ratio=3, sigma=0.4, lr=0.3)
    start = swing_by.initial([Config(layers=layers), own], [1, 2])
    a = torch.tensor([1 / 2 + 0.16, 9 / 2 + 0.16], dtype=torch.float64)
    weights = start[1].clone().requires_grad_()
    M = weights @ weights.T if layers == 2 else weights
    off = M - torch.eye(2, dtype=torch.float64)
    loss = (off @ torch.diag(a) @ off.T).trace() / 2
    loss.backward()
    after = swing_by.make_step([Config(layers=layers), own])(State(start), None).weights[1]
    torch.testing.assert_close(after, start[1] - 0.3 / (2 * a[1]) * weights.grad)
    values = swing_by.measure(M.detach()[None], a[None], torch.tensor([[1.0, 3.0]], dtype=torch.float64))
    assert values["train"][0] == pytest.approx(loss.item())
    x = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert values["test"][0] == pytest.approx(((off @ x) ** 2).sum().item() / 2)


def by_hand(test, entries, configs):
    history, _ = EXPERIMENT.start(configs, range(len(configs)))
    for k, (loss, M) in enumerate(zip(test, entries, strict=True)):
        values = {"test": np.array(loss), "train": np.array([4.0 - k, [4, 3, 3.5, 2, 1][k]]), "M": np.array(M)}
        history.append(Frame(k, 4, values, np.full(len(configs), -1)))
    return history


def test_the_metrics_are_those_of_the_recipe():
    entries = []
    for weak, strong, off in ((0, 0, 0.1), (0.1, 0.6, 0.3), (0.2, 0.9, -0.4), (0.4, 1, 0.1), (0.7, 1, 0)):
        entries.append([[[weak, off], [off, strong]], [[strong, off], [off, weak]]])
    test = [[2.0, 5.0], [1.0, 4.0], [1.5, 3.0], [1.8, 2.0], [0.01, 1.0]]
    found = EXPERIMENT.metrics(by_hand(test, entries, [Config(steps=200)] * 2))
    expected = {
        "bump": [0.4, 0],
        "train_up": [0, 0.125],
        "off_max": [0.4, 0.4],
        "t_off": [2, 2],
        "order": [4, 0.25],
        "end": [0.005, 0.2],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)
    assert (found["t_min"][0], found["t_peak"][0]) == (1, 3)
    a1, a2 = 0.5 + 0.0025, 2 + 0.0025
    rates = [2 * a1 * (1 - w) + 2 * a2 * (1 - s) - (a1 + a2) * (w + s) for w, s in ((0, 0), (0.1, 0.6), (0.2, 0.9))]
    assert found["t_theory"][0] == int(np.argmax(np.array(rates) < 0))
    swing, off = CLAIMS["swing"].value(found, None), CLAIMS["off_diagonal"].value(found, None)
    np.testing.assert_allclose(swing, [0.4, np.nan])
    assert np.isnan(off[0])  # the least loss comes before the peak of mixing


def test_theory_is_the_rate_at_which_the_mixed_entry_grows():
    with asking(Asked("eager")):
        history = EXPERIMENT.run(Config(lr=0.008, steps=300), (3,))
    off = history["M"][:, 0, 0, 1]
    rate = swing_by.bracket(history["M"], history.configs)[:, 0] * history.config.step_size
    np.testing.assert_allclose(off[1:] / off[:-1] - 1, rate[:-1], atol=2e-4)
    assert rate[0] > 0.005


def test_engines_agree_and_claims_hold_with_their_controls():
    configs = [Config(), Config(correlation=0), Config(correlation=-0.99), Config(ratio=1)]
    found = {}
    for engine in ("eager", "xla"):
        with asking(Asked(engine)):
            history = run_together(EXPERIMENT, configs, [811] * 4)
        assert history.engine == engine
        found[engine] = run_metrics(EXPERIMENT, history)
        for verdict in judge_history(EXPERIMENT, history.run(0)):
            assert verdict.passed, verdict
    for name in ("bump", "off_max", "t_off", "t_theory", "order"):
        np.testing.assert_allclose(found["eager"][name], found["xla"][name], rtol=1e-6, atol=1e-9, err_msg=name)
    assert (found["eager"]["bump"][1:] < 1e-9).all()
    assert found["eager"]["order"][3] < 4


def test_three_concepts_take_a_smaller_ratio():
    with pytest.raises(InputError, match="ratio takes a number from 1 to 3 with three concepts, got 4"):
        Config(concepts=3, ratio=4)


def test_the_figure_shows_the_path_to_the_target_and_theory_dashed():
    with asking(Asked("eager")):
        history = EXPERIMENT.run(Config(steps=200), (3,))
    losses, path, entries, growth = EXPERIMENT.panels(history)
    np.testing.assert_allclose(losses.marks[0].y, history["test"][1:, 0])
    np.testing.assert_allclose(path.marks[0].x, history["M"][:, 0, 0] @ [1, 2])
    assert (path.marks[2].x[0], path.marks[2].y[0]) == (1, 2)
    np.testing.assert_allclose(entries.marks[1].y, history["M"][1:, 0, 1, 1])
    assert entries.marks[-1].x == EXPERIMENT.metrics(history)["t_theory"][0]
    assert growth.marks[1].dash


@pytest.mark.parametrize(("concepts", "layers"), [(3, 2), (2, 1)])
def test_the_figure_shows_each_concept_and_no_theory_where_it_is_of_something_else(concepts, layers):
    with asking(Asked("eager")):
        history = EXPERIMENT.run(Config(concepts=concepts, layers=layers, steps=200), (3,))
    _, _, entries, growth = EXPERIMENT.panels(history)
    strong = next(mark for mark in entries.marks if mark.name.endswith("strong"))
    np.testing.assert_allclose(strong.y, history["M"][1:, 0, -1, -1])
    assert not [mark for mark in entries.marks if "theory" in mark.name]
    assert np.isnan(growth.marks[1].y).all()
    assert bool(growth.note) == (concepts == 3)
