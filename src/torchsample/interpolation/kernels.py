"""Kernels: from a position between pixels to the pixels that count and how much, along one axis.

A kernel is a short class. Its ``offsets`` say which pixels it reads, counted from an *anchor* pixel near the position,
and ``weights`` says how much each of them counts, given the fraction ``t = position - anchor``.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from .._checks import as_int, check_floating, check_number, check_tensor, describe, is_int, message
from .probe import kernel_fault

__all__ = ["BSpline", "Cubic", "Kernel", "Linear", "Nearest", "get_kernel"]

_FLOATING = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

_WHOLE = frozenset({torch.int32, torch.int64})


def check_positions(rule: object, method: str, argument: str, value: Tensor) -> None:
    """Check what a method is called with; plain tensors, as the engine has them, pass at once."""
    if type(value) is not Tensor or value.dtype not in _FLOATING or value.layout is not torch.strided or value.is_nested:
        check_floating(f"ts.interpolation.{type(rule).__name__}.{method}", argument, value)


def check_index(rule: object, method: str, index: Tensor) -> None:
    """As `check_positions`, for the pixels that taps read."""
    if type(index) is Tensor and index.dtype in _WHOLE and index.layout is torch.strided and not index.is_nested:
        return
    function = f"ts.interpolation.{type(rule).__name__}.{method}"
    check_tensor(function, "index", index)
    if index.dtype not in _WHOLE:
        raise TypeError(message(function, "index", "int64 or int32", index.dtype, "Convert it with index.long()."))


class Kernel(ABC):
    """How one axis is interpolated."""

    offsets: tuple[int, ...]
    """The pixels that count, relative to the anchor."""

    selects: ClassVar[bool] = False
    """Whether the result is always one of the map's own values, so that integer maps stay what they are."""

    poles: tuple[float, ...] = ()
    """Poles of the filter that turns pixels into the coefficients that the kernel weighs; none if it weighs pixels."""

    def anchor(self, position: Tensor) -> Tensor:
        """Whole pixel position that the offsets count from."""
        check_positions(self, "anchor", "position", position)
        return position.floor()

    @abstractmethod
    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        """Weight of each tap, one tensor per offset; they sum to 1."""

    def slopes(self, t: Tensor) -> tuple[Tensor, ...]:
        """Derivative of each weight; found automatically where a kernel does not state it."""
        check_positions(self, "slopes", "t", t)

        def slope(tap: int) -> Tensor:
            derivative: Tensor = torch.func.grad(lambda t: self.weights(t)[tap].sum())(t)
            return derivative

        return tuple(slope(tap) for tap in range(len(self.offsets)))

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "weights" in vars(cls) and "slopes" not in vars(cls):
            # The slopes that a parent states are those of the parent's weights.
            cls.slopes = Kernel.slopes  # type: ignore[method-assign]


@dataclass(frozen=True)
class Nearest(Kernel):
    """The nearest pixel; halfway between two, the even one, as `torch.round` has it."""

    offsets = (0,)
    selects = True

    def anchor(self, position: Tensor) -> Tensor:
        check_positions(self, "anchor", "position", position)
        return position.round()

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "weights", "t", t)
        # A function of t, so that the gradient with respect to coords exists, and is zero.
        return (0 * t + 1,)

    def slopes(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "slopes", "t", t)
        return (0 * t,)


@dataclass(frozen=True)
class Linear(Kernel):
    """Linear along the axis: bilinear in 2-D, trilinear in 3-D."""

    offsets = (0, 1)

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "weights", "t", t)
        return 1 - t, t

    def slopes(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "slopes", "t", t)
        # A function of t as well, so that the second derivative exists, and is zero.
        return 0 * t - 1, 0 * t + 1


@dataclass(frozen=True)
class Cubic(Kernel):
    """Cubic convolution (Keys, 1981) with the free parameter ``a``.

    Parameters
    ----------
    a : float, default: -0.75
        -0.75 is what PyTorch and OpenCV use; -0.5 is Catmull-Rom's spline, which Pillow uses.
    """

    a: float = -0.75
    offsets = (-1, 0, 1, 2)

    def __post_init__(self) -> None:
        remedy = "-0.75 is PyTorch's, -0.5 Catmull-Rom's."
        check_number("ts.interpolation.Cubic", "a", self.a, "a finite number", remedy, -sys.float_info.max, sys.float_info.max)
        object.__setattr__(self, "a", float(self.a))

    def _near(self, x: Tensor) -> Tensor:
        # Factored, so that the weight of a neighbour at distance 1 is exactly zero.
        return (x - 1) * (((self.a + 2) * x - 1) * x - 1)

    def _far(self, x: Tensor) -> Tensor:
        return self.a * (x - 1) * (x - 2) * (x - 2)

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "weights", "t", t)
        return self._far(1 + t), self._near(t), self._near(1 - t), self._far(2 - t)

    def slopes(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "slopes", "t", t)

        def near(x: Tensor) -> Tensor:
            return (3 * (self.a + 2) * x - 2 * (self.a + 3)) * x

        def far(x: Tensor) -> Tensor:
            return self.a * (x - 2) * (3 * x - 4)

        return far(1 + t), near(t), -near(1 - t), -far(2 - t)


def _spline_poles(degree: int) -> tuple[float, ...]:
    """Poles inside of the unit circle of the inverse of a B-spline sampled at the integers (Unser, Aldroubi and Eden, 1993, table I)."""
    if degree == 2:
        return (math.sqrt(8) - 3,)
    if degree == 3:
        return (math.sqrt(3) - 2,)
    inner, outer, shift = (math.sqrt(438976), math.sqrt(304), 19) if degree == 4 else (math.sqrt(4436.25), math.sqrt(26.25), 6.5)
    square = 664 if degree == 4 else 67.5
    return math.sqrt(square - inner) + outer - shift, math.sqrt(square + inner) - outer - shift


def spline_weights(u: Tensor, degree: int) -> tuple[Tensor, ...]:
    """B-splines of a degree at equally spaced knots, ``u`` behind the anchor's: one weight per piece, from the first tap to the last."""
    # Cox and de Boor's recursion, from the last tap to the first.
    pieces = [torch.ones_like(u)]
    for k in range(1, degree + 1):
        rising = [(u + m) / k * piece for m, piece in enumerate(pieces)]
        falling = [(k - u - m) / k * piece for m, piece in enumerate(pieces)]
        pieces = [rising[0], *(rising[m] + falling[m - 1] for m in range(1, k)), falling[-1]]
    return tuple(reversed(pieces))


@dataclass(frozen=True)
class BSpline(Kernel):
    """Interpolating B-spline: ``degree - 1`` times continuously differentiable, through every pixel.

    It weighs coefficients, which `prefilter` computes from the map.

    Parameters
    ----------
    degree : {2, 3, 4, 5}, default: 3
        Degree of the polynomial pieces.
    """

    degree: int = 3

    def __post_init__(self) -> None:
        if not is_int(self.degree) or self.degree not in (2, 3, 4, 5):
            remedy = "Degrees 0 and 1 are Nearest() and Linear()."
            raise ValueError(message("ts.interpolation.BSpline", "degree", "2, 3, 4 or 5", describe(self.degree), remedy))
        object.__setattr__(self, "degree", as_int(self.degree))

    @property
    def offsets(self) -> tuple[int, ...]:  # type: ignore[override]
        before = self.degree // 2
        return tuple(range(-before, self.degree + 1 - before))

    @property
    def poles(self) -> tuple[float, ...]:  # type: ignore[override]
        return _spline_poles(self.degree)

    def anchor(self, position: Tensor) -> Tensor:
        check_positions(self, "anchor", "position", position)
        return (position + self._shift).floor()

    @property
    def _shift(self) -> float:
        """Pieces of even degree join halfway between pixels."""
        return 0.0 if self.degree % 2 else 0.5

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "weights", "t", t)
        return spline_weights(t + self._shift, self.degree)

    def slopes(self, t: Tensor) -> tuple[Tensor, ...]:
        check_positions(self, "slopes", "t", t)
        # The derivative of a B-spline is the difference of two of the degree below (de Boor, 1978).
        lower = spline_weights(t + self._shift, self.degree - 1)
        return -lower[0], *(before - after for before, after in pairwise(lower)), lower[-1]


_KERNELS: dict[str, Kernel] = {
    "nearest": Nearest(),
    "linear": Linear(),
    "bilinear": Linear(),
    "trilinear": Linear(),
    "cubic": Cubic(),
    "bicubic": Cubic(),
    "tricubic": Cubic(),
    "bspline2": BSpline(2),
    "bspline3": BSpline(3),
    "bspline4": BSpline(4),
    "bspline5": BSpline(5),
}


_BUILT_IN = {type(kernel) for kernel in _KERNELS.values()}


def get_kernel(function: str, mode: str | Kernel) -> Kernel:
    """The kernel that a mode names."""
    if isinstance(mode, Kernel):
        if type(mode) not in _BUILT_IN and (fault := kernel_fault(mode)):
            wanted = "a Kernel with ints for offsets, and a floating-point weight of the shape of t for each of them"
            raise ValueError(message(function, "mode", wanted, fault, "See what ts.interpolation.Kernel says of each part."))
        return mode
    if not isinstance(mode, str) or mode not in _KERNELS:
        wanted = f"one of {', '.join(map(repr, _KERNELS))}, or a Kernel"
        raise ValueError(message(function, "mode", wanted, describe(mode), "'linear' means the same at any rank, and so does 'cubic'."))
    return _KERNELS[mode]
