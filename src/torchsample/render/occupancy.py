"""A grid that remembers where something is, so that rays skip empty space."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .._checks import check_count, check_flag, check_number, check_size, check_tensor, is_int, message
from ..chunks import chunked
from ..coordinates.pixels import axis_indices
from ..sampling import sample
from .rays import can_look
from .samples import Samples, pack

__all__ = ["OccupancyGrid"]


def _corner(argument: str, corner: Sequence[float] | Tensor, low: Tensor | None = None) -> Tensor:
    function, wanted = "ts.render.OccupancyGrid", "1 to 3 finite numbers (x, y, ...)"
    place = torch.as_tensor(corner, dtype=torch.float32)
    if place.ndim != 1 or not 1 <= len(place) <= 3 or not bool(place.isfinite().all()):
        raise ValueError(message(function, argument, wanted, corner, "Give the corners of a box, low=(-1, -1, -1) and high=(1, 1, 1)."))
    if low is not None and (low.shape != place.shape or not bool((low < place).all())):
        raise ValueError(message(function, argument, f"above `low` = {low.tolist()} along each axis", corner, "Exchange the corners."))
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
        size = check_size(function, (resolution,) * len(corner) if is_int(resolution) else resolution)
        if len(size) != len(corner):
            raise ValueError(message(function, "resolution", f"an int, or {len(corner)} as `low` has", size, "The order is (w, h, d)."))
        check_number(function, "decay", decay, "a number between 0 and 1", "1 forgets nothing.", low=0, high=1)
        check_number(function, "threshold", threshold, "a number of at least 0", "0 keeps all that is not empty.", low=0)
        self.size, self.decay, self.threshold = size, decay, threshold
        self.register_buffer("low", corner)
        self.register_buffer("high", _corner("high", high, corner))
        self.register_buffer("density", torch.zeros(1, 1, *size[::-1]))
        self.register_buffer("mask", torch.ones(1, 1, *size[::-1], dtype=torch.bool))

    def extra_repr(self) -> str:
        """The box, and what it was built with."""
        box = f"low={tuple(self.low.tolist())}, high={tuple(self.high.tolist())}"
        return f"{box}, resolution={self.size}, decay={self.decay}, threshold={self.threshold}"

    def _check_points(self, function: str, argument: str, points: Tensor) -> None:
        check_tensor(function, argument, points)
        if not points.is_floating_point():
            raise TypeError(message(function, argument, "a floating-point tensor", points.dtype, f"Convert it with {argument}.float()."))
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
        anywhere = torch.randint(n, (quarter,), device=device, generator=generator)
        there = self.mask.flatten().nonzero()[:, 0]
        if len(there) > quarter:
            there = there[torch.randint(len(there), (quarter,), device=device, generator=generator)]
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
        if not callable(density_fn):
            raise TypeError(message(function, "density_fn", "a callable on points", repr(density_fn), "Pass a field's density."))
        for name, count, least in (("step", step, 0), ("every", every, 1), ("warmup", warmup, 0)):
            check_count(function, name, count, minimum=least)
        if step % every:
            return
        device = self.mask.device
        cells = torch.arange(self.mask.numel(), device=device) if step < warmup else self._choose(generator)
        corners = torch.stack(list(axis_indices(cells, self.size)), dim=-1)
        share = (corners + torch.rand(corners.shape, device=device, generator=generator)) / corners.new_tensor(self.size)
        found = chunked(density_fn, self.low + share * (self.high - self.low), chunk_size, 0)
        if not isinstance(found, Tensor) or found.shape not in ((len(cells),), (len(cells), 1)):
            got = f"shape {tuple(found.shape)} for {len(cells)} points" if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(message(function, "density_fn", "a callable to a number per point", got, "Look at what the field gives."))
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
        if origins.shape != directions.shape or origins.ndim < 2:
            got = f"shape {tuple(directions.shape)} for origins {tuple(origins.shape)}"
            remedy = "Give each ray both, (*rays, d); expand what is the same for all."
            raise ValueError(message(function, "directions", "of the shape of origins, (*rays, d)", got, remedy))
        check_number(function, "step", step, "a positive number", "A hundredth of the box is a start.", math.ulp(0.0), sys.float_info.max)
        enter, leave = _inside_box(origins, directions, self.low, self.high)
        first, last = _read_range(function, near, far, enter)
        enter = enter.clamp(min=first)
        length = (leave.clamp(max=last) - enter).clamp(min=0)
        edges = _steps(function, length, step, jitter, generator)
        edges = torch.where(length > 0, enter, 0).unsqueeze(-1) + edges
        start, end = edges[..., :-1], edges[..., 1:]
        points = origins.unsqueeze(-2) + ((start + end) / 2).unsqueeze(-1) * directions.unsqueeze(-2)
        return pack(self.occupied(points) & (end > start), edges)


def _read_range(function: str, near: float | Tensor, far: float | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Near and far as tensors of one number, or of one for each ray."""
    first, last = (torch.as_tensor(distance, dtype=like.dtype, device=like.device) for distance in (near, far))
    for name, distance in (("near", first), ("far", last)):
        if distance.shape not in ((), like.shape):
            remedy = "Squeeze a last dimension of 1."
            raise ValueError(message(function, name, f"a number or {tuple(like.shape)}", f"shape {tuple(distance.shape)}", remedy))
    if can_look(first, last) and not bool((first < last).all()):
        got = (near, far) if first.ndim + last.ndim == 0 else "something else for some ray"
        raise ValueError(message(function, "near", "less than `far`", got, "Exchange them, and look for NaN."))
    return first, last


def _steps(function: str, length: Tensor, step: float, jitter: bool, generator: torch.Generator | None) -> Tensor:
    """Edges from 0 to the length of each ray, in steps; further ones stay at its end."""
    count = length / step
    longest = float(count.max()) if count.numel() else 0.0
    if not math.isfinite(longest):
        remedy = "Give finite distances, and directions that are not zero."
        raise ValueError(message(function, "far", "the end of each ray", "a ray that is endless or NaN", remedy))
    shift = torch.rand(length.shape, dtype=length.dtype, device=length.device, generator=generator) if jitter else torch.zeros_like(length)
    number = torch.arange(math.ceil(longest) + 2, dtype=length.dtype, device=length.device) - shift.unsqueeze(-1)
    # What is left at the end after rounding is no sample of its own.
    at_end = number >= count.unsqueeze(-1) - 1e-3
    return torch.where(at_end, length.unsqueeze(-1), (number * step).clamp(min=0))
