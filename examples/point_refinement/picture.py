"""A picture of what happens: image, coarse and refined masks, truth, and the points of each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

import torchsample as ts
from _common import save_figure

from .data import Pair
from .metrics import inner_boundary, iou, overlaps
from .model import STEPS, Refiner
from .ways import enlarge, refine, to_images

SEA, LAND, WRONG, POINT = (np.array(to_rgb(colour)) for colour in ("#b9cfe0", "#6f8a5b", "#d4202a", "#101010"))


def _show(axes: Axes, pixels: np.ndarray, title: str) -> None:
    axes.imshow(pixels, interpolation="nearest", extent=(-1, 1, 1, -1))
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(-1, 1)
    axes.set_ylim(1, -1)


def paint(mask: Tensor, truth: Tensor | None = None) -> np.ndarray:
    """Land and sea, and in red what differs from the truth."""
    pixels = np.where(mask.numpy()[..., None], LAND, SEA)
    return pixels if truth is None else np.where((mask != truth).numpy()[..., None], WRONG, pixels)


def truth_of(tile: Pair, size: int) -> Tensor:
    """The mask ``(size, size)`` at the resolution of the result, whatever its own is."""
    coords = ts.coord.full(1, (size, size))
    return ts.sample(coords, tile.mask[None, None], mode="nearest")[0, ..., 0]


def typical(model: Refiner, tiles: list[Pair], device: torch.device) -> Pair:
    """Of the half of the tiles that have the longest outlines, so that there is something to see, the one of median boundary IoU."""
    by_outline = sorted(tiles, key=lambda tile: int(inner_boundary(tile.mask[None], 1).sum()))
    scores = []
    for tile in by_outline[len(tiles) // 2 :]:
        mask = (refine(model, to_images(tile.image, device))[0][:, 0] > 0).cpu()
        scores.append((iou(overlaps(mask, truth_of(tile, mask.shape[-1])[None]))[1], tile))
    return sorted(scores, key=lambda score: score[0])[len(scores) // 2][1]


def _above(figure: Figure, images: Tensor, coarse: Tensor, refined: Tensor, truth: Tensor) -> None:
    masks = {f"coarse, {coarse.shape[-1]} x {coarse.shape[-2]}": enlarge(coarse, images), "refined": refined}
    cells = figure.subplots(1, 4)
    _show(cells[0], images[0].movedim(0, -1).numpy(), f"image\n{images.shape[-1]} x {images.shape[-2]}")
    for axes, (name, logits) in zip(cells[1:3], masks.items(), strict=True):
        mask = (logits[0, 0] > 0).cpu()
        both = iou(overlaps(mask[None], truth[None]))
        _show(axes, paint(mask, truth), f"{name} (wrong in red)\nIoU {both[0]:.1f}, boundary IoU {both[1]:.1f}")
    _show(cells[3], paint(truth), f"truth\n{truth.shape[1]} x {truth.shape[0]}")


def _below(figure: Figure, model: Refiner, images: Tensor, coords: list[Tensor]) -> None:
    for step, (axes, points) in enumerate(zip(figure.subplots(1, STEPS), coords, strict=True)):
        before = refine(model, images, steps=step)[0]
        side = 2 * before.shape[-1]
        _show(axes, paint((before[0, 0] > 0).cpu()), f"step {step + 1}: {points.shape[1]} of {side} x {side}")
        x, y = points[0].cpu().numpy().T
        axes.scatter(x, y, s=1.6, color=POINT, linewidths=0)


@torch.inference_mode()
def draw(model: Refiner, tiles: list[Pair], path: Path, device: torch.device) -> None:
    """Above: image, coarse, refined, truth. Below: the points that each step predicts, on the mask before it."""
    tile = typical(model, tiles, device)
    images = to_images(tile.image, device)
    refined, coords = refine(model, images)
    truth = truth_of(tile, refined.shape[-1])
    figure = Figure(figsize=(13, 6.95), dpi=100, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.32, 1))
    _above(above, images.cpu(), model.maps(images)[-1].cpu(), refined, truth)
    _below(below, model, images, coords)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
