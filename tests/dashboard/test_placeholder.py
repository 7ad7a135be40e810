"""What holds the place of widgets on a page; the browser is played by the test."""

from dyntoolkit.dashboard.placeholder import Placeholder


def test_it_is_near_once_the_browser_says_so_until_it_is_heard():
    calls = []
    placeholder = Placeholder(lambda: calls.append(1), "Title", "Question?", b"png")
    assert (placeholder.title, placeholder.text, placeholder.picture) == ("Title", "Question?", b"png")
    placeholder._handle_custom_msg({"kind": "seen"}, [])
    assert calls == []
    placeholder._handle_custom_msg({"kind": "near"}, [])
    assert calls == [1]
    placeholder.heard = True
    placeholder._handle_custom_msg({"kind": "near"}, [])
    assert calls == [1]
    placeholder.close()
