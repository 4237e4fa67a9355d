"""How the functions on rays read their arguments: types, and what belongs to which ray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from .._checks import check_device, check_floating, check_number, check_tensor, describe, message
from .._eager import why_not_eager
from ..coordinates.convert import arithmetic_dtype


def check_width(function: str, argument: str, tensor: Tensor, width: int, names: str) -> None:
    """Check vectors ``(..., width)``."""
    check_floating(function, argument, tensor)
    if tensor.ndim == 0 or tensor.shape[-1] != width:
        wanted = f"of shape (..., {width})"
        raise ValueError(message(function, argument, wanted, f"shape {tuple(tensor.shape)}", f"Put {names} into the last dimension."))


def readable(*tensors: Tensor) -> bool:
    """Whether numbers may be looked at: they are there, and looking does not wait for a device."""
    return all(tensor.device.type == "cpu" for tensor in tensors) and why_not_eager(*tensors) is None


def common_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype that tensors promote to, float32 at least: half precision can tell neither pixels nor distances apart."""
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return arithmetic_dtype(dtype)


def first_wrong(values: Tensor, wrong: Tensor) -> str:
    """The first of some numbers that is wrong, and its index, for an error."""
    place = wrong.nonzero()[0].tolist()
    return f"{values[tuple(place)].item():.6g}" + (f" at {place}" if place else "")


def is_like(answer: object, like: Tensor) -> bool:
    """Whether a user's function gave floating-point numbers on the device of what it was given."""
    return isinstance(answer, Tensor) and answer.is_floating_point() and answer.dtype.itemsize > 1 and answer.device == like.device


def check_real(function: str, argument: str, tensor: Tensor) -> None:
    """Check a tensor of real numbers, whole ones as well."""
    check_tensor(function, argument, tensor)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        check_floating(function, argument, tensor)


def as_number(function: str, argument: str, value: Any, like: Tensor) -> Tensor:
    """A plain number as a tensor like another one, float32 at least."""
    check_number(function, argument, value, "a number or a tensor", "Pass a float, or one per batch as a tensor.")
    dtype = arithmetic_dtype(like.dtype)
    if torch.finfo(dtype).max < abs(value if isinstance(value, int) else float(value)) < math.inf:
        raise ValueError(message(function, argument, f"a number that {dtype} can hold", describe(value), "Pass tensors in float64."))
    # Filled rather than copied: a copy from the host would wait for the device.
    return like.new_full((), float(value), dtype=dtype)


def align(function: str, argument: str, tensor: Tensor, leading: Sequence[int], trailing: int, like: Tensor) -> Tensor:
    """Let the first dimensions of a tensor ``(*batch, *trailing)`` be the first ones of rays ``(*leading)``, and convert it."""
    if tensor.device != like.device:
        raise ValueError(
            message(function, argument, f"on {like.device}, as the rays are", tensor.device, "Move one of them with .to(device).")
        )
    n_batch = tensor.ndim - trailing
    fits = 0 <= n_batch <= len(leading)
    if not fits or any(1 not in (own, side) and own != side for own, side in zip(tensor.shape[:n_batch], leading, strict=False)):
        wanted = (
            f"(*batch, {', '.join(map(str, tensor.shape[max(n_batch, 0) :]))}) with a batch like the first dimensions of {tuple(leading)}"
        )
        remedy = "Batches start at the first dimension and are equal or 1: add dimensions of 1 with unsqueeze(0) to what has none."
        raise ValueError(message(function, argument, wanted, f"shape {tuple(tensor.shape)}", remedy))
    return tensor.to(like.dtype).reshape((*tensor.shape[:n_batch], *[1] * (len(leading) - n_batch), *tensor.shape[n_batch:]))


def as_scalars(function: str, argument: str, value: float | Tensor, leading: Sequence[int], like: Tensor) -> Tensor:
    """A number, or numbers ``(*batch)``, to be multiplied with ``(*leading)``."""
    if isinstance(value, Tensor):
        check_real(function, argument, value)
        return align(function, argument, value, leading, 0, like)
    return as_number(function, argument, value, like)


def _as_vector(function: str, argument: str, value: object, like: Tensor) -> Tensor:
    wanted = f"a number, {like.shape[-1]} numbers or a tensor (*batch, {like.shape[-1]})"
    if not isinstance(value, Sequence) or len(value) == 0 or not all(isinstance(component, Real) for component in value):
        raise TypeError(message(function, argument, wanted, describe(value), "Pass one number per axis, (x, y, ...)."))
    return torch.stack([as_number(function, argument, component, like) for component in value])


def as_vectors(function: str, argument: str, value: float | Sequence[float] | Tensor, leading: Sequence[int], like: Tensor) -> Tensor:
    """A vector for all rays, or vectors ``(*batch, d)``; a number stands for every component."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return as_number(function, argument, value, like).expand(like.shape[-1:])
    vectors = value if isinstance(value, Tensor) else _as_vector(function, argument, value, like)
    check_width(function, argument, vectors, like.shape[-1], "one number per axis")
    return align(function, argument, vectors, leading, 1, like)


def check_rays(function: str, origins: Tensor, directions: Tensor, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Check ``(*rays, d)`` twice, and return both in one dtype and shape."""
    check_floating(function, "origins", origins)
    check_width(function, "origins", origins, width or max(origins.shape[-1] if origins.ndim else 1, 1), "(x, y, z)")
    check_width(function, "directions", directions, origins.shape[-1], "(x, y, z)")
    try:
        shape = torch.broadcast_shapes(origins.shape, directions.shape)  # type: ignore[no-untyped-call]
    except RuntimeError:
        wanted = f"of a shape that broadcasts with directions {tuple(directions.shape)}"
        remedy = "Both are (*rays, 3)."
        raise ValueError(message(function, "origins", wanted, f"shape {tuple(origins.shape)}", remedy)) from None
    check_device(function, "directions", directions.device, "origins", origins.device)
    dtype = common_dtype(origins, directions)
    return origins.to(dtype).expand(shape), directions.to(dtype).expand(shape)
