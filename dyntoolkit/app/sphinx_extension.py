"""What Sphinx is told of our pages: formulas are MathML, which browsers show without a library, and docstrings are
plain text but for their `names` and examples.
"""

import re
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from latex2mathml.converter import convert

LITERAL = re.compile(r"(`[^`]*`)")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    app.connect("autodoc-process-docstring", lambda *event: _escape(event[-1]))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def anchor(heading: str) -> str:
    """What a link to a heading says, in notebooks."""
    return heading.strip().replace(" ", "-")


def _inline(page: Any, formula: nodes.math) -> None:
    page.body.append(convert(formula.astext(), display="inline"))
    raise nodes.SkipNode


def _block(page: Any, formula: nodes.math_block) -> None:
    page.body.append(f'<div class="dyn-formula">{convert(formula.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _escape(lines: list[str]) -> None:
    """Escape, in place, what reStructuredText would take for markup. A docstring's examples are at its end."""
    end = next((k for k, line in enumerate(lines) if line.startswith(">>> ")), len(lines))
    for k in range(end):
        parts = LITERAL.split(lines[k])
        parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
        lines[k] = "".join(parts)
