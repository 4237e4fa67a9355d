"""Where in its pixel a coordinate is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_flag, check_size, message
from ..coordinates.convert import arithmetic_dtype, check_coords, to_position
from .base import Encoding


def nearest_pixel(coords: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Encode coordinates as themselves and their offset from the nearest pixel centre.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(..., dim)`` in the order ``(x, y, ...)``, floating-point.
    size : sequence of int
        ``(w, h, ...)`` of the map whose pixels count.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Returns
    -------
    Tensor
        ``(..., 2 * dim)``: the coords, then the offsets; dtype of ``coords``, computed in float32 at least.

    Raises
    ------
    ValueError
        If ``size`` is not positive or does not have one side per coordinate.
    TypeError
        If ``coords`` is not a floating-point tensor.

    Notes
    -----
    The offset is twice the coordinate's pixel position minus that of the pixel: from -1 at the pixel's lower edge to 1 at its
    upper edge, positive where the coordinate is the larger one, as in LIIF (Chen et al., 2021) and CRM (Shen et al.,
    2022). Halfway between two pixels, the even one counts. The pixel is clamped to the map, so coordinates outside of it get
    offsets beyond ``[-1, 1]``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.encoding.nearest_pixel(torch.tensor([[0.25, -0.25]]), (2, 2))
    tensor([[ 0.2500, -0.2500, -0.5000,  0.5000]])
    """
    function = "ts.encoding.nearest_pixel"
    check_coords(function, coords)
    sides = check_size(function, size)
    check_flag(function, "align_corners", align_corners)
    if len(sides) != coords.shape[-1]:
        wanted = f"as long as the last dimension of `coords`, which has shape {tuple(coords.shape)}"
        raise ValueError(message(function, "size", wanted, sides, "Give one side per coordinate, (w, h, ...)."))
    exact = coords.to(arithmetic_dtype(coords.dtype))
    positions = [to_position(axis, side, align_corners) for axis, side in zip(exact.unbind(-1), sides, strict=True)]
    offsets = [2 * (position - position.round().clamp(0, side - 1)) for position, side in zip(positions, sides, strict=True)]
    return torch.cat([coords, torch.stack(offsets, dim=-1).to(coords.dtype)], dim=-1)


class NearestPixel(Encoding):
    """`nearest_pixel` as a Module.

    Parameters
    ----------
    size : sequence of int
        ``(w, h, ...)`` of the map whose pixels count.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Raises
    ------
    ValueError, TypeError
        If ``size`` does not consist of positive ints.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.encoding.NearestPixel((640, 480)).out_features(dim=2)
    4
    """

    def __init__(self, size: Sequence[int], align_corners: bool = False) -> None:
        super().__init__()
        self.size = check_size("ts.encoding.NearestPixel", size)
        check_flag("ts.encoding.NearestPixel", "align_corners", align_corners)
        self.align_corners = align_corners

    def forward(self, coords: Tensor) -> Tensor:
        return nearest_pixel(coords, self.size, self.align_corners)

    def extra_repr(self) -> str:
        return f"size={self.size}, align_corners={self.align_corners}"
