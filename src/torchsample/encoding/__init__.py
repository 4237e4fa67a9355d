"""Encodings: from coordinates to features; each a function, and a Module that stores its arguments."""

from .base import Encoding
from .gamma import Gamma, gamma
from .identity import Identity, identity
from .local_texture import local_texture
from .nearest_pixel import NearestPixel, nearest_pixel
from .ope import Ope, ope

__all__ = ["Encoding", "Gamma", "Identity", "NearestPixel", "Ope", "gamma", "identity", "local_texture", "nearest_pixel", "ope"]
