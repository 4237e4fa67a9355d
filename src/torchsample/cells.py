"""The cells around each coordinate: what they hold, where they are and how much each counts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import check_count, check_memory
from ._nobatch import with_nobatch
from .coordinates.convert import from_position, to_position
from .interpolation import dispatch, reference
from .interpolation.boundary import Border, Boundary
from .interpolation.kernels import Kernel, Nearest, spline_weights
from .interpolation.reference import Axis
from .layout import hold_size
from .sampling.checks import Placing, place_batched, place_single, read_rule

__all__ = ["Neighborhood", "neighborhood"]


class Neighborhood(NamedTuple):
    """The ``K = size**d`` cells around each coordinate, x running fastest, as `neighborhood` gives them.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> features, offsets, weights, valid = ts.neighborhood(torch.zeros(1, 100, 2), torch.zeros(1, 64, 8, 8))
    >>> features.shape, offsets.shape, weights.shape, valid.shape
    (torch.Size([1, 100, 4, 64]), torch.Size([1, 100, 4, 2]), torch.Size([1, 100, 4]), torch.Size([1, 100, 4]))
    """

    features: Tensor
    """What the cells hold, ``(*batch, *points, K, c)``, the map's dtype."""
    offsets: Tensor
    """The coordinate minus the cell's centre, ``(*batch, *points, K, d)``, where a cell is 2 wide."""
    weights: Tensor
    """How much each cell counts, ``(*batch, *points, K)``; they sum to 1."""
    valid: Tensor
    """Whether a cell is one of the map's own and not the edge's in its place, bool, ``(*batch, *points, K)``."""


@dataclass(frozen=True)
class Cells(Kernel):
    """The nearest cells along an axis, weighed by the B-spline that reaches over as many of them: a box, a tent, a parabola, ..."""

    size: int

    @property
    def offsets(self) -> tuple[int, ...]:  # type: ignore[override]
        before = (self.size - 1) // 2
        return tuple(range(-before, self.size - before))

    def anchor(self, position: Tensor) -> Tensor:
        return position.round() if self.size % 2 else position.floor()

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        return spline_weights(t + 0.5 if self.size % 2 else t, self.size - 1)


class Places(NamedTuple):
    """Where the cells are, before anything is read: along each axis ``(x, y, ...)`` a tensor ``(*batch, *points, K)``."""

    pixels: Sequence[Tensor]
    offsets: Sequence[Tensor]
    weight: Tensor
    valid: Tensor
    undefined: Tensor
    """Points without a place, ``(*batch, *points)``: those of NaN coordinates."""


def _combine(columns: Tensor, axis: int, rank: int) -> Tensor:
    """Columns ``(..., size)`` of one axis for all combinations ``(..., size**rank)`` of the axes' cells."""
    size = columns.shape[-1]
    shape = [1] * (rank - 1 - axis) + [size] + [1] * axis
    return columns.reshape(*columns.shape[:-1], *shape).expand(*columns.shape[:-1], *[size] * rank).flatten(-rank)


def _columns(x: Tensor, axis: Axis) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels, offsets, weights and validity ``(..., size)`` along an axis."""
    position = to_position(x, axis.side, axis.align_corners)
    near = axis.position(x)
    anchor = axis.kernel.anchor(near.detach())
    pixels = torch.stack([anchor + offset for offset in axis.kernel.offsets], dim=-1)
    # Measured from the pixel that is read, even where the edge stands in for one outside.
    inside = pixels.clamp(0, axis.side - 1)
    return inside, 2 * (position.unsqueeze(-1) - inside), torch.stack(axis.kernel.weights(near - anchor), dim=-1), pixels == inside


def find_cells(coords: Tensor, dtype: torch.dtype, axes: Sequence[Axis]) -> Places:
    """The cells around coordinates, computed in a dtype at least."""
    rank = len(axes)
    coords, undefined = reference.place(coords, dtype, axes)
    found = [_columns(x, axis) for axis, x in zip(axes, coords.unbind(-1), strict=True)]
    pixels, offsets, weights, valid = (
        [_combine(column, axis, rank) for axis, column in enumerate(each)] for each in zip(*found, strict=True)
    )
    return Places(pixels, offsets, functools.reduce(torch.mul, weights), functools.reduce(torch.logical_and, valid), undefined)


def read_cells(pixels: Sequence[Tensor], featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis], boundary: Boundary) -> Tensor:
    """Features ``(*pixels, c)`` of the cells that pixel numbers along each axis name."""
    # Numbers of pixels go through coordinates of outer edges: with aligned corners, a map of one pixel has no coordinate for its neighbors.
    rules = [Axis(axis.side, Nearest(), boundary, False) for axis in axes]
    centers = [from_position(pixel, axis.side, False) for pixel, axis in zip(pixels, axes, strict=True)]
    more = pixels[0].ndim - (batch[0].ndim if batch else pixels[0].ndim)
    owners = [index.reshape(*index.shape, *[1] * more) for index in batch]
    coords, featmap = torch.stack(centers, dim=-1).detach(), hold_size(featmap, len(axes))
    return dispatch.interpolate(coords, featmap, owners, rules).to(featmap.dtype)


def patch_pixels(pixels: Sequence[Tensor], side: int) -> list[Tensor]:
    """Pixel numbers ``(..., side**d)`` of the patch around each pixel, x running fastest; some may be outside."""
    reach = range(-(side // 2), side - side // 2)
    shifts = list(product(reach, repeat=len(pixels)))
    return [torch.stack([pixel + shift[-1 - axis] for shift in shifts], dim=-1) for axis, pixel in enumerate(pixels)]


def read_places(
    function: str, coords: Tensor, featmap: Tensor, size: int, align_corners: bool, place: Placing
) -> tuple[Places, Sequence[Tensor], tuple[Axis, ...]]:
    """Check the arguments; the cells, the map of each point, and the rule of each axis."""
    size = check_count(function, "size", size)
    plain = read_rule(function, coords, featmap, "nearest", "border", align_corners, True)
    axes = tuple(Axis(axis.side, Cells(size), Border(), align_corners) for axis in plain)
    batch = place(coords, featmap).batch
    coords = coords.expand(*dispatch.points_shape(coords, batch), -1)
    check_memory(function, "size", coords[..., 0].numel() * size ** len(plain), torch.int64, coords.device, size)
    return find_cells(coords, reference.accumulator(featmap.dtype), axes), batch, axes


def _neighborhood(function: str, coords: Tensor, featmap: Tensor, size: int, align_corners: bool, place: Placing) -> Neighborhood:
    places, batch, axes = read_places(function, coords, featmap, size, align_corners, place)
    features = read_cells(places.pixels, featmap, batch, axes, Border())
    lost = places.undefined.unsqueeze(-1)
    nan = features.new_full((), torch.nan if features.is_floating_point() or features.is_complex() else 0)
    return Neighborhood(
        reference.select(lost.unsqueeze(-1), nan, features),
        torch.stack(list(places.offsets), dim=-1).masked_fill(lost.unsqueeze(-1), torch.nan),
        places.weight.masked_fill(lost, torch.nan),
        places.valid & ~lost,
    )


def _neighborhood_nobatch(coords: Tensor, featmap: Tensor, size: int = 2, align_corners: bool = False) -> Neighborhood:
    """`neighborhood` without a batch: coords ``(*points, d)``, map ``(c, *spatial)``."""
    function = "ts.neighborhood.nobatch"
    return _neighborhood(function, coords, featmap, size, align_corners, functools.partial(place_single, function))


@with_nobatch(_neighborhood_nobatch)
def neighborhood(
    coords: Tensor, featmap: Tensor, size: int = 2, align_corners: bool = False, batch_index: Tensor | None = None
) -> Neighborhood:
    """Read the cells around each coordinate, one by one.

    What a network needs that combines cells by itself: the local ensemble of LIIF, attention over neighbours (CiaoSR, CLIT), the
    local bases of LTE and OPE-SR. ``neighborhood.nobatch`` takes coords ``(*points, d)`` and a map ``(c, *spatial)``.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, d)`` in the order ``(x, y, ...)``, floating-point.
    featmap : Tensor
        ``(*batch, c, *spatial)``, any dtype. Batch dimensions broadcast as in `sample`.
    size : int, default: 2
        Cells along each axis. An even number counts as many on either side of the coordinate, an odd one is centred on the
        nearest cell.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    batch_index : Tensor, optional
        ``(n,)``, int64 or int32: which of the maps ``(b, c, *spatial)`` each of the points ``(n, d)``, or each group of points
        ``(n, *points, d)``, reads.

    Returns
    -------
    Neighborhood
        ``features`` ``(*batch, *points, K, c)``, ``offsets`` ``(*batch, *points, K, d)``, ``weights`` and ``valid``
        ``(*batch, *points, K)``, for ``K = size**d`` cells, x running fastest.

    Raises
    ------
    ValueError
        If shapes do not fit, or tensors are on different devices.
    TypeError
        If coords are not floating-point, or ``size`` is not an int.

    Notes
    -----
    Cells beyond the edge are clamped to the map: they are the edge's pixel again, with the offset from that, and not ``valid``. An
    offset is the coordinate minus the cell's centre in LIIF's unit (Chen et al., 2021): a cell is 2 wide.

    Weights are products of one per axis, those of the B-spline of degree ``size - 1``, which reaches over ``size`` cells. The weighted
    sum of two is linear sampling, as by ``ts.sample(coords, featmap)``; of one, nearest; of three, the smooth curve of quadratic
    splines that weigh pixels. A NaN coordinate has NaN features, offsets and weights.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap = torch.tensor([[[10.0, 20.0, 30.0]]])
    >>> cells = ts.neighborhood(torch.tensor([[[0.5]]]), featmap)
    >>> cells.features.flatten(), cells.offsets.flatten(), cells.weights.flatten()
    (tensor([20., 30.]), tensor([ 1.5000, -0.5000]), tensor([0.2500, 0.7500]))
    """
    function = "ts.neighborhood"
    return _neighborhood(
        function, coords, featmap, size, align_corners, functools.partial(place_batched, function, batch_index=batch_index)
    )
