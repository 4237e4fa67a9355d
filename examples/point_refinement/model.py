"""The networks: a coarse prediction, and a head that predicts at points; as its rival, a head that predicts at every pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchsample as ts
from _checkpoint import load_model

PROGRAM = "point_refinement"
CHANNELS = 16
STRIDE = 4  # Pixels of the picture in each pixel of the coarse prediction, along each axis.
STEPS = 5  # Doublings: from 16 x 16 to 512 x 512, for a tile of 64 x 64.
FINER = 2**STEPS // STRIDE  # The last step's resolution, in that of the picture.
POINTS = 28**2  # Points of a tile that a step predicts anew.
HALO = 24  # Pixels around a tile that its prediction depends on, at most: the reach of all convolutions together, rounded up.

Maps = tuple[Tensor, Tensor]


class Refiner(nn.Module):
    """What both heads have in common: features as fine as the picture, and a coarse prediction."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        c = channels
        self.fine = nn.Sequential(nn.Conv2d(3, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU())
        # Kernels of 4 x 4 at stride 2 are centred where the coarse pixels are; 3 x 3 would shift the prediction by half a pixel.
        self.coarse = nn.Sequential(
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * c, 4 * c, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * c, 1, 1),
        )

    def base(self, images: Tensor) -> Maps:
        """Fine features ``(b, c, h, w)`` and coarse logits ``(b, 1, h / 4, w / 4)`` of images ``(b, 3, h, w)`` in [0, 1]."""
        # Networks learn fastest from numbers around 0 with a spread of about 1, and [0, 1] is neither.
        fine = self.fine(4 * (images - 0.5))
        return fine, self.coarse(fine)

    def maps(self, images: Tensor) -> Maps:
        """All that can be computed before the points are known; the coarse logits come last."""
        raise NotImplementedError

    def at(self, coords: Tensor, maps: Maps) -> Tensor:
        """Logits ``(b, n, 1)`` at points."""
        raise NotImplementedError

    def forward(self, images: Tensor, choose: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Coarse logits, the points that ``choose`` finds for them, and the logits there: all that training needs."""
        maps = self.maps(images)
        coords = choose(maps[-1])
        return maps[-1], coords, self.at(coords, maps)


class PointRefiner(Refiner):
    """PointRend: an MLP looks at fine features and at the coarse prediction, both sampled at a point."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__(channels)
        self.head = ts.models.MLP(channels + 1, 64, 64, 1)

    def maps(self, images: Tensor) -> Maps:
        return self.base(images)

    def at(self, coords: Tensor, maps: Maps) -> Tensor:
        return self.head(ts.sample_levels(coords, maps))


class DenseRefiner(Refiner):
    """The rival: convolutions look at the same features at every pixel of the picture; points in between are interpolated."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__(channels)
        c = channels + 1
        # With as many multiply-adds for the 64 x 64 pixels of a tile as the MLP has for the points of PointRend.
        self.head = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, 1, 1))

    def maps(self, images: Tensor) -> Maps:
        fine, coarse = self.base(images)
        size = ts.tensor_to_size(fine)
        enlarged = ts.feat_first(ts.sample(ts.coord.full(len(fine), size, device=fine.device), coarse))
        return self.head(torch.cat([fine, enlarged], dim=1)), coarse

    def at(self, coords: Tensor, maps: Maps) -> Tensor:
        return ts.sample(coords, maps[0])


HEADS: dict[str, type[Refiner]] = {"points": PointRefiner, "dense": DenseRefiner}


def read_model(path: Path, device: torch.device) -> Refiner:
    """The network of a checkpoint, ready to use."""
    return load_model(path, PROGRAM, _build, lambda _: {"head": "points", "channels": CHANNELS}).to(device)


def _build(settings: dict[str, Any]) -> Refiner:
    return HEADS[settings["head"]](settings["channels"])


def multiply_adds(run: Callable[[], object], model: nn.Module) -> int:
    """How many multiplications, each with an addition, the layers of a model do in ``run()``."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return total
