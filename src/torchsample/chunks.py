"""Ask for more coordinates than memory holds at once."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor

from ._checks import check_callable, check_count, check_flag, check_size, check_tensor, is_int, message
from .coordinates.convert import check_coords
from .coordinates.full import full
from .sampling.checks import can_hold, is_label

__all__ = ["chunked", "tiled"]

Progress = bool | Callable[[Iterable[Any]], Iterable[Any]]
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
_Array = TypeVar("_Array")


def _follow(function: str, items: Sequence[_Item], progress: Progress) -> Iterable[_Item]:
    """The items, behind a progress bar if one is wanted."""
    if callable(progress):
        return progress(items)
    check_flag(function, "progress", progress)
    if not progress:
        return items
    try:
        bar = importlib.import_module("tqdm").tqdm
    except ImportError as error:
        remedy = "Install it with pip install tqdm, or pass a function that wraps an iterable."
        raise ModuleNotFoundError(message(function, "progress", "False where tqdm is not installed", progress, remedy)) from error
    return bar(items)  # type: ignore[no-any-return]


def _describe(answer: object, dim: int) -> object:
    """What must be the same for every chunk: structure, dtypes, and shapes but for the number of points."""
    if isinstance(answer, Tensor):
        return answer.dtype, (*answer.shape[:dim], "n", *answer.shape[dim + 1 :])
    if isinstance(answer, dict):
        return {key: _describe(value, dim) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return type(answer).__name__, [_describe(value, dim) for value in answer]
    return type(answer).__name__


def _leaves(answer: object) -> Iterator[Tensor]:
    if isinstance(answer, Tensor):
        yield answer
    elif isinstance(answer, dict):
        for value in answer.values():
            yield from _leaves(value)
    elif isinstance(answer, (list, tuple)):
        for value in answer:
            yield from _leaves(value)


def _rebuild(answer: Any, leaves: Iterator[Tensor]) -> Any:
    """The same structure with other tensors."""
    if isinstance(answer, Tensor):
        return next(leaves)
    if isinstance(answer, dict):
        whole = copy.copy(answer)
        whole.update({key: _rebuild(value, leaves) for key, value in answer.items()})
        return whole
    if isinstance(answer, (list, tuple)):
        values = [_rebuild(value, leaves) for value in answer]
        return type(answer)(*values) if hasattr(answer, "_fields") else type(answer)(values)
    return answer


def _check_answer(answer: object, chunk: Tensor, batch_dims: int) -> list[Tensor]:
    leaves, wanted = list(_leaves(answer)), chunk.shape[:-1]
    for leaf in leaves:
        if leaf.shape[: batch_dims + 1] != wanted:
            shape = f"a callable from coords {tuple(chunk.shape)} to tensors ({', '.join(map(str, wanted))}, ...)"
            remedy = "Each point must have an answer of its own, in its place."
            raise ValueError(message("ts.chunked", "fn", shape, f"shape {tuple(leaf.shape)}", remedy))
    if not leaves:
        remedy = "Return a tensor, or tuples, lists or dicts of tensors."
        raise TypeError(message("ts.chunked", "fn", "a callable that gives tensors", type(answer).__name__, remedy))
    return leaves


class _Collector:
    """Puts the answers to pieces in one tensor; in place, unless autograd has to follow."""

    def __init__(self, first: Tensor, n: int, dim: int) -> None:
        self._dim, self._start = dim, 0
        self._pieces: list[Tensor] = []
        shape = (*first.shape[:dim], n, *first.shape[dim + 1 :])
        self._whole = None if first.requires_grad else first.new_empty(shape)

    def add(self, piece: Tensor) -> None:
        if self._whole is None:
            self._pieces.append(piece)
            return
        self._whole.narrow(self._dim, self._start, piece.shape[self._dim]).copy_(piece)
        self._start += piece.shape[self._dim]

    def finish(self) -> Tensor:
        return torch.cat(self._pieces, self._dim) if self._whole is None else self._whole


def chunked(
    fn: Callable[[Tensor], _Answer], coords: Tensor, chunk_size: int = 65536, batch_dims: int = 1, progress: Progress = False
) -> _Answer:
    """Ask a coordinate network for many points, some at a time, in bounded memory.

    Parameters
    ----------
    fn : callable
        From coordinates ``(*batch, n, d)`` to a tensor ``(*batch, n, ...)``, or tuples, lists or dicts of them; it must look at each point
        on its own.
    coords : Tensor
        ``(*batch, *points, d)``, floating-point.
    chunk_size : int, default: 65536
        Points of each batch entry that ``fn`` gets at once.
    batch_dims : int, default: 1
        How many leading dimensions of ``coords`` are batch, and not split.
    progress : bool or callable, default: False
        ``True`` shows a bar, by ``tqdm``; or a function that wraps an iterable, ``functools.partial(tqdm, desc="rendering")``.

    Returns
    -------
    Tensor, or what ``fn`` gives
        As ``fn`` in one call: ``(*batch, *points, ...)``.

    Raises
    ------
    ValueError
        If a tensor that ``fn`` gives does not have one entry per point.
    TypeError
        If coords are not floating-point, or ``fn`` gives no tensors.
    ModuleNotFoundError
        For ``progress=True`` without ``tqdm``.

    Notes
    -----
    The result is written in place as it comes; where ``fn`` gives tensors that require a gradient, pieces are concatenated at the end, and
    what autograd keeps is not bounded: use ``torch.inference_mode()``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap, model = torch.rand(1, 64, 32, 32), ts.models.MLP(64, 64, 3)
    >>> with torch.inference_mode():
    ...     image = ts.chunked(lambda coords: model(ts.sample(coords, featmap)), ts.coord.full(1, (512, 512)))
    >>> image.shape
    torch.Size([1, 512, 512, 3])
    """
    function = "ts.chunked"
    check_callable(function, "fn", fn, "on coords", "Pass a network, or a function that samples maps and applies one.")
    check_coords(function, coords)
    chunk_size = check_count(function, "chunk_size", chunk_size)
    batch_dims = check_count(function, "batch_dims", batch_dims, minimum=0)
    if coords.ndim < batch_dims + 2 or coords.shape[-1] == 0:
        wanted = f"(*batch, *points, d) with {batch_dims} batch dimension(s) and at least one point dimension and coordinate"
        raise ValueError(message(function, "coords", wanted, f"shape {tuple(coords.shape)}", "Say how many are batch with batch_dims=."))
    points = coords.shape[batch_dims:-1]
    flat = coords.reshape(*coords.shape[:batch_dims], prod(points), coords.shape[-1])
    answer = first = None
    collectors: list[_Collector] = []
    for start in _follow(function, range(0, max(prod(points), 1), chunk_size), progress):
        chunk = flat.narrow(batch_dims, start, min(chunk_size, prod(points) - start))
        answer = fn(chunk)
        leaves, this = _check_answer(answer, chunk, batch_dims), _describe(answer, batch_dims)
        first = this if first is None else first
        if this != first:
            remedy = "Give the same structure, dtypes and widths for all points."
            raise ValueError(message(function, "fn", f"a callable that always gives {first}", this, remedy))
        collectors = collectors or [_Collector(leaf, prod(points), batch_dims) for leaf in leaves]
        for collector, leaf in zip(collectors, leaves, strict=True):
            collector.add(leaf)
    wholes = (collector.finish() for collector in collectors)
    shaped = [whole.reshape(*whole.shape[:batch_dims], *points, *whole.shape[batch_dims + 1 :]) for whole in wholes]
    rebuilt: _Answer = _rebuild(answer, iter(shaped))
    return rebuilt


def _tile_slices(size: Sequence[int], tile: Sequence[int]) -> list[tuple[slice, ...]]:
    """Of each tile, its pixels along ``(..., y, x)``, row by row of tiles."""
    parts = [
        [slice(start, min(start + step, side)) for start in range(0, side, step)] for side, step in zip(size[::-1], tile[::-1], strict=True)
    ]
    return list(product(*parts))


def _tile_coords(place: Sequence[slice], axes: Sequence[Tensor]) -> Tensor:
    """Coordinates ``(1, *tile, d)``, the same numbers that `coord.full` has there."""
    parts = [axis[part] for axis, part in zip(axes, place[::-1], strict=True)]
    grid = torch.meshgrid(*parts[::-1], indexing="ij")
    return torch.stack(grid[::-1], dim=-1).unsqueeze(0)


def _to_numpy(values: Tensor) -> Any:
    # NumPy has no bfloat16.
    return (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()


def _dtype_of(out: object) -> torch.dtype | None:
    """The dtype of an array or tensor in PyTorch's terms, None where PyTorch has none."""
    dtype = getattr(out, "dtype", None)
    if isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, str(getattr(dtype, "name", dtype)), None)
    return found if isinstance(found, torch.dtype) else None


def _check_fits(function: str, values: Tensor, target: torch.dtype | None) -> None:
    """Refuse numbers that an array would truncate: fractions in ints, complex ones in floats, labels beyond the range."""
    if target is None or values.dtype == target or values.numel() == 0:
        return
    wanted = f"a callable whose numbers an array of {target} can hold"
    if not can_hold(target, values.dtype):
        remedy = "Convert them, (255 * values).round().clamp(0, 255).to(torch.uint8) for values from 0 to 1."
        raise TypeError(message(function, "fn", wanted, values.dtype, remedy))
    if is_label(target) and is_label(values.dtype):
        low, high = (int(bound) for bound in values.to(torch.int64).aminmax())
        limits = torch.iinfo(target)
        if low < limits.min or high > limits.max:
            raise ValueError(message(function, "fn", wanted, f"numbers from {low} to {high}", "Make `out` of a wider dtype."))


def tiled(
    fn: Callable[[Tensor], Tensor],
    size: Sequence[int],
    out: _Array,
    tile_size: int | Sequence[int] = 256,
    device: torch.device | str | None = None,
    align_corners: bool = False,
    progress: Progress = False,
) -> _Array:
    """Ask for every pixel of a map that may be larger than memory, tile by tile, and write it to an array.

    Parameters
    ----------
    fn : callable
        From coordinates ``(1, *tile, d)`` of pixel centers to values ``(1, *tile, ...)`` of the array's dtype, or one that it can hold:
        numbers with fractions do not go into an array of ints.
    size : sequence of int
        ``(w, h, ...)`` of the map.
    out : array
        Of shape ``(*spatial, ...)``, ``(h, w, 3)`` say: a ``numpy.memmap``, ``zarr`` or ``h5py`` array, or anything else that takes
        ``out[y0:y1, x0:x1] = array``; or a tensor.
    tile_size : int or sequence of int, default: 256
        Sides of a tile, ``(w, h, ...)``; at the far edges tiles are cut off.
    device : torch.device or str, optional
        Where coordinates are made; the default device if not given.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    progress : bool or callable, default: False
        ``True`` shows a bar, by ``tqdm``; or a function that wraps an iterable, ``functools.partial(tqdm, desc="rendering")``.

    Returns
    -------
    array
        ``out``.

    Raises
    ------
    ValueError
        If ``out`` does not have the sides of ``size``, or ``fn`` gives another shape than its tile's.
    TypeError
        If ``size`` or ``tile_size`` does not consist of ints, or ``fn`` gives numbers that ``out`` would truncate.
    ModuleNotFoundError
        For ``progress=True`` without ``tqdm``.

    Examples
    --------
    >>> import numpy, torch, torchsample as ts
    >>> image, out = torch.rand(1, 3, 10, 10), numpy.zeros((300, 400, 3), dtype="float32")
    >>> out = ts.tiled(lambda coords: ts.sample(coords, image), (400, 300), out, tile_size=128)
    >>> bool(abs(out - ts.sample(ts.coord.full(1, (400, 300)), image)[0].numpy()).max() < 1e-6)
    True
    """
    function = "ts.tiled"
    check_callable(function, "fn", fn, "on coords", "Pass a network, or a function that samples maps and applies one.")
    sides = check_size(function, size)
    tile = check_size(function, (tile_size,) * len(sides) if is_int(tile_size) else tile_size, "tile_size")
    if len(tile) != len(sides):
        raise ValueError(message(function, "tile_size", f"an int, or {len(sides)} for the size {sides}", tile, "The order is (w, h, ...)."))
    if not hasattr(out, "shape") or not hasattr(out, "__setitem__"):
        remedy = "Make it with numpy.memmap, numpy.empty or torch.empty."
        raise TypeError(message(function, "out", "an array or a tensor", type(out).__name__, remedy))
    if isinstance(out, Tensor):
        check_tensor(function, "out", out)
    if tuple(out.shape[: len(sides)]) != sides[::-1]:
        wanted = f"of shape ({', '.join(map(str, sides[::-1]))}, ...) for the size {sides}"
        raise ValueError(
            message(function, "out", wanted, f"shape {tuple(out.shape)}", "Sizes are (w, h, ...), arrays (..., h, w, channels).")
        )
    axes = [full(0, (side,), device, align_corners).squeeze(-1) for side in sides]
    target = _dtype_of(out)
    for place in _follow(function, _tile_slices(sides, tile), progress):
        coords = _tile_coords(place, axes)
        values = fn(coords)
        check_tensor(function, "fn(coords)", values)
        shape = (*coords.shape[:-1], *out.shape[len(sides) :])
        if values.shape != shape:
            wanted = f"a callable from coords {tuple(coords.shape)} to a tensor {shape}"
            remedy = "Keep the tile's dimensions, and give as many channels as `out` has."
            raise ValueError(message(function, "fn", wanted, f"shape {tuple(values.shape)}", remedy))
        _check_fits(function, values, target)
        out[place] = values[0].detach() if isinstance(out, Tensor) else _to_numpy(values[0].detach())
    return out
