import numpy as np
import pytest
import torch

from dyntoolkit.phenomena.condensation.recovery import (
    CLAIMS,
    EXPERIMENT,
    ORDER,
    Config,
    draw_matrix,
    initial_state,
    make_step,
    observed,
    tangent_space,
)

SMALL = Config(steps=1000, student_width=5)


def test_the_optimistic_size_counts_free_parameters():
    assert [Config(rank=r).optimistic for r in (1, 2, 3)] == [7, 12, 15]


def test_the_matrix_has_its_rank_and_norm():
    for rank in (1, 2, 3):
        M = draw_matrix([Config(rank=rank)] * 2, [1, 2])
        assert torch.linalg.matrix_rank(M).tolist() == [rank] * 2
        np.testing.assert_allclose(torch.linalg.matrix_norm(M), 4)


def test_the_first_n_entries_of_the_order_are_observed():
    for n, mask in enumerate(observed(), 1):
        assert set(mask.flatten().nonzero().flatten().tolist()) == set(ORDER[:n])
    row_and_column = torch.zeros(4, 4)
    row_and_column[0, :] = row_and_column[:, 0] = 1
    assert torch.equal(observed()[6].float(), row_and_column)


def test_one_step_is_gradient_descent_on_the_sum_of_squares_for_each_n():
    configs = [Config(init_scale=0.5, lr=0.01), Config(init_scale=0.1, lr=0.03)]
    M, state = draw_matrix(configs, [3, 4]), initial_state(configs, [3, 4])
    after = make_step(configs, M)(state, None)
    assert torch.equal(state.A[:, 0], state.A[:, 15])
    for r, config in enumerate(configs):
        for n in (1, 7, 16):
            A, B = (factor[r, n - 1].clone().requires_grad_() for factor in state)
            places = [divmod(entry, 4) for entry in ORDER[:n]]
            sum((A[i] @ B[:, j] - M[r, i, j]) ** 2 for i, j in places).backward()
            torch.testing.assert_close(after.A[r, n - 1], A.detach() - config.lr * A.grad)
            torch.testing.assert_close(after.B[r, n - 1], B.detach() - config.lr * B.grad)


def test_a_run_alone_equals_the_same_run_among_others_of_other_settings():
    configs = [SMALL, SMALL.replace(lr=0.01), SMALL.replace(init_scale=0.3)]
    history, frames = EXPERIMENT.start(configs, [1, 2, 3])
    for frame in frames:
        history.append(frame)
    alone = EXPERIMENT.run(configs[1], [2])
    np.testing.assert_allclose(alone["mse"][:, 0], history["mse"][:, 1], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(
        alone["generic_spectrum"][:, 0], history["generic_spectrum"][:, 1], rtol=1e-8, atol=1e-12
    )


def test_with_all_entries_the_matrix_is_found_and_with_one_it_is_not():
    history = EXPERIMENT.run(SMALL, [0, 1])
    assert (history.last("mse")[:, 15] < 1e-9).all()
    assert (history.last("mse")[:, 0] > 0.1).all()
    M = draw_matrix([SMALL], [0])
    assert history["mse"][0, 0, 0] == pytest.approx(float(M.square().mean()), rel=1e-3)


def test_tangent_ranks_of_equal_and_random_neurons():
    found = tangent_space(Config(student_width=3), range(10))
    assert set(found["tangent_condensed"]) == {3}
    assert set(found["tangent_generic"]) <= {7, 8, 9}


def test_the_claims_pool_the_seeds():
    rows = [{"recovered_at": np.array([1.0, 0, 1, 0]), "recovered_below": np.array([0.0, 0, 1, 0])}]
    assert CLAIMS[0].sweep.value(rows) == [0.25]
    assert CLAIMS[1].sweep.value([{"mse_at": np.array([1.0, 4.0, 2.0, 9.0])}]) == [3.0]  # a true median


def test_metrics_look_at_the_optimistic_size():
    history = EXPERIMENT.run(SMALL.replace(rank=2), [0, 1])
    found, mse = EXPERIMENT.metrics(history), history.last("mse")
    np.testing.assert_array_equal(found["mse_at"], mse[:, 11])
    np.testing.assert_array_equal(found["mse_1"], mse[:, 0])
    np.testing.assert_array_equal(found["recovered_at"], mse[:, 11] < 1e-2)
    np.testing.assert_array_equal(found["recovered_below"], mse[:, 10] < 1e-2)


def test_the_figure_of_a_sweep_shows_shares():
    history = EXPERIMENT.run(SMALL, [0, 1])
    found = EXPERIMENT.metrics(history)
    rows = {(SMALL, seed): {name: float(values[r]) for name, values in found.items()} for r, seed in enumerate((0, 1))}
    rows[SMALL.replace(init_scale=1.0), 0] = rows[SMALL, 0]
    share, _ = EXPERIMENT.sweep_panels(rows)
    small, large, _ = share.marks
    assert "2 seeds" in small.name
    assert "scale 1, 1 seeds" in large.name
    np.testing.assert_array_equal(small.y, (history.last("mse") < 1e-2).mean(0))
