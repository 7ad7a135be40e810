import torch

from dyntoolkit.engine.streams import Stream
from dyntoolkit.laboratory.problem import own_split, shared, with_noisy_targets, with_wrong_labels

N = 4000


def labels(rate, seeds=(0, 1)):
    problem = shared(torch.zeros(N, 2), torch.arange(N) % 3, torch.zeros(1, 2), torch.zeros(1).long(), 3, len(seeds))
    return with_wrong_labels(problem, torch.full((len(seeds),), rate, dtype=torch.float64), Stream(seeds, "noise"))


def test_shared_data_take_no_memory_per_run():
    problem = labels(0.0)
    assert problem.x.shape == (2, N, 2)
    assert problem.x.stride(0) == 0
    assert problem.outputs == 3


def test_each_run_has_its_own_order_of_all_samples_alone_as_among_others():
    x, y = torch.arange(10)[:, None].float(), torch.arange(10)
    problem = own_split(x, y, 6, 10, Stream((0, 1), "split"))
    for r in range(2):
        assert sorted([*problem.y[r].tolist(), *problem.test_y[r].tolist()]) == list(range(10))
    assert problem.y.shape == (2, 6)
    assert torch.equal(problem.x[:, :, 0].long(), problem.y)
    assert torch.equal(problem.test_x[:, :, 0].long(), problem.test_y)
    assert not torch.equal(problem.y[0], problem.y[1])
    assert torch.equal(own_split(x, y, 6, 10, Stream((1,), "split")).y[0], problem.y[1])


def test_a_wrong_label_is_never_the_right_one_and_all_others_are_as_likely():
    problem = labels(1.0)
    shift = (problem.y - problem.clean) % 3
    assert set(shift.unique().tolist()) == {1, 2}
    assert abs((shift == 1).double().mean() - 0.5) < 0.03


def test_the_share_of_wrong_labels_and_their_nesting():
    few, many = labels(0.2), labels(0.5)
    wrong = [problem.y != problem.clean for problem in (few, many)]
    assert [abs(each.double().mean() - rate) < 0.02 for each, rate in zip(wrong, (0.2, 0.5), strict=True)] == [True] * 2
    assert (wrong[1] | ~wrong[0]).all()
    assert torch.equal(few.y[wrong[0]], many.y[wrong[0]])
    assert torch.equal(labels(0.2, (1,)).y[0], few.y[1])  # alone as among others
    assert not torch.equal(few.y[0], few.y[1])


def test_noise_on_targets():
    clean = torch.ones(N, 2)
    problem = shared(torch.zeros(N, 1), clean, torch.zeros(1, 1), torch.zeros(1, 2), 0, 2)
    noisy = with_noisy_targets(problem, torch.tensor([0.0, 0.5]), Stream((3, 3), "noise"))
    assert torch.equal(noisy.y[0], clean)
    assert abs(noisy.y[1].std() - 0.5) < 0.02
    assert noisy.outputs == 2
    assert noisy.test_y is problem.test_y
