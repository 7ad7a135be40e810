"""A convolutional network on two patches, signal and noise, trained by full-batch gradient descent in its Gram form.

A sample is x = [y mu, xi]: a signal along mu with the sign of the label, and noise xi across it. With filters w_jr,
j = +-1, r = 1..m, and sigma(z) = relu(z)^power,

    f(x) = F_+(x) - F_-(x),   F_j(x) = (1/m) sum_r sigma(<w_jr, y mu>) + sigma(<w_jr, xi>).

Gradient descent moves w_jr only along mu and the training noise, w_jr = w_jr(0) + gamma_jr mu/|mu|^2 + sum_i C_i,jr
xi_i, so it is enough to follow the products with mu and with each xi_i: exact, at a cost that does not depend on dim.
After 2505.18909 (relu) and 2510.17526 (relu^2).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream

Tensor = torch.Tensor
N_TEST = 1000


class State(NamedTuple):
    """What gradient descent changes, of R runs with 2m filters (the first m of sign +1) and n samples."""

    signal: Tensor  # (R, 2m) <w_jr, mu>
    noise: Tensor  # (R, n, 2m) <w_jr, xi_i>
    C: Tensor  # (R, n, 2m) signed coefficient of xi_i in w_jr
    keep: Tensor  # (R, n) 1 for samples that are trained on, 0 for those dropped


class Problem(NamedTuple):
    """What stays: labels, and the noise patches by their products."""

    y: Tensor  # (n,) true labels -1, +1, -1, ...
    flipped: Tensor  # (R, n) whether the training label is the wrong one, for flips that are drawn once
    gram: Tensor  # (R, n, n) <xi_i, xi_k>
    test_y: Tensor  # (1000,)
    test_gram: Tensor  # (R, 1000, n) of test and training noise
    test_noise: Tensor  # (R, 1000, 2m) <w_jr(0), xi> of the test samples
    mu_squared: Tensor  # (R, 1) |mu|^2
    signs: Tensor  # (2m,) j of each filter
    power: int  # of the relu


def alternating(n: int) -> Tensor:
    """-1, +1, -1, ... (n,)."""
    return 2.0 * (torch.arange(n, dtype=torch.float32) % 2) - 1


def record_steps(steps: int, points: int, *extra: int) -> tuple[int, ...]:
    """0, the whole parts of `points` log-spaced numbers from 1 to the last step, and extra ones within the run."""
    spaced = np.logspace(0, np.log10(steps), points).astype(int).tolist()
    return tuple(sorted({0, steps, *spaced, *(k for k in extra if k <= steps)}))


def draw(configs: Sequence[Any], seeds: Sequence[int], power: int) -> tuple[Problem, State]:
    """Everything random at the start, run by run: filters, noise patches of training and test, flipped labels."""
    c = configs[0]
    parts = [_draw_one(config, seed) for config, seed in zip(configs, seeds, strict=True)]
    signal, noise, gram, test_gram, test_noise = (torch.stack(part) for part in zip(*parts, strict=True))
    count = torch.tensor([[round(config.flip_rate * c.n_train)] for config in configs], dtype=torch.int64)  # (R, 1)
    rank = Stream(seeds, "flips").permutations(c.n_train)  # (R, n)
    y, test_y = alternating(c.n_train), alternating(N_TEST)
    plus = torch.ones(c.width, dtype=torch.float32)
    signs = torch.cat([plus, -plus])  # (2m,)
    mu_squared = per_run(configs, "signal_norm", ndim=2).square()
    keep = torch.ones(len(seeds), c.n_train, dtype=torch.float32)
    problem = Problem(y, rank < count, gram, test_y, test_gram, test_noise, mu_squared, signs, power)
    return problem, State(signal, noise, torch.zeros_like(noise), keep)


def _draw_one(config: Any, seed: int) -> tuple[Tensor, ...]:
    """Of one run: <w, mu> (2m,), <w, xi> (n, 2m), Gram matrices (n, n), (1000, n), <w, xi> of the test (1000, 2m).

    mu = signal_norm e_1; the noise fills the other dim - 1 coordinates. One run at a time: test patches are large.
    """
    w = config.init_scale * Stream([seed], "init").normal(2 * config.width, config.dim)[0]  # (2m, dim)
    xi, test = (
        config.input_noise_std * Stream([seed], name).normal(n, config.dim - 1)[0]
        for name, n in (("data", config.n_train), ("test", N_TEST))
    )
    across = w[:, 1:].T  # (dim - 1, 2m)
    return config.signal_norm * w[:, 0], xi @ across, xi @ xi.T, test @ xi.T, test @ across


def output(problem: Problem, y: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """f of samples with true labels y (N,) and noise products (R, N, 2m): (R, N)."""
    along = torch.relu(y.unsqueeze(1) * signal.unsqueeze(1)) ** problem.power  # (R, N, 2m)
    across = torch.relu(noise) ** problem.power
    # f = F_+ - F_-, F_j = (1/m) sum_r sigma(<w_jr, y mu>) + sigma(<w_jr, xi>)
    value: Tensor = (along + across) @ (2 * problem.signs / len(problem.signs))
    return value


def test_output(problem: Problem, state: State) -> Tensor:
    """f of the test samples, (R, 1000)."""
    noise = problem.test_noise + problem.test_gram @ state.C  # (R, 1000, 2m)
    return output(problem, problem.test_y, state.signal, noise)


def slope(z: Tensor, power: int) -> Tensor:
    """The derivative of relu(z)^power, 0 at 0, for power 1 or 2."""
    return (z > 0).to(z.dtype) if power == 1 else 2 * torch.relu(z)


def losses(f: Tensor, labels: Tensor) -> Tensor:
    """ln(1 + exp(-label f)) of each sample, (R, n)."""
    return torch.nn.functional.softplus(-labels * f)


def gradient(problem: Problem, state: State, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the mean loss over the kept samples with labels (R, n), as coefficients.

    Returns those of mu in each filter's gradient, (R, 2m), and those of each xi_i, (R, n, 2m).
    """
    f = output(problem, problem.y, state.signal, state.noise)  # (R, n)
    # dL/df_i = -label_i / (1 + exp(label_i f_i)), over the number of samples kept
    weight = -labels * torch.sigmoid(-labels * f) * state.keep / state.keep.sum(1, keepdim=True)  # (R, n)
    signs = 2 * problem.signs / len(problem.signs)  # j/m, (2m,)
    y = problem.y.unsqueeze(1)  # (n, 1)
    along = slope(y * state.signal.unsqueeze(1), problem.power) * y  # (R, n, 2m)
    of_mu = (weight.unsqueeze(1) @ along).squeeze(1) * signs  # (R, 2m)
    of_xi = weight.unsqueeze(2) * slope(state.noise, problem.power) * signs  # (R, n, 2m)
    return of_mu, of_xi


def descend(problem: Problem, state: State, labels: Tensor, lr: Tensor) -> State:
    """One step of gradient descent; lr: (R, 1)."""
    of_mu, of_xi = gradient(problem, state, labels)
    # dC = -lr dL/df_i (j/m) sigma'(Z)
    change = -lr.unsqueeze(2) * of_xi  # (R, n, 2m)
    signal = state.signal - lr * problem.mu_squared * of_mu  # (R, 2m)
    # Z += K dC
    noise = state.noise + problem.gram @ change  # (R, n, 2m)
    return State(signal, noise, state.C + change, state.keep)


def signal_learned(problem: Problem, state: State, start: State) -> Tensor:
    """gamma: mean over all filters of j <w - w(0), mu>, (R,)."""
    return ((state.signal - start.signal) * problem.signs).mean(1)


def noise_memorized(problem: Problem, state: State, labels: Tensor) -> Tensor:
    """rho_i: (1/m) sum over the filters of the label's sign of C_i,jr |xi_i|^2, (R, n); labels (R, n)."""
    m = len(problem.signs) // 2
    plus, minus = state.C[:, :, :m].mean(2), state.C[:, :, m:].mean(2)  # (R, n)
    return torch.where(labels > 0, plus, minus) * problem.gram.diagonal(dim1=1, dim2=2)


def gradient_ratio(problem: Problem, state: State, labels: Tensor) -> Tensor:
    """Norm of the gradient within the span of the noise patches over that along mu, (R,)."""
    of_mu, of_xi = (part.double() for part in gradient(problem, state, labels))
    across = (of_xi * (problem.gram.double() @ of_xi)).sum((1, 2)).clamp_min(0).sqrt()
    return across / (of_mu.square().sum(1) * problem.mu_squared.double().squeeze(1)).sqrt()
