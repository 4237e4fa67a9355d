"""Whether two contenders compute the same: nothing is timed where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .competitors import Contender
from .rows import COORDS, FORWARD, Row


@dataclass
class Answers:
    """Values of each look, and gradients by the map and by the coords of each look; empty for labels."""

    values: list[Tensor]
    map_grad: list[Tensor]
    coords_grads: list[Tensor]


def answers(contender: Contender, row: Row, grads: Sequence[Tensor]) -> Answers:
    """Everything that the contender computes, in the form of the row's map and coords."""
    values, found = contender.call(FORWARD if row.labels else COORDS, grads)()
    values = [value.detach() for value in values]
    if row.labels:
        return Answers(values, [], [])
    leaves = [leaf for look in contender.coords for leaf in look]
    by_map, *by_leaf = found
    if by_map is None:
        raise RuntimeError("no gradient reaches the map")
    filled = iter([torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, by_leaf, strict=True)])
    by_coords = [contender.coords_back(*(next(filled) for _ in look)) for look in contender.coords]
    return Answers(values, [contender.map_back(by_map)], by_coords)


def tolerance(dtype: torch.dtype, side: int) -> float:
    """Largest error, relative to the largest number: positions on a side of n pixels are rounded to n epsilons."""
    return 0.0 if not dtype.is_floating_point else 4 * torch.finfo(dtype).eps * max(side, 64)


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest number; NaN, which no tolerance admits, if one is NaN."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shape {tuple(theirs.shape)} instead of {tuple(ours.shape)}")
    if not ours.is_floating_point():
        return float((ours != theirs).any())
    if not ours.numel():
        return 0.0
    largest = max(ours.abs().max().item(), theirs.abs().max().item())
    difference = (ours - theirs).abs().max().item()
    return difference / largest if largest else difference


def disagreement(ours: Answers, theirs: Answers, row: Row) -> str | None:
    """What differs, and by how much; nothing if all agrees."""
    allowed = tolerance(row.dtype, max(row.size))
    for what in ("values", "map_grad", "coords_grads"):
        pairs = zip(getattr(ours, what), getattr(theirs, what), strict=True)
        try:
            worst = max((error(*pair) for pair in pairs), key=lambda number: (number != number, number), default=0.0)
        except ValueError as reason:
            return f"{what.replace('_', ' ')}: {reason}"
        if not worst <= allowed:
            return f"{what.replace('_', ' ')} differ by {worst:.2g} of the largest, allowed {allowed:.2g}"
    return None
