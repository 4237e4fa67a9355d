"""Where rays enter and leave simple bodies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import message
from .arguments import as_scalars, as_vectors, check_rays, first_wrong, readable
from .poses import read_pose, rotate

__all__ = ["Hits", "intersect_box", "intersect_oriented_box", "intersect_sphere"]


class Hits(NamedTuple):
    """What rays have of a body, as `intersect_box`, `intersect_sphere` and `intersect_oriented_box` give it.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> origins, directions = torch.tensor([[0.0, 0.0, 3.0], [0.0, 5.0, 3.0]]), torch.tensor([0.0, 0.0, -1.0])
    >>> near, far, hit = ts.ray.intersect_sphere(origins, directions, 0.0, 1.0)
    >>> edges = ts.ray.intervals(near[hit], far[hit], 4)
    >>> edges
    tensor([[2.0000, 2.5000, 3.0000, 3.5000, 4.0000]])
    """

    near: Tensor
    """Distance at which a ray enters, ``(*rays)``, in lengths of its direction; 0 if it starts inside, or misses."""
    far: Tensor
    """Distance at which it leaves, ``(*rays)``; 0 if it misses."""
    hit: Tensor
    """Whether the ray is inside for any length, bool, ``(*rays)``; merely to touch a corner is a miss."""


def _hits(near: Tensor, far: Tensor) -> Hits:
    near = near.clamp_min(0)
    hit = (near < far) & far.isfinite()
    return Hits(near.where(hit, 0.0), far.where(hit, 0.0), hit)


def _slabs(origins: Tensor, directions: Tensor, low: Tensor, high: Tensor) -> Hits:
    """Enter the last and leave the first of the slabs ``low <= x <= high`` along the axes."""
    # A component too small to divide by is none: the quotient, or its derivative, would overflow.
    tiny = math.sqrt(torch.finfo(directions.dtype).tiny)
    parallel = directions.abs() <= tiny * directions.detach().abs().amax(-1, keepdim=True)
    inside = (low <= origins) & (origins <= high)
    step = directions.where(~parallel, 1.0)
    first, second = (low - origins) / step, (high - origins) / step
    # Parallel to a slab, a ray is in it always or never; lying in its face, always.
    always = first.new_full((), math.inf)
    enter = torch.minimum(first, second).where(~parallel, torch.where(inside, -always, always))
    leave = torch.maximum(first, second).where(~parallel, torch.where(inside, always, -always))
    return _hits(enter.amax(-1), leave.amin(-1))


def intersect_box(
    origins: Tensor, directions: Tensor, low: float | Sequence[float] | Tensor, high: float | Sequence[float] | Tensor
) -> Hits:
    """Intersect rays with a closed axis-parallel box.

    Parameters
    ----------
    origins : Tensor
        ``(*rays, d)``, floating-point, any number of axes.
    directions : Tensor
        ``(*rays, d)``, of any length, which distances are measured in.
    low : float, sequence of float or Tensor
        The corner with the smallest coordinates, ``(d,)``, or boxes ``(*batch, d)`` aligned with the first dimensions of the rays; a number
        stands for all axes.
    high : float, sequence of float or Tensor
        The opposite corner, likewise.

    Returns
    -------
    Hits
        ``near``, ``far`` and ``hit``, each ``(*rays)``. Misses are marked and have both distances 0. In the dtype that origins and
        directions promote to, float32 at least. Derivatives are finite everywhere, 0 for misses.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``low`` is above ``high`` (where numbers can be looked at).
    TypeError
        If a tensor is not floating-point.

    Notes
    -----
    The method of slabs (Kay and Kajiya, 1986), where a ray parallel to a face asks whether it starts between the two instead of dividing
    by 0: one that lies in a face is inside.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> origins = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0], [2.0, 0.0, 3.0]])
    >>> ts.ray.intersect_box(origins, torch.tensor([0.0, 0.0, -1.0]), -1.0, 1.0)
    Hits(near=tensor([2., 2., 0.]), far=tensor([4., 4., 0.]), hit=tensor([ True,  True, False]))
    """
    function = "ts.ray.intersect_box"
    origins, directions = check_rays(function, origins, directions)
    corners = [as_vectors(function, name, value, origins.shape[:-1], origins) for name, value in (("low", low), ("high", high))]
    low, high = corners
    if readable(low, high) and not bool((low <= high).all()):
        got = first_wrong(low.expand_as(low + high), ~(low <= high))
        remedy = "Swap the corners along the axes where they are reversed."
        raise ValueError(message(function, "low", "at most `high` along every axis", got, remedy))
    return _slabs(origins, directions, low, high)


def intersect_sphere(origins: Tensor, directions: Tensor, centre: float | Sequence[float] | Tensor, radius: float | Tensor) -> Hits:
    """Intersect rays with a sphere.

    Parameters
    ----------
    origins : Tensor
        ``(*rays, d)``, floating-point, any number of axes.
    directions : Tensor
        ``(*rays, d)``, of any length, which distances are measured in.
    centre : float, sequence of float or Tensor
        ``(d,)``, or spheres ``(*batch, d)`` aligned with the first dimensions of the rays; a number stands for all axes.
    radius : float or Tensor
        Positive, or radii ``(*batch)``.

    Returns
    -------
    Hits
        ``near``, ``far`` and ``hit``, each ``(*rays)``. Misses are marked and have both distances 0; a tangent misses. In the dtype that
        origins and directions promote to, float32 at least. Derivatives are finite, and 0 for misses.

    Raises
    ------
    ValueError
        If shapes do not fit, or a radius is not positive (where numbers can be looked at).
    TypeError
        If a tensor is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.ray.intersect_sphere(torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.0, 0.0, -2.0]), 0.0, 1.0)
    Hits(near=tensor(1.), far=tensor(2.), hit=tensor(True))
    """
    function = "ts.ray.intersect_sphere"
    origins, directions = check_rays(function, origins, directions)
    middle = as_vectors(function, "centre", centre, origins.shape[:-1], origins)
    reach = as_scalars(function, "radius", radius, origins.shape[:-1], origins)
    if readable(reach) and not bool((reach > 0).all()):
        raise ValueError(message(function, "radius", "positive", first_wrong(reach, ~(reach > 0)), "A sphere without extent is never hit."))
    # In units of the longest component, so that squares of very short or long directions neither vanish nor overflow.
    unit = directions.detach().abs().amax(-1) if directions.shape[-1] else directions.sum(-1)
    moving = (unit > 0) & unit.isfinite()
    unit = unit.where(moving, 1.0)
    directions = directions / unit.unsqueeze(-1)
    square = (directions**2).sum(-1)
    square = square.where(moving, 1.0)
    # From the point of the ray nearest to the centre: the usual discriminant loses a small sphere far away in rounding.
    closest = ((middle - origins) * directions).sum(-1) / square
    offset = origins + closest.unsqueeze(-1) * directions - middle
    room = reach**2 - (offset**2).sum(-1)
    hit = (room > 0) & moving
    half = (room.where(hit, 1.0) / square).sqrt()
    return _hits(((closest - half) / unit).where(hit, 0.0), ((closest + half) / unit).where(hit, 0.0))


def intersect_oriented_box(origins: Tensor, directions: Tensor, pose: Tensor, half: float | Sequence[float] | Tensor) -> Hits:
    """Intersect rays with a closed box of any orientation.

    Parameters
    ----------
    origins : Tensor
        ``(*rays, 3)``, floating-point.
    directions : Tensor
        ``(*rays, 3)``, of any length, which distances are measured in.
    pose : Tensor
        Box-to-world matrices ``(*batch, 3, 4)`` or ``(*batch, 4, 4)``, aligned with the first dimensions of the rays: a rotation, and the
        middle of the box in the last column.
    half : float, sequence of float or Tensor
        Half of each side, ``(3,)`` or ``(*batch, 3)``; a number makes a cube.

    Returns
    -------
    Hits
        ``near``, ``far`` and ``hit``, each ``(*rays)``, as `intersect_box` gives them.

    Raises
    ------
    ValueError
        If shapes do not fit, a pose is not a rotation and a translation, or a side is not positive (where numbers can be looked at).
    TypeError
        If a tensor is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> upright = torch.eye(4)
    >>> upright[2, 3] = -5.0
    >>> ts.ray.intersect_oriented_box(torch.zeros(3), torch.tensor([0.0, 0.0, -1.0]), upright, (1.0, 1.0, 2.0))
    Hits(near=tensor(3.), far=tensor(7.), hit=tensor(True))
    """
    function = "ts.ray.intersect_oriented_box"
    origins, directions = check_rays(function, origins, directions, 3)
    rotation, translation = read_pose(function, pose, origins)
    sides = as_vectors(function, "half", half, origins.shape[:-1], origins)
    if readable(sides) and not bool((sides > 0).all()):
        raise ValueError(message(function, "half", "positive", first_wrong(sides, ~(sides > 0)), "It is half the length of each side."))
    back = rotation.mT
    return _slabs(rotate(back, origins - translation), rotate(back, directions), -sides, sides)
