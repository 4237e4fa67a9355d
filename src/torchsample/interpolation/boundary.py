"""Boundaries: what a position or a pixel beyond the edges of the map stands for, along one axis.

A boundary is a short class with two methods. ``fold`` brings a position near the map without changing what is
interpolated there, so that huge positions become valid indices. ``resolve`` turns the index of a tap, which may lie a
few pixels outside, into one inside, and says which taps count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import message

__all__ = ["Border", "Boundary", "Reflection", "Zeros", "get_boundary"]


class Boundary(ABC):
    """How one axis goes on beyond its edges."""

    def fold(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        """Equivalent position near the map; ``reach`` is how many pixels from a position a kernel looks."""
        return position.clamp(-reach - 1, side + reach)

    @abstractmethod
    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        """Index inside of the map, and a mask of the taps that count (None: all of them)."""


@dataclass(frozen=True)
class Zeros(Boundary):
    """The map is surrounded by zeros."""

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        return index.clamp(0, side - 1), (index >= 0) & (index < side)


@dataclass(frozen=True)
class Border(Boundary):
    """The edge pixels go on for ever."""

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        return index.clamp(0, side - 1), None


@dataclass(frozen=True)
class Reflection(Boundary):
    """The map is mirrored: at the outer edges of its first and last pixels, or (corners aligned) at their centres."""

    def fold(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        mirror, span = (0.0, side - 1) if align_corners else (-0.5, side)
        if span == 0:
            return 0 * position
        phase = torch.remainder(position - mirror, 2 * span)
        folded = torch.where(phase > span, 2 * span - phase, phase) + mirror
        # Inside, subtracting and adding the mirror's place would only round.
        return torch.where((position - mirror - span / 2).abs() <= span / 2, position, folded)

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        if align_corners:
            phase = torch.remainder(index, max(2 * (side - 1), 1))
            return torch.minimum(phase, (2 * (side - 1) - phase).abs()), None
        phase = torch.remainder(index, 2 * side)
        return torch.minimum(phase, 2 * side - 1 - phase), None


_BOUNDARIES: dict[str, Boundary] = {"zeros": Zeros(), "border": Border(), "reflection": Reflection()}


def get_boundary(function: str, padding_mode: str | Boundary) -> Boundary:
    """The boundary that a padding mode names."""
    if isinstance(padding_mode, Boundary):
        return padding_mode
    if not isinstance(padding_mode, str) or padding_mode not in _BOUNDARIES:
        wanted = f"one of {', '.join(map(repr, _BOUNDARIES))}, or a Boundary"
        raise ValueError(message(function, "padding_mode", wanted, repr(padding_mode), "Check the spelling."))
    return _BOUNDARIES[padding_mode]
