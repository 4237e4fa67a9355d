"""Show it: the same part of a photograph by bicubic interpolation, by LIIF and in truth, at two scales."""

from __future__ import annotations

import argparse

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import torchsample as ts
from _common import save_figure, show, to_map

from .data import find_photos, open_picture, shrink
from .scores import pillow_bicubic
from .training import load

BOX = 0.30, 0.02, 0.58, 0.30
"""Left, top, right and bottom of the part that is shown: a face, in the astronaut's photograph."""


def _show_part(axes: Axes, image: Tensor, title: str) -> None:
    """The part of a picture, whatever its size; its edges may cut through pixels."""
    height, width = image.shape[-2:]
    left, top, right, bottom = BOX
    show(axes, image, title)
    axes.set_xlim(left * width - 0.5, right * width - 0.5)
    axes.set_ylim(bottom * height - 0.5, top * height - 0.5)


def picture(args: argparse.Namespace) -> None:
    """The subcommand."""
    model = load(args.checkpoint, args.device)
    photo = open_picture(args.image) if args.image else find_photos(None, "test")["astronaut"]
    figure = Figure(figsize=(13, 3.6 * len(args.scales)), dpi=100, layout="constrained")
    for cells, scale in zip(figure.subplots(len(args.scales), 4, squeeze=False), args.scales, strict=True):
        small = to_map(shrink(photo, (round(photo.width / scale), round(photo.height / scale))))
        liif = model.enlarge(small.to(args.device), photo.size).cpu()
        images = small, pillow_bicubic(small, photo.size), liif, to_map(photo)
        titles = f"input, {ts.tensor_to_size(small)[0]} x {ts.tensor_to_size(small)[1]}", f"bicubic x{scale:g}", f"LIIF x{scale:g}", "truth"
        for axes, image, title in zip(cells, images, titles, strict=True):
            _show_part(axes, image, title)
    save_figure(figure, args.output)
