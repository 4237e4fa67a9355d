"""Enlarge a picture, to any size that the disk has room for."""

from __future__ import annotations

import argparse
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import torchsample as ts
from _common import to_map
from _files import claim, reserve, write_beside

from .data import open_picture, to_bytes
from .model import Liif
from .training import load

LARGEST = 100_000_000
"""Pixels up to which a picture is put together in memory, for formats that cannot be written piece by piece."""


class Tiles:
    """Colours at coordinates of a picture of which only the part around them is encoded."""

    def __init__(self, model: Liif, photo: Image.Image, size: tuple[int, int], device: torch.device) -> None:
        self._model, self._photo, self._device = model, photo, device
        self._cell = 2 / torch.tensor(size, dtype=torch.float64)

    def _part(self, coords: Tensor) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels that colours at coordinates depend on."""
        ends = torch.stack([coords.flatten(0, -2).amin(0), coords.flatten(0, -2).amax(0)])
        low, high = ts.coord.unnormalize(ends, self._photo.size).tolist()
        reach = self._model.reach
        first = [max(int(end) - reach, 0) for end in low]
        last = [min(int(end) + reach + 2, side) for end, side in zip(high, self._photo.size, strict=True)]
        return first[0], first[1], last[0], last[1]

    @torch.inference_mode()
    def __call__(self, coords: Tensor) -> Tensor:
        box = self._part(coords)
        part = to_map(self._photo.crop(box), self._device)
        region = ts.coord.region_from_box(torch.tensor(box, dtype=torch.float64), self._photo.size)
        within = ts.coord.to_region(coords.double(), region).float().to(self._device)
        # A pixel of the result covers more of a part than of all of the picture.
        cell = (self._cell / region.diagonal()).float().to(self._device)
        return torch.from_numpy(to_bytes(self._model(within, part, cell)))


def _anonymous() -> int:
    """Bytes of this process that no file stands behind; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


@contextmanager
def watch_memory() -> Iterator[list[int]]:
    """Look every 20 ms at how much memory there is more than at the beginning; the list gets the most."""
    before, most, done = _anonymous(), [0], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], _anonymous() - before)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def _write(path: Path, tiles: Tiles, size: tuple[int, int], tile: int) -> None:
    bar = functools.partial(tqdm, desc="tiles")
    shape = (size[1], size[0], 3)
    if path.suffix.lower() in (".tif", ".tiff"):
        # A file that is mapped to memory: the system writes what does not fit.
        out = tifffile.memmap(path, shape=shape, dtype=np.uint8, photometric="rgb", bigtiff=size[0] * size[1] * 3 > 2**32 - 2**20)
        with path.open("r+b") as file:
            reserve(file, path.stat().st_size)
        ts.tiled(tiles, size, out, tile, progress=bar)
        out.flush()
        return
    Image.fromarray(ts.tiled(tiles, size, np.empty(shape, np.uint8), tile, progress=bar)).save(path)


def upscale(args: argparse.Namespace) -> None:
    """The subcommand."""
    model, photo = load(args.checkpoint, args.device), open_picture(args.image)
    size = args.size or (round(photo.width * args.scale), round(photo.height * args.scale))
    output = args.output or args.image.with_name(f"{args.image.stem}-{size[0]}x{size[1]}.png")
    if size[0] * size[1] > LARGEST and output.suffix.lower() not in (".tif", ".tiff"):
        raise SystemExit(f"error: a result of {size[0]} x {size[1]} pixels is written piece by piece, as TIFF: pass -o {output.stem}.tif")
    if output.suffix.lower() not in Image.registered_extensions():
        raise SystemExit(f"error: {output} must end as a picture does, .png or .tif")
    claim(output)
    tiles = Tiles(model, photo, size, args.device)
    with watch_memory() as most:
        write_beside(output, lambda path: _write(path, tiles, size, args.tile))
    print(f"Saved {output}, {size[0]} x {size[1]} pixels; {most[0] / 2**20:.0f} MiB of memory at most")
