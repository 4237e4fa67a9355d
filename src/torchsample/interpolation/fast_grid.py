"""The back-end for linear sampling of few channels on CPUs: PyTorch's own `grid_sample`, on all cores.

`grid_sample` shares out maps to cores, not points: a single map keeps a single core busy. Here the points of few maps are dealt to several
expanded views of them, without a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .autograd import Backend
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

_NAMES: dict[type[Boundary], str] = {Zeros: "zeros", Border: "border", Reflection: "reflection"}
_NUMBERS: dict[type[Boundary], int] = {Zeros: 0, Border: 1, Reflection: 2}


def refuses(n: int, c: int, coords: torch.dtype, maps: torch.dtype, axes: Sequence[Axis]) -> str | None:
    """Why `grid_sample` does not stand in for the definition, for n points and c channels of these dtypes, or None."""
    rank = len(axes)
    if rank not in FEW_CHANNELS or type(axes[0].kernel) is not Linear:
        return "grid_sample samples linearly in two and three dimensions"
    if type(axes[0].boundary) not in _NAMES or len({axis.boundary for axis in axes}) > 1:
        return "grid_sample does not know this padding"
    if maps not in (torch.float32, torch.float64) or torch.promote_types(coords, maps) != maps:
        return f"grid_sample would lose precision with coords of {coords} and a map of {maps}"
    if c > FEW_CHANNELS[rank] and n * c > FEW_VALUES[rank]:
        return f"the map has more than {FEW_CHANNELS[rank]} channels"
    return None


def _shares(n: int, maps: Tensor) -> int:
    """In how many shares the points of each map are dealt: one per core where maps are fewer than cores."""
    threads = torch.get_num_threads()
    return min(threads, max(n // (maps.shape[0] * SHARE), 1)) if maps.shape[0] < threads else 1


def _canvases(n: int, maps: Tensor) -> int:
    """In how many shares points are dealt where each share needs a map of its own to add to, which only many points are worth."""
    n_pixels = maps.shape[0] * prod(maps.shape[2:])
    return _shares(n, maps) if n * (1 if maps.ndim == 4 else 16) >= n_pixels else 1


def _deal(points: Tensor, m: int, shares: int) -> Tensor:
    """Points ``(n, k)`` of m maps as ``(m, shares, n / m / shares, k)``; the last share is filled up with copies of a point."""
    points = points.reshape(m, -1, points.shape[-1])
    missing = -points.shape[1] % shares
    if missing:
        points = torch.cat([points, points[:, :1].expand(-1, missing, -1)], dim=1)
    return points.reshape(m, shares, -1, points.shape[-1])


def _calls(maps: Tensor, *dealt: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Maps, and what was dealt to them, as `grid_sample` takes them: all at once if there is one share, else map by map."""
    rank = maps.ndim - 2
    if dealt[0].shape[1] == 1:
        yield maps, *(points.reshape(maps.shape[0], *[1] * (rank - 1), -1, points.shape[-1]) for points in dealt)
        return
    for number, single in enumerate(maps):
        expanded = single.expand(dealt[0].shape[1], *single.shape)
        yield expanded, *(points[number].reshape(len(expanded), *[1] * (rank - 1), -1, points.shape[-1]) for points in dealt)


def _backward(incoming: Tensor, coords: Tensor, maps: Tensor, axes: Sequence[Axis], shares: int, mask: Sequence[bool]) -> list[Tensor]:
    """Gradients of maps and of coordinates by `grid_sample`'s own backward pass, those that a mask asks for."""
    call = torch.ops.aten.grid_sampler_2d_backward if len(axes) == 2 else torch.ops.aten.grid_sampler_3d_backward
    m, c = maps.shape[:2]
    if missing := -(len(coords) // m) % shares:
        # The last share is filled up with points that have no gradient.
        incoming = torch.cat([incoming.reshape(m, -1, c), incoming.new_zeros(m, missing, c)], dim=1)
    calls = _calls(maps, _deal(coords, m, shares), incoming.reshape(m, shares, -1, c))
    settings = 0, _NUMBERS[type(axes[0].boundary)], axes[0].align_corners, list(mask)
    found = [call(grad.movedim(-1, 1), single, grid, *settings) for single, grid, grad in calls]
    result = []
    if mask[0]:
        result.append(found[0][0] if shares == 1 else torch.stack([gradient.sum(0) for gradient, _ in found]))
    if mask[1]:
        gradients = torch.cat([gradient.reshape(m if shares == 1 else 1, -1, len(axes)) for _, gradient in found])
        result.append(gradients[:, : len(coords) // m].reshape(coords.shape))
    return result


def _move_on(coords: Tensor, maps: Tensor) -> Tensor:
    """Coordinates whose derivative by `grid_sample`, at the centre of a pixel, is the one towards the next pixel.

    It would round to either side there, and give zero at the border; the least step that its rounding notices makes up its mind.
    """
    return coords.to(maps.dtype) + torch.finfo(maps.dtype).eps


class GridSample(Backend):
    """Maps as `grid_sample` reads them, points in even shares of each map in order."""

    def interpolate(self, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor:
        m, c = maps.shape[:2]
        dealt = _deal(coords.to(maps.dtype), m, _shares(len(coords), maps))
        padding, align_corners = _NAMES[type(axes[0].boundary)], axes[0].align_corners
        found = [F.grid_sample(single, grid, "bilinear", padding, align_corners) for single, grid in _calls(maps, dealt)]
        values = [value.flatten(2).transpose(1, 2) for value in found]
        if dealt.shape[1] == 1:
            return values[0]
        return torch.stack([value.reshape(-1, c)[: len(coords) // m] for value in values])

    def coords_gradient(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None
    ) -> Tensor:
        if type(axes[0].boundary) is Reflection:
            # Mirrored, the next pixel is on the other side.
            other = Table()
            return other.coords_gradient(grad.reshape(len(coords), -1), coords, owner, maps, axes, other.prepare(len(coords), maps, axes))
        (found,) = _backward(grad, _move_on(coords, maps), maps, axes, _shares(len(coords), maps), [False, True])
        return found.to(coords.dtype)

    def scatter(self, values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
        (found,) = _backward(values, coords.to(like.dtype), like, axes, _canvases(len(coords), like), [True, False])
        return found

    def gradients(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if type(axes[0].boundary) is Reflection:
            return super().gradients(grad, coords, owner, maps, axes, table)
        of_maps, of_coords = _backward(grad, _move_on(coords, maps), maps, axes, _canvases(len(coords), maps), [True, True])
        return of_coords.to(coords.dtype), of_maps
