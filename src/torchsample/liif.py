"""The local implicit image function (LIIF): a network asked at each of the nearest cells, and its answers combined."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_callable, check_count, check_device, check_memory, check_tensor, describe, message
from ._nobatch import with_nobatch
from .cells import Places, patch_pixels, read_cells, read_places
from .interpolation.boundary import Zeros
from .sampling.checks import Placing, check_interpolable, place_batched, place_single

__all__ = ["hoist", "local_ensemble"]

Cell = Tensor | Sequence[float]
Head = Callable[[Tensor], Tensor]


def _check_unfold(function: str, unfold: int) -> int:
    unfold = check_count(function, "unfold", unfold)
    if unfold % 2 == 0:
        raise ValueError(message(function, "unfold", "odd, so that a patch has a center", unfold, "LIIF's is 3; 1 is the cell alone."))
    check_memory(function, "unfold", unfold, torch.int64, None, unfold)
    return unfold


def _read_cell(function: str, cell: Cell, offsets: Tensor, extents: Sequence[int]) -> Tensor:
    """The size of a query in LIIF's unit, for every offset ``(*batch, *points, K, d)``."""
    wanted = f"a tensor or numbers that broadcast to coords, {(*offsets.shape[:-2], offsets.shape[-1])}"
    remedy = "It is the width of what is asked for, 2 / w along x for a result of w pixels."
    if not isinstance(cell, Tensor):
        try:
            cell = torch.as_tensor(cell, dtype=offsets.dtype, device=offsets.device)
        except (TypeError, ValueError) as error:
            raise TypeError(message(function, "cell", wanted, describe(cell), remedy)) from error
    check_tensor(function, "cell", cell)
    check_device(function, "cell", cell.device, "coords", offsets.device)
    try:
        spread = cell.to(offsets.dtype).expand(*offsets.shape[:-2], offsets.shape[-1])
    except RuntimeError as error:
        raise ValueError(message(function, "cell", wanted, f"shape {tuple(cell.shape)}", remedy)) from error
    scale = torch.tensor(extents, dtype=offsets.dtype, device=offsets.device)
    return (spread * scale).unsqueeze(-2).expand_as(offsets)


def _ask(function: str, fn: Head, queries: Tensor) -> Tensor:
    answers = fn(queries)
    if isinstance(answers, Tensor):
        check_tensor(function, "fn(...)", answers)
    if not isinstance(answers, Tensor) or answers.shape[:-1] != queries.shape[:-1]:
        wanted = f"a callable from {tuple(queries.shape)} to a tensor ({', '.join(map(str, queries.shape[:-1]))}, out)"
        got = f"shape {tuple(answers.shape)}" if isinstance(answers, Tensor) else type(answers).__name__
        raise ValueError(message(function, "fn", wanted, got, "Change the last dimension only."))
    if not (answers.is_floating_point() or answers.is_complex()):
        raise TypeError(
            message(function, "fn", "a callable to floating-point numbers", answers.dtype, "Answers are averaged; give scores.")
        )
    return answers


def _weigh(answers: Tensor, places: Places) -> Tensor:
    total = (places.weight.to(answers.dtype).unsqueeze(-1) * answers).sum(-2)
    return total.masked_fill(places.undefined.unsqueeze(-1), torch.nan)


def _local_ensemble(
    function: str,
    fn: Head,
    coords: Tensor,
    featmap: Tensor,
    cell: Cell | None,
    size: int,
    unfold: int,
    align_corners: bool,
    place: Placing,
) -> Tensor:
    check_callable(function, "fn", fn, "on features, offsets and cells", "Pass a network such as ts.models.MLP.")
    unfold = _check_unfold(function, unfold)
    places, batch, axes = read_places(function, coords, featmap, size, align_corners, place)
    check_interpolable(function, "featmap", featmap)
    numbers = places.weight.numel() * unfold ** len(axes) * featmap.shape[len(batch)]
    check_memory(function, "unfold", numbers, featmap.dtype, featmap.device, unfold)
    # What is outside of the map is zero in a patch, as in `torch.nn.functional.unfold`; the patch's own cell is always inside.
    patches = read_cells(patch_pixels(places.pixels, unfold), featmap, batch, axes, Zeros())
    offsets = torch.stack(list(places.offsets), dim=-1)
    parts = [patches.movedim(-1, -2).flatten(-2), offsets]
    if cell is not None:
        parts.append(_read_cell(function, cell, offsets, [axis.side - axis.align_corners for axis in axes]))
    queries = torch.cat([part.to(featmap.dtype) for part in parts], dim=-1)
    return _weigh(_ask(function, fn, queries), places)


def _local_ensemble_nobatch(
    fn: Head,
    coords: Tensor,
    featmap: Tensor,
    cell: Cell | None = None,
    size: int = 2,
    unfold: int = 1,
    align_corners: bool = False,
) -> Tensor:
    """`local_ensemble` without a batch: coords ``(*points, d)``, map ``(c, *spatial)``, result ``(*points, out)``."""
    function = "ts.local_ensemble.nobatch"
    return _local_ensemble(function, fn, coords, featmap, cell, size, unfold, align_corners, functools.partial(place_single, function))


@with_nobatch(_local_ensemble_nobatch)
def local_ensemble(
    fn: Head,
    coords: Tensor,
    featmap: Tensor,
    cell: Cell | None = None,
    size: int = 2,
    unfold: int = 1,
    align_corners: bool = False,
    batch_index: Tensor | None = None,
) -> Tensor:
    """Ask a network at the nearest cells of each coordinate, and combine its answers: LIIF's query.

    ``local_ensemble.nobatch`` takes coords ``(*points, d)`` and a map ``(c, *spatial)``.

    Parameters
    ----------
    fn : callable
        From ``(*batch, *points, K, features + d)`` to ``(*batch, *points, K, out)``: in the last dimension of its input come the cell's
        features, the coordinate's offset from the cell's centre, and, if given, the size of the query. ``K = size**d`` cells.
    coords : Tensor
        Normalized coordinates ``(*batch, *points, d)`` in the order ``(x, y, ...)``, floating-point.
    featmap : Tensor
        ``(*batch, c, *spatial)``, floating-point. Batch dimensions broadcast as in `sample`.
    cell : Tensor or sequence of float, optional
        Size of the queried pixel in normalized units, ``2 / w`` along x for a result of ``w`` pixels; of a shape that broadcasts to coords.
        ``fn`` gets it in units of half a pixel of the map, as offsets are.
    size : int, default: 2
        Cells along each axis, as in `neighborhood`; 1 asks only the nearest.
    unfold : int, default: 1
        Odd; ``fn`` gets the features of a patch of so many pixels along each axis around the cell, zero outside of the map,
        ``c * unfold**d`` in the order of ``torch.nn.functional.unfold``. They are read where they are asked for: no map of that width is
        made. `hoist` is faster for many queries.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    batch_index : Tensor, optional
        ``(n,)``, int64 or int32: which of the maps ``(b, c, *spatial)`` each of the points ``(n, d)``, or each group of points
        ``(n, *points, d)``, reads.

    Returns
    -------
    Tensor
        ``(*batch, *points, out)``, the dtype that ``fn`` gives.

    Raises
    ------
    ValueError
        If shapes do not fit, also that of what ``fn`` gives; or if ``unfold`` is even.
    TypeError
        If coords or the map are not floating-point, or ``fn`` is not callable.

    Notes
    -----
    Chen, Liu and Wang, "Learning Continuous Image Representation with Local Implicit Image Function", 2021, section 3. Offsets and cells
    are in LIIF's unit, where a pixel of the map is 2 wide, so that its networks can be loaded; LIIF's own order of coordinates
    is ``(y, x)``. LIIF weighs an answer by the area of the rectangle between the coordinate and the cell opposite; those weights all vanish
    at pixel centres on the border of a map, where cells coincide. Ours are the same everywhere else, and are right there, too: a network
    that returns its features gives ``ts.sample(coords, featmap)``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap, coords = torch.rand(1, 64, 12, 16), ts.coord.full(1, (48, 36))
    >>> model = ts.models.MLP(64 + 2 + 2, 256, 3)
    >>> ts.local_ensemble(model, coords, featmap, cell=(2 / 48, 2 / 36)).shape
    torch.Size([1, 36, 48, 3])
    """
    function = "ts.local_ensemble"
    place = functools.partial(place_batched, function, batch_index=batch_index)
    return _local_ensemble(function, fn, coords, featmap, cell, size, unfold, align_corners, place)


def hoist(first: nn.Module, rest: Head, featmap: Tensor, unfold: int = 1) -> tuple[Tensor, Head]:
    """Apply the first layer of a network to the whole map instead of at every query.

    ``ts.local_ensemble(fn, coords, hoisted, cell)`` then gives what ``ts.local_ensemble(nn.Sequential(first, rest), coords, featmap,
    cell, unfold=unfold)`` gives, to rounding: a linear layer on a patch around a cell is a convolution. It costs the same for any number
    of queries.

    Parameters
    ----------
    first : nn.Linear
        From features, offsets and cells to hidden features; ``in_features`` is at least ``c * unfold**d``.
    rest : callable
        From hidden features to the answer: what follows ``first`` in the network, its activation first of all.
    featmap : Tensor
        ``(b, c, *spatial)`` with one to three spatial dimensions, floating-point.
    unfold : int, default: 1
        Odd; side of the patch of the map that ``first`` sees.

    Returns
    -------
    hoisted : Tensor
        Map ``(b, first.out_features, *spatial)``.
    fn : callable
        From hidden features, offsets and cells to the answer, as `local_ensemble` calls it.

    Raises
    ------
    ValueError
        If the layer has fewer inputs than a patch has features, or the map has more than three spatial dimensions.
    TypeError
        If ``first`` is not an ``nn.Linear``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap, coords = torch.rand(1, 8, 5, 5), ts.coord.rand(1, 1000)
    >>> model = ts.models.MLP(8 * 9 + 2, 64, 3)
    >>> hoisted, fn = ts.hoist(model[0], model[1:], featmap, unfold=3)
    >>> torch.allclose(ts.local_ensemble(fn, coords, hoisted), ts.local_ensemble(model, coords, featmap, unfold=3), atol=1e-5)
    True
    """
    function = "ts.hoist"
    if not isinstance(first, nn.Linear):
        raise TypeError(message(function, "first", "an nn.Linear", type(first).__name__, "Pass model[0] of a ts.models.MLP."))
    check_callable(function, "rest", rest, "on hidden features", "Pass model[1:] of a ts.models.MLP, or torch.nn.Identity().")
    check_tensor(function, "featmap", featmap)
    check_interpolable(function, "featmap", featmap)
    unfold = _check_unfold(function, unfold)
    rank = featmap.ndim - 2
    if rank not in (1, 2, 3):
        wanted = "a map (b, c, *spatial) of one to three spatial dimensions"
        raise ValueError(message(function, "featmap", wanted, f"shape {tuple(featmap.shape)}", "PyTorch convolves no others."))
    width = featmap.shape[1] * unfold**rank
    if featmap.shape[1] == 0:
        got = f"shape {tuple(featmap.shape)}"
        raise ValueError(message(function, "featmap", "a map with channels", got, "There is nothing to convolve."))
    if first.in_features < width:
        wanted = f"a layer of at least {width} inputs, {featmap.shape[1]} channels of {unfold**rank} pixels"
        raise ValueError(message(function, "first", wanted, first.in_features, "Offsets and cells follow the features."))
    check_device(function, "featmap", featmap.device, "first", first.weight.device)
    if featmap.dtype != first.weight.dtype and not torch.is_autocast_enabled(featmap.device.type):
        wanted, remedy = f"of the dtype of `first`, {first.weight.dtype}", "Convert it with featmap.to(first.weight.dtype)."
        raise TypeError(message(function, "featmap", wanted, featmap.dtype, remedy))
    kernel = first.weight[:, :width].reshape(-1, featmap.shape[1], *[unfold] * rank)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    hoisted = convolve(featmap, kernel, padding=unfold // 2)

    def fn(queries: Tensor) -> Tensor:
        hidden, tail = queries[..., : first.out_features], queries[..., first.out_features :]
        return rest(hidden + F.linear(tail, first.weight[:, width:], first.bias))

    return hoisted, fn
