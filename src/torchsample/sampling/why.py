"""Say which back-end serves a call of `sample`, and what would make it faster."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from .._nobatch import with_nobatch
from ..interpolation import dispatch, fast_cpu, reference
from ..interpolation.kernels import Kernel
from ..interpolation.reference import Axis
from .checks import Mode, PaddingMode, Placing, place_batched, place_single, read_rule


def _hints(coords: Tensor, featmap: Tensor, batch: Sequence[Tensor], axes: Sequence[Axis], choice: dispatch.Choice) -> Iterator[str]:
    """What costs time in a call that a table serves, and what to do about it."""
    if axes[0].kernel.poles:
        yield "The spline's coefficients are computed in each call; ts.prefilter does it once."
    elif choice.name == "table":
        yield from _copies(prod(dispatch.points_shape(coords, batch)), featmap, len(batch), axes)
    if choice.name in ("table", "grid_sample") and featmap.is_floating_point() and not axes[0].kernel.selects:
        if not featmap.isfinite().all():
            yield "The map holds NaN or infinity: a call that meets such a pixel is done again by the definition."
        if coords.dtype == torch.float64 and featmap.dtype != torch.float64:
            yield "Positions are computed in float64, as coords are; float32 coords take half the time for that."


def _copies(n: int, featmap: Tensor, n_batch: int, axes: Sequence[Axis]) -> Iterator[str]:
    maps = featmap.reshape(-1, *featmap.shape[n_batch:])
    if fast_cpu.view_table(maps, axes) is not None:
        return
    size = f"{maps.numel() * reference.accumulator(maps.dtype).itemsize / 2**20:.1f} MiB"
    rank = len(axes)
    remedy = f"featmap.movedim({-rank - 1}, -1).contiguous().movedim(-1, {-rank - 1})"
    if n_batch == 1 and rank in (2, 3):
        remedy = f"featmap.to(memory_format=torch.channels_last{'' if rank == 2 else '_3d'})"
    if not fast_cpu.is_worth_a_pass(n, maps, axes):
        yield "Points are few for this map: only the pixels that they touch are copied."
    elif maps.is_contiguous():
        yield f"The map is channels-first, and copied in each call ({size}). If it is kept, keep {remedy}."
    else:
        yield f"Each call copies the map ({size}) to rows of {reference.accumulator(maps.dtype)}."


def _why(
    function: str,
    coords: Tensor,
    featmap: Tensor,
    mode: str | Kernel,
    padding_mode: PaddingMode,
    align_corners: bool,
    place: Placing,
) -> str:
    axes = read_rule(function, coords, featmap, mode, padding_mode, align_corners, True)
    _, batch, in_order = place(coords, featmap)
    choice = dispatch.choose(coords, featmap, batch, axes, in_order)
    return "\n".join([f"{choice.name}: {choice.why}.", *_hints(coords, featmap, batch, axes, choice)])


def _why_nobatch(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
) -> str:
    """`why` for a call of ``sample.nobatch``."""
    function = "ts.why.nobatch"
    return _why(function, coords, featmap, mode, padding_mode, align_corners, functools.partial(place_single, function))


@with_nobatch(_why_nobatch)
def why(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    batch_index: Tensor | None = None,
) -> str:
    """Explain which back-end serves a call of `sample`, why, and what would make the call faster.

    Nothing is sampled. All back-ends give the same numbers, to the rounding of the dtype.

    Parameters
    ----------
    coords : Tensor
        As `sample` is given them, and so are the others.
    featmap : Tensor
        The map; only its shape, strides, dtype and device matter, and whether it holds NaN.
    mode : str or Kernel, default: "bilinear"
        How to interpolate.
    padding_mode : str, Boundary or sequence of them, default: "border"
        What is beyond the edges of the map.
    align_corners : bool, default: False
        What -1 and 1 are.
    batch_index : Tensor, optional
        Which of the maps each point, or each group of points, reads.

    Returns
    -------
    str
        ``"name: reason."`` and, if there is something to gain, a line for each hint. The names: ``triton`` (a kernel on a CUDA device),
        ``grid_sample`` (PyTorch's own, shared out to all cores), ``table`` (fused sums over a channels-last table) and ``definition``
        (plain tensor operations, the slowest: for transforms, tracing, other devices and unusual dtypes).

    Raises
    ------
    ValueError, TypeError
        As for `sample`.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> print(ts.why(ts.coord.rand(8, 4096), torch.zeros(8, 64, 32, 32)))
    table: the map has more than 4 channels.
    The map is channels-first, and copied in each call (2.0 MiB). If it is kept, keep featmap.to(memory_format=torch.channels_last).
    """
    function = "ts.why"
    place = functools.partial(place_batched, function, batch_index=batch_index)
    return _why(function, coords, featmap, mode, padding_mode, align_corners, place)
