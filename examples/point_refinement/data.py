"""Pictures and their masks, which may be finer than the pictures: the Earth, or the user's own."""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from _common import to_rgb
from _files import write_beside

TILE = 64  # Pixels of the picture; a mask that is eight times finer has 512.
TEST_SHARE = 5  # One of five pictures is kept for the test.
EARTH_MASK = 8192, 16384  # Rows and columns: eight times the picture's 1024 x 2048.
EARTH_ROWS = range(128, 832, TILE)  # Without the polar regions, where the map is stretched and ice hides the coasts.
EARTH_LAND = 0.05, 0.95  # Tiles with less or more land have hardly any coast.
INSTALL = "pip install --no-deps pyvista global-land-mask"
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"}


@dataclass(frozen=True)
class Pair:
    """A picture and what it shows: 1 on land, or on whatever the masks of the user mark."""

    name: str
    image: Tensor
    """``(3, h, w)``, uint8."""
    mask: Tensor
    """``(m * h, m * w)``, bool, for a whole number m."""

    @property
    def finer(self) -> int:
        """How many times finer the mask is."""
        return self.mask.shape[-1] // self.image.shape[-1]


def split(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Pictures to learn from and pictures for the test, always the same ones."""
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()
    n_test = max(1, round(len(pairs) / TEST_SHARE + 0.5))
    return [pairs[i] for i in sorted(order[n_test:])], [pairs[i] for i in sorted(order[:n_test])]


def load(folder: Path | None, cache: Path) -> tuple[list[Pair], list[Pair]]:
    """The training and the test pictures; anything wrong with them ends the program with one line."""
    pairs = read_earth(cache) if folder is None else read_folder(folder)
    if len(pairs) < 2:
        raise SystemExit(f"error: {folder} holds {len(pairs)} picture; at least 2 are needed, one of them for the test")
    return split(pairs)


def cut(pairs: list[Pair]) -> list[Pair]:
    """The pictures in tiles of equal size; what is left at the right and at the bottom is not used."""
    tiles = []
    for pair in pairs:
        for top in range(0, pair.image.shape[1] - TILE + 1, TILE):
            for left in range(0, pair.image.shape[2] - TILE + 1, TILE):
                image, mask = window(pair, top, left, TILE)
                tiles.append(Pair(f"{pair.name}, row {top}, column {left}", image, mask))
    return tiles


def window(pair: Pair, top: int, left: int, side: int) -> tuple[Tensor, Tensor]:
    """A square of the picture, and of the mask."""
    image = pair.image[:, top : top + side, left : left + side]
    rows, columns = (slice(start * pair.finer, (start + side) * pair.finer) for start in (top, left))
    return image, pair.mask[rows, columns]


# The Earth


def installed(package: str, file: str) -> Path:
    """A file of an installed package, which is not imported: pyvista would need much that is of no use here."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        if (Path(folder) / file).exists():
            return Path(folder) / file
    raise SystemExit(f"error: {package}/{file} is not installed; it comes with: {INSTALL} (or pass your own pictures with --data)")


def shrink_earth_mask(archive: Path) -> np.ndarray:
    """Every 2.6th row and column of the mask, read row by row: all of it would take a gigabyte."""
    height, width = EARTH_MASK
    with zipfile.ZipFile(archive) as files, files.open("mask.npy") as file:
        np.lib.format.read_magic(file)
        (rows, columns), _, _ = np.lib.format.read_array_header_1_0(file)
        wanted_rows = ((np.arange(height) + 0.5) * rows / height).astype(int)
        wanted_columns = ((np.arange(width) + 0.5) * columns / width).astype(int)
        small = np.empty(EARTH_MASK, dtype=bool)
        place = 0
        for row in tqdm(range(rows), desc="reading the land mask, once"):
            line = file.read(columns)
            if place < height and wanted_rows[place] == row:
                small[place] = np.frombuffer(line, dtype=bool)[wanted_columns]
                place += 1
    return ~small  # The package marks the ocean.


def _write_array(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def read_earth(cache: Path) -> list[Pair]:
    """Tiles of a picture of the Earth and of its land, which was measured on a grid 21 times finer."""
    picture = installed("pyvista", "examples/2k_earth_daymap.jpg")
    archive = installed("global_land_mask", "globe_combined_mask_compressed.npz")
    path = cache / f"earth-land-{EARTH_MASK[1]}x{EARTH_MASK[0]}.npy"
    try:
        if not path.exists():
            small = shrink_earth_mask(archive)
            write_beside(path, lambda partial: _write_array(partial, small))
        land = np.load(path, mmap_mode="r")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SystemExit(f"error: cannot read {archive} or its copy {path}: {error}") from None
    earth = np.array(Image.open(picture).convert("RGB"))
    finer = EARTH_MASK[0] // len(earth)
    pairs = []
    for top in EARTH_ROWS:
        for left in range(0, earth.shape[1], TILE):
            mask = np.array(land[top * finer : (top + TILE) * finer, left * finer : (left + TILE) * finer])
            if EARTH_LAND[0] <= mask.mean() <= EARTH_LAND[1]:
                image = torch.from_numpy(earth[top : top + TILE, left : left + TILE].copy()).permute(2, 0, 1)
                pairs.append(Pair(f"Earth, row {top}, column {left}", image, torch.from_numpy(mask)))
    return pairs


# The user's own


def open_picture(path: Path) -> Image.Image:
    """A picture as RGB; one that cannot be read ends the program with one line."""
    try:
        with Image.open(path) as photo:
            return to_rgb(photo)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SystemExit(f"error: cannot read the image {path}: {getattr(error, 'strerror', None) or error}") from None


def read_pair(image_path: Path, mask_path: Path) -> Pair:
    """A picture and its mask, of which the sizes must agree."""
    image, mask = np.array(open_picture(image_path)), np.array(open_picture(mask_path).convert("L")) > 127
    (h, w), (rows, columns) = image.shape[:2], mask.shape
    if rows % h or columns % w or rows // h != columns // w:
        raise SystemExit(
            f"error: {mask_path} has {columns} x {rows} pixels, which is no whole multiple of the {w} x {h} pixels of {image_path}"
        )
    if min(h, w) < TILE:
        raise SystemExit(f"error: {image_path} has {w} x {h} pixels; at least {TILE} x {TILE} are needed")
    return Pair(image_path.stem, torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask))


def read_folder(folder: Path) -> list[Pair]:
    """Pictures ``images/NAME.*`` and masks ``masks/NAME.*``."""
    for part in (folder / "images", folder / "masks"):
        if not part.is_dir():
            raise SystemExit(f"error: there is no folder {part}; --data needs images/ and masks/ in it")
    images, masks = (
        {path.stem: path for path in sorted((folder / part).iterdir()) if path.suffix.lower() in ENDINGS} for part in ("images", "masks")
    )
    if not images:
        raise SystemExit(f"error: there are no pictures in {folder / 'images'}")
    for name, path in images.items():
        if name not in masks:
            raise SystemExit(f"error: {path} has no mask: there is no {folder / 'masks' / name}.*")
    # The bar is only for many pictures, so that a message about the first of them stays a single line.
    with tqdm(images.items(), desc="reading pictures", delay=1, leave=False) as bar:
        return [read_pair(path, masks[name]) for name, path in bar]
