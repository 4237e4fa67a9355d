"""Draw without replacement, at a cost that does not depend on how much there is to draw from."""

from __future__ import annotations

import torch
from torch import Tensor


def _first_occurrences(draws: Tensor) -> Tensor:
    """Mark in each row the entries that no earlier entry of the row equals."""
    values, order = draws.sort(dim=-1, stable=True)
    first = torch.ones_like(values, dtype=torch.bool)
    first[:, 1:] = values[:, 1:] != values[:, :-1]
    return torch.empty_like(first).scatter_(-1, order, first)


def distinct(rows: int, n_samples: int, population: int, device: torch.device | str | None, generator: torch.Generator | None) -> Tensor:
    """Draw from ``range(population)`` without replacement, ``(rows, n_samples)``, in random order.

    Most of a small population comes from a shuffle of all of it. From a large one, numbers are drawn with replacement and
    repeats are dropped until enough are left; the first ``n`` distinct ones of a sequence of independent uniform
    draws are a uniform draw without replacement, and the cost does not depend on the population.
    """
    if population < 4 * n_samples:
        # 62 random bits: two equal keys, which argsort would put in order, practically do not happen.
        keys = torch.randint(2**62, (rows, population), device=device, generator=generator)
        return keys.argsort(dim=-1)[:, :n_samples]
    draws = torch.empty((rows, 0), dtype=torch.int64, device=device)
    while True:
        spare = n_samples + n_samples // 4 + 8
        fresh = torch.randint(population, (rows, spare), device=device, generator=generator)
        draws = torch.cat([draws, fresh], dim=-1)
        first = _first_occurrences(draws)
        if bool((first.sum(-1) >= n_samples).all()):
            break
    rank = first.cumsum(-1)
    chosen = first & (rank <= n_samples)
    return draws[chosen].reshape(rows, n_samples)
