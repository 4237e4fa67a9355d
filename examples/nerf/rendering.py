"""From rays to colours: a field is asked along them, and what it says is composited over the photographs' background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import torchsample as ts
from torchsample.render import Rendering, Samples

from .data import Views
from .fields import build

Generators = Sequence[torch.Generator]


SHARDS = 8
"""Parts of a batch of rays that have random numbers of their own, so that it does not matter how many processes share the batch."""


class Radiance(nn.Module):
    """The fields of a run, and how rays go through them; the scene is in the cube from -1 to 1."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings
        self.fields = build(settings)

    def forward(self, origins: Tensor, directions: Tensor, seeds: Sequence[int] = ()) -> list[Rendering]:
        """Renderings of rays ``(n, 3)``, the best one last; with a seed for each part of the rays, at random distances."""
        generators = [torch.Generator(origins.device).manual_seed(seed) for seed in seeds]
        if "occupancy" in self.fields:
            return [self._packed(origins, directions, generators)]
        return self._hierarchical(origins, directions, generators)

    def look_for_space(self, step: int, seed: int) -> None:
        """Let a grid find out where nothing is, now and then."""
        if "occupancy" in self.fields:
            size, occupancy = 2 / self.settings["samples"], self.fields["occupancy"]
            generator = torch.Generator(occupancy.mask.device).manual_seed(seed)
            occupancy.update(lambda points: size * self.fields["coarse"](points, torch.zeros_like(points))[0], step, generator=generator)

    def _find_space(self, origins: Tensor, directions: Tensor, generators: Generators) -> Samples:
        """Samples in steps of one length, only where something may be."""
        step, found, first = 2 / self.settings["samples"], [], 0
        for part, ahead, generator in _parts(generators, origins, directions):
            samples = self.fields["occupancy"].sample(part, ahead, 0.0, 1e3, step, generator is not None, generator)
            found.append((samples.edges, samples.ray_indices + first))
            first += len(part)
        edges, ray_indices = (torch.cat(column) for column in zip(*found, strict=True))
        return Samples(edges, ray_indices, len(origins))

    def _packed(self, origins: Tensor, directions: Tensor, generators: Generators) -> Rendering:
        samples = self._find_space(origins, directions, generators)
        middle = samples.edges.mean(-1, keepdim=True)
        ahead = directions[samples.ray_indices]
        density, colour = self.fields["coarse"](origins[samples.ray_indices] + middle * ahead, ahead)
        weights = ts.render.weights_from_density(density, *samples)
        return ts.render.composite(weights, samples.edges, colour, self.settings["background"], *samples[1:])

    def _ask(self, field: nn.Module, origins: Tensor, directions: Tensor, edges: Tensor) -> tuple[Tensor, Rendering]:
        points = origins.unsqueeze(-2) + ts.ray.midpoints(edges).unsqueeze(-1) * directions.unsqueeze(-2)
        density, colour = field(points, directions.unsqueeze(-2).expand_as(points))
        weights = ts.render.weights_from_density(density, edges)
        return weights, ts.render.composite(weights, edges, colour, self.settings["background"])

    def _hierarchical(self, origins: Tensor, directions: Tensor, generators: Generators) -> list[Rendering]:
        """Coarse samples everywhere, fine ones where the coarse field found something."""
        hits = ts.ray.intersect_box(origins, directions, -1.0, 1.0)
        # Rays that miss the cube go through a bit of nothing beside it.
        near, far = torch.where(hits.hit, hits.near, 0.0), torch.where(hits.hit, hits.far, 1e-3)
        jitter = "sample" if generators else None
        n_coarse, n_fine = self.settings["samples"], self.settings["fine_samples"]
        edges = torch.cat(
            [ts.ray.intervals(*ends, n_coarse, jitter=jitter, generator=generator) for *ends, generator in _parts(generators, near, far)]
        )
        weights, coarse = self._ask(self.fields["coarse"], origins, directions, edges)
        if "fine" not in self.fields:
            return [coarse]
        more = torch.cat(
            [ts.ray.resample(*some, n_fine, jitter, generator=generator) for *some, generator in _parts(generators, edges, weights)]
        )
        # The coarse field's samples as well, since they know where nothing is.
        edges = torch.cat([edges, more], dim=-1).sort(dim=-1).values
        return [coarse, self._ask(self.fields["fine"], origins, directions, edges)[1]]


def _parts(generators: Generators, *tensors: Tensor) -> Iterator[tuple[Any, ...]]:
    """Tensors in as many parts as there are generators, each with one of them; whole and without, if there are none."""
    if not generators:
        yield *tensors, None
        return
    yield from zip(*(tensor.chunk(len(generators)) for tensor in tensors), generators, strict=True)


def cast(views: Views, coords: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and unit directions of rays through coordinates ``(n, 2)`` of the views that numbers ``(n,)`` say."""
    rays = ts.ray.pinhole(coords.unsqueeze(1), views.poses[number], views.size, fov=views.fov)
    return rays.origins.squeeze(1), rays.directions.squeeze(1)


def render_view(model: Radiance, pose: Tensor, size: tuple[int, int], fov: float, progress: bool = False) -> Rendering:
    """A whole picture ``(h, w, ...)`` in bounded memory."""

    def some(coords: Tensor) -> Rendering:
        rays = ts.ray.pinhole(coords, pose, size, fov=fov)
        return model(rays.origins, rays.directions)[-1]

    with torch.inference_mode():
        coords = ts.coord.full(0, size, pose.device)
        found: Rendering = ts.chunked(some, coords, chunk_size=4096, batch_dims=0, progress=progress)
    return found
