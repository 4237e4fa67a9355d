"""Sample neural feature maps at explicit coordinates, with PyTorch."""

from . import coord, default, encoding, interpolation, models
from .layout import feat_first, feat_last, tensor_to_size
from .sampling import prefilter, sample, sample2d, sample3d, sample_with_jacobian, splat, why

__version__ = "1.0.0.dev0"

__all__ = [
    "coord",
    "default",
    "encoding",
    "feat_first",
    "feat_last",
    "interpolation",
    "models",
    "prefilter",
    "sample",
    "sample2d",
    "sample3d",
    "sample_with_jacobian",
    "splat",
    "tensor_to_size",
    "why",
]
