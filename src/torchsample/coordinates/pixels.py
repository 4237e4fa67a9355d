"""From the number of a pixel in its map to its indices along the axes, and to its centre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .convert import arithmetic_dtype, from_position


def axis_indices(flat: Tensor, size: tuple[int, ...]) -> list[Tensor]:
    """Indices ``(x, y, ...)`` of the pixels that indices into the flattened spatial dimensions name."""
    axes = []
    for side in size[:-1]:
        beyond = flat // side
        axes.append(torch.sub(flat, beyond, alpha=side))
        flat = beyond
    return [*axes, flat]


def pixel_centres(axes: Sequence[Tensor], size: tuple[int, ...], dtype: torch.dtype, align_corners: bool) -> Tensor:
    """Normalized coordinates ``(..., d)`` of the centres of pixels that are given by their indices ``(x, y, ...)``."""
    wide = arithmetic_dtype(dtype)
    centres = [from_position(axis.to(wide), side, align_corners).to(dtype) for axis, side in zip(axes, size, strict=True)]
    return torch.stack(centres, dim=-1)
