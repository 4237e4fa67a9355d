"""Measure: PSNR of LIIF and of bicubic interpolation on photographs that were held out, and what each part of LIIF brings."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

import torchsample as ts
from _checkpoint import read_checkpoint
from _common import psnr, to_map
from _files import claim, write_beside

from .data import find_photos, shrink
from .model import Liif
from .training import PROGRAM, fit, load, make_settings

SCALES = 2, 3, 4, 6, 8
METHODS = "LIIF", "bicubic (Pillow)", "bicubic (torch)"
VARIANTS: dict[str, dict[str, Any]] = {
    "LIIF": {},
    "without cell": {"cell": False},
    "without ensemble": {"ensemble": False},
    "without unfolding": {"unfold": False},
}
PAPER = {"bicubic": (31.01, 28.22, 26.66, 24.82), "EDSR-baseline-LIIF": (34.67, 30.96, 29.00, 26.75)}
"""Chen et al. (2021), table 1, for x2, x3, x4 and x6: DIV2K's validation pictures, RGB, a network of 1.5 million parameters."""


def pair(photo: Image.Image, scale: int) -> tuple[Tensor, Tensor]:
    """The small picture and the truth: the photograph cut to whole pixels of the small one, which is made by Pillow's bicubic."""
    size = photo.width // scale, photo.height // scale
    large = photo.crop((0, 0, size[0] * scale, size[1] * scale))
    return to_map(shrink(large, size)), to_map(large)


def pillow_bicubic(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Pillow's bicubic, a = -0.5, of 8-bit colours."""
    picture = Image.fromarray((255 * small[0]).round().byte().movedim(0, -1).numpy())
    return to_map(picture.resize(size, Image.Resampling.BICUBIC))


def torch_bicubic(small: Tensor, size: tuple[int, int]) -> Tensor:
    """PyTorch's bicubic, a = -0.75."""
    return F.interpolate(small, size[::-1], mode="bicubic").clamp(0, 1)


def shaved_psnr(image: Tensor, truth: Tensor, scale: int) -> float:
    """PSNR in dB of RGB rounded to 8 bits, without a border as wide as the scale."""
    inner = (..., slice(scale, -scale), slice(scale, -scale))
    return psnr((255 * image.clamp(0, 1)).round()[inner] / 255, truth[inner])


def measure(model: Liif, photos: dict[str, Image.Image]) -> dict[str, dict[str, dict[str, float]]]:
    """PSNR by scale, method and photograph."""
    device, found = next(model.parameters()).device, {}
    for scale in tqdm(SCALES, desc="scales", leave=False):
        rows: dict[str, dict[str, float]] = {method: {} for method in METHODS}
        for name, photo in photos.items():
            small, truth = pair(photo, scale)
            size = ts.tensor_to_size(truth)
            images = model.enlarge(small.to(device), size).cpu(), pillow_bicubic(small, size), torch_bicubic(small, size)
            for method, image in zip(METHODS, images, strict=True):
                rows[method][name] = shaved_psnr(image, truth, scale)
        found[str(scale)] = rows
    return found


def _gain(scores: dict[str, dict[str, dict[str, float]]], scale: int, method: str) -> float:
    """How much better than a method on average, in dB."""
    rows = scores[str(scale)]
    return mean(rows["LIIF"].values()) - mean(rows[method].values())


def table(result: dict[str, Any]) -> str:
    """The scores as Markdown."""
    scores, names = result["scores"], list(result["scores"]["2"]["LIIF"])
    lines = [
        f"PSNR in dB, mean of {', '.join(names)}, which were held out. RGB of 8 bits, a border as wide as the scale shaved off, small"
        " pictures by Pillow's bicubic; trained for scales from 1 to 4.",
        "",
        "| | " + " | ".join(f"x{scale}" for scale in SCALES) + " |",
        "|---" * (len(SCALES) + 1) + "|",
    ]
    for method in METHODS:
        lines.append(f"| {method} | " + " | ".join(f"{mean(scores[str(scale)][method].values()):.2f}" for scale in SCALES) + " |")
    for method in METHODS[1:]:
        lines.append(f"| LIIF - {method} | " + " | ".join(f"{_gain(scores, scale, method):+.2f}" for scale in SCALES) + " |")
    gaps = [f"{ours - base:+.2f}" for ours, base in zip(PAPER["EDSR-baseline-LIIF"], PAPER["bicubic"], strict=True)]
    lines.append("| *the paper's, other data and size* | " + " | ".join([*gaps, ""]) + " |")
    return "\n".join(lines)


def ablation_table(result: dict[str, Any]) -> str:
    """What each part brings: gains over Pillow's bicubic, mean and standard deviation over seeds."""
    runs = result["ablation"]["runs"]
    seeds = len(next(iter(runs.values())))
    lines = [
        f"Gain over Pillow's bicubic in dB after {result['ablation']['steps']} steps, mean ± standard deviation of {seeds} seeds",
        "",
        "| | " + " | ".join(f"x{scale}" for scale in SCALES) + " |",
        "|---" * (len(SCALES) + 1) + "|",
    ]
    for variant, gains in runs.items():
        columns = list(zip(*gains.values(), strict=True))
        spread = [stdev(column) if len(column) > 1 else math.nan for column in columns]
        lines.append(f"| {variant} | " + " | ".join(f"{mean(c):+.2f} ± {s:.2f}" for c, s in zip(columns, spread, strict=True)) + " |")
    return "\n".join(lines)


def _ablate(args: argparse.Namespace, photos: dict[str, Image.Image]) -> dict[str, Any]:
    """Train every variant with every seed, as long as is asked for; what a folder has already is not trained again."""
    training = find_photos(args.data, "train")
    runs: dict[str, dict[str, list[float]]] = {}
    for variant, changes in VARIANTS.items():
        for seed in args.seeds:
            settings = make_settings(args, list(training), seed=seed, **changes)
            checkpoint = args.runs / f"{variant.replace(' ', '_')}-{seed}.pt"
            print(f"{variant}, seed {seed}", file=sys.stderr)
            model = fit(settings, training, args.device, checkpoint, args.restart)
            scores = measure(model, photos)
            runs.setdefault(variant, {})[str(seed)] = [_gain(scores, scale, "bicubic (Pillow)") for scale in SCALES]
    return {"steps": args.steps, "batch": args.batch, "lr": args.lr, "runs": runs}


def describe() -> dict[str, Any]:
    """With what this was measured."""
    return {
        "command": "python -m super_resolution " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchsample": ts.__version__},
        "threads": torch.get_num_threads(),
    }


def _earlier(path: Path) -> dict[str, Any]:
    """What a file of results has already: one command writes the scores, another one the ablation."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SystemExit(f"error: {path} holds no results; remove it, or pass --results")
    return found


def _save(path: Path, result: dict[str, Any]) -> None:
    write_beside(path, lambda partial: partial.write_text(json.dumps(result, indent=1) + "\n"))
    print(f"Saved {path}")


def evaluate(args: argparse.Namespace) -> None:
    """The subcommand."""
    claim(args.results)
    result = _earlier(args.results)
    photos = find_photos(args.data, "test")
    if args.ablation:
        result["ablation"] = _ablate(args, photos) | describe()
        print(ablation_table(result))
    else:
        model, start = load(args.checkpoint, args.device), time.perf_counter()
        saved = read_checkpoint(args.checkpoint, PROGRAM)
        result["scores"] = measure(model, photos)
        result["run"] = describe() | {"settings": saved["settings"], "step": saved["step"], "seconds": time.perf_counter() - start}
        print(table(result))
    _save(args.results, result)
