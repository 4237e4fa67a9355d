"""Show it: views as pictures, a turntable, and the fields side by side."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from _common import save_figure
from _files import claim, write_beside
from torchsample.render import Rendering

from .data import read_views
from .rendering import render_view
from .scene import look_at_middle
from .scores import run_path
from .training import load

COLUMNS = {"NeRF without positional encoding": "MLP without encoding", "NeRF": "NeRF", "voxel grid": "voxel grid"}


def to_bytes(colour: Tensor) -> np.ndarray:
    """Colours in [0, 1] as whole numbers."""
    return (255 * colour.clamp(0, 1)).round().to(torch.uint8).cpu().numpy()


def turntable_pose(angle: float, height: float, radius: float) -> Tensor:
    """A camera on a circle around the scene."""
    flat = math.sqrt(1 - height**2)
    return torch.from_numpy(look_at_middle(radius * np.array([flat * math.cos(angle), flat * math.sin(angle), height]))).float()


def render(args: argparse.Namespace) -> None:
    """The subcommand: a turntable as GIF, or one view, its colours and its depth."""
    model = load(args.checkpoint, args.device)
    radius, fov = model.settings["radius"], args.fov or model.settings["fov"]

    def view(angle: float, progress: bool = False) -> Rendering:
        pose = turntable_pose(angle, args.height, radius).to(args.device)
        return render_view(model, pose, (args.size, args.size), fov, progress)

    if args.output.suffix.lower() == ".gif":
        angles = [2 * math.pi * frame / args.frames for frame in range(args.frames)]
        frames = [to_bytes(view(angle).colour) for angle in tqdm(angles, desc="frames")]
        write_beside(args.output, lambda path: iio.imwrite(path, np.stack(frames), duration=1000 / 15, loop=0))
        print(f"Saved {args.output}, {len(frames)} frames")
        return
    depth = args.output.with_name(f"{args.output.stem}-depth{args.output.suffix}")
    claim(depth)
    found = view(math.radians(args.angle), progress=True)
    write_beside(args.output, lambda path: Image.fromarray(to_bytes(found.colour)).save(path))
    write_beside(depth, lambda path: Image.fromarray(to_bytes(shade(found.depth, found.opacity))).save(path))
    print(f"Saved {args.output} and {depth}")


def shade(depth: Tensor, opacity: Tensor) -> Tensor:
    """Depth as grey: near is bright, and nothing is white."""
    seen = opacity > 0.5
    near, far = (depth[seen].min(), depth[seen].max()) if bool(seen.any()) else (depth.min(), depth.max() + 1)
    return torch.where(seen, 0.9 - 0.8 * (depth - near) / (far - near).clamp(min=1e-6), 1.0)


def compare(args: argparse.Namespace) -> None:
    """The subcommand picture: truth and fields, and below the depth that each of them has."""
    missing = [name for name in COLUMNS if not run_path(args.runs, name).exists()]
    if missing:
        raise SystemExit(f"error: {args.runs} lacks the run {missing[0]!r}; the subcommand evaluate trains them all")
    models = {title: load(run_path(args.runs, name), args.device) for name, title in COLUMNS.items()}
    views = read_views(args.data, "test", models["NeRF"].settings["bound"])
    if args.view >= len(views.images):
        raise SystemExit(f"error: there is no view {args.view}; {len(views.images)} were held out")
    columns = [("truth", views.images[args.view], _true_depth(args.data, args.view))]
    for title, model in models.items():
        found = render_view(model, views.poses[args.view].to(args.device), views.size, views.fov)
        columns.append((title, found.colour.cpu(), shade(found.depth, found.opacity).cpu()))
    figure = Figure(figsize=(3.2 * len(columns), 6.8), dpi=100, layout="constrained")
    for cells, (title, colour, depth) in zip(figure.subplots(2, len(columns)).T, columns, strict=True):
        cells[0].set_title(title)
        cells[0].imshow(to_bytes(colour), interpolation="nearest")
        if depth is not None:
            cells[1].imshow(to_bytes(depth), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for cell in cells:
            cell.set_axis_off()
    save_figure(figure, args.output)


def _true_depth(folder: Path, view: int) -> Tensor | None:
    """The depth that make-data has saved beside a picture, if it did."""
    path = folder / "test" / f"r_{view}_depth.npy"
    if not path.is_file():
        return None
    depth = torch.from_numpy(np.load(path))
    return shade(depth.nan_to_num(posinf=0.0), depth.isfinite().float())
