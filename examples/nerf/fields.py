"""What can be learnt: radiance fields, from points and directions to densities and colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchsample as ts

FIELDS = "nerf", "voxels", "triplane"


class Mlp(nn.Module):
    """NeRF's network, smaller: encoded points, then encoded directions for the colour. ``order=0`` leaves points as they are."""

    def __init__(self, order: int, width: int, depth: int = 4) -> None:
        super().__init__()
        self.encode: nn.Module = ts.encoding.Gamma(order) if order else ts.encoding.Identity()
        self.look = ts.encoding.Gamma(2)
        self.trunk = ts.models.MLP(self.encode.out_features(3), *[width] * depth, 1 + width)
        self.head = ts.models.MLP(width + self.look.out_features(3), width // 2, 3)

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        density, features = self.trunk(self.encode(points)).split([1, self.head.in_features - self.look.out_features(3)], dim=-1)
        colour = self.head(torch.cat([F.relu(features), self.look(directions)], dim=-1))
        return 10 * F.softplus(density.squeeze(-1)), colour.sigmoid()


class Grid(nn.Module):
    """Features on a voxel grid, or on three planes, read by `ts.sample`; a small network makes colours of them."""

    def __init__(self, planes: bool, side: int, channels: int) -> None:
        super().__init__()
        shape = (3, channels, side, side) if planes else (1, channels, side, side, side)
        self.features = nn.Parameter(0.1 * torch.randn(shape))
        self.look = ts.encoding.Gamma(1)
        hidden = 64 if planes else 16
        # On planes, what is where is a sum of three patterns, and takes a network to read.
        self.density = ts.models.MLP(channels, hidden, 1) if planes else None
        self.colour = ts.models.MLP(channels + self.look.out_features(3), hidden, 3)

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        flat = points.reshape(-1, 3)
        if self.density is None:
            features = ts.sample(flat.unsqueeze(0), self.features).squeeze(0)
            density = features[:, 0]
        else:
            faces = torch.stack([flat[:, [0, 1]], flat[:, [0, 2]], flat[:, [1, 2]]])
            features = ts.sample(faces, self.features).sum(0)
            density = self.density(features).squeeze(-1)
        colour = self.colour(torch.cat([features, self.look(directions.reshape(-1, 3))], dim=-1))
        return (20 * F.softplus(10 * density - 2)).reshape(points.shape[:-1]), colour.sigmoid().reshape(points.shape)


def build(settings: dict[str, Any]) -> nn.ModuleDict:
    """The networks of a run's settings, initialized by its seed: NeRF's coarse and fine ones, or a grid and what it knows to be empty."""
    torch.manual_seed(settings["seed"])
    if settings["field"] == "nerf":
        names = ("coarse", "fine") if settings["fine_samples"] else ("coarse",)
        return nn.ModuleDict({name: Mlp(settings["order"], settings["width"]) for name in names})
    planes = settings["field"] == "triplane"
    grid = Grid(planes, settings["side"], settings["channels"])
    return nn.ModuleDict({"coarse": grid, "occupancy": ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), settings["cells"])})


def parameter_groups(model: nn.Module, lr: float) -> Iterator[dict[str, Any]]:
    """Features of grids are each seen by few rays, and take larger steps than networks, which all rays share."""
    features = [parameter for name, parameter in model.named_parameters() if name.endswith("features")]
    others = [parameter for name, parameter in model.named_parameters() if not name.endswith("features")]
    if features:
        yield {"params": features, "lr": 10 * lr}
    yield {"params": others, "lr": lr}
