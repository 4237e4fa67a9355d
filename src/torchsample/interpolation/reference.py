"""Interpolate a map of any rank as differentiable tensor operations: the definition.

Each axis turns its positions into *taps*, pixel indices and weights; one gather reads all combinations of the axes'
taps, and one weighted sum combines them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..coordinates.convert import to_position
from .boundary import Boundary
from .kernels import Kernel


@dataclass(frozen=True)
class Taps:
    """The pixels that count at each point along one axis."""

    index: Tensor
    """``(*points, taps)``, int64, inside of the map."""
    weight: Tensor
    """``(*points, taps)``; 0 where the boundary takes a pixel out."""


def axis_taps(position: Tensor, side: int, kernel: Kernel, boundary: Boundary, align_corners: bool) -> Taps:
    """Taps of finite, folded positions ``(*points)`` along an axis of ``side`` pixels."""
    anchor = kernel.anchor(position.detach())
    weight = torch.stack(kernel.weights(position - anchor), dim=-1)
    offsets = torch.tensor(kernel.offsets, device=position.device)
    index, counts = boundary.resolve(anchor.long().unsqueeze(-1) + offsets, side, align_corners)
    return Taps(index, weight if counts is None else weight.where(counts, 0))


def _outer(factors: list[Tensor]) -> Tensor:
    """Products ``(*points, K * ... * K)`` of one factor per axis, each ``(*points, K)``."""
    product = factors[0]
    for factor in factors[1:]:
        product = (product.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(-2)
    return product


def _gather(featmap: Tensor, batch: tuple[Tensor, ...], indices: list[Tensor]) -> Tensor:
    """Read ``(*points, K * ... * K, c)``: every combination of one index ``(*points, K)`` per axis of the map."""
    rank = len(indices)
    spread = [index[(..., *[None] * axis, slice(None), *[None] * (rank - 1 - axis))] for axis, index in enumerate(indices)]
    where = [index[(..., *[None] * rank)] for index in batch] + spread
    return featmap.movedim(-rank - 1, -1)[tuple(where)].flatten(-1 - rank, -2)


def _weighted_sum(values: Tensor, weight: Tensor) -> Tensor:
    """Sum ``(*points, K, *features)`` over the taps; a pixel without weight has no say, be it NaN or infinite."""
    taps = weight.ndim - 1
    weight = weight[(..., *[None] * (values.ndim - weight.ndim))]
    silent = (weight == 0) & ~values.isfinite()
    return (weight * values.masked_fill(silent, 0)).sum(taps)


def _combine(values: Tensor, weight: Tensor) -> Tensor:
    """Sum the taps ``(*points, K, c)`` in the precision of the weights; real and imaginary parts are features of their own."""
    if not values.is_complex():
        return _weighted_sum(values.to(weight.dtype), weight)
    parts = torch.view_as_real(values.to(weight.dtype.to_complex()))
    return torch.view_as_complex(_weighted_sum(parts, weight))


def interpolate(
    coords: Tensor,
    featmap: Tensor,
    batch: tuple[Tensor, ...],
    kernel: Kernel,
    boundary: Boundary,
    align_corners: bool,
) -> Tensor:
    """Values ``(*points, c)`` of a map at normalized coordinates.

    Parameters
    ----------
    coords : Tensor
        ``(*points, d)``, floating-point.
    featmap : Tensor
        ``(*batch, c, *spatial)``, any dtype; integers and bools only with a kernel that selects.
    batch : tuple of Tensor
        For each batch dimension of the map, the index of each point's map, int64; they broadcast against ``points``.
    kernel, boundary, align_corners
        The rule of each axis.
    """
    weighs = featmap.is_floating_point() or featmap.is_complex()
    accumulator = torch.promote_types(featmap.dtype.to_real(), torch.float32) if weighs else torch.float32
    coords = coords.to(torch.promote_types(coords.dtype, accumulator))
    sides = featmap.shape[-coords.shape[-1] :]
    reach = max(map(abs, kernel.offsets))

    # Coordinates are (x, y, ...), spatial dimensions (..., h, w).
    positions = [
        boundary.fold(to_position(axis, side, align_corners), side, align_corners, reach)
        for axis, side in zip(reversed(coords.unbind(-1)), sides, strict=True)
    ]
    undefined = torch.stack([position.isnan() for position in positions]).any(0)
    taps = [
        axis_taps(position.masked_fill(undefined, 0), side, kernel, boundary, align_corners)
        for position, side in zip(positions, sides, strict=True)
    ]
    values = _gather(featmap, batch, [tap.index for tap in taps])
    weight = _outer([tap.weight for tap in taps])
    undefined = undefined.unsqueeze(-1)
    if not weighs:
        return values.squeeze(-2).masked_fill((weight == 0) | undefined, 0)
    return _combine(values, weight.to(accumulator)).masked_fill(undefined, torch.nan).to(featmap.dtype)
