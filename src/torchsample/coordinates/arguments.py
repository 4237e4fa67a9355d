"""What the makers of coordinates have in common: how they read batch, dtype, device and map."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_count, check_tensor, message


def batch_shape(function: str, batch: int) -> tuple[int, ...]:
    check_count(function, "batch", batch, minimum=0)
    return (batch,) if batch else ()


def coords_dtype(function: str, dtype: torch.dtype | None) -> torch.dtype:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize < 2:
        raise TypeError(message(function, "dtype", "a floating-point torch.dtype", dtype, "Coordinates are fractions of the map."))
    return dtype


def choose_device(function: str, device: torch.device | str | None, generator: torch.Generator | None) -> torch.device | str | None:
    """The device of a random draw: the one asked for, else the generator's."""
    if generator is None:
        return device
    if not isinstance(generator, torch.Generator):
        raise TypeError(message(function, "generator", "a torch.Generator", repr(generator), "Make it with torch.Generator()."))
    if device is not None and torch.device(device).type != generator.device.type:
        remedy = f"Make it with torch.Generator(device={str(device)!r})."
        raise ValueError(message(function, "generator", f"on the device {device}", f"one on {generator.device}", remedy))
    return generator.device if device is None else device


def dtype_like(tensor: Tensor) -> torch.dtype:
    """The dtype of coords for a map: float64 for double maps, float32 for all the others."""
    return torch.float64 if tensor.dtype in (torch.float64, torch.complex128) else torch.float32


def check_single_map(function: str, tensor: Tensor) -> None:
    check_tensor(function, "tensor", tensor)
    if tensor.ndim < 2:
        remedy = "Give it a channel dimension first: tensor.unsqueeze(0)."
        raise ValueError(message(function, "tensor", "a map (c, *spatial)", f"shape {tuple(tensor.shape)}", remedy))
