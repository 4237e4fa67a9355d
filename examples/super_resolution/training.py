"""Train LIIF on random patches at random scales from 1 to 4."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from _checkpoint import load_model
from _training import Team, Trainer, team

from .data import draw_batch, find_photos
from .model import Liif, build

PROGRAM = "super_resolution"
SHAPE = {"channels": 32, "blocks": 4, "width": 64, "cell": True, "ensemble": True, "unfold": True}
"""The network, if nothing else is said."""


def make_settings(args: argparse.Namespace, photos: Sequence[str], **changes: Any) -> dict[str, Any]:
    """All that a run depends on."""
    options = {name: getattr(args, name) for name in ("seed", "steps", "batch", "lr")}
    return {"program": PROGRAM} | SHAPE | options | {"photos": sorted(photos)} | changes


def fit(
    settings: dict[str, Any],
    photos: dict[str, Image.Image],
    device: torch.device,
    checkpoint: Path | None,
    restart: bool,
    prolong: bool = False,
) -> Liif:
    """Train a network, or go on with the training that a checkpoint has; with ``prolong``, to another number of steps as well."""
    pictures = [photos[name] for name in settings["photos"]]

    def loss_of(model: nn.Module, generator: torch.Generator, members: Team) -> tuple[Tensor, dict[str, Tensor]]:
        small, coords, cell, colours = (members.share(part) for part in draw_batch(pictures, settings["batch"], generator))
        found = model(coords, small, cell)
        error = (found - colours).abs().mean()
        return error, {"L1": error, "PSNR": -10 * (found.detach() - colours).square().mean().log10()}

    with team(device) as members:
        trainer = Trainer(build(settings), members, settings, checkpoint)
        if not restart:
            trainer.resume(prolong)
        trainer.run(loss_of)
        return trainer.model  # type: ignore[return-value]


def train(args: argparse.Namespace) -> None:
    """The subcommand."""
    photos = find_photos(args.data, "train")
    fit(make_settings(args, list(photos)), photos, args.device, args.checkpoint, args.restart, prolong=True)
    if os.environ.get("RANK", "0") == "0":
        print(f"Ready: {args.checkpoint}, trained on {len(photos)} photographs")


def load(path: Path, device: torch.device) -> Liif:
    """The network of a checkpoint, ready to use."""
    return load_model(path, PROGRAM, build, lambda _: SHAPE | {"seed": 0}).to(device)
