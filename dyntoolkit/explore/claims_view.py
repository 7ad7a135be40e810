"""The claims of a run in words, with their numbers, thresholds and controls."""

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from dyntoolkit.claims import Claim
from dyntoolkit.judge import HERE, ControlVerdict, Verdict

PENDING = "judged at the end of the run"
FURTHER = "needs further runs: press “Run the negative controls”"
HOLDS, FAILS, ELSEWHERE = "holds", "does not hold", "not expected here"
MARKS = {HOLDS: "✓", FAILS: "✗", ELSEWHERE: "–"}


def verdict_words(verdict: Verdict) -> str:
    """One of `holds`, `does not hold`, `not expected here`."""
    if not verdict.expected:
        return ELSEWHERE
    return HOLDS if verdict.passed else FAILS


def claims_text(verdicts: Iterable[Verdict]) -> str:
    """One line per claim and control without measured numbers, which differ between machines in their last digits."""
    lines = []
    for verdict in verdicts:
        words = verdict_words(verdict)
        place = "" if verdict.where == HERE else f" ({verdict.where})"
        lines.append(f"{MARKS[words]} {verdict.id} {words}{place}: {verdict.statement}")
        lines += [f"    {_mark(control)} control: {control.label}" for control in verdict.controls]
    return "\n".join(lines)


def _mark(control: ControlVerdict) -> str:
    if not control.confirmed:
        return f"{MARKS[ELSEWHERE]} not judged"
    return f"{MARKS[HOLDS]} as it must be" if control.passed else f"{MARKS[FAILS]} not as it must be"


def claims_html(claims: Sequence[Claim], verdicts: Sequence[Verdict] = (), note: str = PENDING) -> str:
    """All claims as a list; `note` stands in for the verdict where there is none yet."""
    judged = {verdict.id: verdict for verdict in verdicts}
    items = []
    for claim in claims:
        if claim.id in judged:
            items.append(_judged(judged[claim.id]))
        else:
            waiting = FURTHER if judged else note
            items.append(_item("waiting", "…", claim.statement, waiting, ""))
    return f'<ul class="dyn-claim-list">{"".join(items)}</ul>'


def _judged(verdict: Verdict) -> str:
    words = verdict_words(verdict)
    place = "" if verdict.where == HERE else f" ({verdict.where})"
    numbers = f"{numbers_words(verdict.value)}; threshold {verdict.threshold}{place}"
    if len(verdict.holds) > 1:
        numbers += f"; inside for {sum(verdict.holds)} of {len(verdict.holds)} seeds"
    if verdict.note:
        numbers += f". {verdict.note}"
    controls = "".join(f"<li>{escape(control_words(control))}</li>" for control in verdict.controls)
    below = f'<ul class="dyn-control-list">{controls}</ul>' if controls else ""
    kind = {HOLDS: "holds", FAILS: "fails", ELSEWHERE: "elsewhere"}[words]
    return _item(kind, f"{MARKS[words]} {words}", verdict.statement, numbers, below)


def _item(kind: str, mark: str, statement: str, numbers: str, below: str) -> str:
    return (
        f'<li class="dyn-claim dyn-{kind}"><span class="dyn-mark">{escape(mark)}</span> '
        f"<span>{escape(statement)}</span> "
        f'<span class="dyn-numbers">{escape(numbers)}</span>{below}</li>'
    )


def control_words(control: ControlVerdict) -> str:
    """What a control run showed, and whether it is what a control must show."""
    if control.note and not control.confirmed:
        return f"control {control.label}: {control.note}"
    value = numbers_words(control.value) if control.mean is None else f"mean {number_words(control.mean)}"
    return f"control {control.label}: {value}; must be {control.threshold}: {_mark(control)}"


def numbers_words(values: Sequence[float]) -> str:
    """The value of one seed, or median and range over several."""
    known = [value for value in values if not math.isnan(value)]
    if len(values) == 1 or not known:
        return number_words(values[0] if values else math.nan)
    middle = number_words(float(np.median(known)))
    return f"median {middle} [{number_words(min(known))}, {number_words(max(known))}]"


def number_words(value: float) -> str:
    """Three significant digits; NaN is "never"."""
    return "never" if math.isnan(value) else f"{value:.3g}"
