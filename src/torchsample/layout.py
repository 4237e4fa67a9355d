"""Where the features are, and how large a map is."""

from __future__ import annotations

from torch import Tensor

from ._checks import check_map, check_tensor, message

__all__ = ["feat_first", "feat_last", "tensor_to_size"]


def _check_dims(function: str, tensor: Tensor) -> None:
    check_tensor(function, "tensor", tensor)
    if tensor.ndim < 2:
        remedy = "Give it a batch dimension first: tensor.unsqueeze(0)."
        raise ValueError(message(function, "tensor", "at least 2-dimensional", f"shape {tuple(tensor.shape)}", remedy))


def feat_first(tensor: Tensor) -> Tensor:
    """Move the features from the last dimension to dimension 1, right behind the batch.

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
    _check_dims("ts.feat_first", tensor)
    return tensor.movedim(-1, 1)


def feat_last(tensor: Tensor) -> Tensor:
    """Move the features from dimension 1 to the last dimension, ready for ``nn.Linear``.

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
    _check_dims("ts.feat_last", tensor)
    return tensor.movedim(1, -1)


def tensor_to_size(tensor: Tensor) -> tuple[int, ...]:
    """Size of a map in the order of its coordinates.

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
    """
    check_map("ts.tensor_to_size", "tensor", tensor)
    return tuple(reversed(tensor.shape[2:]))
