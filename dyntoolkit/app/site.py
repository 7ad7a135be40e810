"""The static site: all notebooks with sliders that move, and the documentation, as files that need no server."""

import io
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from dyntoolkit import __version__, plotly_js
from dyntoolkit.app.gallery import GENERAL, PACKAGE
from dyntoolkit.app.site_data import script
from dyntoolkit.app.site_pages import CHECKOUT, Pages, explored, read_notebook, repository
from dyntoolkit.app.site_runs import grid_of, shown_runs
from dyntoolkit.catalog.registry import find
from dyntoolkit.dashboard.board_html import board_script
from dyntoolkit.errors import InputError, unknown
from dyntoolkit.notebooks_folder import notebooks

MARK = ".dyntoolkit-site"  # the file by which a former site is known
SHARE = PACKAGE / "app" / "share" / "site"
SPHINX: dict[str, Any] = {  # what would stand in a conf.py
    "project": "dyntoolkit",
    "version": __version__,
    "release": __version__,
    "extensions": ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.githubpages", "dyntoolkit.app.sphinx_extension"],
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 3,
    "myst_heading_slug_func": "dyntoolkit.app.sphinx_extension.anchor",
    "nb_execution_mode": "off",
    "nb_remove_code_source": True,
    "default_role": "literal",
    "autodoc_typehints": "none",
    "autodoc_member_order": "bysource",
    "html_theme": "furo",
    "html_title": "dyntoolkit",
    "html_static_path": ["_static"],
    "html_css_files": ["board.css", "site.css"],
    "html_js_files": [("page.js", {"defer": "defer"})],
    "html_math_renderer": "mathml",
    "html_copy_source": False,
    "html_show_search_summary": False,  # for which it would have to read pages, as none may that comes from a disk
    "html_show_copyright": False,
}


def build_site(out: Path, names: Sequence[str], count: int, seeds: int, live: str, tell: Callable[[str], None]) -> None:
    """Build the site in the folder `out`: all of it, or nothing.

    names: of the notebooks (default: all). count: values of each slider; 0: no runs, only the stored pictures.
    seeds: of each run. live: address of a server whose pages the site links to; "" for Binder. tell: of what goes on.

    Raises InputError without a checkout, for unknown names, an address that is none, a folder that holds something else
    or cannot be written, and sources that Sphinx warns of.
    """
    if not (CHECKOUT / "docs").is_dir():
        raise InputError("a site takes a checkout of the repository: its docs are not installed.", "docs")
    paths = _chosen(names)
    if live and not (urlsplit(live).scheme in ("http", "https") and urlsplit(live).hostname):
        raise InputError(
            f"--live takes the address of a server, such as https://example.org/dyn, got {live!r}.", "live"
        )
    with _whole_folder(out) as folder:
        sources = folder / "sources"
        shutil.copytree(SHARE, sources / "_static", ignore=shutil.ignore_patterns("explore.js"))
        _write_scripts(sources / "_static")
        pages = Pages(sources, paths)
        for path in paths:
            pages.write_notebook(path, _write_runs(path, sources / "_static", count, seeds, live, tell))
        pages.write_gallery()
        pages.write_docs()
        _run_sphinx(sources, folder)


def _chosen(names: Sequence[str]) -> list[Path]:
    """The notebooks of these names, or all of them."""
    there = {path.stem: path for path in sorted(notebooks().glob("*.ipynb")) if path.name not in GENERAL}
    for name in names:
        if name not in there:
            raise unknown("notebook", name, there)
    return [path for name, path in there.items() if name in names or not names]


def _write_scripts(static: Path) -> None:
    """What the pages with runs share."""
    (static / "plotly.min.js").write_bytes(plotly_js.source())
    (static / "board.js").write_text(board_script(), encoding="utf-8")
    (static / "board.css").write_text((PACKAGE / "dashboard" / "board.css").read_text(encoding="utf-8"), "utf-8")
    own = (SHARE / "explore.js").read_text(encoding="utf-8").replace("export default ", "")
    (static / "explore.js").write_text(f"(() => {{\n{own}\nglobalThis.dyntoolkitRuns = showRuns;\n}})();\n", "utf-8")


def _write_runs(path: Path, static: Path, count: int, seeds: int, live: str, tell: Callable[[str], None]) -> str:
    """Train what the first experiment of a notebook shows; returns the name of its script, "" without any."""
    name = explored(read_notebook(path))
    if not (name and count):
        return ""
    began = time.perf_counter()
    experiment = find(name)
    grid = grid_of(experiment, count)
    runs = shown_runs(experiment, grid, range(seeds))
    links = [_live_link(path.name, run.link, live) for run in runs]
    (static / f"{path.stem}.js").write_text(script(experiment.title, grid, runs, links, seeds), encoding="utf-8")
    tell(f"{path.stem}: {len(runs)} settings of {name}, {time.perf_counter() - began:.0f} s")
    return f"{path.stem}.js"


def _live_link(notebook: str, query: str, live: str) -> str:
    """The address of a notebook's live page with these settings: on a server, or else on Binder."""
    if live:
        return f"{live.rstrip('/')}/voila/render/{notebook}?{query}"
    path = quote(f"voila/render/notebooks/{notebook}?{query}", safe="")
    return f"https://mybinder.org/v2/gh{urlsplit(repository()).path}/HEAD?urlpath={path}"


def _run_sphinx(sources: Path, folder: Path) -> None:
    """Build the pages, in `folder / "html"`; InputError with the warnings, if there are any."""
    try:
        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace
    except ImportError:
        raise InputError('a site takes Sphinx: pip install "dyntoolkit[docs]".', "docs") from None
    warnings = io.StringIO()
    html, doctrees = folder / "html", folder / "doctrees"
    with docutils_namespace():  # another site may be built in this process
        app = Sphinx(sources, None, html, doctrees, "html", confoverrides=SPHINX, status=None, warning=warnings)
        app.build()
    if warnings.getvalue():
        raise InputError(f"the pages cannot be built: {' '.join(warnings.getvalue().split())}", "site")


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to work in, whose "html" takes the place of `out` at the end, if all went well.

    Raises InputError where `out` holds something else than a former site, and where anything cannot be written.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is no folder.", "out")
    try:
        others = [] if not out.exists() or (out / MARK).is_file() else sorted(path.name for path in out.iterdir())
        if others:
            raise InputError(f"{out} is not empty, and no former site: it holds {others[0]}.", "out")
        work = out.parent / f".{out.name}-{secrets.token_hex(8)}.part"
        work.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.", "out") from None
    try:
        yield work
        (work / "html" / MARK).touch()
        _replace(out, work / "html", work / "former")
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.", "out") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _replace(out: Path, new: Path, former: Path) -> None:
    """Move what is at `out`, if anything, to `former`, and the new folder there; put the old one back if that fails."""
    if out.exists():
        os.rename(out, former)
    try:
        os.rename(new, out)
    except OSError:
        with suppress(OSError):
            os.rename(former, out)
        raise
