import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.own_data import own_data

N = 30
X = np.sin(np.arange(N * 4.0)).reshape(N, 4)
LABELS = np.arange(N) % 3
NUMBERS = X.sum(1)


def rows(x):
    return {tuple(np.round(row, 5)) for row in np.asarray(x, dtype=np.float64).reshape(len(x), -1)}


@pytest.mark.parametrize(
    "inputs",
    [
        X,
        X.astype(">f8"),
        X.tolist(),
        torch.tensor(X),
        torch.tensor(X, requires_grad=True),
        X.reshape(N, 1, 2, 2),
        pd.DataFrame(X).to_numpy(),
    ],
)
def test_arrays_are_taken_as_they_are_and_a_fifth_is_kept_for_the_test(inputs):
    data = own_data((inputs, LABELS), None, None)
    assert (data.x.dtype, data.y.dtype, data.classes) == (torch.float32, torch.int64, 3)
    assert len(data.x) == 24
    assert (
        data.x.shape[1:]
        == data.test_x.shape[1:]
        == np.shape(inputs.detach() if torch.is_tensor(inputs) else inputs)[1:]
    )
    assert rows(data.x) | rows(data.test_x) == rows(X)
    assert not rows(data.x) & rows(data.test_x)
    assert np.bincount(data.test_y).tolist() == [2, 2, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.int64, bool, ">i2", ">f4"])
def test_numbers_of_any_kind(dtype):
    x = (np.arange(N * 4) % 7).reshape(N, 4).astype(dtype)
    data = own_data((x, LABELS.astype(">i4")), None, None)
    assert rows(data.x) | rows(data.test_x) == rows(x)


def test_a_dataset_and_half_precision():
    tensors = torch.tensor(X, dtype=torch.bfloat16), torch.tensor(LABELS)
    data = own_data(TensorDataset(*tensors), None, None)
    assert rows(data.x) | rows(data.test_x) == rows(tensors[0].float())


def test_what_to_train_and_what_to_test_on_may_be_given():
    data = own_data((X[:20], LABELS[:20], X[20:], LABELS[20:]), None, None)
    np.testing.assert_allclose(data.x, X[:20], rtol=1e-6)
    np.testing.assert_allclose(data.test_x, X[20:], rtol=1e-6)
    assert data.y.tolist() == LABELS[:20].tolist()
    assert data.test_y.tolist() == LABELS[20:].tolist()
    frames = own_data((pd.DataFrame(X[:20]), pd.Series(LABELS[:20]), pd.DataFrame(X[20:]), LABELS[20:]), None, None)
    assert torch.equal(frames.x, data.x)


def test_words_are_the_same_classes_in_both_parts():
    words = np.array(["c", "a", "b"])[LABELS]
    data = own_data((X[:20], words[:20], X[20:21], words[20:21]), None, None)
    assert (data.classes, data.names) == (3, ("a", "b", "c"))
    assert [data.names[label] for label in data.y] == words[:20].tolist()
    assert [data.names[label] for label in data.test_y] == words[20:21].tolist()
    assert own_data((X[:20], LABELS[:20] * 2, X[20:], LABELS[20:] * 2), None, None).names == ("0", "2", "4")


def test_columns_of_a_frame_are_standardized(tmp_path):
    frame = pd.DataFrame(100 * X + 7, columns=list("abcd")).assign(kind=np.array(["x", "y", "z"])[LABELS])
    data = own_data(frame, "kind", None)
    np.testing.assert_allclose(data.x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(data.x.std(0, correction=0), 1, rtol=1e-4)
    frame.to_csv(tmp_path / "data.csv", index=False)
    from_file = own_data(str(tmp_path / "data.csv"), "kind", None)
    torch.testing.assert_close(from_file.x, data.x)
    assert from_file.notes


@pytest.mark.parametrize(
    ("y", "loss", "classes"),
    [
        (LABELS, None, 3),
        (LABELS, "cross_entropy", 3),
        (LABELS, "mse", 0),
        (LABELS, nn.functional.cross_entropy, 3),
        (LABELS % 2 == 0, None, 2),
        (NUMBERS, None, 0),
        (NUMBERS, "mse", 0),
        (np.sign(NUMBERS), nn.functional.mse_loss, 0),  # a function of the reader's own gets the numbers as they are
        (np.eye(3)[LABELS], "mse", 0),
        (np.array(["a", "b", "c"])[LABELS], "mse", 3),
    ],
)
def test_the_loss_says_whether_targets_are_classes(y, loss, classes):
    assert own_data((X, y), None, loss).classes == classes
    assert own_data((X[:20], y[:20], X[20:], y[20:]), None, loss).classes == classes


def test_numbers_have_a_column_for_each_output():
    assert own_data((X, NUMBERS), None, None).y.shape == (24, 1)
    assert own_data((X, np.stack([NUMBERS, -NUMBERS], 1)), None, None).y.shape == (24, 2)
    assert own_data((X, NUMBERS, X, NUMBERS), None, None).test_y.shape == (30, 1)


def test_one_number_for_each_sample_is_a_vector_of_one():
    assert own_data((X[:, 0], NUMBERS), None, None).x.shape == (24, 1)
    assert own_data((X[:, 0], NUMBERS, X[:, 0], NUMBERS), None, None).test_x.shape == (30, 1)


def test_missing_values_are_dropped_with_a_word():
    x = X.copy()
    x[3, 2] = np.nan
    for data in (own_data((x, LABELS), None, None), own_data((x, LABELS, X, LABELS), None, None)):
        assert not data.x.isnan().any()
        assert any("Missing" in note or "lack" in note for note in data.notes)


@pytest.mark.parametrize(
    ("data", "loss", "sentence"),
    [
        ((X, LABELS, X), None, r"data takes \(X, y\) or \(X, y, test_X, test_y\), got 3 things"),
        ((X, LABELS[:5]), None, "30 samples and y 5"),
        ((X, LABELS, X[:, :2], LABELS), None, r"X has the shape \(30, 4\) to train and \(30, 2\) to test"),
        ((X, LABELS, X, LABELS[:3]), None, "30 samples and 3 targets; as many are needed"),
        ((X, LABELS, np.nan * X, LABELS), None, "no row without a missing value is left"),
        (([[1.0], [1.0, 2.0]], [0, 1], X, LABELS), None, "X: its rows differ in length"),
        ((X + 1j, LABELS), None, "X holds complex numbers"),
        (
            (X, np.eye(3)[LABELS]),
            "cross_entropy",
            "needs one class for each sample, and y has 3 numbers: take y.argmax",
        ),
        ((X, NUMBERS), "cross_entropy", "cross_entropy needs classes, words or whole numbers, and y holds"),
        (3, None, "data takes .*, got int"),
        ("nowhere.csv", None, "nowhere.csv"),
    ],
)
def test_what_cannot_be_learned_is_refused(data, loss, sentence):
    with pytest.raises(InputError, match=sentence):
        own_data(data, None, loss)
