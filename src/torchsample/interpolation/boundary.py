"""Boundaries: what a position or a pixel beyond the edges of the map stands for, along one axis.

A boundary is a short class with two methods. ``fold`` brings a position near the map without changing what is
interpolated there, so that huge positions become valid indices. ``resolve`` turns the index of a tap, which may lie a
few pixels outside, into one inside, and says which taps count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._checks import check_count, check_flag, describe, message
from .kernels import check_index, check_positions
from .probe import boundary_fault

__all__ = ["Border", "Boundary", "Circular", "Reflection", "Zeros", "get_boundaries"]


def _check(rule: object, method: str, position: Tensor, side: int, align_corners: bool, reach: int = 0) -> None:
    """Check what a method is called with; what the engine has passes at once."""
    if method == "resolve":
        check_index(rule, method, position)
    else:
        check_positions(rule, method, "position", position)
    if (
        type(side) is not int
        or not 0 < side < 1 << 30
        or type(align_corners) is not bool
        or type(reach) is not int
        or not 0 <= reach < 1 << 30
    ):
        limit = 1 << (30 if isinstance(position, Tensor) and position.dtype == torch.int32 else 62)
        _check_axis(f"ts.interpolation.{type(rule).__name__}.{method}", side, limit, align_corners, reach)


def _check_axis(function: str, side: int, limit: int, align_corners: bool, reach: int) -> None:
    if isinstance(side, torch.SymInt) or torch._C._is_tracing():
        # A side of any number, or a tensor.
        return
    check_flag(function, "align_corners", align_corners)
    for argument, count, least in (("side", side, 1), ("reach", reach, 0)):
        if check_count(function, argument, count, least) > limit:
            raise ValueError(message(function, argument, f"at most {limit} here", count, "Indices are doubled; pass index.long()."))


class Boundary(ABC):
    """How one axis goes on beyond its edges."""

    def fold(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        """Equivalent position near the map; ``reach`` is how many pixels from a position a kernel looks."""
        _check(self, "fold", position, side, align_corners, reach)
        return position.clamp(-reach - 1, side + reach)

    def fold_slope(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        """Derivative of ``fold``; found automatically where a boundary has a ``fold`` of its own and does not state it."""
        _check(self, "fold_slope", position, side, align_corners, reach)
        return ((position >= -reach - 1) & (position <= side + reach)).to(position.dtype)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "fold" in vars(cls) and "fold_slope" not in vars(cls):
            # The slope that a parent states is that of the parent's fold.
            cls.fold_slope = _differentiate_fold  # type: ignore[method-assign]

    @abstractmethod
    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        """Index inside of the map, and a mask of the taps that count (None: all of them)."""

    endless: ClassVar[bool] = True
    """Whether coefficients beyond the edges are not those of pixels inside, so that a filtered map needs a margin."""


def _differentiate_fold(self: Boundary, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
    slope: Tensor = torch.func.grad(lambda position: self.fold(position, side, align_corners, reach).sum())(position)
    return slope


@dataclass(frozen=True)
class Zeros(Boundary):
    """The map is surrounded by zeros."""

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        _check(self, "resolve", index, side, align_corners)
        return index.clamp(0, side - 1), (index >= 0) & (index < side)


@dataclass(frozen=True)
class Border(Boundary):
    """The edge pixels go on for ever."""

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        _check(self, "resolve", index, side, align_corners)
        return index.clamp(0, side - 1), None


@dataclass(frozen=True)
class Reflection(Boundary):
    """The map is mirrored: at the outer edges of its first and last pixels, or (corners aligned) at their centres."""

    endless = False

    def fold(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        _check(self, "fold", position, side, align_corners, reach)
        mirror, span = self._mirror(side, align_corners)
        if span == 0:
            return 0 * position
        phase = torch.remainder(position - mirror, 2 * span)
        folded = torch.where(phase > span, 2 * span - phase, phase) + mirror
        # Inside, subtracting and adding the mirror's place would only round.
        return torch.where(self._is_inside(position, mirror, span), position, folded)

    def fold_slope(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        _check(self, "fold_slope", position, side, align_corners, reach)
        mirror, span = self._mirror(side, align_corners)
        if span == 0:
            return torch.zeros_like(position)
        back = (torch.remainder(position - mirror, 2 * span) > span) & ~self._is_inside(position, mirror, span)
        return 1 - 2 * back.to(position.dtype)

    def _mirror(self, side: int, align_corners: bool) -> tuple[float, int]:
        """Where the first mirror is, and how far behind it the second one."""
        return (0.0, side - 1) if align_corners else (-0.5, side)

    def _is_inside(self, position: Tensor, mirror: float, span: int) -> Tensor:
        return (position - mirror - span / 2).abs() <= span / 2

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        _check(self, "resolve", index, side, align_corners)
        if align_corners:
            phase = torch.remainder(index, max(2 * (side - 1), 1))
            return torch.minimum(phase, (2 * (side - 1) - phase).abs()), None
        phase = torch.remainder(index, 2 * side)
        return torch.minimum(phase, 2 * side - 1 - phase), None


@dataclass(frozen=True)
class Circular(Boundary):
    """The map repeats; its period is its number of pixels, whether corners are aligned or not."""

    endless = False

    def fold(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        _check(self, "fold", position, side, align_corners, reach)
        # Inside, the remainder would only round.
        return torch.where((position >= 0) & (position < side), position, torch.remainder(position, side))

    def fold_slope(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        _check(self, "fold_slope", position, side, align_corners, reach)
        return torch.ones_like(position)

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        _check(self, "resolve", index, side, align_corners)
        return torch.remainder(index, side), None


_BOUNDARIES: dict[str, Boundary] = {"zeros": Zeros(), "border": Border(), "reflection": Reflection(), "circular": Circular()}


_BUILT_IN = {type(boundary) for boundary in _BOUNDARIES.values()}


def _get_boundary(function: str, padding_mode: str | Boundary) -> Boundary:
    if isinstance(padding_mode, Boundary):
        if type(padding_mode) not in _BUILT_IN and (fault := boundary_fault(padding_mode)):
            wanted = "a Boundary whose fold gives positions, and resolve indices from 0 to side - 1 and a bool mask or None"
            raise ValueError(message(function, "padding_mode", wanted, fault, "See what ts.interpolation.Boundary says of both."))
        return padding_mode
    if not isinstance(padding_mode, str) or padding_mode not in _BOUNDARIES:
        wanted = f"one of {', '.join(map(repr, _BOUNDARIES))}, a Boundary, or one of them per axis"
        raise ValueError(message(function, "padding_mode", wanted, describe(padding_mode), "Check the spelling."))
    return _BOUNDARIES[padding_mode]


def get_boundaries(function: str, padding_mode: str | Boundary | Sequence[str | Boundary], rank: int) -> tuple[Boundary, ...]:
    """The boundary of each axis ``(x, y, ...)`` that a padding mode names, or a sequence of them."""
    if isinstance(padding_mode, (str, Boundary)) or not isinstance(padding_mode, Sequence):
        return (_get_boundary(function, padding_mode),) * rank
    if len(padding_mode) != rank:
        remedy = "The order is that of the coordinates, (x, y, ...)."
        raise ValueError(message(function, "padding_mode", f"one name, or {rank} for {rank}-D coords", describe(padding_mode), remedy))
    return tuple(_get_boundary(function, name) for name in padding_mode)
