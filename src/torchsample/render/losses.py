"""The two losses of mip-NeRF 360: proposals must cover the weights, and weights must not spread."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .._checks import message
from .rays import read_rays, read_spans

__all__ = ["distortion_loss", "interlevel_loss"]


def _check_histogram(function: str, prefix: str, edges: Tensor, weights: Tensor) -> None:
    rays = read_rays(function, f"{prefix}weights", weights, None, None)
    read_spans(function, edges, weights, rays)
    if edges.ndim > weights.ndim or weights.shape[-1] == 0:
        wanted = f"of shape {(*weights.shape[:-1], weights.shape[-1] + 1)}, one more than `{prefix}weights`, and not without samples"
        remedy = "Histograms have no gaps: give n + 1 edges."
        raise ValueError(message(function, f"{prefix}edges", wanted, f"shape {tuple(edges.shape)}", remedy))


def _cover(edges: Tensor, outer_edges: Tensor, outer_weights: Tensor) -> Tensor:
    """The weight of all outer intervals that each interval overlaps, ``(*rays, n)``."""
    cumulative = pad(outer_weights.cumsum(-1), (1, 0))
    outer_edges, last = outer_edges.contiguous(), outer_weights.shape[-1]
    start, end = edges[..., :-1].contiguous(), edges[..., 1:].contiguous()
    first = torch.searchsorted(outer_edges, start, right=True) - 1
    # An interval without extent lies in one outer interval.
    is_point = (end <= start) & (first >= 0)
    right = torch.where(is_point, first + 1, torch.searchsorted(outer_edges, end)).clamp(max=last)
    return cumulative.gather(-1, right) - cumulative.gather(-1, first.clamp(0, last))


def interlevel_loss(edges: Tensor, weights: Tensor, outer_edges: Tensor, outer_weights: Tensor) -> Tensor:
    """Ask proposal weights to be an upper bound of final weights: mip-NeRF 360's loss of proposal networks.

    Parameters
    ----------
    edges : Tensor
        ``(*rays, n + 1)`` ascending: edges of the final samples.
    weights : Tensor
        ``(*rays, n)``: their weights.
    outer_edges : Tensor
        ``(*rays, m + 1)`` ascending: edges of a proposal's samples.
    outer_weights : Tensor
        ``(*rays, m)``: their weights, which learn.

    Returns
    -------
    Tensor
        ``(*rays)``, at least 0; take the mean.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an argument is not a floating-point tensor.

    Notes
    -----
    The sum over samples of ``max(0, w - bound)**2 / w``, where ``bound`` is the sum of the weights of all proposal intervals that the
    sample overlaps: Barron et al., "Mip-NeRF 360", 2022, eq. 12 and 13. As there, the final weights and all edges are constants: only
    ``outer_weights`` get a gradient. Intervals that merely touch do not overlap, and a weight of 0 adds nothing, without an epsilon.
    The authors' code takes the mean over samples instead of the sum: divide by ``n`` for that.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> edges, weights = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.1, 0.6, 0.3])
    >>> ts.render.interlevel_loss(edges, weights, torch.tensor([0.0, 1.5, 3.0]), torch.tensor([0.3, 0.2]))
    tensor(0.0500)
    """
    function = "ts.render.interlevel_loss"
    _check_histogram(function, "", edges, weights)
    _check_histogram(function, "outer_", outer_edges, outer_weights)
    if weights.shape[:-1] != outer_weights.shape[:-1]:
        wanted = f"of the rays {tuple(weights.shape[:-1])} that `weights` has"
        raise ValueError(message(function, "outer_weights", wanted, f"shape {tuple(outer_weights.shape)}", "Both belong to the same rays."))
    dtype = torch.promote_types(edges.dtype, outer_edges.dtype)
    weights, edges = weights.detach(), edges.detach().to(dtype).expand(*weights.shape[:-1], -1)
    outer_edges = outer_edges.detach().to(dtype).expand(*outer_weights.shape[:-1], -1)
    excess = (weights - _cover(edges, outer_edges, outer_weights)).clamp(min=0)
    # The excess is at most the weight, so that the quotient is safe for any weight but 0.
    return (excess * (excess / torch.where(weights > 0, weights, 1))).sum(-1)


def distortion_loss(edges: Tensor, weights: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None) -> Tensor:
    """Ask the weights along a ray to gather in one place: mip-NeRF 360's loss against floaters.

    Parameters
    ----------
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``, packed ``(all, 2)``: start and end of each sample, finite. Normalized
        distances, 0 at the near plane and 1 at the far one, make rays comparable.
    weights : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample; along a ray, samples ascend, too.
    n_rays : int, optional
        Number of rays, with ``ray_indices``; those without samples have no loss.

    Returns
    -------
    Tensor
        ``(*rays)`` or ``(n_rays,)``, at least 0; take the mean.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    Notes
    -----
    ``sum_ij w_i w_j |m_i - m_j| + sum_i w_i**2 d_i / 3``, with ``m`` the middles of samples and ``d`` their lengths: Barron et al.,
    "Mip-NeRF 360", 2022, eq. 15. Computed in linear time, and without differences of large numbers: each step from one middle to the next
    counts as often as pairs are on both sides of it.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.distortion_loss(torch.linspace(0, 1, 5), torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]]))
    tensor([0.0833, 0.4167])
    """
    function = "ts.render.distortion_loss"
    rays = read_rays(function, "weights", weights, ray_indices, n_rays)
    start, end = read_spans(function, edges, weights, rays)
    if weights.shape[-1] == 0:
        return rays.total(weights)
    middle = (start + end) / 2
    # The step to the first sample of a ray, wherever it comes from, has nothing before it.
    pairs = 2 * middle.diff(dim=-1, prepend=middle[..., :1]) * rays.exclusive_sum(weights) * rays.sum_behind(weights)
    return rays.total(pairs + weights.square() * (end - start) / 3)
