"""Convert between normalized coordinates, pixel positions and the unit square."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .._checks import check_count, check_flag, check_floating, check_size, check_tensor, is_int, message

__all__ = ["from_unit", "inside", "normalize", "to_unit", "unnormalize"]


def _sides(function: str, coord: Tensor, size: int | Sequence[int]) -> tuple[int, ...]:
    """One side per coordinate; an int stands for every axis and for coords of any shape."""
    if is_int(size):
        return (check_count(function, "size", size),)
    sides = check_size(function, size)
    if coord.ndim == 0 or coord.shape[-1] != len(sides):
        wanted = f"as long as the last dimension of `coord`, which has shape {tuple(coord.shape)}"
        raise ValueError(message(function, "size", wanted, sides, "Give one side per coordinate, (w, h, ...), or one int for all of them."))
    return sides


def _along_axes(convert: Callable[[Tensor, int], Tensor], coord: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Convert each axis with its own side, or all at once where one side stands for them."""
    if len(sides) == 1:
        return convert(coord, sides[0])
    return torch.stack([convert(axis, side) for axis, side in zip(coord.unbind(-1), sides, strict=True)], dim=-1)


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which positions are computed: never below float32, since half cannot tell pixels apart."""
    return torch.promote_types(dtype, torch.float32)


def to_position(coord: Tensor, side: int, align_corners: bool) -> Tensor:
    """Pixel positions of normalized coords of a floating dtype along an axis; the centre of the first pixel is 0.

    ``x * n / 2 + (n - 1) / 2`` (with ``n - 1`` in the place of the first ``n`` for ``align_corners=True``)
    rounds only twice, where the usual ``((x + 1) * n - 1) / 2`` loses the low bits of ``x`` first.
    """
    if align_corners and side == 1:
        # A map without extent: every place is its only pixel, the infinitely far one too.
        return 0 * coord.clamp(-1, 1)
    return coord * ((side - align_corners) / 2) + (side - 1) / 2


def from_position(position: Tensor, side: int, align_corners: bool) -> Tensor:
    """Normalized coords of pixel positions of a floating dtype along an axis: the inverse of `to_position`."""
    extent = side - align_corners
    # One pixel with its corners aligned has no extent: every position is the centre of the map.
    return (2 * position - (side - 1)) / extent if extent else 0 * position


def _last_pixel(side: int, dtype: torch.dtype) -> float:
    """The largest number of a dtype that is not beyond the last pixel's centre: half precision would round that up."""
    last = _rounded(side - 1, dtype)
    return last if last <= side - 1 else _rounded(last * (1 - torch.finfo(dtype).eps / 2), dtype)


def _rounded(number: float, dtype: torch.dtype) -> float:
    """A number as a dtype holds it."""
    return float(torch.tensor(number, dtype=torch.float64, device="cpu").to(dtype))


def _arithmetic(function: str, coord: Tensor) -> tuple[Tensor, torch.dtype]:
    """The tensor in a dtype fit for arithmetic, and the dtype that the result gets."""
    check_tensor(function, "coord", coord)
    if coord.is_complex() or coord.dtype == torch.bool:
        raise TypeError(message(function, "coord", "a floating-point or integer tensor", coord.dtype, "Convert it with coord.float()."))
    if not coord.is_floating_point():
        return coord.double(), torch.get_default_dtype()
    return coord.to(arithmetic_dtype(coord.dtype)), coord.dtype


def normalize(coord: Tensor, size: int | Sequence[int], align_corners: bool = False) -> Tensor:
    """Convert pixel positions to normalized coordinates.

    Parameters
    ----------
    coord : Tensor
        Pixel positions ``(..., d)`` in the order ``(x, y, ...)``, 0 at the centre of the first pixel; floating-point or integer.
        With an int for ``size``, any shape.
    size : int or sequence of int
        ``(w, h, ...)``, or one side for all axes.
    align_corners : bool, default: False
        ``False``: -1 and 1 are the outer edges of the map. ``True``: they are the centres of its first and last pixels;
        a side of one pixel then maps to 0.

    Returns
    -------
    Tensor
        Shape of ``coord``; its dtype, or the default floating dtype for integers. Computed in float32 at least, integers in float64.

    Raises
    ------
    ValueError
        If ``size`` is not positive or does not have one side per coordinate.
    TypeError
        If ``coord`` is not a real tensor or ``size`` holds something else than ints.

    See Also
    --------
    unnormalize : the inverse, within 2 ulp of the side.

    Notes
    -----
    The first pixel of ``n`` has its centre at ``-1 + 1/n``: ``(2 i + 1) / n - 1``, and ``2 i / (n - 1) - 1`` with
    ``align_corners=True``, as in ``torch.nn.functional.grid_sample``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.normalize(torch.tensor([[0, 0], [639, 479]]), (640, 480))
    tensor([[-0.9984, -0.9979],
            [ 0.9984,  0.9979]])
    """
    function = "ts.coord.normalize"
    position, dtype = _arithmetic(function, coord)
    check_flag(function, "align_corners", align_corners)
    sides = _sides(function, position, size)
    return _along_axes(lambda axis, side: from_position(axis, side, align_corners), position, sides).to(dtype)


def unnormalize(coord: Tensor, size: int | Sequence[int], align_corners: bool = False, clip: bool = False) -> Tensor:
    """Convert normalized coordinates to pixel positions.

    Parameters
    ----------
    coord : Tensor
        Normalized coordinates ``(..., d)`` in the order ``(x, y, ...)``; floating-point or integer. With an int for ``size``, any shape.
    size : int or sequence of int
        ``(w, h, ...)``, or one side for all axes.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    clip : bool, default: False
        Move positions beyond the first and the last pixel centre onto it, so that rounding always gives a pixel of the map.

    Returns
    -------
    Tensor
        Shape of ``coord``; its dtype, or the default floating dtype for integers. 0 is the centre of the first pixel,
        ``n - 1`` that of the last. Computed in float32 at least, integers in float64.

    Raises
    ------
    ValueError
        If ``size`` is not positive or does not have one side per coordinate.
    TypeError
        If ``coord`` is not a real tensor or ``size`` holds something else than ints.

    See Also
    --------
    normalize : the inverse, within 2 ulp of the side.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.unnormalize(torch.tensor([-1.0, 0.0, 1.0]), 480)
    tensor([ -0.5000, 239.5000, 479.5000])
    >>> ts.coord.unnormalize(torch.tensor([-1.0, 0.0, 1.0]), 480, clip=True)
    tensor([  0.0000, 239.5000, 479.0000])
    """
    function = "ts.coord.unnormalize"
    coord, dtype = _arithmetic(function, coord)
    check_flag(function, "align_corners", align_corners)
    check_flag(function, "clip", clip)
    sides = _sides(function, coord, size)

    def convert(axis: Tensor, side: int) -> Tensor:
        position = to_position(axis, side, align_corners)
        return position.clamp(0, _last_pixel(side, dtype)) if clip else position

    return _along_axes(convert, coord, sides).to(dtype)


def check_coords(function: str, coords: Tensor, argument: str = "coords") -> None:
    """Check normalized coords of a floating dtype, ``(..., d)``."""
    check_floating(function, argument, coords, "Integer pixel positions become coordinates with ts.coord.normalize(coord, size).")
    if coords.ndim == 0:
        raise ValueError(message(function, argument, "of shape (..., d)", "a tensor without dimensions", f"Use {argument}.reshape(1)."))


def inside(coords: Tensor) -> Tensor:
    """Mark the points that lie in the closed interval ``[-1, 1]`` along every axis.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(..., d)``, floating-point.

    Returns
    -------
    Tensor
        Bool, shape ``(...)``. NaN is not inside.

    Raises
    ------
    TypeError
        If ``coords`` is not a floating-point tensor.
    ValueError
        If ``coords`` has no dimension.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.inside(torch.tensor([[0.0, 1.0], [0.0, 1.1]]))
    tensor([ True, False])
    """
    check_coords("ts.coord.inside", coords)
    return (coords.abs() <= 1).all(-1)


def from_unit(coords: Tensor) -> Tensor:
    """Convert coordinates in ``[0, 1]``, as detectron2 and mmcv use them, to normalized ones in ``[-1, 1]``.

    Parameters
    ----------
    coords : Tensor
        ``(..., d)``, floating-point; 0 and 1 are the outer edges of the map.

    Returns
    -------
    Tensor
        ``2 * coords - 1``, shape and dtype of ``coords``.

    Raises
    ------
    TypeError
        If ``coords`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.from_unit(torch.tensor([0.0, 0.25, 1.0]))
    tensor([-1.0000, -0.5000,  1.0000])
    """
    check_coords("ts.coord.from_unit", coords)
    return 2 * coords - 1


def to_unit(coords: Tensor) -> Tensor:
    """Convert normalized coordinates in ``[-1, 1]`` to ``[0, 1]``, the inverse of `from_unit`.

    Parameters
    ----------
    coords : Tensor
        ``(..., d)``, floating-point; -1 and 1 are the outer edges of the map.

    Returns
    -------
    Tensor
        ``(coords + 1) / 2``, shape and dtype of ``coords``.

    Raises
    ------
    TypeError
        If ``coords`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.to_unit(torch.tensor([-1.0, -0.5, 1.0]))
    tensor([0.0000, 0.2500, 1.0000])
    """
    check_coords("ts.coord.to_unit", coords)
    return (coords + 1) / 2
