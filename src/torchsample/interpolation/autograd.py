"""The derivatives of fast back-ends: theirs in the first order, those of the definition beyond."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._eager import is_transformed
from . import reference
from .reference import Axis


class NotFiniteError(ArithmeticError):
    """A coordinate or a result is NaN or infinite, or of a size that sums overflow: a case for the definition's care."""


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite, and of moderate size: their sum tells."""
    plain = tensor.detach() if tensor.requires_grad else tensor
    return math.isfinite(plain.sum(dtype=reference.accumulator(tensor.dtype)).item())


def demand_finite(*tensors: Tensor) -> None:
    """Let no number pass that is not finite."""
    if not all(map(is_finite, tensors)):
        raise NotFiniteError


def _own(tensor: Tensor) -> Tensor:
    """The same memory, but no view: autograd does not let views from inside a function be changed in place."""
    if not tensor._is_view():
        return tensor
    return tensor.new_empty(0).set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


class Backend(ABC):
    """A fast way to interpolate, and its derivatives.

    Points are ``(n, d)``, maps are ``(m, c, *spatial)``, and ``owner`` ``(n,)`` is the map of each point; None where points belong
    to maps evenly and in order, a single one for example.
    """

    needs_owner: ClassVar[bool] = True
    """Whether points may belong to maps in any order."""

    def prepare(self, n: int, maps: Tensor, axes: Sequence[Axis]) -> Tensor | None:
        """A copy of maps for n points, which sampling and derivatives share; None where they are read as they are."""
        return None

    @abstractmethod
    def interpolate(self, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor:
        """Values ``(n, c)``, or ``(m, n / m, c)``; `NotFiniteError` if coordinates or sums are not finite."""

    @abstractmethod
    def coords_gradient(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None
    ) -> Tensor:
        """Gradient ``(n, d)`` of the coordinates."""

    @abstractmethod
    def scatter(self, values: Tensor, coords: Tensor, owner: Tensor | None, like: Tensor, axes: Sequence[Axis]) -> Tensor:
        """The adjoint of `interpolate`: maps of the shape, dtype and layout of others from values."""

    def gradients(
        self, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis]
    ) -> tuple[Tensor, Tensor] | None:
        """Gradients of coordinates and of maps, if there is a way to get both that is quicker than one after the other."""
        return None


def owners(owner: Tensor | None, coords: Tensor, maps: Tensor) -> Tensor:
    """The map of each point, also of points that belong to maps evenly and in order."""
    if owner is not None:
        return owner.long()
    return torch.arange(len(maps), device=coords.device).repeat_interleave(len(coords) // len(maps))


class Interpolate(torch.autograd.Function):
    """Interpolation by a fast back-end."""

    @staticmethod
    def forward(ctx: Any, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], backend: Backend) -> Tensor:
        table = backend.prepare(len(coords), maps, axes)
        ctx.save_for_backward(coords, owner, maps)
        ctx.axes, ctx.backend = axes, backend
        ctx.table = table if ctx.needs_input_grad[0] else None
        return _own(backend.interpolate(coords, owner, maps, axes, table))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        coords, owner, maps = ctx.saved_tensors
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[2])
        if torch.is_grad_enabled() or is_transformed(grad):
            left, right = _by_definition(_interpolate, grad, (coords, maps), needs, owners(owner, coords, maps), ctx.axes)
        else:
            left, right = _first_order(ctx, grad, coords, owner, maps, needs)
        return left, None, right, None, None


def _first_order(
    ctx: Any, grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    backend: Backend = ctx.backend
    both = backend.gradients(grad, coords, owner, maps, ctx.axes) if all(needs) else None
    if both:
        return both
    left = right = None
    if needs[0]:
        if ctx.table is None:
            ctx.table = backend.prepare(len(coords), maps, ctx.axes)
        left = backend.coords_gradient(grad, coords, owner, maps, ctx.axes, ctx.table)
        # The gradient of the map takes as much memory. A second pass through the same graph makes the table again.
        ctx.table = None
    if needs[1]:
        right = backend.scatter(grad, coords, owner, maps, ctx.axes)
    return left, right


class Scatter(torch.autograd.Function):
    """Scattering to maps ``(m, c, *spatial)`` like others by a fast back-end; its derivatives are interpolations."""

    @staticmethod
    def forward(
        ctx: Any, coords: Tensor, owner: Tensor | None, values: Tensor, like: Tensor, axes: Sequence[Axis], backend: Backend
    ) -> Tensor:
        ctx.save_for_backward(coords, owner, values)
        ctx.axes, ctx.backend = axes, backend
        return _own(backend.scatter(values, coords, owner, like, axes))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None, None]:
        coords, owner, values = ctx.saved_tensors
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[2])
        found = None if torch.is_grad_enabled() or is_transformed(grad) else _gather(ctx, grad, coords, owner, values, needs)
        if found is None:
            found = _by_definition(_scatter, grad, (coords, values), needs, owners(owner, coords, grad), ctx.axes)
        left, right = found
        return left, None, right, None, None, None


def _gather(
    ctx: Any, grad: Tensor, coords: Tensor, owner: Tensor | None, values: Tensor, needs: Sequence[bool]
) -> list[Tensor | None] | None:
    """Derivatives of a scatter in the first order; None where numbers are not finite."""
    backend: Backend = ctx.backend
    table = backend.prepare(len(coords), grad, ctx.axes)
    try:
        by_values = backend.interpolate(coords, owner, grad, ctx.axes, table).to(values.dtype)
    except NotFiniteError:
        return None
    by_coords = backend.coords_gradient(values, coords, owner, grad, ctx.axes, table) if needs[0] else None
    return [by_coords, by_values if needs[1] else None]


def _interpolate(coords: Tensor, maps: Tensor, owner: Tensor, axes: Sequence[Axis], grad: Tensor) -> Tensor:
    return reference.interpolate(coords, maps, (owner,), axes).reshape(grad.shape)


def _scatter(coords: Tensor, values: Tensor, owner: Tensor, axes: Sequence[Axis], grad: Tensor) -> Tensor:
    return reference.scatter(coords, values, (owner,), grad.shape[:1], axes)


def _by_definition(
    function: Callable[..., Tensor],
    grad: Tensor,
    inputs: tuple[Tensor, Tensor],
    needs: Sequence[bool],
    owner: Tensor,
    axes: Sequence[Axis],
) -> list[Tensor | None]:
    """Gradients that can be differentiated again."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        values = function(*inputs, owner, axes, grad)
        needed = [tensor for tensor, need in zip(inputs, needs, strict=True) if need]
        found = iter(torch.autograd.grad(values, needed, grad, create_graph=create_graph, materialize_grads=True))
    return [next(found) if need else None for need in needs]
