"""Splat values to maps: the adjoint of `sample`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from .._checks import check_device, check_flag, check_memory, check_size, check_tensor, message
from .._nobatch import with_nobatch
from ..coordinates.convert import check_coords
from ..interpolation import dispatch, reference
from ..interpolation.boundary import get_boundaries
from ..interpolation.kernels import Kernel, get_kernel
from .checks import Mode, PaddingMode, check_broadcast, check_interpolable, map_indices, name_shapes


def _check_shapes(function: str, coords: Tensor, values: Tensor, n_batch: int) -> None:
    shapes = name_shapes(coords, values, "values")
    rule = "Coords are (*batch, *points, d) and values (*batch, *points, c), with at least one point dimension."
    if coords.ndim < n_batch + 2 or values.ndim != coords.ndim:
        raise ValueError(message(function, "values", "of as many dimensions as `coords`", shapes, rule))
    if values.shape[n_batch:-1] != coords.shape[n_batch:-1]:
        wanted = f"of the points {tuple(coords.shape[n_batch:-1])} of `coords`"
        raise ValueError(message(function, "values", wanted, shapes, rule))
    check_broadcast(function, coords, values, n_batch, "values")


def _splat(
    function: str,
    coords: Tensor,
    values: Tensor,
    size: Sequence[int],
    mode: str | Kernel,
    padding_mode: PaddingMode,
    align_corners: bool,
    normalize: bool,
    n_batch: int,
) -> Tensor:
    kernel = get_kernel(function, mode)
    check_flag(function, "align_corners", align_corners)
    check_flag(function, "normalize", normalize)
    check_coords(function, coords)
    check_tensor(function, "values", values)
    check_interpolable(function, "values", values)
    check_device(function, "coords", coords.device, "values", values.device)
    sides = check_size(function, size)
    rank = coords.shape[-1]
    if len(sides) != rank:
        swapped = values.ndim and values.shape[-1] == len(sides)
        remedy = "Are coords and values swapped? Coords come first." if swapped else "Give one side per coordinate, (w, h, ...)."
        raise ValueError(message(function, "size", f"as long as the last dimension of `coords`, {rank}", sides, remedy))
    _check_shapes(function, coords, values, n_batch)
    axes = reference.make_axes(sides, kernel, get_boundaries(function, padding_mode, rank), align_corners)
    shape = [other if mine == 1 else mine for mine, other in zip(coords.shape[:n_batch], values.shape[:n_batch], strict=True)]
    check_memory(function, "size", prod((*shape, values.shape[-1], *sides)), reference.accumulator(values.dtype), values.device, sides)
    batch = map_indices(shape, coords.ndim - 1 - n_batch, coords.device)

    def scatter(values: Tensor) -> Tensor:
        return reference.prefilter_adjoint(dispatch.scatter(coords, values, batch, shape, axes), axes)

    featmap = scatter(values)
    if normalize:
        weight = scatter(values.new_ones((*values.shape[:-1], 1), dtype=reference.accumulator(values.dtype)))
        # Where nothing was splatted, zero stays zero.
        featmap = featmap / weight.masked_fill(weight == 0, 1)
    return featmap.to(values.dtype).contiguous()


def _splat_nobatch(
    coords: Tensor,
    values: Tensor,
    size: Sequence[int],
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    normalize: bool = False,
) -> Tensor:
    """`splat` without a batch: coords ``(*points, d)``, values ``(*points, c)``, result ``(c, *spatial)``."""
    return _splat("ts.splat.nobatch", coords, values, size, mode, padding_mode, align_corners, normalize, 0)


@with_nobatch(_splat_nobatch)
def splat(
    coords: Tensor,
    values: Tensor,
    size: Sequence[int],
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    normalize: bool = False,
) -> Tensor:
    """Add values at coordinates to maps: the adjoint of `sample`.

    For every map ``m``, ``(sample(coords, m) * values).sum()`` is ``(m * splat(coords, values, size)).sum()``, in every mode and with every
    padding: each value is added to the pixels that `sample` would read, with the same weights. ``splat.nobatch`` takes coords
    ``(*points, d)`` and values ``(*points, c)``.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(b, *points, d)`` in the order ``(x, y, ...)``, floating-point.
    values : Tensor
        ``(b, *points, c)``, floating-point or complex; half precision is summed in float32. The batch broadcasts against that of coords.
    size : sequence of int
        ``(w, h, ...)`` of the result.
    mode : str or Kernel, default: "bilinear"
        As for `sample`.
    padding_mode : str, Boundary or sequence of them, default: "border"
        As for `sample`: with ``"zeros"``, what falls outside is lost, and with ``"border"`` it falls on the edge pixels.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    normalize : bool, default: False
        Divide each pixel by the sum of the weights that reached it, which makes the result a weighted mean. Cubic kernels and splines
        have negative weights: where those nearly cancel the others, the quotient leaves the range of the values.

    Returns
    -------
    Tensor
        ``(b, c, *spatial)``, contiguous, dtype of ``values``; zero where nothing was splatted.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, tensors are on different devices, a name is unknown, or a dtype cannot be interpolated.

    Notes
    -----
    A point with a coordinate that has no place, NaN or infinite in a direction that reflects or repeats, adds nothing.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.splat(torch.tensor([[[0.0, -0.5]]]), torch.ones(1, 1, 1), (2, 2))
    tensor([[[[0.5000, 0.5000],
              [0.0000, 0.0000]]]])
    """
    return _splat("ts.splat", coords, values, size, mode, padding_mode, align_corners, normalize, 1)
