"""Super-resolution at any scale with LIIF: train it, enlarge pictures with it, and measure it.

A network sees a small picture and a coordinate, and says the colour there; so one network serves every scale. It is trained on sixteen
photographs that come with scikit-image, scikit-learn and matplotlib, or on your own, and tested on three others.

The program runs in any folder, as `python path/to/examples/super_resolution`, and writes to the folder in which it runs.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from _common import picture_path, whole
from _program import Command, parser_of
from _training import add_training_arguments

from .picture import picture
from .scores import evaluate
from .training import train
from .upscale import upscale

EXAMPLES = """examples:
  {command} train                            ten minutes on two CPU cores; interrupt it, and it goes on where it was
  {command} train --steps 6000               prolong it: go on from the 4500 steps that it has
  {command} upscale cat.jpg --scale 3.7      any scale: cat-2368x1776.png
  {command} upscale cat.jpg --size 20000x15000 -o cat.tif
  {command} evaluate                         PSNR at x2 to x8, against bicubic interpolation
  {command} evaluate --ablation --steps 1500 --seeds 0 1 2
  {command} picture                          the same part of a photograph, by each method
  {command} train --data ~/DIV2K --steps 50000 --batch 16 --device cuda
  {torchrun} train       the same result, on two processes
"""
CHECKPOINT, RESULTS = Path("super_resolution.pt"), Path("super_resolution_results.json")


def parse_size(text: str) -> tuple[int, int]:
    """An argument type: ``WIDTHxHEIGHT``."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT such as 1920x1080, not {text!r}")
    return int(found[1]), int(found[2])


def parse_scale(text: str) -> float:
    """An argument type: a number of at least 1."""
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 1 <= scale < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of at least 1, not {text!r}")
    return scale


def _add_data(command: argparse.ArgumentParser) -> None:
    wanted = "a folder, or one with DIV2K_train_HR and DIV2K_valid_HR, or with train and test"
    command.add_argument("--data", type=Path, metavar="DIR", help=f"your own photographs: {wanted} (default: those of installed packages)")


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="FILE", help="of train (default: %(default)s)")


def _add_train(command: argparse.ArgumentParser) -> None:
    command.description = "Train LIIF on random patches at random scales from 1 to 4. If there is a checkpoint, go on from it."
    add_training_arguments(command, whole, CHECKPOINT, steps=4500, batch=8, lr=3e-3)
    _add_data(command)


def _add_upscale(command: argparse.ArgumentParser) -> None:
    command.description = "Enlarge a picture, piece by piece: neither it nor the result has to fit in memory as numbers."
    add = command.add_argument
    add("image", type=Path, metavar="IMAGE", help="the picture")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--scale", type=parse_scale, default=4.0, help="how many times larger, 3.7 for example (default: %(default)g)")
    how.add_argument("--size", type=parse_size, metavar="WxH", help="or the size of the result")
    add("-o", "--output", type=Path, metavar="FILE", help="the result; .tif for very large ones (default: beside the picture)")
    add("--tile", type=whole(16, 4096), default=128, help="side of the pieces (default: %(default)s)")
    _add_checkpoint(command)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.description = "Measure PSNR on photographs that were held out; print tables and save the numbers."
    add = command.add_argument
    add("--ablation", action="store_true", help="train LIIF, and LIIF without each of its parts, with every seed, and compare")
    add("--seeds", type=whole(0), nargs="+", default=[0, 1, 2], help="of the ablation (default: 0 1 2)")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="checkpoints of the ablation (default: %(default)s)")
    add("--results", type=Path, default=RESULTS, metavar="FILE", help="where to save (default: %(default)s)")
    add_training_arguments(command, whole, CHECKPOINT, steps=1500, batch=8, lr=3e-3)
    _add_data(command)


def _add_picture(command: argparse.ArgumentParser) -> None:
    command.description = "Show a part of a photograph by bicubic interpolation, by LIIF and in truth."
    add = command.add_argument
    add("image", type=Path, nargs="?", metavar="IMAGE", help="the photograph (default: scikit-image's astronaut)")
    add("--scales", type=parse_scale, nargs="+", default=[4.0, 2.7], help="how many times smaller the input is (default: 4 2.7)")
    add("-o", "--output", type=picture_path, default="super_resolution.png", metavar="FILE", help="(default: %(default)s)")
    _add_checkpoint(command)


COMMANDS: dict[str, Command] = {
    "train": (train, _add_train, "train the network"),
    "upscale": (upscale, _add_upscale, "enlarge a picture"),
    "evaluate": (evaluate, _add_evaluate, "measure PSNR against bicubic interpolation"),
    "picture": (picture, _add_picture, "compare by eye"),
}


def make_parser(command: str = "python -m super_resolution", torchrun: str = "torchrun -m super_resolution") -> argparse.ArgumentParser:
    """The command line."""
    return parser_of(__doc__, EXAMPLES.format(command=command, torchrun=torchrun), COMMANDS, command)
