"""Where a site is put, and what is refused; the site itself is looked at in tests/browser/test_site.py."""

import errno
import os

import pytest

from dyntoolkit.app import site
from dyntoolkit.app.cli import main

DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def quick(monkeypatch):
    """Sites of one page with nothing on it."""

    def write_page(sources, folder):
        assert (sources / "index.ipynb").is_file()
        (folder / "html").mkdir()
        (folder / "html" / "index.html").write_text("new")

    monkeypatch.setattr(site, "_run_sphinx", write_page)
    monkeypatch.setattr(site.Pages, "write_docs", lambda pages: None)


@pytest.fixture
def build(quick, capsys):
    """Build a site; returns exit code, stdout and stderr."""

    def command(*arguments):
        code = main(["site", *map(str, arguments)])
        return code, *capsys.readouterr()

    return command


def test_a_site_is_built_in_a_new_folder_and_takes_the_place_of_a_former_one(build, tmp_path):
    out = tmp_path / "sites" / "ours"
    code, said, _ = build(out, "label_noise", "--values", 0)
    assert code == 0
    assert said.startswith(f"The site is in {out}, after ")
    (out / "old.html").write_text("old")
    assert build(out, "--values", 0)[0] == 0
    assert sorted(path.name for path in out.iterdir()) == [site.MARK, "index.html"]
    assert list(out.parent.iterdir()) == [out]


def test_an_empty_folder_will_do(build, tmp_path):
    (tmp_path / "empty").mkdir()
    assert build(tmp_path / "empty", "--values", 0)[0] == 0
    assert (tmp_path / "empty" / "index.html").is_file()


def test_what_is_no_site_is_left_alone(build, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, err = build(tmp_path, "--values", 0)
    assert (code, err) == (2, f"dyntoolkit: {tmp_path} is not empty, and no former site: it holds thesis.tex.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    code, _, err = build(tmp_path / "thesis.tex", "--values", 0)
    assert (code, err) == (2, f"dyntoolkit: {tmp_path / 'thesis.tex'} is no folder.\n")
    code, _, err = build(tmp_path / "thesis.tex" / "site", "--values", 0)
    assert (code, err) == (2, f"dyntoolkit: {tmp_path / 'thesis.tex' / 'site'} cannot be written: Not a directory.\n")


def full(*_arguments, **_options):
    raise DISK_FULL


def rename_but_the_new_site(one, other, rename=os.rename):
    if one.name == "html":
        raise DISK_FULL
    rename(one, other)


@pytest.mark.parametrize(
    ("thing", "name", "failing"),
    [
        (site.Pages, "write_notebook", full),
        (site, "_run_sphinx", full),
        (site.os, "rename", rename_but_the_new_site),
    ],
)
def test_on_a_full_disk_a_former_site_stays_as_it_was(build, tmp_path, monkeypatch, thing, name, failing):
    out = tmp_path / "site"
    build(out, "--values", 0)
    (out / "index.html").write_text("former")
    monkeypatch.setattr(thing, name, failing)
    code, _, err = build(out, "--values", 0)
    monkeypatch.undo()
    assert (code, err) == (2, f"dyntoolkit: {out} cannot be written: No space left on device.\n")
    assert (out / "index.html").read_text() == "former"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["labl_noise"], "unknown notebook 'labl_noise'. Did you mean 'label_noise'?"),
        (["index"], "unknown notebook 'index'."),
        (["--values", "1"], "--values 1 would be a slider that cannot move: 0 (pictures only), or 2 and more."),
        (["--values", "10"], "--values takes a whole number from 0 to 9, got '10'."),
        (["--seeds", "0"], "--seeds takes a whole number from 1 to 20, got '0'."),
        (["--live", "dyn"], "--live takes the address of a server, such as https://example.org/dyn, got 'dyn'."),
        (["--live", "javascript:alert(1)"], "--live takes the address of a server"),
    ],
)
def test_wrong_input_is_a_sentence_and_writes_nothing(build, tmp_path, arguments, sentence):
    code, _, err = build(tmp_path / "site", *arguments)
    assert code == 2
    assert err.startswith(f"dyntoolkit: {sentence}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of its extensions, about each other
def test_a_warning_of_sphinx_is_an_error(tmp_path):
    (tmp_path / "sources" / "_static").mkdir(parents=True)
    (tmp_path / "sources" / "index.md").write_text("# A\n\n[nowhere](nothing.md)\n")
    with pytest.raises(site.InputError, match=r"the pages cannot be built: .*nothing\.md"):
        site._run_sphinx(tmp_path / "sources", tmp_path)


def test_a_live_link_leads_to_the_server_or_to_binder():
    server = site._live_link("a.ipynb", "preset=b&lr=0.1", "https://example.org/dyn/")
    assert server == "https://example.org/dyn/voila/render/a.ipynb?preset=b&lr=0.1"
    binder = site._live_link("a.ipynb", "preset=b&lr=0.1", "")
    assert binder.startswith("https://mybinder.org/v2/gh/dyntoolkit/dyntoolkit/HEAD?urlpath=")
    assert binder.endswith("voila%2Frender%2Fnotebooks%2Fa.ipynb%3Fpreset%3Db%26lr%3D0.1")
