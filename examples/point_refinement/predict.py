"""The mask of a picture of any size, window by window."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from _files import reserve, write_beside

from .data import TILE, open_picture
from .model import FINER, HALO, POINTS, STRIDE, Refiner
from .ways import refine, to_images

CORE = 2 * TILE  # Pixels of the picture that a window decides on; HALO more on each side are only seen.

Window = tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]


def _parts(extent: int) -> Iterator[tuple[slice, slice, slice]]:
    """Along one axis: what a window sees, which of its results are kept, and where they belong."""
    padded = -(-extent // STRIDE) * STRIDE
    for start in range(0, extent, CORE):
        end = min(start + CORE, extent)
        first, last = max(start - HALO, 0), min(end + HALO, padded)
        last += -(last - first) % STRIDE
        yield (
            slice(first, last),
            slice((start - first) * FINER, (end - first) * FINER),
            slice(start * FINER, end * FINER),
        )


def windows(height: int, width: int) -> list[Window]:
    """All windows of a picture: what each sees, what is kept, and where it belongs, as rows and columns."""
    return [tuple(zip(rows, columns, strict=True)) for rows in _parts(height) for columns in _parts(width)]


def _see(picture: np.ndarray, place: tuple[slice, slice]) -> Tensor:
    """A window ``(3, h, w)``; beyond the right and bottom edges, up to a whole coarse pixel, the edge goes on."""
    part = torch.from_numpy(np.array(picture[place])).permute(2, 0, 1)
    missing = [(piece.stop - piece.start) - side for piece, side in zip(place, part.shape[1:], strict=True)]
    return F.pad(part.float(), (0, missing[1], 0, missing[0]), mode="replicate")


@torch.inference_mode()
def fill(model: Refiner, picture: np.ndarray, out: np.ndarray, device: torch.device) -> int:
    """Write the mask of a picture ``(h, w, 3)`` to an array ``(8 * h, 8 * w)``, and count the points."""
    total = 0
    with tqdm(windows(*picture.shape[:2]), desc="refining", unit="window") as bar:
        for seen, kept, place in bar:
            images = to_images(_see(picture, seen), device)
            # As many points per area as in a tile.
            n_points = math.ceil(POINTS * images[0, 0].numel() / TILE**2)
            logits, coords = refine(model, images, n_points=n_points)
            out[place] = (logits[0, 0][kept] > 0).cpu().numpy().astype(np.uint8) * 255
            total += sum(each.shape[1] for each in coords)
            bar.set_postfix(points=f"{total:,}", refresh=False)
    return total


def predict(model: Refiner, path: Path, output: Path, device: torch.device) -> None:
    """Write the mask of a picture, eight times finer; it is collected in a file without a name, so that memory need not hold it."""
    picture = np.asarray(open_picture(path))
    shape = picture.shape[0] * FINER, picture.shape[1] * FINER
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output.parent) as file:
        out = np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
        reserve(file, out.nbytes)
        points = fill(model, picture, out, device)
        write_beside(output, lambda partial: Image.fromarray(out).save(partial))
    land = f"{100 * np.count_nonzero(out) / out.size:.1f} %"
    print(f"Saved {output}: {shape[1]} x {shape[0]} pixels, {land} of them marked; {points:,} points for {out.size:,} pixels")
