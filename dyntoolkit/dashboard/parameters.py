"""The settings that a notebook's `parameters` cell, papermill or a link asks for."""

import ast
import os
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from IPython.display import HTML, display

from dyntoolkit.catalog.registry import find
from dyntoolkit.dashboard.headless import is_headless, is_voila
from dyntoolkit.engine.streams import check_seeds
from dyntoolkit.errors import InputError, unknown, whole_number
from dyntoolkit.experiment import Experiment

MAX_SEEDS = 32
RUN_NAMES = ("preset", "seed", "n_seeds")
CHOICE = "experiment"  # what names the experiment on the page that shows any
# Parameters of an address beside settings; with a dot, as no field of a Config can be called so.
PIN = "compare.pin"
SPREAD = "compare.spread"
MAP = "compare.map"
STEP = "step"  # at which the time-lapse stands
VIEW = (PIN, SPREAD, MAP, STEP)
SERVER_NAMES = ("token", "voila-template", "voila-theme", "template", "theme")  # of Voila, not of an experiment
CAMPAIGN = "utm_"  # how the names begin that mailings add to a link, to count who follows it
_ADDED = """
    _bta_c _bta_tid _branch_match_id _ga _gl _hsenc _hsmi _ke _kx _openstat __hsfp __hssc __hstc __s ck_subscriber_id
    dclid ef_id epik fb_action_ids fb_action_types fb_ref fb_source fbclid gad_campaignid gad_source gbraid gclid
    gclsrc hsCtaTracking igsh igshid li_fat_id mc_cid mc_eid mibextid mkt_tok ml_subscriber ml_subscriber_hash
    msclkid oly_anon_id oly_enc_id rb_clickid rdt_cid ref ref_src ref_url s_cid s_kwcid ScCid srsltid trk
    trkCampaign ttclid twclid vero_conv vero_id wbraid wickedid xtor yclid
"""
TRACKERS = frozenset(_ADDED.split())  # what mailers, searches, advertisements and social sites add otherwise
MOST_SAID = 6  # sentences about a link
LONGEST_SAID = 300  # characters of each
PAPERMILL_CELL = "# Parameters\n"  # how the cell begins that it injects
PAPERMILL_PATHS = ("PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH")  # injected, too, by `--inject-paths`


def parameters(namespace: Mapping[str, Any], experiment: str | Experiment) -> dict[str, Any]:
    """The arguments for `explore(experiment, ...)` found among the variables of a notebook, a link's on top of them.

    namespace: the notebook's `globals()`, read in the first cell after the one tagged `parameters`. Taken are preset,
    seed, n_seeds and the fields of the experiment's Config; None means "as the preset". The result has only what was
    given, checked. A page's address may set the same: `?preset=fast&lr=0.1`.

    Raises InputError for a wrong value, and for a parameter that papermill has injected and that is none of these: it
    lets one with a typo pass. What a link asks for in vain is left out, and the page says so. A link that names an
    experiment, as those that a dashboard makes, is followed by `explore`.

    >>> parameters({"lr": 0.1, "n": 5}, "label_noise")
    {'lr': 0.1}
    """
    return _arguments(namespace, find(experiment))


def chosen(namespace: Mapping[str, Any], default: str) -> tuple[Experiment, dict[str, Any]]:
    """The experiment that a notebook's variable `experiment`, or a link, names, and its arguments for `explore`.

    For the one page that shows any experiment. What else the link says is followed by `explore`. Raises InputError as
    `parameters` does; a link that names what is not there is not followed, and the page says so.
    """
    experiment = find(namespace.get(CHOICE) or default)
    if CHOICE in (query := dict(address())):
        try:
            return find(query[CHOICE]), {}
        except InputError as problem:
            say_not_followed([str(problem)])
    return experiment, _arguments(namespace, experiment, CHOICE)


def _arguments(namespace: Mapping[str, Any], experiment: Experiment, *others: str) -> dict[str, Any]:
    """What the notebook and its link set; `others` may be set, too, and are none of the experiment's.

    A link that names an experiment is followed by `explore`, where that one is shown.
    """
    allowed = (*RUN_NAMES, *experiment.config.sliders())
    for name in _injected(namespace):
        if name not in (*allowed, *others, *PAPERMILL_PATHS):
            raise unknown("parameter", name, allowed)
    given = {key: namespace[key] for key in allowed if namespace.get(key) is not None}
    _check(experiment, given)
    pairs = address(allowed)
    linked = dict(pairs)
    if CHOICE in linked:
        return given
    view = [name for name in VIEW if name in linked and name not in allowed]
    kept, problems = followed(experiment, {name: linked[name] for name in linked if name not in view}, given)
    problems += [f"{name} takes a link that names its experiment: {CHOICE}={experiment.name}." for name in view]
    say_not_followed(problems + repeated(pairs))
    return given | kept


def followed(
    experiment: Experiment, linked: Mapping[str, str], given: Mapping[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """What of a link's names and values `explore` would take on top of those `given`, and why not the others.

    These are sentences. Where a rule between fields blames none of the link's, none is taken.
    """
    allowed = (*RUN_NAMES, *experiment.config.sliders())
    kept = {name: value for name, value in linked.items() if name in allowed}
    strange = [name for name in linked if name not in allowed]
    problems = [
        str(unknown("parameter", name, allowed)) for name in strange[:MOST_SAID]
    ]  # thousands would take a while
    problems += [f"unknown parameter {name!r}." for name in strange[MOST_SAID:]]
    if "preset" in kept and kept["preset"] not in experiment.presets:
        problems.append(str(unknown("preset", kept.pop("preset"), experiment.presets)))
    while kept:
        try:
            _check(experiment, {**given, **kept})
            break
        except InputError as problem:
            problems.append(str(problem))
            for name in [problem.field] if problem.field in kept else list(kept):
                del kept[name]
    return kept, problems


def repeated(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """What a link says more than once, a sentence each; pinned runs may be many."""
    last = dict(pairs)
    counts = Counter(name for name, _ in pairs if name != PIN)
    names = [name for name, count in counts.items() if count > 1]
    return [f"{name!r} stands {counts[name]:,} times in it: the last counts, {last[name]!r}." for name in names]


def say_not_followed(problems: Sequence[str]) -> None:
    """Say in the page, a sentence each, what of its address is not followed; nothing where all is."""
    if not problems:
        return
    said = [textwrap.shorten(problem, LONGEST_SAID, placeholder=" …") for problem in problems[:MOST_SAID]]
    if len(problems) > MOST_SAID:
        said.append(f"And {len(problems) - MOST_SAID} more.")
    first, *others = map(escape, said)
    lines = [f"<b>Not followed in this link:</b> {first}", *others]
    display(HTML(f'<div role="alert">{"".join(f"<p>{line}</p>" for line in lines)}</div>'))  # type: ignore[no-untyped-call]


def _check(experiment: Experiment, given: Mapping[str, Any]) -> None:
    """InputError unless `explore` would take these arguments."""
    changes = {key: value for key, value in given.items() if key not in RUN_NAMES}
    experiment.configure(given.get("preset"), **changes)
    run_seeds(given.get("seed", 0), given.get("n_seeds", 1))


def run_seeds(seed: object, n_seeds: object) -> tuple[int, ...]:
    """The seeds seed, seed + 1, ...; InputError for what are no whole numbers or too many."""
    count = whole_number("n_seeds", n_seeds, 1, MAX_SEEDS)
    (first,) = check_seeds([seed])
    return check_seeds(range(first, first + count))


def _injected(namespace: Mapping[str, Any]) -> list[str]:
    """The names that papermill's own cell assigns, which follows the one tagged `parameters`; none in a live one."""
    if not is_headless():
        return []
    cells = [ast.parse(source) for source in namespace.get("In", ()) if source.startswith(PAPERMILL_CELL)]
    nodes = [node for cell in cells for node in cell.body if isinstance(node, ast.Assign)]
    return [target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)]


def address(fields: Collection[str] = ()) -> list[tuple[str, str]]:
    """The names and values in the address of a Voila page, but the server's own and what sites add to a link.

    fields: names that are taken in any case.
    """
    query = os.environ.get("QUERY_STRING", "") if is_voila() else ""
    pairs = parse_qsl(query, keep_blank_values=True)
    return [(name, value) for name, value in pairs if name in fields or not _is_added(name)]


def names_none() -> bool:
    """Whether the page's address says something, and not of which experiment."""
    names = [name for name, _ in address()]
    return bool(names) and CHOICE not in names


def _is_added(name: str) -> bool:
    return name in SERVER_NAMES or name in TRACKERS or name.startswith(CAMPAIGN)
