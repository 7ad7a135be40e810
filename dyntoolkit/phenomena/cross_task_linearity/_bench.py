"""What `cross_task_linearity.digits` measures on two fine-tuned networks: features, scans, task arithmetic.

Notation of arXiv 2402.03660: theta_A, theta_B the two networks, theta_0 their start, f_l the features of layer l.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from dyntoolkit.engine.history import Array
from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.linearity import cosine_distance, feature_linearity, frobenius

Values = dict[str, Array]
Features = list[torch.Tensor]  # of each hidden layer, then the logits: (R, n, h_l)

ALPHAS = np.arange(1, 20) / 20  # .05, .10, ..., .95
SCALES = np.array([0.03, 0.06, 0.12, 0.25])  # s of the displacement scan
LAMBDAS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])  # task scales of the drawn curves


def average(pair: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """All weights of alpha theta_A + (1 - alpha) theta_B, (R, P); pair (R, 2, P), alpha (R,)."""
    return torch.lerp(pair[:, 1], pair[:, 0], alpha[:, None])


def distance(pair: torch.Tensor) -> Array:
    """|theta_A - theta_B| / |their mid-point| over all weights and biases, (R,) float64; pair (R, 2, P)."""
    a, b = pair.double().unbind(1)  # (R, P) each
    gap = torch.linalg.vector_norm(a - b, dim=1)  # (R,)
    middle = torch.linalg.vector_norm((a + b) / 2, dim=1)
    return np.asarray(gap / middle)


@dataclass(frozen=True)
class Bench:
    """Where the networks of R runs are tested: the test digits of task A, then those of task B, and the labels.

    x: (R, n, 64). labels: (n,). alpha, task_scale: (R,).
    """

    model: MLP
    x: torch.Tensor
    labels: torch.Tensor
    alpha: torch.Tensor
    task_scale: torch.Tensor

    def features(self, theta: torch.Tensor) -> Features:
        """Features of every hidden layer, then the logits, of R networks theta (R, P) on both tests: (R, n, h_l)."""
        return self.model.features(theta, self.x)

    def ends(self, pair: torch.Tensor) -> tuple[Features, Features]:
        """Those of theta_A and of theta_B; pair (R, 2, P)."""
        return self.features(pair[:, 0]), self.features(pair[:, 1])

    def accuracies(self, logits: torch.Tensor) -> Array:
        """Accuracy on task A and on task B, (R, 2)."""
        half = len(self.labels) // 2
        parts = [(logits[:, :half], self.labels[:half]), (logits[:, half:], self.labels[half:])]
        return np.stack([accuracy(answers, labels) for answers, labels in parts], 1)

    def measure(self, start: torch.Tensor, pair: torch.Tensor, *, last: bool) -> Iterator[Values]:
        """All values of a frame, in parts; start (R, P), pair (R, 2, P). The scans belong to the last frame.

        Each part takes no longer than a few networks; many are empty, and give the caller a chance to breathe.
        """
        ends = self.ends(pair)
        yield self.evaluate(pair, ends)
        if last:
            yield from self.alpha_scan(pair, ends)
            yield from self.displacement_scan(start, pair)
            yield from self.arithmetic(start, pair)
            yield from self.arithmetic_scan(start, pair)

    def evaluate(self, pair: torch.Tensor, ends: tuple[Features, Features]) -> Values:
        """Feature metrics per layer (R, L + 1), distance and accuracies (R,) of the pair (R, 2, P), at `alpha`."""
        f_a, f_b = ends
        f_merged = self.features(average(pair, self.alpha))
        # CTL: f_l(alpha theta_A + (1 - alpha) theta_B) ~ alpha f_l(theta_A) + (1 - alpha) f_l(theta_B)
        linearity = feature_linearity(f_a, f_b, f_merged, self.alpha)
        ensemble = torch.lerp(f_b[-1], f_a[-1], self.alpha[:, None, None])  # (R, n, 10)
        a, b = self.accuracies(f_a[-1]), self.accuracies(f_b[-1])  # (R, 2): on A, on B
        return {
            "ctl_l": linearity.ctl,
            "base_l": linearity.base,
            "coef_l": linearity.coef,
            "dev_l": linearity.dev,
            "distance": distance(pair),
            "own_acc": (a[:, 0] + b[:, 1]) / 2,
            "cross_acc": (a[:, 1] + b[:, 0]) / 2,
            "merged_acc": self.accuracies(f_merged[-1]).mean(1),
            "ensemble_acc": self.accuracies(ensemble).mean(1),
        }

    def alpha_scan(self, pair: torch.Tensor, ends: tuple[Features, Features]) -> Iterator[Values]:
        """Deviation per hidden layer (R, 19, L), accuracies of average and ensemble (R, 19), for all ALPHAS."""
        f_a, f_b = ends
        wide_a, wide_b = ([f.double() for f in features] for features in ends)
        deviations: list[Array] = []  # D_l(alpha)
        merged: list[Array] = []
        ensemble: list[Array] = []
        for weight in ALPHAS.tolist():
            alpha = torch.full_like(self.alpha, weight)
            f_merged = self.features(average(pair, alpha))
            deviations.append(_deviation(wide_a, wide_b, f_merged, weight))
            merged.append(self.accuracies(f_merged[-1]).mean(1))
            ensemble.append(self.accuracies(weight * f_a[-1] + (1 - weight) * f_b[-1]).mean(1))
            yield {}
        yield {
            "path_deviation": np.stack(deviations, 1),
            "path_merged_acc": np.stack(merged, 1),
            "path_ensemble_acc": np.stack(ensemble, 1),
        }

    def displacement_scan(self, start: torch.Tensor, pair: torch.Tensor) -> Iterator[Values]:
        """Deviation (R, 4, L) and distance (R, 4) at alpha = 1/2, both networks pulled back to s of their way."""
        deviations: list[Array] = []
        distances: list[Array] = []
        half = torch.full_like(self.alpha, 0.5)
        for s in SCALES.tolist():
            # theta_0 + s (theta - theta_0)
            near = start[:, None] + s * (pair - start[:, None])  # (R, 2, P)
            f_a, f_b, f_mid = (self.features(theta) for theta in (near[:, 0], near[:, 1], average(near, half)))
            deviations.append(_deviation(f_a, f_b, f_mid, 0.5))
            distances.append(distance(near))
            yield {}
        yield {"pulled_deviation": np.stack(deviations, 1), "pulled_distance": np.stack(distances, 1)}

    def arithmetic(self, start: torch.Tensor, pair: torch.Tensor) -> Iterator[Values]:
        """Addition and negation of the task vectors tau = theta_A - theta_0 and tau' = theta_B - theta_0, times lambda.

        theta_0 is the start. Errors, their baselines and drops in accuracy, all (R,).
        """
        scale = self.task_scale[:, None]  # lambda, (R, 1)
        tau_a, tau_b = (pair - start[:, None]).unbind(1)  # (R, P)
        hidden, logits = self._last_two(start)
        # addition: f(theta_0 + lambda (tau + tau')) ~ f(theta_0 + 2 lambda tau)/2 + f(theta_0 + 2 lambda tau')/2
        added = self._last_two(start + scale * (tau_a + tau_b))[0]
        yield {}
        twice_a, twice_b = (self._last_two(start + 2 * scale * tau)[0] for tau in (tau_a, tau_b))
        addition_ctl, addition_base = _linearity_of_mean(added, twice_a, twice_b)
        yield {}
        # negation: f(theta_0) ~ f(theta_0 + lambda tau)/2 + f(theta_0 - lambda tau)/2
        plus = self._last_two(start + scale * tau_a)[0]
        minus, negated = self._last_two(start - scale * tau_a)
        negation_ctl, negation_base = _linearity_of_mean(hidden, plus, minus)
        drop = self.accuracies(logits) - self.accuracies(negated)  # (R, 2)
        yield {
            "addition_ctl": addition_ctl,
            "addition_base": addition_base,
            "negation_ctl": negation_ctl,
            "negation_base": negation_base,
            "target_drop": drop[:, 0],
            "control_drop": drop[:, 1],
        }

    def arithmetic_scan(self, start: torch.Tensor, pair: torch.Tensor) -> Iterator[Values]:
        """Accuracy after addition (R, 5), and after negation on A and B (R, 5, 2), for all LAMBDAS."""
        tau_a, tau_b = (pair - start[:, None]).unbind(1)  # (R, P)
        added: list[Array] = []
        negated: list[Array] = []
        for scale in LAMBDAS.tolist():
            added.append(self.accuracies(self._last_two(start + scale * (tau_a + tau_b))[1]).mean(1))
            negated.append(self.accuracies(self._last_two(start - scale * tau_a)[1]))
            yield {}
        yield {"added_acc": np.stack(added, 1), "negated_acc": np.stack(negated, 1)}

    def _last_two(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden layer (R, n, width) and logits (R, n, 10)."""
        *_, hidden, logits = self.features(theta)
        return hidden, logits


def _deviation(f_a: Features, f_b: Features, f_mid: Features, alpha: float) -> Array:
    """|f(theta_alpha) - (alpha f(theta_A) + (1 - alpha) f(theta_B))|_F of each hidden layer, (R, L) float64."""
    layers = zip(f_a[:-1], f_b[:-1], f_mid[:-1], strict=True)
    norms = [frobenius(mid.double() - torch.lerp(b.double(), a.double(), alpha)) for a, b, mid in layers]
    return np.asarray(torch.stack(norms, 1))


def _linearity_of_mean(middle: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> tuple[Array, Array]:
    """1 - cosine of the middle's features with the mean of the other two, and between those two, (R,) each."""
    mean = (first.double() + second.double()) / 2
    return cosine_distance(middle, mean).numpy(), cosine_distance(first, second).numpy()


def valid(values: Mapping[str, Array], diverged: Array) -> dict[str, Array]:
    """The values (R, ...) with NaN for diverged runs: numbers of a network frozen at 1e30 mean nothing."""
    alive = diverged < 0
    return {name: np.where(alive.reshape(-1, *[1] * (value.ndim - 1)), value, np.nan) for name, value in values.items()}
