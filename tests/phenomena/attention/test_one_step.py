"""Linear attention in context: prompts, model and update against their definitions, metrics, figure."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.update import Adam
from dyntoolkit.phenomena.attention import one_step
from dyntoolkit.phenomena.attention.one_step import EXPERIMENT, Config, Source, answers, bayes_answers, initial, parts

SHORT = Config(steps=100, batch_size=32, n_context=8, dim=3)


def examples(source, count):
    """The tokens of so many prompts, drawn with the same streams one by one: w, x, y with noise, (R, count, ...)."""
    n, d, double = source.config.n_context, source.config.dim, torch.float64
    w = source.tasks.normal(count, d, dtype=double) * source.task_std
    x = source.inputs.normal(count, n + 1, d, dtype=double) * source.std[:, None]
    y = torch.einsum("rbnd,rbd->rbn", x, w)
    return w, x, y, y[..., :n] + source.noise_std * source.noise.normal(count, n, dtype=double)


def test_answers_are_the_sums_over_examples_of_the_recipe():
    configs = [SHORT.replace(noise_std=1), SHORT.replace(condition=10, prior="whitened")]
    prompts = Source(configs, [0, 1], "some").draw(6)
    _, x, y, noisy = examples(Source(configs, [0, 1], "some"), 6)
    torch.testing.assert_close(prompts.answer, y[..., -1])
    theta = torch.randn(2, 4 * 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = answers(theta, prompts)
    v, K = parts(theta, 3)
    for r in range(2):
        for b in range(6):
            query = torch.cat([x[r, b, -1], torch.zeros(1, dtype=torch.float64)])
            tokens = [torch.cat([x[r, b, i], noisy[r, b, i, None]]) for i in range(8)]
            expected = sum((v[r] @ z) * (z @ K[r] @ query) for z in tokens) / 8
            assert float(found[r, b]) == pytest.approx(float(expected), rel=1e-9)


def test_inputs_and_tasks_have_the_variances_of_the_settings():
    config = Config(condition=10, prior="whitened", dim=3, n_context=5)
    w, x, _, _ = examples(Source([config], [0], "some"), 4000)
    np.testing.assert_allclose(x.square().mean((0, 1, 2)), config.variances, rtol=0.05)
    np.testing.assert_allclose(w.square().mean((0, 1)), 1 / config.variances, rtol=0.1)


def test_training_on_few_tasks_draws_them_alone_and_tests_draw_new_ones():
    configs = [SHORT.replace(n_tasks=2)]
    source = Source(configs, [0], "training", 2)
    x = Source(configs, [0], "training", 2).inputs.normal(64, 9, 3, dtype=torch.float64)[0, :, -1]
    drawn = source.draw(64)
    of_each = x @ source.known[0].T  # (64, 2)
    assert ((drawn.answer[0, :, None] - of_each).abs().min(1).values < 1e-9).all()
    assert not torch.allclose(one_step.test_prompts(configs, [0]).answer[0, :64], drawn.answer[0])


@pytest.mark.parametrize(
    ("noise_std", "n_context", "prior"), [(0.5, 8, "whitened"), (0.5, 5, "isotropic"), (0, 5, "isotropic")]
)
def test_the_bayes_answer_is_ridge_regression(noise_std, n_context, prior):
    config = Config(noise_std=noise_std, n_context=n_context, prior=prior, dim=7, condition=5)
    prompts = Source([config], [3], "some").draw(4)
    _, x, _, noisy = examples(Source([config], [3], "some"), 4)
    precision = np.diag(config.variances) if prior == "whitened" else np.eye(7)
    found = bayes_answers(prompts, [config])[0]
    for b in range(4):
        X, query = x[0, b, :-1].numpy(), x[0, b, -1].numpy()
        gram = X.T @ X + noise_std**2 * precision
        w = np.linalg.pinv(gram, rcond=1e-10) @ X.T @ noisy[0, b].numpy()
        assert float(found[b]) == pytest.approx(float(w @ query), rel=1e-6)


def test_updates_are_those_of_adam_with_a_rate_that_falls_to_zero():
    configs = [SHORT, SHORT.replace(lr=0.1, init_scale=0.3)]
    batches = one_step.make_batches(configs, [0, 1])(0, 3)
    state, step = Adam.start(initial(configs, [0, 1])), one_step.make_step(configs)
    for k in range(3):
        state = step(state, one_step.Prompts(*(part[k] for part in batches)))
    theta = initial(configs[1:], [1])[0].requires_grad_()
    torch_adam = torch.optim.Adam([theta], lr=0.1)
    for k in range(3):
        prompts = one_step.Prompts(*(part[k, 1:] for part in batches))
        torch_adam.param_groups[0]["lr"] = 0.1 * (1 - k / 100)
        torch_adam.zero_grad()
        (0.5 * (answers(theta[None], prompts) - prompts.answer).square().mean()).backward()
        torch_adam.step()
    torch.testing.assert_close(state.theta[1], theta.detach(), rtol=1e-4, atol=1e-6)
    K, K_start = (parts(part[1:], 3)[1] for part in (state.theta, initial(configs, [0, 1])))
    assert (K[..., -1] == K_start[..., -1]).all()  # the label of the query is 0


def test_it_starts_with_the_label_passed_on_or_with_small_numbers_only():
    configs = [SHORT.replace(start=start) for start in ("value", "random")]
    v, _ = parts(initial(configs, [4, 4]), 3)
    torch.testing.assert_close(v[0] - v[1], torch.tensor([0.0, 0, 0, 1]))
    assert v[1].abs().max() < 0.1


def perfect(config, off=0.0):
    """A history at whose end the weights are the step, with `off` in one other place."""
    history, _ = EXPERIMENT.start([config], [0])
    d = config.dim
    v, K = np.zeros((1, d + 1)), np.zeros((1, d + 1, d + 1))
    v[0, -1] = 2
    K[0, range(d), range(d)] = config.theory.eta / 2
    K[0, 0, 1] = off / 2
    values = {"v": v, "K": K, "test_loss": np.array([2.0]), "cosine": np.array([0.1]), "answers": np.ones((1, 200))}
    fixed = {"theory_loss": np.ones(1), "plain_loss": np.array([1.5]), "bayes_loss": np.full(1, 0.25)}
    history.append(Frame(0, 100, {**values, **fixed, "theory_answers": np.ones((1, 200))}, np.full(1, -1)))
    history.append(Frame(40, 100, {**values, "test_loss": np.array([1.05])}, np.full(1, -1)))
    return history


def test_the_metrics_of_a_perfect_step():
    config = SHORT.replace(condition=10)
    found = EXPERIMENT.metrics(perfect(config))
    expected = {"loss_ratio": 1.05, "step_ratio": 1, "step_error": 0, "offdiagonal": 0, "value_x": 0, "t_learn": 40}
    for name, value in {**expected, "plain_ratio": 1.5, "spread": EXPERIMENT.predictions["spread"](config)}.items():
        assert found[name] == pytest.approx(value, abs=1e-7), name
    eta = config.theory.eta
    off = EXPERIMENT.metrics(perfect(config, off=3.0))["offdiagonal"]
    assert off == pytest.approx(3 / np.sqrt((eta**2).sum() + 9))


def test_the_figure_shows_dots_on_their_stems_and_no_line_for_a_bayes_loss_of_zero():
    history = perfect(SHORT)
    loss, steps, weights, scatter = EXPERIMENT.panels(history)
    np.testing.assert_allclose(steps.marks[2].y, SHORT.theory.eta)
    np.testing.assert_allclose(steps.marks[0].y[1::3], SHORT.theory.eta)
    assert [mark.y for mark in loss.marks[1:]] == [1]
    noisy = EXPERIMENT.panels(perfect(SHORT.replace(noise_std=1)))[0]
    assert [mark.y for mark in noisy.marks[1:]] == [1, 0.25]
    assert weights.marks[0].z.shape == (4, 5)
    assert weights.marks[0].z[3, 4] == 2
    assert len(scatter.marks[0].x) == 200


@pytest.mark.claims
@pytest.mark.parametrize("preset", ["one_step", "whitened"])
def test_a_fresh_seed_keeps_the_claims_of_its_preset(preset):
    with asking(Asked("eager")):
        config = EXPERIMENT.configure(preset)
        found = EXPERIMENT.metrics(EXPERIMENT.run(config, seeds=(811,)))
    expected = [claim for claim in EXPERIMENT.claims if claim.where(config)]
    assert len(expected) == {"one_step": 4, "whitened": 1}[preset]
    for claim in expected:
        value = claim.value(found, config) if claim.value else found[claim.metric]
        assert claim.bound.holds(value).all(), (claim.id, value)
