"""Photographs and where they were taken: folders as Blender's exporters for NeRF write them, and ``tiny_nerf_data.npz``."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from _common import to_rgb

BOUND = 1.5
"""Half the side of the cube that holds a scene, if neither its folder nor anybody else says it: that of NeRF's synthetic scenes."""


@dataclass(frozen=True)
class Views:
    """Photographs of one size, and their cameras, in a unit in which the scene fills the cube from -1 to 1."""

    images: Tensor
    """``(n, h, w, 3)`` in [0, 1]."""
    poses: Tensor
    """``(n, 4, 4)``, camera to world; cameras look along their -z, with y upwards."""
    fov: float
    """Across the width, in radians."""
    bound: float
    """The scene is in the cube from ``-bound`` to ``bound`` of its own unit; in that of ``poses``, from -1 to 1."""
    background: float
    """What is seen where nothing is: 1 is white."""

    @property
    def size(self) -> tuple[int, int]:
        """``(w, h)``."""
        return self.images.shape[2], self.images.shape[1]

    def some(self, count: int) -> Views:
        """So many of them, evenly."""
        chosen = torch.linspace(0, len(self.images) - 1, min(count, len(self.images))).round().long()
        return replace(self, images=self.images[chosen], poses=self.poses[chosen])

    def describe(self) -> dict[str, Any]:
        """What a field has to know of its photographs, and which they are, wherever their folder is."""
        radius = round(self.poses[:, :3, 3].norm(dim=-1).mean().item(), 4)
        count, height, width = self.images.shape[:3]
        photos = f"{count} of {width} x {height}, checksum {zlib.crc32(self.images.numpy().tobytes()):08x}"
        return {"photos": photos, "bound": self.bound, "background": self.background, "radius": radius, "fov": self.fov}


def _fail(reason: str) -> SystemExit:
    return SystemExit(f"error: {reason}")


def _read_picture(path: Path) -> np.ndarray:
    """RGB over white ``(h, w, 3)``."""
    try:
        with Image.open(path) as picture:
            # Pillow clips greys of 16 bits rather than scaling them.
            rgba = np.asarray((to_rgb(picture) if picture.mode[0] in "IF" else picture).convert("RGBA"), dtype=np.float32) / 255
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _fail(f"cannot read the image {path}: {getattr(error, 'strerror', None) or error}") from None
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def _check_pose(values: Any, name: str) -> np.ndarray:
    try:
        pose = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        raise _fail(f"the camera of {name} must be a 4 x 4 matrix of numbers, not {values!r:.100}") from None
    if pose.shape not in ((3, 4), (4, 4)) or not np.isfinite(pose).all():
        raise _fail(f"the camera of {name} must be a 4 x 4 matrix of numbers, not of shape {pose.shape}")
    if not np.array_equal(pose[3:], np.eye(4)[3:][: len(pose) - 3]):
        raise _fail(f"the last row of the camera of {name} must be 0 0 0 1, not {' '.join(f'{value:g}' for value in pose[3])}")
    turn = pose[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
        raise _fail(f"the camera of {name} is not a rotation and a place: its columns must be orthogonal, of length 1 and right-handed")
    return np.concatenate([pose[:3], [[0, 0, 0, 1]]])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not found["frames"]:
            raise ValueError("it has no frames")
        for frame in found["frames"]:
            if not isinstance(frame["file_path"], str) or "transform_matrix" not in frame:
                raise ValueError("a frame lacks its file_path or transform_matrix")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _fail(f"cannot read the cameras {path}: {getattr(error, 'strerror', None) or repr(error)}") from None
    return dict(found)


def _read_frames(folder: Path, found: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images, poses = [], []
    for frame in found["frames"]:
        path = folder / frame["file_path"]
        if path.suffix.lower() not in Image.registered_extensions():
            path = path.with_name(path.name + ".png")
        images.append(_read_picture(path))
        poses.append(_check_pose(frame["transform_matrix"], str(path)))
        if images[-1].shape != images[0].shape:
            raise _fail(f"the image {path} is {images[-1].shape[:2][::-1]}, others are {images[0].shape[:2][::-1]}")
    return images, poses


def _views(images: np.ndarray, poses: np.ndarray, fov: float, bound: float, background: float) -> Views:
    """Views of cameras in the unit of the scene."""
    poses = poses.copy()
    poses[:, :3, 3] /= bound
    return Views(torch.from_numpy(images).float(), torch.from_numpy(poses).float(), fov, bound, background)


def _read_npz(path: Path, part: str, bound: float) -> Views:
    """``tiny_nerf_data.npz``, photographs over black: the first hundred are for training."""
    try:
        with path.open("rb") as file, np.load(file) as data:
            images, poses, focal = data["images"], data["poses"], float(data["focal"])
    except OSError as error:
        raise _fail(f"cannot read {path}: {error.strerror or error}") from None
    except KeyError as error:
        raise _fail(f"cannot read {path}: {error.args[0]}; it must hold images, poses and focal") from None
    except (ValueError, TypeError, zipfile.BadZipFile):
        raise _fail(f"cannot read {path}: it must be an archive of numpy.savez with arrays images, poses and focal") from None
    if images.dtype == np.uint8:
        images = images / np.float32(255)
    if images.ndim != 4 or images.shape[-1] < 3 or images.dtype.kind != "f" or not ((images >= 0) & (images <= 1)).all():
        raise _fail(f"the images of {path} must be (n, h, w, 3), bytes or numbers from 0 to 1, not {images.dtype} {images.shape}")
    if not 0 < focal < math.inf:
        raise _fail(f"the focal length of {path} must be a number above 0, not {focal}")
    if len(images) != len(poses):
        raise _fail(f"{path} has {len(images)} images and {len(poses)} cameras")
    chosen = slice(100) if part == "train" else slice(100, None)
    if not len(images[chosen]):
        raise _fail(f"{path} has {len(images)} images, of which none are for {part}: the first 100 are for training")
    checked = np.stack([_check_pose(pose, f"image {number} of {path}") for number, pose in enumerate(poses)])
    fov = 2 * math.atan(images.shape[2] / 2 / focal)
    return _views(images[chosen, ..., :3], checked[chosen], fov, bound, background=0.0)


def read_views(path: Path, part: str, bound: float | None = None) -> Views:
    """The photographs of a part, ``train`` or ``test``; without a bound, the one that the folder has, or `BOUND`."""
    if path.suffix.lower() == ".npz":
        return _read_npz(path, part, bound or BOUND)
    if path.is_file():
        raise _fail(f"{path} is neither a folder nor a file .npz")
    if not path.is_dir():
        raise _fail(f"there is no folder {path}; make one with the subcommand make-data")
    found = _read_json(path / f"transforms_{part}.json")
    images, poses = _read_frames(path, found)
    fov = found.get("camera_angle_x")
    if not isinstance(fov, (int, float)) or not 0 < fov < math.pi:
        raise _fail(f"camera_angle_x of {path / f'transforms_{part}.json'} must be an angle between 0 and pi, not {fov!r}")
    bound = bound or found.get("bound", BOUND)
    if not isinstance(bound, (int, float)) or not 0 < bound < math.inf:
        raise _fail(f"bound of {path / f'transforms_{part}.json'} must be a number above 0, not {bound!r}")
    return _views(np.stack(images), np.stack(poses), float(fov), float(bound), background=1.0)
