"""Sample several maps at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_flag, message
from ..interpolation.kernels import Kernel
from .checks import Mode, PaddingMode, place_batched
from .sample import walk


def sample_levels(
    coords: Tensor,
    featmaps: Sequence[Tensor],
    mode: Mode | Kernel = "bilinear",
    padding_mode: PaddingMode = "border",
    align_corners: bool = False,
    feat_last: bool = True,
    batch_index: Tensor | None = None,
) -> Tensor:
    """Sample several maps at the same coordinates, and concatenate their features.

    Maps may have any size and number of channels, as the levels of a feature pyramid do: normalized coordinates are the same places in all.

    Parameters
    ----------
    coords : Tensor
        Normalized coordinates, as in `sample`.
    featmaps : sequence of Tensor
        Maps ``(*batch, c_i, *spatial_i)``, at least one.
    mode : str or Kernel, default: "bilinear"
        As in `sample`.
    padding_mode : str, Boundary or sequence of them, default: "border"
        As in `sample`.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the maps or (``True``) the centres of their first and last pixels.
    feat_last : bool, default: True
        Features in the last dimension; ``False`` puts them right after the batch.
    batch_index : Tensor, optional
        As in `sample`.

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
    """
    function = "ts.sample_levels"
    if isinstance(featmaps, Tensor) or not isinstance(featmaps, Sequence) or not featmaps:
        got = "a tensor" if isinstance(featmaps, Tensor) else repr(featmaps)
        raise TypeError(message(function, "featmaps", "a sequence of maps, at least one", got, "For a single map there is ts.sample."))
    check_flag(function, "feat_last", feat_last)
    place = functools.partial(place_batched, function, batch_index=batch_index)
    values = [walk(function, coords, featmap, mode, padding_mode, align_corners, None, True, None, True, place) for featmap in featmaps]
    n_batch = 0 if batch_index is not None else max(featmap.ndim for featmap in featmaps) - 1 - coords.shape[-1]
    # Maps of different batches: each has as many points as all of them together.
    points = [next((side for side in sides if side != 1), 1) for sides in zip(*(each.shape[:-1] for each in values), strict=True)]
    whole = torch.cat([each.expand(*points, -1) for each in values], dim=-1)
    return whole if feat_last else whole.movedim(-1, n_batch).contiguous()
