"""The back-end for linear sampling of few channels on CPUs: PyTorch's own `grid_sample`, on all cores.

`grid_sample` shares out maps to cores, not points: a single map keeps a single core busy. Here the points of few maps are dealt to several
expanded views of them, without a copy. Functions take what those of `fast_cpu` take, where points belong to maps evenly and in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from . import fast_cpu
from .boundary import Border, Boundary, Reflection, Zeros
from .kernels import Linear
from .reference import Axis

FEW = {2: 4, 3: 2}
"""Per rank, the channels up to which this is faster than a table."""

SHARE = 4096
"""Points that are worth a core of their own."""

_NAMES: dict[type[Boundary], str] = {Zeros: "zeros", Border: "border", Reflection: "reflection"}
_NUMBERS: dict[type[Boundary], int] = {Zeros: 0, Border: 1, Reflection: 2}


def refuses(coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> str | None:
    """Why `grid_sample` does not stand in for the definition here, or None."""
    if len(axes) not in FEW or type(axes[0].kernel) is not Linear:
        return "grid_sample samples linearly in two and three dimensions"
    if type(axes[0].boundary) not in _NAMES or len({axis.boundary for axis in axes}) > 1:
        return "grid_sample does not know this padding"
    if maps.dtype not in (torch.float32, torch.float64) or torch.promote_types(coords.dtype, maps.dtype) != maps.dtype:
        return f"grid_sample would lose precision with coords of {coords.dtype} and a map of {maps.dtype}"
    if maps.shape[1] > FEW[len(axes)]:
        return f"the map has more than {FEW[len(axes)]} channels"
    return None


def prepare(n: int, maps: Tensor, axes: Sequence[Axis]) -> None:
    """Nothing: maps are read as they are."""


def _shares(n: int, maps: Tensor) -> int:
    """In how many shares the points of each map are dealt: one per core where maps are fewer than cores."""
    threads = torch.get_num_threads()
    return min(threads, max(n // (maps.shape[0] * SHARE), 1)) if maps.shape[0] < threads else 1


def _deal(points: Tensor, m: int, shares: int) -> Tensor:
    """Points ``(n, k)`` of m maps as ``(m, shares, n / m / shares, k)``; the last share is filled up with copies of a point."""
    points = points.reshape(m, -1, points.shape[-1])
    missing = -points.shape[1] % shares
    if missing:
        points = torch.cat([points, points[:, :1].expand(-1, missing, -1)], dim=1)
    return points.unflatten(1, (shares, -1))


def _calls(maps: Tensor, *dealt: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Maps, and what was dealt to them, as `grid_sample` takes them: all at once if there is one share, else map by map."""
    rank = maps.ndim - 2
    if dealt[0].shape[1] == 1:
        yield maps, *(points.reshape(maps.shape[0], *[1] * (rank - 1), -1, points.shape[-1]) for points in dealt)
        return
    for number, single in enumerate(maps):
        expanded = single.expand(dealt[0].shape[1], *single.shape)
        yield expanded, *(points[number].reshape(len(expanded), *[1] * (rank - 1), -1, points.shape[-1]) for points in dealt)


def interpolate(coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor:
    """Values ``(m, n / m, c)``; a view of what `grid_sample` gives, where nothing had to be dealt out."""
    m, c = maps.shape[:2]
    dealt = _deal(coords.to(maps.dtype), m, _shares(len(coords), maps))
    padding, align_corners = _NAMES[type(axes[0].boundary)], axes[0].align_corners
    values = [F.grid_sample(*call, "bilinear", padding, align_corners).flatten(2).transpose(1, 2) for call in _calls(maps, dealt)]
    if dealt.shape[1] == 1:
        return values[0]
    return torch.stack([value.reshape(-1, c)[: len(coords) // m] for value in values])


def _backward(incoming: Tensor, maps: Tensor, grid: Tensor, axes: Sequence[Axis], of_map: bool) -> Tensor:
    """One of the gradients of `grid_sample`."""
    call = torch.ops.aten.grid_sampler_2d_backward if len(axes) == 2 else torch.ops.aten.grid_sampler_3d_backward
    mask = [of_map, not of_map]
    found: Tensor = call(incoming.movedim(-1, 1), maps, grid, 0, _NUMBERS[type(axes[0].boundary)], axes[0].align_corners, mask)[not of_map]
    return found


def _coords_gradient(grad: Tensor, coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradient ``(n, d)`` of the coordinates.

    At a pixel's centre the derivative is the one towards the next pixel. `grid_sample` rounds to either side there, and gives zero at the
    border; so coordinates are moved on by the least that puts them on the right side of its rounding.
    """
    m, shares = maps.shape[0], _shares(len(coords), maps)
    moved = _deal(coords.to(maps.dtype) + torch.finfo(maps.dtype).eps, m, shares)
    found = [_backward(g, single, grid, axes, of_map=False) for single, grid, g in _calls(maps, moved, _deal(grad, m, shares))]
    result = torch.cat([gradient.reshape(m if shares == 1 else 1, -1, len(axes)) for gradient in found])
    return result[:, : len(coords) // m].reshape(coords.shape).to(coords.dtype)


def _map_gradient(grad: Tensor, coords: Tensor, maps: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Gradient of the maps; several canvases for one map only where points are as many as its pixels."""
    m, shares = maps.shape[0], _shares(len(coords), maps)
    shares = shares if len(coords) >= prod(maps.shape) // maps.shape[1] else 1
    incoming = grad.reshape(m, -1, maps.shape[1])
    missing = -incoming.shape[1] % shares
    incoming = torch.cat([incoming, incoming.new_zeros(m, missing, maps.shape[1])], dim=1) if missing else incoming
    calls = _calls(maps, _deal(coords.to(maps.dtype), m, shares), incoming.unflatten(1, (shares, -1)))
    found = [_backward(g, single, grid, axes, of_map=True) for single, grid, g in calls]
    return found[0] if shares == 1 else torch.stack([gradient.sum(0) for gradient in found])


def gradients(
    grad: Tensor,
    coords: Tensor,
    owner: Tensor | None,
    maps: Tensor,
    axes: Sequence[Axis],
    table: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of coordinates and of maps, where they are needed."""
    left = right = None
    if needs[0] and type(axes[0].boundary) is Reflection:
        # Mirrored, the next pixel is on the other side.
        table = fast_cpu.prepare(len(coords), maps, axes)
        left = fast_cpu.coords_gradient(grad.reshape(len(coords), -1), coords, owner, maps, axes, table)
    elif needs[0]:
        left = _coords_gradient(grad, coords, maps, axes)
    if needs[1]:
        right = _map_gradient(grad, coords, maps, axes)
    return left, right
