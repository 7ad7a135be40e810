"""A tiny experiment for the dashboard: one weight per run, w <- w - lr (w - target), measured every few steps."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from waiting import wait_for

from dyntoolkit.dashboard import runner
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, Preset
from dyntoolkit.experiment.claims import Claim, Control, above, below
from dyntoolkit.experiment.config import Config, choice, number, switch
from dyntoolkit.figure.panels import BLUE, Axis, Panel, median_line


class TinyConfig(Config):
    lr: float = number(0.05, 0.001, 4, log=True, label="Learning rate", help="step size", main=True)
    init_scale: float = number(1.0, 0, 2, label="Initialization scale", help="std at the start", main=True)
    noise_std: float = number(0.0, 0, 1, label="Noise rate", help="label noise", main=True)
    steps: int = number(200, 10, 1_000_000, log=True, label="Steps", help="updates", structural=True)
    dim: int = number(3, 1, 9, label="Dimension", help="weights", structural=True)
    select: int = number(0, 0, 2000, log=True, label="Select step", help="0 = off")
    flip: bool = switch(False, label="Flip", help="flip the sign")
    kind: str = choice("sgd", ["sgd", "sam"], label="Rule", help="update rule")

    def check(self) -> None:
        if self.kind == "sam" and self.noise_std > 0.5:
            raise InputError("noise_std must be at most 0.5 with SAM.", "noise_std")

    def warnings(self) -> list[str]:
        return ["lr above 1 oscillates."] if self.lr > 1 else []


class TinyState(NamedTuple):
    w: torch.Tensor  # (R, dim)


def simulate(configs: Sequence[TinyConfig], seeds: Sequence[int]) -> Iterator[Frame]:
    """Gradient descent on |w|^2 / 2 with noise."""
    config = configs[0]
    lr = torch.tensor([[c.lr] for c in configs])
    noise = torch.tensor([[c.noise_std] for c in configs])
    start = Stream(seeds, "init").normal(config.dim) * torch.tensor([[c.init_scale] for c in configs])
    stream = Stream(seeds, "noise")

    def step(state: TinyState, xi: torch.Tensor) -> TinyState:
        return TinyState(state.w - lr * (state.w + noise * xi))

    def batches(k0: int, k1: int) -> torch.Tensor:
        return stream.normal(k1 - k0, config.dim).transpose(0, 1)

    def measure(k: int, state: TinyState) -> dict[str, np.ndarray[Any, Any]]:
        return {"norm": state.w.norm(dim=1).numpy()}

    record = range(0, config.steps + 1, 10) if config.steps % 10 == 0 else (0, config.steps)
    yield from train(TinyState(start), step, batches, list(record), measure)


def metrics(history: History) -> dict[str, np.ndarray[Any, Any]]:
    return {"norm_end": history["norm"][-1].astype(float), "ratio": history["norm"][-1] / history["norm"][0]}


def panels(history: History) -> list[Panel]:
    line = median_line("norm", history.at("norm"), history["norm"], BLUE)
    return [Panel("Norm", Axis("step"), Axis("|w|", log=True), [line])]


CLAIMS = (
    Claim(
        id="shrinks",
        statement="the weights shrink",
        metric="ratio",
        bound=below(0.5),
        where=lambda c: c.noise_std == 0,
        controls=(Control("with tiny steps", {"lr": 0.001}),),
    ),
    Claim(id="stays", statement="the weights stay", metric="ratio", bound=above(0.9), where=lambda c: c.lr < 0.002),
)

TINY = Experiment(
    name="tiny.one",
    title="A tiny experiment",
    question="Does a weight shrink?",
    paper="0000.00000",
    seconds=0.1,
    config=TinyConfig,
    presets={
        "plain": Preset("the weights shrink", {"lr": 0.05}),
        "slow": Preset("nothing moves", {"lr": 0.0015, "init_scale": 0.73}),
        "noisy": Preset("noise holds them up", {"noise_std": 0.3}),
    },
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)


@pytest.fixture
def tiny() -> Experiment:
    return TINY


@pytest.fixture
def long_debounce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training waits half a second for a newer request: on a busy machine a test is slower than a reader's hand."""
    monkeypatch.setattr(runner, "DEBOUNCE", 0.5)


@pytest.fixture
def until() -> Callable[..., None]:
    """until(condition): wait for it, or fail."""
    return partial(wait_for, tick=0.005)


@pytest.fixture
def open_dashboard(tiny):
    opened = []

    def make(experiment=tiny, **changes):
        dashboard = Dashboard(experiment, experiment.configure(**changes))
        opened.append(dashboard)
        return dashboard

    yield make
    for dashboard in opened:
        dashboard.close()
        dashboard.runner.join(60)
