"""Measure: train what is missing, compare the ways on tiles that were held out, and save the numbers."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import torchsample as ts
from _files import claim, write_beside
from _training import Team

from . import ways
from .data import TILE, Pair, cut, load
from .metrics import BOUNDARY, iou, overlaps
from .model import FINER, POINTS, STEPS, STRIDE, DenseRefiner, PointRefiner, Refiner, multiply_adds, read_model
from .picture import draw, truth_of
from .report import table
from .training import STRATEGIES, settings_of, train

MAIN = {
    "coarse, bilinear": ways.coarse_bilinear,
    "PointRend": ways.pointrend(),
    "PointRend that forgets": ways.pointrend(remember=False),
    "point head at each pixel": ways.each_pixel,
    "point head everywhere": ways.everywhere,
}
DENSE = {"dense head at stride 1": ways.dense_head}
SWEEP = {str(TILE // STRIDE * 2**steps): ways.pointrend(steps) for steps in range(1, STEPS + 1)}
Measured = dict[str, dict[str, float]]


@torch.inference_mode()
def measure(model: Refiner, tiles: list[Pair], to_try: dict[str, ways.Way], device: torch.device) -> Measured:
    """IoU, boundary IoU, points and the median of the seconds per tile, for each way."""
    results = {}
    for name, way in to_try.items():
        counts, seconds, points = torch.zeros(2, 2, dtype=torch.long), [], 0
        way(model, ways.to_images(tiles[0].image, device))  # The first call is slower.
        for tile in tqdm(tiles, desc=f"measuring {name}", unit="tile", leave=False):
            images = ways.to_images(tile.image, device)
            start = time.perf_counter()
            logits, points = way(model, images)
            masks = (logits[:, 0] > 0).cpu()
            seconds.append(time.perf_counter() - start)
            counts += overlaps(masks, truth_of(tile, masks.shape[-1])[None])
        both = iou(counts)
        results[name] = {"iou": both[0], "boundary_iou": both[1], "points": points, "seconds": statistics.median(seconds)}
    return results


class Runs:
    """Trained models, one for each seed, head and strategy; those that are missing are trained."""

    def __init__(self, args: argparse.Namespace, pairs: list[Pair]) -> None:
        self.args, self.pairs = args, pairs
        self.data = str(args.data.resolve()) if args.data else "earth"

    def settings(self, seed: int, head: str, strategy: str) -> dict[str, Any]:
        return settings_of(seed, strategy, self.data, head, steps=self.args.steps, batch=self.args.batch)

    def get(self, seed: int, head: str, strategy: str) -> Refiner:
        settings = self.settings(seed, head, strategy)
        # Runs with other settings get files of their own.
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        path = self.args.runs / f"{head}-{strategy}-seed{seed}-{digest}.pt"
        tqdm.write(f"{head} head, {strategy} points, seed {seed}: {path}", file=sys.stderr)
        train(self.pairs, settings, Team(0, 1, self.args.device), path)
        return read_model(path, self.args.device)


def compare(runs: Runs, tiles: list[Pair], seeds: list[int]) -> dict[str, dict[str, list[Measured]]]:
    """All measurements, for each seed in turn."""
    found: dict[str, Any] = {"main": [], "sweep": [], "strategies": []}
    device = runs.args.device
    for seed in tqdm(seeds, desc="seeds"):
        mild = runs.get(seed, "points", "mild")
        dense = measure(runs.get(seed, "dense", "mild"), tiles, DENSE, device)
        main = measure(mild, tiles, MAIN, device)
        found["main"].append({"coarse, bilinear": main["coarse, bilinear"], **dense, **main})
        found["sweep"].append(measure(mild, tiles, SWEEP, device))
        strategies = {}
        for strategy in STRATEGIES:
            model = mild if strategy == "mild" else runs.get(seed, "points", strategy)
            strategies[strategy] = measure(model, tiles, {strategy: ways.pointrend()}, device)[strategy]
        found["strategies"].append(strategies)
    return {part: {name: [each[name] for each in lists] for name in lists[0]} for part, lists in found.items()}


def summary(measured: list[dict[str, float]]) -> dict[str, Any]:
    """Each seed and the mean."""
    rows = {key: [each[key] for each in measured] for key in ("iou", "boundary_iou")}
    means = {f"{key}_mean": statistics.mean(values) for key, values in rows.items()}
    return {**rows, **means, "points": measured[0]["points"], "seconds": statistics.median(each["seconds"] for each in measured)}


@torch.inference_mode()
def costs() -> dict[str, int]:
    """Multiply-adds of the layers for a tile, by counting; sampling and interpolation are not in them."""
    images = torch.zeros(1, 3, TILE, TILE)
    points, dense = PointRefiner().eval(), DenseRefiner().eval()
    every = {**{name: (points, way) for name, way in MAIN.items()}, **{name: (dense, way) for name, way in DENSE.items()}}
    return {name: multiply_adds(lambda way=way, model=model: way(model, images), model) for name, (model, way) in every.items()}


def targets(rows: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """What PointRend should reach: the quality of the dense evaluation at a sixtieth of the points, and more than uniform points."""
    refined, everywhere = rows["main"]["PointRend"], rows["main"]["point head everywhere"]
    gaps = [all_of_it - some for some, all_of_it in zip(refined["iou"], everywhere["iou"], strict=True)]
    mild, uniform = rows["strategies"]["mild"], rows["strategies"]["uniform"]
    return {
        "iou_below_dense": gaps,
        "iou_within_0.1_of_dense_in_each_seed": all(abs(gap) <= 0.1 for gap in gaps),
        "times_fewer_points": everywhere["points"] / refined["points"],
        "mild_minus_uniform_iou": [one - other for one, other in zip(mild["iou"], uniform["iou"], strict=True)],
        "mild_minus_uniform_boundary_iou": [one - other for one, other in zip(mild["boundary_iou"], uniform["boundary_iou"], strict=True)],
        "mild_beats_uniform_in_each_seed": all(one > other for one, other in zip(mild["iou"], uniform["iou"], strict=True)),
    }


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchsample": ts.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
        "cpu": cpu,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def describe(args: argparse.Namespace, runs: Runs, tiles: list[Pair]) -> dict[str, Any]:
    """All that the numbers depend on."""
    return {
        "command": f"python -m point_refinement {' '.join(sys.argv[1:])}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": versions(),
        "device": str(args.device),
        "threads": torch.get_num_threads(),
        "seeds": args.seeds,
        "data": {"name": runs.data, "training_pictures": len(runs.pairs), "test_tiles": len(tiles), "tile": TILE, "result": TILE * FINER},
        "settings": runs.settings(args.seeds[0], "points", "mild"),
        "strategies": {name: {"k": k, "beta": beta} for name, (k, beta) in STRATEGIES.items()},
        "inference": {"steps": STEPS, "points_per_step": POINTS, "boundary_pixels": BOUNDARY},
    }


def evaluate(args: argparse.Namespace) -> None:
    """Train what is missing, measure, save and print."""
    claim(args.results)
    pairs, test = load(args.data, args.cache)
    tiles = cut(test)
    runs = Runs(args, pairs)
    rows = {part: {name: summary(each) for name, each in measured.items()} for part, measured in compare(runs, tiles, args.seeds).items()}
    for name, count in costs().items():
        rows["main"][name]["multiply_adds"] = count
    results = {**describe(args, runs, tiles), "rows": rows, "targets": targets(rows)}
    write_beside(args.results, lambda path: path.write_text(json.dumps(results, indent=1) + "\n"))
    print(table(results))
    print(f"Saved {args.results}")
    draw(runs.get(args.seeds[0], "points", "mild"), tiles, args.picture, args.device)
