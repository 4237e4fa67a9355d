"""The back-end for two-dimensional linear sampling of few channels on CPUs: PyTorch's own `grid_sample`, on all cores.

`grid_sample` shares out maps to cores, not points: one map keeps one core busy. Here the points of few maps are dealt to several
expanded views of them, without a copy. Functions take what those of `fast_cpu` take; ``owner``, if given, deals points to maps evenly and in
order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from . import fast_cpu
from .boundary import Border, Boundary, Reflection, Zeros
from .kernels import Linear
from .reference import Axis
from .rows import view_rows

FEW = 4
"""Channels up to which this is faster than a table."""

_SHARE = 4096
"""Points that are worth a core of their own."""

_NAMES: dict[type[Boundary], str] = {Zeros: "zeros", Border: "border", Reflection: "reflection"}
_NUMBERS: dict[type[Boundary], int] = {Zeros: 0, Border: 1, Reflection: 2}


def refuses(coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> str | None:
    """Why `grid_sample` cannot stand in for the definition here, or None."""
    if len(axes) != 2 or type(axes[0].kernel) is not Linear:
        return "it is not two-dimensional and linear"
    if type(axes[0].boundary) not in _NAMES or axes[0].boundary != axes[1].boundary:
        return "grid_sample does not know the padding"
    if maps.dtype not in (torch.float32, torch.float64) or torch.promote_types(coords.dtype, maps.dtype) != maps.dtype:
        return f"grid_sample would lose precision with coords of {coords.dtype} on a map of {maps.dtype}"
    if maps.shape[1] > FEW:
        return f"more than {FEW} channels"
    return None


def _shares(coords: Tensor, maps: Tensor) -> int:
    """In how many shares the points of each map are dealt: one per core where there are fewer maps than cores."""
    threads = torch.get_num_threads()
    return threads if maps.shape[0] < threads and len(coords) > _SHARE * threads else 1


def _deal(points: Tensor, m: int, shares: int) -> Tensor:
    """Points ``(n, k)`` of m maps as ``(m, shares, n / m / shares, k)``; the last share is filled up with copies of a point."""
    points = points.reshape(m, -1, points.shape[-1])
    missing = -points.shape[1] % shares
    if missing:
        points = torch.cat([points, points[:, :1].expand(-1, missing, -1)], dim=1)
    return points.unflatten(1, (shares, -1))


def interpolate(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Values ``(m, n / m, c)``, a view of what `grid_sample` gives where nothing had to be dealt out."""
    m, c, shares = *maps.shape[:2], _shares(coords, maps)
    grid = _deal(coords.to(maps.dtype), m, shares)
    padding, align_corners = _NAMES[type(axes[0].boundary)], axes[0].align_corners
    if shares == 1:
        return F.grid_sample(maps, grid, "bilinear", padding, align_corners).squeeze(2).transpose(1, 2)
    values = maps.new_empty(m, shares, grid.shape[2], c)
    for number in range(m):
        dealt = maps[number].expand(shares, -1, -1, -1)
        values[number] = F.grid_sample(dealt, grid[number].unsqueeze(1), "bilinear", padding, align_corners).squeeze(2).transpose(1, 2)
    return values.flatten(1, 2)[:, : len(coords) // m]


def _coords_gradient(grad: Tensor, coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradient ``(n, 2)`` of the coordinates.

    At a pixel's centre the derivative is the one towards the next pixel. `grid_sample` would round to either side, and to zero at the border,
    so coordinates are moved by more than it rounds and less than a float32 map could tell.
    """
    grid = coords.to(maps.dtype).add(4 * torch.finfo(maps.dtype).eps).reshape(maps.shape[0], 1, -1, 2)
    incoming = grad.reshape(maps.shape[0], 1, -1, maps.shape[1]).movedim(-1, 1)
    return _backward(incoming, maps, grid, axes, [False, True])[1].reshape(-1, 2).to(coords.dtype)


def _map_gradient(grad: Tensor, coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradient of the maps; of few maps, the channels are shared out to the cores."""
    m, c = maps.shape[:2]
    grid = coords.to(maps.dtype).reshape(m, 1, -1, 2)
    incoming = grad.reshape(m, 1, -1, c).movedim(-1, 1)
    if m >= torch.get_num_threads() or c == 1:
        result = _backward(incoming, maps, grid, axes, [True, False])[0]
    else:
        single = maps.reshape(m * c, 1, *maps.shape[2:])
        grid = grid.unsqueeze(1).expand(-1, c, -1, -1, -1).reshape(m * c, *grid.shape[1:])
        result = _backward(incoming.reshape(m * c, 1, 1, -1), single, grid, axes, [True, False])[0].reshape(maps.shape)
    return result if view_rows(maps) is None or c == 1 else result.contiguous(memory_format=torch.channels_last)


def _backward(incoming: Tensor, maps: Tensor, grid: Tensor, axes: Sequence[Axis], mask: list[bool]) -> tuple[Tensor, Tensor]:
    padding, align_corners = _NUMBERS[type(axes[0].boundary)], axes[0].align_corners
    left, right = torch.ops.aten.grid_sampler_2d_backward(incoming, maps, grid, 0, padding, align_corners, mask)
    return left, right


def gradients(
    grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of coordinates and of maps, where they are needed."""
    left = right = None
    if needs[0] and type(axes[0].boundary) is Reflection:
        # Mirrored, the next pixel is on the other side.
        left = fast_cpu.coords_gradient(grad.reshape(len(coords), -1), coords, owner, maps, axes)
    elif needs[0]:
        left = _coords_gradient(grad, coords, maps, axes)
    if needs[1]:
        right = _map_gradient(grad, coords, maps, axes)
    return left, right
