"""One page about a run, to print or to send: settings, figure, claims with their numbers, versions, what to cite."""

import base64
from collections.abc import Collection, Sequence

from markupsafe import Markup

from dyntoolkit.catalog.citation import bibtex
from dyntoolkit.catalog.provenance import Provenance
from dyntoolkit.dashboard.board_html import HERE, TEMPLATES
from dyntoolkit.dashboard.claims_view import claims_html
from dyntoolkit.dashboard.link import nearest_preset
from dyntoolkit.dashboard.snippets import rerun_snippet
from dyntoolkit.engine.history import History
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, value_words
from dyntoolkit.experiment.judging import Verdict
from dyntoolkit.experiment.words import divergence_words, metrics_words, seeds_words
from dyntoolkit.figure.plotly_figure import describe
from dyntoolkit.figure.still import still_svg

MOST_METRICS = 40  # that are listed where there are no claims


def report_html(
    experiment: Experiment, history: History, verdicts: Sequence[Verdict], made: Provenance, head: str = ""
) -> str:
    """The page, in one file, for A4. verdicts: on the run, with controls if they ran."""
    panels = experiment.panels(history)
    config = history.config
    preset, changes = nearest_preset(experiment, config)
    style = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "report.css"))
    listed = metrics_words(made.metrics) if made.metrics and not experiment.claims else {}
    return TEMPLATES.get_template("report.html").render(
        title=experiment.title,
        question=experiment.question,
        head=Markup(head),
        style=Markup(style),
        seeds=seeds_words(history.seeds),
        rerun=rerun_snippet(experiment),
        how=_how(history),
        trouble=divergence_words(history),
        settings=_settings(config, changes),
        preset=preset,
        figure=base64.b64encode(still_svg(panels, columns=3 if len(panels) > 4 else 2)).decode(),
        figure_words=" ".join(map(describe, panels)),
        claims=Markup(claims_html(experiment.claims, verdicts, note="not judged")) if experiment.claims else "",
        metrics=[(name.replace("_", " "), words) for name, words in list(listed.items())[:MOST_METRICS]],
        several=len(history.seeds) > 1,
        versions=", ".join(f"{name} {version}" for name, version in made.versions.items() if version),
        bibtex=bibtex(experiment),
    )


def _how(history: History) -> str:
    """What was trained, how far, and by what."""
    far = f"{history.total:,} steps" if history.done else f"stopped at step {history.step:,} of {history.total:,}"
    return f"{history.experiment}, {seeds_words(history.seeds)}, {far}, engine {history.engine}."


def _settings(config: Config, differing: Collection[str]) -> list[tuple[str, str, bool]]:
    """Of each field its label, its value in words, and whether it differs."""
    sliders = config.sliders()
    return [(sliders[name].label, value_words(value), name in differing) for name, value in config.asdict().items()]
