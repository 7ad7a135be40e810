"""Is a critical point of a narrow network a saddle of the wider one, with a Hessian that theory predicts?

Zhang et al. 2021, "Embedding principle of loss landscape of deep neural networks" (arXiv 2105.14573, 2111.15527). A
narrow tanh network f(x) = sum_k a_k tanh(w_k x + b_k) is brought to a critical point, one neuron is split in two, and
the wide network is kicked.
"""

from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import evenly, full_batch, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam, sgd
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation.split_claims import CLAIMS, RATIOS, metrics
from dyntoolkit.phenomena.condensation.split_config import PRESETS, Config
from dyntoolkit.phenomena.condensation.split_figure import panels
from dyntoolkit.phenomena import _sines as sines
from dyntoolkit.probes.inertia import inertia

Tensor = torch.Tensor
X = torch.linspace(-2, 2, 30, dtype=torch.float64)
Y = torch.tanh(2 * (X + 1.5)) + 0.7 * torch.tanh(4 * X) - 0.8 * torch.tanh(4 * (X - 1))
DATA = sines.Data(X, Y)
NEWTON, DONE = 60, 1e-14  # most steps of Newton's method, and the gradient norm at which it ends
EVERY = 10  # steps between two measurements after the kick


def loss_and_gradient(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error (...) and gradient (..., 3k); theta (..., 3k) holds w (k), b (k), a (k)."""
    value, gradient = sines.loss_and_gradient(_without_offset(theta), DATA)
    return value, gradient[..., :-1]


def hessian(theta: Tensor) -> Tensor:
    """The exact Hessian (..., 3k, 3k)."""
    return sines.hessian(_without_offset(theta), DATA)[..., :-1, :-1]


def _without_offset(theta: Tensor) -> Tensor:
    """As a network of `sines`, whose last weight is an offset c = 0."""
    return torch.cat([theta, torch.zeros_like(theta[..., :1])], dim=-1)


def newton(theta: Tensor) -> Generator[None, None, Tensor]:
    """Damped Newton steps from theta (R, 3k) to a critical point, minimum or saddle; each run accepts its own.

    A step solves (H + max(mu, mu - 1.5 e_1) I) s = -g with e_1 the least eigenvalue, so it always leads down. A step
    that lowers the loss is taken and mu falls fivefold, else mu rises fivefold.
    """
    mu = torch.full((len(theta), 1), 1e-2, dtype=torch.float64)
    for _ in range(NEWTON):
        value, g = loss_and_gradient(theta)
        H, active = hessian(theta), (g.norm(dim=1) >= DONE).unsqueeze(1)
        shift = torch.maximum(mu, mu - 1.5 * torch.linalg.eigvalsh(H)[:, :1])
        eye = torch.eye(H.shape[-1], dtype=H.dtype)
        step = -torch.linalg.solve(H + shift.unsqueeze(2) * eye, g.unsqueeze(2)).squeeze(2)
        better = (loss_and_gradient(theta + step)[0] < value).unsqueeze(1)
        theta = torch.where(active & better, theta + step, theta)
        mu = torch.where(better, (mu / 5).clamp_min(1e-14), (mu * 5).clamp_max(1e3))
        yield
    return theta


def split(theta: Tensor, j: int, c: Tensor | float, rest: Tensor | float | None = None) -> Tensor:
    """Neuron j as (c a, w) in its place and ((1 - c) a, w) as the last one, (..., 3k + 3); `rest` in place of 1 - c."""
    w, b, a = theta.view(*theta.shape[:-1], 3, -1).unbind(-2)  # (..., k) each
    second = (1 - c) * a[..., j] if rest is None else rest * a[..., j]
    first = torch.cat([a[..., :j], (c * a[..., j]).unsqueeze(-1), a[..., j + 1 :]], dim=-1)
    rows = (torch.cat([w, w[..., j : j + 1]], -1), torch.cat([b, b[..., j : j + 1]], -1))
    return torch.cat([*rows, first, second.unsqueeze(-1)], dim=-1)


def predicted_inertia(theta: Tensor, j: int, ratios: Array) -> Array:
    """Inertia (R, C, 3) of the Hessian after splitting neuron j of a critical theta (R, 3k) by each ratio c (C,).

    That of the narrow Hessian, and of c (1 - c) a_j B with B = 2/n sum_i r_i sigma''(w_j . x_i) x_i x_i^T, and a zero.
    """
    w, b, a = theta.view(*theta.shape[:-1], 3, -1).unbind(-2)  # (R, k)
    hidden = torch.tanh(w.unsqueeze(1) * X.view(1, -1, 1) + b.unsqueeze(1))  # (R, n, k)
    residual = (hidden @ a.unsqueeze(2)).squeeze(2) - Y  # (R, n)
    t = hidden[:, :, j]
    bend = residual * -2 * t * (1 - t * t)  # (R, n)
    x = torch.stack([X, torch.ones_like(X)], dim=1)  # (n, 2)
    B = 2 / len(X) * torch.einsum("rn,ni,nj->rij", bend, x, x)  # (R, 2, 2)
    own = torch.linalg.eigvalsh(a[:, j, None, None] * B).numpy()  # (R, 2)
    extra = inertia((ratios * (1 - ratios))[None, :, None] * own[:, None, :])  # (R, C, 3), of two numbers
    narrow = inertia(torch.linalg.eigvalsh(hessian(theta)).numpy())  # (R, 3)
    return np.asarray(narrow[:, None] + extra + np.array([0, 1, 0]))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Fit R narrow networks, split one neuron of each, kick them and train on.

    While fitting: fit_loss (R,). After Newton's method: narrow_gradient, wide_gradient, copy_gradient, lambda_min (R,);
    spectrum (R, C, 3k + 3), inertia and predicted (R, C, 3) for the C = 61 ratios. After the kick, every 10 steps:
    escape_loss (R,).
    """
    c = configs[0]
    names = ("lr", "fit_lr", "delta", "split_ratio")
    columns = (per_run(configs, name, torch.float64) for name in names)
    lr, fit_lr, delta, ratio = columns  # (R,) each
    begin, total = c.fit_steps + NEWTON, c.fit_steps + NEWTON + c.steps

    fitted, marks = yield from train(
        Adam.start(Stream(seeds, "init").normal(3 * c.width, dtype=torch.float64)),
        lambda state, _: adam(state, loss_and_gradient(state.theta)[1], fit_lr),
        full_batch,
        evenly(c.fit_steps, 41),
        lambda _, state: {"fit_loss": loss_and_gradient(state.theta)[0].numpy()},
        total=total,
    )
    search, step = newton(fitted.theta), c.fit_steps
    while True:
        try:
            next(search)
        except StopIteration as end:
            theta: Tensor = end.value
            break
        step += 1
        yield Frame(step, total, {}, marks)
    yield Frame(begin, total, landscape(theta, c.split_neuron, ratio), marks)
    wide = split(theta, c.split_neuron, ratio)
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


def landscape(theta: Tensor, j: int, ratio: Tensor) -> dict[str, Array]:
    """What is measured at a critical point theta (R, 3k) and after splitting its neuron j; see `simulate`."""
    grid = torch.from_numpy(RATIOS)  # (C,)
    wide = torch.stack([split(theta, j, c) for c in grid], dim=1)  # (R, C, 3k + 3)
    spectrum = torch.linalg.eigvalsh(hessian(wide)).numpy()
    own = split(theta, j, ratio)
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
