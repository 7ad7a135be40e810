"""Is a critical point of a narrow network a saddle of the wider one, with a Hessian that theory predicts?

Zhang et al. 2021, "Embedding principle of loss landscape of deep neural networks" (arXiv 2105.14573, 2111.15527). A
narrow tanh network f(x) = sum_k a_k tanh(w_k x + b_k) is brought to a critical point, one neuron is split in two, and
the wide network is kicked.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam, sgd
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    at_least,
    at_most,
    below,
    between,
    config,
    defaults,
    number,
    settings,
)
from dyntoolkit.figure.panels import BLUE, GREEN, GREY, ORANGE, RED, TRAIN, Axis, Level, Line, Panel
from dyntoolkit.phenomena import _sines as sines
from dyntoolkit.probes.inertia import inertia

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one narrow network, brought to a critical point, split and kicked (arXiv 2105.14573, 2111.15527)."""

    width: int = number(1, 1, 2, label="narrow width k", help="neurons before splitting", structural=True, main=True)
    split_neuron: int = number(0, 0, 1, label="neuron j", help="the one to split, below the width", structural=True)
    split_ratio: float = number(
        0.5, -1.0, 2.0, label="split ratio c", help="(a, w) becomes (c a, w) and ((1 - c) a, w)", main=True
    )
    delta: float = number(1e-4, 1e-6, 1e-2, label="kick δ", help="standard deviation of the kick", log=True, main=True)
    lr: float = number(
        0.1, 0.01, 0.3, label="learning rate η", help="gradient descent after the kick", log=True, main=True
    )
    steps: int = number(6000, 1000, 20000, label="steps", help="after the kick", log=True, structural=True)
    fit_lr: float = number(0.02, 0.001, 0.1, label="fit learning rate", help="Adam before Newton", log=True)
    fit_steps: int = number(3000, 500, 10000, label="fit steps", help="Adam before Newton", log=True, structural=True)

    def check(self) -> None:
        """The neuron to split must be there."""
        if self.split_neuron >= self.width:
            allowed = "0" if self.width == 1 else "0 or 1"
            raise InputError(
                f"split_neuron takes {allowed} at width {self.width}, got {self.split_neuron}.", "split_neuron"
            )


PRESETS = {
    "saddle": Preset("Half and half: one direction leads down, and a small kick escapes along it."),
    "no_escape": Preset("Beyond 1: other curvatures, and no quick way down.", {"split_ratio": 1.5}),
    "two_neurons": Preset("A narrow network of two; for most seeds it has no critical point.", {"width": 2}),
    "flat": Preset("All to one copy: three flat directions, none that leads down.", {"split_ratio": 0.0}),
}

# ---- Data, model, step ----

X = torch.linspace(-2, 2, 30, dtype=torch.float64)
Y = torch.tanh(2 * (X + 1.5)) + 0.7 * torch.tanh(4 * X) - 0.8 * torch.tanh(4 * (X - 1))
DATA = sines.Data(X, Y)
NEWTON, DONE = 60, 1e-14  # most steps of Newton's method, and the gradient norm at which it ends
EVERY = 10  # steps between two measurements after the kick
RATIOS = np.linspace(-1, 2, 61)  # split ratios c for which the wide Hessian is measured


def loss_and_gradient(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error (...) and gradient (..., 3k); theta (..., 3k) holds w (k), b (k), a (k)."""
    value, gradient = sines.loss_and_gradient(_with_offset(theta), DATA)
    return value, gradient[..., :-1]


def hessian(theta: Tensor) -> Tensor:
    """The exact Hessian (..., 3k, 3k) at theta (..., 3k)."""
    return sines.hessian(_with_offset(theta), DATA)[..., :-1, :-1]


def _with_offset(theta: Tensor) -> Tensor:
    """As a network of `sines`, whose last weight is an offset: here c = 0. (..., 3k + 1)."""
    return torch.cat([theta, torch.zeros_like(theta[..., :1])], dim=-1)


def newton_step(theta: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """One damped Newton step on the way from theta (R, 3k) to a critical point, minimum or saddle; with the next mu.

    mu: (R, 1) the damping. A step leads down in any case; each run takes its own only if it lowers its loss.
    """
    value, g = loss_and_gradient(theta)  # (R,), (R, 3k)
    H = hessian(theta)  # (R, 3k, 3k)
    # s = -(H + max(mu, mu - 1.5 e_1) I)^-1 g, with e_1 the smallest eigenvalue of H
    shift = torch.maximum(mu, mu - 1.5 * torch.linalg.eigvalsh(H)[:, :1])  # (R, 1)
    eye = torch.eye(H.shape[-1], dtype=H.dtype)
    s = -torch.linalg.solve(H + shift.unsqueeze(2) * eye, g.unsqueeze(2)).squeeze(2)  # (R, 3k)
    better = (loss_and_gradient(theta + s)[0] < value).unsqueeze(1)  # (R, 1)
    active = (g.norm(dim=1) >= DONE).unsqueeze(1)  # (R, 1)
    after = torch.where(active & better, theta + s, theta)  # (R, 3k)
    # mu <- max(mu/5, 1e-14) where the step was taken, else min(5 mu, 1e3)
    return after, torch.where(better, (mu / 5).clamp_min(1e-14), (mu * 5).clamp_max(1e3))


def split(theta: Tensor, j: int, c: Tensor | float, rest: Tensor | float | None = None) -> Tensor:
    """Neuron j as (c a, w) in its place and ((1 - c) a, w) as the last one, (..., 3k + 3); `rest` in place of 1 - c."""
    w, b, a = theta.view(*theta.shape[:-1], 3, -1).unbind(-2)  # (..., k) each
    second = (1 - c) * a[..., j] if rest is None else rest * a[..., j]  # (...)
    first = torch.cat([a[..., :j], (c * a[..., j]).unsqueeze(-1), a[..., j + 1 :]], dim=-1)  # (..., k)
    wide_w = torch.cat([w, w[..., j : j + 1]], dim=-1)  # (..., k + 1)
    wide_b = torch.cat([b, b[..., j : j + 1]], dim=-1)  # (..., k + 1)
    return torch.cat([wide_w, wide_b, first, second.unsqueeze(-1)], dim=-1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Fit R narrow networks, split one neuron of each, kick them and train on.

    While fitting: fit_loss (R,). After Newton's method: narrow_gradient, wide_gradient, copy_gradient, lambda_min (R,);
    spectrum (R, C, 3k + 3), inertia and predicted (R, C, 3) for the C = 61 ratios. After the kick, every 10 steps:
    escape_loss (R,).
    """
    c = configs[0]
    names = ("lr", "fit_lr", "delta", "split_ratio")
    lr, fit_lr, delta, ratio = (per_run(configs, name, torch.float64) for name in names)  # (R,) each
    begin = c.fit_steps + NEWTON
    total = begin + c.steps

    fitted, marks = yield from train(
        Adam.start(Stream(seeds, "init").normal(3 * c.width, dtype=torch.float64)),
        lambda state, _: adam(state, loss_and_gradient(state.theta)[1], fit_lr),
        full_batch,
        evenly(c.fit_steps, 41),
        lambda _, state: {"fit_loss": loss_and_gradient(state.theta)[0].numpy()},
        total=total,
    )
    theta: Tensor = fitted.theta  # (R, 3k)
    mu = torch.full((len(theta), 1), 1e-2, dtype=torch.float64)
    for step in range(c.fit_steps + 1, begin + 1):
        theta, mu = newton_step(theta, mu)
        yield Frame(step, total, {}, marks)
    yield Frame(begin, total, landscape(theta, c.split_neuron, ratio), marks)
    wide = split(theta, c.split_neuron, ratio)  # (R, 3k + 3)
    kick = delta.unsqueeze(1) * Stream(seeds, "kick").normal(wide.shape[1], dtype=torch.float64)
    yield from train(
        Sgd(wide + kick),
        lambda state, _: sgd(state, loss_and_gradient(state.theta)[1], lr),
        full_batch,
        sorted({*range(0, c.steps, EVERY), c.steps}),
        lambda _, state: {"escape_loss": loss_and_gradient(state.theta)[0].numpy()},
        start=begin,
        total=total,
        diverged=marks,
    )


# ---- What is measured, claims ----

CRITICAL = 1e-9  # gradient norm below which a point counts as critical
ESCAPED = 0.999  # share of the loss at the kick, below which a run has escaped


def landscape(theta: Tensor, j: int, ratio: Tensor) -> dict[str, Array]:
    """What is measured at a critical point theta (R, 3k) and after splitting its neuron j; see `simulate`."""
    grid = torch.from_numpy(RATIOS)  # (C,)
    wide = torch.stack([split(theta, j, c) for c in grid], dim=1)  # (R, C, 3k + 3)
    spectrum = torch.linalg.eigvalsh(hessian(wide)).numpy()  # (R, C, 3k + 3)
    own = split(theta, j, ratio)  # (R, 3k + 3)
    return {
        "narrow_gradient": loss_and_gradient(theta)[1].norm(dim=1).numpy(),
        "wide_gradient": loss_and_gradient(own)[1].norm(dim=1).numpy(),
        "copy_gradient": loss_and_gradient(split(theta, j, 1.0, 1.0))[1].norm(dim=1).numpy(),
        "lambda_min": torch.linalg.eigvalsh(hessian(own))[:, 0].numpy(),
        "spectrum": spectrum,
        "inertia": inertia(spectrum),
        "predicted": predicted_inertia(theta, j, RATIOS),
        "critical_loss": loss_and_gradient(theta)[0].numpy(),
    }


def predicted_inertia(theta: Tensor, j: int, ratios: Array) -> Array:
    """Inertia (R, C, 3) of the Hessian after splitting neuron j of a critical theta (R, 3k) by each ratio c (C,).

    That of the narrow Hessian, and of c (1 - c) a_j B, and a zero.
    """
    w, b, a = theta.view(*theta.shape[:-1], 3, -1).unbind(-2)  # (R, k) each
    hidden = torch.tanh(w.unsqueeze(1) * X.view(1, -1, 1) + b.unsqueeze(1))  # (R, n, k)
    residual = (hidden @ a.unsqueeze(2)).squeeze(2) - Y  # (R, n)
    t = hidden[:, :, j]  # (R, n)
    bend = residual * -2 * t * (1 - t * t)  # (R, n) r_i sigma''(w_j . x_i)
    x = torch.stack([X, torch.ones_like(X)], dim=1)  # (n, 2)
    # B = 2/n sum_i r_i sigma''(w_j . x_i) x_i x_i^T
    B = 2 / len(X) * torch.einsum("rn,ni,nj->rij", bend, x, x)  # (R, 2, 2)
    own = torch.linalg.eigvalsh(a[:, j, None, None] * B).numpy()  # (R, 2)
    extra = inertia((ratios * (1 - ratios))[None, :, None] * own[:, None, :])  # (R, C, 3), of two numbers
    narrow = inertia(torch.linalg.eigvalsh(hessian(theta)).numpy())  # (R, 3)
    return np.asarray(narrow[:, None] + extra + np.array([0, 1, 0]))


def is_critical(history: History) -> Array:
    """(R,) whether Newton's method has reached a critical point; False before it ends."""
    if "narrow_gradient" not in history:
        return np.zeros(len(history.seeds), dtype=bool)
    return history.last("narrow_gradient") < CRITICAL


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, (R,); NaN without a critical point.

    narrow_gradient: |g| of the narrow network. wide_gradient, copy_gradient: after the splitting, and after a copy
    without factors. mismatches: values of c at which the inertia is not the predicted one. lambda_min: least
    eigenvalue of the wide Hessian. escape: step after the kick at which the loss is first below 0.999 of it (NaN:
    never). gap: steps that a kick 100 times smaller should cost, ln 100 / (lr |lambda_min|).
    """
    steps, loss = history.at("escape_loss"), history["escape_loss"]  # (T,), (T, R)
    out = loss < ESCAPED * loss[0]  # (T, R)
    wrong = (history.last("inertia") != history.last("predicted")).any(2).sum(1)  # (R,)
    lr = np.array([c.lr for c in history.configs])  # (R,)
    lowest = history.last("lambda_min")  # (R,)
    found = {
        "wide_gradient": history.last("wide_gradient"),
        "copy_gradient": history.last("copy_gradient"),
        "mismatches": wrong.astype(np.float64),
        "lambda_min": lowest,
        "escape": np.where(out.any(0), steps[out.argmax(0)] - steps[0], np.nan),
        "gap": np.log(100) / (lr * np.abs(lowest)),
    }
    critical = is_critical(history)
    known = {name: np.where(critical, value, np.nan) for name, value in found.items()}
    return {"narrow_gradient": history.last("narrow_gradient"), **known}


def _gap(rows: Sequence[Metrics]) -> Array:
    """Measured over predicted extra steps of the smaller kick, minus 1."""
    small, large = rows
    return np.asarray((small["escape"] - large["escape"]) / large["gap"] - 1)


ONE_NEURON = settings(width=1, split_neuron=0, fit_lr=0.02, fit_steps=3000)  # fitted so, and split and kicked anyhow
SADDLE = defaults(steps=at_least(6000))

CLAIMS = (
    Claim(
        id="split_keeps_gradient",
        statement="The split network stands at a critical point, too: its gradient is zero.",
        metric="wide_gradient",
        bound=below(1e-8),
        where=ONE_NEURON,
        controls=(Control("copied without factors", metric="copy_gradient"),),
    ),
    Claim(
        id="inertia_predicted",
        statement="The numbers of negative, zero and positive curvatures are the predicted ones for every c.",
        metric="mismatches",
        bound=at_most(0),
        where=ONE_NEURON,
    ),
    Claim(
        id="escape_gap",
        statement="A kick 100 times smaller escapes later by the predicted number of steps, to 3 %.",
        sweep=Sweep(({"delta": 1e-6}, {"delta": 1e-4}), _gap),
        bound=between(-0.03, 0.03),
        where=SADDLE,
    ),
    Claim(
        id="saddle_escapes",
        statement="Split half and half, the network escapes in fewer than 3000 steps after a small kick.",
        metric="escape",
        bound=below(3000),
        where=SADDLE,
        controls=(Control("c = 1.5", {"split_ratio": 1.5}),),
    ),
)

# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Of the first run: the fit; the wide Hessian's spectrum and inertia against c; the escape."""
    return [_fit(history), _spectrum(history), _inertia(history), _escape(history)]


def _note(history: History) -> str:
    if "narrow_gradient" not in history:
        return "The narrow network is still on its way to a critical point."
    if is_critical(history)[0]:
        return ""
    return f"No critical point: the fit ends with a gradient of {history.last('narrow_gradient')[0]:.1g}."


def _fit(history: History) -> Panel:
    """The loss of the narrow network, and where Newton's method ends."""
    known = "fit_loss" in history
    x, y = (history.at("fit_loss"), history["fit_loss"][:, 0]) if known else (np.empty(0), np.empty(0))
    level = history.last("critical_loss")[0] if "critical_loss" in history else np.nan
    return Panel(
        "The narrow network",
        Axis("step"),
        Axis("mean squared error", log=True),
        [Line("Adam", x, y, TRAIN), Level("critical point", y=level)],
    )


def _spectrum(history: History) -> Panel:
    """All eigenvalues of the wide Hessian against c; the large positive ones are not what the theory is about."""
    values = np.full((len(RATIOS), 3 * history.config.width + 3), np.nan)
    if is_critical(history)[0]:
        values = history.last("spectrum")[0]
    return Panel(
        "Spectrum",
        Axis("split ratio c"),
        Axis("eigenvalue, wide Hessian", range=(-0.25, 0.12)),
        [
            *(Line("eigenvalues", RATIOS, row, BLUE, width=1.2, legend=k == 0) for k, row in enumerate(values.T)),
            Level("zero", y=0.0),
            Level("this c", x=history.config.split_ratio, color=RED),
        ],
        _note(history),
    )


def _inertia(history: History) -> Panel:
    """Numbers of negative, zero and positive eigenvalues against c."""
    measured = predicted = np.full((len(RATIOS), 3), np.nan)
    if is_critical(history)[0]:
        measured, predicted = history.last("inertia")[0], history.last("predicted")[0]
    signs = zip(("negative", "zero", "positive"), (RED, GREEN, ORANGE), measured.T, strict=True)
    return Panel(
        "Signs of the curvatures",
        Axis("split ratio c"),
        Axis("eigenvalues"),
        [
            *(Line(name, RATIOS, counts, color, markers="points") for name, color, counts in signs),
            *(Line("predicted", RATIOS, predicted[:, k], GREY, dash=True, legend=k == 0) for k in range(3)),
        ],
        _note(history),
    )


def _escape(history: History) -> Panel:
    """The share of the loss that is lost after the kick, and its predicted growth."""
    x = y = theory = np.empty(0)
    if "escape_loss" in history and is_critical(history)[0]:
        x = history.at("escape_loss") - history.at("escape_loss")[0]
        gone = 1 - history["escape_loss"][:, 0] / history.last("critical_loss")[0]
        y = np.where(gone > 1e-14, gone, np.nan)
        theory = _growth(x, gone, float(history.last("lambda_min")[0]), history.config.lr)
    return Panel(
        "Escape",
        Axis("step after the kick"),
        Axis("1 − L / L(critical)", log=True, range=(1e-12, 1.5)),
        [
            Line("lost share of the loss", x, y, BLUE),
            Line("e<sup>2η|λ|t</sup>", x, theory, GREY, dash=True),
            Level("escaped", y=1 - ESCAPED),
        ],
        "" if len(x) else _note(history),
    )


def _growth(x: Array, gone: Array, lowest: float, lr: float) -> Array:
    """exp(2 lr |lambda| t) through the point at which a thousandth of the loss is lost; NaN where nothing escapes."""
    out = np.flatnonzero(gone > 1 - ESCAPED)
    if not len(out) or lowest >= 0:
        return np.full(len(x), np.nan)
    line = gone[out[0]] * np.exp(2 * np.log1p(lr * abs(lowest)) * (x - x[out[0]]))
    return np.where((line < 1) & (line > 1e-30), line, np.nan)


# ---- The record ----

EXPERIMENT = Experiment(
    name="condensation.split",
    title="Splitting a neuron",
    question="Is a critical point of a narrow network a saddle of the wider one, with a Hessian that theory predicts?",
    paper="2105.14573",
    seconds=2.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
