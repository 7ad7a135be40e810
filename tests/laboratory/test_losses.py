import pytest
import torch
from torch.nn import functional

from dyntoolkit.laboratory.losses import LOSSES, cross_entropy, logistic, mse, right

GENERATOR = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(3, 7, 4, generator=GENERATOR)
CLASSES = torch.randint(0, 4, (3, 7), generator=GENERATOR)
NUMBERS = torch.randn(3, 7, 4, generator=GENERATOR)


def test_as_torch_run_by_run():
    for r in range(3):
        torch.testing.assert_close(mse(OUTPUT, NUMBERS)[r], functional.mse_loss(OUTPUT[r], NUMBERS[r]))
        one_hot = functional.one_hot(CLASSES[r], 4).float()
        torch.testing.assert_close(mse(OUTPUT, CLASSES)[r], functional.mse_loss(OUTPUT[r], one_hot))
        torch.testing.assert_close(cross_entropy(OUTPUT, CLASSES)[r], functional.cross_entropy(OUTPUT[r], CLASSES[r]))
        label, only = CLASSES[r] % 2, OUTPUT[r, :, 0]
        expected = functional.binary_cross_entropy_with_logits(only, label.float())
        torch.testing.assert_close(logistic(OUTPUT[:, :, :1], CLASSES % 2)[r], expected)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_one_number_per_run(loss):
    outputs = OUTPUT[:, :, :1] if loss is logistic else OUTPUT
    assert loss(outputs, CLASSES % 2).shape == (3,)


def test_right_by_the_largest_output_or_the_sign_of_the_only_one():
    assert torch.equal(right(OUTPUT, CLASSES), OUTPUT.argmax(2) == CLASSES)
    assert torch.equal(right(OUTPUT[:, :, :1], CLASSES % 2), (OUTPUT[:, :, 0] > 0) == (CLASSES % 2 == 1))
