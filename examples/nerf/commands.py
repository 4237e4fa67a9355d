"""Learn a scene from photographs: NeRF, a voxel grid and a tri-plane, on torchsample.

Without photographs of your own, `make-data` takes some of a mesh: a duck that comes with pybullet, a rabbit that comes with
pymeshfix, or a file of yours. Folders with transforms_train.json and transforms_test.json, as Blender's exporters write them,
work unchanged, and so does tiny_nerf_data.npz, whose first 100 photographs are for training. Axes are Blender's, z is up, and
camera_angle_x says how wide all cameras are; the scene is around the origin, in a cube of half side 1.5, or "bound" in the JSON,
or --bound. Focal lengths in pixels and distortions of lenses are not read.

The program runs in any folder, as `python path/to/examples/nerf`, and writes to the folder in which it runs.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from _common import between, output_path, picture_path, whole
from _files import claim, write_beside
from _program import Command, parser_of
from _training import add_training_arguments

from .data import BOUND
from .fields import FIELDS
from .picture import compare, render
from .scene import MESHES, Scene, find_mesh, make_part, poses_around
from .scores import RUNS, evaluate
from .training import train

EXAMPLES = """examples (for make-data: pip install trimesh embreex pybullet):
  {command} make-data duck                     90 photographs to learn from and 9 to measure, in seconds
  {command} train duck --field voxels          about a minute on two CPU cores; interrupt it, and it goes on where it was
  {command} train duck --steps 600             prolong it: go on from the 300 steps that it has
  {command} render -o turn.gif                 a turntable; with .png, a view and its depth
  {command} evaluate duck --checkpoint nerf.pt PSNR and SSIM of views that were held out
  {command} evaluate duck --seeds 0 1 2        train and compare all fields, and NeRF without each of its parts
  {command} picture duck                       truth and fields side by side, with depth
  {torchrun} train duck    the same result, on two processes
"""
CHECKPOINT, RUNS_FOLDER = Path("nerf.pt"), Path("nerf_runs")
RESULTS = Path("nerf_results.json")


def make_data(args: argparse.Namespace) -> None:
    """The subcommand: photographs of a mesh."""
    folder = args.output or Path(Path(args.mesh).with_suffix("").name)
    if folder.exists():
        raise SystemExit(f"error: {folder} exists already; remove it, or pass -o")
    claim(folder)
    scene = Scene(find_mesh(args.mesh), args.up)

    def make(partial: Path) -> None:
        make_part(scene, partial, "train", poses_around(args.views), args.size)
        make_part(scene, partial, "test", poses_around(max(args.views // 10, 2), turn=1.0), args.size)

    write_beside(folder, make)
    print(f"Saved {folder}")


def _add_make_data(command: argparse.ArgumentParser) -> None:
    command.description = "Take photographs of a mesh from all around, with exact cameras and depth."
    add = command.add_argument
    add("mesh", metavar="MESH", help=f"{', '.join(MESHES)}, or a file that trimesh reads, with its texture or colours")
    add(
        "--views",
        type=whole(2, 10_000),
        default=90,
        help="photographs to train on; a tenth as many are for the test (default: %(default)s)",
    )
    add("--size", type=whole(8, 4096), default=100, help="their side in pixels (default: %(default)s)")
    add("--up", choices=("y", "z"), help="axis of the file that points upwards (default: y for .obj, .glb and .gltf, else z)")
    add("-o", "--output", type=Path, metavar="DIR", help="folder to make (default: the mesh's name)")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", type=Path, metavar="DATA", help="folder with transforms_*.json, or tiny_nerf_data.npz")


def _add_bound(command: argparse.ArgumentParser) -> None:
    what = "half the side of the cube around the origin that holds the scene"
    command.add_argument("--bound", type=between(0), help=f"{what} (default: what DATA says, as make-data's does, or {BOUND})")


def _add_train(command: argparse.ArgumentParser) -> None:
    command.description = "Learn a scene. Steps, batch (rays, a multiple of 8) and rate have defaults of their own for each field."
    _add_data(command)
    command.add_argument("--field", choices=FIELDS, default="voxels", help="what is learnt (default: %(default)s)")
    _add_bound(command)
    command.add_argument("--views", type=whole(1), help="learn from so many of the photographs only")
    add_training_arguments(command, whole, CHECKPOINT, steps=None, batch=None, lr=None)


def view_path(text: str) -> Path:
    """An argument type: a turntable or a picture to write."""
    return output_path(text, (".gif", ".png", ".jpg", ".webp"))


def _add_render(command: argparse.ArgumentParser) -> None:
    command.description = "Render views that nobody photographed: a turntable (.gif), or one view and its depth (.png)."
    add = command.add_argument
    add("--checkpoint", type=Path, default=CHECKPOINT, metavar="FILE", help="of train (default: %(default)s)")
    add("-o", "--output", type=view_path, default=Path("turntable.gif"), metavar="FILE", help="(default: %(default)s)")
    add("--size", type=whole(8, 4096), default=100, help="side in pixels (default: %(default)s)")
    add("--frames", type=whole(2, 1000), default=30, help="of a turntable (default: %(default)s)")
    add("--angle", type=between(-math.inf), default=30.0, help="of a single view, in degrees (default: %(default)s)")
    add("--height", type=between(-1, 1), default=0.35, help="of the camera, between -1 and 1 (default: %(default)s)")
    add("--fov", type=between(0, math.pi), help="field of view across the width, in radians (default: that of the photographs)")


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.description = "Measure views that were held out: of one checkpoint, or of every field and of NeRF without each of its parts."
    _add_data(command)
    add = command.add_argument
    _add_bound(command)
    add("--checkpoint", type=Path, metavar="FILE", help="measure this one only")
    add("--seeds", type=whole(0), nargs="+", default=[0], help="of the table (default: 0)")
    add("--only", choices=list(RUNS), nargs="+", metavar="ROW", help=f"some rows of the table only: {'; '.join(RUNS)}")
    add("--steps", type=whole(1), help="of every run (default: those of its field)")
    add("--runs", type=Path, default=RUNS_FOLDER, metavar="DIR", help="checkpoints of the table (default: %(default)s)")
    add("--results", type=Path, default=RESULTS, metavar="FILE", help="where to save (default: %(default)s)")


def _add_picture(command: argparse.ArgumentParser) -> None:
    command.description = "Show a view by each field, beside the truth, with depth; after evaluate has trained them."
    _add_data(command)
    add = command.add_argument
    add("--view", type=whole(0), default=4, help="which of the held-out views (default: %(default)s)")
    add("--runs", type=Path, default=RUNS_FOLDER, metavar="DIR", help="checkpoints of evaluate (default: %(default)s)")
    add("-o", "--output", type=picture_path, default="nerf.png", metavar="FILE", help="(default: %(default)s)")


COMMANDS: dict[str, Command] = {
    "make-data": (make_data, _add_make_data, "photograph a mesh"),
    "train": (train, _add_train, "learn a scene"),
    "render": (render, _add_render, "a turntable, or a view and its depth"),
    "evaluate": (evaluate, _add_evaluate, "measure held-out views"),
    "picture": (compare, _add_picture, "compare by eye"),
}


def make_parser(command: str = "python -m nerf", torchrun: str = "torchrun -m nerf") -> argparse.ArgumentParser:
    """The command line."""
    return parser_of(__doc__, EXAMPLES.format(command=command, torchrun=torchrun), COMMANDS, command)
