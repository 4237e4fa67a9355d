"""Where the features are, and how large a map is."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import check_map, check_single_map, check_tensor, message
from ._nobatch import with_nobatch

__all__ = ["feat_first", "feat_last", "tensor_to_size"]


def spatial_size(tensor: Tensor, rank: int) -> tuple[int, ...]:
    """Size ``(w, h, ...)`` of the last dimensions; `torch.jit.trace`, which has tensors for sides, takes them as constants."""
    return tuple(int(side) if isinstance(side, Tensor) else side for side in reversed(tensor.shape[-rank:]))


def hold_size(tensor: Tensor, rank: int) -> Tensor:
    """The tensor itself; a trace by `torch.jit.trace`, whose sides are constants, fails at another size instead of reading elsewhere."""
    if torch.compiler.is_compiling() or not torch._C._is_tracing():
        return tensor
    return tensor.expand(*[-1] * (tensor.ndim - rank), *reversed(spatial_size(tensor, rank)))


def _check_dims(function: str, tensor: Tensor, least: int) -> None:
    check_tensor(function, "tensor", tensor)
    if tensor.ndim < least:
        remedy = "Give it a batch dimension first, tensor.unsqueeze(0)." if least > 1 else "Use tensor.reshape(1)."
        raise ValueError(message(function, "tensor", f"at least {least}-dimensional", f"shape {tuple(tensor.shape)}", remedy))


def _feat_first_nobatch(tensor: Tensor) -> Tensor:
    """`feat_first` without a batch: ``(*points, c)`` to ``(c, *points)``."""
    _check_dims("ts.feat_first.nobatch", tensor, 1)
    return tensor.movedim(-1, 0)


@with_nobatch(_feat_first_nobatch)
def feat_first(tensor: Tensor) -> Tensor:
    """Move the features from the last dimension to dimension 1, right behind the batch.

    ``feat_first.nobatch`` moves them to the first dimension: ``(*points, c)`` to ``(c, *points)``.

    Parameters
    ----------
    tensor : Tensor
        Any dtype, shape ``(b, *points, c)``.

    Returns
    -------
    Tensor
        A view of shape ``(b, c, *points)``.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two dimensions.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.feat_first(torch.zeros(2, 48, 64, 3)).shape
    torch.Size([2, 3, 48, 64])
    """
    _check_dims("ts.feat_first", tensor, 2)
    return tensor.movedim(-1, 1)


def _feat_last_nobatch(tensor: Tensor) -> Tensor:
    """`feat_last` without a batch: ``(c, *points)`` to ``(*points, c)``."""
    _check_dims("ts.feat_last.nobatch", tensor, 1)
    return tensor.movedim(0, -1)


@with_nobatch(_feat_last_nobatch)
def feat_last(tensor: Tensor) -> Tensor:
    """Move the features from dimension 1 to the last dimension, ready for ``nn.Linear``.

    ``feat_last.nobatch`` takes them from the first dimension: ``(c, *points)`` to ``(*points, c)``.

    Parameters
    ----------
    tensor : Tensor
        Any dtype, shape ``(b, c, *points)``.

    Returns
    -------
    Tensor
        A view of shape ``(b, *points, c)``.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two dimensions.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.feat_last(torch.zeros(2, 3, 48, 64)).shape
    torch.Size([2, 48, 64, 3])
    """
    _check_dims("ts.feat_last", tensor, 2)
    return tensor.movedim(1, -1)


def _tensor_to_size_nobatch(tensor: Tensor) -> tuple[int, ...]:
    """`tensor_to_size` for a map ``(c, *spatial)``."""
    check_single_map("ts.tensor_to_size.nobatch", tensor)
    return spatial_size(tensor, tensor.ndim - 1)


@with_nobatch(_tensor_to_size_nobatch)
def tensor_to_size(tensor: Tensor) -> tuple[int, ...]:
    """Size of a map in the order of its coordinates.

    ``tensor_to_size.nobatch`` takes a map ``(c, *spatial)``, as a photograph in a ``Dataset`` is.

    Parameters
    ----------
    tensor : Tensor
        A map ``(b, c, *spatial)`` of any dtype, with exactly one batch dimension.

    Returns
    -------
    tuple of int
        ``(w,)``, ``(w, h)``, ``(w, h, d)``, ...: the spatial dimensions reversed.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than three dimensions.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.tensor_to_size(torch.zeros(1, 3, 480, 640))
    (640, 480)
    >>> ts.tensor_to_size.nobatch(torch.zeros(3, 480, 640))
    (640, 480)
    """
    check_map("ts.tensor_to_size", "tensor", tensor)
    return spatial_size(tensor, tensor.ndim - 2)
