"""Names for columns, all different, from what a reader calls them."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count

from dyntoolkit.laboratory.tables import listed

LONGEST = 100  # characters of a name


def column_names(header: Sequence[str]) -> tuple[list[str], list[str]]:
    """A name for each column and notes on those that had to be changed.

    Names keep their text, on one line and no longer than 100 characters.

    >>> column_names(["a", "", "a"])[0]
    ['a', 'column 2', 'a (2)']
    """
    given = [re.sub(r"[\s\x00-\x1f\x7f]+", " ", cell).strip()[:LONGEST] for cell in header]
    reserved = set(given)
    taken: set[str] = set()
    names: list[str] = []
    for k, name in enumerate(given):
        first = name or f"column {k + 1}"
        tried = chain([first], (f"{first} ({copy})" for copy in count(2)))
        names.append(next(each for each in tried if each not in taken and (each == name or each not in reserved)))
        taken.add(names[-1])
    notes = []
    if twice := [name for name, copies in Counter(given).items() if name and copies > 1]:
        notes.append(f"More than one column is called {listed(twice)}: the later ones got a number.")
    if unnamed := [changed for name, changed in zip(given, names, strict=True) if not name]:
        notes.append(f"Without a name: {listed(unnamed)}.")
    return names, notes
