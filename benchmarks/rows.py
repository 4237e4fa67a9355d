"""What is sampled: the rows of the benchmark, from the places where people sample maps, and their random inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

import torchsample as ts

FIRST, LAST = "channels-first", "channels-last"
LAYOUTS = FIRST, LAST
FORWARD, MAP, COORDS = "forward", "forward + backward(map)", "forward + backward(map, coords)"
WORKS = FORWARD, MAP, COORDS
_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}


@dataclass(frozen=True)
class Row:
    """One map and the points that are read from it."""

    name: str
    use: str
    """Who samples like this."""
    shape: tuple[int, ...]
    """The map's, ``(b, c, *spatial)``."""
    points: tuple[int, ...]
    """Of each map in the batch, and of each look."""
    mode: str = "bilinear"
    where: Literal["anywhere", "subpixels", "warp"] = "anywhere"
    """Uniform points, pixel centres of a map four times as fine, or the map's own pixels, displaced."""
    looks: int = 1
    """Four: each point looks half a pixel towards each corner, one call per look."""
    labels: bool = False
    """An integer map, forward only."""

    @property
    def size(self) -> tuple[int, ...]:
        """``(w, h, ...)``."""
        return self.shape[:1:-1]

    @property
    def rank(self) -> int:
        return len(self.shape) - 2

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64 if self.labels else torch.float32

    @property
    def taps(self) -> int:
        """Pixels that a point reads."""
        return _TAPS[self.mode] ** self.rank

    @property
    def n_points(self) -> int:
        """Points of all maps and looks."""
        return self.shape[0] * math.prod(self.points) * self.looks

    @property
    def works(self) -> tuple[str, ...]:
        return WORKS[:1] if self.labels else WORKS

    def shrunk(self) -> Row:
        """The same in small, to try the benchmark itself."""
        n_batch, channels, *spatial = self.shape
        points = tuple(min(side, 16) for side in self.points) if len(self.points) > 1 else (min(self.points[0], 200),)
        return replace(self, shape=(min(n_batch, 2), min(channels, 8), *(min(side, 16) for side in spatial)), points=points)


ROWS = (
    Row("pointrend-2x256x64x64", "PointRend's head, small maps", (2, 256, 64, 64), (4096,)),
    Row("pointrend-8x256x56x56", "PointRend's head, a batch", (8, 256, 56, 56), (2048,)),
    Row("pointrend-1x256x200x304", "PointRend's head, an image at stride 4", (1, 256, 200, 304), (4096,)),
    Row("liif-16x64x48x48", "LIIF, four shifted looks", (16, 64, 48, 48), (9216,), "nearest", "subpixels", looks=4),
    Row("triplane-3x32x512x512", "tri-plane", (3, 32, 512, 512), (262144,)),
    Row("voxels-1x28x128x128x128", "voxel grid of features", (1, 28, 128, 128, 128), (262144,)),
    Row("density-1x1x160x160x160", "voxel grid of densities", (1, 1, 160, 160, 160), (262144,)),
    Row("image-16x3x480x640", "colours of images", (16, 3, 480, 640), (4096,)),
    Row("labels-16x1x480x640", "integer labels of images", (16, 1, 480, 640), (4096,), "nearest", "subpixels", labels=True),
    Row("warp-4x3x512x512", "dense warp of images", (4, 3, 512, 512), (512, 512), where="warp"),
    Row("warp-1x1x192x192x192", "dense warp of a volume: registration", (1, 1, 192, 192, 192), (192, 192, 192), where="warp"),
    Row("signal-64x128x4096", "1-D features", (64, 128, 4096), (4096,)),
    Row("bicubic-4x64x128x128", "bicubic features", (4, 64, 128, 128), (16384,), "bicubic"),
)


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass
class Inputs:
    """Tensors of a row: the map, coords of each look, and the incoming gradient of each look's result."""

    featmap: Tensor
    coords: list[Tensor]
    grads: list[Tensor]


def keep_clear(coords: Tensor, size: Sequence[int]) -> Tensor:
    """Move points a little, away from where rounding decides what they read.

    At pixel centres the derivative of a linear interpolation jumps, and halfway between them the nearest pixel changes. There two correct
    libraries may differ; a twenty-fifth of half a pixel away from it they may not.
    """
    sides = torch.tensor(size, dtype=torch.float64)
    halves = (coords.double() + 1) * sides - 1
    floor = halves.floor()
    halves = floor + 0.04 + 0.92 * (halves - floor)
    return ((halves + 1) / sides - 1).to(coords.dtype)


def _displaced_pixels(row: Row, generator: torch.Generator) -> Tensor:
    """Every pixel, displaced smoothly by some four pixels."""
    coarse = torch.randn((row.shape[0], row.rank, *[5] * row.rank), generator=generator)
    method = {1: "linear", 2: "bilinear", 3: "trilinear"}[row.rank]
    shift = F.interpolate(coarse, size=row.points, mode=method, align_corners=True).movedim(1, -1)
    return ts.coord.full(1, row.points[::-1]) + shift * 8 / torch.tensor(row.size)


def _points(row: Row, generator: torch.Generator) -> Tensor:
    if row.where == "warp":
        return _displaced_pixels(row, generator)
    count = math.prod(row.points)
    if row.where == "subpixels":
        fine = [4 * side for side in row.size]
        coords = ts.coord.randint(row.shape[0], count, fine, replace=True, generator=generator)
    else:
        coords = ts.coord.rand(row.shape[0], count, row.rank, generator=generator)
    return coords.reshape(row.shape[0], *row.points, row.rank)


def _looks(row: Row, coords: Tensor) -> list[Tensor]:
    """Coords of each look; the shift and the clamp by a hair are LIIF's."""
    if row.looks == 1:
        return [coords]
    corners = [torch.tensor([x, y]) / torch.tensor(row.size) for x in (-1.0, 1.0) for y in (-1.0, 1.0)]
    return [(coords + corner + 1e-6).clamp(-1 + 1e-6, 1 - 1e-6) for corner in corners]


def in_layout(featmap: Tensor, layout: str) -> Tensor:
    """The same map in the memory layout, by its strides, which say so for one channel, too."""
    return featmap.contiguous() if layout == FIRST else featmap.movedim(1, -1).contiguous().movedim(-1, 1)


def make_inputs(row: Row, layout: str, device: torch.device, seed: int = 0) -> Inputs:
    """The row's random tensors, the same on all machines and in both layouts."""
    generator = torch.Generator().manual_seed(seed)
    featmap = torch.randint(1000, row.shape, generator=generator) if row.labels else torch.randn(row.shape, generator=generator)
    coords = [keep_clear(look, row.size).contiguous() for look in _looks(row, _points(row, generator))]
    shape = (row.shape[0], *row.points, row.shape[1])
    grads = [] if row.labels else [torch.randn(shape, generator=generator).to(device) for _ in coords]
    return Inputs(in_layout(featmap.to(device), layout), [look.to(device) for look in coords], grads)
