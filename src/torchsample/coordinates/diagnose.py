"""Warn of coordinates that look like something else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from .._checks import check_tensor, message
from ..layout import spatial_size
from .convert import check_coords

__all__ = ["diagnose"]

_ENOUGH = 16
"""Fewer points lie in the upper half of the map by chance."""


def _suspicions(points: Tensor, size: tuple[int, ...]) -> Iterator[str]:
    low, high = points.amin(0), points.amax(0)
    sides = torch.tensor(size, dtype=points.dtype, device=points.device)
    if bool((low >= 0).all() and (high <= 1).all()):
        yield "all coords lie in [0, 1]; ts.coord.from_unit converts them, if [0, 1] spans the map"
    if bool((low >= -0.5).all() and (high > 2).any()):
        fits, fits_reversed = bool((high <= sides).all()), bool((high <= sides.flip(0)).all())
        if fits:
            yield f"coords look like pixel positions in a map of size {size}; ts.coord.normalize(coords, {size}) converts them"
        elif fits_reversed:
            yield f"coords look like pixel positions (row, col); ts.coord.from_row_col turns them, then ts.coord.normalize(..., {size})"


def _looks_transposed(grid: Tensor) -> bool:
    """Whether a grid ``(*spatial, d)`` of points changes its coordinates along the axes in reversed order, and hardly along others."""
    rank = grid.shape[-1]
    if min(grid.shape[:-1]) < 2:
        return False
    changes = torch.stack([grid.diff(dim=dim).abs().flatten(0, -2).mean(0) for dim in range(rank)])
    # Row i: how much each coordinate changes along dimension i, which belongs to the coordinate rank - 1 - i.
    diagonal = changes.diagonal()
    return bool((diagonal > 4 * (changes.sum(1) - diagonal)).all())


def diagnose(coords: Tensor, featmap: Tensor) -> None:
    """Warn if coords look as if they were not normalized ``(x, y, ...)`` coordinates of a map.

    Looks for the classic traps: all coords within ``[0, 1]``, coords that look like pixel positions, and x and y that look swapped. It only
    warns, with `UserWarning`, and changes nothing; it reads the values, so call it while you debug and not in a training loop.

    Parameters
    ----------
    coords : Tensor
        Coordinates ``(*batch, *points, d)``, floating-point, as they would go to `sample`.
    featmap : Tensor
        The map ``(*batch, c, *spatial)``.

    Raises
    ------
    ValueError, TypeError
        If ``coords`` are not floating-point or ``featmap`` has too few dimensions for them.

    Notes
    -----
    Fewer than 16 points are not judged, except that they look like pixels. That x and y are swapped can be seen in grids of points
    ``(*batch, h, w, 2)``, where x should change along the last spatial dimension, and in pixel positions beyond one side of the map.

    Examples
    --------
    >>> import torch, torchsample as ts, warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     ts.coord.diagnose(torch.rand(1, 100, 2), torch.zeros(1, 3, 48, 64))
    >>> print(caught[0].message)
    ts.coord.diagnose: all coords lie in [0, 1]; ts.coord.from_unit converts them, if [0, 1] spans the map
    """
    function = "ts.coord.diagnose"
    check_coords(function, coords)
    check_tensor(function, "featmap", featmap)
    if coords.is_meta:
        raise ValueError(message(function, "coords", "on a device that holds numbers", coords.device, "Their values are looked at."))
    rank = coords.shape[-1]
    if rank == 0 or featmap.ndim < rank + 1:
        wanted = f"a map (*batch, c, *spatial) for {rank}-D coords"
        remedy = "The last dimension of coords is the rank of the map."
        raise ValueError(message(function, "featmap", wanted, f"shape {tuple(featmap.shape)}", remedy))
    size = spatial_size(featmap, rank)
    points = coords.detach().reshape(-1, rank).float()
    points = points[points.isfinite().all(-1)]
    found = list(_suspicions(points, size)) if len(points) else []
    if len(points) < _ENOUGH:
        found = [suspicion for suspicion in found if "pixel" in suspicion]
    is_grid = rank > 1 and coords.ndim == featmap.ndim and len(points) >= _ENOUGH
    if is_grid and _looks_transposed(coords.detach()[(0,) * (coords.ndim - 1 - rank)]):
        found.append("x and y look swapped: x, the first coordinate, changes along the rows of the grid; see ts.coord.from_row_col")
    for suspicion in found:
        warnings.warn(f"{function}: {suspicion}", UserWarning, stacklevel=2)
