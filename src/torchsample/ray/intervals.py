"""Cut rays into intervals, in equal steps of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from .._checks import check_count, check_device, check_floating, check_memory, describe, message
from ..coordinates.arguments import choose_device
from .arguments import as_number, common_dtype, is_like, readable

__all__ = ["intervals", "midpoints"]

Warp = Callable[[Tensor], Tensor]
Spacing = Literal["linear", "disparity", "log", "sqrt", "piecewise"]
Jitter = Literal["sample", "ray"]


def _piecewise(distance: Tensor) -> Tensor:
    """Linear up to 1, in disparity beyond; both branches are finite everywhere, so that both have derivatives."""
    return torch.where(distance < 1, distance / 2, 1 - 0.5 / distance.clamp_min(1))


def _unpiecewise(s: Tensor) -> Tensor:
    return torch.where(s < 0.5, 2 * s, 0.5 / (1 - s.clamp_min(0.5)))


_SPACINGS: dict[str, tuple[Warp, Warp]] = {
    "linear": (lambda distance: distance, lambda s: s),
    "disparity": (torch.reciprocal, torch.reciprocal),
    "log": (torch.log, torch.exp),
    "sqrt": (torch.sqrt, torch.square),
    "piecewise": (_piecewise, _unpiecewise),
}


def _checked(function: str, fn: Warp) -> Warp:
    """A user's function, whose answers are looked at."""

    def warp(x: Tensor) -> Tensor:
        answer = fn(x)
        if not is_like(answer, x) or answer.shape != x.shape:
            wanted = f"functions from a tensor of shape {tuple(x.shape)} to another one"
            raise ValueError(message(function, "spacing", wanted, describe(answer), "Convert each number on its own."))
        return answer

    return warp


def _read_spacing(function: str, spacing: str | tuple[Warp, Warp]) -> tuple[Warp, Warp]:
    if isinstance(spacing, str) and spacing in _SPACINGS:
        return _SPACINGS[spacing]
    if isinstance(spacing, tuple) and len(spacing) == 2 and all(map(callable, spacing)):
        forward, inverse = spacing
        return _checked(function, forward), _checked(function, inverse)
    wanted = f"one of {', '.join(map(repr, _SPACINGS))} or a pair of functions (forward, inverse)"
    raise ValueError(
        message(function, "spacing", wanted, describe(spacing), "The first function takes distances to where steps are equal.")
    )


def _extent(function: str, near: float | Tensor, far: float | Tensor) -> tuple[Tensor, Tensor]:
    """Both ends in one dtype, on one device and of one shape."""
    like = next((end for end in (near, far) if isinstance(end, Tensor)), torch.empty(()))
    ends = []
    for argument, end in (("near", near), ("far", far)):
        if isinstance(end, Tensor):
            check_floating(function, argument, end)
        ends.append(end if isinstance(end, Tensor) else as_number(function, argument, end, like))
    check_device(function, "near", ends[0].device, "far", ends[1].device)
    dtype = common_dtype(*ends)
    try:
        low, high = torch.broadcast_tensors(*(end.to(dtype) for end in ends))  # type: ignore[no-untyped-call]
    except RuntimeError:
        wanted = f"of a shape that broadcasts with far {tuple(ends[1].shape)}"
        raise ValueError(message(function, "near", wanted, f"shape {tuple(ends[0].shape)}", "Both are (*rays).")) from None
    return low, high


def _check_extent(function: str, near: Tensor, far: Tensor, spacing: object) -> None:
    if not readable(near, far):
        return
    if not bool((near < far).all()):
        wrong = (~(near < far)).nonzero()[0].tolist() if near.ndim else []
        got = f"near {near[tuple(wrong)].item():.6g} and far {far[tuple(wrong)].item():.6g} at {wrong or 'every ray'}"
        remedy = "Rays that miss have no extent: keep those that hit, near[hit] and far[hit]."
        raise ValueError(message(function, "near", "below `far` for every ray", got, remedy))
    lowest = float(near.detach().min()) if near.numel() else 1.0
    if (spacing in ("disparity", "log") and lowest <= 0) or (spacing in ("sqrt", "piecewise") and lowest < 0):
        wanted = f"{'positive' if spacing in ('disparity', 'log') else 'at least 0'} for the spacing {spacing!r}"
        raise ValueError(message(function, "near", wanted, f"{lowest:.6g}", "'linear' takes any distance, 'piecewise' and 'sqrt' take 0."))
    if spacing in ("linear", "log", "sqrt") and not bool(far.isfinite().all() & near.isfinite().all()):
        raise ValueError(
            message(function, "far", f"finite for the spacing {spacing!r}", "inf", "'disparity' and 'piecewise' reach infinity.")
        )


def stratify(
    function: str, rays: tuple[int, ...], n: int, jitter: Jitter | None, like: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Where in its stratum each of ``n`` samples lies, ``(*rays, n)`` or ``(*rays, 1)`` in ``[0, 1)``: in the middle without jitter."""
    choose_device(function, like.device, generator)
    if jitter is None:
        return like.new_full((1,), 0.5)
    if not isinstance(jitter, str) or jitter not in ("sample", "ray"):
        remedy = "'sample' moves each of them, 'ray' all those of a ray alike."
        raise ValueError(message(function, "jitter", "None, 'sample' or 'ray'", describe(jitter), remedy))
    shape = (*rays, n if jitter == "sample" else 1)
    # With a generator, even None, torch takes no shapes of `torch.compile(dynamic=True)`.
    if generator is None:
        return torch.rand(shape, dtype=like.dtype, device=like.device)
    return torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)


def intervals(
    near: float | Tensor,
    far: float | Tensor,
    n_samples: int,
    spacing: Spacing | tuple[Warp, Warp] = "linear",
    jitter: Jitter | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cut rays into intervals that are equal in distance, in disparity, or in whatever is asked for.

    Parameters
    ----------
    near : float or Tensor
        Where rays start to be looked at: one distance for all, or ``(*rays)``, floating-point.
    far : float or Tensor
        Where that ends, beyond ``near``. May be infinite for ``"disparity"`` and ``"piecewise"``.
    n_samples : int
        Number of intervals.
    spacing : str or pair of callables, default: "linear"
        In what steps are equal: the distance itself, its inverse (``"disparity"``), its logarithm (``"log"``), its root (``"sqrt"``), or
        half the distance up to 1 and 1 minus half its inverse beyond (``"piecewise"``). Or your own increasing or decreasing function
        of the distance, and its inverse.
    jitter : {"sample", "ray"}, optional
        Move edges at random within their strata, which reach half an interval to both sides and never beyond the ends: each edge on its
        own, or all edges of a ray by the same fraction. Numbers are drawn per ray of ``near`` and ``far``: give tensors for more than one.
    generator : torch.Generator, optional
        Source of the random numbers.

    Returns
    -------
    Tensor
        Edges ``(*rays, n_samples + 1)``, ascending and within ``[near, far]``, whose ends they are without jitter; in the dtype that both
        promote to, float32 at least; the default dtype for two numbers. Differentiable by ``near`` and ``far``.

    Raises
    ------
    ValueError
        If ``near`` is not below ``far``, not positive for ``"disparity"`` or ``"log"``, or negative for ``"sqrt"`` or ``"piecewise"``
        (where numbers can be looked at), or an option is not known.
    TypeError
        If a distance is not a number or a floating-point tensor, or ``n_samples`` not an int.

    Notes
    -----
    ``t = inverse((1 - s) * forward(near) + s * forward(far))`` for ``s`` in equal steps from 0 to 1. Edges are moved rather than points, so
    that intervals cover a ray without gaps (Barron et al., Mip-NeRF, 2021); ``"piecewise"`` is that of Mip-NeRF 360 as nerfstudio has it.

    Examples
    --------
    >>> import math, torch, torchsample as ts
    >>> ts.ray.intervals(1.0, math.inf, 4, spacing="disparity")
    tensor([1.0000, 1.3333, 2.0000, 4.0000,    inf])
    >>> ts.ray.intervals(torch.full((4096,), 2.0), 6.0, 64, jitter="sample").shape
    torch.Size([4096, 65])
    """
    function = "ts.ray.intervals"
    n_samples = check_count(function, "n_samples", n_samples)
    forward, inverse = _read_spacing(function, spacing)
    low, high = _extent(function, near, far)
    _check_extent(function, low, high, spacing)
    check_memory(function, "n_samples", 4 * (low.numel() + 1) * n_samples, low.dtype, low.device, n_samples)
    # Strata of the edges reach from the middle of one interval to that of the next; the outer ones are cut in half at the ends.
    place = torch.arange(n_samples + 1, dtype=low.dtype, device=low.device)
    start, end = (place - 0.5).clamp_min(0), (place + 0.5).clamp_max(n_samples)
    u = stratify(function, tuple(low.shape), n_samples + 1, jitter, low, generator)
    s = place / n_samples if jitter is None else (start + (end - start) * u) / n_samples
    low, high = low.unsqueeze(-1), high.unsqueeze(-1)
    # The ends are known exactly, where a function and its inverse cancel to rounding only, and may have no derivative at infinity.
    inner = s.where((s > 0) & (s < 1), 0.5)
    edges = inverse((1 - inner) * forward(low) + inner * forward(high))
    edges = torch.where(s <= 0, low, torch.where(s >= 1, high, edges))
    if not isinstance(spacing, str) and readable(edges) and bool(edges.isnan().any()):
        remedy = "Its first function must be defined, and only rise or only fall, from near to far."
        raise ValueError(message(function, "spacing", "functions that give numbers between `near` and `far`", "NaN", remedy))
    # Along a very short ray, rounding may step back.
    return torch.minimum(torch.maximum(edges, low), high).cummax(-1).values


def midpoints(edges: Tensor) -> Tensor:
    """Take the middle of each interval.

    Parameters
    ----------
    edges : Tensor
        ``(..., n + 1)``, floating-point.

    Returns
    -------
    Tensor
        ``(..., n)``, dtype of ``edges``.

    Raises
    ------
    ValueError
        If there are less than two edges.
    TypeError
        If ``edges`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.midpoints(torch.tensor([0.0, 1.0, 3.0]))
    tensor([0.5000, 2.0000])
    """
    function = "ts.ray.midpoints"
    check_floating(function, "edges", edges)
    if edges.ndim == 0 or edges.shape[-1] < 2:
        raise ValueError(message(function, "edges", "of shape (..., n + 1)", f"shape {tuple(edges.shape)}", "An interval has two edges."))
    return (edges[..., 1:] + edges[..., :-1]) / 2
