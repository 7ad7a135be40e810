import pytest

from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.cross_task_linearity.digits_config import PRESETS, Config


@pytest.mark.parametrize(("name", "value"), [("lr", 0.3), ("alpha", -0.1), ("depth", 5), ("pretrain_steps", 2001)])
def test_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Config().replace(**{name: value})


def test_presets_are_those_of_the_recipe() -> None:
    assert {name: dict(preset.changes) for name, preset in PRESETS.items()} == {
        "ctl": {},
        "no_pretraining": {"pretrain_steps": 0},
        "independent": {"shared_init": False, "pretrain_steps": 0},
        "lr_too_high": {"lr": 0.2},
        "wrong_pretraining": {"pretrain_data": "upright"},
        "arithmetic": {"pretrain_steps": 100, "task_scale": 1.0},
    }
    assert all(preset.reason for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.15, "batch_size": 16}, "kills the network"),
        ({"pretrain_data": "pixel_shuffled", "angle": 30}, "no effect"),
        ({"batch_size": 8}, "kills the network"),
        ({"angle": 45}, "lies between"),
        ({"angle": 87}, "lies between"),
    ],
)
def test_settings_that_mislead_are_said(changes: dict[str, object], words: str) -> None:
    (warning,) = Config().replace(**changes).warnings()
    assert words in warning


def test_of_the_presets_only_the_deadly_one_warns() -> None:
    for name, preset in PRESETS.items():
        assert len(Config().replace(**preset.changes).warnings()) == (name == "lr_too_high")
    assert (
        Config(angle=30).warnings()
        == Config(angle=90).warnings()
        == Config(angle=45, pretrain_steps=0).warnings()
        == []
    )
