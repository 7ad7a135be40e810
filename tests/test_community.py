"""The files for those who want to take part: issue forms, workflow, CONTRIBUTING, CHANGELOG; all they name is there."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import dyntoolkit

ROOT = Path(dyntoolkit.__file__).parent.parent
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
pytestmark = pytest.mark.skipif(not TEMPLATES.is_dir(), reason="needs a checkout")

KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
ASKED = {  # what each form asks for; all but the last of a phenomenon must be given
    "bug.yml": ["happened", "steps", "place", "versions"],
    "claim.yml": ["experiment", "settings", "seeds", "output", "versions"],
    "phenomenon.yml": ["paper", "question", "setup", "metric", "claim", "control", "numbers"],
}
OPTIONAL = {"numbers"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_there_are_forms_for_three_kinds_of_issues() -> None:
    assert sorted(path.name for path in TEMPLATES.iterdir()) == sorted([*ASKED, "config.yml"])


@pytest.mark.parametrize("name", ASKED)
def test_form_has_what_github_requires_and_asks_for_what_is_needed(name: str) -> None:
    form = load(TEMPLATES / name)
    assert {"name", "description", "body"} <= form.keys() <= {"name", "description", "body", "labels"}
    assert all(part.keys() <= {"type", "id", "attributes", "validations"} for part in form["body"])
    assert all(part["type"] in KINDS for part in form["body"])
    assert all(part["attributes"]["value"] for part in form["body"] if part["type"] == "markdown")
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert [part["id"] for part in fields] == ASKED[name]
    labels = [part["attributes"]["label"] for part in fields]
    assert len(set(labels)) == len(labels)
    for part in fields:
        assert part.get("validations", {}).get("required", False) == (part["id"] not in OPTIONAL), part["id"]
        assert (part["type"] == "dropdown") == bool(part["attributes"].get("options"))


def test_chooser_points_to_a_section_of_the_readme() -> None:
    (link,) = load(TEMPLATES / "config.yml")["contact_links"]
    assert link.keys() == {"name", "url", "about"}
    section = link["url"].partition("#")[2]
    headings = re.findall(r"^#+ (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert section in [heading.lower().replace(" ", "-") for heading in headings]


def test_workflow_does_what_is_done_here() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    *_, last = job["steps"]
    assert last == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert python == "3.11"
    (limit,) = re.findall(r"timeout .* (\d+) make test", (ROOT / ".ci" / "run").read_text())
    assert job["timeout-minutes"] * 60 > int(limit)
    assert "CHROMIUM" in job["env"]


def test_contributing_names_what_there_is() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"`make ([a-z]+)`", text)
    assert {"quick", "test", "notebooks"} <= set(commands) <= set(targets)
    named = re.findall(r"`((?:dyntoolkit|examples|tests|benchmarks|notebooks)/[^`\s]*|[A-Z]+\.md)`", text)
    for path in named:
        if not re.search(r"PHENOMENON|EXPERIMENT", path):
            assert (ROOT / path).exists(), path
    for name in re.findall(r"`dt\.(\w+)", text):
        assert name in dir(dyntoolkit)
    marks = (ROOT / "pyproject.toml").read_text()
    for mark in re.findall(r"marked\s+`(\w+)`", text):
        assert f'"{mark}: ' in marks


def test_changelog_begins_with_what_is_not_released_and_ends_with_this_version_or_before() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *versions = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert first == "Unreleased"
    assert versions[0] == dyntoolkit.__version__
    assert set(re.findall(r"^### (\w+)", text, re.MULTILINE)) <= {"Added", "Changed", "Deprecated", "Fixed", "Removed"}
    for name in re.findall(r"`dt\.(\w+)", text):
        assert name in dir(dyntoolkit)


def test_quick_leaves_out_what_is_marked_as_taking_long() -> None:
    command = ["make", "-n", "-o", ".venv/.ready", "quick"]
    steps = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert '-m "not slow and not claims and not browser"' in steps
    assert steps.index("ruff") < steps.index("oxlint") < steps.index("mypy") < steps.index("pytest")
