"""AdamW of several runs with settings of their own, against torch's."""

import pytest
import torch

from dyntoolkit.engine.update import Adam
from dyntoolkit.phenomena.grokking._training import adamw
from dyntoolkit.phenomena.grokking.digits import Config


@pytest.mark.slow
def test_every_run_has_its_own_settings_and_they_are_those_of_torchs_adamw():
    configs = [
        Config(),
        Config(lr=1e-2, beta1=0.5, beta2=0.9, eps=1e-3, weight_decay=1.0),
        Config(lr=3e-4, beta1=0.0, beta2=0.9999, eps=1e-12, weight_decay=0.0),
    ]
    target = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float32)

    def loss(theta):
        return (theta - target).pow(4).sum(1)  # (R,)

    step, state = adamw(configs, loss), Adam.start(torch.ones(3, 3, dtype=torch.float32))
    for _ in range(30):
        state = step(state, None)
    for theta, c in zip(state.theta, configs, strict=True):
        leaf = torch.nn.Parameter(torch.ones(3, dtype=torch.float32))
        rule = torch.optim.AdamW([leaf], c.lr, (c.beta1, c.beta2), c.eps, c.weight_decay)
        for _ in range(30):
            rule.zero_grad()
            loss(leaf.unsqueeze(0)).sum().backward()
            rule.step()
        assert theta.tolist() == pytest.approx(leaf.tolist(), rel=1e-4)
    assert not torch.allclose(state.theta[0], state.theta[1], rtol=1e-2)
