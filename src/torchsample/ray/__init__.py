"""Rays: cast them through coordinates, cut them into intervals, and resample them where they matter."""

from .cameras import equirectangular, fisheye, orthographic, pinhole
from .contraction import contract, push_forward, uncontract
from .intersections import Hits, intersect_box, intersect_oriented_box, intersect_sphere
from .intervals import intervals, midpoints
from .poses import Rays
from .projection import ndc
from .resampling import percentile, resample
from .weights import anneal, blur

__all__ = [
    "Hits",
    "Rays",
    "anneal",
    "blur",
    "contract",
    "equirectangular",
    "fisheye",
    "intersect_box",
    "intersect_oriented_box",
    "intersect_sphere",
    "intervals",
    "midpoints",
    "ndc",
    "orthographic",
    "percentile",
    "pinhole",
    "push_forward",
    "resample",
    "uncontract",
]
