from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest
import torch
from torch import nn

from dyntoolkit.engine import choice
from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.layers import MLP


class Twin(nn.Module):
    """One run of an MLP, built from torch.nn, with the weights of one row of theta."""

    def __init__(self, network: MLP, row: torch.Tensor) -> None:
        super().__init__()
        self.activation = network.activation
        pairs = zip(network.sizes[:-1], network.sizes[1:], strict=True)
        self.layers = nn.ModuleList([nn.Linear(i, o, bias=network.bias, dtype=row.dtype) for i, o in pairs])
        at = 0
        for layer in self.layers:
            size = layer.weight.numel()
            layer.weight.data = row[at : at + size].view(layer.in_features, layer.out_features).T.clone()
            at += size
            if network.bias:
                layer.bias.data = row[at : at + layer.out_features].clone()
                at += layer.out_features
        assert at == len(row)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        outputs = []
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
            outputs.append(x)
        return [*outputs, self.layers[-1](x)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)[-1]

    def flat(self, values: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """values(parameter) of all parameters in the layout of theta."""
        pieces = [values(p).T if p.ndim == 2 else values(p) for p in self.parameters()]
        return torch.cat([piece.reshape(-1) for piece in pieces])


@pytest.fixture
def twin() -> Callable[[MLP, torch.Tensor], Twin]:
    return Twin


@pytest.fixture(params=["eager", "recorded", "xla"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the engine that all trainings of the test use; the test runs once with each."""
    with asking(Asked(request.param)):
        yield request.param


@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[Path]]:
    """A function after which no program is in memory and nothing has been said, as in a new process.

    It returns the programs on disk, which are kept, in a folder of the test.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def forget() -> list[Path]:
        monkeypatch.setattr(choice, "_PROGRAMS", OrderedDict())
        monkeypatch.setattr(choice, "_CHECKED", set())
        monkeypatch.setattr(choice, "_TOGETHER", set())
        monkeypatch.setattr(choice, "_SAID", set())
        jax.clear_caches()
        return list((tmp_path / "dyntoolkit" / "programs").glob("*"))

    forget()
    return forget
