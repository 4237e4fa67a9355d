"""Train LIIF on random patches at random scales from 1 to 4."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from _training import Team, Trainer, read_checkpoint, team

from .data import draw_batch, find_photos
from .model import Liif, build

SHAPE = {"channels": 32, "blocks": 4, "width": 64, "cell": True, "ensemble": True, "unfold": True}
"""The network, if nothing else is said."""


def make_settings(args: argparse.Namespace, photos: Sequence[str], **changes: Any) -> dict[str, Any]:
    """All that a run depends on."""
    return SHAPE | {name: getattr(args, name) for name in ("seed", "steps", "batch", "lr")} | {"photos": sorted(photos)} | changes


def fit(settings: dict[str, Any], photos: dict[str, Image.Image], device: torch.device, checkpoint: Path | None, restart: bool) -> Liif:
    """Train a network, or go on with the training that a checkpoint has."""
    pictures = [photos[name] for name in settings["photos"]]

    def loss_of(model: nn.Module, generator: torch.Generator, members: Team) -> tuple[Tensor, dict[str, Tensor]]:
        small, coords, cell, colours = (members.share(part) for part in draw_batch(pictures, settings["batch"], generator))
        found = model(coords, small, cell)
        error = (found - colours).abs().mean()
        return error, {"L1": error, "PSNR": -10 * (found.detach() - colours).square().mean().log10()}

    with team(device) as members:
        trainer = Trainer(build(settings), members, settings, checkpoint)
        if not restart:
            trainer.resume()
        trainer.run(loss_of)
        return trainer.model  # type: ignore[return-value]


def train(args: argparse.Namespace) -> None:
    """The subcommand."""
    photos = find_photos(args.data, "train")
    fit(make_settings(args, list(photos)), photos, args.device, args.checkpoint, args.restart)
    print(f"Trained on {len(photos)} photographs; saved {args.checkpoint}")


def load(path: Path, device: torch.device) -> Liif:
    """The network of a checkpoint, ready to use."""
    saved = read_checkpoint(path)
    try:
        model = build(saved["settings"])
        model.load_state_dict(saved["model"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise SystemExit(f"error: {path} is no checkpoint of this program: {str(error).splitlines()[0]}") from None
    return model.to(device).eval()
