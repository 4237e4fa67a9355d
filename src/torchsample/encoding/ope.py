"""Orthogonal position encoding: the Fourier basis of a cell (OPE-SR)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._checks import check_count, check_memory
from ..coordinates.convert import arithmetic_dtype, check_coords
from .base import Encoding


def ope(offsets: Tensor, order: int = 3) -> Tensor:
    """Encode offsets from a cell as the products of a Fourier basis along each axis.

    A map of ``c * (2 * order + 1)**d`` channels is then an image of ``c`` channels at any resolution, without a network: at each
    cell, the sum of its features times these.

    Parameters
    ----------
    offsets : Tensor
        ``(..., d)``, floating-point, where a cell is 2 wide: as `neighborhood` gives them.
    order : int, default: 3
        Harmonics along each axis; 0 is the constant alone.

    Returns
    -------
    Tensor
        ``(..., (2 * order + 1)**d)``, x running fastest; dtype of ``offsets``, computed in float32 at least.

    Raises
    ------
    TypeError
        If ``offsets`` is not a floating-point tensor.
    ValueError
        If ``order`` is negative.

    Notes
    -----
    Along an axis ``1, sqrt(2) cos(k w x), sqrt(2) sin(k w x)`` for ``k`` from 1 to ``order`` and ``w = pi / 2``: orthonormal, in the mean,
    on the interval ``[-2, 2]`` that offsets from the nearest two cells come from. Song et al., "OPE-SR: Orthogonal Position Encoding for
    Designing a Parameter-free Upsampling Module in Arbitrary-scale Image Super-Resolution", 2023.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.encoding.ope(torch.tensor([[0.0], [0.5]]), order=1)
    tensor([[1.0000, 1.4142, 0.0000],
            [1.0000, 1.0000, 1.0000]])
    >>> latent, coords = torch.rand(1, 3 * 49, 12, 16), ts.coord.full(1, (64, 48))
    >>> cells = ts.neighborhood(coords, latent)
    >>> colours = torch.einsum("...kcp,...kp->...kc", cells.features.unflatten(-1, (3, 49)), ts.encoding.ope(cells.offsets))
    >>> (cells.weights.unsqueeze(-1) * colours).sum(-2).shape
    torch.Size([1, 48, 64, 3])
    """
    function = "ts.encoding.ope"
    check_coords(function, offsets, "offsets")
    order = check_count(function, "order", order, minimum=0)
    width = (2 * order + 1) ** offsets.shape[-1]
    check_memory(function, "order", offsets[..., :1].numel() * width + order, torch.float32, offsets.device, order)
    exact = offsets.to(arithmetic_dtype(offsets.dtype))
    basis = torch.ones_like(exact[..., :1])
    harmonics = torch.arange(1, order + 1, dtype=exact.dtype, device=exact.device)
    for x in exact.unbind(-1):
        # Whole periods, 4 wide, do not change a wave, but multiplied by pi they cost it digits.
        quarters = harmonics * (x - 4 * (x.detach() / 4).round()).unsqueeze(-1)
        phase = math.pi / 2 * (quarters - 4 * (quarters.detach() / 4).round())
        waves = math.sqrt(2) * torch.stack([phase.cos(), phase.sin()], dim=-1).flatten(-2)
        row = torch.cat([torch.ones_like(x).unsqueeze(-1), waves], dim=-1)
        basis = (row.unsqueeze(-1) * basis.unsqueeze(-2)).flatten(-2)
    return basis.to(offsets.dtype)


class Ope(Encoding):
    """`ope` as a Module.

    Parameters
    ----------
    order : int, default: 3
        Harmonics along each axis; 0 is the constant alone.

    Raises
    ------
    ValueError, TypeError
        If ``order`` is not an int of at least 0.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.encoding.Ope(order=3).out_features(dim=2)
    49
    """

    def __init__(self, order: int = 3) -> None:
        super().__init__()
        self.order = check_count("ts.encoding.Ope", "order", order, minimum=0)

    def forward(self, coords: Tensor) -> Tensor:
        return ope(coords, self.order)

    def extra_repr(self) -> str:
        return f"order={self.order}"
