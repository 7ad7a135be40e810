"""What a page loads besides its text."""

import gzip
from pathlib import Path

import pytest
from tornado.httpclient import HTTPClientError
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from dyntoolkit.app.assets import PLOTLY, Assets, folder


class TestAssets(AsyncHTTPTestCase):
    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path: Path) -> None:
        self.first, self.second = tmp_path / "first", tmp_path / "second"
        for root in (self.first, self.second):
            root.mkdir()
        (self.first / "a.js").write_text("first")
        (self.second / "a.js").write_text("second")
        (self.second / "b.css").write_text("b" * 1000)
        (tmp_path / "secret.js").write_text("secret")

    def get_app(self) -> Application:
        paths = {"static": [str(self.first), str(self.second)], "labextensions": [str(self.second)]}
        return Application([("/(.*)", Assets, paths)])

    def ask(self, path: str, **options: object):
        return self.fetch(f"/{path}", raise_error=True, **options)

    def test_the_first_folder_that_has_a_file_gives_it(self) -> None:
        assert self.ask("static/a.js").body == b"first"
        assert self.ask("labextensions/a.js").body == b"second"
        assert self.ask("static/b.css").body == b"b" * 1000

    def test_it_is_kept_by_browsers_and_compressed_only_where_that_is_taken(self) -> None:
        plain = self.ask("static/b.css", decompress_response=False)
        packed = self.ask("static/b.css", decompress_response=False, headers={"Accept-Encoding": "gzip"})
        assert plain.body == b"b" * 1000
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert "immutable" in plain.headers["Cache-Control"]
        assert plain.headers["Content-Type"] == "text/css"

    def test_a_changed_file_is_given_as_changed(self) -> None:
        self.ask("static/a.js")
        (self.first / "a.js").write_text("changed")
        assert self.ask("static/a.js").body == b"changed"

    def test_nothing_outside_is_given(self) -> None:
        (self.first / "link.js").symlink_to(self.first.parent / "secret.js")
        for path in ("static/../secret.js", "static/%2e%2e/secret.js", "static/link.js", "static/", "other/a.js", "x"):
            with pytest.raises(HTTPClientError, match="404"):
                self.ask(path)

    def test_plotly_is_there(self) -> None:
        assert b"plotly.js" in self.ask(PLOTLY).body[:1000]


def test_the_folder_is_named_after_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder()
    assert before == folder()
    monkeypatch.setattr("dyntoolkit.app.assets.version", lambda _: "other")
    assert folder() != before
