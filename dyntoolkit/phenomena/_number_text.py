"""A small text to train a language model on: sums, differences and comparisons of numbers below 500, in words.

It is generated, the same on every machine, and needs no download: 60000 characters of 24 kinds.
"""

from collections.abc import Iterator
from functools import cache

import torch

CHARACTERS = 60000
TRAINING = 54000  # the first so many characters train, the others validate
WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
UNITS, TENS = WORDS.split()[:20], WORDS.split()[20:]


def draws(x: int = 1) -> Iterator[int]:
    """The numbers floor(x / 2^16) of the linear congruential generator x <- (1103515245 x + 12345) mod 2^31."""
    while True:
        x = (1103515245 * x + 12345) % 2**31
        yield x >> 16


def in_words(n: int) -> str:
    """A whole number from 0 to 999 in English: 338 is "three hundred and thirty eight"."""
    if n < 20:
        return UNITS[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f" {UNITS[n % 10]}" if n % 10 else "")
    return f"{UNITS[n // 100]} hundred" + (f" and {in_words(n % 100)}" if n % 100 else "")


def sentence(a: int, b: int, operation: int) -> str:
    """A true sentence about a and b: their sum (operation 0), their difference (1) or which is more (2)."""
    if operation == 0:
        return f"{in_words(a)} plus {in_words(b)} is {in_words(a + b)}."
    if operation == 1:
        return f"{in_words(max(a, b))} minus {in_words(min(a, b))} is {in_words(abs(a - b))}."
    relation = "more than" if a > b else "less than" if a < b else "the same as"
    return f"{in_words(a)} is {relation} {in_words(b)}."


@cache
def text() -> str:
    """One sentence per line about numbers below 500, cut after 60000 characters."""
    lines: list[str] = []
    length = 0
    numbers = draws()
    while length < CHARACTERS:
        a, b, operation = (next(numbers) % k for k in (500, 500, 3))
        lines.append(sentence(a, b, operation) + "\n")
        length += len(lines[-1])
    return "".join(lines)[:CHARACTERS]


@cache
def vocabulary() -> str:
    """The 24 characters of the text, sorted; a character's token is its place here."""
    return "".join(sorted(set(text())))


@cache
def tokens() -> torch.Tensor:
    """The text as tokens, int64 (60000,); do not write into it."""
    place = {character: i for i, character in enumerate(vocabulary())}
    return torch.tensor([place[character] for character in text()], dtype=torch.int64)
