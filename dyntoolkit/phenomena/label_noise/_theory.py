"""Theory of fresh label noise (or SAM) in the two-layer linear network f(x) = s a^T W x with s = 1/sqrt(m).

This project's own derivation. Training fits the data at once and then stays near the solutions s W^T a = beta*; noise
lets it drift along them. Only G = W^T W and A = |a|^2 enter, with b = beta*/s and S = X^T X/n:

    dG/dt = k (-S G - G S + lam b^T + b lam^T),   dA/dt = k (-2 tr(S) A + 2 b.lam),
    lam = (G + A I)^-1 (tr(S) b + S b)            (keeps W^T a = b),

per training step, with the rate k of `drift_rate` times the factors of the finite step size. For S = I the flow can be
read off: `log_ratio`, `end_norm`, `noise_free_norms`.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from dyntoolkit.engine.history import Array

FIT_STEPS = 4000  # of clean gradient descent at most
EULER = 0.02  # largest k tr(S) dt
BUDGET = 25_000  # Euler steps of one run; beyond that (a very large k) no flow is drawn


def noise_is_on(step: Array, period: int) -> Array:
    """Whether update `step` = 0, 1, ... is made with noise: floor(step/period) even; always for period 0."""
    return np.ones_like(step, dtype=bool) if period == 0 else step // period % 2 == 0


def drift_rate(lr: float, noise_std: float, sam_rho: float, batch: int, scale: float) -> float:
    """k0 = lr^2 tau^2 s^2/(2B) + lr rho^2 s^2, per step: |W_perp|^2 falls about as exp(-2 k0 t)."""
    noise = lr**2 * noise_std**2 / (2 * batch)
    return (noise + lr * sam_rho**2) * scale**2


def log_ratio(init_scale: Array | float, target_norm: float, width: int, dim: int) -> Array:
    """L = ln((d-1) sqrt(m) init_scale^2 / (sqrt(d) |beta*|)): the alignment reaches 1/2 at t = L/(2 k0).

    Of the shape of init_scale.
    """
    ratio = (dim - 1) * math.sqrt(width) * np.square(init_scale)
    return np.asarray(np.log(ratio / (math.sqrt(dim) * target_norm)))


def end_norm(target_norm: float, width: int, dim: int) -> float:
    """|W|_F^2 where the flow comes to rest: sqrt(d) |beta*| / s."""
    return math.sqrt(dim) * target_norm * math.sqrt(width)


def noise_free_norms(init_scale: float, target_norm: float, width: int, dim: int) -> tuple[float, float]:
    """|W_b|^2 along beta* and |W_perp|^2 across it where noise-free training from a = 0 ends, for S = I."""
    start = width * init_scale**2  # |W_b|^2 at the start; |W_b|^2 - |a|^2 is conserved
    # u = (m init_scale^2 + sqrt(m^2 init_scale^4 + 4 |b|^2))/2
    along = (start + math.sqrt(start**2 + 4 * width * target_norm**2)) / 2
    return along, (dim - 1) * start


def noise_factor(stretch: Array, dim: int, batch: int) -> Array:
    """F_n: how much the finite step size speeds up label noise. stretch: (lr/2) l, with l the network's mean gain."""
    # F_n = 1/(1 - (lr/2) (l + (d+1) l/B))
    return np.asarray(1 / np.maximum(1 - stretch * (1 + (dim + 1) / batch), 0.05))


def sam_factor(stretch: Array, dim: int) -> Array:
    """F_s: the same for SAM on single samples, whose step overshoots by u times the radius."""
    c = np.sqrt(2 / np.pi)
    h = np.minimum(0.9, stretch * (dim + 2))
    # u: the positive root of (1-h) u^2 + c (1-2h) u - h = 0
    p = c * (1 - 2 * h)
    u = (-p + np.sqrt(p**2 + 4 * (1 - h) * h)) / (2 * (1 - h))
    # F_s = 1 + 2 c u + u^2
    return np.asarray(1 + 2 * c * u + u**2)


def kick_factor(W2: Array, lr: Array | float, dim: int, width: int) -> Array:
    """How much the finite step size speeds up kicks to the second layer. W2: |W|_F^2, of any shape."""
    # 1/(1 - (lr/2) |W|^2 s^2/d)
    return np.asarray(1 / (1 - lr / 2 * W2 / (width * dim)))


def clean_descent(W: Array, S: Array, beta: Array, lr: Array) -> tuple[Array, Array, Array]:
    """Noise-free full-batch gradient descent from (W, a = 0), until the gradient in beta is below 1e-9 s.

    W: (R, m, d). S: (R, d, d). beta: (R, d), the truth. lr: (R,). Returns W (R, m, d), a (R, m), and t_fit (R,), the
    first step with a loss below 1e-3 of the first one (inf: not within FIT_STEPS).
    """
    scale = 1 / math.sqrt(W.shape[1])
    rate, a, t_fit = lr[:, None, None], np.zeros(W.shape[:2]), np.full(len(W), np.inf)
    first = (beta[:, None] @ S @ beta[:, :, None])[:, 0, 0] / 2  # (R,) loss at a = 0
    for t in range(FIT_STEPS + 1):
        error = scale * (a[:, None] @ W)[:, 0] - beta  # (R, d)
        slope = (error[:, None] @ S)[:, 0]  # (R, d)  gradient in beta
        loss = (error * slope).sum(1) / 2  # (R,)
        t_fit = np.where(np.isinf(t_fit) & (loss < 1e-3 * first), t, t_fit)
        if t == FIT_STEPS or not (np.sqrt((slope**2).sum(1)) >= 1e-9 * scale).any():
            break
        g = scale * slope[:, None]  # (R, 1, d)
        W, a = W - rate * (a[:, :, None] * g), a - rate[:, 0] * (g @ W.mT)[:, 0]
    return W, a, t_fit


@dataclass
class Flow:
    """The flow of R runs, advanced from one recorded step to the next; the clock starts with training.

    W: (R, m, d) initial first layer. S: (R, d, d). beta: (R, d), the truth. lr, noise_std, sam_rho: (R,). driven: (R,)
    bool, whether a flow is wanted. batch: B. noise_period: half-period of the noise, 0 for always on.
    None is drawn where none is wanted, for runs that clean gradient descent does not fit in FIT_STEPS, and once BUDGET
    is spent.
    """

    W: Array
    S: Array
    beta: Array
    lr: Array
    noise_std: Array
    sam_rho: Array
    driven: Array
    batch: int
    noise_period: int = 0
    step: int = 0
    G: Array = field(init=False)  # (R, d, d)
    A: Array = field(init=False)  # (R,)
    left: Array = field(init=False)  # (R,) Euler steps that may still be made; 0: no flow
    t_fit: Array = field(init=False)  # (R,)

    def at(self, step: int) -> tuple[Array, Array]:
        """|W|_F^2 and the alignment with beta* at training step `step`, (R,) each.

        NaN before t_fit and where no flow is drawn. To be asked for increasing steps. The clean descent is made at the
        first step after 0.
        """
        if step == 0 or not self.driven.any():
            return np.full(len(self.W), np.nan), np.full(len(self.W), np.nan)
        with np.errstate(all="ignore"):  # a diverging run makes NaN, which is then not drawn
            if self.step == 0:
                self._fit()
            self._advance(step)
            W2 = np.trace(self.G, axis1=1, axis2=2)
            along = (self.beta[:, None] @ self.G @ self.beta[:, :, None])[:, 0, 0] / (self.beta**2).sum(1)
            drawn = (self.left > 0) & (step >= self.t_fit) & np.isfinite(W2)
            return np.where(drawn, W2, np.nan), np.where(drawn, along / W2, np.nan)

    def _fit(self) -> None:
        """Start from where noise-free training ends; runs that differ in their noise alone share that descent."""
        runs = len(self.W)
        settings = np.concatenate([part.reshape(runs, -1) for part in (self.lr, self.beta, self.S, self.W)], axis=1)
        _, first, back = np.unique(settings, axis=0, return_index=True, return_inverse=True)
        back = back.reshape(runs)
        found = clean_descent(self.W[first], self.S[first], self.beta[first], self.lr[first])
        W, a, self.t_fit = (part[back] for part in found)
        self.G = W.mT @ W
        self.A = (a**2).sum(1)
        good = self.driven & np.isfinite(self.t_fit) & np.isfinite(self.G).all((1, 2)) & np.isfinite(self.A)
        self.left = np.where(good, BUDGET, 0)
        self.G[~good], self.A[~good] = np.eye(self.G.shape[1]), 1.0  # a placeholder that can be solved with

    def _advance(self, step: int) -> None:
        """Euler steps of k tr(S) dt <= EULER up to training step `step`."""
        on = noise_is_on(np.arange(self.step, step), self.noise_period).mean()
        b = self.beta / self._scale  # (R, d)
        tr = np.trace(self.S, axis1=1, axis2=2)  # (R,)
        pull = tr[:, None] * b + (self.S @ b[:, :, None])[:, :, 0]  # (R, d)
        identity = np.eye(b.shape[1])
        time = np.where(self.left > 0, float(step - self.step), 0.0)  # (R,) still to go
        while (going := time > 0).any():
            r = slice(None) if going.all() else np.flatnonzero(going)  # the N runs that still go
            G, A = self.G[r], self.A[r]
            k = self._rate(r, on)
            dt = np.minimum(time[r], EULER / (k * tr[r]))
            # lam = (G + A I)^-1 (tr(S) b + S b)
            lam = np.linalg.solve(G + A[:, None, None] * identity, pull[r, :, None])  # (N, d, 1)
            # dG = k (-S G - G S + lam b^T + b lam^T) dt: one half of it, and its transpose
            half = lam * b[r, None] - self.S[r] @ G  # (N, d, d)
            self.G[r] = G + (k * dt)[:, None, None] * (half + half.mT)
            # dA = k (-2 tr(S) A + 2 b.lam) dt
            self.A[r] = A + k * dt * (2 * (b[r] * lam[:, :, 0]).sum(1) - 2 * tr[r] * A)
            self.left[r] -= 1
            time[r] = np.where(self.left[r] > 0, time[r] - dt, 0.0)
        self.step = step

    def _rate(self, r: slice | Array, on: float) -> Array:
        """k per training step of the runs r, (N,); on: the fraction of steps with noise."""
        dim = self.beta.shape[1]
        # l = s^2 (tr G + d A)/d
        gain = self._scale**2 * (np.trace(self.G[r], axis1=1, axis2=2) / dim + self.A[r])  # (N,)
        stretch = self.lr[r] / 2 * gain
        # k = on lr^2 tau^2 s^2/(2B) F_n + lr rho^2 s^2 F_s
        noise = on * (self.lr * self.noise_std)[r] ** 2 / (2 * self.batch) * noise_factor(stretch, dim, self.batch)
        if self.sam_rho.any():
            noise = noise + self.lr[r] * self.sam_rho[r] ** 2 * sam_factor(stretch, dim)
        return np.asarray(self._scale**2 * noise)

    @property
    def _scale(self) -> float:
        """s of f(x) = s a^T W x."""
        return 1 / math.sqrt(self.W.shape[1])
