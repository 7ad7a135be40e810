import pytest
import torch
from torch import nn

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.losses import LOSSES
from dyntoolkit.laboratory.own_loss import named_loss, own_loss

R, N, K = 2, 5, 3
OUTPUT = torch.sin(torch.arange(R * N * K * 1.0)).view(R, N, K)
LABELS = torch.arange(R * N).view(R, N) % K
NUMBERS = torch.cos(torch.arange(R * N * K * 1.0)).view(R, N, K)


@pytest.mark.parametrize(
    ("classes", "outputs", "name"),
    [(0, 1, "mse"), (2, 1, "logistic"), (2, 2, "cross_entropy"), (3, 3, "cross_entropy")],
)
def test_the_usual_loss(classes, outputs, name):
    assert named_loss(classes, outputs) == name
    y = torch.zeros(R, N, dtype=torch.int64) if classes else torch.zeros(R, N, 1)
    assert own_loss(None, OUTPUT[..., :outputs], y, classes) is LOSSES[name]


def weighted(output, target):
    return (output.softmax(-1)[:, 0] * (target == 1)).mean()


@pytest.mark.parametrize(
    ("loss", "y", "classes"),
    [
        (nn.functional.cross_entropy, LABELS, K),
        (nn.CrossEntropyLoss(label_smoothing=0.1), LABELS, K),
        (nn.functional.mse_loss, NUMBERS, 0),
        (nn.HuberLoss(), NUMBERS, 0),
        (weighted, LABELS, K),
    ],
)
def test_a_function_of_one_run_is_that_of_each(loss, y, classes):
    found = own_loss(loss, OUTPUT, y, classes)(OUTPUT, y)
    torch.testing.assert_close(found, torch.stack([loss(*pair) for pair in zip(OUTPUT, y, strict=True)]))


@pytest.mark.parametrize(
    ("loss", "y", "classes", "sentence"),
    [
        ("mes", NUMBERS, 0, "unknown loss 'mes'. Did you mean 'mse'"),
        (nn.MSELoss, NUMBERS, 0, r"loss takes one of .*; got <class"),
        (3, NUMBERS, 0, "loss takes one of .*; got 3"),
        ("cross_entropy", NUMBERS, 0, "loss: cross_entropy needs classes, and the targets are numbers: take mse"),
        ("logistic", LABELS, K, "logistic needs two classes and one output, got 3 classes and 3 outputs"),
        ("cross_entropy", LABELS, 4, "it gives 3 outputs for each sample, and there are 4 classes"),
        ("mse", NUMBERS[..., :1], 0, "it gives 3 outputs for each sample, and there are 1 number to learn; for whole"),
        (
            nn.CrossEntropyLoss(reduction="none"),
            LABELS,
            K,
            r"CrossEntropyLoss gives a tensor \(5,\), and must give one",
        ),
        (lambda output, y: 1.0, LABELS, K, "gives a float, and must give one number"),
        (lambda output, y: y.double().mean(), LABELS, K, "gives what does not depend on the output"),
        (lambda output, y: output.mean() * output.mean().item(), LABELS, K, r"takes a number out of a tensor"),
        (
            lambda output, y: (output - y).mean(),
            LABELS,
            K,
            r"fails on output \(5, 3\) and targets \(5,\): RuntimeError",
        ),
    ],
)
def test_what_does_not_fit_is_refused(loss, y, classes, sentence):
    with pytest.raises(InputError, match=sentence):
        own_loss(loss, OUTPUT, y, classes)
