"""The choice of back-end, and the only place that chooses.

The rule: on a CUDA device, Triton's kernels, if they know the mode. On a CPU, `grid_sample` for few channels or values and linear
sampling, and a table for everything else. The definition serves transforms, tracing, other devices and unusual dtypes, and calls that
meet a pixel that is NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from .._eager import has_subclass, why_not_eager
from . import fast_cuda, fast_grid, reference
from .autograd import Backend, Interpolate, NotFiniteError, Scatter, is_finite
from .fast_cpu import Table
from .fast_grid import GridSample
from .reference import Axis

_SERVED = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


@dataclass(frozen=True)
class Choice:
    """Who serves a call, and why."""

    name: str
    """``"triton"``, ``"table"``, ``"grid_sample"`` or ``"definition"``."""
    why: str
    backend: Backend | None = None
    """What serves it on a CPU."""


def _is_plain(rule: object) -> bool:
    """Whether a kernel or boundary has but numbers: what holds a tensor may want a derivative by it."""
    return all(isinstance(value, (bool, int, float, str, tuple)) for value in getattr(rule, "__dict__", {}).values())


def _only_by_definition(coords: Tensor, tensor: Tensor, axes: Sequence[Axis]) -> str | None:
    """Why the definition alone serves these tensors, or None."""
    if reason := why_not_eager(coords, tensor):
        return reason
    if coords.device.type != "cpu":
        return f"no fast path for tensors on {coords.device.type}"
    if tensor.dtype not in _SERVED:
        return f"no fast path for {tensor.dtype}"
    if coords.is_inference() != tensor.is_inference():
        return "one tensor is of inference mode and one is not"
    if not (_is_plain(axes[0].kernel) and all(_is_plain(axis.boundary) for axis in axes)):
        return "a kernel or boundary holds something else than numbers"
    if 0 in coords.shape or 0 in tensor.shape:
        return "there is nothing to do"
    return None


def _on_cuda(coords: Tensor, tensor: Tensor, axes: Sequence[Axis]) -> Choice | None:
    """The choice for a CUDA device, None for others; compiled graphs keep its operators."""
    if coords.device.type != "cuda":
        return None
    if has_subclass(coords, tensor):
        return Choice("definition", "a tensor is of a subclass")
    reason = fast_cuda.refuses(coords, tensor, axes)
    return Choice("definition", reason) if reason else Choice("triton", "on a CUDA device")


def choose(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis], in_order: bool) -> Choice:
    """How `interpolate` serves a call."""
    if choice := _on_cuda(coords, featmap, axes):
        return choice
    if reason := _only_by_definition(coords, featmap, axes):
        return Choice("definition", reason)
    points, n_batch = points_shape(coords, batch), len(batch)
    if prod(featmap.shape[:n_batch]) > 1 and not (in_order and points[:n_batch] == featmap.shape[:n_batch]):
        return Choice("table", "grid_sample takes points that belong to maps evenly and in order", Table())
    if reason := fast_grid.refuses(prod(points), featmap.shape[n_batch], coords.dtype, featmap.dtype, axes):
        return Choice("table", reason, Table())
    return Choice("grid_sample", "for few channels or few values, sampled linearly, it is the quickest", GridSample())


def points_shape(coords: Tensor, batch: Sequence[Tensor]) -> tuple[int, ...]:
    """The shape of all points, batch included."""
    shape = list(coords.shape[:-1])
    for dim, index in enumerate(batch):
        if index.ndim == len(shape) - dim:
            shape[dim] = max(shape[dim], index.shape[0])
    return tuple(shape)


def _flat(coords: Tensor, points: Sequence[int]) -> Tensor:
    """All points ``(n, d)``."""
    spread = coords if coords.shape[:-1] == points else coords.expand(*points, -1)
    return spread.reshape(-1, coords.shape[-1])


def _owner(points: Sequence[int], batch: Sequence[Tensor], sizes: Sequence[int]) -> Tensor | None:
    """The map of each point ``(n,)``, counted through all batch dimensions; None for a single map."""
    if prod(sizes) == 1:
        return None
    return reference.count_maps(batch, sizes).to(torch.int32).expand(points).reshape(-1)


def interpolate(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis], in_order: bool = False) -> Tensor:
    """`reference.interpolate`, by whom `choose` names; ``in_order`` if points belong to maps evenly and in order."""
    choice = choose(coords, featmap, batch, axes, in_order)
    backend = choice.backend
    if choice.name == "triton":
        return fast_cuda.interpolate(coords, featmap, batch, axes)
    if backend is None:
        return reference.interpolate(coords, featmap, batch, axes)
    try:
        return _interpolate(coords, featmap, batch, axes, backend)
    except NotFiniteError:
        placed, undefined = reference.place(coords, reference.accumulator(featmap.dtype), axes)
    if not undefined.any():
        # A pixel without weight has no say, be it NaN or infinite: only the definition looks at that.
        return reference.interpolate(coords, featmap, batch, axes)
    try:
        values = _interpolate(placed, featmap, batch, axes, backend)
    except NotFiniteError:
        return reference.interpolate(coords, featmap, batch, axes)
    return values.masked_fill(undefined.unsqueeze(-1), torch.nan if values.is_floating_point() else 0)


def _interpolate(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis], backend: Backend) -> Tensor:
    points, n_batch, c = points_shape(coords, batch), len(batch), featmap.shape[len(batch)]
    maps = featmap if n_batch == 1 else featmap.reshape(-1, *featmap.shape[n_batch:])
    flat = _flat(coords, points)
    owner = _owner(points, batch, featmap.shape[:n_batch]) if backend.needs_owner else None
    if not (torch.is_grad_enabled() and (coords.requires_grad or maps.requires_grad)):
        return backend.interpolate(flat, owner, maps, axes, backend.prepare(len(flat), maps, axes)).reshape(*points, c)
    values: Tensor = Interpolate.apply(flat, owner, maps, axes, backend)  # type: ignore[no-untyped-call]
    return values.reshape(*points, c)


def scatter(coords: Tensor, values: Tensor, batch: Sequence[Tensor], batch_shape: Sequence[int], axes: Sequence[Axis]) -> Tensor:
    """`reference.scatter`, by Triton or a table where those serve."""
    choice = _on_cuda(coords, values, axes)
    if choice and choice.name == "triton":
        return fast_cuda.scatter(coords, values, batch, batch_shape, axes)
    if _only_by_definition(coords, values, axes) or not is_finite(values):
        return reference.scatter(coords, values, batch, batch_shape, axes)
    if not is_finite(coords):
        coords, undefined = reference.place(coords, reference.accumulator(values.dtype), axes)
        values = values.where(~undefined.unsqueeze(-1), 0)
    points = points_shape(coords, batch)
    flat = _flat(coords, points)
    shape = (prod(batch_shape), values.shape[-1], *(axis.extent for axis in reversed(axes)))
    # Memory that nobody touches: it only says what the result is like.
    like = values.new_empty(shape, dtype=reference.accumulator(values.dtype))
    owner = _owner(points, batch, batch_shape)
    maps: Tensor = Scatter.apply(flat, owner, values.expand(*points, -1).reshape(len(flat), -1), like, axes, Table())  # type: ignore[no-untyped-call]
    return maps.reshape(*batch_shape, *shape[1:])
