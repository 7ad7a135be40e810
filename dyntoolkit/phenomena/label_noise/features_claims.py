"""Metrics and claims of `label_noise.features`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, above, below
from dyntoolkit.phenomena.label_noise.features_config import Config
from dyntoolkit.probes.crossing_times import first_step


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never" and "not measurable".

    early_*: at early_step; *_end, final_test: at the last frame. test_drop: the best test accuracy of any frame minus
    the last. t_clean: first frame with a clean fit of at least .99; t_memorized: first frame from which on the fit of
    flipped samples stays at .9 or more. grad_ratio_1: at step 1. select_precision: unflipped share of the samples that
    a selection kept.
    """
    steps, config = history.at("test"), history.config
    early = int(np.searchsorted(steps, config.early_step))
    known = early < len(steps) and steps[early] == config.early_step
    at = {
        name: history[name][early] if known else np.full(len(history.seeds), np.nan)
        for name in ("clean_fit", "noisy_fit", "test", "auc")
    }
    selects = np.array([0 < c.select_step < history.step for c in history.configs])
    one = 1 if len(steps) > 1 else 0  # step 1 is always recorded
    return {
        "early_clean_fit": at["clean_fit"],
        "early_noisy_fit": at["noisy_fit"],
        "clean_fit_end": history.last("clean_fit"),
        "noisy_fit_end": history.last("noisy_fit"),
        "early_test": at["test"],
        "best_test": history["test"].max(0),
        "final_test": history.last("test"),
        "test_drop": drop(history),
        "early_auc": at["auc"],
        "auc_end": history.last("auc"),
        "gamma_end": history.last("gamma"),
        "rho_end": history.last("rho"),
        "rho_noisy_end": history.last("rho_noisy"),
        "grad_ratio_1": history["grad_ratio"][one],
        "grad_ratio_end": history.last("grad_ratio"),
        "select_precision": np.where(selects, history.last("kept_clean"), np.nan),
        "loss_end": history.last("loss"),
        "t_clean": first_step(steps, history["clean_fit"] >= 0.99),
        "t_memorized": _settled(steps, history["noisy_fit"] >= 0.9),
    }


def drop(history: History) -> Array:
    """The fall of test accuracy from its best to its last frame, (R,)."""
    test = history["test"]
    return np.asarray(test.max(0) - test[-1])


def _settled(steps: Array, reached: Array) -> Array:
    """The first of the steps (T,) from which on reached (T, R) stays true, (R,); NaN for never."""
    return first_step(steps, np.logical_and.accumulate(reached[::-1])[::-1])


def _selects(found: Metrics, config: object) -> Array:
    """The smaller one of the unflipped share of what was kept and the last test accuracy."""
    return np.minimum(found["select_precision"], found["final_test"])


def _setting(c: Config) -> bool:
    """Where it was measured, selection apart."""
    sizes = c.dim <= 200 and (c.width, c.n_train, c.input_noise_std) == (10, 100, 1.0)
    times = np.isclose(c.lr * c.early_step, 2) and c.lr <= 0.2 and c.lr * c.steps >= 100
    return bool(sizes and times and 0.25 <= c.flip_rate <= 0.3 and 3.5 <= c.signal_norm <= 6 and c.init_scale <= 0.003)


def _measured(c: Config) -> bool:
    return _setting(c) and c.select_step == 0


def _strong(c: Config) -> bool:
    return _measured(c) and c.signal_norm >= 4


def _third(c: Config) -> bool:
    return _measured(c) and c.flip_rate == 0.3


def _early_selection(c: Config) -> bool:
    return _setting(c) and bool(np.isclose(c.lr * c.select_step, 2)) and c.select_drop == c.flip_rate


LOW_SNR = Control("signal 1", {"signal_norm": 1.0})
SELECT = Control("samples of high loss dropped at step 20", {"select_step": 20})

CLAIMS = (
    Claim(
        id="clean_first",
        statement="Early on, all clean samples are fitted.",
        metric="early_clean_fit",
        bound=above(0.99),
        where=_measured,
    ),
    Claim(
        id="noisy_later",
        statement="Flipped samples are not: fewer than 60 % at the same step.",
        metric="early_noisy_fit",
        bound=below(0.6),
        where=_strong,
        controls=(LOW_SNR,),
    ),
    Claim(
        id="early_stop",
        statement="Stopped there, the network is right on over 95 % of the test samples.",
        metric="early_test",
        bound=above(0.95),
        where=_measured,
        controls=(LOW_SNR,),
    ),
    Claim(
        id="memorizes",
        statement="In the end the flipped samples are fitted too, with their wrong labels.",
        metric="noisy_fit_end",
        bound=above(0.95),
        where=_measured,
        controls=(SELECT,),
    ),
    Claim(
        id="test_falls",
        statement="That costs test accuracy: over 5 points less than at its best.",
        metric="test_drop",
        bound=above(0.05),
        where=_third,
        controls=(Control("no flipped labels", {"flip_rate": 0.0}), LOW_SNR),
    ),
    Claim(
        id="loss_separates",
        statement="Early on, the loss tells flipped samples from clean ones.",
        metric="early_auc",
        bound=above(0.98),
        where=_measured,
        controls=(LOW_SNR,),
    ),
    Claim(
        id="loss_mixes",
        statement="In the end it no longer does.",
        metric="auc_end",
        bound=below(0.93),
        where=_measured,
        controls=(SELECT,),
    ),
    Claim(
        id="selection",
        statement="Dropping 30 % of the samples by their loss, early, keeps clean ones and the test accuracy: both over 98 %.",
        metric="select_precision",
        bound=above(0.98),
        where=_early_selection,
        controls=(Control("the same at step 1000", {"select_step": 1000}),),
        preset="select_early",
        value=_selects,
    ),
)
