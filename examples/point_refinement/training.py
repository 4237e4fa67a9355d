"""Training: random crops, random points that prefer uncertain places, and labels from the fine mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchsample as ts
from _training import Team, Trainer

from .data import TILE, Pair, window
from .model import CHANNELS, HEADS, PROGRAM, STRIDE, Refiner

# Oversampling, and the share of the points that are chosen for their uncertainty.
STRATEGIES = {"uniform": (1.0, 0.0), "mild": (3.0, 0.75), "heavy": (10.0, 1.0)}
POINTS = 14**2
CROP = 48  # Of the 64 pixels of a tile, so that no tile is seen twice in the same way.
STEPS, BATCH, RATE = 1200, 16, 3e-3


def settings_of(seed: int, strategy: str, data: str, head: str = "points", **others: Any) -> dict[str, Any]:
    """All that a run depends on."""
    defaults = {"steps": STEPS, "batch": BATCH, "lr": RATE, "points": POINTS, "crop": CROP, "channels": CHANNELS}
    run = {"program": PROGRAM, "seed": seed, "strategy": strategy, "data": data, "head": head}
    return {**run, **defaults, **others}


def draw_crops(pairs: list[Pair], side: int, batch: int, generator: torch.Generator) -> Tensor:
    """Which picture, top, left, and how it is turned, for each crop of the whole batch: ``(batch, 4)``."""
    which = torch.randint(len(pairs), (batch,), generator=generator)
    room = torch.tensor([[extent - side + 1 for extent in pair.image.shape[1:]] for pair in pairs])[which]
    corner = (torch.rand(batch, 2, dtype=torch.float64, generator=generator) * room).long()
    turn = torch.randint(8, (batch,), generator=generator)
    return torch.stack([which, *corner.unbind(1), turn], dim=1)


def turned(tensor: Tensor, turn: int) -> Tensor:
    """One of the eight ways in which a square can lie."""
    return (tensor.flip(-1) if turn & 4 else tensor).rot90(turn & 3, dims=(-2, -1))


def cut_crops(pairs: list[Pair], crops: Tensor, side: int) -> tuple[Tensor, list[Tensor]]:
    """Images ``(b, 3, side, side)`` in [0, 1], and masks ``(1, 1, m * side, m * side)``, each as fine as it is."""
    images, masks = [], []
    for which, top, left, turn in crops.tolist():
        image, mask = (turned(part, turn) for part in window(pairs[which], top, left, side))
        images.append(image)
        masks.append(mask.float()[None, None])
    return torch.stack(images).float() / 255, masks


def choose_points(coarse: Tensor, seeds: list[int], n: int, strategy: str) -> Tensor:
    """Training points ``(b, n, 2)``. Each crop has a seed of its own, so that they do not depend on who shares the batch."""
    k, beta = STRATEGIES[strategy]
    parts = []
    for logits, seed in zip(coarse.split(1), seeds, strict=True):
        generator = torch.Generator(coarse.device).manual_seed(seed)
        parts.append(ts.coord.rand_biased(1, n, logits, k, beta, "binary_logits", generator=generator))
    return torch.cat(parts)


def make_loss(pairs: list[Pair], settings: dict[str, Any]) -> Any:
    """The loss of a share of a batch, as `Trainer.run` wants it."""
    side, batch = settings["crop"], settings["batch"]

    def loss_of(model: nn.Module, generator: torch.Generator, team: Team) -> tuple[Tensor, dict[str, Tensor]]:
        crops = draw_crops(pairs, side, batch, generator)
        seeds = team.share(torch.randint(2**62, (batch,), generator=generator)).tolist()
        images, masks = cut_crops(pairs, team.share(crops), side)
        masks = [mask.to(team.device) for mask in masks]

        def choose(coarse: Tensor) -> Tensor:
            return choose_points(coarse, seeds, settings["points"], settings["strategy"])

        coarse, coords, logits = model(images.to(team.device), choose)
        # The mask has an answer between the pixels of the picture; the nearest of its own pixels.
        labels = torch.cat([ts.sample(points[None], mask, mode="nearest") for points, mask in zip(coords, masks, strict=True)])
        # A coarse pixel is as much land as there is land in it.
        land = torch.cat([F.adaptive_avg_pool2d(mask, side // STRIDE) for mask in masks])
        at_points = F.binary_cross_entropy_with_logits(logits, labels)
        at_coarse = F.binary_cross_entropy_with_logits(coarse, land)
        right = ((logits > 0) == (labels > 0.5)).float().mean()
        return at_points + at_coarse, {"points": at_points, "coarse": at_coarse, "right": right}

    return loss_of


def train(
    pairs: list[Pair], settings: dict[str, Any], team: Team, checkpoint: Path | None, restart: bool = False, prolong: bool = False
) -> Refiner:
    """A trained model; goes on where the checkpoint is, unless it is to start anew; with ``prolong``, to other numbers of steps."""
    if settings["crop"] % STRIDE or settings["crop"] > TILE:
        raise SystemExit(f"error: --crop must be a multiple of {STRIDE} of at most {TILE}, not {settings['crop']}")
    torch.manual_seed(settings["seed"])
    model = HEADS[settings["head"]](settings["channels"])
    trainer = Trainer(model, team, settings, checkpoint)
    if not restart:
        trainer.resume(prolong)
    trainer.run(make_loss(pairs, settings))
    return model
