"""Train a field on random pixels of all photographs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchsample as ts
from _checkpoint import load_model
from _training import Team, Trainer, team

from .data import Views, read_views
from .fields import parameter_groups
from .rendering import SHARDS, Radiance, cast

PROGRAM = "nerf"
DEFAULTS: dict[str, dict[str, Any]] = {
    "nerf": {"steps": 600, "batch": 512, "lr": 2e-3, "samples": 32, "fine_samples": 32, "order": 6, "width": 96},
    "voxels": {"steps": 300, "batch": 4096, "lr": 5e-3, "samples": 96, "side": 64, "channels": 7, "cells": 48},
    "triplane": {"steps": 300, "batch": 4096, "lr": 5e-3, "samples": 96, "side": 128, "channels": 16, "cells": 48},
}
"""What the settings of a field are if nothing else is said: each takes about a minute or two on two cores."""


def make_settings(field: str, photos: Views, **changes: Any) -> dict[str, Any]:
    """All that a run depends on."""
    return {"program": PROGRAM, "field": field, "seed": 0, "views": None} | DEFAULTS[field] | photos.describe() | changes


def _draw(views: Views, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random pixels: coordinates ``(n, 2)`` of their centres, and of which view ``(n,)``."""
    number = torch.randint(len(views.images), (batch,), generator=generator)
    size = torch.tensor(views.size)
    pixels = (torch.rand(batch, 2, generator=generator) * size).long().minimum(size - 1)
    return ts.coord.normalize(pixels, views.size), number


def _check_aim(views: Views) -> None:
    """End the program if cameras look past the scene, of which nothing could be learnt."""
    origins, directions = cast(views, torch.zeros(len(views.poses), 2), torch.arange(len(views.poses)))
    if not bool(ts.ray.intersect_box(origins, directions, -1.0, 1.0).hit.any()):
        raise SystemExit(
            f"error: no camera looks at the cube of half side {views.bound:g} around the origin, where the scene must be; see --bound"
        )


def fit(
    settings: dict[str, Any], views: Views, device: torch.device, checkpoint: Path | None, restart: bool, prolong: bool = False
) -> Radiance:
    """Train a field, or go on with the training that a checkpoint has; with ``prolong``, to another number of steps as well."""
    views = views if settings["views"] is None else views.some(settings["views"])
    _check_aim(views)
    photos = views.images.movedim(-1, 1)
    torch.manual_seed(settings["seed"])
    model = Radiance(settings)
    with team(device) as members:
        if SHARDS % members.size:
            raise SystemExit(f"error: the number of processes must divide {SHARDS}, unlike {members.size}")
        if settings["batch"] % SHARDS:
            raise SystemExit(f"error: --batch must be a multiple of {SHARDS}, not {settings['batch']}")
        trainer = Trainer(model, members, settings, checkpoint, groups=parameter_groups)

        def loss_of(joined: nn.Module, generator: torch.Generator, members: Team) -> tuple[Tensor, dict[str, Tensor]]:
            coords, number = _draw(views, settings["batch"], generator)
            truth = members.share(ts.sample(coords, photos, mode="nearest", batch_index=number))
            origins, directions = (members.share(part) for part in cast(views, coords, number))
            seeds = torch.randint(2**62, (1 + SHARDS,), generator=generator).tolist()
            model.look_for_space(trainer.step, seeds.pop())
            renderings = joined(origins, directions, members.share(torch.tensor(seeds)).tolist())
            errors = [(rendering.colour - truth).square().mean() for rendering in renderings]
            return torch.stack(errors).sum(), {"PSNR": -10 * errors[-1].detach().log10()}

        if not restart:
            trainer.resume(prolong)
        trainer.run(loss_of)
    return model


def train(args: argparse.Namespace) -> None:
    """The subcommand."""
    changes = {name: getattr(args, name) for name in ("steps", "batch", "lr", "views") if getattr(args, name) is not None}
    views = read_views(args.data, "train", args.bound)
    fit(make_settings(args.field, views, seed=args.seed, **changes), views, args.device, args.checkpoint, args.restart, prolong=True)
    if os.environ.get("RANK", "0") == "0":
        print(f"Ready: {args.checkpoint}")


def load(path: Path, device: torch.device) -> Radiance:
    """The field of a checkpoint, ready to use."""
    return load_model(path, PROGRAM, Radiance, _example_of).to(device)


def _example_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the same field, of the types that they must have."""
    scene = {"seed": 0, "bound": 1.0, "background": 1.0, "radius": 4.0, "fov": 0.7}
    return DEFAULTS[settings["field"]] | scene
