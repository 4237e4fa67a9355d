"""Measure: PSNR and SSIM of views that were held out, for each field, and what each part of NeRF brings."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import shlex
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from tqdm import tqdm

import torchsample as ts
from _checkpoint import read_checkpoint
from _common import psnr
from _files import claim, write_beside

from .data import Views, read_views
from .rendering import Radiance, render_view
from .training import PROGRAM, fit, load, make_settings

RUNS: dict[str, dict[str, Any]] = {
    "voxel grid": {"field": "voxels"},
    "tri-plane": {"field": "triplane"},
    "NeRF": {"field": "nerf"},
    "NeRF without positional encoding": {"field": "nerf", "order": 0},
    "NeRF, half the frequencies": {"field": "nerf", "order": 3},
    "NeRF without hierarchical sampling": {"field": "nerf", "fine_samples": 0, "samples": 64},
    "NeRF, a quarter of the views": {"field": "nerf", "views": 22},
}
PAPER = {
    "NeRF": 31.01,
    "NeRF without positional encoding": 28.77,
    "NeRF, half the frequencies": 30.59,
    "NeRF without hierarchical sampling": 30.06,
    "NeRF, a quarter of the views": 27.78,
}
"""Mildenhall et al. (2020), table 2: mean of eight synthetic scenes at 800 x 800, 100 views (25 for fewer), a day of training."""


def ssim(image: Tensor, truth: Tensor) -> float:
    """Structural similarity of colours ``(h, w, 3)`` in [0, 1], by scikit-image."""
    pair = (part.clamp(0, 1).double().numpy() for part in (image, truth))
    return float(structural_similarity(*pair, channel_axis=-1, data_range=1.0))


def measure(model: Radiance, views: Views) -> dict[str, float]:
    """Means over views."""
    device, found = next(model.parameters()).device, []
    start = time.perf_counter()
    for pose, truth in tqdm(list(zip(views.poses, views.images, strict=True)), desc="views", leave=False):
        colour = render_view(model, pose.to(device), views.size, views.fov).colour.cpu()
        found.append((psnr(colour, truth), ssim(colour, truth)))
    seconds = (time.perf_counter() - start) / len(found)
    return {"psnr": mean(each[0] for each in found), "ssim": mean(each[1] for each in found), "seconds_per_view": seconds}


def _train_one(args: argparse.Namespace, name: str, seed: int, views: Views) -> Radiance:
    """A run's field; one that was trained already is read again, and one that was interrupted goes on."""
    settings = make_settings(photos=views, seed=seed, **RUNS[name])
    if args.steps is not None:
        settings["steps"] = args.steps
    print(f"{name}, seed {seed}", file=sys.stderr)
    return fit(settings, views, args.device, run_path(args.runs, name, seed), restart=False).eval()


def _row(args: argparse.Namespace, name: str, views: Views, test: Views) -> dict[str, Any]:
    """A row of the table: what each seed's run is worth, and its settings."""
    seeds = {}
    for seed in args.seeds:
        model = _train_one(args, name, seed, views)
        saved = read_checkpoint(run_path(args.runs, name, seed), PROGRAM)
        seeds[str(seed)] = measure(model, test) | {"train_seconds": saved["spent"]}
    settings = saved["settings"] | {"data": args.data.name, "seed": args.seeds}
    return {"settings": settings, "seeds": seeds} | ({"paper": PAPER[name]} if name in PAPER else {})


def table(result: dict[str, Any]) -> str:
    """The scores as Markdown."""
    lines = [
        f"Held-out views: mean, and standard deviation of {len(result['seeds'])} seeds. The paper's: other scenes and size.",
        "",
        "| | PSNR | SSIM | training | a view | the paper's PSNR |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        values = [each["psnr"] for each in row["seeds"].values()]
        spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        others = [mean(each[key] for each in row["seeds"].values()) for key in ("ssim", "train_seconds", "seconds_per_view")]
        paper = f"{PAPER[name]:.2f}" if name in PAPER else ""
        lines.append(f"| {name} | {mean(values):.2f}{spread} | {others[0]:.3f} | {others[1]:.0f} s | {others[2]:.2f} s | {paper} |")
    return "\n".join(lines)


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """With what this was measured."""
    return {
        "command": shlex.join(["python", "-m", "nerf", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchsample": ts.__version__},
        "threads": torch.get_num_threads(),
        "seeds": args.seeds,
    }


def evaluate(args: argparse.Namespace) -> None:
    """The subcommand: one checkpoint, or all runs of the table."""
    if args.checkpoint is not None:
        if args.only or args.steps or args.bound or args.seeds != [0]:
            raise SystemExit("error: --checkpoint measures one run as it is; leave out --only, --steps, --bound and --seeds")
        model = load(args.checkpoint, args.device)
        test = read_views(args.data, "test", model.settings["bound"])
        found = measure(model, test)
        print(f"PSNR {found['psnr']:.2f} dB, SSIM {found['ssim']:.3f}, {found['seconds_per_view']:.2f} s per view of {len(test.images)}")
        return
    claim(args.results)
    views, test = (read_views(args.data, part, args.bound) for part in ("train", "test"))
    result: dict[str, Any] = describe(args) | {"rows": {}}
    for name in args.only or RUNS:
        result["rows"][name] = _row(args, name, views, test)
        write_beside(args.results, lambda path: path.write_text(json.dumps(result, indent=1) + "\n"))
    print(table(result))
    print(f"Saved {args.results}")


def run_path(folder: Path, name: str, seed: int = 0) -> Path:
    """Where the table's command keeps a run."""
    return folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}.pt"
