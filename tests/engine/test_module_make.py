import functools
import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from dyntoolkit.engine.module_make import first_difference


def net(*more, act=None, tied=False, frozen=False):
    module = nn.Sequential(nn.Linear(3, 3), act or nn.Tanh(), nn.Linear(3, 3), *more)
    if tied:
        module[2].weight = module[0].weight
    nn.init.zeros_(module[0].bias).requires_grad_(not frozen)
    return module


def having(**attributes):
    module = nn.Linear(2, 2)
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def normed(mean):
    module = nn.BatchNorm1d(3).eval()
    module.running_mean[:] = mean
    return module


def hooked():
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *_: None)
    return module


def written_twice(width):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, width)

        def forward(self, x):
            return self.layer(x)

    return Net()


@pytest.mark.parametrize(
    "make",
    [
        net,
        lambda: net(nn.ReLU(), tied=True, frozen=True),
        lambda: normed(2.0),
        lambda: weight_norm(nn.Linear(3, 3)),
        lambda: nn.TransformerEncoderLayer(4, 2, 8),
        lambda: nn.LSTM(3, 4),
        lambda: having(limit=math.nan, sizes=[1, (2, 3)], act=torch.tanh, power=lambda x, k=2: x**k),
        lambda: having(part=functools.partial(torch.sum, dim=1), hidden=[nn.Tanh()]),
        lambda: having(generator=torch.Generator()),
        lambda: written_twice(3),
        hooked,
    ],
)
def test_two_of_one_make(make):
    torch.manual_seed(0)
    assert first_difference(make(), make()) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (net(nn.ReLU()), net(), "its class of '3' is there, and not in the other"),
        (net(), net(nn.ReLU()), "its class of '3' is missing"),
        (net(), net(act=nn.ReLU()), "its class of '1' is Tanh, and not ReLU"),
        (net(tied=True), net(), "its tie of weight of '2' is 0.weight, and not 2.weight"),
        (
            net(frozen=True),
            net(),
            "its bias of '0' is (3,) torch.float32, not trained, and not (3,) torch.float32, trained",
        ),
        (net().eval(), net(), "its training mode is False, and not True"),
        (normed(1.0), normed(2.0), "its buffer running_mean has other numbers"),
        (nn.LayerNorm(3), nn.LayerNorm(3, eps=0.1), "its eps is 1e-05, and not 0.1"),
        (nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, stride=2), "its stride is (1, 1), and not (2, 2)"),
        (nn.Linear(2, 2), nn.Linear(2, 2, bias=False), "its bias is (2,) torch.float32, trained, and not None"),
        (
            nn.Linear(2, 2).double(),
            nn.Linear(2, 2),
            "its weight is (2, 2) torch.float64, trained, and not (2, 2) torch.fl",
        ),
        (having(act=torch.tanh), having(act=torch.relu), "its act is tanh, and not relu"),
        (having(f=lambda x: x + 1), having(f=lambda x: x + 2), "its f is another <lambda>"),
        (having(f=(lambda k: lambda x: x**k)(2)), having(f=(lambda k: lambda x: x**k)(3)), "its f is another <lambda>"),
        (having(mask=torch.ones(2)), having(mask=torch.zeros(2)), "its mask has other numbers"),
        (having(sizes=[1, 2]), having(sizes=[1, 3]), "its sizes is [1, 2], and not [1, 3]"),
        (having(hidden=[net()]), having(hidden=[net(act=nn.ReLU())]), "its hidden is another list"),
        (hooked(), nn.Linear(2, 2), "its forward hooks is"),
        (written_twice(3), written_twice(4), "its weight of 'layer' is (3, 2)"),
    ],
)
def test_the_first_difference_is_said(ours, theirs, words):
    assert first_difference(ours, theirs).startswith(words)


def test_constants_may_differ_where_each_run_has_its_own():
    assert first_difference(normed(1.0), normed(2.0), constants=False) == ""
