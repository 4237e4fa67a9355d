"""The shape rule, and everything else that coords and maps must be, checked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .._checks import check_device, check_flag, check_memory, check_tensor, message
from ..coordinates.convert import check_coords
from ..interpolation.boundary import Boundary, get_boundaries
from ..interpolation.kernels import Kernel, get_kernel
from ..interpolation.reference import Axis, accumulator, make_axes
from ..layout import spatial_size

Mode = Literal["nearest", "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "bspline2", "bspline3", "bspline4", "bspline5"]
PaddingName = Literal["zeros", "border", "reflection", "circular"]
PaddingMode = PaddingName | Boundary | Sequence[PaddingName | Boundary]


class Place(NamedTuple):
    """Which maps points read."""

    n_batch: int
    """How many batch dimensions a result has."""
    batch: tuple[Tensor, ...]
    """Per batch dimension of the map, which one each point reads."""
    in_order: bool = True
    """Whether points belong to maps evenly and in order."""


MOST_TAPS = 2**28
"""Taps of a point that could still be computed, in GBs of memory."""

SHAPE_RULE = (
    "The last dimension of `coords` is the rank d; the map is (*batch, c, *spatial) with d spatial dimensions and at least one"
    " batch dimension, and coords are (*batch, *points, d) with at least one point dimension."
)


def _kind(dtype: torch.dtype) -> int:
    return 0 if dtype == torch.bool else 3 if dtype.is_complex else 2 if dtype.is_floating_point else 1


def is_label(dtype: torch.dtype) -> bool:
    """Whether numbers of a dtype are integers."""
    return _kind(dtype) == 1


def can_hold(dtype: torch.dtype, other: torch.dtype) -> bool:
    """Whether a dtype is of the kind of another, or a wider one: `torch.can_cast`, which compilers do not trace."""
    return _kind(other) <= _kind(dtype)


def check_interpolable(function: str, argument: str, tensor: Tensor) -> None:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        remedy = f"Sample labels with mode='nearest', or convert them with {argument}.float()."
        raise TypeError(message(function, argument, "floating-point or complex to be interpolated", tensor.dtype, remedy))


def check_margins(function: str, featmap: Tensor, axes: Sequence[Axis]) -> None:
    """Refuse to filter a map whose margins make it larger than memory: some forty coefficients on each axis that goes on for ever."""
    if axes[0].kernel.poles:
        numbers = prod((*featmap.shape[: -len(axes)], *(axis.extent for axis in axes)))
        got = f"shape {tuple(featmap.shape)}"
        # Coefficients, and what an axis is filtered from and to.
        check_memory(function, "featmap", 4 * numbers, accumulator(featmap.dtype), featmap.device, got)


def read_rule(
    function: str,
    coords: Tensor,
    featmap: Tensor,
    mode: str | Kernel,
    padding_mode: PaddingMode,
    align_corners: bool,
    prefilter: bool,
) -> tuple[Axis, ...]:
    """Check everything but the shapes, and make the rule of each axis."""
    kernel = get_kernel(function, mode)
    check_flag(function, "align_corners", align_corners)
    check_flag(function, "prefilter", prefilter)
    check_coords(function, coords)
    if coords.shape[-1] == 0:
        raise ValueError(message(function, "coords", "of shape (..., d), d at least 1", f"shape {tuple(coords.shape)}", SHAPE_RULE))
    check_tensor(function, "featmap", featmap)
    check_device(function, "coords", coords.device, "featmap", featmap.device)
    rank = coords.shape[-1]
    boundaries = get_boundaries(function, padding_mode, rank)
    if featmap.ndim > rank and len(kernel.offsets) ** rank > MOST_TAPS:
        wanted, got = f"of a rank with at most {MOST_TAPS} taps per point", f"{rank}-D coords, {len(kernel.offsets)}**{rank} taps"
        raise ValueError(message(function, "coords", wanted, got, "Every combination of the axes' taps counts; use mode='nearest'."))
    if not kernel.selects:
        check_interpolable(function, "featmap", featmap)
    if featmap.ndim <= rank:
        return make_axes((1,) * rank, kernel, boundaries, align_corners)
    axes = make_axes(spatial_size(featmap, rank), kernel, boundaries, align_corners)
    if prefilter:
        check_margins(function, featmap, axes)
    else:
        axes = make_axes([axis.side - 2 * axis.margin for axis in axes], kernel, boundaries, align_corners)
    if min(axis.side for axis in axes) < 1:
        wanted = "at least one pixel wide along every axis" + ("" if prefilter else ", besides the margin of ts.prefilter")
        remedy = "There is nothing to sample in a map without pixels."
        raise ValueError(message(function, "featmap", wanted, f"shape {tuple(featmap.shape)}", remedy))
    return axes


def _batch_dims(function: str, coords: Tensor, featmap: Tensor) -> int:
    """Number of batch dimensions of the map, after checking that coords fit it."""
    rank = coords.shape[-1]
    n_batch = featmap.ndim - 1 - rank
    if n_batch < 1:
        remedy = f"{SHAPE_RULE} For a map without a batch there is {function}.nobatch."
        remedy = _ask_whether_swapped(coords, featmap) or remedy
        wanted = f"at least {rank + 2}-dimensional for {rank}-D coords"
        raise ValueError(message(function, "featmap", wanted, name_shapes(coords, featmap), remedy))
    if coords.ndim < n_batch + 2:
        wanted = f"at least {n_batch + 2}-dimensional, points and batch, for this map"
        remedy = f"{SHAPE_RULE} Flat points of several maps go with batch_index=."
        raise ValueError(message(function, "coords", wanted, name_shapes(coords, featmap), remedy))
    check_broadcast(function, coords, featmap, n_batch)
    return n_batch


def _ask_whether_swapped(coords: Tensor, featmap: Tensor) -> str | None:
    """A remedy for arguments in the order of `grid_sample`, if shapes look like that."""
    if featmap.ndim and 0 < featmap.shape[-1] <= 4 < coords.shape[-1] and featmap.is_floating_point():
        return "Are the two swapped? Unlike in grid_sample, coords come first, and their last dimension is the rank."
    return None


def name_shapes(coords: Tensor, other: Tensor, name: str = "featmap") -> str:
    """The shapes of coords and of what goes with them, for an error."""
    return f"coords {tuple(coords.shape)} and {name} {tuple(other.shape)}"


def check_broadcast(function: str, coords: Tensor, other: Tensor, n_batch: int, name: str = "featmap") -> None:
    """Check coords against the batch dimensions of another tensor."""
    batch = other.shape[:n_batch]
    for mine, its in zip(coords.shape, batch, strict=False):
        if mine != its and mine != 1 and its != 1:
            wanted = f"of a batch shape that broadcasts with {tuple(batch)}"
            remedy = "Batch dimensions must be equal, or 1 in one of the two."
            raise ValueError(message(function, "coords", wanted, name_shapes(coords, other, name), remedy))


def map_indices(batch: Sequence[int], n_points: int, device: torch.device) -> tuple[Tensor, ...]:
    """Per batch dimension, which map each point reads; one map for many grids is read, not repeated."""
    return tuple(torch.arange(side, device=device).reshape(-1, *[1] * (len(batch) - 1 - dim + n_points)) for dim, side in enumerate(batch))


def _is_concrete(tensor: Tensor) -> bool:
    """Whether the values can be looked at: not while tracing, vectorizing, or without data."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter)
    return plain and not (torch.compiler.is_compiling() or torch._C._functorch.is_batchedtensor(tensor) or tensor.is_meta)


def check_map_numbers(function: str, batch_index: Tensor, n_maps: int) -> None:
    """Check that there are the maps that points or regions say they are in."""
    if batch_index.numel() and _is_concrete(batch_index):
        low, high = (int(bound) for bound in batch_index.aminmax())
        if low < 0 or high >= n_maps:
            wanted = f"between 0 and {n_maps - 1}"
            raise ValueError(message(function, "batch_index", wanted, f"values from {low} to {high}", "Count the maps from 0."))


def _check_batch_index(function: str, coords: Tensor, featmap: Tensor, batch_index: Tensor) -> None:
    check_tensor(function, "batch_index", batch_index)
    if batch_index.dtype not in (torch.int64, torch.int32):
        remedy = "Convert it with batch_index.long()."
        raise TypeError(message(function, "batch_index", "int64 or int32", batch_index.dtype, remedy))
    rank = coords.shape[-1]
    if coords.ndim < 2 or featmap.ndim != rank + 2:
        wanted = "(n, d) or (n, *points, d) and featmap (b, c, *spatial) where batch_index is given"
        raise ValueError(message(function, "coords", wanted, name_shapes(coords, featmap), "Leave batch_index out for points in batches."))
    if batch_index.shape != coords.shape[:1]:
        wanted = f"of shape ({coords.shape[0]},), one map for each of coords {tuple(coords.shape)}"
        remedy = "Give each point, or each group of points (*points, d), its map."
        raise ValueError(message(function, "batch_index", wanted, f"shape {tuple(batch_index.shape)}", remedy))
    check_device(function, "batch_index", batch_index.device, "featmap", featmap.device)
    check_map_numbers(function, batch_index, featmap.shape[0])


def place_batched(function: str, coords: Tensor, featmap: Tensor, batch_index: Tensor | None) -> Place:
    """Check coords against a map with batch dimensions."""
    if batch_index is not None:
        _check_batch_index(function, coords, featmap, batch_index)
        n_points = coords.ndim - 2
        return Place(min(n_points, 1), (batch_index.long().reshape(-1, *[1] * n_points),), in_order=False)
    n_batch = _batch_dims(function, coords, featmap)
    return Place(n_batch, map_indices(featmap.shape[:n_batch], coords.ndim - 1 - n_batch, coords.device))


def place_single(function: str, coords: Tensor, featmap: Tensor) -> Place:
    """Check coords against a map without a batch."""
    rank = coords.shape[-1]
    if featmap.ndim != rank + 1 or coords.ndim < 2:
        wanted = f"a map (c, *spatial) of {rank + 1} dimensions for {rank}-D coords (*points, {rank})"
        remedy = f"For a map with a batch there is {function.removesuffix('.nobatch')}."
        remedy = _ask_whether_swapped(coords, featmap) or remedy
        raise ValueError(message(function, "featmap", wanted, name_shapes(coords, featmap), remedy))
    return Place(0, ())


Placing = Callable[[Tensor, Tensor], Place]
