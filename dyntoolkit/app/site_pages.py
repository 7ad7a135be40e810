"""The sources of the static site's pages: notebooks as they are stored, docs, and what is made from the code."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import metadata
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from dyntoolkit.app.gallery import HANDS, INDEX, PACKAGE, card_of, cards_html
from dyntoolkit.app.site_reference import claims_reference, names_reference
from dyntoolkit.catalog.registry import experiments

PAGES: dict[str, Callable[[], str]] = {  # those about the toolkit, in order; some end with what is made from the code
    "use": lambda: "",
    "experiments": lambda: "",
    "contribute": lambda: "",
    "claims": lambda: claims_reference(experiments()),
    "api": names_reference,
}
CHECKOUT = PACKAGE.parent  # holds README.md and the prose in docs/, which no installed package has
EXPLORES = re.compile(r"""explore\(\s*["']([\w.]+)["']""")
SECTION = re.compile(r"<!-- (\S+): (.+) -->")
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
NOTE = (  # below a page's heading: what its text says of buttons is meant for the live one
    "*Nothing trains on this page: its first figure moves over runs that were trained beforehand, the others are "
    "stored pictures. Names to press are on the live page.*"
)
GALLERY_NOTE = (
    "*Nothing trains on this site: in each notebook the first figure moves over runs that were trained beforehand, and "
    "a link beside it leads to the page that trains.*"
)
SCRIPTS = ("plotly.min.js", "board.js", "explore.js")  # of a page with runs, before the runs themselves


def explored(notebook: NotebookNode) -> str:
    """The name of the first experiment that a notebook explores; "" if it explores none."""
    found = (EXPLORES.search(cell.source) for cell in notebook.cells if cell.cell_type == "code")
    return next((match[1] for match in found if match), "")


class Pages:
    """Writes sources into `folder`. notebooks: those that become pages, beside the gallery."""

    def __init__(self, folder: Path, notebooks: Sequence[Path]) -> None:
        self._folder = folder
        self._notebooks = notebooks

    def write_gallery(self) -> None:
        """The first page: the text of the notebook INDEX, a card for each notebook, and what the site consists of."""
        notebook = read_notebook(self._notebooks[0].parent / INDEX)
        cards = [replace(card_of(path), link=f"{path.stem}.html") for path in self._notebooks]
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(GALLERY_NOTE))  # type: ignore[no-untyped-call]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = self._linked(cell.source, "notebooks")
            elif cell.outputs:
                cell.outputs = [_html_output(cards_html(cards))]
        for caption, names in (("Notebooks", [path.stem for path in self._notebooks]), ("About", list(PAGES))):
            lines = "\n".join(names)
            toctree = f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```"
            notebook.cells.append(nbformat.v4.new_markdown_cell(toctree))  # type: ignore[no-untyped-call]
        self._write(INDEX, notebook)

    def write_notebook(self, path: Path, runs: str) -> None:
        """A notebook's stored text and pictures. runs: the script of its first experiment's runs; "" without any."""
        notebook = read_notebook(path)
        if runs:
            notebook.cells.insert(1, nbformat.v4.new_markdown_cell(NOTE))  # type: ignore[no-untyped-call]
        first = True
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = self._linked(cell.source, "notebooks")
                continue
            cell.metadata["mystnb"] = {"image": {"alt": "A stored picture of one run"}}
            if first and EXPLORES.search(cell.source):
                first = False
                if runs:
                    cell.outputs.insert(0, _html_output(_figure(runs)))
        self._write(path.name, notebook)

    def write_docs(self) -> None:
        """The pages about the toolkit."""
        for name, made in PAGES.items():
            text = (CHECKOUT / "docs" / f"{name}.md").read_text(encoding="utf-8")
            text = SECTION.sub(lambda found: self._section(found[1], found[2]), text)
            (self._folder / f"{name}.md").write_text(f"{text}\n{made()}", encoding="utf-8")

    def _section(self, file: str, heading: str) -> str:
        """The section of a file of the repository that has this heading, up to the next one."""
        text = (CHECKOUT / file).read_text(encoding="utf-8")
        found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        if found is None:
            raise ValueError(f"{file} has no section {heading!r}")
        return self._linked(found[0], "")

    def _linked(self, text: str, folder: str) -> str:
        """Markdown whose links lead to pages of the site, or else to the repository; pictures come along."""

        def there(found: re.Match[str]) -> str:
            before, target, after = found.groups()
            if re.match(r"\w+:", target):
                return found[0]
            path = Path(folder, target)
            if path.parent.name == "notebooks" and path.name in [INDEX, *(path.name for path in self._notebooks)]:
                return f"{before}{path.name}{after}"
            if before.startswith("!"):
                shutil.copy(CHECKOUT / path, self._folder)
                return f"{before}{path.name}{after}"
            return f"{before}{repository()}/blob/HEAD/{path.as_posix()}{after}"

        return LINK.sub(there, text)

    def _write(self, name: str, notebook: NotebookNode) -> None:
        (self._folder / name).write_text(nbformat.writes(notebook), encoding="utf-8")  # type: ignore[no-untyped-call]


def read_notebook(path: Path) -> NotebookNode:
    """A notebook without the cells for a reader who writes code."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells = [cell for cell in notebook.cells if HANDS not in cell.metadata.get("tags", ())]
    return notebook


def repository() -> str:
    """The address of the repository, as the package's metadata say."""
    links = dict(line.split(", ", 1) for line in metadata("dyntoolkit").get_all("Project-URL") or ())
    address: str = links["Repository"]
    return address


def _html_output(html: str) -> NotebookNode:
    output: NotebookNode = nbformat.v4.new_output("display_data", {"text/html": html})  # type: ignore[no-untyped-call]
    return output


def _figure(runs: str) -> str:
    """Where the figure with sliders goes, and the scripts that draw it, which are run one after the other."""
    scripts = "\n".join(f'<script defer src="_static/{name}"></script>' for name in (*SCRIPTS, runs))
    return f'<div id="dyn-explore"></div>\n{scripts}'
