"""Sample maps at coordinates: the walk from arguments to result; the arithmetic is in `interpolation`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec

import torch
from torch import Tensor

from .._checks import check_device, check_flag, describe, is_int, message
from .._eager import why_not_eager
from .._nobatch import WithNobatch, with_nobatch
from ..coordinates.convert import check_coords, inside
from ..interpolation import dispatch, reference
from ..interpolation.kernels import Kernel
from ..layout import hold_size
from .checks import Mode, PaddingMode, Placing, can_hold, is_label, place_batched, place_single, read_rule

Encoder = Callable[[Tensor], Tensor]
Fill = float | Sequence[float] | Tensor
_Batched = ParamSpec("_Batched")
_Single = ParamSpec("_Single")
_Call = ParamSpec("_Call")


def _read_fill(function: str, fill: Fill, like: Tensor) -> Tensor:
    """``fill`` in the dtype of the values; a number that it cannot hold is an error, and so is one of another kind."""
    wanted = f"a number that {like.dtype} can hold, or one for each of the {like.shape[-1]} channels"
    remedy = "Fill a label map with a label; leave it out to fill nothing."
    try:
        color = fill if isinstance(fill, Tensor) else _as_tensor(fill, like.dtype)
    except OverflowError as error:
        raise ValueError(message(function, "fill", wanted, describe(fill), remedy)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(message(function, "fill", wanted, describe(fill), remedy)) from error
    if not can_hold(like.dtype, color.dtype) or (color.dtype == torch.bool) != (like.dtype == torch.bool):
        raise TypeError(message(function, "fill", wanted, color.dtype, remedy))
    exact = color.to(like.dtype)
    if color.shape not in ((), like.shape[-1:]):
        raise ValueError(message(function, "fill", wanted, f"shape {tuple(color.shape)}", remedy))
    if color.dtype != like.dtype and color.device.type == "cpu" and why_not_eager(color) is None and _loses(color, exact):
        raise ValueError(message(function, "fill", wanted, describe(fill), remedy))
    return exact.to(like.device)


def _as_tensor(fill: float | Sequence[float], dtype: torch.dtype) -> Tensor:
    """Numbers as a tensor on the CPU: labels in the dtype of the map, which may be wider than int64; floats in float64."""
    numbers = fill if isinstance(fill, Sequence) else [fill]
    if is_label(dtype) and all(map(is_int, numbers)):
        limits = torch.iinfo(dtype)
        if not all(limits.min <= number <= limits.max for number in numbers):
            raise OverflowError
        return torch.tensor(fill, dtype=dtype, device="cpu")
    if any(isinstance(number, bool) for number in numbers):
        return torch.as_tensor(fill, device="cpu")
    wide = torch.complex128 if any(isinstance(number, complex) for number in numbers) else torch.float64
    return torch.as_tensor(fill, dtype=wide, device="cpu")


def _loses(color: Tensor, exact: Tensor) -> bool:
    """Whether a dtype cannot hold numbers: another label, or infinity in the place of a finite number."""
    if exact.is_floating_point() or exact.is_complex():
        return bool((exact.isinf() & color.isfinite()).any())
    # In 64 bits, where a sign tells what one of the two has and the other has not.
    one, other = exact.to(torch.int64), color.to(torch.int64)
    wraps = (one < 0) if torch.uint64 in (exact.dtype, color.dtype) else one != other
    return bool((wraps | (one != other)).any())


def _fill(function: str, values: Tensor, coords: Tensor, fill: Fill) -> Tensor:
    """Put ``fill`` where points lie outside; a NaN coordinate stays NaN, where the dtype knows NaN."""
    outside = ~inside(coords)
    if values.is_floating_point() or values.is_complex():
        outside = outside & ~coords.isnan().any(-1)
    return reference.select(outside.unsqueeze(-1), _read_fill(function, fill, values), values)


def _encode(function: str, encoder: Encoder, coords: Tensor, values: Tensor) -> Tensor:
    """The encoder's features of coords as given, shaped and typed to stand behind the sampled ones."""
    if not callable(encoder):
        remedy = "Pass a function or Module such as ts.encoding.Gamma()."
        raise TypeError(message(function, "encoder", "a callable on coords", describe(encoder), remedy))
    encoded = encoder(coords)
    if not isinstance(encoded, Tensor) or encoded.ndim != coords.ndim or encoded.shape[:-1] != coords.shape[:-1]:
        got = f"shape {tuple(encoded.shape)}" if isinstance(encoded, Tensor) else type(encoded).__name__
        shape = ", ".join(map(str, coords.shape[:-1]))
        wanted = f"a callable from coords {tuple(coords.shape)} to a tensor ({shape}, features)"
        raise ValueError(message(function, "encoder", wanted, got, "Keep all dimensions of coords but the last."))
    check_device(function, "encoder", encoded.device, "featmap", values.device)
    if not can_hold(values.dtype, encoded.dtype):
        wanted = f"a callable whose output can be cast to the map's dtype {values.dtype}"
        remedy = "Sample labels without an encoder, or convert the map with featmap.float()."
        raise TypeError(message(function, "encoder", wanted, encoded.dtype, remedy))
    return encoded.to(values.dtype).expand(*values.shape[:-1], -1)


def walk(
    function: str,
    coords: Tensor,
    featmap: Tensor,
    mode: str | Kernel,
    padding_mode: PaddingMode,
    align_corners: bool,
    prefilter: bool,
    place: Placing,
) -> tuple[Tensor, int]:
    """The first half of the walk: check and interpolate. Values ``(*batch, *points, c)``, and how many of these are batch."""
    axes = read_rule(function, coords, featmap, mode, padding_mode, align_corners, prefilter)
    n_batch, batch, in_order = place(coords, featmap)
    featmap = hold_size(featmap, len(axes))
    coefficients = reference.prefilter(featmap, axes) if prefilter else featmap
    return dispatch.interpolate(coords, coefficients, batch, axes, in_order).to(featmap.dtype), n_batch


def finish(
    function: str, values: Tensor, coords: Tensor, n_batch: int, encoder: Encoder | None, feat_last: bool, fill: Fill | None
) -> Tensor:
    """The second half: fill, encode, put the features in their place."""
    if fill is not None:
        values = _fill(function, values, coords, fill)
    if encoder is not None:
        values = torch.cat([values, _encode(function, encoder, coords, values)], dim=-1)
    return (values if feat_last else values.movedim(-1, n_batch)).contiguous()


def _sample_nobatch(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    encoder: Encoder | None = None,
    feat_last: bool = True,
    fill: Fill | None = None,
    prefilter: bool = True,
) -> Tensor:
    """`sample` without a batch: coords ``(*points, d)``, map ``(c, *spatial)``, result ``(*points, c)``."""
    function = "ts.sample.nobatch"
    place = functools.partial(place_single, function)
    check_flag(function, "feat_last", feat_last)
    values, n_batch = walk(function, coords, featmap, mode, padding_mode, align_corners, prefilter, place)
    return finish(function, values, coords, n_batch, encoder, feat_last, fill)


@with_nobatch(_sample_nobatch)
def sample(
    coords: Tensor,
    featmap: Tensor,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    encoder: Encoder | None = None,
    feat_last: bool = True,
    batch_index: Tensor | None = None,
    fill: Fill | None = None,
    prefilter: bool = True,
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
        of any precision: positions are computed in float32 at least. With ``batch_index``, ``(n, d)`` or ``(n, *points, d)``.
    featmap : Tensor
        ``(*batch, c, *spatial)``, any strides. Half-precision maps are summed in float32. Integer and bool maps
        (labels) work with ``mode="nearest"``, bit for bit.
    mode : str or Kernel, default: "bilinear"
        ``"nearest"``; ``"linear"``, also called ``"bilinear"`` and ``"trilinear"``; ``"cubic"``, also called ``"bicubic"`` and
        ``"tricubic"``; interpolating splines ``"bspline2"`` to ``"bspline5"``. Names mean the same at any rank. Or a kernel, of this
        package such as ``ts.interpolation.Cubic(a=-0.5)`` or your own.
    padding_mode : str, Boundary or sequence of them, default: "border"
        What is beyond the edges of the map: the edge pixel (``"border"``), ``"zeros"``, the mirrored map (``"reflection"``), or
        the map again (``"circular"``; its period is its number of pixels). One for all axes or one per axis ``(x, y, ...)``:
        ``("circular", "border")`` for a panorama.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    encoder : callable, optional
        Called with ``coords`` as given; its output ``(*batch, *points, k)`` is cast to the map's dtype and concatenated
        after the sampled features.
    feat_last : bool, default: True
        Features in the last dimension, ready for ``nn.Linear``; ``False`` puts them right after the batch.
    batch_index : Tensor, optional
        ``(n,)``, int64 or int32: which of the maps ``(b, c, *spatial)`` each of the points ``(n, d)`` reads, as `coord.uncertain`
        gives it; or each group of points ``(n, *points, d)``, those in a box for example.
    fill : number, sequence or Tensor, optional
        Result, one number or one per channel, for points that lie outside of the closed ``[-1, 1]`` themselves; what
        ``padding_mode`` puts there only counts for the pixels that points inside look at.
    prefilter : bool, default: True
        For splines, compute the coefficients from the map. ``False`` if `prefilter` did that already.

    Returns
    -------
    Tensor
        ``(*batch, *points, c)``, or ``(*batch, c, *points)`` for ``feat_last=False``; contiguous, the map's dtype. With
        ``batch_index``, ``(n, c)`` or ``(c, n)``, for groups ``(n, *points, c)`` or ``(n, c, *points)``.

    Raises
    ------
    ValueError
        If shapes do not fit, tensors are on different devices, or a name is unknown.
    TypeError
        If coords are not floating-point, or an integer map is asked to be interpolated.

    Notes
    -----
    A NaN coordinate gives NaN, with ``fill`` too (integer maps: ``fill``, else 0). Infinite ones are far outside; with ``"reflection"``
    and ``"circular"`` they have no place and give NaN, or ``fill``. A pixel whose weight is zero has no influence, even if
    it is NaN, and counts as zero in derivatives; splines spread it through their coefficients. Where derivatives jump, at
    pixel centres for ``"linear"``, they are those towards the pixel of the next larger index; the derivative of
    ``"nearest"`` by the coordinates is zero.

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
    place = functools.partial(place_batched, function, batch_index=batch_index)
    check_flag(function, "feat_last", feat_last)
    values, n_batch = walk(function, coords, featmap, mode, padding_mode, align_corners, prefilter, place)
    return finish(function, values, coords, n_batch, encoder, feat_last, fill)


def _check_rank(function: str, coords: Tensor, rank: int) -> None:
    check_coords(function, coords)
    if coords.shape[-1] != rank:
        wanted = f"{rank}-D, (*batch, *points, {rank})"
        remedy = "ts.sample takes coords of any rank."
        raise ValueError(message(function, "coords", wanted, f"shape {tuple(coords.shape)}", remedy))


def _with_rank(call: Callable[_Call, Tensor], function: str, rank: int) -> Callable[_Call, Tensor]:
    @functools.wraps(call)
    def checked(*args: _Call.args, **kwargs: _Call.kwargs) -> Tensor:
        if args or "coords" in kwargs:
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
