"""Volume rendering: from densities or alphas of samples along rays to colour, opacity and depth; losses; skipping empty space."""

from .composite import Rendering, accumulate, composite, visible
from .depth import median_depth
from .losses import distortion_loss, interlevel_loss
from .occupancy import OccupancyGrid
from .samples import Samples, pack, unpack
from .weights import alpha_from_density, transmittance_from_alpha, transmittance_from_density, weights_from_alpha, weights_from_density

__all__ = [
    "OccupancyGrid",
    "Rendering",
    "Samples",
    "accumulate",
    "alpha_from_density",
    "composite",
    "distortion_loss",
    "interlevel_loss",
    "median_depth",
    "pack",
    "transmittance_from_alpha",
    "transmittance_from_density",
    "unpack",
    "visible",
    "weights_from_alpha",
    "weights_from_density",
]
