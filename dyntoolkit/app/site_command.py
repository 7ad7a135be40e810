"""`dyntoolkit site`."""

import argparse
import os
import time
from pathlib import Path

from dyntoolkit.errors import InputError, whole_number

MOST_VALUES, MOST_SEEDS = 9, 20


def site_options(site: argparse.ArgumentParser) -> None:
    """The options of `dyntoolkit site`."""
    site.add_argument("out", metavar="OUT", help="folder of the site; a former one is replaced")
    site.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as label_noise (default: all)")
    site.add_argument(
        "--values",
        metavar="N",
        default="5",
        help="values of each slider: up to 5 for two sliders, up to 9 for one; 0: pictures only (default: 5)",
    )
    site.add_argument("--seeds", metavar="N", default="3", help="seeds of each run (default: 3)")
    site.add_argument("--live", metavar="URL", default="", help="a server whose pages are linked to (default: Binder)")


def site_command(options: argparse.Namespace) -> int:
    """Build the site, and say how it goes on and where it is."""
    values = whole_number("--values", options.values, 0, MOST_VALUES)
    if values == 1:
        raise InputError("--values 1 would be a slider that cannot move: 0 (pictures only), or 2 and more.", "--values")
    seeds = whole_number("--seeds", options.seeds, 1, MOST_SEEDS)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks this small lose time with more
    from dyntoolkit.app.site import build_site

    began = time.perf_counter()
    build_site(Path(options.out), options.notebooks, values, seeds, options.live, lambda news: print(news, flush=True))
    print(f"The site is in {options.out}, after {time.perf_counter() - began:.0f} s.")
    return 0
