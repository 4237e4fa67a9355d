"""Coordinates that warp a map: displacements, affine matrices, and indices in the order of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .._checks import check_flag, check_floating, check_memory, check_size, check_tensor, message
from .._nobatch import with_nobatch
from ..layout import spatial_size
from .arguments import dtype_like
from .full import full

__all__ = ["affine", "from_displacement", "from_row_col"]


def _affine_nobatch(theta: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """`affine` without a batch: one matrix ``(d, d + 1)``, coordinates ``(*spatial, d)``."""
    function = "ts.coord.affine.nobatch"
    check_floating(function, "theta", theta)
    return _affine(function, theta.unsqueeze(0), size, align_corners).squeeze(0)


def _affine(function: str, theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    check_floating(function, "theta", theta)
    check_flag(function, "align_corners", align_corners)
    sides = check_size(function, size)
    rank = len(sides)
    if theta.ndim != 3 or theta.shape[1:] != (rank, rank + 1):
        batch = "" if function.endswith(".nobatch") else "b, "
        wanted = f"of shape ({batch}{rank}, {rank + 1}) for the size {sides}"
        got = f"shape {tuple(theta.shape) if batch else tuple(theta.shape[1:])}"
        remedy = "Give one matrix per map, with the translation in its last column."
        raise ValueError(message(function, "theta", wanted, got, remedy))
    matrix = theta.to(torch.promote_types(theta.dtype, torch.float32))
    check_memory(function, "size", prod((len(theta), *sides, rank)), matrix.dtype, matrix.device, sides)
    grid = full(0, sides, theta.device, align_corners, matrix.dtype)
    shape = (len(matrix), *[1] * rank, rank)
    # Sums of products rather than a matrix product, which autocast would round to half precision.
    coords = matrix[..., -1].reshape(shape)
    for axis in range(rank):
        coords = coords + grid[..., axis, None] * matrix[..., axis].reshape(shape)
    return coords.to(theta.dtype)


@with_nobatch(_affine_nobatch)
def affine(theta: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Make the coordinates at which an affine transformation reads a map.

    ``affine.nobatch`` takes one matrix ``(d, d + 1)`` and gives ``(*spatial, d)``.

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
    return _affine("ts.coord.affine", theta, size, align_corners)


def _displacement_rank(function: str, displacement: Tensor, n_batch: int) -> int:
    """How many axes a field has: the most for which it has a channel each, behind so many batch dimensions at least."""
    check_floating(function, "displacement", displacement)
    most = displacement.ndim - 1 - n_batch
    ranks = range(most, 0, -1) if n_batch else (most,)
    for rank in ranks:
        if rank > 0 and displacement.shape[-rank - 1] == rank:
            return rank
    wanted = f"a map ({'*batch, ' if n_batch else ''}d, *spatial), one channel per axis"
    remedy = "Fields with the displacement last go through ts.feat_first."
    if n_batch:
        remedy += f" A field without a batch goes to {function}.nobatch."
    raise ValueError(message(function, "displacement", wanted, f"shape {tuple(displacement.shape)}", remedy))


def _from_displacement(function: str, displacement: Tensor, align_corners: bool, n_batch: int) -> Tensor:
    rank = _displacement_rank(function, displacement, n_batch)
    check_flag(function, "align_corners", align_corners)
    size, dtype = spatial_size(displacement, rank), dtype_like(displacement)
    if min(size) < 1:
        wanted, remedy = "at least one pixel wide along every axis", "There is nothing to sample in a map without pixels."
        raise ValueError(message(function, "displacement", wanted, f"shape {tuple(displacement.shape)}", remedy))
    grid = full(0, size, displacement.device, align_corners, dtype)
    # A pixel is 2 / n wide; one pixel with its corners aligned has nowhere to go.
    pixel = torch.tensor([2 / max(side - align_corners, 1) * (side > align_corners) for side in size], dtype=dtype, device=grid.device)
    return grid + displacement.to(dtype).movedim(-rank - 1, -1) * pixel


def _from_displacement_nobatch(displacement: Tensor, align_corners: bool = False) -> Tensor:
    """`from_displacement` for a field ``(d, *spatial)``: coordinates ``(*spatial, d)``."""
    return _from_displacement("ts.coord.from_displacement.nobatch", displacement, align_corners, 0)


@with_nobatch(_from_displacement_nobatch)
def from_displacement(displacement: Tensor, align_corners: bool = False) -> Tensor:
    """Convert a field of displacements in pixels, such as optical flow, to the coordinates that it points to.

    ``from_displacement.nobatch`` takes a field ``(d, *spatial)``.

    Parameters
    ----------
    displacement : Tensor
        ``(*batch, d, *spatial)`` with ``d`` spatial dimensions, floating-point: how far each pixel looks along ``(x, y, ...)``, in pixels.
        A shape that can be read in several ways, as ``(2, 2, 1, 5)``, has the fewest batch dimensions.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Returns
    -------
    Tensor
        Normalized coordinates ``(*batch, *spatial, d)`` of each pixel's place plus its displacement; float64 for double input, or float32.

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
    return _from_displacement("ts.coord.from_displacement", displacement, align_corners, 1)


def from_row_col(coords: Tensor) -> Tensor:
    """Convert the order of array indices ``(row, col)``, ``(plane, row, col)``, ..., to ``(x, y)``, ``(x, y, z)``, ...

    The conversion is its own inverse, and does not care about units.

    Parameters
    ----------
    coords : Tensor
        ``(..., d)``, integers or floating-point.

    Returns
    -------
    Tensor
        ``(..., d)`` with the last dimension reversed.

    Raises
    ------
    ValueError
        If ``coords`` has no dimension.
    TypeError
        If ``coords`` is not a tensor of such numbers.

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
    if coords.is_complex() or coords.dtype == torch.bool:
        remedy = "Convert them with coords.long()."
        raise TypeError(message("ts.coord.from_row_col", "coords", "integers or floating-point", coords.dtype, remedy))
    if coords.ndim == 0:
        remedy = "Use coords.reshape(1)."
        raise ValueError(message("ts.coord.from_row_col", "coords", "of shape (..., d)", "a tensor without dimensions", remedy))
    # A copy in reverse order; `flip` does not know the wide unsigned dtypes.
    return torch.stack(coords.unbind(-1)[::-1], dim=-1) if coords.shape[-1] else coords
