"""Every claim and every public name has its place on the site."""

import re

from tiny_experiment import TINY

import dyntoolkit
from dyntoolkit import probes
from dyntoolkit.app.site_pages import PAGES
from dyntoolkit.app.site_reference import claims_reference, names_reference
from dyntoolkit.catalog.registry import experiments


def test_a_claim_is_told_with_threshold_settings_and_controls():
    text = claims_reference([TINY])
    assert "## Decay" in text
    assert "https://arxiv.org/abs/0000.00000" in text
    assert "- **shrinks**: x shrinks\n  Judged by `end`: \\< 0.01." in text
    assert "  - Control lr 0: x stays \\(lr 0.0\\): must be not \\< 0.01" in text
    assert "Expected where a rule in the source says so \\(preset pulled\\)." in text
    assert "a number over 2 runs: \\> 2. Expected at pull 0" in text


def test_every_claim_of_every_experiment_is_there():
    text = claims_reference(experiments())
    assert text.count("\n- **") == sum(len(experiment.claims) for experiment in experiments())
    assert text.count("  - Control ") == sum(len(claim.controls) for each in experiments() for claim in each.claims)


def test_every_public_name_is_there_once():
    named = re.findall(r"^\.\. auto\w+:: (\S+)", names_reference(), re.MULTILINE)
    wanted = [f"dyntoolkit.{name}" for name in dyntoolkit.__all__] + [
        f"dyntoolkit.probes.{name}" for name in probes.__all__
    ]
    assert sorted(named) == sorted(wanted)


def test_the_pages_are_those_of_the_docs():
    from dyntoolkit.app.site_pages import CHECKOUT

    assert {path.stem for path in (CHECKOUT / "docs").glob("*.md")} == set(PAGES)
