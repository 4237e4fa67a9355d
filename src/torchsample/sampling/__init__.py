"""The contract of sampling: checks, shapes and dtypes; the arithmetic is in `interpolation`."""

from .jacobian import sample_with_jacobian
from .levels import sample_levels
from .prefilter import prefilter
from .sample import sample, sample2d, sample3d
from .splat import splat
from .why import why

__all__ = ["prefilter", "sample", "sample2d", "sample3d", "sample_levels", "sample_with_jacobian", "splat", "why"]
