"""Photograph a mesh: rays cast by trimesh and Embree, with exact cameras, colours, transparency and depth.

Nothing here uses torchsample or PyTorch, so that what learns from the photographs cannot share a mistake with what made them.
"""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

RADIUS = 4.0
"""How far cameras are from the middle of the scene."""
FIELD_OF_VIEW = 0.6911112
"""Across the width, in radians, as in the synthetic scenes of NeRF's authors."""
LIGHT = np.array([0.4, -0.5, 0.77])
MESHES = {"duck": ("pybullet_data", "duck.obj", "pybullet"), "bunny": ("pymeshfix", "examples/StanfordBunny.ply", "--no-deps pymeshfix")}
"""Where a mesh is: the package, the file in it, and what pip installs it."""


def find_mesh(name: str) -> Path:
    """A mesh out of an installed package, or a file of one's own."""
    if name not in MESHES:
        path = Path(name)
        if not path.is_file():
            raise SystemExit(f"error: there is no mesh {name}; pass a file, or one of {', '.join(MESHES)}")
        return path
    package, inner, install = MESHES[name]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"error: the mesh {name} comes with a package that is not installed: pip install {install}")
    return Path(found.submodule_search_locations[0]) / inner


class Scene:
    """A mesh that fills the cube from -1 to 1, its texture and a light."""

    def __init__(self, path: Path, up: str | None = None) -> None:
        try:
            import trimesh
            import trimesh.ray.ray_pyembree as embree
        except ImportError as error:
            raise SystemExit(f"error: rays are cast by trimesh and Embree ({error}): pip install trimesh embreex") from None
        try:
            mesh = trimesh.load(path, force="mesh", process=False)
            low, high = mesh.bounds
        except Exception as error:  # Each of trimesh's readers has errors of its own.
            raise SystemExit(f"error: cannot read the mesh {path}: {error}") from None
        mesh.apply_translation(-(low + high) / 2)
        mesh.apply_scale(1.8 / (high - low).max())
        if (up or ("y" if path.suffix.lower() in (".obj", ".glb", ".gltf") else "z")) == "y":
            # Here it is z.
            mesh.apply_transform(trimesh.transformations.rotation_matrix(math.pi / 2, [1, 0, 0]))
        self._mesh, self._caster = mesh, embree.RayMeshIntersector(mesh)
        self._uv = getattr(mesh.visual, "uv", None)
        image = getattr(getattr(mesh.visual, "material", None), "image", None)
        self._texture = None if image is None or self._uv is None else np.asarray(image.convert("RGB")) / 255.0

    def _colour(self, triangles: np.ndarray, weights: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Of the surface itself: its texture, its vertices' or faces' colours, or a pattern of its place."""
        visual = self._mesh.visual
        if visual.kind == "face":
            return visual.face_colors[triangles, :3] / 255
        if visual.kind == "vertex":
            return (visual.vertex_colors[self._mesh.faces[triangles], :3] / 255 * weights[..., None]).sum(1)
        if self._texture is None:
            return 0.55 + 0.35 * np.sin(9 * points + [0, 2, 4])
        uv = (self._uv[self._mesh.faces[triangles]] * weights[..., None]).sum(1)
        height, width = self._texture.shape[:2]
        x, y = (uv[:, 0] % 1) * width, ((1 - uv[:, 1]) % 1) * height
        return self._texture[y.astype(int) % height, x.astype(int) % width]

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colour and transparency ``(n, 4)``, and distance ``(n,)``, infinite where there is nothing."""
        import trimesh

        triangles, rays, points = self._caster.intersects_id(origins, directions, multiple_hits=False, return_locations=True)
        weights = trimesh.triangles.points_to_barycentric(self._mesh.triangles[triangles], points)
        normals = (self._mesh.vertex_normals[self._mesh.faces[triangles]] * weights[..., None]).sum(1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        bright = 0.35 + 0.65 * np.maximum(normals @ LIGHT / np.linalg.norm(LIGHT), 0)
        half = LIGHT / np.linalg.norm(LIGHT) - directions[rays]
        shine = np.maximum((normals * half).sum(1) / np.linalg.norm(half, axis=1), 0) ** 40
        rgba, depth = np.zeros((len(origins), 4)), np.full(len(origins), np.inf)
        rgba[rays, :3] = self._colour(triangles, weights, points) * bright[:, None] + 0.25 * shine[:, None]
        rgba[rays, 3] = 1
        depth[rays] = np.linalg.norm(points - origins[rays], axis=1)
        return rgba.clip(0, 1), depth

    def photograph(self, pose: np.ndarray, side: int, finer: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """A picture ``(side, side, 4)`` whose pixels are means of ``finer**2`` rays, and the depth of their centres."""
        rgba, _ = self.cast(*camera_rays(pose, side * finer))
        opacity = rgba[:, 3:]
        sums = np.concatenate([rgba[:, :3] * opacity, opacity], 1).reshape(side, finer, side, finer, 4).mean((1, 3))
        sums[..., :3] /= np.maximum(sums[..., 3:], 1e-9)
        return (255 * sums).round().astype(np.uint8), self.cast(*camera_rays(pose, side))[1].reshape(side, side)


def camera_rays(pose: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins and unit directions ``(side * side, 3)`` of a pinhole camera that looks along its -z, with y upwards."""
    focal = side / 2 / math.tan(FIELD_OF_VIEW / 2)
    y, x = np.mgrid[:side, :side] + 0.5
    directions = np.stack([(x - side / 2) / focal, (side / 2 - y) / focal, -np.ones_like(x)], -1).reshape(-1, 3) @ pose[:3, :3].T
    return np.broadcast_to(pose[:3, 3], directions.shape).copy(), directions / np.linalg.norm(directions, axis=1, keepdims=True)


def look_at_middle(position: np.ndarray) -> np.ndarray:
    """A camera's pose ``(4, 4)``, camera to world, at a position, upright."""
    z = position / np.linalg.norm(position)
    x = np.cross([0.0, 0.0, 1.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3] = np.stack([x, np.cross(z, x), z, position], 1)
    return pose


def poses_around(count: int, turn: float = 0.0) -> list[np.ndarray]:
    """Cameras on a sphere, evenly from a bit below the middle to almost the top, on a spiral."""
    heights = np.linspace(-0.25, 0.9, count)
    angles = turn + np.arange(count) * math.pi * (3 - math.sqrt(5))
    flat = np.sqrt(1 - heights**2)
    return [look_at_middle(RADIUS * np.array(place)) for place in zip(flat * np.cos(angles), flat * np.sin(angles), heights, strict=True)]


def make_part(scene: Scene, folder: Path, part: str, poses: list[np.ndarray], side: int) -> None:
    """Photographs of one part, ``train`` or ``test``, and the file that says where they were taken."""
    (folder / part).mkdir(parents=True)
    frames: list[dict[str, Any]] = []
    for number, pose in enumerate(tqdm(poses, desc=part)):
        picture, depth = scene.photograph(pose, side)
        Image.fromarray(picture).save(folder / part / f"r_{number}.png")
        np.save(folder / part / f"r_{number}_depth.npy", depth.astype(np.float32))
        frames.append({"file_path": f"./{part}/r_{number}", "transform_matrix": pose.tolist()})
    text = json.dumps({"camera_angle_x": FIELD_OF_VIEW, "bound": 1.0, "frames": frames}, indent=1)
    (folder / f"transforms_{part}.json").write_text(text + "\n")
