import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory import table_of as module
from dyntoolkit.laboratory.table_of import table_of

RANDOM = np.random.default_rng(0)
N = 40
X = RANDOM.normal(size=(N, 3))
LABELS = np.arange(N) % 2


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": X[:, 0],
            "kind": ["u", "v"] * 20,
            "when": pd.date_range("2020-01-01", periods=N),
            "count": pd.array([1, 2, None, 4] * 10, dtype="Int64"),
            "price": X[:, 1],
            "flag": LABELS.astype(bool),
        }
    )


def test_a_csv_file(tmp_path):
    path = tmp_path / "shop.csv"
    frame().to_csv(path, index=False)
    for given in (path, str(path)):
        found = table_of(given, target="price")
        assert (found.name, found.target) == ("shop.csv", "price")
        assert found.names == ("a", "kind", "count", "price", "flag")
    with pytest.raises(InputError, match="unknown column 'prize'"):
        table_of(path, target="prize")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"data: '.*nothing.csv' cannot be read \(No such file"):
        table_of(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        table_of(tmp_path)
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(InputError, match=r"has 200\.0 MB: a file of data may have 50 MB at most"):
        table_of(large)


def test_a_frame():
    found = table_of(frame())
    assert found.names == ("a", "kind", "count", "price", "flag")
    assert found.target == "flag"
    assert found.left_out == {"when": "dates or times"}
    assert "Missing values: 'count' (10, the first in row 2)." in found.notes
    assert found.column("kind").categories == ("u", "v")
    np.testing.assert_array_equal(found.column("a").values, X[:, 0])
    with pytest.raises(InputError, match="'when' cannot be learned, it is dates or times"):
        table_of(frame(), target="when")


def test_a_frame_with_columns_of_one_name_and_numbers_in_text():
    given = pd.DataFrame(np.c_[X[:, 0], X[:, 1].astype(str)], columns=["q", "q"])
    found = table_of(given)
    assert found.names == ("q", "q (2)")
    np.testing.assert_allclose(found.column("q (2)").values, X[:, 1])
    assert table_of(pd.DataFrame(X)).names == ("0", "1", "2")


def test_a_frame_and_a_target():
    for given in (LABELS, pd.Series(LABELS, index=range(5, 5 + N)), LABELS.tolist()):
        found = table_of((frame(), given))
        assert found.target == "y"
        assert found.column("y").values.tolist() == LABELS.tolist()
    found = table_of((frame(), pd.Series(LABELS, name="a")))
    assert found.target == "a (2)"
    with pytest.raises(InputError, match="X has 40 samples and y 3"):
        table_of((frame(), [1, 2, 3]))


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", ">f8", "uint8", "int64", ">i2", "longdouble"])
def test_arrays_of_any_kind_of_number(dtype):
    x = (X * 10).astype(dtype)
    found = table_of((x, LABELS.astype(dtype)))
    assert found.names == ("x", "y")
    assert found.column("x").values.dtype.isnative
    np.testing.assert_allclose(found.column("x").values, x.astype(float))
    parts = found.split("y", "classes", 0.25, True, "drop rows")
    assert parts.x.shape == (30, 3)
    assert parts.x.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool])
def test_tensors(dtype):
    x = torch.tensor(X * 10).to(dtype)
    found = table_of((x, torch.tensor(LABELS, dtype=torch.float32, requires_grad=True)))
    np.testing.assert_array_equal(found.column("x").values, x.double().numpy())
    assert found.guess("y") == "classes"


def test_lists_and_texts_as_classes():
    found = table_of([X.tolist(), ["yes", "no"] * 20])
    assert found.column("y").categories == ("no", "yes")
    assert found.column("y").values.tolist() == [1, 0] * 20


def test_arrays_stay_as_they_are_constant_numbers_too():
    images = RANDOM.normal(size=(N, 1, 4, 4))
    images[:, 0, 0, 0] = 0
    parts = table_of((images, X)).split("y", "numbers", 0.25, True, "drop rows")
    assert parts.x.shape == (30, 1, 4, 4)
    assert parts.y.shape == (30, 3)
    flat = table_of((images.reshape(N, 16), X[:, :1]))
    assert flat.column("x").values.shape == (N, 16)
    assert flat.column("y").values.shape == (N,)


def test_what_is_masked_is_missing():
    found = table_of((np.ma.masked_greater(X, 1.0), LABELS))
    assert found.column("x").n_missing == (X > 1).any(1).sum()


def test_a_dataset():
    found = table_of(TensorDataset(torch.randn(N, 1, 4, 4), torch.arange(N) % 3))
    assert found.column("x").values.shape == (N, 1, 4, 4)
    assert found.guess("y") == "classes"


def test_a_table_is_one_already():
    found = table_of(frame())
    assert table_of(found) is found
    assert table_of(found, "price").target == "price"


def test_of_many_samples_some_are_chosen():
    many = RANDOM.normal(size=(20_500, 2))
    found = table_of((many, many[:, 0]))
    assert found.n_rows == 20_000
    np.testing.assert_array_equal(found.column("x").values[:, 0], found.column("y").values)
    assert found.notes == ["Of 20,500 rows 20,000 are used, chosen at random."]


class Stream(IterableDataset):
    def __iter__(self):
        yield 1, 2


class Triples(torch.utils.data.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, row):
        return row, row, row


class Ragged(Triples):
    def __getitem__(self, row):
        return torch.zeros(row + 1), 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "data takes the path of a CSV file, .* got int"),
        (X, "got ndarray"),
        ((X, LABELS, LABELS), "got tuple"),
        ((X, LABELS[:3]), "data: X has 40 samples and y 3, as many are needed"),
        ((X + 1j, LABELS), "X holds complex numbers"),
        ((X, LABELS + 1j), "y holds complex numbers"),
        ((frame().assign(a=X[:, 0] + 1j), LABELS), "the column 'a' holds complex numbers"),
        (([[1], [2, 3]], [1, 2]), "X: its rows differ in length"),
        (([], []), "X takes one entry or more for each sample"),
        ((3.0, LABELS), "X takes one entry or more for each sample"),
        (([["a"]] * N, LABELS), "X holds something that is no number"),
        ((X, np.zeros(N)), "'y' cannot be learned, it is the same in every row"),
        ((X, np.zeros((N, 2, 2))), "y takes one number, or k, for each sample, got the shape .40, 2, 2."),
        (Stream(), "a Dataset without a length"),
        (Triples(), "sample 0 of the Dataset is no pair"),
        (Ragged(), "the samples of the Dataset differ in shape"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(data, message):
    with pytest.raises(InputError, match=message):
        table_of(data)


def test_a_dataset_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 100)
    with pytest.raises(InputError, match="40 samples of 4 numbers are 160, at most 100"):
        table_of(TensorDataset(torch.randn(N, 4), torch.arange(N)))
