"""Bring all of space into a ball or a cube, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from .._checks import check_callable, check_choice, check_device, check_floating, describe, message
from ..coordinates.convert import arithmetic_dtype
from .arguments import is_like

__all__ = ["contract", "push_forward", "uncontract"]

Norm = Literal["l2", "linf"]


def _widen(function: str, argument: str, x: Tensor) -> Tensor:
    """Check points ``(..., d)``, and return them in a dtype fit for arithmetic."""
    check_floating(function, argument, x)
    if x.ndim == 0 or x.shape[-1] == 0:
        wanted, remedy = "of shape (..., d), d at least 1", f"Use {argument}.reshape(1) for a single coordinate."
        raise ValueError(message(function, argument, wanted, f"shape {tuple(x.shape)}", remedy))
    return x.to(arithmetic_dtype(x.dtype))


def _length(function: str, x: Tensor, norm: str) -> Tensor:
    """Norms ``(..., 1)``, those below 1 as 1: there nothing happens, and a root would have no derivative at 0."""
    check_choice(function, "norm", norm, ("l2", "linf"))
    if norm == "linf":
        return x.abs().amax(-1, keepdim=True).clamp_min(1)
    # The result does not depend on the scale, which only keeps squares from overflowing.
    scale = x.detach().abs().amax(-1, keepdim=True).clamp_min(1)
    square = ((x / scale) ** 2).sum(-1, keepdim=True)
    return scale * torch.maximum(square, scale**-2).sqrt()


def contract(x: Tensor, norm: Norm = "l2") -> Tensor:
    """Contract space into a ball or a cube: what is within 1 stays, and all else comes to lie within 2.

    Parameters
    ----------
    x : Tensor
        Points ``(..., d)``, floating-point.
    norm : {"l2", "linf"}, default: "l2"
        The length that counts: the Euclidean one gives a ball of radius 2, the largest component a cube from -2 to 2, which fits a grid:
        half of it are its coordinates in ``[-1, 1]``.

    Returns
    -------
    Tensor
        ``x`` where its length is at most 1, ``(2 - 1 / length) * x / length`` elsewhere; shape and dtype of ``x``. First and second
        derivatives are finite everywhere, at 0 and at length 1 too. Points at infinity itself have no direction, and give NaN.

    Raises
    ------
    ValueError
        If ``norm`` is not known or ``x`` has no dimension.
    TypeError
        If ``x`` is not a floating-point tensor.

    See Also
    --------
    uncontract : the inverse.
    push_forward : takes Gaussians along.

    Notes
    -----
    Equation 10 of Barron et al., Mip-NeRF 360, 2022.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.contract(torch.tensor([[0.5, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, -1e20]]))
    tensor([[ 0.5000,  0.0000,  0.0000],
            [ 0.0000,  1.7500,  0.0000],
            [ 0.0000,  0.0000, -2.0000]])
    """
    function = "ts.ray.contract"
    wide = _widen(function, "x", x)
    length = _length(function, wide, norm)
    return ((2 - 1 / length) * (wide / length)).to(x.dtype)


def uncontract(z: Tensor, norm: Norm = "l2") -> Tensor:
    """Take contracted points back to where they were, the inverse of `contract`.

    Parameters
    ----------
    z : Tensor
        Points ``(..., d)`` of length below 2, floating-point.
    norm : {"l2", "linf"}, default: "l2"
        The length that counts, as in `contract`.

    Returns
    -------
    Tensor
        ``z`` where its length is at most 1, ``z / (length * (2 - length))`` elsewhere; shape and dtype of ``z``. Infinite at length 2; NaN
        beyond, where nothing is contracted to.

    Raises
    ------
    ValueError
        If ``norm`` is not known or ``z`` has no dimension.
    TypeError
        If ``z`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.uncontract(torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.75, 0.0]]))
    tensor([[0.5000, 0.0000, 0.0000],
            [0.0000, 4.0000, 0.0000]])
    """
    function = "ts.ray.uncontract"
    wide = _widen(function, "z", z)
    length = _length(function, wide, norm)
    room = length * (2 - length)
    return (wide / room.where(length <= 2, math.nan)).to(z.dtype)


def push_forward(fn: Callable[[Tensor], Tensor], mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    """Take Gaussians through a function, which is linearized at their means.

    Parameters
    ----------
    fn : callable
        From points ``(..., d)`` to ``(..., e)``, each on its own, for any leading dimensions; for example `contract`. It must have
        forward-mode derivatives, as all plain operations do.
    mean : Tensor
        ``(..., d)``, floating-point.
    cov : Tensor
        Covariances ``(..., d, d)``.

    Returns
    -------
    mean : Tensor
        ``fn(mean)``, ``(..., e)``.
    cov : Tensor
        ``J cov J^T``, ``(..., e, e)``, with the Jacobian ``J`` of ``fn`` at the mean. Both are differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If a tensor is not floating-point.

    Notes
    -----
    Equation 9 of Barron et al., Mip-NeRF 360, 2022: what an extended Kalman filter does.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> mean, cov = ts.ray.push_forward(ts.ray.contract, torch.tensor([2.0, 0.0]), torch.eye(2))
    >>> mean, cov
    (tensor([1.5000, 0.0000]), tensor([[0.0625, 0.0000],
            [0.0000, 0.5625]]))
    """
    function = "ts.ray.push_forward"
    check_callable(function, "fn", fn, "from points (..., d) to points (..., e)", "Pass ts.ray.contract, or a function of your own.")
    _widen(function, "mean", mean)
    _check_cov(function, cov, mean)
    d = mean.shape[-1]
    # One evaluation at d copies of the points, along an axis in each.
    copies = mean.repeat(d, *[1] * mean.ndim)
    tangents = torch.eye(d, dtype=mean.dtype, device=mean.device).reshape(d, *[1] * (mean.ndim - 1), d).expand(d, *mean.shape)
    values, columns = torch.func.jvp(_checked(function, fn), (copies,), (tangents.contiguous(),))  # type: ignore[misc]
    jacobian = columns.movedim(0, -1)
    # Sums of products rather than matrix products, which autocast and TF32 would round.
    half = (jacobian.unsqueeze(-1) * cov.unsqueeze(-3)).sum(-2)
    return values[0], (half.unsqueeze(-2) * jacobian.unsqueeze(-3)).sum(-1)


def _checked(function: str, fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A user's function, whose answers are looked at."""

    def checked(points: Tensor) -> Tensor:
        answer = fn(points)
        if not is_like(answer, points) or answer.shape[:-1] != points.shape[:-1] or answer.ndim != points.ndim:
            wanted = f"a callable from points {tuple(points.shape)} to points ({', '.join(map(str, points.shape[:-1]))}, e)"
            raise ValueError(message(function, "fn", wanted, describe(answer), "Move each point on its own."))
        return answer

    return checked


def _check_cov(function: str, cov: Tensor, mean: Tensor) -> None:
    """Check covariances ``(..., d, d)`` for means ``(..., d)``."""
    check_floating(function, "cov", cov)
    check_device(function, "cov", cov.device, "mean", mean.device)
    if cov.ndim < 2 or cov.shape[-2:] != (mean.shape[-1],) * 2 or cov.ndim > mean.ndim + 1:
        wanted = f"of shape (..., {mean.shape[-1]}, {mean.shape[-1]}) for means {tuple(mean.shape)}"
        raise ValueError(message(function, "cov", wanted, f"shape {tuple(cov.shape)}", "Make one of variances with torch.diag_embed."))
    try:
        fits = torch.broadcast_shapes(cov.shape[:-2], mean.shape[:-1]) == mean.shape[:-1]  # type: ignore[no-untyped-call]
    except RuntimeError:
        fits = False
    if not fits:
        wanted = f"of a shape whose first dimensions broadcast to those of means {tuple(mean.shape)}"
        raise ValueError(message(function, "cov", wanted, f"shape {tuple(cov.shape)}", "One matrix for each mean, or one for all."))
