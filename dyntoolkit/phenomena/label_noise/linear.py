"""Two phases of SGD with fresh label noise in a two-layer linear network (Two phases, arXiv 2603.10397).

The network f(x) = s a^T W x starts lazy: a = 0 and a large W. SGD fits at once, and then fresh noise on the labels goes
on moving the weights. Phase I: W shrinks while a oscillates near zero. Phase II: the neurons align with the truth.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import BLOCK, evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.two_layer_linear import gradients
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.label_noise.flow import Flow, noise_is_on
from dyntoolkit.phenomena.label_noise.linear_claims import CLAIMS, metrics
from dyntoolkit.phenomena.label_noise.linear_config import PRESETS, Config
from dyntoolkit.phenomena.label_noise.linear_figure import panels
from dyntoolkit.probes.alignment import alignment
from dyntoolkit.probes.effective_rank import effective_rank
from dyntoolkit.probes.ntk import input_metric, kernel_change

Tensor = torch.Tensor
FRAMES = 121
HELD = 2**24  # numbers in the inputs of the batches that are drawn at once, 64 MB
SHOWN = 8  # neurons whose weights are recorded one by one


class State(NamedTuple):
    """Trainable weights of R runs."""

    W: Tensor  # (R, m, d) first layer
    a: Tensor  # (R, m) second layer


class Batch(NamedTuple):
    """What one step of R runs sees."""

    x: Tensor  # (R, B, d)
    target: Tensor  # (R, B) labels with their noise
    kick: Tensor | None  # (R, m) added to the second layer while the gradient is taken


class Data(NamedTuple):
    """Training inputs and the truth."""

    X: Tensor  # (R, n, d)
    beta: Tensor  # (R, d)


def draw_data(configs: Sequence[Config], seeds: Sequence[int]) -> Data:
    """Gaussian inputs, whitened to S = X^T X/n = I where asked for, and a random direction of length target_norm."""
    n, d = configs[0].n_train, configs[0].dim
    X = Stream(seeds, "data").normal(n, d, dtype=torch.float64)  # (R, n, d)
    if configs[0].whiten:
        X = n**0.5 * torch.linalg.qr(X).Q
    g = Stream(seeds, "target").normal(d, dtype=torch.float64)  # (R, d)
    beta = per_run(configs, "target_norm", ndim=2).double() * g / g.norm(dim=1, keepdim=True)
    return Data(X.float(), beta.float())


def initial_state(configs: Sequence[Config], seeds: Sequence[int]) -> State:
    """W with entries N(0, init_scale^2), and a = 0."""
    W = Stream(seeds, "init").normal(configs[0].width, configs[0].dim)
    return State(per_run(configs, "init_scale", ndim=3) * W, torch.zeros(W.shape[:2]))


def make_step(configs: Sequence[Config]) -> Callable[[State, Batch], State]:
    """One SGD step on the mean of (f(x_i) - target_i)^2 / 2, both layers together; as SAM where sam_rho > 0."""
    s, lr, rho = configs[0].scale, per_run(configs, "lr", ndim=2), per_run(configs, "sam_rho", ndim=2)  # rates: (R, 1)
    sam = bool(rho.any())

    def step(state: State, batch: Batch) -> State:
        W, a = state  # (R, m, d), (R, m)
        at_W, at_a = W, a if batch.kick is None else a + batch.kick
        if sam:  # climb by rho along the joint gradient, and take the gradient there
            dW, da = gradients(batch.x, batch.target, at_W, at_a, s)
            norm = (dW.square().sum((1, 2)) + da.square().sum(1)).sqrt().clamp_min(1e-30).unsqueeze(1)  # (R, 1)
            at_W, at_a = at_W + (rho / norm).unsqueeze(2) * dW, at_a + rho / norm * da
        dW, da = gradients(batch.x, batch.target, at_W, at_a, s)
        return State(torch.addcmul(W, lr.unsqueeze(2), dW, value=-1), torch.addcmul(a, lr, da, value=-1))

    return step


def make_batches(configs: Sequence[Config], seeds: Sequence[int], data: Data) -> Callable[[int, int], Iterator[Batch]]:
    """The batches of updates k0..k1-1: samples with replacement (or all of them) and +-noise_std on their labels."""
    c, clean = configs[0], (data.X @ data.beta.unsqueeze(2)).squeeze(2)  # (R, n)
    tau, kick_std = per_run(configs, "noise_std", ndim=3), per_run(configs, "kick_std", ndim=3)
    index, noise, kicks = (Stream(seeds, name) for name in ("batch", "noise", "kick"))
    fixed = noise.signs(c.n_train) if c.fixed_noise else None  # (R, n)

    def take(values: Tensor, rows: Tensor | None, steps: int) -> Tensor:
        """values (R, n, ...) of the chosen samples, (R, steps, B, ...)."""
        if rows is None:
            return values.unsqueeze(1).expand(-1, steps, *values.shape[1:])
        return values[torch.arange(len(values))[:, None, None], rows]

    def batches(k0: int, k1: int) -> Iterator[Batch]:
        steps = k1 - k0
        rows = None if c.batch == c.n_train else index.indices(c.n_train, steps, c.batch)  # (R, steps, B)
        target = take(clean, rows, steps)  # (R, steps, B)
        if tau.any():
            signs = noise.signs(steps, c.batch) if fixed is None else take(fixed, rows, steps)
            on = torch.from_numpy(noise_is_on(np.arange(k0, k1), c.noise_period))[:, None]  # (steps, 1)
            target = target + tau * on * signs
        kick = (kick_std * kicks.signs(steps, c.width)).unbind(1) if kick_std.any() else [None] * steps
        return map(Batch, take(data.X, rows, steps).unbind(1), target.unbind(1), kick)

    return batches


def simulate(configs: Sequence[Config], seeds: Sequence[int], frames: int = FRAMES) -> Iterator[Frame]:
    """Train R two-layer linear networks under label noise and record how their weights move.

    configs, seeds: one of each per run; the configs agree on their structural fields. A run's data, initial weights,
    batches, noise and kicks come from separate streams of its seed, so a run and its control (same seed, another
    noise_std, sam_rho, ...) share data and weights. Record: `frames` evenly spaced steps, 121 unless said otherwise,
    and the first 120 multiples of noise_period.

    Values of a frame, float64: w2 = |W|_F^2, a2 = |a|^2, align = |W b|^2/|W|_F^2 with b along beta*, ntk = change of
    the tangent kernel, erank = effective rank of W, loss = noise-free training loss, flow_w2 and flow_align = the
    flow's prediction (NaN where there is none), all (R,); a and row_norm (R, 8) = second-layer weights and first-layer
    norms of the first eight neurons.
    """
    c, data, start = configs[0], draw_data(configs, seeds), initial_state(configs, seeds)
    X, beta, W0 = data.X.double(), data.beta.double(), start.W.double()
    S = X.mT @ X / c.n_train  # (R, d, d)
    P0 = input_metric(W0, start.a.double())
    flow = Flow(configs, W0.numpy(), S.numpy(), beta.numpy())

    def measure(k: int, state: State) -> dict[str, Array]:
        W, a = state.W.double(), state.a.double()
        P = input_metric(W, a)
        error = c.scale * (a.unsqueeze(1) @ W).squeeze(1) - beta  # (R, d)
        flow_w2, flow_align = flow.at(k)
        return {
            "w2": W.square().sum((1, 2)).numpy(),
            "a2": a.square().sum(1).numpy(),
            "align": alignment(W, beta).numpy(),
            "ntk": kernel_change(P, P0, S).numpy(),
            "erank": effective_rank(W.mT @ W).numpy(),
            "loss": ((error.unsqueeze(1) @ S).squeeze(1) * error).sum(1).numpy() / 2,
            "a": a[:, :SHOWN].numpy(),
            "row_norm": W[:, :SHOWN].norm(dim=2).numpy(),
            "flow_w2": flow_w2,
            "flow_align": flow_align,
        }

    switches = range(0, c.steps + 1, c.noise_period)[:FRAMES] if c.noise_period else ()
    record = evenly(c.steps, frames, *switches)
    block = max(1, min(BLOCK, HELD // (len(seeds) * c.batch * c.dim)))
    yield from train(start, make_step(configs), make_batches(configs, seeds, data), record, measure, block=block)


EXPERIMENT = Experiment(
    name="label_noise.linear",
    title="Two-phase label noise",
    question="Does fresh label noise turn a lazy two-layer linear net into a rich one, in two phases, "
    "as the flow predicts?",
    paper="2603.10397",
    seconds=2.2,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
