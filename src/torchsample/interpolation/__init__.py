"""The arithmetic behind sampling: one rule per axis, and what runs it."""

from .boundary import Border, Boundary, Reflection, Zeros
from .kernels import Cubic, Kernel, Linear, Nearest

__all__ = ["Border", "Boundary", "Cubic", "Kernel", "Linear", "Nearest", "Reflection", "Zeros"]
