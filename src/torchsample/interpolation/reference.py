"""Interpolate a map of any rank, and its adjoint, as differentiable tensor operations: the definition.

Each axis turns its coordinates into *taps*, pixel indices and weights; the points' taps are all combinations of the axes' taps.
Interpolating gathers the pixels and sums them, weighted; splatting scatters weighted values to the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..coordinates.convert import to_position
from .boundary import Boundary
from .coefficients import from_coefficients, margin, to_coefficients
from .kernels import Kernel

Columns = tuple[Tensor, ...]
"""One tensor per tap of an axis."""
Masks = tuple[Tensor | None, ...]
"""Per tap, the points for which it counts; None for all of them."""


@dataclass(frozen=True)
class Axis:
    """The rule of one axis: everything about it that does not depend on the points."""

    side: int
    """Pixels along the axis, without the margin of a filtered map."""
    kernel: Kernel
    boundary: Boundary
    align_corners: bool

    @property
    def margin(self) -> int:
        """Coefficients before the first pixel and behind the last one."""
        return margin(self.kernel, self.boundary)

    @property
    def extent(self) -> int:
        """Coefficients along the axis; pixels, if the kernel weighs those."""
        return self.side + 2 * self.margin

    def position(self, x: Tensor) -> Tensor:
        """Where normalized coordinates lie among the coefficients, folded near to them; NaN where the boundary knows no place."""
        return self._fold(self._place(x))

    @property
    def _reach(self) -> int:
        """How many pixels from a position the kernel looks."""
        return max(map(abs, self.kernel.offsets))

    def _place(self, x: Tensor) -> Tensor:
        """Where normalized coordinates lie among the coefficients and beyond them."""
        position = to_position(x, self.side, self.align_corners)
        return position + self.margin if self.margin else position

    def _fold(self, place: Tensor) -> Tensor:
        """Such places folded near to the coefficients, and, unless the kernel selects, onto centers that are within rounding."""
        folded = self.boundary.fold(place, self.extent, self.align_corners, self._reach)
        return folded if self.kernel.selects else _settle(folded, self.extent)

    def _reads(self, anchor: Tensor, dtype: torch.dtype) -> list[tuple[Tensor, Tensor | None]]:
        """Per tap, the coefficient, and a mask of the points for which it counts (None: all)."""
        first = anchor.to(dtype)
        pixels = (first + offset if offset else first for offset in self.kernel.offsets)
        return [self.boundary.resolve(pixel, self.extent, self.align_corners) for pixel in pixels]

    def _split(self, place: Tensor, dtype: torch.dtype) -> tuple[Tensor, Columns, Masks]:
        """How far behind the anchor a point is; per tap, the coefficient and where it counts."""
        position = self._fold(place)
        anchor = self.kernel.anchor(position.detach())
        indices, counts = zip(*self._reads(anchor, dtype), strict=True)
        return position - anchor, indices, counts

    def columns(self, x: Tensor, dtype: torch.dtype = torch.int64) -> tuple[Columns, Columns]:
        """Per tap, weights and indices ``(*points)`` of the coefficients that count; a weight is 0 where the boundary takes one out."""
        t, indices, counts = self._split(self._place(x), dtype)
        return _counted(self.kernel.weights(t), counts), indices

    def slopes(self, x: Tensor, dtype: torch.dtype = torch.int64) -> tuple[Columns, Columns, Columns]:
        """As `columns`: weights, their derivatives by the coordinate, and indices."""
        place = self._place(x)
        t, indices, counts = self._split(place, dtype)
        # A coordinate moves half of the map's extent in pixels; folded, it may move backwards, or not at all.
        speed = (self.side - self.align_corners) / 2
        pace = speed * self.boundary.fold_slope(place.detach(), self.extent, self.align_corners, self._reach)
        slopes = tuple(slope * pace for slope in self.kernel.slopes(t))
        return _counted(self.kernel.weights(t), counts), _counted(slopes, counts), indices

    def pixel(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """With a kernel that selects, the one pixel of each point, and where it counts (None: everywhere)."""
        return self._reads(self.kernel.anchor(self.position(x)), dtype)[0]


def _settle(position: Tensor, extent: int) -> Tensor:
    """Move positions within rounding of a pixel's center onto the center, so that all back-ends find the same slope there.

    The position of a center whose coordinate is the nearest float is off by at most three quarters of this bound.
    """
    plain = position.detach()
    centre = plain.round()
    away = centre - plain
    return position + away.where(away.abs() <= extent * torch.finfo(plain.dtype).eps, 0)


def _counted(weights: Sequence[Tensor], counts: Masks) -> Columns:
    """Weights, 0 where a tap does not count."""
    return tuple(weight if mask is None else weight.where(mask, 0) for weight, mask in zip(weights, counts, strict=True))


def make_axes(size: Sequence[int], kernel: Kernel, boundaries: Sequence[Boundary], align_corners: bool) -> tuple[Axis, ...]:
    """The rules of a map's axes, in the order of coordinates."""
    return tuple(Axis(side, kernel, boundary, align_corners) for side, boundary in zip(size, boundaries, strict=True))


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The real dtype in which values of a dtype are weighted and summed, never below float32."""
    return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32


_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def select(condition: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """`torch.where` for two tensors of one dtype; it does not know the wide unsigned ones, whose bits go as signed."""
    signed = _SIGNED.get(values.dtype)
    if signed is None:
        return torch.where(condition, values, others)
    return torch.where(condition, values.view(signed), others.view(signed)).view(values.dtype)


def prefilter(featmap: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Coefficients that the kernel weighs, of a map ``(..., *spatial)``; the map itself if it weighs pixels."""
    if axes[0].kernel.poles:
        featmap = featmap.to(torch.promote_types(featmap.dtype, accumulator(featmap.dtype)))
        for dim, axis in enumerate(axes, start=1):
            featmap = to_coefficients(featmap, featmap.ndim - dim, axis.kernel, axis.boundary, axis.align_corners)
    return featmap


def prefilter_adjoint(coefficients: Tensor, axes: Sequence[Axis]) -> Tensor:
    """From a map of coefficients back to one of pixels: the adjoint of `prefilter`."""
    if axes[0].kernel.poles:
        for dim, axis in enumerate(axes, start=1):
            coefficients = from_coefficients(
                coefficients, coefficients.ndim - dim, axis.side, axis.kernel, axis.boundary, axis.align_corners
            )
    return coefficients


def place(coords: Tensor, dtype: torch.dtype, axes: Sequence[Axis]) -> tuple[Tensor, Tensor]:
    """Coordinates in the precision for arithmetic, and where a point has no place; there they are set to 0."""
    coords = coords.to(torch.promote_types(coords.dtype, dtype))
    undefined = torch.stack([axis.position(x).isnan() for axis, x in zip(axes, coords.unbind(-1), strict=True)]).any(0)
    return coords.masked_fill(undefined.unsqueeze(-1), 0), undefined


def _taps(coords: Tensor, axes: Sequence[Axis]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Weights and indices of every axis."""
    weights, indices = zip(*(axis.columns(x) for axis, x in zip(axes, coords.unbind(-1), strict=True)), strict=True)
    return _stack(weights), _stack(indices)


def _stack(columns: Sequence[Columns]) -> list[Tensor]:
    """One tensor ``(*points, K)`` per axis."""
    return [torch.stack(each, dim=-1) for each in columns]


def _outer(factors: Sequence[Tensor]) -> Tensor:
    """Products ``(*points, K * ... * K)`` of one factor ``(*points, K)`` per axis ``(x, y, ...)``, in the order of the map."""
    product = factors[-1]
    for factor in reversed(factors[:-1]):
        product = (product.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(-2)
    return product


def _address(batch: Sequence[Tensor], indices: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Index ``(*points, K, ..., K)`` into ``(*batch, *spatial)``: every combination of the axes' taps, in the order of the map."""
    rank = len(indices)
    spread = [index[(..., *[None] * axis, slice(None), *[None] * (rank - 1 - axis))] for axis, index in enumerate(reversed(indices))]
    return (*(index[(..., *[None] * rank)] for index in batch), *spread)


def count_maps(batch: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The index of each point's map, counted through all batch dimensions, of a shape that broadcasts against the points."""
    number = batch[0]
    for index, side in zip(batch[1:], sizes[1:], strict=True):
        number = number * side + index
    return number


def _like(weight: Tensor, values: Tensor) -> Tensor:
    """The weights with the trailing dimensions of the values: channels, and the two parts of complex ones."""
    return weight[(..., *[None] * (values.ndim - weight.ndim))]


def _real(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values in the dtype of the sum; real and imaginary parts are features of their own."""
    if not values.is_complex():
        return values.to(dtype)
    return torch.view_as_real(values.to(torch.promote_types(dtype, torch.complex32)).resolve_conj())


def _hush(values: Tensor, weight: Tensor) -> Tensor:
    """A pixel without weight has no say, be it NaN or infinite."""
    return values.masked_fill((_like(weight, values) == 0) & ~values.isfinite(), 0)


def _restore(values: Tensor, dtype: torch.dtype) -> Tensor:
    return (torch.view_as_complex(values) if dtype.is_complex else values).to(dtype)


def _gather(featmap: Tensor, batch: Sequence[Tensor], indices: Sequence[Tensor]) -> Tensor:
    """Read ``(*points, K * ... * K, c)``."""
    rank = len(indices)
    return featmap.movedim(-rank - 1, -1)[_address(batch, indices)].flatten(-1 - rank, -2)


def interpolate(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis]) -> Tensor:
    """Values ``(*points, c)`` of a map of coefficients at normalized coordinates, in the dtype of the sum.

    Parameters
    ----------
    coords : Tensor
        ``(*points, d)``, floating-point.
    featmap : Tensor
        ``(*batch, c, *spatial)`` as `prefilter` gives it, any dtype; integers and bools only with a kernel that selects.
    batch : sequence of Tensor
        For each batch dimension of the map, the index of each point's map, int64; they broadcast against ``points``.
    axes : sequence of Axis
        The rule of each axis ``(x, y, ...)``.
    """
    coords, undefined = place(coords, accumulator(featmap.dtype), axes)
    weights, indices = _taps(coords, axes)
    values, weight = _gather(featmap, batch, indices), _outer(weights)
    if not (values.is_floating_point() or values.is_complex()):
        return select((weight == 0) | undefined.unsqueeze(-1), values.new_zeros(()), values.squeeze(-2))
    dtype = accumulator(values.dtype)
    total = _sum(_hush(_real(values, dtype), weight), weight.to(dtype))
    return _restore(total.masked_fill(_like(undefined, total), torch.nan), values.dtype)


def _sum(values: Tensor, weight: Tensor) -> Tensor:
    """Sum ``(*points, K, *features)`` over the taps."""
    return (_like(weight, values) * values).sum(weight.ndim - 1)


def interpolate_with_jacobian(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis]) -> tuple[Tensor, Tensor]:
    """Values as `interpolate` gives them, and their derivatives ``(*points, c, d)`` by the coordinates, from one gather."""
    dtype = accumulator(featmap.dtype)
    coords, undefined = place(coords, dtype, axes)
    weights, slopes, indices = map(_stack, zip(*(axis.slopes(x) for axis, x in zip(axes, coords.unbind(-1), strict=True)), strict=True))
    weight = _outer(weights)
    values = _hush(_real(_gather(featmap, batch, indices), dtype), weight)
    totals = [_sum(values, weight.to(dtype))]
    for number, slope in enumerate(slopes):
        totals.append(_sum(values, _outer([*weights[:number], slope, *weights[number + 1 :]]).to(dtype)))
    totals = [_restore(total.masked_fill(_like(undefined, total), torch.nan), featmap.dtype) for total in totals]
    return totals[0], torch.stack(totals[1:], dim=-1)


def scatter(coords: Tensor, values: Tensor, batch: Sequence[Tensor], batch_shape: Sequence[int], axes: Sequence[Axis]) -> Tensor:
    """The adjoint of `interpolate`: a map ``(*batch, c, *spatial)`` from values ``(*points, c)``, in the dtype of the sum.

    A point that has no place contributes nothing.
    """
    dtype, rank = accumulator(values.dtype), len(axes)
    coords, undefined = place(coords, dtype, axes)
    weights, indices = _taps(coords, axes)
    weight = _outer(weights).masked_fill(undefined.unsqueeze(-1), 0).to(dtype)
    parts = _real(values, dtype).unsqueeze(weight.ndim - 1)
    contributions = _like(weight, parts) * _hush(parts, weight)
    points, features = contributions.shape[: weight.ndim - 1], contributions.shape[weight.ndim :]
    contributions = contributions.reshape(*points, *[len(axes[0].kernel.offsets)] * rank, *features)
    canvas = contributions.new_zeros(*batch_shape, *(axis.extent for axis in reversed(axes)), *features)
    canvas = canvas.index_put(_address(batch, indices), contributions, accumulate=True)
    return _restore(canvas, torch.promote_types(values.dtype, dtype)).movedim(-1, -rank - 1)
