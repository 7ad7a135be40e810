"""Random numbers: every number of run r comes from the seed of run r alone, in named streams."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from dyntoolkit.errors import InputError, whole_number

MOST = 2**32  # different seeds


def check_seeds(seeds: Iterable[object]) -> tuple[int, ...]:
    """The seeds as whole numbers; InputError for none at all, and for what is no whole number from 0 to 2**32 - 1."""
    checked = tuple(whole_number("seed", seed, 0, MOST - 1) for seed in seeds)
    if not checked:
        raise InputError("seeds: at least one seed is needed, got none.", "seeds")
    return checked


class Stream:
    """One named stream of random numbers per run.

    Runs with the same seed draw the same numbers from a stream of the same name, whatever the other runs and
    streams do; so a run and its control share data and weights. Draws are sequential: two calls for a and b steps
    give the numbers of one call for a + b steps.

    >>> Stream((0, 1), "init").normal(3).shape
    torch.Size([2, 3])
    >>> bool((Stream((0, 1), "init").normal(3)[1] == Stream((1,), "init").normal(3)[0]).all())
    True
    """

    def __init__(self, seeds: Sequence[int], name: str) -> None:
        key = tuple(name.encode())
        self.generators = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)) for seed in seeds]

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Standard normal numbers, (R, *shape)."""
        return self._stack([g.standard_normal(shape) for g in self.generators]).to(dtype)

    def signs(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Fair signs -1 or +1, (R, *shape)."""
        return self._stack([g.integers(0, 2, shape) for g in self.generators]).to(dtype) * 2 - 1

    def indices(self, n: int, *shape: int) -> torch.Tensor:
        """Whole numbers drawn uniformly from 0..n-1 with replacement, int64 (R, *shape)."""
        return self._stack([g.integers(0, n, shape) for g in self.generators])

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Numbers drawn uniformly from [-1, 1), (R, *shape)."""
        return self._stack([g.uniform(-1, 1, shape) for g in self.generators]).to(dtype)

    def unit(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Numbers drawn uniformly from [0, 1), (R, *shape)."""
        return (self.uniform(*shape, dtype=dtype) + 1) / 2

    def permutations(self, n: int) -> torch.Tensor:
        """The numbers 0..n-1 in random order, int64 (R, n)."""
        return self._stack([g.permutation(n) for g in self.generators])

    def _stack(self, draws: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(draws))
