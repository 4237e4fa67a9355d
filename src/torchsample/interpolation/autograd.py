"""The derivatives of fast back-ends: theirs in the first order, those of the definition beyond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from . import reference
from .reference import Axis


class Backend(Protocol):
    """What a fast back-end offers; arguments as in `fast_cpu`."""

    def prepare(self, n: int, maps: Tensor, axes: Sequence[Axis]) -> Tensor | None:
        """A copy of maps that sampling and derivatives share."""

    def interpolate(self, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], table: Tensor | None) -> Tensor: ...

    def gradients(
        self,
        grad: Tensor,
        coords: Tensor,
        owner: Tensor | None,
        maps: Tensor,
        axes: Sequence[Axis],
        table: Tensor | None,
        needs: Sequence[bool],
    ) -> tuple[Tensor | None, Tensor | None]: ...


def is_transformed(*tensors: Tensor) -> bool:
    """Whether a tensor is vectorized or belongs to a transform of `torch.func`, which only plain operations follow."""
    return any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)


class Interpolate(torch.autograd.Function):
    """Interpolation by a fast back-end."""

    @staticmethod
    def forward(ctx: Any, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], backend: Backend) -> Tensor:
        table = backend.prepare(len(coords), maps, axes)
        ctx.save_for_backward(coords, owner, maps)
        ctx.axes, ctx.backend = axes, backend
        ctx.table = table if ctx.needs_input_grad[0] else None
        return backend.interpolate(coords, owner, maps, axes, table)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        coords, owner, maps = ctx.saved_tensors
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[2])
        if torch.is_grad_enabled() or is_transformed(grad):
            left, right = _by_definition(grad, coords, owner, maps, ctx.axes, needs)
        else:
            left, right = ctx.backend.gradients(grad, coords, owner, maps, ctx.axes, ctx.table, needs)
        return left, None, right, None, None


def _by_definition(
    grad: Tensor, coords: Tensor, owner: Tensor | None, maps: Tensor, axes: Sequence[Axis], needs: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients that can be differentiated again."""
    owner = torch.zeros(len(coords), dtype=torch.int64, device=coords.device) if owner is None else owner
    with torch.enable_grad():
        values = reference.interpolate(coords, maps, (owner,), axes).reshape(grad.shape)
        inputs = [tensor for tensor, needed in zip((coords, maps), needs, strict=True) if needed]
        found = iter(torch.autograd.grad(values, inputs, grad, create_graph=True, materialize_grads=True))
    return [next(found) if needed else None for needed in needs]
