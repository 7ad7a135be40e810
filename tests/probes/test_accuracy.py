import torch

from dyntoolkit.probes.accuracy import accuracy


def test_accuracy_counts_run_by_run() -> None:
    logits = torch.tensor([[[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    labels = torch.tensor([1, 1, 1])
    assert accuracy(logits, labels).tolist() == [2 / 3, 0]
    assert accuracy(logits, torch.stack([labels, 0 * labels])).tolist() == [2 / 3, 1]
