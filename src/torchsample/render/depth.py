"""Where the light of a ray ends: expected and median distance."""

from __future__ import annotations

import torch
from torch import Tensor

from ..coordinates.convert import arithmetic_dtype
from .rays import Rays, close, read_rays, read_spans

__all__ = ["median_depth"]


def _nothing(opacity: Tensor) -> float:
    """The opacity by which nothing can be divided."""
    limits = torch.finfo(opacity.dtype)
    return limits.tiny / limits.eps


def expected_depth(weights: Tensor, start: Tensor, end: Tensor, opacity: Tensor, rays: Rays) -> Tensor:
    """Mean of the samples' middles; 0, and no gradient, for rays of (next to) no opacity."""
    empty = opacity <= _nothing(opacity)
    depth = rays.total(weights * torch.lerp(start, end, 0.5)) / opacity.masked_fill(empty, 1)
    return torch.where(empty, 0, depth)


def median_depth(weights: Tensor, edges: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None) -> Tensor:
    """Distance before which half of a ray's light ends, of the light that does.

    Where a ray grazes an edge and ends on a thing behind it too, the expected depth of `composite` lies between both, on nothing;
    the median lies on one of them.

    Parameters
    ----------
    weights : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``, as `weights_from_density` and `weights_from_alpha` give them.
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``, packed ``(all, 2)``: start and end of each sample.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``; some may have no samples.

    Returns
    -------
    Tensor
        ``(*rays)``, in the unit of ``edges``, float32 at least; 0, without a gradient, for rays of no opacity.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    See Also
    --------
    composite : the expected depth, with colour and opacity.

    Notes
    -----
    Where the cumulative weight, linear within each sample, passes half of the opacity. A last sample that ends at infinity is taken
    to be where it starts.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.median_depth(torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([2.0, 3.0, 4.0, 5.0]))
    tensor([4.])
    """
    function = "ts.render.median_depth"
    rays = read_rays(function, "weights", weights, ray_indices, n_rays)
    weights = weights.to(arithmetic_dtype(weights.dtype))
    read_spans(function, edges, weights, rays)
    opacity = rays.total(weights)
    if weights.shape[-1] == 0:
        return opacity
    start, end = read_spans(function, close(edges, weights), weights, rays)
    nothing = _nothing(opacity)
    sums, half = rays.inclusive_sum(weights), opacity / 2
    index = rays.find(sums, half)
    weight, first, last = (rays.pick(each.expand_as(weights), index) for each in (weights, start, end))
    # Counted from the sample's end, where the sum up to it is known without a subtraction.
    share = ((rays.pick(sums, index) - half) / torch.where(weight > nothing, weight, 1)).clamp(0, 1)
    return torch.where(opacity <= nothing, 0, last - share * (last - first))
