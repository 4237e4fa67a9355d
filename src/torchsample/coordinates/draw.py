"""Draw coordinates at random: anywhere on a map, or pixel centres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_count, check_flag, check_map, check_memory, check_single_map, check_size, message
from .._nobatch import with_nobatch
from ..layout import tensor_to_size
from .arguments import batch_shape, choose_device, coords_dtype, dtype_like
from .distinct import distinct
from .pixels import axis_indices, pixel_centres
from .uniform import pixels

__all__ = ["rand", "rand_like", "randint", "randint_like"]


def _rand(
    function: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device | str | None,
    generator: torch.Generator | None,
) -> Tensor:
    device = choose_device(function, device, generator)
    check_memory(function, "n_samples", math.prod(shape), dtype, device, shape[-2])
    return torch.rand(shape, dtype=dtype, device=device, generator=generator).mul_(2).sub_(1)


def _rand_nobatch(
    n_samples: int,
    dims: int = 2,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`rand` without a batch: coordinates ``(n_samples, dims)``."""
    function = "ts.coord.rand.nobatch"
    shape = check_count(function, "n_samples", n_samples), check_count(function, "dims", dims)
    return _rand(function, shape, coords_dtype(function, dtype), device, generator)


@with_nobatch(_rand_nobatch)
def rand(
    batch: int,
    n_samples: int,
    dims: int = 2,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw coordinates uniformly from the whole map.

    ``rand.nobatch(n_samples, ...)`` and ``batch=0`` leave the batch dimension out.

    Parameters
    ----------
    batch : int
        Number of maps; 0 for coordinates without a batch dimension.
    n_samples : int
        Number of points per map.
    dims : int, default: 2
        Number of coordinates of a point.
    dtype : torch.dtype, optional
        Floating-point; the default dtype if not given.
    device : torch.device or str, optional
        Where the result is made; the default device if not given.
    generator : torch.Generator, optional
        Source of the random numbers.

    Returns
    -------
    Tensor
        Normalized coordinates ``(batch, n_samples, dims)``, uniform in ``[-1, 1)``; ``(n_samples, dims)`` for ``batch=0``.

    Raises
    ------
    ValueError, TypeError
        If a count is not a positive int (``batch``: negative), or ``dtype`` is not floating-point.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.coord.rand(8, 4096).shape
    torch.Size([8, 4096, 2])
    """
    function = "ts.coord.rand"
    leading, dtype = batch_shape(function, batch), coords_dtype(function, dtype)
    shape = check_count(function, "n_samples", n_samples), check_count(function, "dims", dims)
    return _rand(function, (*leading, *shape), dtype, device, generator)


def _rand_like_nobatch(n_samples: int, tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """`rand_like` for a map ``(c, *spatial)``: coordinates ``(n_samples, d)``."""
    function = "ts.coord.rand_like.nobatch"
    n_samples = check_count(function, "n_samples", n_samples)
    check_single_map(function, tensor)
    return _rand(function, (n_samples, tensor.ndim - 1), dtype_like(tensor), tensor.device, generator)


@with_nobatch(_rand_like_nobatch)
def rand_like(n_samples: int, tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw coordinates uniformly, with the batch size, rank and device of a map.

    ``rand_like.nobatch`` takes a map ``(c, *spatial)`` and gives ``(n_samples, d)``.

    Parameters
    ----------
    n_samples : int
        Number of points per map.
    tensor : Tensor
        The map ``(b, c, *spatial)``, any dtype.
    generator : torch.Generator, optional
        Source of the random numbers.

    Returns
    -------
    Tensor
        Normalized coordinates ``(b, n_samples, d)``, uniform in ``[-1, 1)``; float64 for double maps, else float32.

    Raises
    ------
    ValueError, TypeError
        If ``n_samples`` is not a positive int, or ``tensor`` not a map.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.rand_like(4096, torch.zeros(8, 3, 480, 640)).shape
    torch.Size([8, 4096, 2])
    """
    function = "ts.coord.rand_like"
    n_samples = check_count(function, "n_samples", n_samples)
    check_map(function, "tensor", tensor)
    return _rand(function, (tensor.shape[0], n_samples, tensor.ndim - 2), dtype_like(tensor), tensor.device, generator)


def _randint(
    function: str,
    shape: tuple[int, ...],
    n_samples: int,
    size: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str | None,
    align_corners: bool,
    replace: bool,
    generator: torch.Generator | None,
) -> Tensor:
    n_samples = check_count(function, "n_samples", n_samples)
    check_flag(function, "align_corners", align_corners)
    check_flag(function, "replace", replace)
    sides = check_size(function, size)
    population = math.prod(sides)
    if population > 2**63 - 1:
        remedy = "Draw with ts.coord.rand instead."
        raise ValueError(message(function, "size", "of at most 2**63 - 1 pixels", sides, remedy))
    device = choose_device(function, device, generator)
    rows = math.prod(shape)
    check_memory(function, "n_samples", rows * n_samples * len(sides), torch.int64, device, n_samples)
    if replace:
        index = pixels((rows, n_samples), sides, device, generator)
    elif n_samples > population:
        remedy = "Ask for fewer, or pass replace=True."
        raise IndexError(message(function, "n_samples", f"at most the {population} pixels of a map {sides}", n_samples, remedy))
    else:
        index = distinct(rows, n_samples, sides, device, generator)
    return pixel_centres(axis_indices(index, sides), sides, dtype, align_corners).reshape(*shape, n_samples, len(sides))


def _randint_nobatch(
    n_samples: int,
    size: Sequence[int],
    device: torch.device | str | None = None,
    align_corners: bool = False,
    replace: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`randint` without a batch: pixel centers ``(n_samples, d)``."""
    function = "ts.coord.randint.nobatch"
    return _randint(function, (), n_samples, size, coords_dtype(function, dtype), device, align_corners, replace, generator)


@with_nobatch(_randint_nobatch)
def randint(
    batch: int,
    n_samples: int,
    size: Sequence[int],
    device: torch.device | str | None = None,
    align_corners: bool = False,
    replace: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw pixel centers uniformly.

    ``randint.nobatch(n_samples, size, ...)`` and ``batch=0`` leave the batch dimension out.

    Parameters
    ----------
    batch : int
        Number of maps; 0 for coordinates without a batch dimension.
    n_samples : int
        Number of points per map.
    size : sequence of int
        ``(w, h, ...)``.
    device : torch.device or str, optional
        Where the result is made; the default device if not given.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    replace : bool, default: False
        Whether a pixel may be drawn more than once per map.
    generator : torch.Generator, optional
        Source of the random numbers.
    dtype : torch.dtype, optional
        Floating-point; the default dtype if not given.

    Returns
    -------
    Tensor
        Normalized coordinates ``(batch, n_samples, d)``; ``(n_samples, d)`` for ``batch=0``. Every pixel is
        equally likely, to one part in ``2**31`` for sides up to ``2**31``.

    Raises
    ------
    IndexError
        If more points are wanted than there are pixels, without replacement.
    ValueError, TypeError
        If a count or side is not a positive int (``batch``: negative), or ``dtype`` is not floating-point.

    Notes
    -----
    Without replacement, time and memory grow with ``n_samples`` and not with the map: repeats among draws with
    replacement are dropped, and only where the map has fewer than ``4 * n_samples`` pixels all of them are shuffled.
    Distinct pixels are distinct coordinates as long as ``dtype`` tells them apart: float32 does up to sides of ``2**23``, float16
    up to ``2**10``, bfloat16 up to ``2**7``.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.coord.randint(1, 4096, (100_000, 100_000)).shape
    torch.Size([1, 4096, 2])
    """
    function = "ts.coord.randint"
    leading, dtype = batch_shape(function, batch), coords_dtype(function, dtype)
    return _randint(function, leading, n_samples, size, dtype, device, align_corners, replace, generator)


def _randint_like_nobatch(
    n_samples: int,
    tensor: Tensor,
    align_corners: bool = False,
    replace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`randint_like` for a map ``(c, *spatial)``: pixel centres ``(n_samples, d)``."""
    function = "ts.coord.randint_like.nobatch"
    check_single_map(function, tensor)
    size = tensor_to_size.nobatch(tensor)
    return _randint(function, (), n_samples, size, dtype_like(tensor), tensor.device, align_corners, replace, generator)


@with_nobatch(_randint_like_nobatch)
def randint_like(
    n_samples: int,
    tensor: Tensor,
    align_corners: bool = False,
    replace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw pixel centres uniformly, with the batch size, size and device of a map.

    ``randint_like.nobatch`` takes a map ``(c, *spatial)`` and gives ``(n_samples, d)``.

    Parameters
    ----------
    n_samples : int
        Number of points per map.
    tensor : Tensor
        The map ``(b, c, *spatial)``, any dtype.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    replace : bool, default: False
        Whether a pixel may be drawn more than once per map.
    generator : torch.Generator, optional
        Source of the random numbers.

    Returns
    -------
    Tensor
        Normalized coordinates ``(b, n_samples, d)``; float64 for double maps, else float32.

    Raises
    ------
    IndexError
        If more points are wanted than there are pixels, without replacement.
    ValueError, TypeError
        If ``n_samples`` is not a positive int, or ``tensor`` not a map.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.randint_like(4096, torch.zeros(8, 3, 480, 640)).shape
    torch.Size([8, 4096, 2])
    """
    function = "ts.coord.randint_like"
    check_map(function, "tensor", tensor)
    leading, size = (tensor.shape[0],), tensor_to_size(tensor)
    return _randint(function, leading, n_samples, size, dtype_like(tensor), tensor.device, align_corners, replace, generator)
