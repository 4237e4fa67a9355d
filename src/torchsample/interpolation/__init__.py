"""The arithmetic behind sampling: one rule per axis, and what runs it."""

from .boundary import Border, Boundary, Circular, Reflection, Zeros
from .kernels import BSpline, Cubic, Kernel, Linear, Nearest

__all__ = ["BSpline", "Border", "Boundary", "Circular", "Cubic", "Kernel", "Linear", "Nearest", "Reflection", "Zeros"]
