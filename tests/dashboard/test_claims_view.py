"""Claims in words and marks."""

import math

from dyntoolkit.experiment.judging import ControlVerdict, Verdict
from dyntoolkit.dashboard.claims_view import claims_html, claims_text, control_words, numbers_words


def verdict(**changes):
    given = {"id": "shrinks", "statement": "|w| < 1", "threshold": "< 0.5", "expected": True}
    return Verdict(**{**given, "value": (0.1234567,), "holds": (True,), **changes})


def test_before_the_end_all_claims_wait(tiny):
    html = claims_html(tiny.claims)
    assert html.count("judged at the end of the run") == 2
    assert "holds" not in html.replace("hold them", "")


def test_marks_words_and_numbers(tiny):
    html = claims_html(tiny.claims, [verdict()])
    assert "✓ holds" in html
    assert "0.123; threshold &lt; 0.5" in html
    assert "|w| &lt; 1" in html
    assert "press “Run the negative controls”" in html  # the other claim had no verdict
    assert "✗ does not hold" in claims_html(tiny.claims, [verdict(holds=(False,))])
    elsewhere = claims_html(tiny.claims, [verdict(expected=False)])
    assert "– not expected here" in elsewhere
    assert "✓" not in elsewhere


def test_several_seeds(tiny):
    html = claims_html(tiny.claims, [verdict(value=(0.1, 0.2, 0.9), holds=(True, True, False))])
    assert "median 0.2 [0.1, 0.9]" in html
    assert "inside for 2 of 3 seeds" in html


def test_never_is_a_number_too():
    assert numbers_words((math.nan,)) == "never"
    assert numbers_words((math.nan, 1.0, 3.0)) == "median 2 [1, 3]"
    assert numbers_words((math.nan, math.nan)) == "never"


def test_controls():
    control = ControlVerdict("no noise", "not < 0.5", (1.0,), (True,))
    assert control_words(control) == "control no noise: 1; must be not < 0.5: ✓ as it must be"
    assert control_words(ControlVerdict("no noise", "x", (1.0,), (False,))).endswith("✗ not as it must be")
    assert control_words(ControlVerdict("no noise", "mean > 1", (1.0,), (True,), mean=2.5)).startswith(
        "control no noise: mean 2.5"
    )
    assert control_words(ControlVerdict("no noise", "x", note="cannot be trained here")) == (
        "control no noise: cannot be trained here"
    )


def test_text_has_no_measured_numbers():
    control = ControlVerdict("no noise", "not < 0.5", (1.0,), (True,))
    text = claims_text([verdict(controls=(control,), where="preset slow"), verdict(holds=(False,))])
    assert text == (
        "✓ shrinks holds (preset slow): |w| < 1\n"
        "    ✓ as it must be control: no noise\n"
        "✗ shrinks does not hold: |w| < 1"
    )
