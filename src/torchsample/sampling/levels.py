"""Sample several maps at once."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from .._checks import check_flag, describe, message
from .._nobatch import with_nobatch
from ..interpolation.kernels import Kernel
from .checks import Mode, PaddingMode, Placing, place_batched, place_single
from .sample import Encoder, Fill, finish, walk

Levels = Sequence[Tensor] | Mapping[str, Tensor]


def _read_levels(function: str, featmaps: Levels) -> Iterator[tuple[object, Tensor]]:
    """Maps and their names: keys or numbers."""
    if isinstance(featmaps, (Tensor, str, bytes)) or not isinstance(featmaps, (Sequence, Mapping)) or not featmaps:
        wanted = "a sequence or dict of maps, at least one"
        raise TypeError(message(function, "featmaps", wanted, describe(featmaps), "For a single map there is ts.sample."))
    return iter(featmaps.items() if isinstance(featmaps, Mapping) else enumerate(featmaps))


def _sample_levels(
    function: str,
    coords: Tensor,
    featmaps: Levels,
    mode: str | Kernel,
    padding_mode: PaddingMode,
    align_corners: bool,
    encoder: Encoder | None,
    feat_last: bool,
    fill: Fill | None,
    place: Placing,
) -> Tensor:
    levels = _read_levels(function, featmaps)
    check_flag(function, "feat_last", feat_last)
    values, n_batch = [], 0
    for name, featmap in levels:
        try:
            level, dims = walk(function, coords, featmap, mode, padding_mode, align_corners, True, place)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("`featmap`", f"`featmaps[{name!r}]`")) from error
        values.append(level)
        n_batch = max(n_batch, dims)
    # Maps of different batches: each has as many points as all of them together.
    points = [next((side for side in sides if side != 1), 1) for sides in zip(*(each.shape[:-1] for each in values), strict=True)]
    whole = torch.cat([each.expand(*points, -1) for each in values], dim=-1)
    return finish(function, whole, coords, n_batch, encoder, feat_last, fill)


def _sample_levels_nobatch(
    coords: Tensor,
    featmaps: Levels,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    encoder: Encoder | None = None,
    feat_last: bool = True,
    fill: Fill | None = None,
) -> Tensor:
    """`sample_levels` without a batch: coords ``(*points, d)``, maps ``(c, *spatial)``, result ``(*points, c_1 + c_2 + ...)``."""
    function = "ts.sample_levels.nobatch"
    place = functools.partial(place_single, function)
    return _sample_levels(function, coords, featmaps, mode, padding_mode, align_corners, encoder, feat_last, fill, place)


@with_nobatch(_sample_levels_nobatch)
def sample_levels(
    coords: Tensor,
    featmaps: Levels,
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    encoder: Encoder | None = None,
    feat_last: bool = True,
    batch_index: Tensor | None = None,
    fill: Fill | None = None,
) -> Tensor:
    """Sample several maps at the same coordinates, and concatenate their features.

    Maps may have any size and number of channels, as the levels of a feature pyramid do: normalized coordinates are the same places in all.
    ``sample_levels.nobatch`` takes coords ``(*points, d)`` and maps ``(c, *spatial)``.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates, as in `sample`.
    featmaps : sequence of Tensor, or dict of them
        Maps ``(*batch, c_i, *spatial_i)``, at least one; those of a dict in its order.
    mode : str or Kernel, default: "bilinear"
        As in `sample`.
    padding_mode : str, Boundary or sequence of them, default: "border"
        As in `sample`.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the maps or (``True``) the centres of their first and last pixels.
    encoder : callable, optional
        As in `sample`: its features of ``coords`` stand once, behind those of all maps.
    feat_last : bool, default: True
        Features in the last dimension; ``False`` puts them right after the batch.
    batch_index : Tensor, optional
        As in `sample`.
    fill : number, sequence or Tensor, optional
        As in `sample`: one number, or one for each channel of all maps together, for points outside.

    Returns
    -------
    Tensor
        ``(*batch, *points, c_1 + c_2 + ...)``, contiguous.

    Raises
    ------
    ValueError, TypeError
        As `sample`, and if there is no map.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> pyramid = [torch.rand(2, 16, 64, 64), torch.rand(2, 32, 32, 32), torch.rand(2, 64, 16, 16)]
    >>> ts.sample_levels(ts.coord.rand(2, 196), pyramid).shape
    torch.Size([2, 196, 112])
    >>> ts.sample_levels(ts.coord.rand(2, 196), {"fine": pyramid[0], "coarse": pyramid[2]}, encoder=ts.encoding.gamma).shape
    torch.Size([2, 196, 120])
    """
    function = "ts.sample_levels"
    place = functools.partial(place_batched, function, batch_index=batch_index)
    return _sample_levels(function, coords, featmaps, mode, padding_mode, align_corners, encoder, feat_last, fill, place)
