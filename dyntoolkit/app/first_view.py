"""A notebook as it is stored, as HTML: what a page shows at once, before its kernel is there."""

import json
from functools import lru_cache
from html import escape
from typing import Any

import nbformat
from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

NO_WORDS = "No description has been provided for this image"  # nbconvert's
TEMPLATE = """
{%- extends 'lab/base.html.j2' -%}
{%- block any_cell -%}
<div class="dyn-cell" data-cell="{{ loop.index0 }}">{{ super() }}</div>
{%- endblock any_cell -%}
{%- block footer %}{% endblock footer -%}
"""


def first_view(notebook: NotebookNode) -> Markup:
    """The cells of a notebook as stored: text, formulas (MathML), outputs; no code. Made once for each notebook."""
    return Markup(_html(json.dumps({"cells": notebook.cells, "metadata": notebook.metadata})))


@lru_cache(maxsize=64)
def _html(notebook: str) -> str:
    stored = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {"nbformat": 4, "nbformat_minor": 5, **json.loads(notebook)}
    )
    exporter = _Stored(  # type: ignore[no-untyped-call]
        raw_template=TEMPLATE, exclude_input=True, exclude_output_prompt=True
    )
    return str(exporter.from_notebook_node(stored)[0]).replace(NO_WORDS, "A stored picture of one run")


class _Stored(HTMLExporter):
    """nbconvert's pages without a head, with formulas that a browser shows without a library."""

    def markdown2html(self, context: Any, source: str) -> str:
        """The HTML of a text cell."""
        return str(MarkdownWithMath(renderer=_WithMathML(escape=False)).render(source))

    markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg  # type: ignore[attr-defined]


class _WithMathML(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return _formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return _formula(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")


def _formula(tex: str, display: str) -> str:
    """A formula as MathML; the page sets it again with MathJax, from what it was written in, once that is there."""
    mathml = convert(tex, display=display)
    return f'<span class="dyn-tex" data-tex="{escape(tex)}" data-display="{display}">{mathml}</span>'
