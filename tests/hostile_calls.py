"""Valid calls of every public function, small and cheap: what `hostile` takes one argument or two of, and spoils.

`CALLS` names a call's arguments; "*" are positional ones. A name that is not an attribute of the package is built by `BUILDERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import torchsample as ts

Call = Callable[[], dict[str, Any]]


def r(*shape: int) -> Tensor:
    """Coordinates."""
    return torch.rand(shape) * 2 - 1


def p(*shape: int) -> Tensor:
    """Positive numbers below 1: densities, weights, opacities."""
    return torch.rand(shape) * 0.9 + 0.05


def up(*shape: int) -> Tensor:
    """Ascending numbers: edges along rays."""
    return p(*shape).cumsum(-1)


def integers(*values: int) -> Tensor:
    return torch.tensor(values)


def first(coords: Tensor) -> Tensor:
    """Stands for a network."""
    return coords[..., :1].expand(*coords.shape[:-1], 3)


def one(points: Tensor) -> Tensor:
    """Stands for a density."""
    return points.abs().sum(-1)


def one_each(scores: Tensor) -> Tensor:
    """Stands for a certainty."""
    return scores.amax(-1)


def grid() -> ts.render.OccupancyGrid:
    return ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), resolution=4)


def spans(n: int) -> Tensor:
    start = torch.arange(float(n))
    return torch.stack([start, start + 1], dim=-1)


def packed() -> dict[str, Any]:
    return {"ray_indices": integers(0, 0, 2), "n_rays": 3}


def kernel_calls(name: str) -> dict[str, list[Call]]:
    return {
        f"ts.interpolation.{name}.anchor": [lambda: {"position": 5 * p(4)}],
        f"ts.interpolation.{name}.weights": [lambda: {"t": p(4)}],
    }


def boundary_calls(name: str) -> dict[str, list[Call]]:
    return {
        f"ts.interpolation.{name}.fold": [lambda: {"position": 9 * r(4), "side": 5, "align_corners": False, "reach": 2}],
        f"ts.interpolation.{name}.resolve": [lambda: {"index": torch.arange(-3, 9), "side": 5, "align_corners": True}],
    }


SAMPLE: list[Call] = [
    lambda: {"coords": r(2, 5, 2), "featmap": r(2, 3, 4, 6)},
    lambda: {"coords": r(2, 5, 2), "featmap": r(2, 3, 4, 6), "mode": "cubic", "padding_mode": ("zeros", "circular")},
    lambda: {"coords": r(1, 3, 2, 2), "featmap": r(2, 3, 4, 6), "align_corners": True, "encoder": ts.encoding.Gamma(2)},
    lambda: {"coords": r(5, 2), "featmap": r(2, 3, 4, 6), "batch_index": integers(0, 1, 1, 0, 0), "feat_last": False},
    lambda: {"coords": r(2, 5, 2), "featmap": r(2, 3, 4, 6), "mode": "bspline3", "prefilter": True, "fill": 0.5},
]
SINGLE: list[Call] = [
    lambda: {"coords": r(5, 2), "featmap": r(3, 4, 6)},
    lambda: {"coords": r(3, 2, 2), "featmap": r(3, 4, 6), "mode": "nearest", "padding_mode": "reflection", "align_corners": True},
]
VOLUME: list[Call] = [
    lambda: {"coords": r(2, 5, 3), "featmap": r(2, 3, 4, 6, 2)},
    lambda: {"coords": r(1, 5, 3), "featmap": r(2, 3, 4, 6, 2), "mode": "cubic", "padding_mode": "zeros", "fill": 1.0},
]
POSE = torch.eye(4)
INTRINSICS = torch.tensor([[4.0, 0.0, 2.0], [0.0, 4.0, 1.5], [0.0, 0.0, 1.0]])


def camera(**more: Any) -> dict[str, Any]:
    return {"coords": r(2, 6, 2), "pose": POSE.expand(2, 4, 4).clone(), "size": (4, 3), **more}


def rays(d: int = 3) -> dict[str, Any]:
    return {"origins": r(5, d), "directions": -p(5, d)}


CALLS: dict[str, list[Call]] = {
    "ts.sample": SAMPLE,
    "ts.sample.nobatch": SINGLE,
    "ts.sample2d": SAMPLE,
    "ts.sample2d.nobatch": SINGLE,
    "ts.sample3d": VOLUME,
    "ts.sample3d.nobatch": [lambda: {"coords": r(5, 3), "featmap": r(3, 4, 6, 2), "mode": "trilinear"}],
    "ts.sample_levels": [
        lambda: {"coords": r(2, 5, 2), "featmaps": [r(2, 3, 4, 6), r(2, 2, 2, 3)], "mode": "bilinear", "feat_last": True},
        lambda: {"coords": r(3, 2), "featmaps": (r(2, 3, 4, 6),), "batch_index": integers(0, 1, 1), "padding_mode": "zeros"},
    ],
    "ts.sample_levels.nobatch": [lambda: {"coords": r(5, 2), "featmaps": {"fine": r(3, 4, 6), "coarse": r(2, 2, 3)}, "fill": 0.0}],
    "ts.sample_with_jacobian": [
        lambda: {"coords": r(2, 5, 2), "featmap": r(2, 3, 4, 6), "mode": "cubic", "align_corners": True},
        lambda: {"coords": r(3, 2), "featmap": r(2, 3, 4, 6), "padding_mode": "zeros", "batch_index": integers(0, 1, 1)},
    ],
    "ts.sample_with_jacobian.nobatch": SINGLE,
    "ts.splat": [
        lambda: {"coords": r(2, 5, 2), "values": r(2, 5, 3), "size": (6, 4)},
        lambda: {"coords": r(1, 5, 2), "values": r(2, 5, 3), "size": (6, 4), "mode": "cubic", "padding_mode": "zeros", "normalize": True},
    ],
    "ts.splat.nobatch": [lambda: {"coords": r(5, 2), "values": r(5, 3), "size": (6, 4), "align_corners": True}],
    "ts.why": SAMPLE[:2],
    "ts.why.nobatch": SINGLE,
    "ts.prefilter": [lambda: {"featmap": r(2, 3, 4, 6), "mode": "bspline3", "padding_mode": "border", "align_corners": False}],
    "ts.prefilter.nobatch": [lambda: {"featmap": r(3, 4, 6), "mode": "bspline2", "padding_mode": "reflection"}],
    "ts.neighborhood": [
        lambda: {"coords": r(2, 5, 2), "featmap": r(2, 3, 4, 6), "size": 2, "align_corners": False},
        lambda: {"coords": r(5, 2), "featmap": r(2, 3, 4, 6), "size": 3, "batch_index": integers(0, 1, 1, 0, 0)},
    ],
    "ts.neighborhood.nobatch": [lambda: {"coords": r(5, 2), "featmap": r(3, 4, 6), "size": 2}],
    "ts.local_ensemble": [
        lambda: {"fn": first, "coords": r(2, 5, 2), "featmap": r(2, 3, 4, 6), "cell": (0.1, 0.2), "size": 2, "unfold": 3},
        lambda: {"fn": first, "coords": r(5, 2), "featmap": r(2, 3, 4, 6), "align_corners": True, "batch_index": integers(0, 1, 1, 0, 0)},
    ],
    "ts.local_ensemble.nobatch": [lambda: {"fn": first, "coords": r(5, 2), "featmap": r(3, 4, 6), "cell": torch.ones(2)}],
    "ts.hoist": [
        lambda: {"first": nn.Linear(27 + 4, 5), "rest": nn.Linear(5, 3), "featmap": r(2, 3, 4, 6), "unfold": 3},
        lambda: {"first": nn.Linear(3 + 1, 5), "rest": first, "featmap": r(2, 3, 6)},
    ],
    "ts.subdivide": [
        lambda: {"coarse": r(2, 3, 4, 4), "refine": first, "steps": 2, "n_points": 5, "uncertainty": "margin"},
        lambda: {"coarse": r(1, 3, 4, 4), "refine": first, "steps": 1, "align_corners": True, "remember": False, "return_coords": True},
    ],
    "ts.roi_align": [
        lambda: {"regions": torch.eye(2, 3).repeat(2, 1, 1), "featmap": r(1, 3, 4, 6), "output_size": 3, "sampling_ratio": 2},
        lambda: {"regions": torch.eye(2, 3)[None], "featmap": r(2, 3, 4, 6), "output_size": (2, 3), "batch_index": integers(1)},
    ],
    "ts.chunked": [
        lambda: {"fn": first, "coords": r(2, 7, 2), "chunk_size": 3, "batch_dims": 1, "progress": False},
        lambda: {"fn": first, "coords": r(7, 2), "chunk_size": 100, "batch_dims": 0},
    ],
    "ts.tiled": [
        lambda: {"fn": first, "size": (5, 4), "out": torch.zeros(4, 5, 3), "tile_size": (2, 3), "device": "cpu"},
        lambda: {"fn": first, "size": (5, 4), "out": np.zeros((4, 5, 3)), "tile_size": 2, "align_corners": True, "progress": False},
    ],
    "ts.feat_first": [lambda: {"tensor": r(2, 4, 5, 3)}],
    "ts.feat_first.nobatch": [lambda: {"tensor": r(4, 5, 3)}],
    "ts.feat_last.nobatch": [lambda: {"tensor": r(3, 4, 5)}],
    "ts.tensor_to_size.nobatch": [lambda: {"tensor": r(3, 4, 5)}],
    "ts.feat_last": [lambda: {"tensor": r(2, 3, 4, 5)}],
    "ts.tensor_to_size": [lambda: {"tensor": r(2, 3, 4, 5)}],
    "ts.coord.affine": [
        lambda: {"theta": torch.eye(2, 3)[None], "size": (4, 3), "align_corners": False},
        lambda: {"theta": torch.eye(3, 4)[None], "size": (4, 3, 2)},
    ],
    "ts.coord.affine.nobatch": [lambda: {"theta": torch.eye(2, 3), "size": (4, 3), "align_corners": True}],
    "ts.coord.from_displacement.nobatch": [lambda: {"displacement": r(2, 4, 6), "align_corners": True}],
    "ts.coord.diagnose": [lambda: {"coords": r(1, 20, 2), "featmap": r(1, 3, 4, 6)}],
    "ts.coord.from_displacement": [lambda: {"displacement": r(1, 2, 4, 6), "align_corners": False}],
    "ts.coord.from_region": [lambda: {"coords": r(2, 5, 2), "regions": torch.eye(2, 3).repeat(2, 1, 1)}],
    "ts.coord.to_region": [lambda: {"coords": r(2, 5, 2), "regions": torch.eye(2, 3)}],
    "ts.coord.from_row_col": [lambda: {"coords": r(5, 2)}],
    "ts.coord.from_unit": [lambda: {"coords": p(5, 2)}],
    "ts.coord.to_unit": [lambda: {"coords": r(5, 2)}],
    "ts.coord.inside": [lambda: {"coords": r(5, 2)}],
    "ts.coord.normalize": [
        lambda: {"coord": 4 * p(5, 2), "size": (6, 4), "align_corners": False},
        lambda: {"coord": integers(1, 2), "size": 5},
    ],
    "ts.coord.unnormalize": [
        lambda: {"coord": r(5, 2), "size": (6, 4), "align_corners": True, "clip": True},
        lambda: {"coord": r(5), "size": 5, "clip": False},
    ],
    "ts.coord.full": [
        lambda: {"batch": 1, "size": (4, 3), "device": "cpu", "align_corners": False, "dtype": torch.float32},
        lambda: {"batch": 0, "size": (4,)},
    ],
    "ts.coord.full.nobatch": [lambda: {"size": (4, 3), "device": None, "align_corners": False, "dtype": torch.float64}],
    "ts.coord.full_like": [lambda: {"tensor": r(2, 3, 4, 6), "align_corners": False}],
    "ts.coord.full_like.nobatch": [lambda: {"tensor": r(3, 4, 6), "align_corners": True}],
    "ts.coord.rand": [
        lambda: {"batch": 2, "n_samples": 5, "dims": 3, "dtype": torch.float32, "device": "cpu", "generator": torch.Generator()},
        lambda: {"batch": 0, "n_samples": 5},
    ],
    "ts.coord.rand.nobatch": [lambda: {"n_samples": 5, "dims": 3, "device": "cpu", "generator": torch.Generator()}],
    "ts.coord.randint.nobatch": [lambda: {"n_samples": 5, "size": (6, 4), "replace": True, "dtype": torch.float32, "generator": None}],
    "ts.coord.rand_like": [lambda: {"n_samples": 5, "tensor": r(2, 3, 4, 6), "generator": torch.Generator()}],
    "ts.coord.rand_like.nobatch": [lambda: {"n_samples": 5, "tensor": r(3, 4, 6), "generator": None}],
    "ts.coord.randint": [
        lambda: {"batch": 2, "n_samples": 5, "size": (6, 4), "replace": False, "generator": torch.Generator(), "dtype": torch.float64},
        lambda: {"batch": 0, "n_samples": 50, "size": (6,), "replace": True, "device": "cpu", "align_corners": True},
    ],
    "ts.coord.randint_like": [lambda: {"n_samples": 5, "tensor": r(2, 3, 4, 6), "align_corners": True, "replace": True}],
    "ts.coord.randint_like.nobatch": [lambda: {"n_samples": 5, "tensor": r(3, 4, 6), "generator": torch.Generator()}],
    "ts.coord.rand_biased": [
        lambda: {"batch": 2, "n_samples": 6, "pred": r(2, 3, 4, 6), "k": 2.0, "beta": 0.5, "uncertainty": "margin"},
        lambda: {"batch": 1, "n_samples": 6, "pred": r(1, 3, 4, 6), "align_corners": True, "generator": torch.Generator()},
    ],
    "ts.coord.rand_biased.nobatch": [lambda: {"n_samples": 6, "pred": r(3, 4, 6), "k": 2.0, "beta": 0.5, "uncertainty": one_each}],
    "ts.coord.uncertain.nobatch": [lambda: {"pred": r(3, 4, 6), "threshold": 0.5, "n": 4, "align_corners": True}],
    "ts.coord.region_from_box": [
        lambda: {"boxes": torch.tensor([[0.0, 0.0, 2.0, 2.0]]), "size": (4, 4)},
        lambda: {"boxes": torch.tensor([0.0, 0.0, 2.0, 2.0])},
    ],
    "ts.coord.region_from_rotated_box": [lambda: {"boxes": torch.tensor([[1.0, 1.0, 2.0, 2.0, 30.0]]), "size": (4, 4)}],
    "ts.coord.uncertain": [
        lambda: {"pred": p(1, 3, 4, 6), "threshold": 0.5, "uncertainty": "margin", "align_corners": False},
        lambda: {"pred": p(2, 3, 4, 6), "n": 4, "return_batch_index": True},
    ],
    "ts.encoding.gamma": [lambda: {"coords": r(5, 2), "order": 3}],
    "ts.encoding.identity": [lambda: {"coords": r(5, 2)}],
    "ts.encoding.nearest_pixel": [lambda: {"coords": r(5, 2), "size": (6, 4), "align_corners": False}],
    "ts.encoding.ope": [lambda: {"offsets": r(5, 2), "order": 2}],
    "ts.encoding.local_texture": [
        lambda: {"offsets": r(5, 2), "amplitudes": r(5, 6), "frequencies": r(5, 6), "phases": r(5, 3)},
        lambda: {"offsets": r(5, 2), "amplitudes": r(5, 6), "frequencies": r(5, 6)},
    ],
    "ts.encoding.Gamma": [lambda: {"order": 3}],
    "ts.encoding.Ope": [lambda: {"order": 2}],
    "ts.encoding.NearestPixel": [lambda: {"size": (6, 4), "align_corners": False}],
    "ts.encoding.Gamma.forward": [lambda: {"coords": r(5, 2)}],
    "ts.encoding.Ope.forward": [lambda: {"coords": r(5, 2)}],
    "ts.encoding.Identity.forward": [lambda: {"coords": r(5, 2)}],
    "ts.encoding.NearestPixel.forward": [lambda: {"coords": r(5, 2)}],
    "ts.encoding.Gamma.out_features": [lambda: {"dim": 2}],
    "ts.encoding.NearestPixel.out_features": [lambda: {"dim": 2}],
    "ts.models.MLP": [
        lambda: {"*": [3, 4, 2]},
        lambda: {"*": [[3, 4, 2]], "activation": nn.Tanh},
        lambda: {"*": [3, 2], "activation": torch.sin},
    ],
    "ts.models.MLP.forward": [lambda: {"input": r(5, 3)}],
    "ts.interpolation.BSpline": [lambda: {"degree": 3}],
    "ts.interpolation.Cubic": [lambda: {"a": -0.5}],
    **kernel_calls("Nearest"),
    **kernel_calls("Linear"),
    **kernel_calls("Cubic"),
    **kernel_calls("BSpline"),
    **boundary_calls("Zeros"),
    **boundary_calls("Border"),
    **boundary_calls("Reflection"),
    **boundary_calls("Circular"),
    "ts.ray.pinhole": [
        lambda: camera(fov=0.9, unit=False, convention="opencv"),
        lambda: camera(intrinsics=INTRINSICS.clone(), unit=True),
    ],
    "ts.ray.fisheye": [lambda: camera(fov=torch.tensor([0.9, 1.2])), lambda: camera(intrinsics=INTRINSICS.clone(), convention="opengl")],
    "ts.ray.orthographic": [lambda: camera(width=2.0, convention="opengl")],
    "ts.ray.equirectangular": [lambda: camera(convention="opencv")],
    "ts.ray.intersect_box": [lambda: {**rays(), "low": -0.5, "high": (0.5, 0.5, 0.6)}, lambda: {**rays(2), "low": -p(2), "high": p(5, 2)}],
    "ts.ray.intersect_sphere": [lambda: {**rays(), "centre": 0.0, "radius": 1.0}, lambda: {**rays(), "centre": r(5, 3), "radius": p(5)}],
    "ts.ray.intersect_oriented_box": [lambda: {**rays(), "pose": POSE.clone(), "half": (1.0, 2.0, 1.0)}],
    "ts.ray.ndc": [lambda: {**rays(), "size": (4, 3), "focal": 4.0, "near": 1.0}],
    "ts.ray.intervals": [
        lambda: {"near": 1.0, "far": 2.0, "n_samples": 4, "spacing": "linear"},
        lambda: {"near": p(5), "far": 1 + p(5), "n_samples": 4, "spacing": "disparity", "jitter": "sample", "generator": torch.Generator()},
        lambda: {"near": 0.5, "far": math.inf, "n_samples": 4, "spacing": (torch.reciprocal, torch.reciprocal), "jitter": "ray"},
    ],
    "ts.ray.midpoints": [lambda: {"edges": up(5, 4)}],
    "ts.ray.resample": [
        lambda: {"edges": up(5, 4), "weights": p(5, 3), "n_samples": 6, "jitter": "ray", "generator": torch.Generator()},
        lambda: {"edges": up(4), "weights": p(5, 3), "n_samples": 6, "jitter": None, "intervals": True},
    ],
    "ts.ray.percentile": [
        lambda: {"edges": up(5, 4), "weights": p(5, 3), "q": 0.5},
        lambda: {"edges": up(5, 4), "weights": p(5, 3), "q": [0.1, 0.9]},
    ],
    "ts.ray.blur": [lambda: {"weights": p(5, 3)}],
    "ts.ray.anneal": [lambda: {"weights": p(5, 3), "power": 0.5}],
    "ts.ray.contract": [lambda: {"x": 3 * r(5, 3), "norm": "l2"}],
    "ts.ray.uncontract": [lambda: {"z": r(5, 3), "norm": "linf"}],
    "ts.ray.push_forward": [
        lambda: {"fn": ts.ray.contract, "mean": r(5, 3), "cov": torch.eye(3).repeat(5, 1, 1)},
        lambda: {"fn": first, "mean": r(3), "cov": torch.eye(3)},
    ],
    "ts.render.accumulate": [
        lambda: {"weights": p(5, 3), "values": r(5, 3, 2)},
        lambda: {"weights": p(3), "values": r(3, 2), **packed()},
    ],
    "ts.render.composite": [
        lambda: {"weights": p(5, 3), "edges": up(5, 4), "values": r(5, 3, 2), "background": (0.5, 1.0)},
        lambda: {"weights": p(3), "edges": spans(3), "values": r(3, 2), "background": "last", **packed()},
    ],
    "ts.render.visible": [
        lambda: {"alpha": p(5, 3), "early_stop": 0.01, "min_alpha": 0.0},
        lambda: {"alpha": p(3), **packed()},
    ],
    "ts.render.median_depth": [
        lambda: {"weights": p(5, 3), "edges": up(4)},
        lambda: {"weights": p(3), "edges": spans(3), **packed()},
    ],
    "ts.render.distortion_loss": [
        lambda: {"edges": up(5, 4), "weights": p(5, 3)},
        lambda: {"edges": spans(3), "weights": p(3), **packed()},
    ],
    "ts.render.interlevel_loss": [
        lambda: {"edges": up(5, 4), "weights": p(5, 3), "outer_edges": up(5, 3), "outer_weights": p(5, 2)},
    ],
    "ts.render.alpha_from_density": [lambda: {"density": p(5, 3), "edges": up(5, 4), "check": True}],
    **{
        f"ts.render.{name}_from_density": [
            lambda: {"density": p(5, 3), "edges": up(5, 4), "check": True},
            lambda: {"density": p(3), "edges": spans(3), "check": False, **packed()},
        ]
        for name in ("transmittance", "weights")
    },
    **{
        f"ts.render.{name}_from_alpha": [lambda: {"alpha": p(5, 3), "check": True}, lambda: {"alpha": p(3), "check": False, **packed()}]
        for name in ("transmittance", "weights")
    },
    "ts.render.pack": [lambda: {"mask": p(5, 3) > 0.5, "edges": up(5, 4)}, lambda: {"mask": p(3) > 0.5, "edges": spans(3)}],
    "ts.render.unpack": [lambda: {"values": p(3), **packed(), "fill": 0.0}, lambda: {"values": p(3, 2), **packed()}],
    "ts.render.OccupancyGrid": [
        lambda: {"low": (-1, -1, -1), "high": (1, 1, 1), "resolution": 4, "decay": 0.9, "threshold": 0.1},
        lambda: {"low": torch.zeros(2), "high": torch.ones(2), "resolution": (4, 3)},
    ],
    "ts.render.OccupancyGrid.occupied": [lambda: {"points": r(5, 3)}],
    "ts.render.OccupancyGrid.update": [
        lambda: {"density_fn": one, "step": 0, "every": 16, "warmup": 256, "generator": torch.Generator(), "chunk_size": 10},
        lambda: {"density_fn": one, "step": 320},
    ],
    "ts.render.OccupancyGrid.sample": [
        lambda: {**rays(), "near": 0.0, "far": 3.0, "step": 0.1, "jitter": True, "generator": torch.Generator()},
        lambda: {**rays(), "near": p(5), "far": 1 + p(5), "step": 0.1},
    ],
}

BUILDERS: dict[str, Callable[[], Any]] = {
    "ts.render.OccupancyGrid": grid,
    "ts.models.MLP": lambda: ts.models.MLP(3, 4, 2),
    "ts.encoding.Gamma": lambda: ts.encoding.Gamma(3),
    "ts.encoding.Ope": lambda: ts.encoding.Ope(2),
    "ts.encoding.Identity": lambda: ts.encoding.Identity(),
    "ts.encoding.NearestPixel": lambda: ts.encoding.NearestPixel((6, 4)),
    **{f"ts.interpolation.{name}": getattr(ts.interpolation, name) for name in ("Nearest", "Linear", "Cubic", "BSpline")},
    **{f"ts.interpolation.{name}": getattr(ts.interpolation, name) for name in ("Zeros", "Border", "Reflection", "Circular")},
}
"""Objects whose methods are called."""

CONTAINERS = ("Neighborhood", "Hits", "Rays", "Rendering", "Samples", "Encoding", "Kernel", "Boundary", "Identity")
"""Public classes without arguments of their own to check: plain tuples, and bases."""


def target(name: str) -> Callable[..., Any]:
    """What a name calls."""
    owner, _, attribute = name.rpartition(".")
    if owner in BUILDERS:
        return getattr(BUILDERS[owner](), attribute)
    thing: Any = ts
    for part in name.split(".")[1:]:
        thing = getattr(thing, part)
    return thing
