import pytest

from dyntoolkit.catalog import registry
from dyntoolkit.dashboard import live
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.look_for import look_for
from dyntoolkit.dashboard.show import Result
from dyntoolkit.errors import InputError

NOTES = {"slow": "nothing <i>moves</i>", "noisy": "noise holds them up"}


@pytest.fixture
def dashboards(tiny, monkeypatch):
    monkeypatch.setattr(live, "_live", [])
    made = [Dashboard(tiny), Dashboard(tiny)]
    yield made
    for dashboard in made:
        dashboard.close()


def test_a_word_is_a_button_that_sets_the_preset(dashboards):
    dashboard, other = dashboards
    button, note = look_for(dashboard, NOTES).children[0].children
    assert (button.description, note.value) == ("slow", "nothing <i>moves</i>")
    button.click()
    assert dashboard.sliders.values()["lr"] == 0.0015
    assert other.sliders.values()["lr"] == 0.05


def test_after_its_dashboard_is_closed_it_acts_on_the_live_one(dashboards):
    old, new = dashboards
    button = look_for(old, NOTES).children[0].children[0]
    live.enter(new)
    old.close()
    button.click()
    assert new.sliders.values()["lr"] == 0.0015


def test_without_a_front_end_it_is_a_list(tiny):
    result = Result(tiny, tiny.run(), [])
    assert look_for(result, NOTES).data == "- **slow**: nothing <i>moves</i>\n- **noisy**: noise holds them up"


def test_a_name_that_is_no_preset_is_refused(tiny):
    with pytest.raises(InputError, match="unknown preset 'slwo'"):
        look_for(Result(tiny, tiny.run(), []), {"slwo": "?"})


def test_a_name_or_an_experiment_stands_for_its_dashboard(dashboards, tiny, monkeypatch):
    monkeypatch.setattr(registry, "EXPERIMENTS", (tiny,))
    live.enter(dashboards[1])
    for view in ("tiny", tiny):
        dashboards[1].reset()
        look_for(view, NOTES).children[0].children[0].click()
        assert dashboards[1].sliders.values()["lr"] == 0.0015
