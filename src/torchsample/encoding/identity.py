"""The coordinates themselves."""

from __future__ import annotations

from torch import Tensor

from ..coordinates.convert import check_coords
from .base import Encoding


def identity(coords: Tensor) -> Tensor:
    """Give the coordinates themselves, as an ``encoder`` for `sample` or a baseline.

    Parameters
    ----------
    coords : Tensor
        ``(..., dim)``, floating-point.

    Returns
    -------
    Tensor
        ``coords``.

    Raises
    ------
    TypeError
        If ``coords`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap, coords = torch.zeros(1, 64, 8, 8), ts.coord.rand(1, 100)
    >>> ts.sample(coords, featmap, encoder=ts.encoding.identity).shape
    torch.Size([1, 100, 66])
    """
    check_coords("ts.encoding.identity", coords)
    return coords


class Identity(Encoding):
    """`identity` as a Module.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.encoding.Identity().out_features(dim=3)
    3
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, coords: Tensor) -> Tensor:
        return identity(coords)
