"""Encodings: from coordinates to features; each a function, and a Module that stores its arguments."""

from .base import Encoding
from .gamma import Gamma, gamma
from .identity import Identity, identity
from .nearest_pixel import NearestPixel, nearest_pixel

__all__ = ["Encoding", "Gamma", "Identity", "NearestPixel", "gamma", "identity", "nearest_pixel"]
