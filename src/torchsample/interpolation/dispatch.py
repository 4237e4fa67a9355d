"""The choice of back-end, and the only place that chooses."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from . import fast_cpu, fast_grid, reference
from .autograd import Backend, Interpolate, is_transformed
from .reference import Axis


def _flat(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor]) -> tuple[torch.Size, Tensor, Tensor | None, Tensor]:
    """Points, and as a list of points ``(n, d)``, of their maps ``(n,)``, and of maps ``(m, c, *spatial)``."""
    rank, n_batch = coords.shape[-1], len(batch)
    points = torch.broadcast_shapes(coords.shape[:-1], *(index.shape for index in batch))
    maps = featmap.reshape(prod(featmap.shape[:n_batch]), *featmap.shape[n_batch:])
    owner = None
    if maps.shape[0] > 1:
        strides = [prod(featmap.shape[dim + 1 : n_batch]) for dim in range(n_batch)]
        owner = sum((index * stride for index, stride in zip(batch, strides, strict=True)), start=batch[0].new_zeros(()))
        owner = owner.expand(points).reshape(-1)
    return points, coords.expand(*points, rank).reshape(-1, rank), owner, maps


def _refuses(coords: Tensor, featmap: Tensor) -> str | None:
    """Why only the definition serves these tensors, or None."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack():
        return "the call is being traced"
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in (coords, featmap)):
        return "a tensor is of a subclass"
    if is_transformed(coords, featmap):
        return "a transform of torch.func is active"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if coords.device.type != "cpu":
        return f"there is no fast path for the device {coords.device.type}"
    if featmap.is_complex():
        return "the map is complex"
    if featmap.dtype in (torch.uint16, torch.uint32, torch.uint64) or featmap.dtype.itemsize == 1 and featmap.is_floating_point():
        return f"the map is of {featmap.dtype}"
    return None


def _choose(coords: Tensor, maps: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis]) -> Backend:
    dealt = all(index.ndim > 1 for index in batch)
    return fast_grid if dealt and fast_grid.refuses(coords, maps, axes) is None else fast_cpu


def interpolate(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis]) -> Tensor:
    """`reference.interpolate`, by the fastest back-end that gives the same."""
    if _refuses(coords, featmap) or 0 in coords.shape[:-1] or 0 in featmap.shape:
        return reference.interpolate(coords, featmap, batch, axes)
    if not torch.isfinite(coords.detach().sum()):
        return reference.interpolate(coords, featmap, batch, axes)
    points, flat, owner, maps = _flat(coords, featmap, batch)
    if not (maps.is_floating_point()):
        return fast_cpu.interpolate(flat, owner, maps, axes, fast_cpu.prepare(len(flat), maps, axes)).reshape(*points, -1)
    values: Tensor = Interpolate.apply(flat, owner, maps, axes, _choose(coords, maps, batch, axes))
    if not torch.isfinite(values.detach().sum()):
        # A pixel that is NaN or infinite has no say where its weight is zero; only the definition looks at that.
        return reference.interpolate(coords, featmap, batch, axes)
    return values.reshape(*points, -1)
