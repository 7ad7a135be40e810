"""BibTeX of the paper that an experiment tests and of the toolkit, without a network.

Authors and title of a paper stand where a reader looks for them, among the references of the notebooks.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Iterator

from dyntoolkit import __version__
from dyntoolkit.experiment import Experiment
from dyntoolkit.notebooks_folder import notebooks

ADDRESS = "https://github.com/dyntoolkit/dyntoolkit"
TITLE = "dyntoolkit: interactive notebooks for the training dynamics of small neural networks"
# - T. Zhang, J. Yan, *Its title*, [arXiv:2603.10397](https://arxiv.org/abs/2603.10397): what is tested of it
REFERENCE = re.compile(r"^- ([^*\[]+?)(?: \d{4})?, \*([^*]+)\*,[^\[]*\[(?:arXiv:)?(\d{4}\.\d{4,5})\]", re.MULTILINE)
SPECIAL = re.compile(r"([&%$#_{}])")


def bibtex(experiment: Experiment) -> str:
    """The entries to cite: that of the paper, if the experiment names one, and that of the toolkit."""
    toolkit = {
        "title": f"{{{TITLE}}}",
        "author": "{The dyntoolkit founders}",
        "version": __version__,
        "url": ADDRESS,
        "license": "BSD-3-Clause",
    }
    return "\n".join(
        [*([_paper(experiment.paper)] if experiment.paper else []), _entry("software", "dyntoolkit", toolkit)]
    )


def _paper(number: str) -> str:
    authors, title = references().get(number, ("", ""))
    names = [] if not authors else re.split(r", | and ", authors.replace(" et al.", ", others"))
    year = f"20{number[:2]}"
    fields = {"title": f"{{{_escaped(title)}}}", "author": " and ".join(map(_escaped, names))} if title else {}
    fields |= {"year": year, "eprint": number, "archivePrefix": "arXiv", "url": f"https://arxiv.org/abs/{number}"}
    return _entry("misc", f"{_key(names[0])}{year}" if names else f"arXiv{number}", fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text.strip())


def _key(author: str) -> str:
    """The last name in plain letters."""
    letters = unicodedata.normalize("NFKD", author.split()[-1])
    return re.sub(r"[^a-z]", "", letters.lower())


@functools.cache
def references() -> dict[str, tuple[str, str]]:
    """The papers that the toolkit's notebooks refer to: arXiv number -> authors and title."""
    found: dict[str, tuple[str, str]] = {}
    for text in _prose():
        for authors, title, number in REFERENCE.findall(text):
            found.setdefault(number, (authors, title))
    return found


def _prose() -> Iterator[str]:
    for path in sorted(notebooks().glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield "".join(cell["source"])
