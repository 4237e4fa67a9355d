"""The back-end for CPUs: a map is a table with a row per pixel, and one fused sum of weighted rows serves everything.

- Interpolating sums, for each point, the rows of its taps: `torch.nn.functional.embedding_bag`.
- A derivative by a coordinate is the same sum, with the slopes of the weights in their place.
- Scattering is the transposed sum: taps are sorted by pixel, and each pixel sums the values of the points that read it.

Points are worked through in pieces whose taps stay in the caches; nothing of the size points x taps x channels ever exists.
Every function here takes points ``(n, d)`` that are finite or infinite, not NaN, and maps ``(m, c, *spatial)``; ``owner`` ``(n,)`` is the map
of each point, None for a single map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .reference import Axis, accumulator
from .rows import copy_rows, gather_rows, put_rows, to_maps, view_rows

PIECE = 1 << 18
"""Taps in a piece: their indices and weights are some MB."""

NARROW = 4
"""Up to so many channels are scattered one by one: sorting the taps would cost more than it saves."""

Columns = Sequence[Tensor]


def count_taps(axes: Sequence[Axis]) -> int:
    return prod(len(axis.kernel.offsets) for axis in axes)


def _pieces(n: int, axes: Sequence[Axis]) -> Iterator[slice]:
    step = max(PIECE // count_taps(axes), 1)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _is_worth_a_pass(n: int, maps: Tensor, axes: Sequence[Axis]) -> bool:
    """Whether points have enough taps to go through the whole map for them, not only through the pixels that they touch."""
    return 2 * n * count_taps(axes) >= maps.shape[0] * prod(maps.shape[2:])


def _split(coords: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """Coordinates per axis, in the precision for positions."""
    return coords.to(torch.promote_types(coords.dtype, accumulator(like.dtype))).unbind(-1)


def _index_dtype(maps: Tensor) -> torch.dtype:
    return torch.int32 if maps.shape[0] * prod(maps.shape[2:]) < 1 << 31 else torch.int64


def _table(slow: Columns, fast: Columns, combine: Callable[..., Tensor]) -> Tensor:
    """``(n, len(slow) * len(fast))``: every column of the first combined with every one of the second."""
    if not slow:
        return torch.stack(list(fast), dim=-1)
    table = fast[0].new_empty(len(fast[0]), len(slow) * len(fast))
    for column, (left, right) in zip(table.unbind(-1), product(slow, fast), strict=True):
        combine(left, right, out=column)
    return table


def _multiply(factors: Sequence[Columns], dtype: torch.dtype) -> Tensor:
    """Weights ``(n, K)`` of every combination of the axes' taps, in the order of the map."""
    fast, *slower = ([column.to(dtype) for column in columns] for columns in factors)
    slow: list[Tensor] = slower.pop() if slower else []
    for columns in reversed(slower):
        slow = [left * right for left, right in product(slow, columns)]
    return _table(slow, fast, torch.mul)


def _address(indices: Sequence[Columns], axes: Sequence[Axis], owner: Tensor | None) -> Tensor:
    """Rows ``(n, K)`` of every combination of the axes' pixels, counted through all the maps."""
    slow = [] if owner is None else [owner]
    for columns, axis in list(zip(indices, axes, strict=True))[:0:-1]:
        slow = [left * axis.extent + right for left, right in product(slow, columns)] if slow else list(columns)
    return _table([left * axes[0].extent for left in slow], indices[0], torch.add)


def _taps(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> tuple[Tensor, Tensor]:
    """Rows and weights ``(n, K)`` of the taps of points."""
    dtype = _index_dtype(maps)
    weights, indices = zip(*(axis.columns(x, dtype) for axis, x in zip(axes, _split(coords, maps), strict=True)), strict=True)
    owner = None if owner is None else owner.to(dtype)
    return _address(indices, axes, owner), _multiply(weights, accumulator(maps.dtype))


def _slopes(axis: Axis, x: Tensor, dtype: torch.dtype) -> tuple[Columns, Columns, Columns]:
    """Weights, their derivatives, and indices of an axis' taps."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        weights, indices = axis.columns(x, dtype)
    ones = torch.ones_like(x)
    slopes = [torch.autograd.grad(weight, x, ones, retain_graph=True, materialize_grads=True)[0] for weight in weights]
    return [weight.detach() for weight in weights], slopes, indices


def _bag(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums ``(n, c)`` of rows."""
    if table.dtype == torch.float32:
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")
    # In double precision the fused sum would store every row that it reads.
    total = table.new_zeros(len(index), table.shape[1])
    for rows, factor in zip(index.unbind(-1), weight.unbind(-1), strict=True):
        total.addcmul_(table.index_select(0, rows), factor.unsqueeze(-1))
    return total


def _read(table: Tensor | None, maps: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """A table of the map, or else of only those pixels that taps touch, and the taps' rows in it."""
    if table is not None:
        return table, index
    pixels, compact = torch.unique(index, return_inverse=True)
    return gather_rows(maps, pixels, accumulator(maps.dtype)), compact


def make_table(n: int, maps: Tensor, axes: Sequence[Axis]) -> Tensor | None:
    """Rows of the whole map, or None where a pass over it is more than the points are worth."""
    rows, dtype = view_rows(maps), accumulator(maps.dtype)
    if rows is not None and rows.dtype == dtype:
        return rows
    return copy_rows(maps, dtype) if _is_worth_a_pass(n, maps, axes) else None


def interpolate(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Values ``(n, c)``."""
    n = len(coords)
    values = maps.new_empty(n, maps.shape[1])
    table = make_table(n, maps, axes)
    for piece in _pieces(n, axes):
        index, weight = _taps(coords[piece], None if owner is None else owner[piece], maps, axes)
        values[piece] = _bag(*_read(table, maps, index), weight)
    return values


def select(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Values ``(n, c)`` with a kernel that selects, of any dtype, bit for bit; 0 where the boundary takes the tap out."""
    values = maps.new_empty(len(coords), maps.shape[1])
    for piece in _pieces(len(coords), axes):
        index, weight = _taps(coords[piece], None if owner is None else owner[piece], maps, axes)
        rows = gather_rows(maps, index.squeeze(-1), maps.dtype)
        values[piece] = rows.masked_fill_(weight == 0, 0) if bool((weight == 0).any()) else rows
    return values


def coords_gradient(grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradient ``(n, d)`` of the coordinates."""
    result, dtype = torch.empty_like(coords), accumulator(maps.dtype)
    table = make_table(len(coords), maps, axes)
    for piece in _pieces(len(coords), axes):
        parts = [_slopes(axis, x, _index_dtype(maps)) for axis, x in zip(axes, _split(coords[piece], maps), strict=True)]
        weights, slopes, indices = ([part[i] for part in parts] for i in range(3))
        index = _address(indices, axes, None if owner is None else owner[piece].to(_index_dtype(maps)))
        rows, index = _read(table, maps, index)
        incoming = grad[piece].to(dtype)
        for number, slope in enumerate(slopes):
            derivative = _bag(rows, index, _multiply([*weights[:number], slope, *weights[number + 1 :]], dtype))
            result[piece, number] = derivative.mul_(incoming).sum(-1)
    return result


def _sum_by_row(index: Tensor, weight: Tensor, values: Tensor, n_rows: int | None) -> tuple[Tensor | None, Tensor]:
    """Per row that taps name, or per row of a table, the weighted sum of the values of its points."""
    keys, order = torch.sort(index.flatten(), stable=True)
    weight = weight.flatten().index_select(0, order)
    points = order.div_(index.shape[1], rounding_mode="floor")
    if n_rows is None:
        rows, counts = torch.unique_consecutive(keys, return_counts=True)
    else:
        rows, counts = None, torch.bincount(keys, minlength=n_rows)
    return rows, F.embedding_bag(points, values, counts.cumsum(0).sub_(counts), per_sample_weights=weight, mode="sum")


def _add_columns(canvas: Tensor, index: Tensor, weight: Tensor, values: Tensor) -> None:
    """Add to a canvas ``(rows, c)`` tap by tap, each channel on its own if they are few."""
    for rows, factor in zip(index.unbind(-1), weight.unbind(-1), strict=True):
        rows = rows.contiguous()
        if values.shape[1] > NARROW:
            canvas.index_add_(0, rows, values * factor.unsqueeze(-1))
            continue
        for channel, column in zip(canvas.unbind(-1), values.unbind(-1), strict=True):
            channel.index_add_(0, rows, column * factor)


def scatter(values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
    """The adjoint of `interpolate`: maps of the shape, layout and dtype of others, from values ``(n, c)``."""
    n, dtype = len(coords), accumulator(like.dtype)
    n_rows = like.shape[0] * prod(like.shape[2:])
    one_by_one = like.shape[1] <= NARROW or dtype != torch.float32
    whole = _is_worth_a_pass(n, like, axes)
    sparse = not whole and not one_by_one
    canvas = torch.zeros_like(like, dtype=dtype) if sparse else values.new_zeros(n_rows, like.shape[1], dtype=dtype)
    for piece in _pieces(n, axes):
        index, weight = _taps(coords[piece], None if owner is None else owner[piece], like, axes)
        incoming = values[piece].to(dtype)
        if one_by_one:
            _add_columns(canvas, index, weight, incoming)
            continue
        rows, sums = _sum_by_row(index, weight, incoming, n_rows if whole else None)
        if rows is None:
            canvas = sums if piece.start == 0 else canvas.add_(sums)
        else:
            put_rows(canvas, rows, sums if piece.start == 0 else sums.add_(gather_rows(canvas, rows, dtype)))
    return canvas.to(like.dtype) if sparse else to_maps(canvas, like)


def gradients(
    grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of coordinates and of maps, where they are needed."""
    return (
        coords_gradient(grad, coords, owner, maps, axes) if needs[0] else None,
        scatter(grad, coords, owner, maps, axes) if needs[1] else None,
    )
