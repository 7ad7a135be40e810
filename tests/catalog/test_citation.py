"""What there is to cite."""

import re
from pathlib import Path

import pytest
from tiny_experiment import TINY

import dyntoolkit
from dyntoolkit.catalog.citation import bibtex, references
from dyntoolkit.catalog.registry import find

CITATION = Path(dyntoolkit.__file__).parents[1] / "CITATION.cff"


def test_a_paper_is_cited_as_the_notebooks_refer_to_it():
    paper, toolkit = bibtex(find("label_noise.linear")).split("\n\n")
    assert paper.splitlines() == [
        "@misc{zhang2026,",
        "  title = {{On the learning dynamics of two-layer linear networks with label noise SGD}},",
        "  author = {T. Zhang and Z. Zhou and M. Wang and A. Han and W. Huang and T. Suzuki and J. Yan},",
        "  year = {2026},",
        "  eprint = {2603.10397},",
        "  archivePrefix = {arXiv},",
        "  url = {https://arxiv.org/abs/2603.10397},",
        "}",
    ]
    assert toolkit.startswith("@software{dyntoolkit,")


def test_a_paper_without_a_reference_is_cited_by_its_number():
    assert bibtex(TINY).startswith("@misc{arXiv0000.00000,\n  year = {2000},\n  eprint = {0000.00000},")


@pytest.mark.skipif(not CITATION.is_file(), reason="an installed package has no CITATION.cff")
def test_the_toolkit_is_cited_as_its_citation_file_says():
    said = dict(
        re.findall(r'^ *-? *(title|name|version|license|repository-code): "?(.*?)"?$', CITATION.read_text(), re.M)
    )
    for value in said.values():
        assert f"{{{value}}}" in bibtex(TINY)


def test_authors_of_all_references_are_names():
    assert len(references()) > 20
    for authors, title in references().values():
        assert authors
        assert title
        assert not set("[]*{}") & set(authors + title)
