"""Prepare the weights of intervals before rays are resampled by them."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_device, check_floating, message
from .arguments import as_number, check_real, first_wrong, readable

__all__ = ["anneal", "blur"]


def check_weights(function: str, weights: Tensor) -> None:
    """Check ``(*rays, n)``, at least 0."""
    check_floating(function, "weights", weights)
    if weights.ndim == 0 or weights.shape[-1] == 0:
        remedy = "Give one weight per interval."
        raise ValueError(message(function, "weights", "of shape (*rays, n)", f"shape {tuple(weights.shape)}", remedy))
    if readable(weights) and not bool((fits := (weights >= 0) & weights.isfinite()).all()):
        remedy = "Look for negative densities, or an overflow, where they come from."
        raise ValueError(message(function, "weights", "finite and at least 0", first_wrong(weights, ~fits), remedy))


def blur(weights: Tensor) -> Tensor:
    """Widen a histogram of weights to an envelope, so that resampling does not miss what lies just beside it.

    Parameters
    ----------
    weights : Tensor
        ``(*rays, n)``, floating-point, at least 0.

    Returns
    -------
    Tensor
        ``(*rays, n)``, dtype of ``weights``: the larger of each two neighbours, the ends being their own, then the mean of each two of
        those. Nothing is added: an empty ray stays empty.

    Raises
    ------
    ValueError
        If a weight is negative or not finite (where numbers can be looked at), or there is none.
    TypeError
        If ``weights`` is not a floating-point tensor.

    Notes
    -----
    Equation 18 of Barron et al., Mip-NeRF, 2021, without the constant that is added there: add your own, relative to what rays hold.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.blur(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]))
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    check_weights("ts.ray.blur", weights)
    between = torch.maximum(weights[..., 1:], weights[..., :-1])
    padded = torch.cat([weights[..., :1], between, weights[..., -1:]], dim=-1)
    return (padded[..., 1:] + padded[..., :-1]) / 2


def _read_power(function: str, power: float | Tensor, weights: Tensor) -> Tensor:
    remedy = "1.0 leaves weights as they are."
    if not isinstance(power, Tensor):
        power = as_number(function, "power", power, weights)
    check_real(function, "power", power)
    sides = zip(reversed(power.shape), reversed(weights.shape), strict=False)
    if power.ndim > weights.ndim or any(own not in (1, side) for own, side in sides):
        wanted = f"a number, or of a shape that broadcasts to that of weights {tuple(weights.shape)}"
        raise ValueError(message(function, "power", wanted, f"shape {tuple(power.shape)}", remedy))
    if power.ndim:
        check_device(function, "power", power.device, "weights", weights.device)
    if readable(power) and not bool((fits := (power >= 0) & power.isfinite()).all()):
        raise ValueError(message(function, "power", "finite and at least 0", first_wrong(power, ~fits), remedy))
    return power


def anneal(weights: Tensor, power: float | Tensor) -> Tensor:
    """Flatten weights by a power, as proposals are early in training.

    Parameters
    ----------
    weights : Tensor
        ``(*rays, n)``, floating-point, at least 0.
    power : float or Tensor
        From 0, where all intervals are alike, the empty ones too, to 1, where weights stay as they are. A tensor without dimensions does
        not make `torch.compile` start anew for each of its values.

    Returns
    -------
    Tensor
        ``weights**power``, ``(*rays, n)``, dtype of ``weights``. For a positive power nothing stays nothing; derivatives there are 0.

    Raises
    ------
    ValueError
        If a weight or ``power`` is negative or not finite (where numbers can be looked at).
    TypeError
        If ``weights`` is not a floating-point tensor, or ``power`` not a number.

    Notes
    -----
    Section "Annealing" of Barron et al., Mip-NeRF 360, 2022: at the fraction ``x`` of training the power is ``b * x / ((b - 1) * x + 1)``,
    with ``b = 10``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.anneal(torch.tensor([0.0, 0.25, 1.0]), 0.5)
    tensor([0.0000, 0.5000, 1.0000])
    """
    function = "ts.ray.anneal"
    check_weights(function, weights)
    power = _read_power(function, power, weights)
    some = weights > 0
    return torch.where(some, weights.where(some, 1.0) ** power, (power == 0).to(weights)).to(weights.dtype)
