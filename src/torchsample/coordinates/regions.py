"""Coordinates of regions: boxes, also rotated ones, as affine maps from their own ``[-1, 1]`` to that of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_device, check_floating, check_size, message
from .convert import arithmetic_dtype, check_coords

__all__ = ["from_region", "region_from_box", "region_from_rotated_box", "to_region"]


def _check_boxes(function: str, boxes: Tensor, width: int | None, order: str) -> None:
    check_floating(function, "boxes", boxes)
    if boxes.ndim == 0 or boxes.shape[-1] == 0 or (boxes.shape[-1] % 2 if width is None else boxes.shape[-1] != width):
        remedy = "Take the batch index out of the first column; it is an argument of its own."
        raise ValueError(message(function, "boxes", f"of shape (..., {order})", f"shape {tuple(boxes.shape)}", remedy))


def check_regions(function: str, regions: Tensor, rank: int | None = None) -> None:
    """Check affine maps ``(..., d, d + 1)``."""
    check_floating(function, "regions", regions)
    wanted = "(..., d, d + 1)" if rank is None else f"(..., {rank}, {rank + 1})"
    if regions.ndim < 2 or regions.shape[-1] != regions.shape[-2] + 1 or (rank is not None and regions.shape[-2] != rank):
        remedy = "Make them of boxes with ts.coord.region_from_box(boxes, size)."
        raise ValueError(message(function, "regions", f"affine maps {wanted}", f"shape {tuple(regions.shape)}", remedy))


def _scales(size: Sequence[int], like: Tensor) -> Tensor:
    return 2 / torch.tensor(size, dtype=like.dtype, device=like.device)


def region_from_box(boxes: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Make regions of axis-parallel boxes.

    Parameters
    ----------
    boxes : Tensor
        ``(..., 2 * d)``, floating-point: the low corner, then the high one, ``(x0, y0, x1, y1)``; in normalized coordinates, or in pixels
        if ``size`` is given.
    size : sequence of int, optional
        ``(w, h, ...)`` of the image. Boxes are then in pixels, where pixel ``i`` reaches from ``i`` to ``i + 1``, as torchvision's and
        COCO's.

    Returns
    -------
    Tensor
        ``(..., d, d + 1)``, dtype of ``boxes``: affine maps from ``[-1, 1]`` in the box to normalized coordinates of the image, as `affine`
        and `from_region` take them. A box whose low corner is beyond its high one is mirrored.

    Raises
    ------
    ValueError
        If boxes do not have two numbers per axis, or ``size`` another number of axes.
    TypeError
        If ``boxes`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.coord.region_from_box(torch.tensor([0.0, 0.0, 320.0, 480.0]), (640, 480))
    tensor([[ 0.5000,  0.0000, -0.5000],
            [ 0.0000,  1.0000,  0.0000]])
    """
    function = "ts.coord.region_from_box"
    _check_boxes(
        function, boxes, None if size is None else 2 * len(check_size(function, size)), "2 * d), the corners (x0, y0, ..., x1, y1, ..."
    )
    low, high = boxes.chunk(2, dim=-1)
    if size is not None:
        scale = _scales(size, boxes)
        low, high = low * scale - 1, high * scale - 1
    return torch.cat([torch.diag_embed((high - low) / 2), ((low + high) / 2).unsqueeze(-1)], dim=-1)


def region_from_rotated_box(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Make regions of rotated boxes in the plane.

    Parameters
    ----------
    boxes : Tensor
        ``(..., 5)``, floating-point: centre, sides and angle ``(x, y, w, h, angle)`` in pixels and degrees, counter-clockwise as one sees
        the image, as in detectron2 and torchvision's ``"cxcywhr"``. Pixel ``i`` reaches from ``i`` to ``i + 1``.
    size : sequence of int
        ``(w, h)`` of the image.

    Returns
    -------
    Tensor
        ``(..., 2, 3)``, dtype of ``boxes``: affine maps from ``[-1, 1]`` in the box to normalized coordinates of the image.

    Raises
    ------
    ValueError
        If boxes do not have five numbers, or ``size`` two.
    TypeError
        If ``boxes`` is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> upright = ts.coord.region_from_rotated_box(torch.tensor([50.0, 40.0, 20.0, 10.0, 90.0]), (100, 80))
    >>> ts.coord.from_region(torch.tensor([1.0, 1.0]), upright)  # its right end is on top
    tensor([ 0.1000, -0.2500])
    """
    function = "ts.coord.region_from_rotated_box"
    sides = check_size(function, size)
    if len(sides) != 2:
        raise ValueError(message(function, "size", "(w, h)", sides, "An angle is one of the plane."))
    _check_boxes(function, boxes, 5, "5), centre, sides and angle (x, y, w, h, degrees")
    centre, half, angle = boxes[..., :2], boxes[..., 2:4] / 2, boxes[..., 4].deg2rad()
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2)
    scale = _scales(sides, boxes)
    matrix = turn * half.unsqueeze(-2) * scale.unsqueeze(-1)
    return torch.cat([matrix, (centre * scale - 1).unsqueeze(-1)], dim=-1)


def _align(function: str, coords: Tensor, regions: Tensor) -> Tensor:
    """Regions ``(*batch, 1, ..., d, d + 1)`` that broadcast with coords ``(*batch, *points, d)``."""
    check_coords(function, coords)
    check_regions(function, regions, coords.shape[-1])
    check_device(function, "regions", regions.device, "coords", coords.device)
    n_points = coords.ndim - 1 - (regions.ndim - 2)
    shape = regions.shape[:-2]
    if n_points < 0 or any(mine != its and 1 not in (mine, its) for mine, its in zip(coords.shape, shape, strict=False)):
        wanted = f"(*batch, *points, {coords.shape[-1]}) with a batch like {tuple(shape)}"
        remedy = "Each region takes the points of its own batch entry; 1 stands for all."
        raise ValueError(message(function, "coords", wanted, f"shape {tuple(coords.shape)}", remedy))
    return regions.reshape(*shape, *[1] * n_points, *regions.shape[-2:])


def from_region(coords: Tensor, regions: Tensor) -> Tensor:
    """Convert coordinates in regions to coordinates of the image that the regions are in.

    Parameters
    ----------
    coords : Tensor
        ``(*batch, *points, d)``, floating-point; ``[-1, 1]`` spans the region.
    regions : Tensor
        Affine maps ``(*batch, d, d + 1)``, as `region_from_box` makes them.

    Returns
    -------
    Tensor
        Normalized coordinates ``(*batch, *points, d)`` of the image.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an argument is not floating-point.

    See Also
    --------
    to_region : the inverse.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> image = torch.rand(2, 3, 480, 640)
    >>> boxes = torch.tensor([[0.0, 0.0, 100.0, 50.0], [10.0, 20.0, 30.0, 40.0]])  # one per image
    >>> points = ts.coord.rand(2, 196)  # in the boxes
    >>> ts.sample(ts.coord.from_region(points, ts.coord.region_from_box(boxes, (640, 480))), image).shape
    torch.Size([2, 196, 3])
    """
    theta = _align("ts.coord.from_region", coords, regions)
    # Sums of products rather than a matrix product, which autocast would round to half precision.
    return (theta[..., :-1] * coords.unsqueeze(-2)).sum(-1) + theta[..., -1]


def to_region(coords: Tensor, regions: Tensor) -> Tensor:
    """Convert coordinates of an image to coordinates in regions of it, the inverse of `from_region`.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, d)`` of the image, floating-point.
    regions : Tensor
        Affine maps ``(*batch, d, d + 1)``, as `region_from_box` makes them.

    Returns
    -------
    Tensor
        ``(*batch, *points, d)``; ``[-1, 1]`` spans the region. NaN or infinite for regions without extent.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an argument is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> region = ts.coord.region_from_box(torch.tensor([0.0, 0.0, 320.0, 480.0]), (640, 480))
    >>> ts.coord.to_region(torch.tensor([-0.5, 0.5]), region)
    tensor([0.0000, 0.5000])
    """
    theta = _align("ts.coord.to_region", coords, regions)
    dtype = torch.promote_types(coords.dtype, regions.dtype)
    theta = theta.to(arithmetic_dtype(dtype))
    offset = (coords.to(theta.dtype) - theta[..., -1]).unsqueeze(-1)
    # Regions without extent have no inverse; `solve_ex` says so with numbers that are not finite instead of an error for all.
    solution: Tensor = torch.linalg.solve_ex(theta[..., :-1].expand(*offset.shape[:-1], -1), offset)[0]
    return solution.squeeze(-1).to(dtype)
