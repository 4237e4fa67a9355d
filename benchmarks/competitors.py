"""Who samples: torchsample, `grid_sample` in its layouts, and other libraries where they are installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

import torchsample as ts
from torchsample.interpolation import Border, reference
from torchsample.interpolation.kernels import get_kernel

from .rows import COORDS, FIRST, FORWARD, Inputs, Row

OURS, GRID, GRID_COPY, BARE = "torchsample", "grid_sample", "grid_sample, contiguous map", ", bare view"
MAIN = GRID, GRID_COPY
"""What must agree with ours for a row to be timed at all: the map as it is, and in channels-last rows its contiguous copy."""
OTHERS = "torch-interpol", "kornia", "monai", "compiled"
Leaves = tuple[Tensor, ...]


@dataclass
class Contender:
    """One way to compute a row, with its own kind of coordinates made before anything is timed."""

    name: str
    featmap: Tensor
    coords: list[Leaves]
    """Per look."""
    look: Callable[..., Tensor]
    """From the map and the leaves of a look to ``(b, *points, c)``."""
    map_back: Callable[[Tensor], Tensor] = lambda grad: grad
    """From the gradient of its map to that of the row's."""
    coords_back: Callable[..., Tensor] = lambda grad: grad
    """From the gradients of a look's leaves to that of the row's coords."""

    def call(self, work: str, grads: Sequence[Tensor]) -> Callable[[], tuple[list[Tensor], Sequence[Tensor | None]]]:
        """The function that is timed: results, and gradients of the map and the leaves as far as the work asks for them."""
        featmap = self.featmap.detach().requires_grad_(work != FORWARD)
        coords = [tuple(leaf.detach().requires_grad_(work == COORDS) for leaf in leaves) for leaves in self.coords]
        inputs = [featmap, *(leaf for leaves in coords for leaf in leaves if leaf.requires_grad)]

        def compute() -> tuple[list[Tensor], Sequence[Tensor | None]]:
            outputs = [self.look(featmap, *leaves) for leaves in coords]
            if work == FORWARD:
                return outputs, ()
            return outputs, torch.autograd.grad(outputs, inputs, grads, allow_unused=True)

        return compute


def _ours(row: Row, inputs: Inputs) -> Contender:
    def look(featmap: Tensor, coords: Tensor) -> Tensor:
        return ts.sample(coords, featmap, row.mode, padding_mode="border", align_corners=False)

    return Contender(OURS, inputs.featmap, [(coords,) for coords in inputs.coords], look)


def _as_grid(row: Row, coords: Tensor, rank: int) -> Tensor:
    """Points as a grid of as many dimensions as the map has: a list of points is a grid of one row."""
    missing = rank - len(row.points)
    return coords.reshape(row.shape[0], *[1] * missing, *row.points, coords.shape[-1])


def _features_last(row: Row, values: Tensor) -> Tensor:
    """A view ``(b, *points, c)`` of values in the shape of a grid."""
    missing = values.ndim - 2 - len(row.points)
    return values[(slice(None), slice(None), *[0] * missing)].movedim(1, -1)


def _grid_sample(row: Row, inputs: Inputs, name: str, featmap: Tensor, bare: bool) -> Contender:
    rank = max(2, row.rank)

    def to_grid(coords: Tensor) -> Tensor:
        if row.rank == 1:
            coords = torch.cat([coords, torch.zeros_like(coords)], dim=-1)
        return _as_grid(row, coords, rank)

    def look(featmap: Tensor, grid: Tensor) -> Tensor:
        pixels = featmap.float() if row.labels else featmap
        values = F.grid_sample(pixels, grid, mode=row.mode, padding_mode="border", align_corners=False)
        values = _features_last(row, values.long() if row.labels else values)
        return values if bare else values.contiguous()

    return Contender(
        name + BARE if bare else name,
        featmap.unsqueeze(2) if row.rank == 1 else featmap,
        [(to_grid(coords),) for coords in inputs.coords],
        look,
        lambda grad: grad.reshape(row.shape),
        lambda grad: grad[..., : row.rank].reshape(row.shape[0], *row.points, row.rank),
    )


def _mode_of(row: Row, contender: str) -> str:
    """The torch name of a mode, or why the contender cannot run this row."""
    if row.labels:
        raise LookupError("labels are compared with grid_sample only")
    if row.mode == "bicubic" and contender != "kornia":
        raise LookupError("its cubic is a B-spline, another function")
    return row.mode


def _pull(row: Row, inputs: Inputs, name: str, grid_pull: Callable[..., Tensor], bound: object) -> Contender:
    """`grid_pull` of torch-interpol and monai: voxel coordinates in the order of the map."""
    order = {"nearest": 0, "bilinear": 1}[_mode_of(row, name)]
    sides = torch.tensor(row.size, dtype=torch.float64, device=inputs.featmap.device)

    def to_voxels(coords: Tensor) -> Tensor:
        voxels = ((coords.double() + 1) * sides - 1) / 2
        return _as_grid(row, voxels.to(coords.dtype).flip(-1), row.rank).contiguous()

    def look(featmap: Tensor, voxels: Tensor) -> Tensor:
        values = grid_pull(featmap, voxels, interpolation=order, bound=bound, extrapolate=True)
        return _features_last(row, values).contiguous()

    def coords_back(grad: Tensor) -> Tensor:
        return (grad.flip(-1) * sides / 2).to(grad.dtype).reshape(row.shape[0], *row.points, row.rank)

    return Contender(name, inputs.featmap, [(to_voxels(coords),) for coords in inputs.coords], look, coords_back=coords_back)


def _interpol(row: Row, inputs: Inputs) -> Contender:
    return _pull(row, inputs, "torch-interpol", importlib.import_module("interpol").grid_pull, "replicate")


def _monai(row: Row, inputs: Inputs) -> Contender:
    if importlib.util.find_spec("monai._C") is None:
        raise ImportError("installed without its compiled extension")
    layers = importlib.import_module("monai.networks.layers")
    return _pull(row, inputs, "monai", layers.grid_pull, "replicate")


def _kornia(row: Row, inputs: Inputs) -> Contender:
    remap = importlib.import_module("kornia.geometry").remap
    mode = _mode_of(row, "kornia")
    if row.rank != 2:
        raise LookupError("remap is for 2-D maps")

    def look(featmap: Tensor, x: Tensor, y: Tensor) -> Tensor:
        values = remap(featmap, x, y, mode, padding_mode="border", align_corners=False, normalized_coordinates=True)
        return _features_last(row, values).contiguous()

    def coords_back(*grads: Tensor) -> Tensor:
        return torch.stack(grads, dim=-1).reshape(row.shape[0], *row.points, row.rank)

    leaves = [tuple(axis.contiguous() for axis in _as_grid(row, coords, 2).unbind(-1)) for coords in inputs.coords]
    return Contender("kornia", inputs.featmap, leaves, look, coords_back=coords_back)


def _compiled(row: Row, inputs: Inputs) -> Contender:
    """torch.compile of the definition that the library tests itself against."""
    kernel = get_kernel("benchmarks", row.mode)
    axes = reference.make_axes(row.size, kernel, [Border()] * row.rank, False)
    batch = torch.arange(row.shape[0], device=inputs.featmap.device).reshape(-1, *[1] * len(row.points))

    def look(featmap: Tensor, coords: Tensor) -> Tensor:
        return reference.interpolate(coords, featmap, (batch,), axes).contiguous()

    torch.compiler.reset()
    return Contender("compiled", inputs.featmap, [(coords,) for coords in inputs.coords], torch.compile(look, dynamic=False))


_MAKE = {"torch-interpol": _interpol, "kornia": _kornia, "monai": _monai, "compiled": _compiled}


def main_contenders(row: Row, inputs: Inputs, layout: str) -> Iterator[Contender]:
    """Ours, and `grid_sample` in each layout and with each kind of result."""
    yield _ours(row, inputs)
    yield _grid_sample(row, inputs, GRID, inputs.featmap, bare=False)
    yield _grid_sample(row, inputs, GRID, inputs.featmap, bare=True)
    if layout != FIRST:
        copy = inputs.featmap.contiguous(memory_format=torch.contiguous_format).clone(memory_format=torch.contiguous_format)
        yield _grid_sample(row, inputs, GRID_COPY, copy, bare=False)
        yield _grid_sample(row, inputs, GRID_COPY, copy, bare=True)


def other_contender(name: str, row: Row, inputs: Inputs) -> Contender:
    """Another library; ImportError if it is not installed, LookupError if it has no such function."""
    return _MAKE[name](row, inputs)


def versions() -> dict[str, str]:
    """Installed version of each other library, or "absent"; nerfacc's is that of the rendering table."""
    found = {}
    for name in (*OTHERS[:-1], "nerfacc"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
