"""Sines and cosines in octaves: the positional encoding of NeRF."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._checks import check_count, message
from ..coordinates.convert import check_coords
from .base import Encoding

_HIGHEST_ORDER = 64


def _check_order(function: str, order: int) -> None:
    check_count(function, "order", order)
    if order > _HIGHEST_ORDER:
        remedy = "A float32 in [-1, 1] has no finer detail."
        raise ValueError(message(function, "order", f"at most {_HIGHEST_ORDER}", order, remedy))


def gamma(coords: Tensor, order: int = 10) -> Tensor:
    """Encode coordinates as cosines and sines in octaves.

    For each octave ``o`` from 0 to ``order - 1``, ``cos(2**o * pi * x)`` of all coordinates, then ``sin(2**o * pi * x)`` of all
    coordinates: the encoding of NeRF (Mildenhall et al., 2020, eq. 4).

    Parameters
    ----------
    coords : Tensor
        ``(..., dim)``, floating-point; the lowest octave has a period of 2, the width of the map.
    order : int, default: 10
        Number of octaves, from 1 to 64.

    Returns
    -------
    Tensor
        ``(..., 2 * dim * order)``, dtype of ``coords``; half precision is computed in float32.

    Raises
    ------
    TypeError
        If ``coords`` is not a floating-point tensor or ``order`` not an int.
    ValueError
        If ``order`` is out of range.

    Notes
    -----
    ``2**o * x`` is exact in floating point, so it is reduced modulo the period before it is multiplied by pi: in float32
    the error stays below 5e-7 at every octave, where that of the sine of a rounded ``2**o * pi * x`` doubles with each.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.encoding.gamma(torch.tensor([[0.0, 0.5]]), order=1)
    tensor([[ 1.0000e+00, -4.3711e-08,  0.0000e+00,  1.0000e+00]])
    """
    function = "ts.encoding.gamma"
    check_coords(function, coords)
    _check_order(function, order)
    x = coords.to(torch.promote_types(coords.dtype, torch.float32))
    octaves = torch.exp2(torch.arange(order, dtype=x.dtype, device=x.device))
    turns = x.unsqueeze(-2) * octaves.unsqueeze(-1)
    angle = math.pi * (turns - 2 * (turns / 2).round())
    return torch.stack([angle.cos(), angle.sin()], dim=-2).flatten(-3).to(coords.dtype)


class Gamma(Encoding):
    """`gamma` as a Module.

    Parameters
    ----------
    order : int, default: 10
        Number of octaves, from 1 to 64.

    Raises
    ------
    ValueError, TypeError
        If ``order`` is not an int in range.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.encoding.Gamma(order=10).out_features(dim=2)
    40
    """

    def __init__(self, order: int = 10) -> None:
        super().__init__()
        _check_order("ts.encoding.Gamma", order)
        self.order = order

    def forward(self, coords: Tensor) -> Tensor:
        return gamma(coords, self.order)

    def extra_repr(self) -> str:
        return f"order={self.order}"
