"""The ways from a picture to its mask that are compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import torchsample as ts

from .model import POINTS, STEPS, STRIDE, Refiner

Way = Callable[[Refiner, Tensor], tuple[Tensor, int]]
"""From images ``(1, 3, h, w)`` in [0, 1] to logits ``(1, 1, 8 * h, 8 * w)``, and how many points the head was asked for."""


def enlarge(logits: Tensor, images: Tensor) -> Tensor:
    """Bilinear interpolation to the resolution that all ways end with."""
    size = tuple(side // STRIDE * 2**STEPS for side in images.shape[:1:-1])
    return ts.feat_first(ts.sample(ts.coord.full(1, size, device=logits.device), logits))


def coarse_bilinear(model: Refiner, images: Tensor) -> tuple[Tensor, int]:
    """The coarse prediction, enlarged."""
    return enlarge(model.base(images)[1], images), 0


def dense_head(model: Refiner, images: Tensor) -> tuple[Tensor, int]:
    """The prediction for each pixel of the picture, enlarged."""
    return enlarge(model.maps(images)[0], images), 0


def each_pixel(model: Refiner, images: Tensor) -> tuple[Tensor, int]:
    """The point head at each pixel of the picture, enlarged: about as many points as PointRend, but all of them chosen beforehand."""
    maps = model.maps(images)
    logits = ts.feat_first(model.at(ts.coord.full_like(images), maps))
    return enlarge(logits, images), logits[0, 0].numel()


def everywhere(model: Refiner, images: Tensor) -> tuple[Tensor, int]:
    """The point head at every pixel of the result."""
    maps = model.maps(images)
    size = tuple(side // STRIDE * 2**STEPS for side in images.shape[:1:-1])
    coords = ts.coord.full(1, size, device=images.device)
    return ts.feat_first(ts.chunked(lambda some: model.at(some, maps), coords)), size[0] * size[1]


def pointrend(steps: int = STEPS, n_points: int = POINTS, remember: bool = True) -> Way:
    """Points where the prediction is uncertain, step by step."""

    def way(model: Refiner, images: Tensor) -> tuple[Tensor, int]:
        refined, coords = refine(model, images, steps, n_points, remember)
        points = sum(each.shape[1] for each in coords)
        return (refined if steps == STEPS else enlarge(refined, images)), points

    return way


def refine(
    model: Refiner, images: Tensor, steps: int = STEPS, n_points: int = POINTS, remember: bool = True
) -> tuple[Tensor, list[Tensor]]:
    """PointRend's inference: logits, and the points of each step."""
    maps = model.maps(images)

    def head(coords: Tensor) -> Tensor:
        return model.at(coords, maps)

    return ts.subdivide(maps[-1], head, steps, n_points, uncertainty="binary_logits", remember=remember, return_coords=True)


def to_images(image: Tensor, device: torch.device | None = None) -> Tensor:
    """A picture ``(3, h, w)``, uint8, as a batch of one in [0, 1]."""
    return image.unsqueeze(0).to(device).float() / 255
