import numpy as np
import pytest
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.tables import Column, Split, Table, chosen_rows, listed, table

N = 60
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(3, 2, N)
KIND = np.arange(N) % 3
PRICE = RANDOM.normal(100, 20, N)


def made(*columns: Column, target: str | None = None) -> Table:
    return table("shop.csv", columns, range(len(columns[0].values)), [], target)


def shop(x=X) -> Table:
    return made(Column("x", x), Column("kind", KIND, ("a", "b", "c")), Column("price", PRICE))


def split(found: Table, target: str, task: str, **changed) -> Split:
    return found.split(target, task, **{"test_share": 0.25, "standardize": True, "missing": "drop rows", **changed})


def holes(*rows: int) -> np.ndarray:
    values = X.copy()
    values[list(rows)] = np.nan
    return values


# What is found in the columns.


def test_a_column_knows_its_kind_and_what_it_lacks():
    number, category = Column("x", holes(1, 5)), Column("c", np.array([0, -1, 1]), ("u", "v"))
    assert (number.kind, number.n_missing) == ("number", 2)
    assert (category.kind, category.n_missing) == ("category", 1)
    assert category.known.tolist() == [0, 1]
    assert Column("image", np.array([[[1.0]], [[np.nan]]])).missing.tolist() == [False, True]


@pytest.mark.parametrize("name", ["target", "Label", "CLASS", "y"])
def test_the_target_is_the_column_called_so_or_else_the_last(name):
    assert made(Column(name, PRICE), Column("x", X)).target == name
    assert shop().target == "price"
    assert made(Column("x", X), Column("price", PRICE), target="x").target == "x"


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (Column("odd", np.ones(N)), "the same in every row"),
        (Column("odd", np.full(N, np.nan)), "empty"),
        (Column("odd", np.zeros(N, dtype=np.int64), ("a",)), "the same in every row"),
        (Column("odd", np.arange(N), tuple(map(str, range(N)))), "text that differs in every row"),
    ],
)
def test_columns_of_no_use_are_left_out_and_named(column, why):
    found = made(Column("x", X), column, Column("price", PRICE))
    assert found.names == ("x", "price")
    assert found.left_out == {"odd": why}
    assert f"Left out, {why}: 'odd'." in found.notes
    with pytest.raises(InputError, match=f"'odd' cannot be learned, it is {why}"):
        found.column("odd")


def test_text_of_too_many_kinds_is_left_out():
    many = np.arange(300) % 101
    found = made(
        Column("x", RANDOM.normal(size=300)), Column("t", many, tuple(map(str, range(101)))), Column("y", many * 1.0)
    )
    assert found.left_out == {"t": "text of more than 100 kinds"}


def test_text_of_more_than_twenty_kinds_is_a_target_and_no_feature():
    city = Column("city", np.arange(N) % 25, tuple(f"city {k}" for k in range(25)))
    found = made(Column("x", X), city, Column("price", PRICE))
    assert "Only as a target, for it has more than 20 different texts: 'city'." in found.notes
    assert split(found, "price", "numbers").features == ("x",)
    assert len(split(found, "city", "classes").classes) == 25


def test_missing_and_infinite_numbers_are_said_with_the_first_row():
    values = holes(4, 7)
    values[9], values[11] = np.inf, 1e300
    found = table("d", [Column("x", values), Column("y", PRICE)], range(100, 100 + N), [])
    assert "Infinite or too large, taken as missing: 'x' (2, the first in row 109)." in found.notes
    assert "Missing values: 'x' (4, the first in row 104)." in found.notes
    assert np.isfinite(found.columns[0].known).all()


def test_one_column_is_not_enough():
    with pytest.raises(InputError, match=r"one column only to learn from, 'x'.*Left out, empty: 'e'"):
        made(Column("x", X), Column("e", np.full(N, np.nan)))
    with pytest.raises(InputError, match="no column to learn from"):
        made(Column("a", np.ones(N)))


def test_an_unknown_column_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown column 'prize'\. Did you mean 'price'") as caught:
        shop().column("prize")
    assert caught.value.field == "target"


@pytest.mark.parametrize(
    ("values", "guess"),
    [
        (np.arange(N) % 2, "classes"),
        (np.arange(N) % 2 * 2 - 1, "classes"),
        (np.arange(N) % 12, "classes"),
        (np.arange(N) % 13, "numbers"),  # more than a fifth of the rows
        (np.arange(N) % 2 / 2, "numbers"),
        (np.where(np.arange(N) == 3, np.nan, np.arange(N) % 4), "classes"),
        (PRICE, "numbers"),
        (RANDOM.normal(size=(N, 2)), "numbers"),
    ],
)
def test_a_few_whole_numbers_are_guessed_to_be_classes(values, guess):
    found = made(Column("x", X), Column("y", np.asarray(values, dtype=float)))
    assert found.guess("y") == guess
    assert shop().guess("kind") == "classes"


# Arrays.


def test_numbers_are_standardized_by_the_training_rows_and_turn_back():
    parts = split(shop(), "price", "numbers")
    assert parts.x.dtype == parts.y.dtype == torch.float32
    assert parts.y.shape == (45, 1)
    assert parts.test_y.shape == (15, 1)
    torch.testing.assert_close(parts.x[:, 0].mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(parts.x[:, 0].std(correction=0), torch.tensor(1.0))
    assert abs(parts.test_x[:, 0].mean()) > 1e-3
    back = torch.cat([parts.y, parts.test_y])[:, 0] * parts.target_spread + parts.target_mean
    np.testing.assert_allclose(np.sort(back.numpy()), np.sort(PRICE), rtol=1e-5)


def test_without_standardization_numbers_stay_and_rows_belong_together():
    parts = split(shop(), "price", "numbers", standardize=False)
    nearest = np.abs(parts.x[:, :1].numpy() - X).argmin(1)
    np.testing.assert_allclose(parts.x[:, 0], X[nearest], rtol=1e-6)
    np.testing.assert_allclose(parts.y[:, 0], PRICE[nearest], rtol=1e-6)
    assert (parts.target_mean.item(), parts.target_spread.item()) == (0, 1)


def test_categories_become_one_column_each_and_two_of_them_one():
    parts = split(shop(), "price", "numbers")
    assert parts.features == ("x", "kind = a", "kind = b", "kind = c")
    assert torch.equal(parts.x[:, 1:].sum(1), torch.ones(45))
    two = split(made(Column("c", np.arange(N) % 2, ("no", "yes")), Column("price", PRICE)), "price", "numbers")
    assert two.features == ("c = yes",)
    assert set(two.x.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_classes_are_split_alike(share):
    parts = split(shop(), "kind", "classes", test_share=share)
    assert parts.classes == ("a", "b", "c")
    assert len(parts.test_y) == int(N * share)
    counts = parts.test_y.bincount(minlength=3)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(counts + parts.y.bincount(minlength=3), torch.full((3,), 20))


def test_the_only_row_of_a_class_is_trained_on():
    for position in range(8):
        labels = np.where(np.arange(N) == position, 2, np.arange(N) % 2)
        parts = split(made(Column("x", X), Column("c", labels, ("a", "b", "z"))), "c", "classes", seed=position)
        assert (parts.y == 2).sum() == 1


def test_whole_numbers_as_classes_are_named_by_their_values():
    found = made(Column("x", X), Column("y", np.where(KIND == 1, 7.5, KIND * 1.0)))
    parts = split(found, "y", "classes")
    assert parts.classes == ("0", "2", "7.5")
    assert parts.y.dtype == torch.int64


def test_the_split_depends_on_the_seed_alone():
    one, same, other = (split(shop(), "price", "numbers", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.x, same.x)
    assert not torch.equal(one.x, other.x)


def test_rows_that_lack_a_value_are_dropped_with_a_word():
    parts = split(shop(holes(0, 1, 2)), "price", "numbers")
    assert len(parts.y) + len(parts.test_y) == N - 3
    assert parts.notes == ("3 of 60 rows lack a value and are dropped.",)


def test_or_filled_with_the_mean_of_the_training_rows():
    parts = split(shop(holes(*range(20))), "price", "numbers", missing="fill with the mean", standardize=False)
    assert len(parts.y) + len(parts.test_y) == N
    values, counts = torch.cat([parts.x, parts.test_x])[:, 0].unique(return_counts=True)
    mean = values[counts.argmax()]
    assert counts.max() == 20
    torch.testing.assert_close(parts.x[parts.x[:, 0] != mean, 0].mean(), mean)


def test_a_missing_category_is_filled_with_the_shares_of_all():
    found = made(Column("c", np.where(np.arange(N) < 6, -1, KIND), ("a", "b", "c")), Column("price", PRICE))
    parts = split(found, "price", "numbers", missing="fill with the mean")
    torch.testing.assert_close(torch.cat([parts.x, parts.test_x]).sum(1), torch.ones(N))
    assert len(parts.x[:, 0].unique()) == 3


def test_rows_without_a_target_are_always_dropped():
    found = made(Column("x", X), Column("c", np.where(np.arange(N) < 6, -1, KIND), ("a", "b", "c")))
    parts = split(found, "c", "classes", missing="fill with the mean")
    assert len(parts.y) + len(parts.test_y) == N - 6
    assert parts.y.min() == 0


def test_images_keep_their_shape_and_get_one_mean_and_spread():
    images = RANDOM.normal(5, 3, (N, 2, 4, 4)).astype(np.float32)
    parts = split(made(Column("x", images), Column("y", PRICE)), "y", "numbers")
    assert parts.x.shape == (45, 2, 4, 4)
    assert parts.features == ()
    torch.testing.assert_close(parts.x.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    assert parts.x.mean(0).abs().max() > 1e-3  # no pixel of its own


def test_several_targets():
    both = np.stack([X, 10 * X + 1], 1)
    parts = split(made(Column("x", np.stack([X, PRICE], 1)), Column("y", both)), "y", "numbers")
    assert parts.features == ("x1", "x2")
    assert parts.target_spread[1] / parts.target_spread[0] == pytest.approx(10)
    with pytest.raises(InputError, match="several numbers in each row"):
        split(made(Column("x", X), Column("y", both)), "y", "classes")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "class"}, "unknown task 'class'. Did you mean 'classes'"),
        ({"missing": "drop"}, "Did you mean 'drop rows'"),
        ({"test_share": 0}, "test_share takes a number between 0 and 1, got 0"),
        ({"test_share": 1.0}, "test_share takes a number between 0 and 1"),
        ({"test_share": 0.001}, "test_share: 0.001 of 60 rows leaves none to test on"),
        ({"target": "kind"}, "'kind' holds text .'a', 'b' and 'c'., and numbers are needed"),
        ({"target": "nobody"}, "unknown column"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(changed, message):
    good = {"target": "price", "task": "numbers", "test_share": 0.25, "standardize": True, "missing": "drop rows"}
    with pytest.raises(InputError, match=message):
        shop().split(**{**good, **changed})


def test_more_classes_than_are_taken():
    found = made(Column("x", RANDOM.normal(size=150)), Column("y", RANDOM.normal(size=150)))
    with pytest.raises(InputError, match="'y' has 150 different values in 150 rows; as classes at most 100 are taken"):
        split(found, "y", "classes")


def test_too_few_rows_left_names_the_column_with_most_gaps():
    with pytest.raises(InputError, match=r"rows left: 2, needed: at least 4; 'x' lacks 58 values"):
        split(shop(holes(*range(58))), "price", "numbers")


def test_one_class_left_is_named():
    labels = np.where(np.arange(N) < 6, 1, 0)
    found = made(Column("x", holes(*range(6))), Column("c", labels, ("calm", "storm")))
    with pytest.raises(InputError, match="one class only, 'calm'"):
        split(found, "c", "classes")


def test_no_feature_beside_the_target():
    city = Column("city", np.arange(N) % 25, tuple(f"city {k}" for k in range(25)))
    with pytest.raises(InputError, match="beside 'price' there is no column left"):
        split(made(city, Column("price", PRICE)), "price", "numbers")


# Small things.


def test_rows_are_chosen_in_order_when_there_are_too_many():
    rows, notes = chosen_rows(1000, 100)
    assert len(set(rows.tolist())) == 100
    assert (np.diff(rows) > 0).all()
    assert notes == ["Of 1,000 rows 100 are used, chosen at random."]
    assert chosen_rows(5)[0].tolist() == [0, 1, 2, 3, 4]
    assert chosen_rows(5)[1] == []


def test_of_many_names_five_are_listed():
    assert listed(["a"]) == "'a'"
    assert listed(["a", "b"]) == "'a' and 'b'"
    assert listed(list("abcdefg")) == "'a', 'b', 'c', 'd', 'e' and 2 more"
