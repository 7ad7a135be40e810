"""Claims in words and marks."""

import math

from dyntoolkit.dashboard.claims_view import claims_html, claims_text, control_text
from dyntoolkit.experiment.judging import ControlVerdict, Verdict


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


def test_what_is_not_expected_comes_last(tiny):
    first, second = tiny.claims
    expected = [verdict(id=claim.id, statement=claim.id, expected=claim is second) for claim in (first, second)]
    html = claims_html(tiny.claims, expected)
    assert html.index(second.id) < html.index(first.id)


def test_several_seeds(tiny):
    html = claims_html(tiny.claims, [verdict(value=(0.1, 0.2, 0.9), holds=(True, True, False))])
    assert "median 0.2 [0.1, 0.9]" in html
    assert "inside for 2 of 3 seeds" in html


def test_a_run_that_diverged_says_so(tiny):
    lost = verdict(value=(math.nan,), holds=(False,), diverged=(True,))
    assert ">diverged; threshold" in claims_html(tiny.claims, [lost])


def test_never_is_a_number_too(tiny):
    assert "never; threshold" in claims_html(tiny.claims, [verdict(value=(math.nan,), holds=(False,))])
    several = verdict(value=(math.nan, 1.0, 3.0), holds=(False, True, True))
    assert "median 2 [1, 3]; threshold" in claims_html(tiny.claims, [several])
    nothing = verdict(value=(math.nan,) * 2, holds=(False, False))
    assert ">never; threshold" in claims_html(tiny.claims, [nothing])


def test_where_a_claim_is_not_expected_it_says_where_it_is(tiny):
    elsewhere = verdict(expected=False, value=(), holds=(), grounds="default settings, lr > 0.1", note="refused.")
    html = claims_html(tiny.claims, [elsewhere])
    assert "threshold &lt; 0.5; expected at default settings, lr &gt; 0.1. refused." in html
    assert "inside for" not in html
    assert "expected at" not in claims_html(tiny.claims, [verdict(grounds="default settings")])


def test_controls():
    control = ControlVerdict("no noise", "not < 0.5", (1.0,), (True,))
    assert control_text(control) == "control no noise: 1; must be not < 0.5: ✓ as it must be"
    assert control_text(ControlVerdict("no noise", "x", (1.0,), (False,))).endswith("✗ not as it must be")
    pooled = ControlVerdict("no noise", "> 1", (2.5, 2.5), (True, True), pooled=True)
    assert control_text(pooled) == "control no noise: median 2.5 [2.5, 2.5]; must be > 1: ✓ as it must be"
    assert control_text(ControlVerdict("no noise", "x", note="cannot be trained here")) == (
        "control no noise: cannot be trained here"
    )


def test_controls_are_in_the_list_with_their_signs_escaped(tiny):
    html = claims_html(tiny.claims, [verdict(controls=(ControlVerdict("a < b", "> 1", (2.0,), (True,)),))])
    assert "<li>control a &lt; b: 2; must be &gt; 1: ✓ as it must be</li>" in html


def test_text_has_no_measured_numbers():
    control = ControlVerdict("no noise", "not < 0.5", (1.0,), (True,))
    missing = ControlVerdict("refused", "not < 0.5", note="cannot be trained here")
    text = claims_text([verdict(controls=(control, missing), place="preset slow"), verdict(holds=(False,))])
    assert text == (
        "✓ shrinks holds (preset slow): |w| < 1\n"
        "    ✓ as it must be control: no noise\n"
        "    – not judged control: refused\n"
        "✗ shrinks does not hold: |w| < 1"
    )
