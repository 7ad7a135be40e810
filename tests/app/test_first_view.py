"""A notebook's page before its kernel is there."""

import re

import nbformat.v4 as nb

from dyntoolkit.app.first_view import first_view

PICTURE = nb.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "a figure"})


def view(*cells):
    return str(first_view(nb.new_notebook(cells=list(cells))))


def test_text_pictures_and_words_are_shown_and_code_is_not():
    page = view(
        nb.new_markdown_cell("# Title\n\nA *question*."),
        nb.new_code_cell("secret = 1", outputs=[PICTURE]),
        nb.new_code_cell("", outputs=[nb.new_output("stream", text="three <words>")]),
    )
    assert re.search(r"<h1[^>]*>Title", page)
    assert "<em>question</em>" in page
    assert "data:image/png;base64,iVBORw0KGgo=" in page
    assert 'alt="A stored picture of one run"' in page
    assert "three &lt;words&gt;" in page
    assert "secret" not in page


def test_cells_carry_their_numbers():
    page = view(nb.new_markdown_cell("a"), nb.new_code_cell("b"), nb.new_markdown_cell("c"))
    assert re.findall(r'data-cell="(\d+)"', page) == ["0", "1", "2"]


def test_formulas_are_mathml_and_remember_what_they_were_written_in():
    page = view(nb.new_markdown_cell("Inline $a<b$ and\n\n$$\\frac{1}{x}$$"))
    assert page.count("<math") == 2
    assert "<mfrac>" in page
    assert 'data-tex="a&lt;b"' in page
    assert 'data-display="block"' in page
    assert r'data-tex="\frac{1}{x}"' in page


def test_a_formula_that_is_none_stays_as_it_is_written():
    page = view(nb.new_markdown_cell(r"$\frac{1$"))
    assert r"\frac{1" in page


def test_a_changed_notebook_has_a_changed_page():
    assert "one" in view(nb.new_markdown_cell("one"))
    assert "two" in view(nb.new_markdown_cell("two"))
