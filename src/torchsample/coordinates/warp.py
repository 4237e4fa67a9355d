"""Coordinates that warp a map: displacements, affine matrices, and indices in the order of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_flag, check_map, check_size, check_tensor, message
from ..layout import tensor_to_size
from .arguments import dtype_like
from .full import full

__all__ = ["affine", "from_displacement", "from_row_col"]


def _check_floating(function: str, argument: str, tensor: Tensor) -> None:
    check_tensor(function, argument, tensor)
    if not tensor.is_floating_point():
        raise TypeError(message(function, argument, "a floating-point tensor", tensor.dtype, f"Convert it with {argument}.float()."))


def affine(theta: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Make the coordinates at which an affine transformation reads a map.

    Parameters
    ----------
    theta : Tensor
        Matrices ``(b, d, d + 1)``, floating-point, that take ``(x, y, ..., 1)`` of a pixel of the result to normalized coordinates of the
        map that is read: rotation and scale in the first ``d`` columns, translation in the last.
    size : sequence of int
        ``(w, h, ...)`` of the result.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Returns
    -------
    Tensor
        Normalized coordinates ``(b, *spatial, d)``, dtype of ``theta``, computed in float32 at least.

    Raises
    ------
    ValueError
        If ``theta`` does not fit ``size``, or a side is not positive.
    TypeError
        If ``theta`` is not a floating-point tensor.

    Notes
    -----
    What ``torch.nn.functional.affine_grid`` gives in 2-D and 3-D, at any rank.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> quarter_turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> ts.sample(ts.coord.affine(quarter_turn, (2, 2)), image, feat_last=False)
    tensor([[[[2., 4.],
              [1., 3.]]]])
    """
    function = "ts.coord.affine"
    _check_floating(function, "theta", theta)
    check_flag(function, "align_corners", align_corners)
    sides = check_size(function, size)
    rank = len(sides)
    if theta.ndim != 3 or theta.shape[1:] != (rank, rank + 1):
        wanted = f"of shape (b, {rank}, {rank + 1}) for the size {sides}"
        remedy = "Give one matrix per map, with the translation in its last column."
        raise ValueError(message(function, "theta", wanted, f"shape {tuple(theta.shape)}", remedy))
    matrix = theta.to(torch.promote_types(theta.dtype, torch.float32))
    grid = full(0, sides, theta.device, align_corners, matrix.dtype)
    shape = (len(matrix), *[1] * rank, rank)
    # Sums of products rather than a matrix product, which autocast would round to half precision.
    coords = matrix[..., -1].reshape(shape)
    for axis in range(rank):
        coords = coords + grid[..., axis, None] * matrix[..., axis].reshape(shape)
    return coords.to(theta.dtype)


def from_displacement(displacement: Tensor, align_corners: bool = False) -> Tensor:
    """Convert a field of displacements in pixels, such as optical flow, to the coordinates that it points to.

    Parameters
    ----------
    displacement : Tensor
        ``(b, d, *spatial)``, floating-point: how far each pixel looks along ``(x, y, ...)``, in pixels.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Returns
    -------
    Tensor
        Normalized coordinates ``(b, *spatial, d)`` of each pixel's place plus its displacement; float64 for double input, else float32.

    Raises
    ------
    ValueError
        If there is not one channel per spatial dimension.
    TypeError
        If ``displacement`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> image = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> one_to_the_right = torch.ones(1, 1, 3)
    >>> ts.sample(ts.coord.from_displacement(one_to_the_right), image, feat_last=False)
    tensor([[[2., 3., 3.]]])
    """
    function = "ts.coord.from_displacement"
    _check_floating(function, "displacement", displacement)
    check_map(function, "displacement", displacement)
    check_flag(function, "align_corners", align_corners)
    size = tensor_to_size(displacement)
    if displacement.shape[1] != len(size):
        wanted = f"a map (b, {len(size)}, *spatial), one channel per axis"
        remedy = "Fields with the displacement last go through ts.feat_first."
        raise ValueError(message(function, "displacement", wanted, f"shape {tuple(displacement.shape)}", remedy))
    dtype = dtype_like(displacement)
    grid = full(0, size, displacement.device, align_corners, dtype)
    # A pixel is 2 / n wide; one pixel with its corners aligned has nowhere to go.
    pixel = torch.tensor([2 / max(side - align_corners, 1) * (side > align_corners) for side in size], dtype=dtype, device=grid.device)
    return grid + displacement.to(dtype).movedim(1, -1) * pixel


def from_row_col(coords: Tensor) -> Tensor:
    """Convert the order of array indices ``(row, col)``, ``(plane, row, col)``, ..., to ``(x, y)``, ``(x, y, z)``, ...

    The conversion is its own inverse, and does not care about units.

    Parameters
    ----------
    coords : Tensor
        ``(..., d)``, any dtype.

    Returns
    -------
    Tensor
        ``(..., d)`` with the last dimension reversed.

    Raises
    ------
    ValueError
        If ``coords`` has no dimension.
    TypeError
        If ``coords`` is not a tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> bright = (torch.eye(3)[:, [2, 0, 1]] > 0).nonzero()
    >>> ts.coord.normalize(ts.coord.from_row_col(bright), (3, 3))
    tensor([[ 0.0000, -0.6667],
            [ 0.6667,  0.0000],
            [-0.6667,  0.6667]])
    """
    check_tensor("ts.coord.from_row_col", "coords", coords)
    if coords.ndim == 0:
        remedy = "Use coords.reshape(1)."
        raise ValueError(message("ts.coord.from_row_col", "coords", "of shape (..., d)", "a tensor without dimensions", remedy))
    return coords.flip(-1)
