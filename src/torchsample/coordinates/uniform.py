"""Uniform integers, and uniform numbers of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_TOGETHER = 2**31
"""Axes are drawn as one number while that is at most so large; its remainder is then uniform to one part in 2**31."""


def integers(shape: tuple[int, ...], bound: int, device: torch.device | str | None, generator: torch.Generator | None) -> Tensor:
    """Uniform integers from 0 to ``bound - 1``, int64.

    `torch.randint` itself takes 32 random bits for bounds below ``2**28``, so that the first ``2**32 % bound`` integers are more likely
    than the others, by up to one sixteenth. The remainder of 62 bits is uniform to ``bound / 2**62``, one part in ``2**31`` here.
    """
    if bound <= _TOGETHER:
        return torch.randint(2**62, shape, device=device, generator=generator).remainder_(bound)
    # The remainder of large bounds is not uniform, but that of integers below a multiple of the bound is.
    most = (2**63 - 1) // bound * bound
    found = torch.randint(2**63 - 1, shape, device=device, generator=generator)
    while bool((wrong := found >= most).any()):
        found = found.where(~wrong, torch.randint(2**63 - 1, shape, device=device, generator=generator))
    return found.remainder_(bound)


def pixels(shape: tuple[int, ...], size: Sequence[int], device: torch.device | str | None, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers of the pixels of a map, counted through the flattened spatial dimensions, int64."""
    bounds = [1]
    for side in size:
        if bounds[-1] * side <= _TOGETHER:
            bounds[-1] *= side
        else:
            bounds.append(side)
    numbers, step = integers(shape, bounds[0], device, generator), bounds[0]
    for bound in bounds[1:]:
        numbers += step * integers(shape, bound, device, generator)
        step *= bound
    return numbers
