"""The taps of points as plain tables, one row per point: which rows of a map's table count, and how much."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from .reference import Axis, accumulator

Columns = Sequence[Tensor]
"""One tensor ``(n,)`` per tap of an axis."""


def count_taps(axes: Sequence[Axis]) -> int:
    return prod(len(axis.kernel.offsets) for axis in axes)


def split(coords: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
    """Coordinates per axis, in the precision for positions."""
    return coords.to(torch.promote_types(coords.dtype, accumulator(maps.dtype))).unbind(-1)


def _index_dtype(maps: Tensor) -> torch.dtype:
    # Boundaries may double a side.
    return torch.int32 if maps.shape[0] * prod(maps.shape[2:]) < 1 << 30 else torch.int64


def _table(slow: Columns, fast: Columns, combine: Callable[..., Tensor]) -> Tensor:
    """``(n, len(slow) * len(fast))``: every column of the first combined with every one of the second."""
    if not slow:
        return torch.stack(list(fast), dim=-1)
    table = fast[0].new_empty(len(fast[0]), len(slow) * len(fast))
    for column, (left, right) in zip(table.unbind(-1), product(slow, fast), strict=True):
        combine(left, right, out=column)
    return table


def multiply(factors: Sequence[Columns], dtype: torch.dtype) -> Tensor:
    """Weights ``(n, K)`` of every combination of the axes' taps, in the order of the map."""
    fast, *slower = ([column.to(dtype) for column in columns] for columns in factors)
    slow: list[Tensor] = slower.pop() if slower else []
    for columns in reversed(slower):
        slow = [left * right for left, right in product(slow, columns)]
    return _table(slow, fast, torch.mul)


def address(indices: Sequence[Columns], axes: Sequence[Axis], owner: Tensor | None) -> Tensor:
    """Rows ``(n, K)`` of every combination of the axes' pixels, counted through all the maps."""
    slow: list[Tensor] = [] if owner is None else [owner.to(indices[0][0].dtype)]
    for columns, axis in list(zip(indices, axes, strict=True))[:0:-1]:
        slow = [left * axis.extent + right for left, right in product(slow, columns)] if slow else list(columns)
    return _table([left * axes[0].extent for left in slow], indices[0], torch.add)


def taps(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> tuple[Tensor, Tensor]:
    """Rows and weights ``(n, K)`` of the taps of points."""
    dtype = _index_dtype(maps)
    weights, indices = zip(*(axis.columns(x, dtype) for axis, x in zip(axes, split(coords, maps), strict=True)), strict=True)
    return address(indices, axes, owner), multiply(weights, accumulator(maps.dtype))


def selected(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> tuple[Tensor, Tensor | None]:
    """With a kernel that selects, the one row of each point ``(n,)``, and where it counts (None: everywhere)."""
    dtype = _index_dtype(maps)
    pixels, masks = zip(*(axis.pixel(x, dtype) for axis, x in zip(axes, split(coords, maps), strict=True)), strict=True)
    known = [mask for mask in masks if mask is not None]
    return address([[pixel] for pixel in pixels], axes, owner).squeeze(-1), functools.reduce(torch.logical_and, known) if known else None


def slopes(coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> tuple[list[Columns], list[Columns], list[Columns]]:
    """Per axis, the weights of the taps, their derivatives by the coordinate, and the pixels."""
    dtype = _index_dtype(maps)
    weights, slants, indices = zip(*(axis.slopes(x, dtype) for axis, x in zip(axes, split(coords, maps), strict=True)), strict=True)
    return list(weights), list(slants), list(indices)
