"""The generated text."""

import hashlib

import pytest

from dyntoolkit.phenomena._number_text import in_words, sentence, text, tokens, vocabulary


def test_the_text_is_that_of_the_recipe():
    assert hashlib.sha256(text().encode()).hexdigest().startswith("ef5bba1d35e31b50")
    assert len(text()) == 60000
    first = "three hundred and thirty eight plus two hundred and fifty eight is five hundred and ninety six.\n"
    assert text().startswith(first)


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "zero"), (19, "nineteen"), (20, "twenty"), (38, "thirty eight"), (300, "three hundred")],
)
def test_numbers_in_words(n, words):
    assert in_words(n) == words


def test_sentences_are_true():
    assert sentence(2, 3, 0) == "two plus three is five."
    assert sentence(2, 3, 1) == "three minus two is one."
    assert [sentence(a, 3, 2).removesuffix(" three.") for a in (2, 3, 4)] == [
        "two is less than",
        "three is the same as",
        "four is more than",
    ]


def test_tokens_are_places_in_the_vocabulary():
    assert len(vocabulary()) == 24
    assert list(vocabulary()) == sorted(set(text()))
    assert "".join(vocabulary()[token] for token in tokens().tolist()) == text()
