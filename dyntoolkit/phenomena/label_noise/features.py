"""Features: are clean samples fitted first, by the signal, and flipped ones memorized later, by their noise?

After arXiv 2505.18909: a two-patch network and flipped labels, with a signal that a few samples suffice to find. Early
stopping, or dropping the samples of high loss early, keeps the first stage and avoids the second. The network and its
gradient descent are in `_signal_noise`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.experiment import Claim, Control, Experiment, Map, Metrics, Preset, above, below, config, number
from dyntoolkit.figure.panels import ALIGNMENT, BLUE, ORANGE, TEST, Axis, Bars, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded_line
from dyntoolkit.phenomena.label_noise import _signal_noise as network
from dyntoolkit.phenomena.label_noise._signal_noise import Problem, State, record_steps
from dyntoolkit.probes.auc import auc
from dyntoolkit.probes.crossing_times import first_step

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of the two-patch network with flipped labels (arXiv 2505.18909)."""

    flip_rate: float = number(0.3, 0.0, 0.45, label="flipped labels", help="share of wrong training labels", main=True)
    signal_norm: float = number(4.0, 0.5, 8.0, label="signal |μ|", help="length of the signal", log=True, main=True)
    init_scale: float = number(
        0.003, 0.001, 0.3, label="initialization scale", help="standard deviation of the filters", log=True, main=True
    )
    lr: float = number(0.1, 0.02, 5.0, label="learning rate η", help="step size; rescales time", log=True, main=True)
    select_step: int = number(
        0,
        0,
        2000,
        label="drop samples at step",
        help="drop those of high loss at this step; 0: never",
        log=True,
        main=True,
    )
    select_drop: float = number(0.3, 0.0, 0.5, label="share dropped", help="of the samples, at that step")
    early_step: int = number(20, 1, 2000, label="early step", help="where “early” is read", log=True, structural=True)
    steps: int = number(2000, 100, 20000, label="steps", help="updates", log=True, structural=True)
    input_noise_std: float = number(
        1.0, 0.3, 3.0, label="input noise", help="standard deviation of the noise patch", log=True
    )
    width: int = number(10, 2, 50, label="filters per sign m", help="of either sign", structural=True)
    dim: int = number(200, 50, 4000, label="patch size", help="coordinates of a patch", log=True, structural=True)
    n_train: int = number(100, 20, 200, label="training samples n", help="samples", log=True, structural=True)

    def warnings(self) -> list[str]:
        """What cannot be seen because the run is too short."""
        found = []
        if self.early_step > self.steps:
            found.append(f"early_step = {self.early_step} lies beyond the {self.steps} steps of the run.")
        if self.select_step >= self.steps:
            found.append(
                f"select_step = {self.select_step} drops nothing: the last of the {self.steps} steps is before."
            )
        return found

    @property
    def flipped(self) -> int:
        """Samples with a wrong training label."""
        return round(self.flip_rate * self.n_train)

    @property
    def kept(self) -> int:
        """Samples that a selection keeps."""
        return round((1 - self.select_drop) * self.n_train)


PRESETS = {
    "two_stages": Preset("Clean samples are fitted by their signal, and then flipped ones by their noise."),
    "clean": Preset("No flipped labels: nothing to forget.", {"flip_rate": 0.0}),
    "low_snr": Preset("A weak signal: noise is memorized at once, clean or not.", {"signal_norm": 1.0}),
    "select_early": Preset("Drop the samples of high loss at step 20: all flipped ones go.", {"select_step": 20}),
    "select_late": Preset("Drop them at step 1000: too late to tell them apart.", {"select_step": 1000}),
    "big_init": Preset("A large start: no first stage.", {"init_scale": 0.3}),
}


# ---- Data, model, step ----


def selected(losses: Tensor, keep: Tensor) -> Tensor:
    """1 for the keep (R, 1) samples of smallest loss of a run, 0 for the others, (R, n)."""
    rank = losses.argsort(dim=1, stable=True).argsort(dim=1)  # (R, n)
    return (rank < keep).to(losses.dtype)


def make_step(configs: Sequence[Config], problem: Problem, labels: Tensor) -> Callable[[State, Tensor], State]:
    """Update k () of gradient descent; a run whose select_step is k drops samples just before it, for good."""
    lr = per_run(configs, "lr", ndim=2)  # (R, 1)
    when = per_run(configs, "select_step", torch.int64, ndim=2)  # (R, 1)
    keep = per_run(configs, "kept", torch.int64, ndim=2)  # (R, 1)
    selects = bool((when > 0).any())

    def step(state: State, k: Tensor) -> State:
        if selects:
            now = (when == k) & (when > 0)  # (R, 1)
            f = network.output(problem, problem.y, state.signal, state.noise)  # (R, n)
            state = state._replace(keep=torch.where(now, selected(network.losses(f, labels), keep), state.keep))
        return network.descend(problem, state, labels, lr)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Full-batch gradient descent in float32; frames at log-spaced steps and at early_step, with `measure`'s values.

    At step 0 also flipped (R, n), 1 where the training label is the wrong one.
    """
    config = configs[0]
    problem, start = network.draw(configs, seeds, power=1)
    labels = torch.where(problem.flipped, -problem.y, problem.y)  # (R, n)

    def updates(k0: int, k1: int) -> Tensor:
        return torch.arange(k0, k1, dtype=torch.int64)

    def values(k: int, state: State) -> dict[str, Array]:
        found = measure(problem, state, start, labels)
        return found if k else {**found, "flipped": problem.flipped.numpy().astype(np.float32)}

    record = record_steps(config.steps, 60, config.early_step)
    return train(start, make_step(configs, problem, labels), updates, record, values)


# ---- What is measured, claims ----


def share(right: Tensor, among: Tensor) -> Tensor:
    """The share of `right` among the chosen samples, (R, n) each: (R,) float64, NaN where there are none."""
    return (right & among).sum(1).double() / among.sum(1)


def measure(problem: Problem, state: State, start: State, labels: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, (R,) unless said otherwise.

    clean_fit, noisy_fit: share of unflipped, of flipped samples with label f > 0; test: accuracy on the test samples;
    auc: probability that a flipped sample's loss exceeds a clean one's; gamma: see `signal_learned`; rho, rho_noisy:
    mean of `noise_memorized` over unflipped, over flipped; grad_ratio: see `gradient_ratio`; loss: mean over all
    samples; losses (R, n); kept_clean: unflipped share of the samples trained on.
    """
    f = network.output(problem, problem.y, state.signal, state.noise)  # (R, n)
    flipped, clean = problem.flipped, ~problem.flipped  # (R, n)
    losses = network.losses(f, labels)  # (R, n)
    rho = network.noise_memorized(problem, state, labels)  # (R, n)
    values = {
        "clean_fit": share(labels * f > 0, clean),
        "noisy_fit": share(labels * f > 0, flipped),
        "test": (problem.test_y * network.test_output(problem, state) > 0).double().mean(1),
        "gamma": network.signal_learned(problem, state, start),
        "rho": (rho * clean).sum(1) / clean.sum(1),
        "rho_noisy": (rho * flipped).sum(1) / flipped.sum(1),
        "grad_ratio": network.gradient_ratio(problem, state, labels),
        "loss": losses.mean(1),
        "losses": losses,
        "kept_clean": share(clean, state.keep > 0),
    }
    found = {name: value.numpy() for name, value in values.items()}
    return {**found, "auc": auc(found["losses"], flipped.numpy())}


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never" and "not measurable".

    early_*: at early_step; *_end, final_test: at the last frame. test_drop: the best test accuracy of any frame minus
    the last. t_clean: first frame with a clean fit of at least .99; t_memorized: first frame from which on the fit of
    flipped samples stays at .9 or more. grad_ratio_1: at step 1. select_precision: unflipped share of the samples that
    a selection kept.
    """
    steps = history.at("test")  # (T,)
    early = int(np.searchsorted(steps, history.config.early_step))
    known = early < len(steps) and steps[early] == history.config.early_step
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
        "test_drop": test_drop(history),
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


def test_drop(history: History) -> Array:
    """The fall of test accuracy from its best to its last frame, (R,)."""
    test = history["test"]
    return np.asarray(test.max(0) - test[-1])


def _settled(steps: Array, reached: Array) -> Array:
    """The first of the steps (T,) from which on reached (T, R) stays true, (R,); NaN for never."""
    return first_step(steps, np.logical_and.accumulate(reached[::-1])[::-1])


def _precision_and_test(found: Metrics, config: object) -> Array:
    """The smaller one of the unflipped share of what was kept and the last test accuracy."""
    return np.minimum(found["select_precision"], found["final_test"])


def _measured(c: Config) -> bool:
    """Where it was measured, selection apart: the early step is the one at which lr x step = 2."""
    sizes = c.dim <= 200 and (c.width, c.n_train, c.input_noise_std) == (10, 100, 1.0)
    times = np.isclose(c.lr * c.early_step, 2) and c.lr <= 0.2 and c.lr * c.steps >= 100
    return bool(sizes and times and 0.25 <= c.flip_rate <= 0.3 and 3.5 <= c.signal_norm <= 6 and c.init_scale <= 0.003)


def _all_samples(c: Config) -> bool:
    """Nothing is dropped."""
    return _measured(c) and c.select_step == 0


def _early_selection(c: Config) -> bool:
    """As many are dropped as are flipped, at lr x step = 2."""
    return _measured(c) and bool(np.isclose(c.lr * c.select_step, 2)) and c.select_drop == c.flip_rate


LOW_SNR = Control("signal 1", {"signal_norm": 1.0})
SELECT = Control("samples of high loss dropped at step 20", {"select_step": 20})

CLAIMS = (
    Claim(
        id="clean_first",
        statement="Early on, all clean samples are fitted.",
        metric="early_clean_fit",
        bound=above(0.99),
        where=_all_samples,
    ),
    Claim(
        id="noisy_later",
        statement="Flipped samples are not: fewer than 60 % at the same step.",
        metric="early_noisy_fit",
        bound=below(0.6),
        where=lambda c: _all_samples(c) and c.signal_norm >= 4,
        controls=(LOW_SNR,),
    ),
    Claim(
        id="early_stop",
        statement="Stopped there, the network is right on over 95 % of the test samples.",
        metric="early_test",
        bound=above(0.95),
        where=_all_samples,
        controls=(LOW_SNR,),
    ),
    Claim(
        id="memorizes",
        statement="In the end the flipped samples are fitted too, with their wrong labels.",
        metric="noisy_fit_end",
        bound=above(0.95),
        where=_all_samples,
        controls=(SELECT,),
    ),
    Claim(
        id="test_falls",
        statement="That costs test accuracy: over 5 points less than at its best.",
        metric="test_drop",
        bound=above(0.05),
        where=lambda c: _all_samples(c) and c.flip_rate == 0.3,
        controls=(Control("no flipped labels", {"flip_rate": 0.0}), LOW_SNR),
    ),
    Claim(
        id="loss_separates",
        statement="Early on, the loss tells flipped samples from clean ones.",
        metric="early_auc",
        bound=above(0.98),
        where=_all_samples,
        controls=(LOW_SNR,),
    ),
    Claim(
        id="loss_mixes",
        statement="In the end it no longer does.",
        metric="auc_end",
        bound=below(0.93),
        where=_all_samples,
        controls=(SELECT,),
    ),
    Claim(
        id="selection",
        statement="Dropping the samples of highest loss early, as many as are flipped, keeps clean ones and the test "
        "accuracy: both over 98 %.",
        metric="select_precision",
        bound=above(0.98),
        where=_early_selection,
        controls=(Control("the same at step 1000", {"select_step": 1000}),),
        preset="select_early",
        value=_precision_and_test,
    ),
)


# ---- Figure ----

CLEAN, FLIPPED = BLUE, ORANGE
EDGES = 10.0 ** np.arange(-2.5, 1.01, 0.5)  # of the bins of the losses; the outer bins take all beyond
NAMES = [f"{middle:.1g}" for middle in np.sqrt(EDGES[1:] * EDGES[:-1])]


def panels(history: History) -> list[Panel]:
    """Fits and test accuracy; signal and noise in the filters; losses now; how well losses tell samples apart."""
    step = log_steps(history)
    return [
        Panel(
            "Who is fitted when",
            step,
            Axis("share of samples", range=(0, 1.03)),
            [
                recorded_line(history, "clean_fit", "clean samples", CLEAN, start=1),
                recorded_line(history, "noisy_fit", "flipped samples", FLIPPED, start=1),
                recorded_line(history, "test", "test accuracy", TEST, start=1),
                *_times(history),
            ],
        ),
        Panel(
            "What the filters hold",
            step,
            Axis("γ, ρ"),
            [
                recorded_line(history, "gamma", "signal γ", ALIGNMENT, start=1),
                recorded_line(history, "rho", "noise ρ of clean samples", CLEAN, start=1),
                recorded_line(history, "rho_noisy", "noise ρ of flipped samples", FLIPPED, start=1),
            ],
        ),
        _losses(history),
        Panel(
            "Can the loss tell flipped samples?",
            step,
            Axis("P(flipped loss > clean loss)", range=(0, 1.03)),
            [
                recorded_line(history, "auc", "area under the ROC curve", TEST, start=1),
                Level("chance", y=0.5),
                *_times(history),
            ],
            note="" if history.config.flipped else "No label is flipped.",
        ),
    ]


def _times(history: History) -> list[Level]:
    """Where "early" is, and where samples are dropped."""
    select = history.config.select_step
    dropped = float(select) if 0 < select <= history.config.steps else np.nan
    return [Level("early", x=float(history.config.early_step)), Level("samples dropped", x=dropped, color=FLIPPED)]


def _losses(history: History) -> Panel:
    """How many samples of the first run have which loss now."""
    counts = [np.full(len(NAMES), np.nan)] * 2
    if "losses" in history:
        flipped = history["flipped"][0, 0] > 0
        losses = np.clip(history.last("losses")[0], EDGES[0], EDGES[-1] * 0.999)
        counts = [np.histogram(losses[group], EDGES)[0].astype(float) for group in (~flipped, flipped)]
    bars = [
        Bars(name, NAMES, n, color)
        for name, n, color in zip(("clean", "flipped"), counts, (CLEAN, FLIPPED), strict=True)
    ]
    return Panel("Losses of the training samples now", Axis("loss, about"), Axis("samples"), [*bars])


# ---- The record ----

EXPERIMENT = Experiment(
    name="label_noise.features",
    title="Clean samples first, flipped ones later",
    question="Are clean samples fitted first, by the signal, and flipped ones memorized later, by their noise?",
    paper="2505.18909",
    seconds=0.6,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Fall of the test accuracy",
        label="best − last",
        x="signal_norm",
        y="flip_rate",
        xs=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
        ys=(0.0, 0.1, 0.2, 0.3, 0.4),
        simulate=simulate,
        value=test_drop,
    ),
)
