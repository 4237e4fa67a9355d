"""Make the coordinates of every pixel of a map."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .._checks import check_flag, check_map, check_memory, check_single_map, check_size
from .._nobatch import with_nobatch
from ..layout import tensor_to_size
from .arguments import batch_shape, coords_dtype, dtype_like, read_device
from .convert import arithmetic_dtype

__all__ = ["full", "full_like"]


def _full(
    function: str,
    shape: tuple[int, ...],
    size: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str | None,
    align_corners: bool,
) -> Tensor:
    sides = check_size(function, size)
    check_flag(function, "align_corners", align_corners)
    device = read_device(function, device)
    check_memory(function, "size", prod((*shape, *sides, len(sides))), dtype, device, sides)
    # 2 i - (side - 1) for every pixel i, over the extent: `from_position` of them all, where an aligned side of one pixel has the centre 0.
    axes = [
        torch.arange(1 - side, side, 2, dtype=arithmetic_dtype(dtype), device=device).div_(max(1, side - align_corners)).to(dtype)
        for side in sides
    ]
    # Rows are written as one run of numbers, (x, 0, ...) of each pixel behind the other; every further axis, alone in its place of a
    # pixel, is added to all rows so far at once: exact, and the whole map is gone over only once, in the order of memory.
    places = torch.eye(len(sides), dtype=dtype, device=device)
    grid = (axes[0].unsqueeze(-1) * places[0]).flatten()
    for axis, values in enumerate(axes[1:], start=1):
        grid = torch.addcmul(grid, values.reshape(-1, *[1] * axis), places[axis].expand(sides[0], -1).flatten())
    return grid.reshape(*sides[::-1], len(sides)).expand(*shape, *sides[::-1], -1).contiguous()


def _full_nobatch(
    size: Sequence[int],
    device: torch.device | str | None = None,
    align_corners: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`full` without a batch: ``(h, w, 2)``, ``(d, h, w, 3)``, ``(w, 1)``, ..."""
    function = "ts.coord.full.nobatch"
    return _full(function, (), size, coords_dtype(function, dtype), device, align_corners)


@with_nobatch(_full_nobatch)
def full(
    batch: int,
    size: Sequence[int],
    device: torch.device | str | None = None,
    align_corners: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Make the coordinates of every pixel centre, in the layout of the map.

    ``full.nobatch(size, ...)`` and ``batch=0`` leave the batch dimension out.

    Parameters
    ----------
    batch : int
        Number of maps; 0 for coordinates without a batch dimension.
    size : sequence of int
        ``(w, h, ...)``.
    device : torch.device or str, optional
        Where the result is made; the default device if not given.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    dtype : torch.dtype, optional
        Floating-point; the default dtype if not given.

    Returns
    -------
    Tensor
        Normalized coordinates, contiguous: ``(batch, w, 1)``, ``(batch, h, w, 2)``, ``(batch, d, h, w, 3)``, ...

    Raises
    ------
    ValueError, TypeError
        If a side is not a positive int, ``batch`` is negative, or ``dtype`` is not floating-point.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.coord.full(1, (640, 480)).shape
    torch.Size([1, 480, 640, 2])
    >>> ts.coord.full.nobatch((3,))
    tensor([[-0.6667],
            [ 0.0000],
            [ 0.6667]])
    """
    function = "ts.coord.full"
    leading, dtype = batch_shape(function, batch), coords_dtype(function, dtype)
    return _full(function, leading, size, dtype, device, align_corners)


def _full_like_nobatch(tensor: Tensor, align_corners: bool = False) -> Tensor:
    """`full_like` for a map ``(c, *spatial)``: ``(h, w, 2)``, ``(d, h, w, 3)``, ``(w, 1)``, ..."""
    function = "ts.coord.full_like.nobatch"
    check_single_map(function, tensor)
    return _full(function, (), tensor_to_size.nobatch(tensor), dtype_like(tensor), tensor.device, align_corners)


@with_nobatch(_full_like_nobatch)
def full_like(tensor: Tensor, align_corners: bool = False) -> Tensor:
    """Make the coordinates of every pixel centre of a map, to query all of it.

    ``full_like.nobatch`` takes a map ``(c, *spatial)`` and gives ``(*spatial, d)``.

    Parameters
    ----------
    tensor : Tensor
        The map ``(b, c, *spatial)``, any dtype.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Returns
    -------
    Tensor
        Normalized coordinates ``(b, *spatial, d)``, contiguous, on the map's device; float64 for double maps, else float32.

    Raises
    ------
    ValueError, TypeError
        If ``tensor`` is not a map, or has no pixels.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.full_like(torch.zeros(8, 3, 480, 640)).shape
    torch.Size([8, 480, 640, 2])
    """
    function = "ts.coord.full_like"
    check_map(function, "tensor", tensor)
    return _full(function, (tensor.shape[0],), tensor_to_size(tensor), dtype_like(tensor), tensor.device, align_corners)
