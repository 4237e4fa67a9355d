"""Sample maps at coordinates: the checks, the shapes and the dtypes; the arithmetic is in `interpolation`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, ParamSpec

import torch
from torch import Tensor

from ._checks import check_flag, check_tensor, message
from ._nobatch import WithNobatch, with_nobatch
from .interpolation.boundary import Boundary, get_boundary
from .interpolation.kernels import Kernel, get_kernel
from .interpolation.reference import interpolate

__all__ = ["sample", "sample2d", "sample3d"]

Mode = Literal["nearest", "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic"]
PaddingMode = Literal["zeros", "border", "reflection"]
Encoder = Callable[[Tensor], Tensor]
_Batched = ParamSpec("_Batched")
_Single = ParamSpec("_Single")
_Call = ParamSpec("_Call")

_SHAPE_RULE = (
    "The last dimension of `coords` is the rank d; the map is (*batch, c, *spatial) with d spatial dimensions and at least one"
    " batch dimension, and coords are (*batch, *points, d) with at least one point dimension."
)


def _check_coords(function: str, coords: Tensor) -> None:
    check_tensor(function, "coords", coords)
    if not coords.is_floating_point():
        remedy = "Integer pixel positions become coordinates with ts.coord.normalize(coord, size)."
        raise TypeError(message(function, "coords", "a floating-point tensor", coords.dtype, remedy))
    if coords.ndim == 0 or coords.shape[-1] == 0:
        raise ValueError(message(function, "coords", "of shape (..., d), d at least 1", f"shape {tuple(coords.shape)}", _SHAPE_RULE))


def _check_featmap(function: str, coords: Tensor, featmap: Tensor, kernel: Kernel) -> None:
    check_tensor(function, "featmap", featmap)
    if coords.device != featmap.device:
        remedy = "Move one of them with .to(device)."
        raise ValueError(message(function, "coords", f"on the map's device {featmap.device}", coords.device, remedy))
    rank = coords.shape[-1]
    if min(featmap.shape[featmap.ndim - rank :], default=0) < 1 and featmap.ndim > rank:
        remedy = "There is nothing to sample in a map without pixels."
        raise ValueError(message(function, "featmap", "at least one pixel wide along every axis", f"shape {tuple(featmap.shape)}", remedy))
    if not (kernel.selects or featmap.is_floating_point() or featmap.is_complex()):
        remedy = "Sample labels with mode='nearest', or convert the map with featmap.float()."
        raise TypeError(message(function, "featmap", "floating-point or complex to be interpolated", featmap.dtype, remedy))


def _batch_dims(function: str, coords: Tensor, featmap: Tensor) -> int:
    """Number of batch dimensions of the map, after checking that coords fit it."""
    rank = coords.shape[-1]
    shapes = f"coords {tuple(coords.shape)} and featmap {tuple(featmap.shape)}"
    n_batch = featmap.ndim - 1 - rank
    if n_batch < 1:
        wanted = f"at least {rank + 2}-dimensional for {rank}-D coords"
        remedy = f"{_SHAPE_RULE} For a map without a batch there is {function}.nobatch."
        raise ValueError(message(function, "featmap", wanted, shapes, remedy))
    if coords.ndim < n_batch + 2:
        wanted = f"at least {n_batch + 2}-dimensional, points and batch, for this map"
        remedy = f"{_SHAPE_RULE} Flat points of several maps go with batch_index=."
        raise ValueError(message(function, "coords", wanted, shapes, remedy))
    for mine, other in zip(coords.shape[:n_batch], featmap.shape[:n_batch], strict=True):
        if mine != other and mine != 1 and other != 1:
            wanted = f"of a batch shape that broadcasts with the map's {tuple(featmap.shape[:n_batch])}"
            remedy = "Batch dimensions must be equal, or 1 in one of the two."
            raise ValueError(message(function, "coords", wanted, shapes, remedy))
    return n_batch


def _map_indices(coords: Tensor, featmap: Tensor, n_batch: int) -> tuple[Tensor, ...]:
    """Per batch dimension, which map each point reads; one map for many grids is read, not repeated."""
    n_points = coords.ndim - 1 - n_batch
    return tuple(
        torch.arange(side, device=coords.device).reshape(-1, *[1] * (n_batch - 1 - dim + n_points))
        for dim, side in enumerate(featmap.shape[:n_batch])
    )


def _is_concrete(tensor: Tensor) -> bool:
    """Whether the values can be looked at: not while tracing, vectorizing, or without data."""
    return not (torch.compiler.is_compiling() or torch._C._functorch.is_batchedtensor(tensor) or tensor.is_meta)


def _check_batch_index(function: str, coords: Tensor, featmap: Tensor, batch_index: Tensor) -> None:
    check_tensor(function, "batch_index", batch_index)
    if batch_index.dtype not in (torch.int64, torch.int32):
        remedy = "Convert it with batch_index.long()."
        raise TypeError(message(function, "batch_index", "int64 or int32", batch_index.dtype, remedy))
    rank = coords.shape[-1]
    if coords.ndim != 2 or featmap.ndim != rank + 2:
        wanted = "(n, d) and featmap (b, c, *spatial) where batch_index is given"
        got = f"coords {tuple(coords.shape)} and featmap {tuple(featmap.shape)}"
        raise ValueError(message(function, "coords", wanted, got, "Leave batch_index out for points in batches."))
    if batch_index.shape != coords.shape[:1]:
        wanted = f"of shape ({coords.shape[0]},), one map per point"
        raise ValueError(message(function, "batch_index", wanted, f"shape {tuple(batch_index.shape)}", "Give each point its map."))
    if batch_index.device != featmap.device:
        wanted = f"on the map's device {featmap.device}"
        raise ValueError(message(function, "batch_index", wanted, batch_index.device, "Move it with .to(device)."))
    if batch_index.numel() and _is_concrete(batch_index):
        low, high = (int(bound) for bound in batch_index.aminmax())
        if low < 0 or high >= featmap.shape[0]:
            wanted = f"between 0 and {featmap.shape[0] - 1}"
            raise ValueError(message(function, "batch_index", wanted, f"values from {low} to {high}", "Count the maps from 0."))


def _encode(function: str, encoder: Encoder, coords: Tensor, values: Tensor) -> Tensor:
    """The encoder's features of coords as given, shaped and typed to stand behind the sampled ones."""
    if not callable(encoder):
        remedy = "Pass a function or Module such as ts.encoding.Gamma()."
        raise TypeError(message(function, "encoder", "a callable on coords", repr(encoder), remedy))
    encoded = encoder(coords)
    if not isinstance(encoded, Tensor) or encoded.ndim != coords.ndim or encoded.shape[:-1] != coords.shape[:-1]:
        got = f"shape {tuple(encoded.shape)}" if isinstance(encoded, Tensor) else type(encoded).__name__
        shape = ", ".join(map(str, coords.shape[:-1]))
        wanted = f"a callable from coords {tuple(coords.shape)} to a tensor ({shape}, features)"
        raise ValueError(message(function, "encoder", wanted, got, "Keep all dimensions of coords but the last."))
    if encoded.device != values.device:
        wanted = f"a callable whose output is on the map's device {values.device}"
        raise ValueError(message(function, "encoder", wanted, encoded.device, "Move the encoder with .to(device)."))
    if not torch.can_cast(encoded.dtype, values.dtype):
        wanted = f"a callable whose output can be cast to the map's dtype {values.dtype}"
        remedy = "Sample labels without an encoder, or convert the map with featmap.float()."
        raise TypeError(message(function, "encoder", wanted, encoded.dtype, remedy))
    return encoded.to(values.dtype).expand(*values.shape[:-1], -1)


def _sample(
    function: str,
    coords: Tensor,
    featmap: Tensor,
    mode: str | Kernel,
    padding_mode: str | Boundary,
    align_corners: bool,
    encoder: Encoder | None,
    feat_last: bool,
    place: Callable[[Tensor, Tensor], tuple[int, tuple[Tensor, ...]]],
) -> Tensor:
    """The walk of every name of `sample`: check, interpolate, encode, put the features in their place.

    ``place`` checks coords against the map and says how many batch dimensions the result has and which map each point reads.
    """
    kernel = get_kernel(function, mode)
    boundary = get_boundary(function, padding_mode)
    check_flag(function, "align_corners", align_corners)
    check_flag(function, "feat_last", feat_last)
    _check_coords(function, coords)
    _check_featmap(function, coords, featmap, kernel)
    n_batch, batch = place(coords, featmap)
    values = interpolate(coords, featmap, batch, kernel, boundary, align_corners)
    if encoder is not None:
        values = torch.cat([values, _encode(function, encoder, coords, values)], dim=-1)
    return (values if feat_last else values.movedim(-1, n_batch)).contiguous()


def _sample_nobatch(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode | Boundary = "border",
    align_corners: bool = False,
    encoder: Encoder | None = None,
    feat_last: bool = True,
) -> Tensor:
    """`sample` without a batch: coords ``(*points, d)``, map ``(c, *spatial)``, result ``(*points, c)``."""
    function = "ts.sample.nobatch"

    def place(coords: Tensor, featmap: Tensor) -> tuple[int, tuple[Tensor, ...]]:
        rank = coords.shape[-1]
        if featmap.ndim != rank + 1 or coords.ndim < 2:
            wanted = f"a map (c, *spatial) of {rank + 1} dimensions for {rank}-D coords (*points, {rank})"
            got = f"coords {tuple(coords.shape)} and featmap {tuple(featmap.shape)}"
            raise ValueError(message(function, "featmap", wanted, got, "For a map with a batch there is ts.sample."))
        return 0, ()

    return _sample(function, coords, featmap, mode, padding_mode, align_corners, encoder, feat_last, place)


@with_nobatch(_sample_nobatch)
def sample(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode | Boundary = "border",
    align_corners: bool = False,
    encoder: Encoder | None = None,
    feat_last: bool = True,
    batch_index: Tensor | None = None,
) -> Tensor:
    """Sample feature maps at coordinates.

    The rank ``d`` is the last dimension of ``coords``. A map ``(*batch, c, *spatial)`` has ``d`` spatial dimensions and at
    least one batch dimension; coords are ``(*batch, *points, d)`` with at least one point dimension. Batch dimensions
    broadcast: one map for many grids, and many maps for one grid, without a copy. ``sample.nobatch`` takes coords
    ``(*points, d)`` and a map ``(c, *spatial)``.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates ``(*batch, *points, d)`` in the order ``(x, y, ...)``; ``[-1, 1]`` spans the map. Floating-point,
        of any precision: positions are computed in float32 at least. With ``batch_index``, ``(n, d)``.
    featmap : Tensor
        ``(*batch, c, *spatial)``, any strides. Half-precision maps are summed in float32. Integer and bool maps
        (labels) work with ``mode="nearest"``, bit for bit.
    mode : str or Kernel, default: "bilinear"
        ``"nearest"``; ``"linear"``, also called ``"bilinear"`` and ``"trilinear"``; ``"cubic"``, also called ``"bicubic"`` and
        ``"tricubic"``: synonyms mean the same at any rank. Or a kernel such as ``ts.interpolation.Cubic(a=-0.5)``.
    padding_mode : str or Boundary, default: "border"
        What is beyond the edges of the map: the edge pixel (``"border"``), ``"zeros"``, or the mirrored map (``"reflection"``).
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    encoder : callable, optional
        Called with ``coords`` as given; its output ``(*batch, *points, k)`` is cast to the map's dtype and concatenated
        after the sampled features.
    feat_last : bool, default: True
        Features in the last dimension, ready for ``nn.Linear``; ``False`` puts them right after the batch.
    batch_index : Tensor, optional
        ``(n,)``, int64 or int32: which of the maps ``(b, c, *spatial)`` each of the points ``(n, d)`` reads, as
        `coord.uncertain` gives it.

    Returns
    -------
    Tensor
        ``(*batch, *points, c)``, or ``(*batch, c, *points)`` for ``feat_last=False``; contiguous, the map's dtype. With
        ``batch_index``, ``(n, c)`` or ``(c, n)``.

    Raises
    ------
    ValueError
        If shapes do not fit, tensors are on different devices, or a name is unknown.
    TypeError
        If coords are not floating-point, or an integer map is asked to be interpolated.

    Notes
    -----
    A NaN coordinate gives NaN (0 in integer maps). Infinite ones are far outside; with ``"reflection"`` they give NaN. A
    pixel whose weight is zero has no influence, even if it is NaN.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> featmap = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> coords = torch.tensor([[[0.0, 0.0], [0.5, -0.5]]])
    >>> ts.sample(coords, featmap)
    tensor([[[1.5000],
             [1.0000]]])
    """
    function = "ts.sample"

    def place(coords: Tensor, featmap: Tensor) -> tuple[int, tuple[Tensor, ...]]:
        if batch_index is not None:
            _check_batch_index(function, coords, featmap, batch_index)
            return 0, (batch_index.long(),)
        n_batch = _batch_dims(function, coords, featmap)
        return n_batch, _map_indices(coords, featmap, n_batch)

    return _sample(function, coords, featmap, mode, padding_mode, align_corners, encoder, feat_last, place)


def _check_rank(function: str, coords: Tensor, rank: int) -> None:
    _check_coords(function, coords)
    if coords.shape[-1] != rank:
        wanted = f"{rank}-D, (*batch, *points, {rank})"
        remedy = "ts.sample takes coords of any rank."
        raise ValueError(message(function, "coords", wanted, f"shape {tuple(coords.shape)}", remedy))


def _with_rank(call: Callable[_Call, Tensor], function: str, rank: int) -> Callable[_Call, Tensor]:
    @functools.wraps(call)
    def checked(*args: _Call.args, **kwargs: _Call.kwargs) -> Tensor:
        _check_rank(function, args[0] if args else kwargs["coords"], rank)  # type: ignore[arg-type]
        return call(*args, **kwargs)

    single = function.endswith(".nobatch")
    name, batch, sides = function.removeprefix("ts."), "" if single else "8, ", ", ".join(["32"] * rank)
    checked.__doc__ = f"""Sample {rank}-D maps: `{call.__qualname__}`, where coords of another rank are an error.

    Parameters, result and errors are those of `{call.__qualname__}`; the last dimension of ``coords`` is {rank}.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> coords, featmap = ts.coord.rand({0 if single else 8}, 4096, {rank}), torch.zeros({batch}16, {sides})
    >>> ts.{name}(coords, featmap).shape
    torch.Size([{batch}4096, 16])
    """
    return checked


def _of_rank(function: WithNobatch[_Batched, _Single, Tensor], rank: int) -> WithNobatch[_Batched, _Single, Tensor]:
    """`sample` for coords of one rank only."""
    name = f"sample{rank}d"
    batched = _with_rank(function, f"ts.{name}", rank)
    batched.__name__ = batched.__qualname__ = name
    return with_nobatch(_with_rank(function.nobatch, f"ts.{name}.nobatch", rank))(batched)


sample2d = _of_rank(sample, 2)
sample3d = _of_rank(sample, 3)
