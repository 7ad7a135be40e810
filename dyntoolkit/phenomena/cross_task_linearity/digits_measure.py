"""What is measured on two fine-tuned networks, and the numbers that a finished run is judged by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dyntoolkit.engine.history import Array, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.linearity import cosine_distance, feature_linearity, frobenius, log_slope, parabola_fit

Values = dict[str, Array]

ALPHAS = np.arange(1, 20) / 20  # .05, .10, ..., .95
SCALES = np.array([0.03, 0.06, 0.12, 0.25])  # s of the displacement scan
LAMBDAS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])  # task scales of the drawn curves
LEAST_BASE = 1e-3  # below it the two networks hardly differ, and a ratio to their difference says nothing
FAILED_LOSS = 1.0  # a training loss above it (clean labels) is no training at all


def average(pair: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """All weights of alpha theta_A + (1 - alpha) theta_B, (R, P); pair (R, 2, P), alpha (R,)."""
    return torch.lerp(pair[:, 1], pair[:, 0], alpha[:, None])


def distance(pair: torch.Tensor) -> Array:
    """|theta_A - theta_B| / |their mid-point| over all weights and biases, (R,) float64; pair (R, 2, P)."""
    a, b = pair.double().unbind(1)
    gap, size = torch.linalg.vector_norm(a - b, dim=1), torch.linalg.vector_norm((a + b) / 2, dim=1)
    return np.asarray(gap / size)


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

    def features(self, theta: torch.Tensor) -> list[torch.Tensor]:
        """Features of every hidden layer, then the logits, of R networks theta (R, P) on both tests: (R, n, h_l)."""
        return self.model.features(theta, self.x)

    def accuracies(self, logits: torch.Tensor) -> Array:
        """Accuracy on task A and on task B, (R, 2)."""
        half = len(self.labels) // 2
        parts = [(logits[:, :half], self.labels[:half]), (logits[:, half:], self.labels[half:])]
        return np.stack([accuracy(answers, labels) for answers, labels in parts], 1)

    def measure(self, start: torch.Tensor, pair: torch.Tensor, *, last: bool) -> Iterator[Values]:
        """All values of a frame, in parts; start (R, P), pair (R, 2, P). The scans belong to the last frame.

        Each part takes no longer than a few networks; many are empty, and give the caller a chance to breathe.
        """
        yield self.evaluate(pair)
        if last:
            yield from self.alpha_scan(pair)
            yield from self.displacement_scan(start, pair)
            yield from self.arithmetic(start, pair)
            yield from self.arithmetic_scan(start, pair)

    def evaluate(self, pair: torch.Tensor) -> Values:
        """Feature metrics per layer (R, L + 1), distance and accuracies (R,) of the pair (R, 2, P), at `alpha`."""
        f_a, f_b = self.features(pair[:, 0]), self.features(pair[:, 1])
        f_merged = self.features(average(pair, self.alpha))
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

    def alpha_scan(self, pair: torch.Tensor) -> Iterator[Values]:
        """Deviation per hidden layer (R, 19, L), accuracies of average and ensemble (R, 19), for all ALPHAS."""
        f_a, f_b = self.features(pair[:, 0]), self.features(pair[:, 1])
        deviations, merged, ensemble = [], [], []
        for weight in ALPHAS:
            alpha = torch.full_like(self.alpha, weight)
            f_merged = self.features(average(pair, alpha))
            deviations.append(_deviation(f_a, f_b, f_merged, weight))
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
        deviations, distances = [], []
        half = torch.full_like(self.alpha, 0.5)
        for s in SCALES:
            near = start[:, None] + float(s) * (pair - start[:, None])  # (R, 2, P)
            f_a, f_b, f_mid = (self.features(theta) for theta in (near[:, 0], near[:, 1], average(near, half)))
            deviations.append(_deviation(f_a, f_b, f_mid, 0.5))
            distances.append(distance(near))
            yield {}
        yield {"pulled_deviation": np.stack(deviations, 1), "pulled_distance": np.stack(distances, 1)}

    def arithmetic(self, start: torch.Tensor, pair: torch.Tensor) -> Iterator[Values]:
        """Addition and negation of the task vectors tau = theta_A - theta_0 and tau' = theta_B - theta_0, times lambda.

        theta_0 is the start. Errors, their baselines and drops in accuracy, all (R,).
        """
        scale = self.task_scale[:, None]
        tau_a, tau_b = (pair - start[:, None]).unbind(1)  # (R, P)
        hidden, logits = self._last_two(start)
        added = self._last_two(start + scale * (tau_a + tau_b))[0]
        yield {}
        twice_a, twice_b = (self._last_two(start + 2 * scale * tau)[0] for tau in (tau_a, tau_b))
        addition = _linearity_of_mean(added, twice_a, twice_b)
        yield {}
        plus, (minus, negated) = self._last_two(start + scale * tau_a)[0], self._last_two(start - scale * tau_a)
        negation = _linearity_of_mean(hidden, plus, minus)
        drop = self.accuracies(logits) - self.accuracies(negated)  # (R, 2)
        yield {
            "addition_ctl": addition[0],
            "addition_base": addition[1],
            "negation_ctl": negation[0],
            "negation_base": negation[1],
            "target_drop": drop[:, 0],
            "control_drop": drop[:, 1],
        }

    def arithmetic_scan(self, start: torch.Tensor, pair: torch.Tensor) -> Iterator[Values]:
        """Accuracy after addition (R, 5), and after negation on A and B (R, 5, 2), for all LAMBDAS."""
        tau_a, tau_b = (pair - start[:, None]).unbind(1)  # (R, P)
        added, negated = [], []
        for scale in LAMBDAS.tolist():
            added.append(self.accuracies(self._last_two(start + scale * (tau_a + tau_b))[1]).mean(1))
            negated.append(self.accuracies(self._last_two(start - scale * tau_a)[1]))
            yield {}
        yield {"added_acc": np.stack(added, 1), "negated_acc": np.stack(negated, 1)}

    def _last_two(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden layer (R, n, width) and logits (R, n, 10)."""
        *_, hidden, logits = self.features(theta)
        return hidden, logits


def _deviation(f_a: list[torch.Tensor], f_b: list[torch.Tensor], f_mid: list[torch.Tensor], alpha: float) -> Array:
    """|f(theta_alpha) - (alpha f(theta_A) + (1 - alpha) f(theta_B))|_F of each hidden layer, (R, L) float64."""
    layers = zip(f_a[:-1], f_b[:-1], f_mid[:-1], strict=True)
    norms = [frobenius(mid.double() - torch.lerp(b.double(), a.double(), alpha)) for a, b, mid in layers]
    return np.asarray(torch.stack(norms, 1))


def _linearity_of_mean(middle: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> tuple[Array, Array]:
    """1 - cosine of the middle's features with the mean of the other two, and between those two, (R,) each."""
    mean = (first.double() + second.double()) / 2
    return cosine_distance(middle, mean).numpy(), cosine_distance(first, second).numpy()


def ratio(error: Array, base: Array) -> Array:
    """error / base where the networks differ enough (base >= LEAST_BASE) to judge it, else NaN."""
    return np.asarray(np.divide(error, base, out=np.full_like(base, np.nan), where=base >= LEAST_BASE))


def mean_ratio(ctl_l: Array, base_l: Array) -> Array:
    """Mean over the hidden layers of ctl_l / base_l, both (..., L + 1); NaN where the mean of base_l is too small."""
    ctl, base = ctl_l[..., :-1], base_l[..., :-1]  # without the logits
    per_layer = np.divide(ctl, base, out=np.full_like(base, np.nan), where=base > 0)
    return np.where(base.mean(-1) >= LEAST_BASE, per_layer.mean(-1), np.nan)


def metrics(history: History) -> Values:
    """Every number that a run is judged by, name -> (R,) float64; NaN where it is not measured yet or means nothing.

    All on the newest frame. ctl_k, base_k: of layer k, the last one being the logits. loss: mean training loss of
    both fine-tunings since the frame before; loss_a, loss_b: each. loss_flag: 1 where one of them is above 1.
    """
    runs, hidden = len(history.seeds), history.config.depth
    no_layers = np.full((runs, hidden + 1), np.nan)
    never = np.full(runs, np.nan)
    ctl_l, base_l, coef_l = (history.last(n) if n in history else no_layers for n in ("ctl_l", "base_l", "coef_l"))
    found = {name: history.last(name) if name in history else never for name in MEASURED}
    base = base_l[:, :-1].mean(1)
    loss = history.last("loss") if "loss" in history else np.full((runs, 2), np.nan)  # (R, 2)
    failed = np.where(np.isnan(loss).any(1), np.nan, loss.max(1) > FAILED_LOSS)
    return {
        "ctl": ctl_l[:, :-1].mean(1),
        "base": base,
        "ratio": mean_ratio(ctl_l, base_l),
        "coef_last": coef_l[:, -2],
        **found,
        "pretrained_acc": history.last("pretrain_acc") if "base_l" in history else never,
        "merged_minus_ensemble": found["merged_acc"] - found["ensemble_acc"],
        **_scan_metrics(history, never),
        "addition_ratio": ratio(found["addition_ctl"], found["addition_base"]),
        "negation_ratio": ratio(found["negation_ctl"], found["negation_base"]),
        "loss": loss.mean(1),
        "loss_a": loss[:, 0],
        "loss_b": loss[:, 1],
        "loss_flag": failed,
        **{f"ctl_{k + 1}": ctl_l[:, k] for k in range(hidden + 1)},
        **{f"base_{k + 1}": base_l[:, k] for k in range(hidden + 1)},
    }


MEASURED = (
    "distance",
    "own_acc",
    "cross_acc",
    "merged_acc",
    "ensemble_acc",
    "addition_ctl",
    "addition_base",
    "negation_ctl",
    "negation_base",
    "target_drop",
    "control_drop",
)


def _scan_metrics(history: History, never: Array) -> Values:
    """R^2 of the parabola over the alpha scan, and the exponent of the displacement scan, means over hidden layers."""
    r2 = exponent = never
    if "path_deviation" in history:
        r2 = parabola_fit(ALPHAS, history.last("path_deviation").swapaxes(0, 1))[1].mean(1)  # (R, L) -> (R,)
    if "pulled_deviation" in history:
        exponent = log_slope(SCALES, history.last("pulled_deviation").swapaxes(0, 1)).mean(1)
    return {"parabola_r2": r2, "deviation_exponent": exponent}
