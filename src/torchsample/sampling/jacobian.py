"""Sample maps and their spatial derivatives."""

from __future__ import annotations

import functools

from torch import Tensor

from .._nobatch import with_nobatch
from ..interpolation import reference
from ..interpolation.kernels import Kernel
from ..layout import hold_size
from .checks import Mode, PaddingMode, Placing, check_interpolable, place_batched, place_single, read_rule


def _sample_with_jacobian(
    function: str,
    coords: Tensor,
    featmap: Tensor,
    mode: str | Kernel,
    padding_mode: PaddingMode,
    align_corners: bool,
    prefilter: bool,
    place: Placing,
) -> tuple[Tensor, Tensor]:
    axes = read_rule(function, coords, featmap, mode, padding_mode, align_corners, prefilter)
    check_interpolable(function, "featmap", featmap)
    batch = place(coords, featmap).batch
    featmap = hold_size(featmap, len(axes))
    coefficients = reference.prefilter(featmap, axes) if prefilter else featmap
    values, jacobian = reference.interpolate_with_jacobian(coords, coefficients, batch, axes)
    return values.to(featmap.dtype).contiguous(), jacobian.to(featmap.dtype).contiguous()


def _sample_with_jacobian_nobatch(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    prefilter: bool = True,
) -> tuple[Tensor, Tensor]:
    """`sample_with_jacobian` without a batch: coords ``(*points, d)``, map ``(c, *spatial)``."""
    function = "ts.sample_with_jacobian.nobatch"
    place = functools.partial(place_single, function)
    return _sample_with_jacobian(function, coords, featmap, mode, padding_mode, align_corners, prefilter, place)


@with_nobatch(_sample_with_jacobian_nobatch)
def sample_with_jacobian(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    batch_index: Tensor | None = None,
    prefilter: bool = True,
) -> tuple[Tensor, Tensor]:
    """Sample feature maps and their derivatives by the coordinates, reading the map once.

    Shapes and arguments are those of `sample`. ``sample_with_jacobian.nobatch`` takes coords ``(*points, d)`` and a map ``(c, *spatial)``.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, d)``, floating-point.
    featmap : Tensor
        ``(*batch, c, *spatial)``, floating-point or complex.
    mode : str or Kernel, default: "bilinear"
        As for `sample`. ``"bicubic"`` and splines of degree 2 and more have continuous derivatives.
    padding_mode : str, Boundary or sequence of them, default: "border"
        As for `sample`.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    batch_index : Tensor, optional
        ``(n,)``: which of the maps each of the points ``(n, d)``, or each group of points ``(n, *points, d)``, reads.
    prefilter : bool, default: True
        For splines, compute the coefficients from the map.

    Returns
    -------
    values : Tensor
        ``(*batch, *points, c)``, as `sample` gives them.
    jacobian : Tensor
        ``(*batch, *points, c, d)``: the derivative of each value by each normalized coordinate. One pixel along an axis of ``n`` pixels
        is ``2 / n`` in these units (``2 / (n - 1)`` with aligned corners). Itself differentiable.

    Raises
    ------
    ValueError, TypeError
        As for `sample`; integer maps have no derivative.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> coords = torch.tensor([[[0.3, -0.2]]])
    >>> slope = ts.coord.full(1, (8, 8)).movedim(-1, 1)
    >>> values, jacobian = ts.sample_with_jacobian(coords, slope)
    >>> values
    tensor([[[ 0.3000, -0.2000]]])
    >>> bool((jacobian - torch.eye(2)).abs().max() < 1e-5)
    True
    """
    function = "ts.sample_with_jacobian"
    place = functools.partial(place_batched, function, batch_index=batch_index)
    return _sample_with_jacobian(function, coords, featmap, mode, padding_mode, align_corners, prefilter, place)
