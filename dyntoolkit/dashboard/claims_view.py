"""The claims of a run as a list on a page, and as text for a stored notebook."""

from collections.abc import Iterable, Sequence
from html import escape

from dyntoolkit.experiment.claims import Claim
from dyntoolkit.experiment.judging import HERE, ControlVerdict, Verdict
from dyntoolkit.experiment.words import (
    ELSEWHERE,
    FAILS,
    HOLDS,
    MARKS,
    control_words,
    numbers_words,
    verdict_words,
)

PENDING = "judged at the end of the run"
FURTHER = "needs further runs: press “Run the negative controls”"
CONTROL_MARKS = {HOLDS: "as it must be", FAILS: "not as it must be", ELSEWHERE: "not judged"}


def claims_text(verdicts: Iterable[Verdict]) -> str:
    """One line per claim and control without measured numbers, which differ between machines in their last digits."""
    lines = []
    for verdict in verdicts:
        words = verdict_words(verdict)
        place = "" if verdict.place == HERE else f" ({verdict.place})"
        lines.append(f"{MARKS[words]} {verdict.id} {words}{place}: {verdict.statement}")
        lines += [f"    {_mark(control)} control: {control.label}" for control in verdict.controls]
    return "\n".join(lines)


def _mark(control: ControlVerdict) -> str:
    words = control_words(control)
    return f"{MARKS[words]} {CONTROL_MARKS[words]}"


def claims_html(claims: Sequence[Claim], verdicts: Sequence[Verdict] = (), note: str = PENDING) -> str:
    """All claims as a list, those last that are not expected; `note` stands in for the verdict where there is none."""
    judged = {verdict.id: verdict for verdict in verdicts}
    items = []
    for claim in sorted(claims, key=lambda claim: claim.id in judged and not judged[claim.id].expected):
        if claim.id in judged:
            items.append(_judged(judged[claim.id]))
        else:
            waiting = FURTHER if judged else note
            items.append(_item("waiting", "…", claim.statement, waiting, ""))
    return f'<ul class="dyn-claim-list">{"".join(items)}</ul>'


def _judged(verdict: Verdict) -> str:
    words = verdict_words(verdict)
    place = "" if verdict.place == HERE else f" ({verdict.place})"
    numbers = f"{_numbers(verdict)}; threshold {verdict.threshold}{place}"
    if not verdict.value:
        numbers = f"threshold {verdict.threshold}{place}"
    if len(verdict.holds) > 1:
        numbers += f"; inside for {sum(verdict.holds)} of {len(verdict.holds)} seeds"
    if verdict.grounds and not verdict.expected:
        numbers += f"; expected at {verdict.grounds}"
    if verdict.note:
        numbers += f". {verdict.note}"
    controls = "".join(f"<li>{escape(control_text(control))}</li>" for control in verdict.controls)
    below = f'<ul class="dyn-control-list">{controls}</ul>' if controls else ""
    kind = {HOLDS: "holds", FAILS: "fails", ELSEWHERE: "elsewhere"}[words]
    return _item(kind, f"{MARKS[words]} {words}", verdict.statement, numbers, below)


def _numbers(verdict: Verdict | ControlVerdict) -> str:
    """As everywhere, but said what it is where there is room for it."""
    words = numbers_words(verdict.value, verdict.diverged)
    return f"median {words}" if "[" in words else words


def _item(kind: str, mark: str, statement: str, numbers: str, below: str) -> str:
    return (
        f'<li class="dyn-claim dyn-{kind}"><span class="dyn-mark">{escape(mark)}</span> '
        f"<span>{escape(statement)}</span> "
        f'<span class="dyn-numbers">{escape(numbers)}</span>{below}</li>'
    )


def control_text(control: ControlVerdict) -> str:
    """What a control run showed, and whether it is what a control must show."""
    if control.note and not control.confirmed:
        return f"control {control.label}: {control.note}"
    return f"control {control.label}: {_numbers(control)}; must be {control.threshold}: {_mark(control)}"
