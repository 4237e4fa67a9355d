"""Measure: PSNR and SSIM of views that were held out, for each field, and what each part of NeRF brings."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
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
from _common import psnr
from _training import read_checkpoint, write_beside

from .data import Views, read_views
from .rendering import Radiance, render_view
from .training import fit, load, make_settings

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


def _train_one(args: argparse.Namespace, name: str, seed: int, views: Views) -> tuple[Radiance, float]:
    """A run's field, and the seconds of its training; one that was trained already is read again."""
    settings = make_settings(data=args.data, views=views, seed=seed, **RUNS[name])
    if args.steps is not None:
        settings["steps"] = args.steps
    path = run_path(args.runs, name, seed)
    print(f"{name}, seed {seed}", file=sys.stderr)
    timed = path.with_suffix(".json")
    start = time.perf_counter()
    model = fit(settings, views, args.device, path, restart=False)
    if not timed.exists():
        seconds = time.perf_counter() - start
        write_beside(timed, lambda partial: partial.write_text(json.dumps(seconds)))
    return model.eval(), float(json.loads(timed.read_text()))


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
        "command": "python -m nerf " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchsample": ts.__version__},
        "threads": torch.get_num_threads(),
        "seeds": args.seeds,
    }


def evaluate(args: argparse.Namespace) -> None:
    """The subcommand: one checkpoint, or all runs of the table."""
    if args.checkpoint is not None:
        model = load(args.checkpoint, args.device)
        test = read_views(args.data, "test", model.settings["bound"])
        found = measure(model, test)
        print(f"PSNR {found['psnr']:.2f} dB, SSIM {found['ssim']:.3f}, {found['seconds_per_view']:.2f} s per view of {len(test.images)}")
        return
    views, test = (read_views(args.data, part, args.bound) for part in ("train", "test"))
    result: dict[str, Any] = describe(args) | {"rows": {}}
    for name in args.only or RUNS:
        seeds = {}
        for seed in args.seeds:
            model, seconds = _train_one(args, name, seed, views)
            seeds[str(seed)] = measure(model, test) | {"train_seconds": seconds}
        settings = read_checkpoint(run_path(args.runs, name, args.seeds[0]))["settings"]
        result["rows"][name] = {"settings": settings | {"data": Path(settings["data"]).name}, "seeds": seeds}
    write_beside(args.results, lambda path: path.write_text(json.dumps(result, indent=1) + "\n"))
    print(table(result))
    print(f"Saved {args.results}")


def run_path(folder: Path, name: str, seed: int = 0) -> Path:
    """Where the table's command keeps a run."""
    return folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}.pt"
