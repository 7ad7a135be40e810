from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.laboratory.column_names import column_names


@given(st.lists(st.text("ab ()2\n", max_size=6), min_size=1, max_size=8))
def test_all_names_differ_and_the_first_of_a_name_keeps_it(header):
    names, _ = column_names(header)
    assert len(set(names)) == len(names) == len(header)
    given_names = [" ".join(cell.split()) for cell in header]
    for k, name in enumerate(given_names):
        if name and name not in given_names[:k]:
            assert names[k] == name


def test_changes_are_said():
    names, notes = column_names(["a", "a", "", "a (2)"])
    assert names == ["a", "a (3)", "column 3", "a (2)"]
    assert notes == ["More than one column is called 'a': the later ones got a number.", "Without a name: 'column 3'."]


def test_text_stays_text_on_one_line():
    names, notes = column_names(["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "two\nlines\x07", "x" * 500])
    assert names == ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "two lines", "x" * 100]
    assert notes == []
