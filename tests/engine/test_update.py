import pytest
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.update import Adam, AmsGrad, Momentum, Sgd, adam, amsgrad, clip, momentum, sam, sgd

STEPS = 30
NETWORK = MLP((3, 8, 2), torch.tanh)
X = torch.sin(torch.arange(30.0, dtype=torch.float64)).view(10, 3)
Y = torch.cos(torch.arange(20.0, dtype=torch.float64)).view(10, 2)

# one row per run
LR = [0.3, 0.05, 0.01, 0.1]
MU = [0.0, 0.5, 0.9, 0.99]
DECAY = [0.0, 0.1, 0.01, 0.5]
BETA1 = [0.9, 0.0, 0.5, 0.99]
BETA2 = [0.999, 0.9, 0.95, 0.9999]
EPS = [1e-8, 1e-3, 1e-12, 0.1]


def loss(theta):
    return (NETWORK(theta, X.to(theta.dtype)) - Y.to(theta.dtype)).square().mean((1, 2))


def start(runs, dtype=torch.float64):
    draw = torch.Generator().manual_seed(runs)
    return torch.randn(runs, NETWORK.parameters, dtype=torch.float64, generator=draw).to(dtype)


def row(values):
    return torch.tensor(values, dtype=torch.float64)


def given_gradients(theta):
    """One gradient (R, P) per step, the same for both sides: feedback through a network would amplify rounding."""
    draw = torch.Generator().manual_seed(7)
    return torch.randn(STEPS, *theta.shape, dtype=torch.float64, generator=draw).to(theta.dtype)


def reference(theta, r, optimizer, **options):
    """Run r trained by a torch optimizer, in the dtype of theta."""
    parameter = torch.nn.Parameter(theta[r].clone())
    optimizer = optimizer([parameter], **options)
    for gradient in given_gradients(theta):
        parameter.grad = gradient[r]
        optimizer.step()
    return parameter.detach()


def trained(state, rule, **options):
    for gradient in given_gradients(state.theta):
        state = rule(state, gradient, **options)
    return state.theta


# rounding of the two dtypes over thirty steps
CLOSE = {torch.float64: {"rtol": 1e-12, "atol": 1e-14}, torch.float32: {"rtol": 2e-6, "atol": 2e-6}}


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def theta(request):
    return start(4, request.param)


@pytest.mark.parametrize("decay", [None, DECAY], ids=["plain", "weight_decay"])
def test_sgd_is_torch_sgd(theta, decay):
    ours = trained(Sgd(theta), sgd, lr=row(LR), weight_decay=decay and row(decay))
    for r in range(4):
        theirs = reference(theta, r, torch.optim.SGD, lr=LR[r], weight_decay=decay[r] if decay else 0)
        torch.testing.assert_close(ours[r], theirs, **CLOSE[theta.dtype])


@pytest.mark.parametrize("decay", [None, DECAY], ids=["plain", "weight_decay"])
def test_momentum_is_torch_sgd_with_momentum(theta, decay):
    ours = trained(Momentum.start(theta), momentum, lr=row(LR), mu=row(MU), weight_decay=decay and row(decay))
    for r in range(4):
        wd = decay[r] if decay else 0
        theirs = reference(theta, r, torch.optim.SGD, lr=LR[r], momentum=MU[r], weight_decay=wd)
        torch.testing.assert_close(ours[r], theirs, **CLOSE[theta.dtype])


@pytest.mark.parametrize("decoupled", [False, True], ids=["Adam", "AdamW"])
@pytest.mark.parametrize("decay", [None, DECAY], ids=["plain", "weight_decay"])
def test_adam_is_torch_adam_and_adamw(theta, decay, decoupled):
    options = {"lr": row(LR), "beta1": row(BETA1), "beta2": row(BETA2), "eps": row(EPS)}
    state = Adam.start(theta)
    ours = trained(state, adam, **options, weight_decay=decay and row(decay), decoupled=decoupled)
    optimizer = torch.optim.AdamW if decoupled else torch.optim.Adam
    for r in range(4):
        options = {"lr": LR[r], "betas": (BETA1[r], BETA2[r]), "eps": EPS[r], "weight_decay": decay[r] if decay else 0}
        torch.testing.assert_close(ours[r], reference(theta, r, optimizer, **options), **CLOSE[theta.dtype])


def test_adamw_may_spare_some_weights_of_each_run(theta):
    """As two parameter groups of torch.optim.AdamW, one without decay."""
    spared = torch.arange(NETWORK.parameters) < 5
    ours = trained(Adam.start(theta), adam, lr=0.05, weight_decay=row(DECAY)[:, None] * ~spared, decoupled=True)
    for r in range(4):
        options = {"lr": 0.05, "betas": (0.9, 0.999), "eps": 1e-8}
        for decay, part in ((0.0, spared), (DECAY[r], ~spared)):
            theirs = reference(theta, r, torch.optim.AdamW, **options, weight_decay=decay)
            torch.testing.assert_close(ours[r][part], theirs[part], **CLOSE[theta.dtype])


def test_adam_counts_the_updates_of_each_run():
    state = adam(Adam.start(start(4)), torch.ones(4, NETWORK.parameters, dtype=torch.float64), 0.1)
    assert state.updates.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_one_number_for_all_runs_is_the_same_number_for_each(rule):
    theta = start(4)
    cases = {
        "sgd": (Sgd(theta), sgd, {"lr": 0.1, "weight_decay": 0.01}),
        "momentum": (Momentum.start(theta), momentum, {"lr": 0.1, "mu": 0.9, "weight_decay": 0.01}),
        "adam": (Adam.start(theta), adam, {"lr": 0.1, "beta1": 0.8, "eps": 1e-6, "weight_decay": 0.01}),
    }
    state, update, options = cases[rule]
    per_run = {name: row([value] * 4) for name, value in options.items()}
    torch.testing.assert_close(trained(state, update, **options), trained(state, update, **per_run), rtol=0, atol=0)


def naive_sam(theta, rho):
    """The gradient of one run at the ascended point, in two passes of plain autograd."""
    theta = theta.clone().requires_grad_()
    loss(theta[None]).sum().backward()
    ascended = (theta + rho * theta.grad / theta.grad.norm()).detach().requires_grad_()
    loss(ascended[None]).sum().backward()
    return ascended.grad


def test_sam_is_the_gradient_at_the_ascended_point():
    theta, rho = start(4), row([0.01, 0.1, 1.0, 0.0])
    values, gradient = sam(value_and_grad(loss), theta, rho)
    torch.testing.assert_close(values, loss(theta))
    for r in range(3):
        torch.testing.assert_close(gradient[r], naive_sam(theta[r], rho[r]))


def test_sam_without_radius_is_the_plain_gradient_bit_by_bit():
    theta = start(4, torch.float32)
    plain = value_and_grad(loss)(theta)[1]
    for rho in (0.0, torch.tensor([0.0, 0.5, 0.0, 0.5])):
        gradient = sam(value_and_grad(loss), theta, rho)[1]
        assert torch.equal(gradient[[0, 2]], plain[[0, 2]])


def test_sam_at_a_stationary_point_stays_there():
    gradients = value_and_grad(lambda theta: theta.square().sum(1))
    value, gradient = sam(gradients, torch.zeros(2, 5), 0.3)
    assert not value.any()
    assert not gradient.any()


@pytest.mark.parametrize("size", [1e-30, 1e-42, 1e30])
def test_sam_ascends_by_rho_however_small_or_large_the_gradient(size):
    slope = torch.tensor([[3.0, -4.0]]) * size
    seen = []

    def gradients(theta):
        seen.append(theta)
        return torch.zeros(1), slope

    sam(gradients, torch.zeros(1, 2), 0.5)
    if size > 1e-38:  # a gradient below the normal numbers may be ascended less far
        torch.testing.assert_close(seen[1], torch.tensor([[0.3, -0.4]]))
    assert seen[1].norm() <= 0.5 + 1e-6


RULES = {
    "sgd": (Sgd, lambda s, g, lr: sgd(s, g, lr, 0.01)),
    "momentum": (Momentum.start, lambda s, g, lr: momentum(s, g, lr, 0.9, 0.01)),
    "adam": (Adam.start, lambda s, g, lr: adam(s, g, lr / 10)),
    "adamw": (Adam.start, lambda s, g, lr: adam(s, g, lr / 10, weight_decay=0.1, decoupled=True)),
    "sam": (Sgd, lambda s, g, lr: sgd(s, sam(value_and_grad(loss), s.theta, lr)[1], lr)),
}


@pytest.mark.parametrize("rule", list(RULES))
def test_a_run_alone_equals_the_same_run_among_sixteen(rule):
    """To rounding: a batch of one product may take another kernel than a batch of sixteen."""
    begin, update = RULES[rule]
    theta, lr = start(16), torch.linspace(0.01, 0.3, 16, dtype=torch.float64)
    gradients = value_and_grad(loss)
    together = begin(theta)
    for _ in range(STEPS):
        together = update(together, gradients(together.theta)[1], lr)
    for r in (0, 7, 15):
        alone = begin(theta[r : r + 1])
        for _ in range(STEPS):
            alone = update(alone, gradients(alone.theta)[1], lr[r : r + 1])
        for ours, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(ours[0], theirs[r], rtol=1e-11, atol=1e-13)


def test_amsgrad_divides_by_the_largest_corrected_mean_square():
    theta = start(2)
    mean, square, peak = (torch.zeros_like(theta) for _ in range(3))
    expected = theta
    for t, g in enumerate(given_gradients(theta), 1):
        mean = 0.9 * mean + 0.1 * g
        square = 0.99 * square + 0.01 * g**2
        peak = torch.maximum(peak, square / (1 - 0.99**t))
        expected = expected - 0.05 * mean / (1 - 0.9**t) / (peak.sqrt() + 1e-6)
    found = trained(AmsGrad.start(theta), amsgrad, lr=0.05, beta1=0.9, beta2=0.99, eps=1e-6)
    torch.testing.assert_close(found, expected, **CLOSE[torch.float64])


def test_clip_shortens_what_is_longer_than_the_runs_own_limit():
    gradient = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    clipped = clip(gradient, row([1.0, 10.0, 0.0]))
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [3.0, 4.0], [3.0, 4.0]], dtype=torch.float64))
    assert torch.isfinite(clip(torch.zeros(1, 2), 1.0)).all()
