"""Filter a fixed map once, to sample it with splines many times."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_flag, check_map, check_single_map, message
from .._nobatch import with_nobatch
from ..interpolation import reference
from ..interpolation.boundary import get_boundaries
from ..interpolation.kernels import Kernel, get_kernel
from ..layout import spatial_size
from .checks import Mode, PaddingMode, check_interpolable, check_margins


def _prefilter(function: str, featmap: Tensor, rank: int, mode: str | Kernel, padding_mode: PaddingMode, align_corners: bool) -> Tensor:
    kernel = get_kernel(function, mode)
    boundaries = get_boundaries(function, padding_mode, rank)
    check_flag(function, "align_corners", align_corners)
    check_interpolable(function, "featmap", featmap)
    size = spatial_size(featmap, rank)
    if min(size) < 1:
        remedy = "There is nothing to filter in a map without pixels."
        wanted = "at least one pixel wide along every axis"
        raise ValueError(message(function, "featmap", wanted, f"shape {tuple(featmap.shape)}", remedy))
    axes = reference.make_axes(size, kernel, boundaries, align_corners)
    check_margins(function, featmap, axes)
    return reference.prefilter(featmap, axes)


def _prefilter_nobatch(
    featmap: Tensor, mode: Mode | Kernel = "bspline3", padding_mode: PaddingMode = "border", align_corners: bool = False
) -> Tensor:
    """`prefilter` for a map ``(c, *spatial)``."""
    function = "ts.prefilter.nobatch"
    check_single_map(function, featmap, "featmap")
    return _prefilter(function, featmap, featmap.ndim - 1, mode, padding_mode, align_corners)


@with_nobatch(_prefilter_nobatch)
def prefilter(
    featmap: Tensor, mode: Mode | Kernel = "bspline3", padding_mode: PaddingMode = "border", align_corners: bool = False
) -> Tensor:
    """Compute the coefficients that a spline weighs, once for a map that does not change.

    ``sample(coords, prefilter(featmap, mode), mode, prefilter=False)`` is ``sample(coords, featmap, mode)``; give both the same
    ``padding_mode`` and ``align_corners``. ``prefilter.nobatch`` takes a map ``(c, *spatial)``.

    Parameters
    ----------
    featmap : Tensor
        ``(b, c, *spatial)``, floating-point or complex.
    mode : str or Kernel, default: "bspline3"
        ``"bspline2"`` to ``"bspline5"``. Kernels that weigh pixels leave the map as it is.
    padding_mode : str, Boundary or sequence of them, default: "border"
        How the map goes on beyond its edges; one for all axes or one per axis ``(x, y, ...)``.
    align_corners : bool, default: False
        Where ``"reflection"`` mirrors: at the outer edges of the first and last pixels or (``True``) at their centres.

    Returns
    -------
    Tensor
        Coefficients ``(b, c, *spatial)``, float32 for half-precision maps. Along axes with ``"border"`` and ``"zeros"``, which go on for
        ever, with a margin on both sides: 11, 14, 19 or 22 pixels for degree 2, 3, 4 or 5.

    Raises
    ------
    ValueError, TypeError
        If ``featmap`` is not a map that can be filtered, or a name is unknown.

    Notes
    -----
    The inverse filter of Unser, Aldroubi and Eden (1993), as ``scipy.ndimage.spline_filter``; written as a symmetric sum over as many
    neighbours as the dtype can tell from zero. ``"reflection"`` is SciPy's ``reflect`` (with aligned corners ``mirror``),
    ``"circular"`` its ``grid-wrap``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap, coords = torch.rand(1, 3, 20, 30), ts.coord.rand(1, 100)
    >>> coefficients = ts.prefilter(featmap, "bspline3", "reflection")
    >>> values = ts.sample(coords, coefficients, "bspline3", "reflection", prefilter=False)
    >>> torch.allclose(values, ts.sample(coords, featmap, "bspline3", "reflection"))
    True
    """
    function = "ts.prefilter"
    check_map(function, "featmap", featmap)
    return _prefilter(function, featmap, featmap.ndim - 2, mode, padding_mode, align_corners)
