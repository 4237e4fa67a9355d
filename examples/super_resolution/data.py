"""Photographs: out of packages that are installed anyway, or from the user's folder; and the pairs of patches that training wants."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import torchsample as ts
from _common import to_map, to_rgb

TRAINING = (
    *(f"skimage/data/{name}.png" for name in ("motorcycle_left", "motorcycle_right", "color", "ihc", "camera", "brick", "grass", "gravel")),
    *(f"skimage/data/{name}" for name in ("moon.png", "coins.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")),
    "sklearn/datasets/images/china.jpg",
    "sklearn/datasets/images/flower.jpg",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
)
TEST = tuple(f"skimage/data/{name}.png" for name in ("astronaut", "chelsea", "coffee"))
INSTALL = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
PATCH = 32
"""Side of the small patches that training sees."""


def _bundled(name: str) -> Path:
    """A file of an installed package, found without importing it."""
    package, inner = name.split("/", 1)
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"error: the photograph {name} comes with a package that is not installed: pip install {INSTALL[package]}")
    return Path(found.submodule_search_locations[0]) / inner


def open_picture(path: Path) -> Image.Image:
    """A picture as RGB; a file that cannot be read ends the program with one line."""
    try:
        with Image.open(path) as photo:
            return to_rgb(photo)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SystemExit(f"error: cannot read the image {path}: {getattr(error, 'strerror', None) or error}") from None


def _in_folder(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SystemExit(f"error: there is no folder {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not paths:
        raise SystemExit(f"error: there are no pictures in {folder}; it should hold files such as 0001.png")
    return paths


def find_photos(folder: Path | None, part: str) -> dict[str, Image.Image]:
    """The photographs to train or to test on, by name.

    A folder of one's own may be laid out as DIV2K's, ``DIV2K_train_HR`` beside ``DIV2K_valid_HR``, or have subfolders ``train`` and
    ``test``; or be plain, when every tenth picture is for the test.
    """
    if folder is None:
        return {Path(name).stem: open_picture(_bundled(name)) for name in (TRAINING if part == "train" else TEST)}
    for name in ("DIV2K_train_HR", "train") if part == "train" else ("DIV2K_valid_HR", "test"):
        if (folder / name).is_dir():
            return {path.stem: open_picture(path) for path in _in_folder(folder / name)}
    paths = _in_folder(folder)
    held_out = set(paths[::10]) if len(paths) > 1 else set()
    return {path.stem: open_picture(path) for path in paths if (path in held_out) == (part == "test") or len(paths) == 1}


def shrink(photo: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bicubic with a filter as wide as the scale, as Pillow and MATLAB have it."""
    return photo.resize(size, Image.Resampling.BICUBIC)


def _random(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _crop(photos: Sequence[Image.Image], scale: float, generator: torch.Generator) -> Image.Image:
    """A random square of a random photograph, turned and mirrored at random."""
    photo = photos[_random(generator, 0, len(photos) - 1)]
    side = min(round(PATCH * scale), *photo.size)
    left, top = (_random(generator, 0, extent - side) for extent in photo.size)
    crop = photo.crop((left, top, left + side, top + side))
    if _random(generator, 0, 1):
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if _random(generator, 0, 1):
        crop = crop.transpose(Image.Transpose.TRANSPOSE)
    return crop


def draw_batch(photos: Sequence[Image.Image], batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Small patches ``(b, 3, p, p)``, and of each large one, which is 1 to 4 times as large, random pixels.

    Their coordinates are ``(b, n, 2)``, their sizes ``(b, 1, 2)`` and their colours ``(b, n, 3)``.
    """
    rows = []
    for _ in range(batch):
        scale = 1 + 3 * float(torch.rand((), generator=generator))
        large = _crop(photos, scale, generator)
        small = shrink(large, (PATCH, PATCH))
        # No pixel twice; where the photograph is smaller than the patch, with what there is.
        coords = ts.coord.randint(0, min(PATCH**2, large.width**2), large.size, generator=generator)
        coords = coords[torch.arange(PATCH**2) % len(coords)]
        colours = ts.sample.nobatch(coords, to_map(large)[0], mode="nearest")
        rows.append((to_map(small)[0], coords, torch.full((1, 2), 2 / large.width), colours))
    small, coords, cell, colours = (torch.stack(column) for column in zip(*rows, strict=True))
    return small, coords, cell, colours


def to_bytes(colours: Tensor) -> np.ndarray:
    """Colours in [0, 1] as whole numbers from 0 to 255, rounded."""
    return (255 * colours.clamp(0, 1)).round().to(torch.uint8).cpu().numpy()
