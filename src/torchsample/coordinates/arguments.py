"""What the makers of coordinates have in common: how they read batch, dtype, device and map."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_count, describe, message


def batch_shape(function: str, batch: int) -> tuple[int, ...]:
    batch = check_count(function, "batch", batch, minimum=0)
    return (batch,) if batch else ()


def coords_dtype(function: str, dtype: torch.dtype | None) -> torch.dtype:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize < 2:
        wanted = "a floating-point torch.dtype of 16 bits or more"
        raise TypeError(message(function, "dtype", wanted, describe(dtype), "Coordinates are fractions of the map."))
    return dtype


def read_device(function: str, device: torch.device | str | None) -> torch.device | None:
    """A device of PyTorch, or None for the default one."""
    if device is None:
        return None
    try:
        found = torch.device(device)
        if found.type not in ("cpu", "meta") and not torch.compiler.is_compiling():
            torch.empty(0, device=found)
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
        wanted = "a device that PyTorch has here, such as 'cpu', or 'cuda:0' with a GPU and a build for it"
        raise TypeError(message(function, "device", wanted, describe(device), "Check the spelling, and the build.")) from error
    return found


def choose_device(function: str, device: torch.device | str | None, generator: torch.Generator | None) -> torch.device | None:
    """The device of a random draw: the one asked for, else the generator's."""
    device = read_device(function, device)
    if generator is None:
        return device
    if not isinstance(generator, torch.Generator):
        raise TypeError(message(function, "generator", "a torch.Generator", describe(generator), "Make it with torch.Generator()."))
    if device is not None and device.type != generator.device.type:
        remedy = f"Make it with torch.Generator(device={str(device)!r})."
        raise ValueError(message(function, "generator", f"on the device {device}", f"one on {generator.device}", remedy))
    return generator.device if device is None else device


def dtype_like(tensor: Tensor) -> torch.dtype:
    """The dtype of coords for a map: float64 for double maps, float32 for all the others."""
    return torch.float64 if tensor.dtype in (torch.float64, torch.complex128) else torch.float32
