"""Photographs and where they were taken: folders as Blender's exporters for NeRF write them, and ``tiny_nerf_data.npz``."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """Photographs of one size over white, and their cameras."""

    images: Tensor
    """``(n, h, w, 3)`` in [0, 1]."""
    poses: Tensor
    """``(n, 4, 4)``, camera to world; cameras look along their -z, with y upwards."""
    fov: float
    """Across the width, in radians."""

    @property
    def size(self) -> tuple[int, int]:
        """``(w, h)``."""
        return self.images.shape[2], self.images.shape[1]

    def some(self, count: int) -> Views:
        """So many of them, evenly."""
        chosen = torch.linspace(0, len(self.images) - 1, min(count, len(self.images))).round().long()
        return Views(self.images[chosen], self.poses[chosen], self.fov)


def _fail(reason: str) -> SystemExit:
    return SystemExit(f"error: {reason}")


def _read_picture(path: Path) -> np.ndarray:
    """RGB over white ``(h, w, 3)``."""
    try:
        with Image.open(path) as picture:
            rgba = np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _fail(f"cannot read the image {path}: {getattr(error, 'strerror', None) or error}") from None
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def _check_pose(pose: np.ndarray, name: str) -> np.ndarray:
    if pose.shape not in ((3, 4), (4, 4)) or not np.isfinite(pose).all():
        raise _fail(f"the camera of {name} must be a 4 x 4 matrix of numbers, not of shape {pose.shape}")
    turn = pose[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
        raise _fail(f"the camera of {name} is not a rotation and a place: its columns must be orthogonal, of length 1 and right-handed")
    return np.concatenate([pose[:3], [[0, 0, 0, 1]]])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not found["frames"]:
            raise ValueError("it has no frames")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _fail(f"cannot read the cameras {path}: {getattr(error, 'strerror', None) or repr(error)}") from None
    return dict(found)


def _read_frames(folder: Path, found: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images, poses = [], []
    for frame in found["frames"]:
        if not {"file_path", "transform_matrix"} <= set(frame):
            raise _fail(f"a frame of {folder} lacks its file_path or transform_matrix")
        path = folder / frame["file_path"]
        path = path if path.suffix else path.with_name(path.name + ".png")
        images.append(_read_picture(path))
        poses.append(_check_pose(np.asarray(frame["transform_matrix"], dtype=np.float64), str(path)))
        if images[-1].shape != images[0].shape:
            raise _fail(f"the image {path} is {images[-1].shape[:2][::-1]}, others are {images[0].shape[:2][::-1]}")
    return images, poses


def _read_npz(path: Path, part: str) -> Views:
    """``tiny_nerf_data.npz``: the first hundred are for training."""
    try:
        with np.load(path) as data:
            images, poses, focal = data["images"], data["poses"], float(data["focal"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _fail(f"cannot read {path}: {error}") from None
    if len(images) != len(poses):
        raise _fail(f"{path} has {len(images)} images and {len(poses)} cameras")
    chosen = slice(100) if part == "train" else slice(100, None)
    checked = np.stack([_check_pose(pose, f"image {number} of {path}") for number, pose in enumerate(poses)])
    fov = 2 * math.atan(images.shape[2] / 2 / focal)
    return Views(torch.from_numpy(images[chosen, ..., :3]).float(), torch.from_numpy(checked[chosen]).float(), fov)


def read_views(path: Path, part: str) -> Views:
    """The photographs of a part, ``train`` or ``test``."""
    if path.suffix == ".npz":
        return _read_npz(path, part)
    if not path.is_dir():
        raise _fail(f"there is no folder {path}; make one with the subcommand make-data")
    found = _read_json(path / f"transforms_{part}.json")
    images, poses = _read_frames(path, found)
    fov = found.get("camera_angle_x")
    if not isinstance(fov, (int, float)) or not 0 < fov < math.pi:
        raise _fail(f"camera_angle_x of {path / f'transforms_{part}.json'} must be an angle between 0 and pi, not {fov!r}")
    return Views(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(poses)).float(), float(fov))
