"""Interpolate and scatter on CUDA devices with the kernels of `triton_kernels`: one pass, no tensors in between.

The operators are registered with PyTorch, so that compiled graphs keep them, and call each other as derivatives: the values' derivative
by the map is a scatter, the scatter's by its values an interpolation, and both by coords one kernel of slopes. Derivatives
of the slopes are those of the reference. Importing this module does not import Triton.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import reference
from .boundary import Border, Boundary, Circular, Reflection, Zeros
from .kernels import Cubic, Kernel, Linear, Nearest

_Rule = tuple[int, float, list[int], bool]
"""Taps per axis, the cubic's parameter, the number of each axis' boundary, and `align_corners`: the arguments of an operator."""

_BOUNDARIES: tuple[type[Boundary], ...] = (Zeros, Border, Reflection, Circular)
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_HAS_TRITON = importlib.util.find_spec("triton") is not None


def _refuses_rule(axes: Sequence[reference.Axis]) -> str | None:
    """Why the kernels do not know a rule; a subclass of what they know may have methods of its own."""
    if len(axes) > 3:
        return f"rank {len(axes)}"
    for axis in axes:
        if type(axis.kernel) not in (Nearest, Linear, Cubic):
            return f"kernel {axis.kernel}"
        if type(axis.boundary) not in _BOUNDARIES:
            return f"boundary {axis.boundary}"
        if axis.side >= 2**30:
            return "a side of 2^30 pixels or more"
    return None


def _refuses_device(device: torch.device) -> str | None:
    if device.type != "cuda" or torch.version.hip is not None:
        return "not on a CUDA device"
    if not _HAS_TRITON:
        return "Triton is not installed"
    return None if torch.cuda.get_device_properties(device).major >= 8 else "a device of compute capability below 8.0"


def _refuses_context(tensors: Sequence[Tensor]) -> str | None:
    """Why operators that know only reverse mode, and no vectorization, would not do."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func is active"
    if torch.compiler.is_exporting():
        return "exported programs keep to PyTorch's own operators"
    if not torch.compiler.is_compiling() and any(torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        return "forward-mode derivatives"
    return None


def refuses(coords: Tensor, values: Tensor, axes: Sequence[reference.Axis]) -> str | None:
    """Why `interpolate` of a map, or `scatter` of values, is not for this module; None if it is."""
    for name, tensor in (("coords", coords), ("values", values)):
        if tensor.dtype not in _FLOATS:
            return f"{name} of {tensor.dtype}"
    return _refuses_rule(axes) or _refuses_device(coords.device) or _refuses_context((coords, values))


def interpolate(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[reference.Axis]) -> Tensor:
    """`reference.interpolate`."""
    n_batch = len(batch)
    maps = featmap.unsqueeze(0) if n_batch == 0 else featmap.flatten(0, n_batch - 1)
    values: Tensor = _interpolate(coords, maps, _owner(coords, batch, featmap.shape), *_rule(axes), torch.nan)
    return values


def scatter(
    coords: Tensor, values: Tensor, batch: Sequence[Tensor], batch_shape: Sequence[int], axes: Sequence[reference.Axis]
) -> Tensor:
    """`reference.scatter`; the sum of each pixel in the order of the points where PyTorch is asked for deterministic algorithms."""
    n_maps = 1
    for side in batch_shape:
        n_maps *= side
    size = [axis.side for axis in axes]
    canvas: Tensor = _scatter(coords, values, _owner(coords, batch, batch_shape), n_maps, size, *_rule(axes))
    return canvas.reshape(*batch_shape, *canvas.shape[1:])


def _owner(coords: Tensor, batch: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Number of each point's map among all maps of a batch, of a shape that broadcasts against the points."""
    if not batch:
        return torch.zeros((), dtype=torch.int64, device=coords.device)
    owner = batch[0]
    for index, side in zip(batch[1:], shape[1 : len(batch)], strict=True):
        owner = owner * side + index
    return owner


def _rule(axes: Sequence[reference.Axis]) -> _Rule:
    kernel = axes[0].kernel
    a = kernel.a if isinstance(kernel, Cubic) else 0.0
    return len(kernel.offsets), a, [_BOUNDARIES.index(type(axis.boundary)) for axis in axes], axes[0].align_corners


def _axes(size: Sequence[int], taps: int, a: float, boundaries: Sequence[int], align_corners: bool) -> tuple[reference.Axis, ...]:
    """What `_rule` was made from."""
    kernel: Kernel = Nearest() if taps == 1 else Linear() if taps == 2 else Cubic(a)
    return reference.make_axes(size, kernel, [_BOUNDARIES[number]() for number in boundaries], align_corners)


_RULE_SCHEMA = "int taps, float a, int[] boundaries, bool align_corners"


def _points_shape(coords: Tensor, owner: Tensor, *values: Tensor) -> torch.Size:
    return torch.broadcast_shapes(coords.shape[:-1], owner.shape, *(tensor.shape[:-1] for tensor in values))


@torch.library.custom_op(
    "torchsample::interpolate",
    mutates_args=(),
    schema=f"(Tensor coords, Tensor featmap, Tensor owner, {_RULE_SCHEMA}, float missing) -> Tensor",
)
def _interpolate(
    coords: Tensor, featmap: Tensor, owner: Tensor, taps: int, a: float, boundaries: list[int], align_corners: bool, missing: float
) -> Tensor:
    """Values ``(*points, c)`` of maps ``(b, c, *spatial)`` in their dtype; ``missing`` where a point has no place."""
    out = _empty_values(coords, featmap, owner)
    if out.numel():
        points = _Points(coords, owner, out.shape[:-1])
        featmap = _lines(featmap, points.count * taps ** coords.shape[-1])
        points.launch(
            "interpolate_kernel",
            (out, points.coords, featmap, points.owner, points.count, *featmap.shape[:2], points.steps, _size(featmap)),
            (_strides(featmap), missing),
            (taps, a, boundaries, align_corners),
            _is_wide(out, featmap, points.coords),
            featmap.shape[1],
        )
    return out


@_interpolate.register_fake
def _(
    coords: Tensor, featmap: Tensor, owner: Tensor, taps: int, a: float, boundaries: list[int], align_corners: bool, missing: float
) -> Tensor:
    return featmap.new_empty(*_points_shape(coords, owner), featmap.shape[1])
