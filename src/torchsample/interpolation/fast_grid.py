"""The back-end for linear sampling of few channels on CPUs: PyTorch's own `grid_sample`, on all cores.

`grid_sample` shares out maps to cores, not points: a single map keeps a single core busy. Here the points of few maps are dealt to several
expanded views of them, without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .autograd import Backend, demand_finite, owners
from .boundary import Border, Boundary, Reflection, Zeros
from .fast_cpu import Table
from .kernels import Linear
from .reference import Axis

FEW_CHANNELS = {2: 4, 3: 2}
"""Per rank, the channels up to which this is faster than a table."""

FEW_VALUES = {2: 1 << 14, 3: 1 << 12}
"""Per rank, the numbers in a result up to which the many small steps of a table take longer, whatever the channels."""

SHARE = 4096
"""Points that are worth a core of their own."""

ROUNDING = 2.0
"""Distance from a pixel's center, in units of side * eps, beyond which `grid_sample`'s rounding and ours give the same cell."""

MANY = 1 << 12
"""Entries of a mask from which on a search word by word pays for its steps."""

_PADDINGS: dict[type[Boundary], str] = {Zeros: "zeros", Border: "border", Reflection: "reflection"}
"""Names that `grid_sample` knows, in the order in which its backward pass counts them."""


def refuses(n: int, c: int, coords: torch.dtype, maps: torch.dtype, axes: Sequence[Axis]) -> str | None:
    """Why `grid_sample` does not stand in for the definition, for n points and c channels of these dtypes, or None."""
    rank = len(axes)
    if rank not in FEW_CHANNELS or type(axes[0].kernel) is not Linear:
        return "grid_sample samples linearly in two and three dimensions"
    if type(axes[0].boundary) not in _PADDINGS or any(axis.boundary != axes[0].boundary for axis in axes):
        return "grid_sample does not know this padding"
    if maps not in (torch.float32, torch.float64) or torch.promote_types(coords, maps) != maps:
        return f"grid_sample would lose precision with coords of {coords} and a map of {maps}"
    if c > FEW_CHANNELS[rank] and n * c > FEW_VALUES[rank]:
        return f"the map has more than {FEW_CHANNELS[rank]} channels"
    return None


def _shares(n: int, m: int) -> int:
    """In how many shares the points of each of m maps are dealt: one per core, if maps are fewer and points are worth it."""
    threads = torch.get_num_threads()
    return max(min(threads, n // (m * SHARE)), 1) if m < threads else 1


def _canvases(n: int, maps: Tensor) -> int:
    """As `_shares`, where each share needs a map of its own to add to: for so many points that their taps would take more memory."""
    shares = _shares(n, maps.shape[0])
    taps = n * 2 ** (maps.ndim - 2) * (8 + maps.itemsize)
    return shares if taps >= shares * maps.nbytes else 1


def _lay(points: Tensor, rank: int) -> Tensor:
    """Points ``(b, n, k)`` as a grid of one line."""
    return points.reshape(points.shape[0], *[1] * (rank - 1), *points.shape[1:])


def _deal(points: Tensor, shares: int, rank: int) -> Tensor:
    """Points ``(n, k)`` of a map as a grid for each share; the last is filled up with zeros."""
    missing = -len(points) % shares
    points = torch.cat([points, points.new_zeros(missing, points.shape[1])]) if missing else points
    return _lay(points.reshape(shares, -1, points.shape[1]), rank)


def _sample(maps: Tensor, grid: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Values ``(b, n, c)``."""
    found = F.grid_sample(maps, grid, "bilinear", _PADDINGS[type(axes[0].boundary)], axes[0].align_corners)
    return found.flatten(2).transpose(1, 2)


def _backward(incoming: Tensor, maps: Tensor, grid: Tensor, axes: Sequence[Axis], mask: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Gradients of maps and of a grid, those that a mask asks for, by `grid_sample`'s own backward pass."""
    call = torch.ops.aten.grid_sampler_2d_backward if len(axes) == 2 else torch.ops.aten.grid_sampler_3d_backward
    padding = list(_PADDINGS).index(type(axes[0].boundary))
    of_maps, of_grid = call(incoming.movedim(-1, 1), maps, grid, 0, padding, axes[0].align_corners, list(mask))
    return of_maps, of_grid


def _gradients(
    incoming: Tensor, coords: Tensor, maps: Tensor, axes: Sequence[Axis], shares: int, mask: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Gradients of maps and of coordinates ``(n, d)``, those that a mask asks for."""
    m, c, rank = *maps.shape[:2], len(axes)
    grad, grid = incoming.reshape(m, -1, c), coords.reshape(m, -1, rank)
    if shares == 1:
        of_maps, of_grid = _backward(_lay(grad, rank), maps, _lay(grid, rank), axes, mask)
        return of_maps, of_grid.reshape(coords.shape) if mask[1] else coords
    of_each, of_coords = [], torch.empty_like(grid)
    for number, single in enumerate(maps):
        dealt = _deal(grad[number], shares, rank), single.expand(shares, *single.shape), _deal(grid[number], shares, rank)
        of_maps, of_grid = _backward(*dealt, axes, mask)
        if mask[0]:
            of_each.append(of_maps.sum(0))
        if mask[1]:
            of_coords[number] = of_grid.reshape(-1, rank)[: grid.shape[1]]
    return torch.stack(of_each) if mask[0] else maps, of_coords.reshape(coords.shape)


def _at_centers(coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Points, by number, that lie so close to a pixel's center that `grid_sample`, which rounds otherwise, may take the slope behind it."""
    eps = torch.finfo(maps.dtype).eps
    # Positions as `to_position` has them, of all axes at once and in place; axes of one side need no vector.
    sides = [axis.side for axis in axes] if len({axis.side for axis in axes}) > 1 else [axes[0].side]
    rules = [((side - axes[0].align_corners) / 2, (side - 1) / 2, ROUNDING * side * eps) for side in sides]
    speed, middle, room = maps.new_tensor(rules).unbind(-1) if len(rules) > 1 else rules[0]
    away = (coords.to(maps.dtype) * speed).add_(middle)
    near = _find((away.sub_(away.round()).abs_() <= room).flatten())
    points: Tensor = torch.unique_consecutive(near.div_(len(axes), rounding_mode="floor")) if len(near) else near
    return points


def _find(mask: Tensor) -> Tensor:
    """Numbers of the true entries, which are few: of many, looked for in words of eight."""
    if len(mask) < MANY:
        return mask.nonzero().squeeze(-1)
    whole = len(mask) // 8 * 8
    words = mask[:whole].view(torch.int64).nonzero()
    entries = (8 * words + torch.arange(8, device=mask.device)).flatten()
    return torch.cat([entries[mask[entries]], mask[whole:].nonzero().squeeze(-1) + whole])


def _by_table(grad: Tensor, coords: Tensor, points: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradient of coordinates, of some points or of all (None), by a table: for what `grid_sample` has no rule."""
    incoming, table = grad.reshape(len(coords), -1), Table()
    if points is None:
        owner = owners(None, coords, maps)
    else:
        owner = points.div(len(coords) // len(maps), rounding_mode="floor")
        incoming, coords = incoming.index_select(0, points), coords.index_select(0, points)
    return table.coords_gradient(incoming, coords, owner, maps, axes, table.prepare(len(coords), maps, axes))


def _correct(found: Tensor, grad: Tensor, coords: Tensor, points: Tensor, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradients of coordinates, in place, of which those of some points come from a table."""
    return found.index_copy_(0, points, _by_table(grad, coords, points, maps, axes)) if len(points) else found


def _is_better_by_table(maps: Tensor, shares: int) -> bool:
    """Whether the gradient of maps is quicker tap by tap: `grid_sample` is slow in volumes, and here it would be on its own."""
    return maps.ndim == 5 and shares == 1 and maps.shape[0] < torch.get_num_threads()


class GridSample(Backend):
    """Maps as `grid_sample` reads them."""

    needs_owner = False

    def interpolate(self, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor:
        m, c, rank = *maps.shape[:2], len(axes)
        shares = _shares(len(coords), m)
        grid = coords.to(maps.dtype).reshape(m, *[1] * (rank - 1 if shares == 1 else 0), -1, rank)
        if shares == 1:
            values = _sample(maps, grid, axes)
            demand_finite(coords, values)
            return values
        values = maps.new_empty(m, grid.shape[1], c)
        for value, single, points in zip(values, maps, grid, strict=True):
            demand_finite(points)
            found = _sample(single.expand(shares, *single.shape), _deal(points, shares, rank), axes)
            demand_finite(found)
            if len(points) % shares:
                value.copy_(found.reshape(-1, c)[: len(points)])
            else:
                value.view(shares, -1, c).copy_(found)
        return values

    def coords_gradient(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None
    ) -> Tensor:
        if type(axes[0].boundary) is Reflection:
            # Mirrored, the next pixel is on the other side.
            return _by_table(grad, coords, None, maps, axes)
        points = _at_centers(coords, maps, axes)
        if 2 * len(points) > len(coords):
            return _by_table(grad, coords, None, maps, axes)
        shares = _shares(len(coords), maps.shape[0])
        found = _gradients(grad, coords.to(maps.dtype), maps, axes, shares, [False, True])[1].to(coords.dtype)
        return _correct(found, grad, coords, points, maps, axes)

    def scatter(self, values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
        shares = _canvases(len(coords), like)
        if _is_better_by_table(like, shares):
            return Table().scatter(values.reshape(len(coords), -1), coords, owners(owner, coords, like), like, axes)
        return _gradients(values, coords.to(like.dtype), like, axes, shares, [True, False])[0]

    def gradients(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]
    ) -> tuple[Tensor, Tensor] | None:
        shares = _canvases(len(coords), maps)
        if type(axes[0].boundary) is Reflection or _is_better_by_table(maps, shares):
            return None
        points = _at_centers(coords, maps, axes)
        if 2 * len(points) > len(coords):
            return None
        of_maps, of_coords = _gradients(grad, coords.to(maps.dtype), maps, axes, shares, [True, True])
        return _correct(of_coords.to(coords.dtype), grad, coords, points, maps, axes), of_maps
