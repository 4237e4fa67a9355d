"""Kernels: from a position between pixels to the pixels that count and how much, along one axis.

A kernel is a short class. Its ``offsets`` say which pixels it reads, counted from an *anchor* pixel near the position,
and ``weights`` says how much each of them counts, given the fraction ``t = position - anchor``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._checks import message

__all__ = ["Cubic", "Kernel", "Linear", "Nearest", "get_kernel"]


class Kernel(ABC):
    """How one axis is interpolated."""

    offsets: ClassVar[tuple[int, ...]]
    """The pixels that count, relative to the anchor."""

    selects: ClassVar[bool] = False
    """Whether the result is always one of the map's own values, so that integer maps stay what they are."""

    def anchor(self, position: Tensor) -> Tensor:
        """Whole pixel position that the offsets count from."""
        return position.floor()

    @abstractmethod
    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        """Weight of each tap, one tensor per offset; they sum to 1."""


@dataclass(frozen=True)
class Nearest(Kernel):
    """The nearest pixel; halfway between two, the even one, as `torch.round` has it."""

    offsets = (0,)
    selects = True

    def anchor(self, position: Tensor) -> Tensor:
        return position.round()

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        # A function of t, so that the gradient with respect to coords exists, and is zero.
        return (0 * t + 1,)


@dataclass(frozen=True)
class Linear(Kernel):
    """Linear along the axis: bilinear in 2-D, trilinear in 3-D."""

    offsets = (0, 1)

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        return 1 - t, t


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

    def _near(self, x: Tensor) -> Tensor:
        return ((self.a + 2) * x - (self.a + 3)) * x * x + 1

    def _far(self, x: Tensor) -> Tensor:
        return ((self.a * x - 5 * self.a) * x + 8 * self.a) * x - 4 * self.a

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        return self._far(1 + t), self._near(t), self._near(1 - t), self._far(2 - t)


_KERNELS: dict[str, Kernel] = {
    "nearest": Nearest(),
    "linear": Linear(),
    "bilinear": Linear(),
    "trilinear": Linear(),
    "cubic": Cubic(),
    "bicubic": Cubic(),
    "tricubic": Cubic(),
}


def get_kernel(function: str, mode: str | Kernel) -> Kernel:
    """The kernel that a mode names."""
    if isinstance(mode, Kernel):
        return mode
    if not isinstance(mode, str) or mode not in _KERNELS:
        wanted = f"one of {', '.join(map(repr, _KERNELS))}, or a Kernel"
        raise ValueError(message(function, "mode", wanted, repr(mode), "'linear' means the same at any rank, and so does 'cubic'."))
    return _KERNELS[mode]
