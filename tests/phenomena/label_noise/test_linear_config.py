import pytest

from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.label_noise.linear_config import PRESETS, Config


def test_numbers_of_the_theory_at_the_defaults():
    config = Config()
    assert config.scale == 1 / 8
    assert config.rate == pytest.approx(0.2**2 * 4 / 64 / 20)
    assert config.log_ratio == pytest.approx(3.49, abs=0.005)
    assert config.excess == pytest.approx(4.0, abs=0.02)
    assert config.end_norm == pytest.approx(8 * 10**0.5)


def test_sam_adds_its_rate_and_on_off_noise_counts_for_half():
    assert Config(noise_std=0, sam_rho=0.5, lr=0.05, batch_size=1).rate == pytest.approx(0.05 * 0.25 / 64)
    always, half = Config(), Config(noise_period=3000)
    assert half.excess + half.log_ratio == pytest.approx((always.excess + always.log_ratio) / 2)


@pytest.mark.parametrize(("init_scale", "level"), [(0.05, 0.849), (0.25, 0.22)])
def test_noise_free_alignment(init_scale, level):
    along, across = Config(init_scale=init_scale).noise_free_norms
    assert along / (along + across) == pytest.approx(level, abs=0.005)


def test_unstable_settings_are_refused_in_words():
    with pytest.raises(InputError, match=r"must stay below 1\.8.*lower lr or init_scale, or raise batch_size"):
        Config(batch_size=1)  # 3.5
    with pytest.raises(InputError, match=r"must stay below 1\.8"):
        Config(lr=0.4, init_scale=1.47)
    assert not Config(lr=0.3).warnings()
    (warning,) = Config(init_scale=1.8).warnings()  # 1.36
    assert "unstable" in warning


def test_a_batch_beyond_the_data_counts_as_all_of_them():
    assert Config(batch_size=400, n_train=50).instability == Config(batch_size=50, n_train=50).instability
    assert Config(batch_size=400, n_train=50).rate == Config(batch_size=50, n_train=50).rate


def test_fixed_noise_in_minibatches_is_warned_of():
    assert Config(fixed_noise=True).warnings()
    assert not Config(fixed_noise=True, batch_size=100).warnings()


def test_what_drives_the_flow():
    driven = {name: Config().replace(**preset.changes).fresh for name, preset in PRESETS.items()}
    assert driven == {
        "two_phase": True,
        "fast": True,
        "lazy_control": False,
        "small_init_rich": False,
        "sam": True,
        "on_off": True,
        "kick": False,
        "fixed_noise": False,
    }
    assert not Config(sam_rho=0.5).fresh  # on several samples
