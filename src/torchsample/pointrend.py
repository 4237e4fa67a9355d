"""Refine a coarse prediction where it is uncertain, at ever higher resolution (PointRend)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Literal, overload

import torch
from torch import Tensor

from ._checks import check_callable, check_count, check_flag, check_memory, check_size, message
from .coordinates.arguments import dtype_like
from .coordinates.convert import from_position, to_position
from .coordinates.full import full
from .coordinates.pixels import axis_indices, pixel_centres
from .layout import feat_first, tensor_to_size
from .sampling import sample
from .uncertainty import Uncertainty, check_pred, read_uncertainty

__all__ = ["subdivide"]

Refine = Callable[[Tensor], Tensor]

_FARTHEST = 64
"""Steps beyond which no map fits into any memory."""

NOTHING_NEW = 0.01
"""A prediction that differs by less than so many standard deviations of the map from what interpolation said has brought nothing new."""


def _sizes(function: str, coarse: Tensor, steps: int | None, size: Sequence[int] | None) -> list[tuple[int, ...]]:
    """The size after each step: doubled, or in equal steps of at most two to the size that is asked for."""
    start = tensor_to_size(coarse)
    if size is None:
        steps = check_count(function, "steps", 5 if steps is None else steps, minimum=0)
        sizes = [tuple(side << step for side in start) for step in range(1, min(steps, _FARTHEST) + 1)]
        _check_fits(function, "steps", coarse, sizes[-1] if sizes else start, steps)
        return sizes
    sides = check_size(function, size)
    if steps is not None or len(sides) != len(start) or any(side < first for side, first in zip(sides, start, strict=True)):
        wanted = f"at least that of `coarse`, {start}, along each axis, and given without `steps`"
        raise ValueError(message(function, "size", wanted, f"{sides} and steps={steps}", "The order is (w, h, ...)."))
    _check_fits(function, "size", coarse, sides, sides)
    steps = max((math.ceil(side / first) - 1).bit_length() for side, first in zip(sides, start, strict=True))
    return [tuple(max(first, -(-side >> steps - step)) for side, first in zip(sides, start, strict=True)) for step in range(1, steps + 1)]


def _check_fits(function: str, argument: str, coarse: Tensor, size: Sequence[int], got: object) -> None:
    check_memory(function, argument, prod((*coarse.shape[:2], *size)), coarse.dtype, coarse.device, got)


def _spread(news: Tensor, size: tuple[int, ...], finer: tuple[int, ...], align_corners: bool) -> Tensor:
    """For each pixel of a finer map, the most of the pixels that it is interpolated from."""
    for axis, (side, fine) in enumerate(zip(size, finer, strict=True)):
        dim = news.ndim - 1 - axis
        pixels = torch.arange(fine, dtype=torch.float64, device=news.device)
        left = to_position(from_position(pixels, fine, align_corners), side, align_corners).floor().long()
        one, other = left.clamp(0, side - 1), (left + 1).clamp(0, side - 1)
        news = torch.maximum(news.index_select(dim, one), news.index_select(dim, other))
    return news


def _deviation(logits: Tensor) -> Tensor:
    """The standard deviation of all numbers of each map, ``(b, 1, ...)`` like ``(b, *spatial)``."""
    numbers = logits.flatten(1)
    numbers = numbers - numbers.mean(1, keepdim=True)
    return numbers.square().mean(1).sqrt().reshape(-1, *[1] * (logits.ndim - 2))


def _enlarge(logits: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
    coords = full(1, size, logits.device, align_corners, dtype_like(logits))
    return feat_first(sample(coords, logits, align_corners=align_corners)).contiguous()


def _least(keys: Tensor, n: int) -> Tensor:
    """Numbers ``(b, n)`` of the least keys ``(b, m)``, the least first; among equals the first, and without sorting all of them."""
    last = keys.topk(n, dim=1, largest=False).values.amax(1, keepdim=True)
    less, equal = keys < last, keys == last
    chosen = less | (equal & (equal.cumsum(1) <= n - less.sum(1, keepdim=True)))
    numbers = torch.arange(keys.shape[1], device=keys.device).masked_fill(~chosen, keys.shape[1]).topk(n, dim=1, largest=False).values
    return numbers.take_along_dim(keys.take_along_dim(numbers, 1).argsort(dim=1, stable=True), 1)


def _choose(certainty: Tensor, settled: Tensor, n: int) -> Tensor:
    """Numbers ``(b, n)`` of the least certain pixels, those that are settled after all others."""
    # NaN is as uncertain as can be; and sums must not overflow.
    keys = certainty.flatten(1).to(torch.promote_types(certainty.dtype, torch.float32))
    largest = torch.finfo(keys.dtype).max / 8
    keys = keys.nan_to_num(-largest, largest, -largest).clamp(-largest, largest)
    behind = keys.amax(1, keepdim=True) - keys.amin(1, keepdim=True) + 1
    return _least(torch.where(settled.flatten(1), keys + behind, keys), n)


def _ask(function: str, refine: Refine, coords: Tensor, like: Tensor) -> Tensor:
    values = refine(coords)
    shape = (*coords.shape[:2], like.shape[1])
    if not isinstance(values, Tensor) or values.shape != shape:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        remedy = "Sample what the head needs with ts.sample, and give one value per class."
        raise ValueError(message(function, "refine", f"a callable from coords {tuple(coords.shape)} to a tensor {shape}", got, remedy))
    return values.to(like.dtype)


@overload
def subdivide(
    coarse: Tensor,
    refine: Refine,
    steps: int | None = ...,
    n_points: int = ...,
    uncertainty: Uncertainty | None = ...,
    align_corners: bool = ...,
    remember: bool = ...,
    return_coords: Literal[False] = ...,
    size: Sequence[int] | None = ...,
) -> Tensor: ...
@overload
def subdivide(
    coarse: Tensor,
    refine: Refine,
    steps: int | None = ...,
    n_points: int = ...,
    uncertainty: Uncertainty | None = ...,
    align_corners: bool = ...,
    remember: bool = ...,
    *,
    return_coords: Literal[True],
    size: Sequence[int] | None = ...,
) -> tuple[Tensor, list[Tensor]]: ...
def subdivide(
    coarse: Tensor,
    refine: Refine,
    steps: int | None = None,
    n_points: int = 784,
    uncertainty: Uncertainty | None = None,
    align_corners: bool = False,
    remember: bool = True,
    return_coords: bool = False,
    size: Sequence[int] | None = None,
) -> Tensor | tuple[Tensor, list[Tensor]]:
    """Enlarge a coarse prediction step by step, and predict its most uncertain pixels anew: PointRend's inference.

    Each step doubles the resolution and asks ``refine`` for the pixels that are still uncertain, so that the number of predictions grows
    with the number of steps and not with that of pixels.

    Parameters
    ----------
    coarse : Tensor
        Scores or logits ``(b, c, *spatial)``, floating-point; a single channel is the logit of one class.
    refine : callable
        From normalized coordinates ``(b, n, d)`` of pixel centres, in the order ``(x, y, ...)``, to scores ``(b, n, c)`` like those of
        ``coarse``.
    steps : int, optional
        How many times the resolution is doubled; 0 gives ``coarse``. 5 if neither this nor ``size`` is given.
    n_points : int, default: 784
        Pixels of each map that a step predicts anew, at most; PointRend's 28 x 28.
    uncertainty : str or callable, optional
        As in `coord.uncertain`: ``"binary_logits"`` (for one channel the default), ``"binary_probability"``, ``"margin"`` (for several the
        default), ``"max_probability"``, or a function from scores ``(..., c)`` to uncertainties ``(...)``.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    remember : bool, default: True
        Look last where an earlier step has asked and learnt nothing new: at pixels that lie between pixels whose new prediction was what
        interpolation had said, to 1 % of the map's standard deviation. ``False`` forgets, as published implementations do; an area that the
        head is truly unsure of then takes the points of every step.
    return_coords : bool, default: False
        Also give the coordinates that ``refine`` was asked for.
    size : sequence of int, optional
        Instead of ``steps``, the size ``(w, h, ...)`` of the result, that of the image for example: as many steps as are needed, each of
        which at most doubles a side.

    Returns
    -------
    refined : Tensor
        ``(b, c, *spatial)``, each side ``2**steps`` times as long, or of the ``size`` that was asked for; the dtype of ``coarse``.
    coords : list of Tensor
        Only with ``return_coords``: coordinates ``(b, n, d)`` for each step, most uncertain first; none of a step that predicts nothing.

    Raises
    ------
    ValueError
        If ``coarse`` is no map, does not fit ``uncertainty``, ``refine`` gives something of another shape, or the result is larger than
        memory.
    TypeError
        If ``coarse`` is not floating-point or a count is not an int.

    Warns
    -----
    UserWarning
        If nothing is said of ``uncertainty`` and a single channel looks like probabilities (on a CPU, in eager mode).

    Notes
    -----
    Kirillov et al., "PointRend: Image Segmentation as Rendering", 2020, section 3.1. A step that could predict all pixels of the next
    step, too, predicts nothing: the next one overwrites it all. Differentiable by ``coarse`` and by what ``refine`` gives.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> def disc(coords):  # a network in its place would sample its feature maps at coords
    ...     return 0.5 - coords.norm(dim=-1, keepdim=True)
    >>> coarse = ts.feat_first(disc(ts.coord.full(1, (8, 8))))
    >>> refined, coords = ts.subdivide(coarse, disc, steps=4, n_points=300, return_coords=True)
    >>> refined.shape, sum(each.shape[1] for each in coords)
    (torch.Size([1, 1, 128, 128]), 1156)
    >>> torch.equal(refined > 0, ts.feat_first(disc(ts.coord.full(1, (128, 128)))) > 0)
    True
    """
    function = "ts.subdivide"
    check_pred(function, coarse, 3, "(b, c, *spatial)", "coarse")
    check_callable(function, "refine", refine, "on coords", "Pass a function that samples features at coords and applies a head.")
    n_points = check_count(function, "n_points", n_points)
    check_flag(function, "align_corners", align_corners)
    check_flag(function, "remember", remember)
    check_flag(function, "return_coords", return_coords)
    sizes = _sizes(function, coarse, steps, size)
    certainty = read_uncertainty(function, uncertainty, coarse, 1, "coarse")
    logits, asked = coarse, []
    # How much a pixel changed when it was predicted anew, in any class; what never was may change by any amount.
    news = torch.full_like(coarse[:, 0], torch.inf)
    for step, finer in enumerate(sizes):
        news = _spread(news, tensor_to_size(logits), finer, align_corners)
        logits = _enlarge(logits, finer, align_corners)
        if step < len(sizes) - 1 and n_points >= prod(sizes[step + 1]):
            continue
        settled = news <= NOTHING_NEW * _deviation(logits.detach())
        unsure = certainty(logits.detach().movedim(1, -1))
        chosen = _choose(unsure, settled if remember else torch.zeros_like(settled), min(n_points, prod(finer)))
        coords = pixel_centres(axis_indices(chosen, finer), finer, dtype_like(logits), align_corners)
        values = _ask(function, refine, coords, logits).movedim(-1, 1)
        index = chosen.unsqueeze(1).expand_as(values)
        change = (values - logits.flatten(2).gather(2, index)).detach().abs().amax(1)
        logits = logits.flatten(2).scatter(2, index, values).reshape(logits.shape)
        news = news.flatten(1).scatter(1, chosen, change).reshape(news.shape)
        asked.append(coords)
    return (logits, asked) if return_coords else logits
