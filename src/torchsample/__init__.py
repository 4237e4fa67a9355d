"""Sample neural feature maps at explicit coordinates, with PyTorch."""

from . import coord, default, encoding, interpolation, models, ray, render
from .cells import Neighborhood, neighborhood
from .chunks import chunked, tiled
from .layout import feat_first, feat_last, tensor_to_size
from .liif import hoist, local_ensemble
from .pointrend import subdivide
from .regions import roi_align
from .sampling import prefilter, sample, sample2d, sample3d, sample_levels, sample_with_jacobian, splat, why

__version__ = "1.0.0.dev0"

__all__ = [
    "Neighborhood",
    "chunked",
    "coord",
    "default",
    "encoding",
    "feat_first",
    "feat_last",
    "hoist",
    "interpolation",
    "local_ensemble",
    "models",
    "neighborhood",
    "prefilter",
    "ray",
    "render",
    "roi_align",
    "sample",
    "sample2d",
    "sample3d",
    "sample_levels",
    "sample_with_jacobian",
    "splat",
    "subdivide",
    "tensor_to_size",
    "tiled",
    "why",
]
