"""Where in its pixel a coordinate is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from .._checks import check_choice, check_flag, check_size, message
from ..coordinates.convert import arithmetic_dtype, check_coords, to_position
from .base import Encoding

Relative = Literal["coord", "pixel"]
_SIGNS = {"coord": 2, "pixel": -2}


def nearest_pixel(coords: Tensor, size: Sequence[int], align_corners: bool = False, relative_to: Relative = "coord") -> Tensor:
    """Encode coordinates as themselves and their offset from the nearest pixel centre.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(..., dim)`` in the order ``(x, y, ...)``, floating-point.
    size : sequence of int
        ``(w, h, ...)`` of the map whose pixels count.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centers of its first and last pixels.
    relative_to : {"coord", "pixel"}, default: "coord"
        ``"coord"``: the pixel's center minus the coordinate, as in release 0.1 and its checkpoints. ``"pixel"``: the coordinate minus the
        pixel's center, as in LIIF (Chen et al., 2021) and CRM (Shen et al., 2022), and as the offsets of `neighborhood`.

    Returns
    -------
    Tensor
        ``(..., 2 * dim)``: the coords, then the offsets; dtype of ``coords``, computed in float32 at least.

    Raises
    ------
    ValueError
        If ``size`` is not positive or does not have one side per coordinate, or ``relative_to`` is not known.
    TypeError
        If ``coords`` is not a floating-point tensor.

    Notes
    -----
    The offset is twice the difference of the two in pixels: from -1 to 1 between the pixel's edges. Halfway between two pixels, the even
    one counts. The pixel is clamped to the map, so coordinates outside of it get offsets beyond ``[-1, 1]``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.encoding.nearest_pixel(torch.tensor([[0.25, -0.25]]), (2, 2))
    tensor([[ 0.2500, -0.2500,  0.5000, -0.5000]])
    """
    function = "ts.encoding.nearest_pixel"
    check_coords(function, coords)
    sides = check_size(function, size)
    check_flag(function, "align_corners", align_corners)
    if len(sides) != coords.shape[-1]:
        wanted = f"as long as the last dimension of `coords`, which has shape {tuple(coords.shape)}"
        raise ValueError(message(function, "size", wanted, sides, "Give one side per coordinate, (w, h, ...)."))
    check_choice(function, "relative_to", relative_to, list(_SIGNS))
    exact = coords.to(arithmetic_dtype(coords.dtype))
    positions = [to_position(axis, side, align_corners) for axis, side in zip(exact.unbind(-1), sides, strict=True)]
    scale = _SIGNS[relative_to]
    offsets = [scale * (position.round().clamp(0, side - 1) - position) for position, side in zip(positions, sides, strict=True)]
    return torch.cat([coords, torch.stack(offsets, dim=-1).to(coords.dtype)], dim=-1)


class NearestPixel(Encoding):
    """`nearest_pixel` as a Module.

    Parameters
    ----------
    size : sequence of int
        ``(w, h, ...)`` of the map whose pixels count.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centers of its first and last pixels.
    relative_to : {"coord", "pixel"}, default: "coord"
        The sign of the offsets, as in `nearest_pixel`.

    Raises
    ------
    ValueError, TypeError
        If ``size`` does not consist of positive ints, or ``relative_to`` is not known.

    Examples
    --------
    >>> import torchsample as ts
    >>> ts.encoding.NearestPixel((640, 480)).out_features(dim=2)
    4
    """

    def __init__(self, size: Sequence[int], align_corners: bool = False, relative_to: Relative = "coord") -> None:
        super().__init__()
        function = "ts.encoding.NearestPixel"
        self.size = check_size(function, size)
        check_flag(function, "align_corners", align_corners)
        check_choice(function, "relative_to", relative_to, list(_SIGNS))
        self.align_corners, self.relative_to = align_corners, relative_to

    def forward(self, coords: Tensor) -> Tensor:
        return nearest_pixel(coords, self.size, self.align_corners, self.relative_to)

    def extra_repr(self) -> str:
        return f"size={self.size}, align_corners={self.align_corners}, relative_to={self.relative_to!r}"
