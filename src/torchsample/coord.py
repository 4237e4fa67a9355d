"""Coordinates: make them, convert them, and find where to look."""

from .coordinates.convert import from_unit, inside, normalize, to_unit, unnormalize
from .coordinates.diagnose import diagnose
from .coordinates.draw import rand, rand_like, randint, randint_like
from .coordinates.full import full, full_like
from .coordinates.regions import from_region, region_from_box, region_from_rotated_box, to_region
from .coordinates.warp import affine, from_displacement, from_row_col
from .uncertainty import rand_biased, uncertain

__all__ = [
    "affine",
    "diagnose",
    "from_displacement",
    "from_region",
    "from_row_col",
    "from_unit",
    "full",
    "full_like",
    "inside",
    "normalize",
    "rand",
    "rand_biased",
    "rand_like",
    "randint",
    "randint_like",
    "region_from_box",
    "region_from_rotated_box",
    "to_region",
    "to_unit",
    "uncertain",
    "unnormalize",
]
