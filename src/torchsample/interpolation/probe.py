"""Try a user's own kernel or boundary on a few positions: what is malformed is named before it fails deep inside.

What it raises here it raises again where it is used, and there it passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._checks import describe, is_int
from .._eager import why_not_eager

if TYPE_CHECKING:
    from .boundary import Boundary
    from .kernels import Kernel

SIDE = 1 << 20
"""Pixels of the axis that boundaries are tried on: more than any table that a boundary may hold."""


def _first_fault(faults: Callable[[], Iterator[str]]) -> str | None:
    """The first fault; none where the functions cannot be tried."""
    if why_not_eager() is not None:
        return None
    try:
        with torch.no_grad():
            return next(faults(), None)
    except Exception:
        return None


def _misfit(value: object, like: Tensor) -> str | None:
    """Why something does not stand for a tensor of positions, or None."""
    if not isinstance(value, Tensor) or value.shape != like.shape or not value.is_floating_point():
        return f"{describe(value)} for {describe(like)}"
    return None


def kernel_fault(kernel: Kernel) -> str | None:
    """Say what is wrong with a kernel, or None."""
    offsets, poles = getattr(kernel, "offsets", None), kernel.poles
    if not isinstance(offsets, Sequence) or not offsets or not all(map(is_int, offsets)):
        return f"offsets {describe(offsets)}"
    if not isinstance(poles, Sequence) or not all(isinstance(pole, float) and 0 < abs(pole) < 1 for pole in poles):
        return f"poles {describe(poles)}"
    if not isinstance(kernel.selects, bool):
        return f"selects {describe(kernel.selects)}"

    def faults() -> Iterator[str]:
        position = torch.tensor([0.25, 1.5, 2.0], device="cpu")
        anchor = kernel.anchor(position)
        if fault := _misfit(anchor, position):
            yield f"an anchor that is {fault}"
        weights = kernel.weights(position - anchor)
        if not isinstance(weights, (tuple, list)) or len(weights) != len(offsets):
            found = f"{len(weights)} weights" if isinstance(weights, (tuple, list)) else f"weights that are {describe(weights)}"
            yield f"{found} for {len(offsets)} offsets"
        for weight in weights:
            if fault := _misfit(weight, position):
                yield f"a weight that is {fault}"

    return _first_fault(faults)


def boundary_fault(boundary: Boundary) -> str | None:
    """Say what is wrong with a boundary, or None."""

    def faults() -> Iterator[str]:
        position = torch.tensor([-2.5, 0.25, SIDE - 0.5], device="cpu")
        if fault := _misfit(boundary.fold(position, SIDE, False, 2), position):
            yield f"a fold that is {fault}"
        index = torch.tensor([-3, -1, 0, 1, SIDE - 1, SIDE, SIDE + 2], device="cpu")
        found = boundary.resolve(index, SIDE, False)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            yield f"a resolve that is {describe(found)}"
        inside, mask = found
        if not isinstance(inside, Tensor) or inside.shape != index.shape or inside.dtype not in (torch.int64, torch.int32):
            yield f"indices that are {describe(inside)} for {describe(index)}"
        low, high = (int(bound) for bound in inside.aminmax())
        if low < 0 or high >= SIDE:
            yield f"indices from {low} to {high} for a side of {SIDE}"
        if mask is not None and (not isinstance(mask, Tensor) or mask.shape != index.shape or mask.dtype != torch.bool):
            yield f"a mask that is {describe(mask)} for {describe(index)}"

    return _first_fault(faults)
