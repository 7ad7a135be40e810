"""The training engine against what a researcher would write by hand: run-steps per second, which is R x steps / s.

R independent networks 5-100-1 with tanh, 80 points, mean squared error, Adam, float32, one thread; each network has its
own initial weights and its own learning rate. All ways begin with the same weights and must agree: unless the losses
after --updates updates are the same to a thousandth, this ends with an error. Then they are timed in turns, in one
process; shown is the median of the rounds with the smallest and the largest value.

A way of PyTorch or JAX that can be written in several forms is shown in the fastest one. `--profile R` shows instead
where the time of dyntoolkit's way goes.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from _spread import machine
from torch import nn

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.choice import BEST, FEW, Asked, asking, choose
from dyntoolkit.engine.engines import Engine
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.initialization import lecun, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import BLOCK, train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam

Tensor = torch.Tensor
Take = Callable[[], Tensor]  # one training; gives the weights at its end, (R, P), or (1, P) if it trains one run only
Make = Callable[[Tensor, Tensor, int], Take]  # initial weights (R, P), learning rates (R,), steps -> what is timed

X = torch.randn(80, 5, generator=torch.Generator().manual_seed(0))  # (n, d)
Y = torch.sin(X.sum(1, keepdim=True))  # (n, 1)
NETWORK = MLP((5, 100, 1), torch.tanh)
BETA1, BETA2, EPS, LR = 0.9, 0.999, 1e-8, 1e-3
AGREE = 1e-3  # most relative difference of two losses
SECONDS = 0.3  # about how long one training is timed
FEWEST = 4  # steps of it


@dataclass(frozen=True)
class Form:
    """One way to write the training.

    fewest: steps of a training, more where much is done once. own_rates: whether each run has its own learning rate;
    if not, all have that of the first run.
    """

    name: str
    make: Make
    fewest: int = FEWEST
    own_rates: bool = True


@dataclass
class Timed:
    """A form for so many runs; run-steps per second of each training so far, by the clock and by processor time."""

    form: Form
    steps: int
    take: Take
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def again(self) -> None:
        """Train once more."""
        wall, cpu = time.perf_counter(), time.process_time()
        done = len(self.take()) * self.steps
        self.wall.append(done / (time.perf_counter() - wall))
        self.cpu.append(done / (time.process_time() - cpu))


def start(runs: int) -> tuple[Tensor, Tensor]:
    """Initial weights (R, P) and learning rates (R,), LR for the first run and up to twice as large for the others."""
    theta = normal_init(NETWORK, Stream(range(runs), "init"), lecun(NETWORK))
    return theta, LR * 2 ** torch.linspace(0, 1, runs)


def losses(theta: Tensor) -> Tensor:
    """The loss of each row of theta, computed in float64."""
    return (NETWORK(theta.double(), X.double()) - Y.double()).square().mean((1, 2))


def _parts(theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W_1 (R, 5, 100), b_1 (R, 1, 100), W_2 (R, 100, 1), b_2 (R, 1, 1) of theta (R, P)."""
    (w1, b1), (w2, b2) = NETWORK.split(theta)
    assert b1 is not None
    assert b2 is not None
    return w1, b1, w2, b2


# ---- dyntoolkit ----


def _step(lr: Tensor) -> Callable[[Adam, Any], Adam]:
    gradients = value_and_grad(lambda theta: (NETWORK(theta, X) - Y).square().mean((1, 2)))
    return lambda state, _: adam(state, gradients(state.theta)[1], lr)


def _dyntoolkit(theta: Tensor, lr: Tensor, steps: int, *, engine: str | None) -> Take:
    """The whole generator of frames: recording, blocks, heartbeats and checks included."""

    def take() -> Tensor:
        seen: dict[str, Any] = {}
        with asking(BEST if engine is None else Asked(engine)):
            frames = train(
                Adam.start(theta),
                _step(lr),
                full_batch,
                (0, steps),
                lambda k, state: {"theta": state.theta.numpy()},
            )
            for frame in frames:
                seen |= {"theta": frame.values.get("theta"), "engine": frame.engine}
        if seen["engine"] != (engine or "xla"):
            sys.exit(f"asked for {engine}, trained by {seen['engine']}")
        return torch.from_numpy(seen["theta"])

    return take


# ---- torch.nn.Module and torch.optim.Adam, as in any script: one network after the other ----


def _network(row: Tensor) -> nn.Module:
    """The network of one row of theta (P,)."""
    w1, b1, w2, b2 = _parts(row[None])
    module = nn.Sequential(nn.Linear(5, 100), nn.Tanh(), nn.Linear(100, 1))
    parts = ("0.weight", w1[0].T), ("0.bias", b1[0, 0]), ("2.weight", w2[0].T), ("2.bias", b2[0, 0])
    module.load_state_dict(dict(parts))
    return module


def _rows(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Parameters of R networks as torch.nn has them -> theta (R, P)."""
    return torch.cat([part.detach().flatten(1) for part in (w1.mT, b1, w2.mT, b2)], dim=1)


def _module(theta: Tensor, lr: Tensor, steps: int, **options: bool) -> Take:
    """The first network only: R of them take R times as long, so the rate is that of one."""

    def take() -> Tensor:
        module = _network(theta[0])
        optimizer = torch.optim.Adam(module.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, **options)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.mse_loss(module(X), Y))
            optimizer.step()
        return _rows(*(parameter[None] for parameter in module.parameters()))

    return take


# ---- JAX by hand ----

JaxState = Any  # weights, mean, square (dictionaries of arrays), number of updates


def _jax_loss(weights: dict[str, jax.Array]) -> jax.Array:
    hidden = jnp.tanh(jnp.asarray(X.numpy()) @ weights["w1"] + weights["b1"])
    return jnp.mean((hidden @ weights["w2"] + weights["b2"] - jnp.asarray(Y.numpy())) ** 2)


def _jax_step(state: JaxState, lr: jax.Array) -> JaxState:
    """One update of one network."""
    weights, mean, square, updates = state
    _, gradient = jax.value_and_grad(_jax_loss)(weights)
    updates = updates + 1
    mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, gradient)
    square = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, square, gradient)
    scale, root = 1 / (1 - BETA1**updates), 1 / (1 - BETA2**updates)
    weights = jax.tree.map(lambda w, m, s: w - lr * (m * scale) / (jnp.sqrt(s * root) + EPS), weights, mean, square)
    return weights, mean, square, updates


def _vmap_of_scan(state: JaxState, lr: jax.Array, *, steps: int) -> JaxState:
    def one(state: JaxState, lr: jax.Array) -> JaxState:
        return jax.lax.scan(lambda state, _: (_jax_step(state, lr), None), state, length=steps)[0]

    return jax.vmap(one, ((0, 0, 0, None), 0))(state, lr)


_JAX_STEPS = jax.vmap(_jax_step, ((0, 0, 0, None), 0), (0, 0, 0, None))  # of all networks, which count together


def _scan_of_vmap(state: JaxState, lr: jax.Array, *, steps: int) -> JaxState:
    return jax.lax.scan(lambda state, _: (_JAX_STEPS(state, lr), None), state, length=steps)[0]


def _fori_loop(state: JaxState, lr: jax.Array, *, steps: int) -> JaxState:
    return jax.lax.fori_loop(0, steps, lambda _, state: _JAX_STEPS(state, lr), state)


def _jax(theta: Tensor, lr: Tensor, steps: int, *, program: Callable[..., JaxState]) -> Take:
    """Compiled beforehand, for this number of steps."""
    w1, b1, w2, b2 = _parts(theta)
    parts = {"w1": w1, "b1": b1[:, 0], "w2": w2, "b2": b2[:, 0]}
    weights = {name: jnp.array(value.numpy()) for name, value in parts.items()}
    zeros = jax.tree.map(jnp.zeros_like, weights)
    given = (weights, zeros, zeros, jnp.zeros(())), jnp.array(lr.numpy())
    compiled = jax.jit(partial(program, steps=steps)).lower(*given).compile()

    def take() -> Tensor:
        after = compiled(*given)[0]
        return torch.cat([torch.from_numpy(np.array(after[name])).flatten(1) for name in ("w1", "b1", "w2", "b2")], 1)

    return take


# ---- torch.func and vmap, as in PyTorch's tutorial on ensembles ----

Named = dict[str, Tensor]  # the parameters of R networks


def _stacked(theta: Tensor) -> Named:
    return torch.func.stack_module_state([_network(row) for row in theta])[0]


_BASE = nn.Sequential(nn.Linear(5, 100), nn.Tanh(), nn.Linear(100, 1)).to("meta")


def _func_loss(parameters: Named) -> Tensor:
    return nn.functional.mse_loss(torch.func.functional_call(_BASE, parameters, (X,)), Y)


_GRADIENTS = torch.vmap(torch.func.grad_and_value(_func_loss))  # of all networks, and their losses


def _func_step(
    parameters: Named, mean: Named, square: Named, updates: Tensor, lr: Tensor
) -> tuple[Named, Named, Named, Tensor]:
    """One update of all networks, Adam written out. lr: (R,)."""
    gradients, _ = _GRADIENTS(parameters)
    updates = updates + 1
    scale, root = lr / (1 - BETA1**updates), torch.sqrt(1 - BETA2**updates)
    mean = {name: torch.lerp(mean[name], g, 1 - BETA1) for name, g in gradients.items()}
    square = {name: torch.addcmul(BETA2 * square[name], g, g, value=1 - BETA2) for name, g in gradients.items()}
    after = {}
    for name, value in parameters.items():
        rate = scale.view(-1, *[1] * (value.ndim - 1))
        after[name] = value - rate * mean[name] / (torch.sqrt(square[name]) / root + EPS)
    return after, mean, square, updates


def _func(theta: Tensor, lr: Tensor, steps: int, *, step: Callable[..., Any] = _func_step) -> Take:
    given = {name: value.detach() for name, value in _stacked(theta).items()}

    def take() -> Tensor:
        zeros = {name: torch.zeros_like(value) for name, value in given.items()}
        state = given, zeros, zeros, torch.zeros(())
        for _ in range(steps):
            state = step(*state, lr)
        return _rows(*state[0].values())

    return take


def _func_fused(theta: Tensor, lr: Tensor, steps: int) -> Take:
    """With torch.optim.Adam, which has one learning rate for all networks: so only the first one is compared."""
    given = _stacked(theta)

    def take() -> Tensor:
        parameters = {name: value.detach().clone().requires_grad_() for name, value in given.items()}
        plain = {name: value.detach() for name, value in parameters.items()}
        optimizer = torch.optim.Adam(parameters.values(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True)
        for _ in range(steps):
            for name, gradient in _GRADIENTS(plain)[0].items():
                parameters[name].grad = gradient
            optimizer.step()
        return _rows(*parameters.values())

    return take


@cache
def _compiled_step() -> Callable[..., Any]:
    return torch.compile(_func_step, fullgraph=True, dynamic=False)


def _compiled(theta: Tensor, lr: Tensor, steps: int) -> Take:
    return _func(theta, lr, steps, step=_compiled_step())


# ---- The tables ----

OURS = "dyntoolkit"
WAYS = {
    OURS: [Form("xla", partial(_dyntoolkit, engine=None), BLOCK)],
    "dyntoolkit, recorded operators": [Form("recorded", partial(_dyntoolkit, engine="recorded"), 50)],
    "dyntoolkit, eager": [Form("eager", partial(_dyntoolkit, engine="eager"))],
    "nn.Module, torch.optim.Adam": [
        Form("plain", partial(_module, foreach=False), own_rates=False),
        Form("foreach", partial(_module, foreach=True), own_rates=False),
        Form("fused", partial(_module, fused=True), own_rates=False),
    ],
    "JAX by hand": [
        Form("jit(vmap(scan))", partial(_jax, program=_vmap_of_scan)),
        Form("jit(scan(vmap))", partial(_jax, program=_scan_of_vmap)),
        Form("jit(fori_loop(vmap))", partial(_jax, program=_fori_loop)),
    ],
    "torch.func and vmap": [
        Form("Adam written out", _func),
        Form("torch.optim.Adam, fused", _func_fused, own_rates=False),
    ],
    "torch.func and vmap, compiled": [Form("torch.compile", _compiled)],
}
TO_REACH = {  # (way, runs) -> how many times as fast ours is to be
    ("nn.Module, torch.optim.Adam", 1): 20.0,
    ("nn.Module, torch.optim.Adam", 8): 20.0,
    ("nn.Module, torch.optim.Adam", 64): 25.0,
    ("nn.Module, torch.optim.Adam", 512): 25.0,
    ("JAX by hand", 1): 1.1,
    ("JAX by hand", 8): 1.1,
    ("JAX by hand", 64): 1.1,
    ("JAX by hand", 512): 1.0,
    ("torch.func and vmap", 1): 5.0,
    ("torch.func and vmap", 64): 2.0,
    ("torch.func and vmap, compiled", 1): 5.0,
    ("torch.func and vmap, compiled", 64): 2.0,
}


def prepare(form: Form, runs: int, updates: int, expected: Tensor | None) -> tuple[Timed, Tensor]:
    """The form, ready to be timed, and its losses after so many updates, which must be the expected ones."""
    theta, lr = start(runs)
    first, _ = seconds(form.make(theta, lr, FEW))  # what compiles does it now
    each, found = seconds(form.make(theta, lr, updates))
    each /= updates
    if form.make is _compiled:
        say(f"R = {runs}: torch.compile took {first - FEW * each:.0f} s, which is not counted.")
    ends = losses(found)
    compared = ends if form.own_rates else ends[:1]
    if expected is not None:
        apart = float((compared / expected[: len(compared)] - 1).abs().max())
        if not apart < AGREE:
            sys.exit(f"R = {runs}: {form.name} and {OURS} end with other losses, {apart:.1e} apart.")
    steps = max(form.fewest, int(SECONDS / each))
    took, _ = seconds(form.make(theta, lr, steps))  # less than SECONDS where much is done once
    steps = max(steps, int(steps * SECONDS / took))
    return Timed(form, steps, form.make(theta, lr, steps)), ends


def seconds(take: Take) -> tuple[float, Tensor]:
    """How long a training takes, and what it gives."""
    begin = time.perf_counter()
    found = take()
    return time.perf_counter() - begin, found


def measure(runs: int, rounds: int, updates: int, ways: Sequence[str]) -> dict[str, list[Timed]]:
    """All forms of these ways for so many runs, timed in turns; no forms where a compiler is missing."""
    expected: Tensor | None = None
    timed: dict[str, list[Timed]] = {way: [] for way in ways}
    for way in ways:
        for form in WAYS[way]:
            try:
                one, found = prepare(form, runs, updates, expected)
            except Exception as problem:
                if form.make is not _compiled:
                    raise
                say(f"R = {runs}: torch.compile fails: {type(problem).__name__}: {problem}")
                continue
            expected = found if expected is None else expected
            timed[way].append(one)
    for _ in range(rounds):
        for one in chain(*timed.values()):
            one.again()
    return timed


def say(text: str) -> None:
    """What is no part of the tables."""
    print(text, file=sys.stderr, flush=True)


def rounded(value: float) -> str:
    """A rate with three digits."""
    return f"{float(f'{value:.3g}'):,.0f}"


def times(value: float) -> str:
    """A ratio with three digits at most."""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def best(forms: list[Timed]) -> Timed | None:
    """The fastest form."""
    return max(forms, key=lambda one: statistics.median(one.wall), default=None)


def rate(one: Timed | None) -> str:
    """Run-steps per second: median, smallest and largest."""
    if one is None:
        return "none"
    return "{} ({} to {})".format(*map(rounded, (statistics.median(one.wall), min(one.wall), max(one.wall))))


def ratio(ours: Timed | None, other: Timed | None, least: float | None) -> str:
    """How many times as fast, round by round, for neighbours in time are slowed down alike; bold if not reached."""
    if ours is None or other is None:
        return "none"
    ratios, cpu = (
        [a / b for a, b in zip(*pair, strict=True)] for pair in ((ours.wall, other.wall), (ours.cpu, other.cpu))
    )
    middle = statistics.median(ratios)
    text = f"**{times(middle)}**" if least is not None and middle < least else times(middle)
    text += f" ({times(min(ratios))} to {times(max(ratios))}; CPU {times(statistics.median(cpu))})"
    return text if least is None else f"{text}, to reach {least:g}"


def row(first: str, cells: Iterable[str]) -> None:
    """One line of a table in Markdown."""
    print(f"| {' | '.join([first, *cells])} |")


def tables(timed: dict[int, dict[str, list[Timed]]]) -> None:
    """Rates, how they compare, and what each form reached."""
    ways = next(iter(timed.values()))
    head = [f"R = {runs}" for runs in timed]
    row("run-steps per second", head)
    row("---", ["---"] * len(timed))
    for way in ways:
        row(way, (rate(best(found[way])) for found in timed.values()))
    print()
    row(f"{OURS} is faster, times", head)
    row("---", ["---"] * len(timed))
    for way in list(ways)[1:]:
        row(
            f"than {way}",
            (ratio(best(found[OURS]), best(found[way]), TO_REACH.get((way, runs))) for runs, found in timed.items()),
        )
    print()
    for way in ways:
        for k, form in enumerate(WAYS[way]):
            if len(WAYS[way]) > 1:
                medians = (rounded(statistics.median(found[way][k].wall)) for found in timed.values())
                print(f"{way}, {form.name}: {' / '.join(medians)}")
    found_all = [one for found in timed.values() for one in chain(*found.values())]
    busy = [statistics.median(wall / cpu for wall, cpu in zip(one.wall, one.cpu, strict=True)) for one in found_all]
    print(f"Processor time is {min(busy):.2f} to {max(busy):.2f} of the time by the clock: one thread if at most 1.")


# ---- Where the time goes ----


def chosen(runs: int) -> Engine:
    """The engine of our way."""
    theta, lr = start(runs)
    state, step = Adam.start(theta), _step(lr)
    choice = choose(step, state, None, BLOCK, updates=BLOCK, room=BLOCK, every=False)
    while True:
        try:
            next(choice)
        except StopIteration as end:
            engine: Engine = end.value
            return engine


def profile(runs: int, rounds: int) -> None:
    """Print what each part of a training takes, in microseconds of processor time."""
    engine = chosen(runs)
    theta, lr = start(runs)
    state = Adam.start(theta)
    native, drawn = engine.enter(state), engine.load(None, BLOCK)
    parts: dict[str, Callable[[], object]] = {
        "the engine of a known program (steps recorded twice)": lambda: chosen(runs),
        "enter": lambda: engine.enter(state),
        "load": lambda: engine.load(None, BLOCK),
        "call without a step": lambda: engine.advance(native, drawn, 0, 0),
        "call with one step": lambda: engine.advance(native, drawn, 0, 1),
        f"call with {BLOCK} steps": lambda: engine.advance(native, drawn, 0, BLOCK),
        "finite": lambda: engine.finite(native),
        "leave": lambda: engine.leave(native),
        f"all of a training of {4 * BLOCK} steps": _dyntoolkit(theta, lr, 4 * BLOCK, engine=None),
    }
    found: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds + 1):
        for name, part in parts.items():
            repeats = 1 if "steps" in name else 20
            begin = time.process_time()
            for _ in range(repeats):
                part()
            found[name].append(1e6 * (time.process_time() - begin) / repeats)
    row(f"R = {runs}: {engine.name}", ["µs"])
    row("---", ["---"])
    for name, values in found.items():
        del values[0]
        row(name, [f"{statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"])
    none, many = (statistics.median(found[name]) for name in ("call without a step", f"call with {BLOCK} steps"))
    row("so each step", [f"{(many - none) / BLOCK:,.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=1000, help="after which all ways must agree, 100 or more")
    parser.add_argument("--without", nargs="+", default=[], metavar="WAY", help="words of ways to leave out")
    parser.add_argument("--profile", type=int, metavar="R", help="where the time of our way goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.profile:
        profile(options.profile, options.rounds)
        return
    ways = [way for way in WAYS if way == OURS or not any(word in way for word in options.without)]
    timed = {runs: measure(runs, options.rounds, options.updates, ways) for runs in options.runs}
    print(f"{machine()}; torch {torch.__version__}, JAX {jax.__version__}; one thread; {options.rounds} rounds\n")
    tables(timed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder  # so torch.compile compiles, and leaves nothing behind
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = os.environ["PJRT_NPROC"] = "1"  # one thread, of JAX too
        main()
