"""Pool the features of regions: a grid of points per region, averaged bin by bin."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ._checks import check_count, check_device, check_memory, check_size, check_tensor, is_int, message
from .coordinates.convert import to_position
from .coordinates.full import full
from .coordinates.regions import check_regions, from_region
from .layout import spatial_size
from .sampling import sample
from .sampling.checks import check_interpolable, check_map_numbers

__all__ = ["roi_align"]

NUMBERS = 1 << 23
"""Samples times channels that are held at once, 32 MB of them: adaptive ratios make thousands of samples of a large region."""


def _read_output(function: str, output_size: int | Sequence[int], rank: int) -> tuple[int, ...]:
    output = check_size(function, (output_size,) * rank if is_int(output_size) else output_size, "output_size")
    if len(output) != rank:
        wanted = f"an int, or {rank} of them for regions of {rank} axes"
        raise ValueError(message(function, "output_size", wanted, output, "The order is (w, h, ...)."))
    return output


def _bins(regions: Tensor, size: Sequence[int], output: Sequence[int]) -> Tensor:
    """Samples per bin along each axis, ``(n, d)``: as many as pixels."""
    sides = torch.tensor(size, dtype=torch.float64, device="cpu")
    lengths: Tensor = (regions[..., :-1].detach().cpu().double() * sides.unsqueeze(-1)).norm(dim=-2)
    # A box of whole pixels is one to the rounding of its normalized corners only.
    rounding = 4 * torch.finfo(regions.dtype).eps * sides
    # A region that is not finite has samples, too, which then are not finite either.
    return ((lengths - rounding).clamp_min(0) / sides.new_tensor(output)).ceil().nan_to_num(1, 1, 1).long()


def _far(coords: Tensor, size: Sequence[int]) -> Tensor:
    """Points more than one pixel beyond the outermost pixel centres."""
    axes = [to_position(x, side, False) for x, side in zip(coords.unbind(-1), size, strict=True)]
    return torch.stack([(axis < -1) | (axis > side) for axis, side in zip(axes, size, strict=True)]).any(0)


def _pool(regions: Tensor, featmap: Tensor, owner: Tensor, output: Sequence[int], ratio: Sequence[int]) -> Tensor:
    """`_means`, of some regions at a time."""
    if len(regions) == 0:
        return _nothing(regions, featmap, output)
    step = max(NUMBERS // max(featmap.shape[1] * prod(output) * prod(ratio), 1), 1)
    pieces = [slice(start, start + step) for start in range(0, len(regions), step)]
    return torch.cat([_means(regions[piece], featmap, owner[piece], output, ratio) for piece in pieces])


def _nothing(regions: Tensor, featmap: Tensor, output: Sequence[int]) -> Tensor:
    """Zeros for all regions; part of the graph of both, so that their derivatives are zeros and not an error."""
    zero = featmap.flatten()[:0].sum() + regions.flatten()[:0].sum().to(featmap.dtype)
    return featmap.new_zeros(len(regions), featmap.shape[1], *output[::-1]) + zero


def _means(regions: Tensor, featmap: Tensor, owner: Tensor, output: Sequence[int], ratio: Sequence[int]) -> Tensor:
    """Means ``(n, c, *output)`` of all regions with the same number of samples per bin."""
    rank, size = len(output), spatial_size(featmap, len(output))
    if 0 in ratio:
        return _nothing(regions, featmap, output)
    fine = tuple(side * count for side, count in zip(output, ratio, strict=True))
    coords = from_region(full(1, fine, regions.device, dtype=regions.dtype), regions)
    values = sample(coords.flatten(0, -2), featmap, batch_index=owner.repeat_interleave(coords[0, ..., 0].numel()))
    values = values.reshape(*coords.shape[:-1], -1).masked_fill(_far(coords, size).unsqueeze(-1), 0)
    shape = [number for side, count in zip(output[::-1], ratio[::-1], strict=True) for number in (side, count)]
    return values.reshape(len(regions), *shape, -1).mean(tuple(range(2, 2 * rank + 1, 2))).movedim(-1, 1)


def _owners(function: str, regions: Tensor, featmap: Tensor, batch_index: Tensor | None) -> Tensor:
    n_maps = featmap.shape[0]
    if batch_index is not None:
        check_tensor(function, "batch_index", batch_index)
    if batch_index is None:
        if n_maps > 1 or n_maps < min(len(regions), 1):
            remedy = "Say which of the maps each region is in."
            raise ValueError(message(function, "batch_index", f"given for {n_maps} maps", None, remedy))
        return torch.zeros(len(regions), dtype=torch.long, device=regions.device)
    if batch_index.shape != regions.shape[:1] or batch_index.dtype not in (torch.int64, torch.int32):
        wanted = f"integers of shape ({len(regions)},), one map per region"
        got = f"{batch_index.dtype} of shape {tuple(batch_index.shape)}"
        raise ValueError(message(function, "batch_index", wanted, got, "torchvision has it in the first column of its boxes."))
    check_device(function, "batch_index", batch_index.device, "featmap", featmap.device)
    check_map_numbers(function, batch_index, n_maps)
    return batch_index.long()


def roi_align(
    regions: Tensor,
    featmap: Tensor,
    output_size: int | Sequence[int],
    sampling_ratio: int = -1,
    batch_index: Tensor | None = None,
) -> Tensor:
    """Pool the features of regions to maps of one size: RoIAlign, also for rotated boxes and at any rank.

    Parameters
    ----------
    regions : Tensor
        Affine maps ``(n, d, d + 1)`` from ``[-1, 1]`` in each region to normalized coordinates of the map, as `coord.region_from_box` and
        `coord.region_from_rotated_box` make them; floating-point.
    featmap : Tensor
        ``(b, c, *spatial)``, floating-point. Since regions are normalized, any level of a feature pyramid will do.
    output_size : int or sequence of int
        Bins ``(w, h, ...)``, or one number for all axes.
    sampling_ratio : int, default: -1
        Samples per bin along each axis; -1 takes as many as a bin has pixels, rounded up, different ones for each region.
    batch_index : Tensor, optional
        ``(n,)``, int64 or int32: which map each region is in; not needed for a single map.

    Returns
    -------
    Tensor
        ``(n, c, *output)`` in the order of the regions, the map's dtype; 0 for a region without extent and ``sampling_ratio=-1``.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``batch_index`` is missing.
    TypeError
        If a tensor is not floating-point, or a count is not an int.

    Notes
    -----
    The definition is that of ``torchvision.ops.roi_align(..., aligned=True)`` and of detectron2's ``ROIAlignRotated``: the mean of bilinear
    samples in the middle of equal parts of each bin. A sample farther than one pixel from the outermost pixel centres counts as 0, one
    nearer as the edge. Differentiable by the map and by the regions.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> boxes = torch.tensor([[0.0, 0.0, 64.0, 32.0], [10.0, 10.0, 20.0, 20.0]])
    >>> regions = ts.coord.region_from_box(boxes, (64, 64))
    >>> ts.roi_align(regions, torch.rand(1, 256, 16, 16), 7).shape
    torch.Size([2, 256, 7, 7])
    """
    function = "ts.roi_align"
    check_regions(function, regions)
    check_tensor(function, "featmap", featmap)
    rank = regions.shape[-2]
    if regions.ndim != 3 or featmap.ndim != rank + 2:
        wanted = f"a map (b, c, *spatial) of {rank + 2} dimensions for regions (n, {rank}, {rank + 1})"
        got = f"featmap {tuple(featmap.shape)} and regions {tuple(regions.shape)}"
        raise ValueError(message(function, "featmap", wanted, got, "Flatten regions of several images and pass batch_index=."))
    check_interpolable(function, "featmap", featmap)
    check_device(function, "regions", regions.device, "featmap", featmap.device)
    output = _read_output(function, output_size, rank)
    if not is_int(sampling_ratio) or sampling_ratio != -1:
        sampling_ratio = check_count(function, "sampling_ratio", sampling_ratio)
    numbers = prod((len(regions), featmap.shape[1], *output))
    check_memory(function, "output_size", numbers, featmap.dtype, featmap.device, output)
    check_memory(function, "sampling_ratio", prod(output) * max(sampling_ratio, 1) ** rank, regions.dtype, regions.device, sampling_ratio)
    owner = _owners(function, regions, featmap, batch_index)
    if sampling_ratio > 0:
        return _pool(regions, featmap, owner, output, (sampling_ratio,) * rank)
    bins = _bins(regions, spatial_size(featmap, rank), output)
    result = _nothing(regions, featmap, output)
    for ratio in torch.unique(bins, dim=0):
        chosen = (bins == ratio).all(-1).nonzero().squeeze(-1).to(regions.device)
        result = result.index_copy(0, chosen, _pool(regions[chosen], featmap, owner[chosen], output, ratio.tolist()))
    return result
