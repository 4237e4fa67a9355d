"""What cameras give and where they stand: rays, and rigid poses."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .._checks import check_floating, message
from .arguments import align, readable

Convention = Literal["opengl", "opencv"]


class Rays(NamedTuple):
    """Rays of a camera, as `pinhole`, `orthographic`, `equirectangular` and `fisheye` give them.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> coords = ts.coord.full(1, (64, 48))
    >>> origins, directions, radii = ts.ray.pinhole(coords, torch.eye(4), (64, 48), fov=0.9)
    >>> origins.shape, directions.shape, radii.shape
    (torch.Size([1, 48, 64, 3]), torch.Size([1, 48, 64, 3]), torch.Size([1, 48, 64, 1]))
    """

    origins: Tensor
    """Where rays start, ``(*batch, *points, 3)``; may be a view of the poses, not to be written into."""
    directions: Tensor
    """Where they go, ``(*batch, *points, 3)``."""
    radii: Tensor
    """How wide the cone of a pixel gets per length of the direction, ``(*batch, *points, 1)``."""


def first_matrix(name: str, matrices: Tensor, wrong: Tensor) -> str:
    """The first matrix ``(*batch, r, c)`` that is wrong ``(*batch)``, in four digits, and its number, for an error."""
    place = wrong.nonzero()[0].tolist()
    rows = (", ".join(f"{number:.4g}" for number in row) for row in matrices[tuple(place)].tolist())
    return f"[[{'], ['.join(rows)}]] for " + (f"{name} {place if len(place) > 1 else place[0]}" if place else f"the {name}")


def _check_values(function: str, pose: Tensor) -> None:
    rotation = pose.detach()[..., :3, :3].to(torch.float64)
    identity = torch.eye(3, dtype=torch.float64, device=pose.device)
    # Poses are often written with three digits, or held in half precision; scales and shears are far larger than either.
    tolerance = max(2e-3, 8 * torch.finfo(pose.dtype).eps)
    error = (rotation.mT @ rotation - identity).abs().amax((-2, -1))
    # Not `error > tolerance`: NaN is no rotation either.
    wrong = ~(error <= tolerance) | ~(torch.linalg.det(rotation) > 0) | ~pose.detach()[..., :3, 3].isfinite().all(-1)
    if pose.shape[-2] == 4:
        wrong |= (pose.detach()[..., 3, :] != pose.new_tensor([0, 0, 0, 1])).any(-1)
    if wrong.any():
        wanted = "a rotation and a translation [R | t] (R^T R = 1, det R = 1, a fourth row 0 0 0 1)"
        got = f"{first_matrix('pose', pose, wrong)}, where R^T R differs from 1 by {error[wrong][0]:.2g}"
        remedy = (
            "Divide the columns of R by the scale; a transposed matrix has its translation in the last row; invert world-to-camera poses."
        )
        raise ValueError(message(function, "pose", wanted, got, remedy))


def read_pose(function: str, pose: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations ``(*batch, 1, ..., 3, 3)`` and translations ``(*batch, 1, ..., 3)`` for points ``(*batch, ..., n)``, in their dtype."""
    check_floating(function, "pose", pose)
    if pose.ndim < 2 or pose.shape[-1] != 4 or pose.shape[-2] not in (3, 4):
        remedy = "A pose [R | t] takes camera coordinates to those of the world."
        raise ValueError(message(function, "pose", "of shape (*batch, 3, 4) or (*batch, 4, 4)", f"shape {tuple(pose.shape)}", remedy))
    if readable(pose):
        _check_values(function, pose)
    aligned = align(function, "pose", pose, like.shape[:-1], 2, like)[..., :3, :]
    return aligned[..., :3], aligned[..., 3]


def rotate(rotation: Tensor, vectors: Tensor, convention: Convention = "opencv") -> Tensor:
    """Rotations ``(..., 3, 3)``, of a camera of that convention, of vectors ``(..., 3)`` on OpenCV's axes: x right, y down, z ahead."""
    # As sums of products: autocast and TF32 would round a matrix product.
    x, y, z = (column * component.unsqueeze(-1) for column, component in zip(rotation.unbind(-1), vectors.unbind(-1), strict=True))
    return x - y - z if convention == "opengl" else x + y + z
