"""Cast the rays of a camera through normalized coordinates of its image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from .._checks import check_choice, check_flag, check_floating, check_size, message
from ..coordinates.convert import check_coords
from .arguments import align, as_scalars, check_width, common_dtype, first_wrong, readable
from .poses import Convention, Rays, first_matrix, read_pose, rotate

__all__ = ["equirectangular", "fisheye", "orthographic", "pinhole"]


def _read(function: str, coords: Tensor, pose: Tensor, size: Sequence[int], convention: str) -> tuple[Tensor, tuple[int, int]]:
    """Check what all cameras take, and return coords in the dtype of the rays."""
    check_coords(function, coords)
    check_width(function, "coords", coords, 2, "(x, y)")
    check_floating(function, "pose", pose)
    check_choice(function, "convention", convention, ("opengl", "opencv"))
    sides = check_size(function, size)
    if len(sides) != 2:
        raise ValueError(message(function, "size", "(w, h)", sides, "Give the size of the image in pixels."))
    return coords.to(common_dtype(coords, pose)), (sides[0], sides[1])


def _check_open(function: str, argument: str, values: Tensor, high: float, remedy: str) -> None:
    if readable(values) and not bool((fits := (values > 0) & (values < high)).all()):
        wanted = "positive and finite" if math.isinf(high) else f"between 0 and {high:.5g}"
        raise ValueError(message(function, argument, wanted, first_wrong(values, ~fits), remedy))


def _check_intrinsics(function: str, intrinsics: Tensor) -> None:
    check_floating(function, "intrinsics", intrinsics)
    if intrinsics.shape[-2:] != (3, 3):
        remedy = "Write [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], in pixels."
        raise ValueError(message(function, "intrinsics", "of shape (*batch, 3, 3)", f"shape {tuple(intrinsics.shape)}", remedy))
    if readable(intrinsics):
        fixed = intrinsics.detach()[..., (1, 2, 2, 2), (0, 0, 1, 2)]
        focal = intrinsics.detach()[..., (0, 1), (0, 1)]
        wrong = ~((fixed == fixed.new_tensor([0, 0, 0, 1])).all(-1) & (focal > 0).all(-1))
        if bool(wrong.any()):
            wanted = "[[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy"
            remedy = "Signs of axes belong to `convention`; a transposed matrix has cx and cy in the last row."
            raise ValueError(message(function, "intrinsics", wanted, first_matrix("matrix", intrinsics, wrong), remedy))


def _plane(
    function: str, coords: Tensor, size: tuple[int, int], intrinsics: Tensor | None, fov: float | Tensor | None, wide: bool
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The map from coords to the image plane at depth 1, or (``wide``) to angles from the axis; x right, y down."""
    width, height = size
    if (intrinsics is None) == (fov is None):
        remedy = "Give either a matrix in pixels or the horizontal field of view in radians."
        raise ValueError(
            message(function, "intrinsics", "given if `fov` is not, and only then", "both" if fov is not None else None, remedy)
        )
    if intrinsics is not None:
        _check_intrinsics(function, intrinsics)
        matrix = align(function, "intrinsics", intrinsics, coords.shape[:-1], 2, coords)
        fx, skew, cx, fy, cy = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2], matrix[..., 1, 1], matrix[..., 1, 2]

        def from_pixels(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            y = ((y + 1) * (height / 2) - cy) / fy
            return ((x + 1) * (width / 2) - cx - skew * y) / fx, y

        return from_pixels
    angle = as_scalars(function, "fov", cast("float | Tensor", fov), coords.shape[:-1], coords)
    _check_open(
        function, "fov", angle, 2 * math.pi + 1e-5 if wide else math.pi, "It is the horizontal one, in radians: math.radians(degrees)."
    )
    edge = angle / 2 if wide else (angle / 2).tan()
    return lambda x, y: (x * edge, y * (edge * (height / width)))


def _cast(
    function: str, coords: Tensor, pose: Tensor, size: tuple[int, int], convention: Convention, look: Callable[[Tensor, Tensor], Tensor]
) -> Rays:
    """Turn directions ``look(x, y)``, on OpenCV's axes, into the world; the next pixels in x and y tell how wide a cone gets."""
    rotation, translation = read_pose(function, pose, coords)
    x, y = coords.unbind(-1)
    ahead, right, below = look(x, y), look(x + 2 / size[0], y), look(x, y + 2 / size[1])
    # The mean of both distances, times 2 / sqrt(12): a disc of that radius has the variance of the pixel's square.
    radii = ((right - ahead).norm(dim=-1, keepdim=True) + (below - ahead).norm(dim=-1, keepdim=True)) / math.sqrt(12)
    directions = rotate(rotation, ahead, convention)
    origins = translation.expand_as(directions)
    return Rays(origins, directions, radii.expand(*directions.shape[:-1], 1))


def pinhole(
    coords: Tensor,
    pose: Tensor,
    size: Sequence[int],
    intrinsics: Tensor | None = None,
    fov: float | Tensor | None = None,
    convention: Convention = "opengl",
    unit: bool = True,
) -> Rays:
    """Cast rays of a pinhole camera through points of its image.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, 2)`` of the image, floating-point: x right, y down, -1 and 1 at its outer edges. Those of
        `coord.full` are the centres of pixels; any others will do.
    pose : Tensor
        Camera-to-world matrices ``(*batch, 3, 4)`` or ``(*batch, 4, 4)``: a rotation, and the camera's place in the last column. Its batch
        is aligned with the first dimensions of ``coords``; sides are equal or 1.
    size : sequence of int
        ``(w, h)`` of the image in pixels.
    intrinsics : Tensor, optional
        ``[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]`` in pixels, ``(*batch, 3, 3)``. Pixel ``i`` reaches from ``i`` to ``i + 1``, so
        the middle of the image is at ``cx = w / 2``; where a tool counts from the centre of the first pixel, add one half.
    fov : float or Tensor, optional
        The horizontal field of view in radians, or one per batch; the axis is in the middle and pixels are square. Exactly one of
        ``intrinsics`` and ``fov`` is given.
    convention : {"opengl", "opencv"}, default: "opengl"
        Axes of the camera. ``"opengl"`` (Blender, NeRF): x right, y up, it looks along -z. ``"opencv"`` (COLMAP): x right, y down, it looks
        along +z.
    unit : bool, default: True
        Make directions of length 1. ``False`` leaves those that reach depth 1 along the optical axis, so that distances are depths.

    Returns
    -------
    Rays
        ``origins``, ``directions`` and ``radii``, in the dtype that ``coords`` and ``pose`` promote to, float32 at least. Differentiable
        by ``coords``, ``pose``, ``intrinsics`` and ``fov``.

    Raises
    ------
    ValueError
        If shapes do not fit, a pose is not a rotation and a translation, intrinsics are no such matrix, or not exactly one of
        ``intrinsics`` and ``fov`` is given. Values are looked at on the CPU only, and not under a transform or compilation.
    TypeError
        If a tensor is not floating-point.

    Notes
    -----
    A cone has the radius ``t * radii`` at ``origins + t * directions``: the mean of the distances from a direction to those of the next
    pixels in x and in y, times ``2 / sqrt(12)`` (Barron et al., Mip-NeRF, 2021, section 3.1). The pixels are those of ``size``.

    Examples
    --------
    >>> import math, torch, torchsample as ts
    >>> rays = ts.ray.pinhole(ts.coord.full(1, (3, 1)), torch.eye(4), (3, 1), fov=math.pi / 2, unit=False)
    >>> rays.directions[..., 0], rays.directions[..., 2]
    (tensor([[[-0.6667,  0.0000,  0.6667]]]), tensor([[[-1., -1., -1.]]]))
    """
    function = "ts.ray.pinhole"
    coords, sides = _read(function, coords, pose, size, convention)
    check_flag(function, "unit", unit)
    plane = _plane(function, coords, sides, intrinsics, fov, wide=False)

    def look(x: Tensor, y: Tensor) -> Tensor:
        x, y = plane(x, y)
        directions = torch.stack([x, y, torch.ones_like(x)], dim=-1)
        return directions / directions.norm(dim=-1, keepdim=True) if unit else directions

    return _cast(function, coords, pose, sides, convention, look)


def orthographic(coords: Tensor, pose: Tensor, size: Sequence[int], width: float | Tensor, convention: Convention = "opengl") -> Rays:
    """Cast the parallel rays of an orthographic camera through points of its image.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, 2)`` of the image, floating-point: x right, y down, -1 and 1 at its outer edges.
    pose : Tensor
        Camera-to-world matrices ``(*batch, 3, 4)`` or ``(*batch, 4, 4)``, aligned with the first dimensions of ``coords``.
    size : sequence of int
        ``(w, h)`` of the image in pixels, which are square.
    width : float or Tensor
        How wide the image is in the world, or one width per batch.
    convention : {"opengl", "opencv"}, default: "opengl"
        Axes of the camera: it looks along -z with y up, or along +z with y down.

    Returns
    -------
    Rays
        ``origins`` in the plane of the camera, unit ``directions``, and ``radii`` of the pixels' cylinders: the same at every distance.
        In the dtype that ``coords`` and ``pose`` promote to, float32 at least.

    Raises
    ------
    ValueError
        If shapes do not fit, ``width`` is not positive, or a pose is not a rotation and a translation.
    TypeError
        If a tensor is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> rays = ts.ray.orthographic(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.eye(4), (20, 10), width=4.0)
    >>> rays.origins
    tensor([[-2.,  1.,  0.],
            [ 2., -1.,  0.]])
    """
    function = "ts.ray.orthographic"
    coords, sides = _read(function, coords, pose, size, convention)
    rotation, translation = read_pose(function, pose, coords)
    extent = as_scalars(function, "width", width, coords.shape[:-1], coords)
    _check_open(function, "width", extent, math.inf, "It is measured in the units of the world.")
    x, y = coords[..., 0] * (extent / 2), coords[..., 1] * (extent * (sides[1] / sides[0] / 2))
    origins = translation + rotate(rotation, torch.stack([x, y, torch.zeros_like(x)], dim=-1), convention)
    directions = (-rotation[..., 2] if convention == "opengl" else rotation[..., 2]).expand_as(origins)
    radii = (extent * (2 / sides[0] / math.sqrt(12))).unsqueeze(-1)
    return Rays(origins, directions, radii.expand(*origins.shape[:-1], 1))


def equirectangular(coords: Tensor, pose: Tensor, size: Sequence[int], convention: Convention = "opengl") -> Rays:
    """Cast rays in all directions through points of a panorama: x is the longitude, y the latitude.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, 2)`` of the panorama, floating-point. The middle is straight ahead, x = -1 and 1 are
        behind, on the left and on the right, y = -1 is up and y = 1 is down.
    pose : Tensor
        Camera-to-world matrices ``(*batch, 3, 4)`` or ``(*batch, 4, 4)``, aligned with the first dimensions of ``coords``.
    size : sequence of int
        ``(w, h)`` of the panorama in pixels; only ``radii`` depend on it.
    convention : {"opengl", "opencv"}, default: "opengl"
        Axes of the camera: it looks along -z with y up, or along +z with y down.

    Returns
    -------
    Rays
        ``origins``, unit ``directions`` and ``radii``, in the dtype that ``coords`` and ``pose`` promote to, float32 at least.

    Raises
    ------
    ValueError
        If shapes do not fit, or a pose is not a rotation and a translation.
    TypeError
        If a tensor is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> rays = ts.ray.equirectangular(torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, -1.0]]), torch.eye(4), (200, 100))
    >>> rays.directions.round().int()  # ahead, to the right, up
    tensor([[ 0,  0, -1],
            [ 1,  0,  0],
            [ 0,  1,  0]], dtype=torch.int32)
    """
    function = "ts.ray.equirectangular"
    coords, sides = _read(function, coords, pose, size, convention)

    def look(x: Tensor, y: Tensor) -> Tensor:
        longitude, latitude = x * math.pi, y * (math.pi / 2)
        level = latitude.cos()
        return torch.stack([longitude.sin() * level, latitude.sin(), longitude.cos() * level], dim=-1)

    return _cast(function, coords, pose, sides, convention, look)


def _sinc_cos(square: Tensor) -> tuple[Tensor, Tensor]:
    """``sin(a) / a`` and ``cos(a)`` of ``a**2``: smooth functions of it, which a root in between would hide from derivatives at 0."""
    near = square < 0.01
    angle = torch.where(near, 1.0, square).sqrt()
    q = torch.where(near, square, 0.0)
    sinc = 1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110))))
    cos = 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56 * (1 - q / 90))))
    return torch.where(near, sinc, angle.sin() / angle), torch.where(near, cos, angle.cos())


def fisheye(
    coords: Tensor,
    pose: Tensor,
    size: Sequence[int],
    intrinsics: Tensor | None = None,
    fov: float | Tensor | None = None,
    convention: Convention = "opengl",
) -> Rays:
    """Cast rays of an equidistant fisheye camera: distances from the middle of the image are angles from the axis, ``r = f * theta``.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, 2)`` of the image, floating-point: x right, y down, -1 and 1 at its outer edges.
    pose : Tensor
        Camera-to-world matrices ``(*batch, 3, 4)`` or ``(*batch, 4, 4)``, aligned with the first dimensions of ``coords``.
    size : sequence of int
        ``(w, h)`` of the image in pixels.
    intrinsics : Tensor, optional
        ``[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]`` in pixels (per radian), ``(*batch, 3, 3)``; pixel ``i`` reaches
        from ``i`` to ``i + 1``.
    fov : float or Tensor, optional
        The horizontal field of view in radians, up to ``2 * pi``, or one per batch. Exactly one of ``intrinsics`` and ``fov`` is given.
    convention : {"opengl", "opencv"}, default: "opengl"
        Axes of the camera: it looks along -z with y up, or along +z with y down.

    Returns
    -------
    Rays
        ``origins``, unit ``directions`` and ``radii``, in the dtype that ``coords`` and ``pose`` promote to, float32 at least. Derivatives
        are finite in the middle too. Where corners of the image are more than pi from the axis, directions go round once more.

    Raises
    ------
    ValueError
        If shapes do not fit, a pose is not a rotation and a translation, or not exactly one of ``intrinsics`` and ``fov`` is given.
    TypeError
        If a tensor is not floating-point.

    Examples
    --------
    >>> import math, torch, torchsample as ts
    >>> rays = ts.ray.fisheye(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.eye(4), (100, 100), fov=math.pi)
    >>> rays.directions.round().int()  # ahead, and a right angle away from it
    tensor([[ 0,  0, -1],
            [ 1,  0,  0]], dtype=torch.int32)
    """
    function = "ts.ray.fisheye"
    coords, sides = _read(function, coords, pose, size, convention)
    plane = _plane(function, coords, sides, intrinsics, fov, wide=True)

    def look(x: Tensor, y: Tensor) -> Tensor:
        x, y = plane(x, y)
        sinc, cos = _sinc_cos(x**2 + y**2)
        return torch.stack([x * sinc, y * sinc, cos], dim=-1)

    return _cast(function, coords, pose, sides, convention, look)
