"""The back-end for CPUs: a map is a table with a row per pixel, and one fused sum of weighted rows serves everything.

- Interpolating sums, for each point, the rows of its taps: `torch.nn.functional.embedding_bag`.
- A derivative by a coordinate is the same sum, with the slopes of the weights in their place.
- Scattering is the transposed sum: taps are sorted by pixel, and each pixel sums the values of the points that read it.

Points are worked through in pieces whose taps stay in the caches; nothing of the size points x taps x channels ever exists.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .autograd import Backend, demand_finite
from .reference import Axis, accumulator
from .rows import copy_rows, gather_rows, put_rows, to_maps, view_rows
from .taps import address, count_taps, multiply, selected, slopes, taps

PIECE = 1 << 18
"""Taps that are worked on at once: their indices and weights are some MB."""

POINTS = 1 << 15
"""Points that are worked on at once: as many as PyTorch gives to a single core, since cores that meet after each small step cost more."""

BLOCK = 1 << 19
"""Numbers of a result that are worked out apart, before they go to their place: 2 MB, little beside any map."""

SORTED = 1 << 21
"""Taps that are sorted at once, to scatter them: some ten MB."""

NARROW = 4
"""Up to so many channels are scattered one by one: sorting the taps would cost more than it saves."""


def _pieces(n: int, step: int) -> Iterator[slice]:
    """Slices of so many of n points."""
    step = max(step, 1)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _small_pieces(n: int, axes: Sequence[Axis]) -> Iterator[slice]:
    return _pieces(n, min(PIECE // count_taps(axes), POINTS))


def _part(owner: Tensor | None, piece: slice) -> Tensor | None:
    return None if owner is None else owner[piece]


def is_worth_a_pass(n: int, maps: Tensor, axes: Sequence[Axis]) -> bool:
    """Whether points have enough taps to go through the whole map for them, not only through the pixels that they touch."""
    return 2 * n * count_taps(axes) >= maps.shape[0] * prod(maps.shape[2:])


def _is_choice(axes: Sequence[Axis]) -> bool:
    """Whether a result is a row of the table."""
    return axes[0].kernel.selects and count_taps(axes) == 1


def _working_dtype(maps: Tensor, axes: Sequence[Axis]) -> torch.dtype:
    return maps.dtype if _is_choice(axes) else accumulator(maps.dtype)


def view_table(maps: Tensor, axes: Sequence[Axis]) -> Tensor | None:
    """The table in the memory of maps, if they are channels-last and of the right dtype."""
    rows = view_rows(maps)
    return rows if rows is not None and rows.dtype == _working_dtype(maps, axes) else None


def _read(table: Tensor | None, maps: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The table, or else one of only those pixels that taps touch, and the taps' rows in it."""
    if table is not None:
        return table, index
    pixels, compact = torch.unique(index, return_inverse=True)
    return gather_rows(maps, pixels, accumulator(maps.dtype)), compact


def _bag(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums ``(n, c)`` of rows."""
    if table.dtype == torch.float32:
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")
    # In double precision, the fused sum would store every row that it reads.
    total = table.new_zeros(len(index), table.shape[1])
    for rows, factor in zip(index.unbind(-1), weight.unbind(-1), strict=True):
        total.addcmul_(table.index_select(0, rows), factor.unsqueeze(-1))
    return total


def _join(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _select(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor:
    """The one row of each point, bit for bit; 0 where the boundary takes it out."""
    parts = []
    for piece in _small_pieces(len(coords), axes):
        demand_finite(coords[piece])
        parts.append(selected(coords[piece], _part(owner, piece), maps, axes))
    index = _join([rows for rows, _ in parts])
    values = gather_rows(maps, index, maps.dtype) if table is None else table.index_select(0, index)
    if all(mask is None for _, mask in parts):
        return values
    counts = _join([torch.ones_like(rows, dtype=torch.bool) if mask is None else mask for rows, mask in parts])
    return values.masked_fill_(~counts.unsqueeze(-1), 0)


def _all_taps(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> tuple[Tensor, Tensor]:
    """Rows and weights of many points' taps, worked out piece by piece."""
    parts = [taps(coords[piece], _part(owner, piece), maps, axes) for piece in _small_pieces(len(coords), axes)]
    return _join([index for index, _ in parts]), _join([weight for _, weight in parts])


class _Canvas:
    """Rows of a table that sums are added to; those that nothing reached yet are not even written."""

    def __init__(self, n_rows: int, like: Tensor) -> None:
        self._shape, self._like = (n_rows, like.shape[1]), like
        self._written = 0

    @functools.cached_property
    def rows(self) -> Tensor:
        """Made when the first sums are there: what was needed to sort the taps is gone by then."""
        return self._like.new_empty(self._shape)

    def add(self, start: int, sums: Tensor) -> None:
        stop = start + len(sums)
        if sums.shape == self._shape and not self._written:
            self.rows = sums
        elif start >= self._written:
            self.rows[self._written : start] = 0
            self.rows[start:stop] = sums
        else:
            self.rows[self._written : stop] = 0
            self.rows[start:stop] += sums
        self._written = max(self._written, stop)

    def finish(self) -> Tensor:
        self.rows[self._written :] = 0
        return self.rows


def _sort(index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of taps in ascending order, their points and weights."""
    keys, order = torch.sort(index.flatten(), stable=True)
    weight = weight.flatten().index_select(0, order)
    return keys, order.div_(index.shape[1], rounding_mode="floor").to(index.dtype), weight


def _sum_runs(values: Tensor, points: Tensor, weight: Tensor, counts: Tensor, numbers: int) -> Iterator[tuple[slice, Tensor]]:
    """Weighted sums of the values of successive runs of points, a block of runs at a time, of about so many numbers."""
    step = max(numbers // values.shape[1], 1)
    stops = counts.cumsum(0, dtype=counts.dtype)
    bounds = [0, *stops[step - 1 :: step].tolist(), len(points)]
    starts = stops.sub_(counts)
    for block, first, last in zip(_pieces(len(counts), step), bounds, bounds[1:], strict=False):
        runs = points[first:last], values, starts[block] - first
        yield block, F.embedding_bag(*runs, per_sample_weights=weight[first:last], mode="sum")


def _scatter_sorted(values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Rows of whole maps: sums over runs of taps on the same pixel."""
    n, n_rows = len(coords), like.shape[0] * prod(like.shape[2:])
    # Pieces of whole maps, if points are dealt to them evenly, reach separate rows.
    share, step = max(n // like.shape[0], 1), SORTED // count_taps(axes)
    canvas = _Canvas(n_rows, values)
    for piece in _pieces(n, step // share * share or step):
        keys, points, weight = _sort(*_all_taps(coords[piece], _part(owner, piece), like, axes))
        start, stop = (0, n_rows) if piece == slice(0, n) else (int(keys[0]), int(keys[-1]) + 1)
        counts = torch.bincount(keys.sub_(start), minlength=stop - start).to(points.dtype)
        for block, sums in _sum_runs(values[piece], points, weight, counts, BLOCK):
            canvas.add(start + block.start, sums)
    return canvas.finish()


def _scatter_touched(values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Maps of which only few pixels are touched."""
    maps = None
    layout = torch.contiguous_format if view_rows(like) is None else torch.preserve_format
    for piece in _pieces(len(coords), SORTED // count_taps(axes)):
        keys, points, weight = _sort(*_all_taps(coords[piece], _part(owner, piece), like, axes))
        rows, counts = torch.unique_consecutive(keys, return_counts=True)
        maps = torch.zeros_like(like, dtype=values.dtype, memory_format=layout) if maps is None else maps
        # Beside zeros of the whole map, little memory.
        for block, sums in _sum_runs(values[piece], points, weight, counts.to(points.dtype), BLOCK >> 1):
            put_rows(maps, rows[block], sums if piece.start == 0 else sums.add_(gather_rows(maps, rows[block], sums.dtype)))
    return torch.zeros_like(like, dtype=values.dtype) if maps is None else maps


def _scatter_columns(values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Rows of whole maps, added to tap by tap; each channel on its own if they are few."""
    canvas = values.new_zeros(like.shape[0] * prod(like.shape[2:]), like.shape[1])
    for piece in _small_pieces(len(coords), axes):
        index, weight = taps(coords[piece], _part(owner, piece), like, axes)
        for rows, factor in zip(index.unbind(-1), weight.unbind(-1), strict=True):
            rows = rows.contiguous()
            if like.shape[1] > NARROW:
                canvas.index_add_(0, rows, values[piece] * factor.unsqueeze(-1))
                continue
            for channel, column in zip(canvas.unbind(-1), values[piece].unbind(-1), strict=True):
                channel.index_add_(0, rows, column * factor)
    return canvas


class Table(Backend):
    """A map as a table of rows."""

    def prepare(self, n: int, maps: Tensor, axes: Sequence[Axis]) -> Tensor | None:
        rows = view_table(maps, axes)
        if rows is None and is_worth_a_pass(n, maps, axes):
            rows = copy_rows(maps, _working_dtype(maps, axes))
        return rows

    def interpolate(self, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor:
        if _is_choice(axes):
            return _select(coords, owner, maps, axes, table)
        n, c = len(coords), maps.shape[1]
        if n <= min(PIECE // count_taps(axes), POINTS):
            demand_finite(coords)
            index, weight = taps(coords, owner, maps, axes)
            values = _bag(*_read(table, maps, index), weight)
            demand_finite(values)
            return values.to(maps.dtype)
        values = maps.new_empty(n, c)
        for piece in _small_pieces(n, axes):
            demand_finite(coords[piece])
            index, weight = taps(coords[piece], _part(owner, piece), maps, axes)
            rows, index = _read(table, maps, index)
            for block in _pieces(len(index), BLOCK // c):
                sums = _bag(rows, index[block], weight[block])
                demand_finite(sums)
                values[piece][block] = sums
        return values

    def coords_gradient(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None
    ) -> Tensor:
        if _is_choice(axes):
            return torch.zeros_like(coords)
        result, dtype = torch.empty_like(coords), accumulator(maps.dtype)
        for piece in _small_pieces(len(coords), axes):
            weights, slants, indices = slopes(coords[piece], maps, axes)
            rows, index = _read(table, maps, address(indices, axes, _part(owner, piece)))
            for number, slant in enumerate(slants):
                factor = multiply([*weights[:number], slant, *weights[number + 1 :]], dtype)
                for block in _pieces(len(index), BLOCK // maps.shape[1]):
                    derivative = _bag(rows, index[block], factor[block])
                    result[piece, number][block] = derivative.mul_(grad[piece][block]).sum(-1)
        return result

    def scatter(self, values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
        values = values.to(accumulator(like.dtype)).contiguous()
        if like.shape[1] <= NARROW or values.dtype != torch.float32:
            return to_maps(_scatter_columns(values, coords, owner, like, axes), like)
        if is_worth_a_pass(len(coords), like, axes):
            return to_maps(_scatter_sorted(values, coords, owner, like, axes), like)
        return _scatter_touched(values, coords, owner, like, axes).to(like.dtype)
