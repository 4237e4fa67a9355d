"""A map as a table with a row of channels per pixel: what is read at points is then read in whole lines of memory."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor


def _columns(maps: Tensor) -> Tensor:
    """Maps ``(m, c, *spatial)`` as ``(m, pixels, c)``, in their own memory wherever that is possible."""
    return maps.reshape(*maps.shape[:2], prod(maps.shape[2:])).transpose(1, 2)


def view_rows(maps: Tensor) -> Tensor | None:
    """Rows ``(m * pixels, c)`` in the memory of maps, if those are channels-last or have one channel."""
    rows = maps.movedim(1, -1)
    if not rows.is_contiguous():
        return None
    # Of one channel, the stride means nothing, and kernels ask for 1.
    return rows.reshape(-1, maps.shape[1]) if maps.shape[1] != 1 else rows.reshape(-1).unsqueeze(-1)


def copy_rows(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows ``(m * pixels, c)`` of maps of any layout: a pass over the map."""
    return _columns(maps).to(dtype).contiguous().reshape(-1, maps.shape[1])


def gather_rows(maps: Tensor, pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows ``(n, c)`` of some pixels, counted through all the maps."""
    rows = view_rows(maps)
    if rows is not None:
        return rows.index_select(0, pixels).to(dtype)
    columns = _columns(maps)
    side = columns.shape[1]
    return columns[pixels // side, pixels % side].to(dtype)


def put_rows(maps: Tensor, pixels: Tensor, rows: Tensor) -> None:
    """Write rows ``(n, c)`` to some pixels, counted through all the maps, which are contiguous or channels-last."""
    columns = _columns(maps)
    side = columns.shape[1]
    columns[pixels // side, pixels % side] = rows


def to_maps(rows: Tensor, like: Tensor) -> Tensor:
    """Rows ``(m * pixels, c)`` as maps of the shape, layout and dtype of others."""
    maps = rows.reshape(like.shape[0], *like.shape[2:], like.shape[1]).movedim(-1, 1).to(like.dtype)
    return maps if view_rows(like) is not None else maps.contiguous()
