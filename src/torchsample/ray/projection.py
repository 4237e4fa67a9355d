"""Normalized device coordinates: a frustum as a cube."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_size, message
from .arguments import as_scalars, check_rays, first_wrong, readable

__all__ = ["ndc"]


def ndc(
    origins: Tensor, directions: Tensor, size: Sequence[int], focal: float | Tensor, near: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """Take rays of cameras that look ahead to normalized device coordinates, where depth up to infinity is within reach.

    Parameters
    ----------
    origins : Tensor
        ``(*rays, 3)``, floating-point, in OpenGL's axes of the common frame: x right, y up, all cameras look along -z more or less.
    directions : Tensor
        ``(*rays, 3)``, of any length; their z is negative.
    size : sequence of int
        ``(w, h)`` of the images in pixels.
    focal : float or Tensor
        Focal length in pixels, or one per batch; the axis is in the middle of the image.
    near : float or Tensor, default: 1.0
        Depth of the near plane ``z = -near``, or one per batch; nothing before it is seen.

    Returns
    -------
    origins : Tensor
        ``(*rays, 3)``: where rays meet the near plane, ``z = -1``.
    directions : Tensor
        ``(*rays, 3)``: such that a distance of 0 is the near plane, and 1 is infinity, at ``z = 1``. In the dtype that both arguments
        promote to, float32 at least.

    Raises
    ------
    ValueError
        If shapes do not fit, or a ray does not look along -z, ``near`` or ``focal`` is not positive (where numbers can be looked at).
    TypeError
        If a tensor is not floating-point.

    Notes
    -----
    A point at depth ``t`` along the ray that starts at the near plane is at ``1 - near / depth`` of the new one, so equal steps there are
    steps in disparity (Mildenhall et al., NeRF, 2020, appendix C). A ray that passes the camera sideways has no such coordinates.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> origins, directions = ts.ray.ndc(torch.zeros(3), torch.tensor([0.5, 0.0, -1.0]), (4, 4), focal=2.0)
    >>> origins, directions
    (tensor([ 0.5000,  0.0000, -1.0000]), tensor([0., 0., 2.]))
    """
    function = "ts.ray.ndc"
    origins, directions = check_rays(function, origins, directions, 3)
    sides = check_size(function, size)
    if len(sides) != 2:
        raise ValueError(message(function, "size", "(w, h)", sides, "Give the size of the images in pixels."))
    leading = directions.shape[:-1]
    focal, near = as_scalars(function, "focal", focal, leading, directions), as_scalars(function, "near", near, leading, directions)
    for argument, value in (("focal", focal), ("near", near), ("directions", -directions[..., 2])):
        if readable(value) and not bool((value > 0).all()):
            wanted = "along -z" if argument == "directions" else "positive"
            got = "a ray that is not" if argument == "directions" else first_wrong(value, ~(value > 0))
            raise ValueError(message(function, argument, wanted, got, "These coordinates are for cameras that all look ahead, along -z."))
    slope = directions[..., :2] / directions[..., 2:]
    # Where the ray meets the near plane; from there on, x and y are those of the image, and z is known.
    start = origins[..., :2] - (near + origins[..., 2]).unsqueeze(-1) * slope
    scale = torch.stack([focal * (2 / side) for side in sides], dim=-1)
    place = scale * start / near.unsqueeze(-1)
    ones = torch.ones_like(origins[..., :1])
    return torch.cat([place, -ones], dim=-1), torch.cat([-scale * slope - place, 2 * ones], dim=-1)
