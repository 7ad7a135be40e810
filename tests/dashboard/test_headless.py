"""Is anybody looking? Kernels are faked; what the real clients send is checked against their sources."""

import inspect
from types import SimpleNamespace

import nbclient
import nbval.plugin
import pytest
import voila.utils

from dyntoolkit.dashboard import headless
from dyntoolkit.errors import InputError


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for name in ("DYNTOOLKIT_HEADLESS", "SERVER_SOFTWARE", "VOILA_PREHEAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(headless, "get_ipython", lambda: None)


def kernel(monkeypatch, **content):
    """A kernel whose present cell was asked for with this content."""
    message = {"content": content, "metadata": {"cellId": "c1"}, "header": {"msg_id": "m1"}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: message))
    monkeypatch.setattr(headless, "get_ipython", lambda: shell)


def test_no_kernel_is_headless():
    assert headless.is_headless()
    assert headless.cell() == headless.execution() == ""


def test_a_terminal_is_headless(monkeypatch):
    monkeypatch.setattr(headless, "get_ipython", lambda: SimpleNamespace())
    assert headless.is_headless()


def test_an_interactive_client_is_live(monkeypatch):
    kernel(monkeypatch, allow_stdin=True)
    assert not headless.is_headless()
    assert (headless.cell(), headless.execution()) == ("c1", "m1")


@pytest.mark.parametrize("content", [{"allow_stdin": False}, {"allow_stdin": None}, {}])
def test_papermill_and_nbval_are_headless(monkeypatch, content):
    kernel(monkeypatch, **content)
    assert headless.is_headless()


@pytest.mark.parametrize(("name", "value"), [("SERVER_SOFTWARE", "voila/0.5.13"), ("VOILA_PREHEAT", "True")])
def test_voila_is_live(monkeypatch, name, value):
    kernel(monkeypatch, allow_stdin=False)
    monkeypatch.setenv(name, value)
    assert not headless.is_headless()


def test_another_server_is_not_voila(monkeypatch):
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/20")
    assert headless.is_headless()


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "0")
    assert not headless.is_headless()
    kernel(monkeypatch, allow_stdin=True)
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    assert headless.is_headless()
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "yes")
    with pytest.raises(InputError, match="takes 0 or 1, got 'yes'"):
        headless.is_headless()


def test_what_the_clients_really_send():
    assert "allow_stdin = False" in inspect.getsource(nbclient.NotebookClient)
    assert "allow_stdin=False" in inspect.getsource(nbval.plugin)
    assert voila.utils.ENV_VARIABLE.SERVER_SOFTWARE == "SERVER_SOFTWARE"
    assert voila.utils.ENV_VARIABLE.VOILA_PREHEAT == "VOILA_PREHEAT"
