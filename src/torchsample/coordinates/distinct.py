"""Draw without replacement, at a cost that does not depend on how much there is to draw from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .uniform import pixels


def _sort_rows(keys: Tensor, bound: int) -> tuple[Tensor, Tensor]:
    """Sort each row of distinct keys below a bound; both, and their product with the rows, within an int64.

    Rows sorted as one, each above those before it, take a third of the time: PyTorch has vector instructions for one row alone.
    """
    rows, n = keys.shape
    row = torch.arange(rows, device=keys.device).unsqueeze(-1)
    values, order = (keys + row * bound).flatten().sort()
    return values.view(rows, n) - row * bound, order.view(rows, n) - row * n


def _sort_stably(draws: Tensor, population: int) -> tuple[Tensor, Tensor]:
    """Sort each row, equal draws in the order in which they came."""
    rows, n = draws.shape
    bits = n.bit_length()
    if rows * population << bits >= 2**63:
        return draws.sort(dim=-1, stable=True)
    # With its place in the low bits no draw equals another, and any sort is stable.
    keys = draws << bits | torch.arange(n, device=draws.device)
    values, order = _sort_rows(keys, population << bits)
    return values >> bits, order


def _first_occurrences(draws: Tensor, population: int) -> Tensor:
    """Mark in each row the entries that no earlier entry of the row equals."""
    values, order = _sort_stably(draws, population)
    first = torch.ones_like(values, dtype=torch.bool)
    first[:, 1:] = values[:, 1:] != values[:, :-1]
    return torch.empty_like(first).scatter_(-1, order, first)


def _shuffle(rows: int, population: int, device: torch.device | str | None, generator: torch.Generator | None) -> Tensor:
    """All of ``range(population)`` in random order, ``(rows, population)``."""
    # 62 random bits, fewer for many rows: two equal keys, which the sort would put in an order of its own, practically do not happen.
    bits = min(62, 63 - (rows - 1).bit_length())
    keys = torch.randint(2**62, (rows, population), device=device, generator=generator) >> 62 - bits
    return _sort_rows(keys, 2**bits)[1]


def distinct(
    rows: int, n_samples: int, size: Sequence[int], device: torch.device | str | None, generator: torch.Generator | None
) -> Tensor:
    """Draw numbers of the pixels of a map without replacement, ``(rows, n_samples)``, in random order.

    Most of a small population comes from a shuffle of all of it. From a large one, numbers are drawn with replacement and
    repeats are dropped until enough are left; the first ``n`` distinct ones of a sequence of independent uniform
    draws are a uniform draw without replacement, and the cost does not depend on the population.
    """
    population = math.prod(size)
    if population < 4 * n_samples:
        return _shuffle(rows, population, device, generator)[:, :n_samples]
    draws = torch.empty((rows, 0), dtype=torch.int64, device=device)
    while True:
        spare = n_samples + n_samples // 4 + 8
        fresh = pixels((rows, spare), size, device, generator)
        draws = torch.cat([draws, fresh], dim=-1)
        first = _first_occurrences(draws, population)
        rank = first.cumsum(-1)
        if bool((rank[:, -1] >= n_samples).all()):
            break
    return draws.masked_select(first & (rank <= n_samples)).reshape(rows, n_samples)
