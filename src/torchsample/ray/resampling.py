"""Resample rays by the weights of their intervals: inverse-transform sampling of a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from .._checks import check_count, check_device, check_flag, check_floating, check_memory, describe, message
from .arguments import as_number, check_real, common_dtype, first_wrong, readable
from .intervals import Jitter, midpoints, stratify
from .weights import check_weights

__all__ = ["percentile", "resample"]


def _read(function: str, edges: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Check a histogram, and return edges ``(*rays, n + 1)`` and weights ``(*rays, n)`` of one dtype."""
    check_floating(function, "edges", edges)
    check_weights(function, weights)
    check_device(function, "weights", weights.device, "edges", edges.device)
    n = weights.shape[-1]
    try:
        rays = torch.broadcast_shapes(edges.shape[:-1], weights.shape[:-1])  # type: ignore[no-untyped-call]
    except RuntimeError:
        rays = None
    if rays is None or edges.ndim == 0 or edges.shape[-1] != n + 1:
        wanted = f"of shape (*rays, {n + 1}) for weights {tuple(weights.shape)}"
        remedy = "Edges are those of the intervals, one more than weights, not their midpoints."
        raise ValueError(message(function, "edges", wanted, f"shape {tuple(edges.shape)}", remedy))
    if readable(edges) and not bool((edges[..., 1:] >= edges[..., :-1]).all() & edges.isfinite().all()):
        raise ValueError(
            message(function, "edges", "finite and ascending", "others", "Resample inverse distances, or others that are finite.")
        )
    dtype = common_dtype(edges, weights)
    return edges.to(dtype).expand(*rays, n + 1), weights.to(dtype).expand(*rays, n)


def _cumulate(edges: Tensor, weights: Tensor) -> Tensor:
    """The distribution ``(*rays, n + 1)`` at the edges, exactly from 0 to 1; rays without weight are uniform."""
    # Relative to the largest, so that neither tiny nor huge weights leave the range of the dtype, and no epsilon is needed.
    largest = weights.detach().amax(-1, keepdim=True)
    widths = edges.detach().diff(dim=-1)
    # A ray without extent has nothing to choose; any weights will do.
    widths = widths.where(widths.amax(-1, keepdim=True) > 0, 1.0)
    shares = torch.where(largest > 0, weights / largest.where(largest > 0, 1.0), widths)
    # A parallel scan may differ by rounding across an empty interval: there the maximum so far is the truth.
    total = shares.cumsum(-1)
    total = total.where(shares > 0, 0.0).cummax(-1).values
    return torch.nn.functional.pad(total / total[..., -1:], (1, 0))


def _invert(edges: Tensor, cdf: Tensor, u: Tensor) -> Tensor:
    """Distances ``(*rays, m)`` at which a distribution reaches ``u``."""
    # The first interval that ends above u; it has weight, since the one before does not. At 1 it is the last one with weight.
    # Adding the distribution's first value, 0, gives each ray its own u.
    below_one = u.clamp(0, 1 - torch.finfo(u.dtype).eps / 2) + cdf.detach()[..., :1]
    index = torch.searchsorted(cdf.detach()[..., 1:].contiguous(), below_one, right=True)
    start, end = cdf.gather(-1, index), cdf[..., 1:].gather(-1, index)
    fraction = ((u - start) / (end - start)).clamp(0, 1)
    return torch.lerp(edges.gather(-1, index), edges[..., 1:].gather(-1, index), fraction)


def resample(
    edges: Tensor,
    weights: Tensor,
    n_samples: int,
    jitter: Jitter | None = None,
    intervals: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Place samples along rays where weights are, evenly with respect to them.

    Parameters
    ----------
    edges : Tensor
        Edges ``(*rays, n + 1)`` of the intervals, floating-point, finite and ascending.
    weights : Tensor
        What each interval counts, ``(*rays, n)``, at least 0, of any sum. An interval without weight gets no sample; a ray without any is
        sampled uniformly from its first edge to its last. No gradient flows into them.
    n_samples : int
        Number of samples, or of intervals.
    jitter : {"sample", "ray"}, optional
        Where in its ``1 / n_samples`` of the weight each sample lies: in the middle, or anywhere, each on its own or all those of a
        ray alike.
    intervals : bool, default: False
        Give edges of intervals around the samples: halfway between neighbours, and as far beyond the first and last, but not beyond
        the ray's ends.
    generator : torch.Generator, optional
        Source of the random numbers.

    Returns
    -------
    Tensor
        Distances ``(*rays, n_samples)``, or with ``intervals=True`` edges ``(*rays, n_samples + 1)``, ascending; in the dtype that edges
        and weights promote to, float32 at least. Differentiable by ``edges``.

    Raises
    ------
    ValueError
        If shapes do not fit, edges or weights are not as said (where numbers can be looked at), or an option is not known.
    TypeError
        If a tensor is not floating-point, or ``n_samples`` not an int.

    See Also
    --------
    blur, anneal : to prepare weights.

    Notes
    -----
    The fine samples of Mildenhall et al., NeRF, 2020, section 5.2, as strata of the exact distribution: nothing is added to the weights,
    so that rays of little opacity are sampled as sharply as others, and intervals of a ray of 1e-12 as those of a ray of 1. Edges around
    samples are those of Barron et al., Mip-NeRF 360, 2022.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> edges, weights = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([1e-6, 0.0, 3e-6])
    >>> ts.ray.resample(edges, weights, 4)
    tensor([0.5000, 2.1667, 2.5000, 2.8333])
    >>> ts.ray.resample(edges, weights, 4, intervals=True)
    tensor([0.0000, 1.3333, 2.3333, 2.6667, 3.0000])
    """
    function = "ts.ray.resample"
    check_flag(function, "intervals", intervals)
    n_samples = check_count(function, "n_samples", n_samples, minimum=2 if intervals else 1)
    edges, weights = _read(function, edges, weights.detach() if isinstance(weights, Tensor) else weights)
    rays = edges[..., 0].numel()
    check_memory(function, "n_samples", 4 * (rays + 1) * n_samples, edges.dtype, edges.device, n_samples)
    place = torch.arange(n_samples, dtype=edges.dtype, device=edges.device)
    u = (place + stratify(function, tuple(edges.shape[:-1]), n_samples, jitter, edges, generator)) / n_samples
    samples = _invert(edges, _cumulate(edges, weights), u)
    if not intervals:
        return samples
    middle = midpoints(samples)
    first = torch.maximum(2 * samples[..., :1] - middle[..., :1], edges[..., :1])
    last = torch.minimum(2 * samples[..., -1:] - middle[..., -1:], edges[..., -1:])
    return torch.cat([first, middle, last], dim=-1)


def _read_fractions(function: str, q: float | Sequence[float] | Tensor, like: Tensor) -> Tensor:
    """Fractions of the weight, one or ``(m,)``."""
    if isinstance(q, Tensor):
        check_real(function, "q", q)
        fractions = q.to(like)
    elif isinstance(q, Real):
        fractions = as_number(function, "q", q, like)
    else:
        try:
            fractions = torch.as_tensor(q, dtype=like.dtype, device=like.device)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise TypeError(message(function, "q", "a number or numbers (m,)", describe(q), "Pass 0.5 for the median.")) from error
    if fractions.ndim > 1:
        raise ValueError(message(function, "q", "a number or of shape (m,)", f"shape {tuple(fractions.shape)}", "Flatten it."))
    if readable(fractions) and not bool((fits := (fractions >= 0) & (fractions <= 1)).all()):
        raise ValueError(message(function, "q", "from 0 to 1", first_wrong(fractions, ~fits), "Divide percents by 100."))
    return fractions


def percentile(edges: Tensor, weights: Tensor, q: float | Sequence[float] | Tensor) -> Tensor:
    """Find the distances before which given fractions of the weight lie; the median for 0.5.

    Parameters
    ----------
    edges : Tensor
        Edges ``(*rays, n + 1)`` of the intervals, floating-point, finite and ascending.
    weights : Tensor
        What each interval counts, ``(*rays, n)``, at least 0, of any sum; spread evenly over it. Rays without any are uniform.
    q : float, sequence of float or Tensor
        Fractions from 0 to 1: one, or ``(m,)``.

    Returns
    -------
    Tensor
        ``(*rays)`` for a single fraction, ``(*rays, m)`` for several; in the dtype that edges and weights promote to, float32 at least.
        Differentiable by both. Where a gap in the weights has the fraction at its either end, its far end.

    Raises
    ------
    ValueError
        If shapes do not fit, a fraction is not one, or edges or weights are not as said (where numbers can be looked at).
    TypeError
        If a tensor is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.percentile(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.1, 0.0, 0.3]), [0.0, 0.5, 1.0])
    tensor([0.0000, 2.3333, 3.0000])
    """
    function = "ts.ray.percentile"
    edges, weights = _read(function, edges, weights)
    fractions = _read_fractions(function, q, edges)
    values = _invert(edges, _cumulate(edges, weights), fractions.reshape(-1))
    return values if fractions.ndim else values.squeeze(-1)
