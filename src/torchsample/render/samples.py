"""From batched candidates to packed samples and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from numbers import Number
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import check_device, check_memory, check_tensor, describe, message
from .rays import Batched, Packed, check_ray_indices, read_spans


class Samples(NamedTuple):
    """Packed samples, in the order in which the functions of ``ts.render`` take them: ``weights_from_density(density, *samples)``.

    Parameters
    ----------
    edges : Tensor
        ``(all, 2)``: start and end of each sample.
    ray_indices : Tensor
        ``(all,)``, int64, ascending: the ray of each.
    n_rays : int
        How many rays there are, those without samples too.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> edges, origins, directions = torch.linspace(0, 4, 9).expand(2, 9), torch.zeros(2, 3), torch.eye(3)[:2]
    >>> samples = ts.render.pack(torch.rand(2, 8) < 0.5, edges)
    >>> middle = samples.edges.mean(-1, keepdim=True)
    >>> points = origins[samples.ray_indices] + middle * directions[samples.ray_indices]
    >>> density = 3 * (points.norm(dim=-1) < 2)
    >>> ts.render.accumulate(ts.render.weights_from_density(density.float(), *samples), None, *samples[1:]).shape
    torch.Size([2])
    """

    edges: Tensor
    ray_indices: Tensor
    n_rays: int


def _check_mask(function: str, mask: Tensor) -> None:
    check_tensor(function, "mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(message(function, "mask", "a bool tensor", mask.dtype, "Compare with a threshold."))
    if mask.ndim == 0:
        raise ValueError(message(function, "mask", "of shape (*rays, n)", "a tensor without dimensions", "Use mask.reshape(1)."))
    _check_numbers(function, "mask", mask)


def _check_numbers(function: str, argument: str, tensor: Tensor) -> None:
    """Check that there are numbers, where the shape of a result depends on them."""
    if tensor.is_meta:
        raise ValueError(message(function, argument, "a tensor with numbers", "one on the device meta", "Move it with .to(device)."))


def _fill(function: str, values: Tensor, shape: Sequence[int], fill: float) -> Tensor:
    """A tensor like another, filled with a number that its dtype can hold."""
    wanted, remedy = f"a number that {values.dtype} can hold", "Give a number, or convert `values` first."
    if not isinstance(fill, Number):
        raise TypeError(message(function, "fill", wanted, describe(fill), remedy))
    try:
        return values.new_full(shape, fill)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(message(function, "fill", wanted, describe(fill), remedy)) from error


def pack(mask: Tensor, edges: Tensor) -> Samples:
    """Keep only some samples of each ray.

    Parameters
    ----------
    mask : Tensor
        Bool, ``(*rays, n)``: the samples to keep, as `visible` or `OccupancyGrid.occupied` mark them.
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``: start and end of each sample. ``(n + 1,)`` stands for all rays.

    Returns
    -------
    Samples
        ``edges (all, 2)``, ``ray_indices (all,)`` and ``n_rays``; several dimensions of rays are counted as if flattened.

    Raises
    ------
    TypeError
        If ``mask`` is not bool or ``edges`` is not floating-point.
    ValueError
        If shapes do not fit.

    See Also
    --------
    unpack : the way back.

    Notes
    -----
    Anything else ``(*rays, n, ...)`` is packed by ``values[mask]``, in the same order. How many samples there are depends on
    the numbers in the mask, so that a GPU is waited for.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> mask = torch.tensor([[True, False, True], [False, False, False], [False, True, True]])
    >>> samples = ts.render.pack(mask, torch.tensor([0.0, 1.0, 2.0, 3.0]))
    >>> samples.ray_indices, samples.n_rays
    (tensor([0, 0, 2, 2]), 3)
    >>> samples.edges
    tensor([[0., 1.],
            [2., 3.],
            [1., 2.],
            [2., 3.]])
    """
    function = "ts.render.pack"
    _check_mask(function, mask)
    start, end = read_spans(function, edges, mask, Batched())
    flat = mask.flatten(0, -2) if mask.ndim > 1 else mask.unsqueeze(0)
    spans = torch.stack([start.expand_as(mask)[mask], end.expand_as(mask)[mask]], dim=-1)
    return Samples(spans, flat.nonzero()[:, 0], len(flat))


def unpack(values: Tensor, ray_indices: Tensor, n_rays: int, fill: float = 0.0) -> tuple[Tensor, Tensor]:
    """Give each ray a row of its own, as long as that of the ray with the most samples.

    Parameters
    ----------
    values : Tensor
        ``(all, ...)``: something of each sample.
    ray_indices : Tensor
        ``(all,)``, int64 or int32, ascending: the ray of each sample.
    n_rays : int
        Number of rays.
    fill : float, default: 0.0
        What stands behind a ray's last sample.

    Returns
    -------
    rows : Tensor
        ``(n_rays, longest, ...)``, dtype of ``values``.
    mask : Tensor
        Bool, ``(n_rays, longest)``: where there is a sample; ``rows[mask]`` is ``values`` again.

    Raises
    ------
    TypeError
        If an argument is not a tensor, or ``ray_indices`` not of integers.
    ValueError
        If ``ray_indices`` is out of order or of range, or of another length than ``values``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> rows, mask = ts.render.unpack(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 2, 2]), n_rays=3)
    >>> rows
    tensor([[1., 0.],
            [0., 0.],
            [2., 3.]])
    """
    function = "ts.render.unpack"
    check_tensor(function, "values", values)
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        remedy = "PyTorch does not index those; convert them with values.long()."
        raise TypeError(message(function, "values", "of another dtype than wide unsigned ones", values.dtype, remedy))
    n_rays = check_ray_indices(function, ray_indices, n_rays)
    check_device(function, "ray_indices", ray_indices.device, "values", values.device)
    _check_numbers(function, "ray_indices", ray_indices)
    if values.shape[:1] != ray_indices.shape:
        wanted = f"({len(ray_indices)}, ...), an entry for each of ray_indices"
        raise ValueError(message(function, "values", wanted, f"shape {tuple(values.shape)}", "Pack them by the same mask."))
    position = Packed(ray_indices, n_rays).positions()
    longest = int(position.max()) + 1 if len(position) else 0
    check_memory(function, "n_rays", n_rays * longest * prod(values.shape[1:]), values.dtype, values.device, n_rays)
    place = ray_indices * longest + position
    rows = _fill(function, values, (n_rays * longest, *values.shape[1:]), fill)
    rows = rows.index_copy(0, place, values)
    mask = torch.zeros(n_rays * longest, dtype=torch.bool, device=values.device).index_fill(0, place, True)
    return rows.reshape(n_rays, longest, *values.shape[1:]), mask.reshape(n_rays, longest)
