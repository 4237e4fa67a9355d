"""Sines and cosines in octaves: the positional encoding of NeRF."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._checks import check_count, message
from .._eager import why_not_eager
from ..coordinates.convert import check_coords
from .base import Encoding

_HIGHEST_ORDER = 64
_BLOCK = 2**17
"""How many angles a thread computes at a time, so that what lies between coordinates and encoding stays in its cache."""
_WORDS = (torch.complex128, torch.int64, torch.int32)
"""Dtypes to move bytes in, the widest first."""


def _check_order(function: str, order: int) -> int:
    order = check_count(function, "order", order)
    if order > _HIGHEST_ORDER:
        remedy = "A float32 in [-1, 1] has no finer detail."
        raise ValueError(message(function, "order", f"at most {_HIGHEST_ORDER}", order, remedy))
    return order


def _may_write(x: Tensor) -> bool:
    """Whether the result for coords may be written piece by piece: on a CPU, where no derivative, transform or trace follows."""
    return why_not_eager(x) is None and not (x.requires_grad and torch.is_grad_enabled()) and x.device.type == "cpu"


def _write(x: Tensor, octaves: Tensor) -> Tensor:
    """The definition in `gamma`, bit for bit, but block by block and in place.

    The cosines of a point at an octave, ``dim`` numbers, go to their place together, in the widest words that they fill: moved one
    at a time they would take as long as computing them.
    """
    dim = x.shape[-1]
    word = next(dtype for dtype in _WORDS if dim * x.itemsize % dtype.itemsize == 0)
    points = x.reshape(-1, dim).clone(memory_format=torch.contiguous_format).view(word)
    encoded = x.new_empty(len(points), len(octaves), 2, dim)
    n_points = max(1, _BLOCK * torch.get_num_threads() // (len(octaves) * dim))
    factors = octaves.repeat_interleave(word.itemsize // x.itemsize)
    for column, place in zip(torch.split(points, 1, dim=-1), encoded.view(word).unbind(-1), strict=True):
        for some, target in zip(torch.split(column, n_points), torch.split(place, n_points), strict=True):
            turns = some.expand(-1, len(octaves)).contiguous().view(x.dtype).mul_(factors)
            angle = turns.sub_(turns.round()).mul_(2 * math.pi)
            target[..., 0] = angle.cos().view(word)
            target[..., 1] = angle.sin_().view(word)
    return encoded.reshape(*x.shape[:-1], -1)


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
    order = _check_order(function, order)
    x = coords.to(torch.promote_types(coords.dtype, torch.float32))
    # In whole turns of the circle: half of 2**o * x.
    octaves = torch.exp2(torch.arange(-1, order - 1, dtype=x.dtype, device=x.device))
    # Sizes come last: a trace must not ask for them.
    if _may_write(x) and x.numel() * order >= _BLOCK // 2:
        return _write(x, octaves).to(coords.dtype)
    turns = x.unsqueeze(-2) * octaves.unsqueeze(-1)
    angle = 2 * math.pi * (turns - turns.round())
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
        self.order = _check_order("ts.encoding.Gamma", order)

    def forward(self, coords: Tensor) -> Tensor:
        return gamma(coords, self.order)

    def extra_repr(self) -> str:
        return f"order={self.order}"
