from dyntoolkit.errors import InputError, unknown


def test_an_input_error_is_its_sentence_and_names_the_field():
    error = InputError("lr takes a number from 0 to 1, got 7.", "lr")
    assert isinstance(error, ValueError)
    assert str(error) == "lr takes a number from 0 to 1, got 7."
    assert error.field == "lr"
    assert InputError("something else").field == ""


def test_an_unknown_name_gets_the_nearest_one_as_a_suggestion():
    error = unknown("preset", "two_fase", ["two_phase", "no_noise"])
    assert str(error) == "unknown preset 'two_fase'. Did you mean 'two_phase'? Allowed: two_phase, no_noise."
    assert error.field == "two_fase"


def test_nothing_is_suggested_where_nothing_is_near():
    assert str(unknown("field", 12, iter(["lr"]))) == "unknown field '12'. Allowed: lr."
