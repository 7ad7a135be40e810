"""A name that is no markup: what a reader calls columns and classes, for the texts of a figure."""

LONGEST = 30  # characters of a name beside an axis or in a legend
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"})


def literal(name: str, longest: int = LONGEST) -> str:
    """The name as a text of a panel, which shows it character by character: no tag, entity or formula; cut if longer.

    >>> literal("<b>price</b> in $")
    '&lt;b&gt;price&lt;/b&gt; in &#36;'
    """
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.translate(ENTITIES)
