"""Lay tensors out for the kernels of `triton_kernels`, and launch those."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from . import triton_kernels
from .fast_cuda import points_shape

_BORDER = 1
_TILE = 1024
"""Points times channels of a program, 8 for each of its 128 threads: two lines of 128 bit of float32."""


@dataclass(frozen=True)
class Rule:
    """What the kernels are compiled for, besides the rank."""

    taps: int
    a: float
    boundaries: Sequence[int]
    align_corners: bool

    def constants(self) -> tuple[int | float, ...]:
        """``(rank, taps, taps, taps, a, align_corners, boundary, boundary, boundary)``; axes that are not there have one tap."""
        rank = len(self.boundaries)
        taps = (*[self.taps] * rank, *[1] * (3 - rank))
        return (rank, *taps, self.a, int(self.align_corners), *self.boundaries, *[_BORDER] * (3 - rank))


class _Points:
    """Points in two levels ``(outer, inner)``, such that coords that many maps share, and a map that many points share, are not copied."""

    def __init__(self, shape: Sequence[int], coords: Tensor, owner: Tensor) -> None:
        split = len(shape)
        while split > len(shape) - owner.ndim and owner.shape[split - 1 - len(shape)] == 1:
            split -= 1
        self.shape = (*shape[: max(split, 0)],), (*shape[max(split, 0) :],)
        self.outer, self.inner = (torch.Size(side).numel() for side in self.shape)
        self.count = self.outer * self.inner
        self.coords = self.levels(coords)
        self.owner = self.levels(owner.unsqueeze(-1)).squeeze(-1)
        self.steps = (self.inner, *self.coords.stride(), *self.owner.stride())

    def levels(self, tensor: Tensor) -> Tensor:
        """``(outer, inner, k)`` of a tensor ``(*points, k)``, which is only copied if its strides ask for it."""
        return tensor.expand(*self.shape[0], *self.shape[1], -1).reshape(self.outer, self.inner, tensor.shape[-1])


def _size(featmap: Tensor) -> tuple[int, ...]:
    """``(w, h, d)`` of maps ``(b, c, *spatial)``."""
    size = featmap.shape[2:][::-1]
    return (*size, *[1] * (3 - len(size)))


def _strides(featmap: Tensor) -> tuple[int, ...]:
    """Of maps ``(b, c, *spatial)`` by map, channel, x, y and z."""
    strides = featmap.stride()
    return (*strides[:2], *strides[:1:-1], *[0] * (5 - len(strides)))


def _index_type(*tensors: Tensor) -> Any:
    """The narrowest type of integers that can count what the memory of each of the tensors spans."""
    spans = (sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.stride(), strict=True)) for tensor in tensors)
    # A block may count some points beyond the last one.
    return tl.int64 if max(spans) >= 2**31 - 2**16 else tl.int32


def _launch(kernel: Any, count: int, n_channels: int | None, *args: Any, **constants: Any) -> None:
    """Run a kernel on blocks of points, or of points and channels (those of a line, up to a limit)."""
    block_channels = min(1 << ((n_channels or 1) - 1).bit_length(), 128)
    # Derivatives by coords take more registers, all the more along three axes, and so do lines that cannot be read at full width.
    slopes_share = (4 if constants["rule"][0] == 3 else 2) if kernel is triton_kernels.slopes_kernel else 1
    tile = _TILE // slopes_share // (2 if (n_channels or 0) % 16 else 1)
    block = min(tile // block_channels, 256)
    grid = ((count + block - 1) // block, ((n_channels or 1) + block_channels - 1) // block_channels)
    blocks = {"block_points": block} if n_channels is None else {"block_points": block, "block_channels": block_channels}
    device = args[0].device
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[grid](*args, **constants, **blocks, enable_fp_fusion=False)


def _as_lines(featmap: Tensor, n_reads: int) -> Tensor:
    """Maps in whose memory the channels of a pixel lie together: a copy of those where they do not, if it is worth it."""
    if featmap.stride(1) == 1 or featmap.shape[1] == 1 or featmap.numel() == 0:
        return featmap
    maps = featmap[:1] if featmap.stride(0) == 0 else featmap
    if 2 * n_reads < maps.numel() // maps.shape[1]:
        return featmap
    return maps.movedim(1, -1).contiguous().movedim(-1, 1).expand(featmap.shape)


def interpolate(coords: Tensor, featmap: Tensor, owner: Tensor, rule: Rule, missing: float) -> Tensor:
    shape = points_shape(coords, owner)
    out = featmap.new_empty(*shape, featmap.shape[1])
    if out.numel():
        points = _Points(shape, coords, owner)
        featmap = _as_lines(featmap, points.count * rule.taps ** coords.shape[-1])
        _launch(
            triton_kernels.interpolate_kernel,
            points.count,
            featmap.shape[1],
            *(out, points.coords, featmap, points.owner, points.count, *featmap.shape[:2]),
            *(points.steps, _size(featmap), _strides(featmap), missing),
            rule=rule.constants(),
            index_type=_index_type(out, points.coords, featmap),
        )
    return out


def slopes(grad: Tensor, coords: Tensor, featmap: Tensor, owner: Tensor, rule: Rule) -> Tensor:
    shape = points_shape(coords, owner, grad)
    out = coords.new_zeros(*shape, coords.shape[-1], dtype=torch.float32)
    # The nearest pixel does not change, but in steps.
    if rule.taps > 1 and out.numel() and featmap.numel():
        points = _Points(shape, coords, owner)
        grad = points.levels(grad)
        featmap = _as_lines(featmap, points.count * rule.taps ** coords.shape[-1])
        _launch(
            triton_kernels.slopes_kernel,
            points.count,
            featmap.shape[1],
            *(out, grad, points.coords, featmap, points.owner, points.count, *featmap.shape[:2]),
            *(points.steps, _size(featmap), _strides(featmap), grad.stride()),
            rule=rule.constants(),
            index_type=_index_type(out, grad, points.coords, featmap),
        )
    return out


def scatter(coords: Tensor, values: Tensor, owner: Tensor, n_maps: int, size: Sequence[int], rule: Rule) -> Tensor:
    in_order = torch.are_deterministic_algorithms_enabled()
    shape = points_shape(coords, owner, values)
    lines = values.new_zeros(n_maps, *size[::-1], values.shape[-1], dtype=torch.float32)
    canvas = lines.movedim(-1, 1)
    points = _Points(shape, coords, owner)
    values = points.levels(values)
    if values.numel() and canvas.numel():
        (_scatter_in_order if in_order else _scatter_at_once)(canvas, points, values, rule)
    return canvas


def _scatter_at_once(canvas: Tensor, points: _Points, values: Tensor, rule: Rule) -> None:
    _launch(
        triton_kernels.scatter_kernel,
        points.count,
        values.shape[-1],
        *(canvas, points.coords, values, points.owner, points.count, *canvas.shape[:2]),
        *(points.steps, _size(canvas), _strides(canvas), values.stride()),
        rule=rule.constants(),
        index_type=_index_type(canvas, points.coords, values),
    )


def _scatter_in_order(canvas: Tensor, points: _Points, values: Tensor, rule: Rule) -> None:
    """Sort the taps of all points by pixel, and sum each pixel's on their own."""
    n_pixels, n_taps = canvas[:, 0].numel(), rule.taps ** len(rule.boundaries)
    numbers = canvas.new_empty(points.count, n_taps, dtype=torch.int32 if n_pixels < 2**31 - 1 else torch.int64)
    weights = torch.empty_like(numbers, dtype=torch.float32)
    pixels = torch.empty(canvas[:, :1].movedim(1, -1).shape, device="meta").movedim(-1, 1)
    _launch(
        triton_kernels.plan_kernel,
        points.count,
        None,
        *(numbers, weights, points.coords, points.owner, points.count, canvas.shape[0], n_pixels),
        *(points.steps, _size(canvas), _strides(pixels)),
        rule=rule.constants(),
        index_type=_index_type(numbers, points.coords, pixels),
    )
    numbers, order = torch.sort(numbers.flatten(), stable=True)
    starts = torch.searchsorted(numbers, torch.arange(n_pixels + 1, dtype=numbers.dtype, device=numbers.device))
    _launch(
        triton_kernels.gather_kernel,
        n_pixels,
        values.shape[-1],
        *(canvas, starts, order, weights, values, n_pixels, values.shape[-1]),
        *(points.inner, n_taps, values.stride()),
    )
