import numpy as np
import pytest

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.experiment import Plan, to_the_end
from dyntoolkit.phenomena.label_noise.linear import EXPERIMENT, Config, metrics

NONE = np.array([-1, -1])
FRESH_SEEDS = (90, 91)  # not used while the claims were written


def history(config, steps, **series):
    """Two runs, alike in all quantities that are not given; series: name -> (T,), or (T, 2) for both runs."""
    grown = History("label_noise.linear", [config] * 2, [0, 1])
    zeros = np.zeros(len(steps))
    names = ("w2", "a2", "align", "ntk", "erank", "loss", "flow_w2", "flow_align")
    for t, step in enumerate(steps):
        row = {name: np.broadcast_to(series.get(name, zeros)[t], 2).astype(float) for name in names}
        grown.append(Frame(step, config.steps, row, NONE))
    return grown


def test_times_and_phases():
    config = Config(steps=500)
    w2 = np.array([[8.0, 8], [6, 8], [3, 8], [2, 8], [1, 8], [1, 8]])
    found = metrics(
        history(
            config,
            [0, 100, 200, 300, 400, 500],
            w2=w2,
            ntk=[0, 0.6, 0.7, 0.4, 0.9, 0.9],
            align=np.array([[0.1, 0.1], [0.2, 0.1], [0.3, 0.1], [0.5, 0.1], [0.6, 0.1], [0.7, 0.1]]),
            flow_w2=[np.nan, 6, 4, 2, 1, 1],
            flow_align=[np.nan, 0.25, 0.3, 0.5, 0.6, 0.7],
        )
    )
    first = {name: value[0] for name, value in found.items()}
    assert (first["t_ntk"], first["t_align"], first["phase_ratio"]) == (100, 400, 4)
    assert first["align_at_half"] == 0.3
    assert first["w2_ratio"] == pytest.approx(13 / 5 / 8)  # the mean over the last five frames
    assert first["end_norm_ratio"] == pytest.approx(13 / 5 / config.end_norm)
    assert first["flow_w2_error"] == pytest.approx(1 / 3)
    assert first["flow_align_error"] == pytest.approx(0.05)
    assert all(np.isnan(found[name][1]) for name in ("t_align", "phase_ratio", "align_at_half"))
    assert all(np.isnan(found[name]).all() for name in ("on_log_drop", "off_log_drop", "kick_rate_ratio"))


def test_log_drops_are_means_over_the_first_two_periods():
    config = Config(steps=500, noise_period=100)
    w2 = np.exp([5.0, 4.0, 3.9, 3.3, 3.0, 3.0])  # at 0, 100, ... 500
    grown = history(config, [0, 100, 200, 300, 400, 500], w2=w2)
    assert metrics(grown)["on_log_drop"] == pytest.approx((1.0 + 0.6) / 2)
    assert metrics(grown)["off_log_drop"] == pytest.approx((0.1 + 0.3) / 2)
    stopped = history(config, [0, 100, 200, 300], w2=w2)
    assert metrics(stopped)["on_log_drop"] == pytest.approx(0.8)
    assert np.isnan(metrics(stopped)["off_log_drop"]).all()


def test_kick_rate_of_an_exact_exponential_is_one():
    config = Config(steps=4000, noise_std=0, batch_size=100, kick_std=0.1)
    steps = np.arange(0, 4001, 20)
    rate = 2 * config.lr * config.kick_std**2 / config.width
    w2 = np.where(steps < 1000, 50, 100 * np.exp(-rate * steps))  # the fit, before steps/4, does not count
    found = metrics(history(config, steps, w2=w2))
    assert found["kick_rate_ratio"] == pytest.approx(1)
    mean_factor = np.mean(1 / (1 - 0.1 * w2[50:] / 640))
    assert found["kick_rate_corrected"] == pytest.approx(1 / mean_factor, rel=1e-4)


def test_a_history_of_one_frame_has_all_metrics():
    config = Config(noise_period=3000, kick_std=0.1)
    found = metrics(history(config, [0], w2=[5.0], align=[0.1]))
    assert found["w2_ratio"] == pytest.approx(1)
    assert np.isnan(found["kick_rate_corrected"]).all()


REGIMES = [
    ("w_shrinks", {}, {"steps": 15000}),
    ("aligned", {}, {"noise_std": 2.6, "steps": 60000}),
    ("aligned", {}, {"whiten": False}),
    ("end_norm", {}, {"batch_size": 20}),
    ("kernel_moves", {}, {"fixed_noise": True}),
    ("two_phases", {}, {"init_scale": 0.8}),
    ("shrinks_first", {}, {"kick_std": 0.05}),
    ("flow_w2", {"noise_std": 0.5}, {"lr": 0.25}),
    ("flow_align", {"noise_std": 0.5}, {"width": 32}),
    ("noise_on_shrinks", {"noise_period": 3000, "steps": 24000}, {"noise_period": 1000}),
    ("noise_off_keeps", {"noise_period": 3000, "steps": 12000}, {"steps": 11000}),
    ("kick_shrinks", {"noise_std": 0, "batch_size": 400, "kick_std": 0.05, "steps": 2000}, {"kick_std": 0.2}),
]


@pytest.mark.parametrize(("name", "inside", "outside"), REGIMES)
def test_where_a_claim_is_expected(name, inside, outside):
    claim = next(claim for claim in EXPERIMENT.claims if claim.id == name)
    assert claim.where(Config(**inside))
    assert not claim.where(Config(**{**inside, **outside}))


def test_sam_has_a_regime_of_its_own():
    sam = EXPERIMENT.configure("sam")
    expected = {claim.id for claim in EXPERIMENT.claims if claim.where(sam)}
    assert expected == {
        "w_shrinks", "aligned", "kernel_moves", "two_phases", "shrinks_first", "flow_w2", "flow_align", "end_norm",
    }  # fmt: skip
    assert not any(claim.where(sam.replace(batch_size=10)) for claim in EXPERIMENT.claims)


@pytest.mark.claims
@pytest.mark.parametrize("preset", ["two_phase", "sam"])
def test_claims_hold_and_controls_are_confirmed_on_fresh_seeds(preset):
    config = EXPERIMENT.configure(preset)
    own = EXPERIMENT.run(config, FRESH_SEEDS)
    plan = Plan(EXPERIMENT, config, FRESH_SEEDS)
    verdicts = plan.verdicts([own, *(to_the_end(*stage()) for stage in plan.stages)])
    assert len(verdicts) == len(EXPERIMENT.claims)
    for verdict in verdicts:
        assert verdict.expected, verdict.id
        assert all(verdict.holds), verdict
        assert all(all(control.confirmed) for control in verdict.controls), verdict
    controlled = {verdict.id for verdict in verdicts if verdict.controls}
    assert controlled == {claim.id for claim in EXPERIMENT.claims} - {"shrinks_first"}


CARD = {  # the recipe's range over ten seeds, widened by half its width on both sides
    "two_phase": {
        "w2_ratio": (0.022, 0.034),
        "align_end": (0.944, 0.976),
        "ntk_end": (0.935, 0.974),
        "phase_ratio": (4.8, 7.0),
        "align_at_half": (0.071, 0.167),
        "flow_w2_error": (0.044, 0.11),
        "flow_align_error": (0.035, 0.083),
        "end_norm_ratio": (0.95, 1.06),
    },
    "small_init_rich": {"align_end": (0.80, 0.88)},
    "lazy_control": {"w2_ratio": (0.999, 1.002), "align_end": (0.06, 0.15), "ntk_end": (0.002, 0.017)},
    "fixed_noise": {"w2_ratio": (0.999, 1.003)},
}


@pytest.mark.claims
@pytest.mark.parametrize("preset", CARD)
def test_presets_measure_what_the_recipe_says(preset):
    found = metrics(EXPERIMENT.run(EXPERIMENT.configure(preset), FRESH_SEEDS))
    for name, (low, high) in CARD[preset].items():
        assert ((found[name] > low) & (found[name] < high)).all(), (name, found[name])
