"""A grid that remembers where something is, so that rays skip empty space."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .._checks import (
    check_callable,
    check_count,
    check_device,
    check_flag,
    check_floating,
    check_memory,
    check_number,
    check_size,
    describe,
    is_int,
    message,
)
from ..chunks import chunked
from ..coordinates.arguments import choose_device
from ..coordinates.pixels import axis_indices
from ..coordinates.uniform import integers
from ..ray.arguments import as_number, check_real
from ..sampling import sample
from .rays import can_look
from .samples import Samples, pack

__all__ = ["OccupancyGrid"]


def _corner(argument: str, corner: Sequence[float] | Tensor, low: Tensor | None = None) -> Tensor:
    """A corner of the box, on the CPU, where numbers can be looked at whatever the default device is."""
    function, wanted = "ts.render.OccupancyGrid", "1 to 3 finite numbers (x, y, ...)"
    remedy = "Give the corners of a box, low=(-1, -1, -1) and high=(1, 1, 1)."
    if isinstance(corner, Tensor):
        check_real(function, argument, corner)
    try:
        place = torch.as_tensor(corner, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(message(function, argument, wanted, describe(corner), remedy)) from error
    if place.ndim != 1 or not 1 <= len(place) <= 3 or not bool(place.isfinite().all()):
        raise ValueError(message(function, argument, wanted, describe(corner), remedy))
    if low is not None and (low.shape != place.shape or not bool((low < place).all())):
        wanted = f"above `low` = {low.tolist()} along each axis"
        raise ValueError(message(function, argument, wanted, place.tolist(), "Exchange the corners."))
    return place


def _inside_box(origins: Tensor, directions: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave a box; a ray along an axis may lie in a face, where zero is divided by zero, and is then inside."""
    one, other = (low - origins) / directions, (high - origins) / directions
    enter, leave = torch.minimum(one, other), torch.maximum(one, other)
    return enter.masked_fill(enter.isnan(), -torch.inf).amax(-1), leave.masked_fill(leave.isnan(), torch.inf).amin(-1)


class OccupancyGrid(nn.Module):
    """Where something is in a box, cell by cell, as a field is learnt: rays are only sampled there.

    Parameters
    ----------
    low, high : sequence of float
        Corners of the box, ``(x, y, z)``.
    resolution : int or sequence of int, default: 128
        Number of cells ``(w, h, d)``, or one number for each axis.
    decay : float, default: 0.95
        What is left of a cell's remembered density at each look at it, if it finds less.
    threshold : float, default: 0.01
        Cells are occupied where the remembered density is at least this, or at least the mean of all cells, if that is less; never where
        it is 0. In the unit of what `update` is given.

    Raises
    ------
    ValueError, TypeError
        If the box has no extent, or another argument is out of range.

    Notes
    -----
    Müller et al., "Instant neural graphics primitives", 2022, appendix E.2, with the constants of nerfacc. Before the first `update`, all
    cells are occupied. The state is in buffers, and so in checkpoints: ``density (1, 1, d, h, w)`` and ``mask``, a bool of that shape.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), resolution=32)
    >>> def ball(points):
    ...     return 10.0 * (points.norm(dim=-1) < 0.5)
    >>> grid.update(ball, step=0)
    >>> origins, directions = torch.tensor([[0.0, 0.0, -2.0], [0.9, 0.0, -2.0]]), torch.tensor([[0.0, 0.0, 1.0]] * 2)
    >>> samples = grid.sample(origins, directions, near=0.0, far=4.0, step=0.05)
    >>> samples.n_rays, set(samples.ray_indices.tolist()), samples.edges.min() >= 1.4
    (2, {0}, tensor(True))
    >>> points = origins[samples.ray_indices] + samples.edges.mean(-1, keepdim=True) * directions[samples.ray_indices]
    >>> ts.render.accumulate(ts.render.weights_from_density(ball(points), *samples), None, *samples[1:])
    tensor([1.0000, 0.0000])
    """

    low: Tensor
    high: Tensor
    density: Tensor
    mask: Tensor

    def __init__(
        self,
        low: Sequence[float] | Tensor,
        high: Sequence[float] | Tensor,
        resolution: int | Sequence[int] = 128,
        decay: float = 0.95,
        threshold: float = 0.01,
    ) -> None:
        super().__init__()
        function = "ts.render.OccupancyGrid"
        corner = _corner("low", low)
        opposite = _corner("high", high, corner)
        size = check_size(function, (resolution,) * len(corner) if is_int(resolution) else resolution, "resolution")
        if len(size) != len(corner):
            raise ValueError(message(function, "resolution", f"an int, or {len(corner)} as `low` has", size, "The order is (w, h, d)."))
        check_number(function, "decay", decay, "a number between 0 and 1", "1 forgets nothing.", low=0, high=1)
        check_number(function, "threshold", threshold, "a number of at least 0", "0 keeps all that is not empty.", 0, sys.float_info.max)
        # Where tensors are, or, as the buffers of any module, on the default device.
        device = low.device if isinstance(low, Tensor) else torch.get_default_device()
        check_memory(function, "resolution", 2 * math.prod(size), torch.float32, device, size)
        self.size, self.decay, self.threshold = size, float(decay), float(threshold)
        self.register_buffer("low", corner.to(device))
        self.register_buffer("high", opposite.to(device))
        self.register_buffer("density", torch.zeros(1, 1, *size[::-1], device=device))
        self.register_buffer("mask", torch.ones(1, 1, *size[::-1], dtype=torch.bool, device=device))

    def extra_repr(self) -> str:
        """The box, and what it was built with."""
        low, high = ("?" if corner.is_meta else tuple(corner.tolist()) for corner in (self.low, self.high))
        return f"low={low}, high={high}, resolution={self.size}, decay={self.decay}, threshold={self.threshold}"

    def _check_points(self, function: str, argument: str, points: Tensor) -> None:
        check_floating(function, argument, points)
        check_device(function, argument, points.device, "mask", self.mask.device)
        if points.ndim == 0 or points.shape[-1] != len(self.size):
            wanted = f"of shape (..., {len(self.size)}), as the box has"
            raise ValueError(message(function, argument, wanted, f"shape {tuple(points.shape)}", "Coordinates are last, (x, y, z)."))

    def occupied(self, points: Tensor) -> Tensor:
        """Look up whether something is there.

        Parameters
        ----------
        points : Tensor
            ``(..., d)``, in the unit of the box; any number of dimensions.

        Returns
        -------
        Tensor
            Bool, ``(...)``; False outside of the box and for NaN.
        """
        self._check_points("ts.render.OccupancyGrid.occupied", "points", points)
        coords = 2 * (points.detach() - self.low) / (self.high - self.low) - 1
        return sample(coords.reshape(1, -1, len(self.size)), self.mask, mode="nearest", fill=False).reshape(points.shape[:-1])

    def _choose(self, generator: torch.Generator | None) -> Tensor:
        """Numbers of a quarter of all cells, and of as many occupied ones, each once."""
        n, device = self.mask.numel(), self.mask.device
        quarter = max(n // 4, 1)
        anywhere = integers((quarter,), n, device, generator)
        there = self.mask.flatten().nonzero()[:, 0]
        if len(there) > quarter:
            there = there[integers((quarter,), len(there), device, generator)]
        distinct: Tensor = torch.unique(torch.cat([anywhere, there]))
        return distinct

    @torch.no_grad()
    def update(
        self,
        density_fn: Callable[[Tensor], Tensor],
        step: int,
        every: int = 16,
        warmup: int = 256,
        generator: torch.Generator | None = None,
        chunk_size: int = 262144,
    ) -> None:
        """Look again at some cells, each at a random point of it; call it in every step of training.

        Parameters
        ----------
        density_fn : callable
            From points ``(n, d)`` in the unit of the box to densities ``(n,)`` or ``(n, 1)``. The threshold is in its unit: with
            nerfacc's of 0.01, density times the step of `sample`.
        step : int
            The step of training, from 0.
        every : int, default: 16
            Only steps that this divides do something.
        warmup : int, default: 256
            Look at all cells in steps before this one; later at a random quarter, and at as many that are occupied.
        generator : torch.Generator, optional
            Where random numbers come from. Processes that learn together must have the same.
        chunk_size : int, default: 262144
            Points that ``density_fn`` gets at once.

        Raises
        ------
        ValueError
            If ``density_fn`` gives NaN, or not a number per point; the grid is then as before.
        TypeError
            If ``density_fn`` is not callable, or a count not an int.
        """
        function = "ts.render.OccupancyGrid.update"
        check_callable(function, "density_fn", density_fn, "on points", "Pass a field's density.")
        step, warmup = check_count(function, "step", step, minimum=0), check_count(function, "warmup", warmup, minimum=0)
        every, chunk_size = check_count(function, "every", every), check_count(function, "chunk_size", chunk_size)
        device = self.mask.device
        choose_device(function, device, generator)
        if step % every:
            return
        cells = torch.arange(self.mask.numel(), device=device) if step < warmup else self._choose(generator)
        corners = torch.stack(list(axis_indices(cells, self.size)), dim=-1)
        share = (corners + torch.rand(corners.shape, device=device, generator=generator)) / corners.new_tensor(self.size)
        found = chunked(_checked(function, density_fn), self.low + share * (self.high - self.low), chunk_size, 0)
        if bool(found.isnan().any()):
            remedy = "Look for what made the field's output NaN; too large a learning rate does."
            raise ValueError(message(function, "density_fn", "a callable to numbers", f"{int(found.isnan().sum())} NaN", remedy))
        density = self.density.flatten()
        density[cells] = torch.maximum(self.decay * density[cells], found.flatten().to(density.dtype))
        self.density.copy_(density.view_as(self.density))
        # Rounded, the mean of equal cells may be more than each of them.
        limit = torch.minimum(self.density.mean(), self.density.max()).clamp(max=self.threshold)
        self.mask.copy_((self.density >= limit) & (self.density > 0))

    @torch.no_grad()
    def sample(
        self,
        origins: Tensor,
        directions: Tensor,
        near: float | Tensor,
        far: float | Tensor,
        step: float,
        jitter: bool = False,
        generator: torch.Generator | None = None,
    ) -> Samples:
        """Sample rays in steps of the same length, where something is.

        Parameters
        ----------
        origins : Tensor
            ``(*rays, d)``, in the unit of the box.
        directions : Tensor
            ``(*rays, d)``. Distances are in units of its length.
        near, far : float or Tensor
            The distances to look between, also one for each ray, ``(*rays)``.
        step : float
            Length of a sample. Only the first and the last between near, far and the faces of the box may be shorter: nothing is left out
            and nothing counts twice.
        jitter : bool, default: False
            Shift all samples of a ray by a random part of a step, against rings.
        generator : torch.Generator, optional
            Where random numbers come from.

        Returns
        -------
        Samples
            ``edges (all, 2)``, ``ray_indices (all,)`` and ``n_rays``: those whose middle lies in an occupied cell. They have no gradient;
            points computed from them, ``origins[ray_indices] + middle * directions[ray_indices]``, have that of the camera.

        Raises
        ------
        ValueError
            If shapes do not fit, ``step`` is not positive, or a ray does not end.
        TypeError
            If ``origins`` or ``directions`` is not a floating-point tensor.
        """
        function = "ts.render.OccupancyGrid.sample"
        self._check_points(function, "origins", origins)
        self._check_points(function, "directions", directions)
        check_flag(function, "jitter", jitter)
        choose_device(function, origins.device, generator)
        if origins.shape != directions.shape or origins.ndim < 2:
            got = f"shape {tuple(directions.shape)} for origins {tuple(origins.shape)}"
            remedy = "Give each ray both, (*rays, d); expand what is the same for all."
            raise ValueError(message(function, "directions", "of the shape of origins, (*rays, d)", got, remedy))
        check_number(function, "step", step, "a positive number", "A hundredth of the box is a start.", math.ulp(0.0), sys.float_info.max)
        enter, leave = _inside_box(origins, directions, self.low, self.high)
        first, last = _read_range(function, near, far, enter)
        enter = enter.clamp(min=first)
        length = (leave.clamp(max=last) - enter).clamp(min=0)
        edges = _steps(function, length, float(step), jitter, generator)
        edges = torch.where(length > 0, enter, 0).unsqueeze(-1) + edges
        start, end = edges[..., :-1], edges[..., 1:]
        points = origins.unsqueeze(-2) + ((start + end) / 2).unsqueeze(-1) * directions.unsqueeze(-2)
        return pack(self.occupied(points) & (end > start), edges)


def _checked(function: str, density_fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A field, whose answers are looked at."""

    def checked(points: Tensor) -> Tensor:
        found = density_fn(points)
        wanted, remedy = "a callable to a number per point", "Look at what the field gives."
        if not isinstance(found, Tensor):
            raise ValueError(message(function, "density_fn", wanted, describe(found), remedy))
        if found.shape not in ((len(points),), (len(points), 1)):
            got = f"shape {tuple(found.shape)} for {len(points)} points"
            raise ValueError(message(function, "density_fn", wanted, got, remedy))
        if found.is_complex() or found.layout is not torch.strided or found.device != points.device:
            got = f"{found.dtype}, {found.layout} on {found.device}"
            raise ValueError(message(function, "density_fn", f"a callable to dense real numbers on {points.device}", got, remedy))
        return found

    return checked


def _read_distance(function: str, name: str, distance: float | Tensor, like: Tensor) -> Tensor:
    if not isinstance(distance, Tensor):
        return as_number(function, name, distance, like)
    check_real(function, name, distance)
    if distance.shape not in ((), like.shape):
        remedy = "Squeeze a last dimension of 1."
        raise ValueError(message(function, name, f"a number or {tuple(like.shape)}", f"shape {tuple(distance.shape)}", remedy))
    if distance.ndim:
        check_device(function, name, distance.device, "origins", like.device)
    return distance.to(like)


def _read_range(function: str, near: float | Tensor, far: float | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Near and far as tensors of one number, or of one for each ray."""
    first, last = (_read_distance(function, name, distance, like) for name, distance in (("near", near), ("far", far)))
    if can_look(first, last) and not bool((first < last).all()):
        got = f"{float(first)} and {float(last)}" if first.ndim + last.ndim == 0 else "something else for some ray"
        raise ValueError(message(function, "near", "less than `far`", got, "Exchange them, and look for NaN."))
    return first, last


def _steps(function: str, length: Tensor, step: float, jitter: bool, generator: torch.Generator | None) -> Tensor:
    """Edges from 0 to the length of each ray, in steps; further ones stay at its end."""
    count = length / step
    longest = float(count.max()) if count.numel() else 0.0
    if not math.isfinite(longest):
        remedy = "Give finite distances, and directions that are not zero."
        raise ValueError(message(function, "far", "the end of each ray", "a ray that is endless or NaN", remedy))
    check_memory(function, "step", 4 * count.numel() * math.ceil(longest), length.dtype, length.device, step)
    shift = torch.rand(length.shape, dtype=length.dtype, device=length.device, generator=generator) if jitter else torch.zeros_like(length)
    number = torch.arange(math.ceil(longest) + 2, dtype=length.dtype, device=length.device) - shift.unsqueeze(-1)
    # What is left at the end after rounding is no sample of its own.
    at_end = number >= count.unsqueeze(-1) - 1e-3
    return torch.where(at_end, length.unsqueeze(-1), (number * step).clamp(min=0))
