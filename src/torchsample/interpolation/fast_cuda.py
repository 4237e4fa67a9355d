"""Interpolate and scatter on CUDA devices with the kernels of `triton_kernels`: one pass, no tensors in between.

The operators are registered with PyTorch, so that compiled graphs keep them, and call each other as derivatives: the values' derivative
by the map is a scatter, the scatter's by its values an interpolation, and both by coords one kernel of slopes. Derivatives
of the slopes are those of the reference. Importing this module does not import Triton.
"""

from __future__ import annotations

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


def _refuses_context() -> str | None:
    """Why operators that know only reverse mode, and no vectorization, would not do."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func is active"
    if torch.compiler.is_exporting():
        return "exported programs keep to PyTorch's own operators"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    return None


def refuses(coords: Tensor, values: Tensor, axes: Sequence[reference.Axis]) -> str | None:
    """Why `interpolate` of a map, or `scatter` of values, is not for this module; None if it is."""
    for name, tensor in (("coords", coords), ("values", values)):
        if tensor.dtype not in _FLOATS:
            return f"{name} of {tensor.dtype}"
    return _refuses_rule(axes) or _refuses_device(coords.device) or _refuses_context()


def interpolate(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[reference.Axis]) -> Tensor:
    """`reference.interpolate`."""
    n_batch = len(batch)
    maps = featmap.unsqueeze(0) if n_batch == 0 else featmap.flatten(0, n_batch - 1)
    values: Tensor = _interpolate(coords, maps, _owner(coords, batch, featmap.shape), *_rule(axes), torch.nan)
    return values


def scatter(coords: Tensor, values: Tensor, batch: Sequence[Tensor], batch_shape: Sequence[int], axes: Sequence[reference.Axis]) -> Tensor:
    """`reference.scatter`; the sum of each pixel in the order of the points where PyTorch is asked for deterministic algorithms."""
    n_maps = 1
    for side in batch_shape:
        n_maps *= side
    size = [axis.side for axis in axes]
    canvas: Tensor = _scatter(coords, values, _owner(coords, batch, batch_shape), n_maps, size, *_rule(axes))
    return canvas.reshape(*batch_shape, *canvas.shape[1:])


def points_shape(coords: Tensor, owner: Tensor, *values: Tensor) -> tuple[int, ...]:
    """Shape ``(*points)`` of what an operator is given, all of which broadcasts."""
    shape: torch.Size = torch.broadcast_shapes(coords.shape[:-1], owner.shape, *(tensor.shape[:-1] for tensor in values))  # type: ignore[no-untyped-call]
    return shape


def _owner(coords: Tensor, batch: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Number of each point's map among all maps of a batch, of a shape that broadcasts against the points."""
    if not batch:
        return torch.zeros((), dtype=torch.int64, device=coords.device)
    return reference.count_maps(batch, shape[: len(batch)])


def _rule(axes: Sequence[reference.Axis]) -> _Rule:
    kernel = axes[0].kernel
    a = kernel.a if isinstance(kernel, Cubic) else 0.0
    return len(kernel.offsets), a, [_BOUNDARIES.index(type(axis.boundary)) for axis in axes], axes[0].align_corners


def _axes(size: Sequence[int], taps: int, a: float, boundaries: Sequence[int], align_corners: bool) -> tuple[reference.Axis, ...]:
    """What `_rule` was made from."""
    kernel: Kernel = Nearest() if taps == 1 else Linear() if taps == 2 else Cubic(a)
    return reference.make_axes(size, kernel, [_BOUNDARIES[number]() for number in boundaries], align_corners)


_RULE = "int taps, float a, int[] boundaries, bool align_corners"


def _launchers() -> ModuleType:
    """The module that launches; it imports Triton."""
    from . import triton_launch

    return triton_launch


@torch.library.custom_op(
    "torchsample::interpolate", mutates_args=(), schema=f"(Tensor coords, Tensor featmap, Tensor owner, {_RULE}, float missing) -> Tensor"
)
def _interpolate(
    coords: Tensor, featmap: Tensor, owner: Tensor, taps: int, a: float, boundaries: list[int], align_corners: bool, missing: float
) -> Tensor:
    """Values ``(*points, c)`` of maps ``(b, c, *spatial)`` in their dtype; ``missing`` where a point has no place."""
    launch = _launchers()
    result: Tensor = launch.interpolate(coords, featmap, owner, launch.Rule(taps, a, boundaries, align_corners), missing)
    return result


@torch.library.custom_op(
    "torchsample::slopes", mutates_args=(), schema=f"(Tensor grad, Tensor coords, Tensor featmap, Tensor owner, {_RULE}) -> Tensor"
)
def _slopes(
    grad: Tensor, coords: Tensor, featmap: Tensor, owner: Tensor, taps: int, a: float, boundaries: list[int], align_corners: bool
) -> Tensor:
    """Derivatives ``(*points, d)`` of the values times ``grad`` by the coords, in float32."""
    launch = _launchers()
    result: Tensor = launch.slopes(grad, coords, featmap, owner, launch.Rule(taps, a, boundaries, align_corners))
    return result


@torch.library.custom_op(
    "torchsample::scatter",
    mutates_args=(),
    schema=f"(Tensor coords, Tensor values, Tensor owner, SymInt n_maps, SymInt[] size, {_RULE}) -> Tensor",
)
def _scatter(
    coords: Tensor,
    values: Tensor,
    owner: Tensor,
    n_maps: int,
    size: list[int],
    taps: int,
    a: float,
    boundaries: list[int],
    align_corners: bool,
) -> Tensor:
    """Maps ``(b, c, *spatial)`` in float32 from values ``(*points, c)``; the channels of a pixel lie together."""
    launch = _launchers()
    result: Tensor = launch.scatter(coords, values, owner, n_maps, size, launch.Rule(taps, a, boundaries, align_corners))
    return result


@_interpolate.register_fake
def _fake_interpolate(coords: Tensor, featmap: Tensor, owner: Tensor, *_rule: Any) -> Tensor:
    return featmap.new_empty(*points_shape(coords, owner), featmap.shape[1])


@_slopes.register_fake
def _fake_slopes(grad: Tensor, coords: Tensor, *rest: Any) -> Tensor:
    return coords.new_empty(*points_shape(coords, rest[1], grad), coords.shape[-1], dtype=torch.float32)


@_scatter.register_fake
def _fake_scatter(*given: Any) -> Tensor:
    _, values, _, n_maps, size, *_ = given
    canvas: Tensor = values.new_empty(n_maps, *size[::-1], values.shape[-1], dtype=torch.float32)
    return canvas.movedim(-1, 1)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.rest = inputs[len(tensors) :]


def _fitted(grad: Tensor, like: Tensor) -> Tensor:
    """A derivative by a tensor that was broadcast."""
    return grad.sum_to_size(like.shape).to(like.dtype)


def _derive_interpolate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    coords, featmap, owner = ctx.saved_tensors
    *rule, _ = ctx.rest
    by_coords = by_map = None
    if ctx.needs_input_grad[0]:
        by_coords = _fitted(_slopes(grad, coords, featmap, owner, *rule), coords)
    if ctx.needs_input_grad[1]:
        canvas = _scatter(coords, grad, owner, featmap.shape[0], list(featmap.shape[2:][::-1]), *rule)
        # In the memory layout of the map.
        by_map = canvas.to(featmap.dtype) if featmap.stride(1) == 1 else torch.empty_like(featmap).copy_(canvas)
    return by_coords, by_map, *[None] * 6


def _derive_scatter(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    coords, values, owner = ctx.saved_tensors
    _, _, *rule = ctx.rest
    by_coords = by_values = None
    if ctx.needs_input_grad[0]:
        by_coords = _fitted(_slopes(values, coords, grad, owner, *rule), coords)
    if ctx.needs_input_grad[1]:
        by_values = _fitted(_interpolate(coords, grad, owner, *rule, 0.0), values)
    return by_coords, by_values, *[None] * 7


def _derive_slopes(ctx: Any, total: Tensor) -> tuple[Tensor | None, ...]:
    """Second derivatives: those of the reference, which depend on the three tensors and not on what these depend on."""
    *tensors, owner = ctx.saved_tensors
    with torch.enable_grad():
        # An alias ends the search for derivatives, and goes on to the tensor if there are to be higher ones.
        aliases = [tensor.view_as(tensor) for tensor in tensors]
        grad, coords, featmap = aliases
        places = coords.expand(*total.shape).float()
        if not places.requires_grad:
            places = places.detach().requires_grad_()
        axes = _axes(featmap.shape[2:][::-1], *ctx.rest)
        values = reference.interpolate(places, featmap.float(), (owner,), axes)
        weight = grad.float().masked_fill(places.isnan().any(-1, keepdim=True), 0)
        (slopes,) = torch.autograd.grad(values, places, weight, create_graph=True)
        wanted = [alias for alias, is_wanted in zip(aliases, ctx.needs_input_grad, strict=False) if is_wanted]
        found = iter(torch.autograd.grad(slopes, wanted, total, create_graph=True, allow_unused=True))
    return *(next(found) if is_wanted else None for is_wanted in ctx.needs_input_grad[:3]), *[None] * 5


_interpolate.register_autograd(_derive_interpolate, setup_context=_save)
_slopes.register_autograd(_derive_slopes, setup_context=_save)
_scatter.register_autograd(_derive_scatter, setup_context=_save)
