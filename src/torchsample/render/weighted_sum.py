"""The sum that every rendering ends with, ``sum(weights[..., None] * values, dim=-2)``, and its fast form for CPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._eager import why_not_eager

CPU, LONGEST = "cpu", 512


def _multiply(weights: Tensor, values: Tensor) -> Tensor:
    return (weights.unsqueeze(-2) @ values).squeeze(-2)


class _Product(torch.autograd.Function):
    """The sum as a product of matrices, and derivatives whose innermost dimension is samples.

    PyTorch's broadcasting over few channels runs a loop of three numbers at a time on a CPU: several times the work.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type=CPU)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, weights: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(weights, values)
        return _multiply(weights, values)

    @staticmethod
    @torch.amp.custom_bwd(device_type=CPU)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weights, values = ctx.saved_tensors
        wants_weights, wants_values = ctx.needs_input_grad
        # A gradient that is one number, expanded, would be multiplied ray by ray.
        by_weights = (grad.contiguous().unsqueeze(-2) @ values.mT).squeeze(-2) if wants_weights else None
        by_values = (grad.unsqueeze(-1) * weights.unsqueeze(-2)).mT if wants_values else None
        return by_weights, by_values


def _gains(weights: Tensor, values: Tensor) -> bool:
    """Whether a product of matrices is faster, and rounded like a sum of products: not where it may be done in fewer bits."""
    if not (weights.is_cpu and weights.dtype == values.dtype and weights.dtype in (torch.float32, torch.float64)):
        return False
    # It adds one by one, and so loses a digit more with every ten times as many samples.
    if values.shape[-1] == 1 or weights.shape[-1] > LONGEST:
        return False
    return torch.get_float32_matmul_precision() == "highest" and not torch.is_autocast_enabled(CPU)


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Sum over samples: ``(*rays, n)`` and ``(*rays, n, c)`` to ``(*rays, c)``."""
    if why_not_eager(weights, values) is not None or not _gains(weights, values):
        return (weights.unsqueeze(-1) * values).sum(-2)
    if not (torch.is_grad_enabled() and (weights.requires_grad or values.requires_grad)):
        return _multiply(weights, values)
    product: Tensor = _Product.apply(weights, values)  # type: ignore[no-untyped-call]
    return product
