"""Find where a prediction is uncertain, to look there again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, overload

import torch
from torch import Tensor

from ._checks import check_choice, check_count, check_flag, check_tensor, message
from .coordinates.arguments import choose_device, dtype_like
from .coordinates.draw import rand
from .coordinates.pixels import axis_indices, pixel_centres
from .layout import tensor_to_size
from .sampling import sample

__all__ = ["rand_biased", "uncertain"]

Uncertainty = Literal["max_probability", "binary_logits", "margin"]
Index = tuple[Tensor | slice, ...]


def _max_probability(scores: Tensor) -> Tensor:
    return scores.amax(-1) if scores.shape[-1] > 1 else scores.squeeze(-1)


def _binary_logits(scores: Tensor) -> Tensor:
    return scores.squeeze(-1).abs()


def _margin(scores: Tensor) -> Tensor:
    top = scores.topk(2, dim=-1).values
    return top[..., 0] - top[..., 1]


_CERTAINTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "max_probability": _max_probability,
    "binary_logits": _binary_logits,
    "margin": _margin,
}


def check_pred(function: str, pred: Tensor, minimum_dims: int, shape: str, argument: str = "pred") -> None:
    """Check a map of scores."""
    check_tensor(function, argument, pred)
    if not pred.is_floating_point():
        remedy = "Give probabilities or logits, not labels."
        raise TypeError(message(function, argument, "a floating-point tensor", pred.dtype, remedy))
    if pred.ndim < minimum_dims or pred.shape[minimum_dims - 2] == 0:
        remedy = "Put classes, at least one, before the spatial dimensions."
        raise ValueError(message(function, argument, f"a map {shape}", f"shape {tuple(pred.shape)}", remedy))


def certainty_of(function: str, uncertainty: Uncertainty | Callable[[Tensor], Tensor], scores: Tensor, argument: str = "pred") -> Tensor:
    """How sure the scores ``(..., c)`` are, ``(...)``; low is uncertain."""
    if callable(uncertainty):
        values = uncertainty(scores)
        if not isinstance(values, Tensor) or values.shape != scores.shape[:-1]:
            wanted = f"a callable from scores {tuple(scores.shape)} to a tensor {tuple(scores.shape[:-1])}"
            got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(message(function, "uncertainty", wanted, got, "Reduce the last dimension."))
        if not values.is_floating_point():
            wanted = "a callable to a floating-point tensor"
            raise TypeError(message(function, "uncertainty", wanted, values.dtype, "Convert its result with .float()."))
        return -values
    check_choice(function, "uncertainty", uncertainty, list(_CERTAINTIES))
    n_classes = scores.shape[-1]
    if uncertainty == "binary_logits" and n_classes != 1:
        remedy = "For several classes there are 'margin' and 'max_probability'."
        raise ValueError(message(function, argument, "a map of one channel for 'binary_logits'", f"{n_classes} channels", remedy))
    if uncertainty == "margin" and n_classes < 2:
        remedy = "For a single logit there is 'binary_logits'."
        raise ValueError(message(function, argument, "a map of two classes or more for 'margin'", f"{n_classes} channel", remedy))
    return _CERTAINTIES[uncertainty](scores)


def _check_fraction(function: str, argument: str, value: float, low: float, high: float, remedy: str) -> None:
    wanted = f"a number from {low} to {high}" if high < math.inf else f"a finite number of at least {low}" if low > -math.inf else "finite"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(message(function, argument, wanted, repr(value), remedy))
    if not (low <= value <= high and math.isfinite(value)):
        raise ValueError(message(function, argument, wanted, value, remedy))


def rand_biased(
    batch: int,
    n_samples: int,
    pred: Tensor,
    k: float = 3.0,
    beta: float = 0.75,
    uncertainty: Uncertainty | Callable[[Tensor], Tensor] = "max_probability",
    align_corners: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw coordinates that prefer the uncertain parts of a prediction, to train there.

    ``k * n_samples`` points are drawn uniformly and ``pred`` is sampled there; the ``beta * n_samples`` most uncertain of
    them are kept, and the rest is drawn uniformly, as in PointRend (Kirillov et al., 2020, section 3.1).

    Parameters
    ----------
    batch : int
        Number of maps; 0 for a prediction and coordinates without a batch dimension.
    n_samples : int
        Number of points per map.
    pred : Tensor
        Prediction ``(batch, c, *spatial)``, or ``(1, c, *spatial)`` for all; ``(c, *spatial)`` for ``batch=0``. Floating-point; no
        gradient flows into it.
    k : float, default: 3.0
        Oversampling ratio, at least 1; 1 draws uniformly.
    beta : float, default: 0.75
        Share of the points that are chosen for their uncertainty, from 0 to 1.
    uncertainty : str or callable, default: "max_probability"
        ``"max_probability"``: the lower the largest of the ``c`` scores, the more uncertain. ``"binary_logits"``: ``-abs(logit)``,
        for one channel. ``"margin"``: the smaller the gap between the two largest scores. Or a function from scores
        ``(..., c)`` to uncertainties ``(...)``.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.
    generator : torch.Generator, optional
        Source of the random numbers.

    Returns
    -------
    Tensor
        Normalized coordinates ``(batch, n_samples, d)`` on the device of ``pred``, float64 for a double map, else float32. The
        uncertain ones come first, ``int(beta * n_samples)`` of them.

    Raises
    ------
    ValueError, TypeError
        If a count, ``k`` or ``beta`` is out of range, or ``pred`` does not fit ``batch`` or ``uncertainty``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> logits = torch.linspace(-3, 3, 64).expand(1, 1, 64, 64)
    >>> coords = ts.coord.rand_biased(1, 1000, logits, uncertainty="binary_logits", beta=1.0)
    >>> bool(coords[..., 0].abs().max() < 0.6)
    True
    """
    function = "ts.coord.rand_biased"
    check_count(function, "batch", batch, minimum=0)
    check_count(function, "n_samples", n_samples)
    check_flag(function, "align_corners", align_corners)
    _check_fraction(function, "k", k, 1, math.inf, "k=3 draws three times the points and keeps the uncertain ones.")
    _check_fraction(function, "beta", beta, 0, 1, "beta=0.75 chooses three quarters of the points for their uncertainty.")
    check_pred(function, pred, 3 if batch else 2, "(batch, c, *spatial)" if batch else "(c, *spatial)")
    maps = pred.detach() if batch else pred.detach().unsqueeze(0)
    if maps.shape[0] not in (1, batch or 1):
        remedy = "Pass batch=pred.shape[0]."
        raise ValueError(message(function, "pred", f"a batch of 1 or {batch}", f"shape {tuple(pred.shape)}", remedy))
    choose_device(function, maps.device, generator)

    def draw(count: int) -> Tensor:
        return rand(batch or 1, count, maps.ndim - 2, dtype=dtype_like(maps), device=maps.device, generator=generator)

    n_uncertain = int(beta * n_samples)
    chosen = []
    if n_uncertain:
        candidates = draw(int(k * n_samples))
        certainty = certainty_of(function, uncertainty, sample(candidates, maps, align_corners=align_corners))
        best = certainty.topk(n_uncertain, dim=-1, largest=False).indices
        chosen.append(candidates.take_along_dim(best.unsqueeze(-1), dim=1))
    if n_uncertain < n_samples:
        chosen.append(draw(n_samples - n_uncertain))
    coords = torch.cat(chosen, dim=1)
    return coords if batch else coords.squeeze(0)


@overload
def uncertain(
    pred: Tensor,
    threshold: float = ...,
    n: int | None = ...,
    return_batch_index: Literal[False] = ...,
    uncertainty: Uncertainty | Callable[[Tensor], Tensor] = ...,
    align_corners: bool = ...,
) -> tuple[Index, Tensor]: ...
@overload
def uncertain(
    pred: Tensor,
    threshold: float = ...,
    n: int | None = ...,
    *,
    return_batch_index: Literal[True],
    uncertainty: Uncertainty | Callable[[Tensor], Tensor] = ...,
    align_corners: bool = ...,
) -> tuple[Index, Tensor, Tensor]: ...
def uncertain(
    pred: Tensor,
    threshold: float = 0.5,
    n: int | None = None,
    return_batch_index: bool = False,
    uncertainty: Uncertainty | Callable[[Tensor], Tensor] = "max_probability",
    align_corners: bool = False,
) -> tuple[Index, Tensor] | tuple[Index, Tensor, Tensor]:
    """Find the pixels of a prediction that are uncertain, to predict them again at inference.

    Parameters
    ----------
    pred : Tensor
        Probabilities or scores ``(b, c, *spatial)``, floating-point.
    threshold : float, default: 0.5
        A pixel is uncertain if its certainty is below: its largest score, or what ``uncertainty`` takes for it.
    n : int, optional
        Instead of all pixels below the threshold, the ``n`` most uncertain ones of each image, most uncertain first.
    return_batch_index : bool, default: False
        Give flat points of all images, and the image of each: for batches without padding.
    uncertainty : str or callable, default: "max_probability"
        ``"max_probability"``: certainty is the largest of the ``c`` scores. ``"binary_logits"``: ``abs(logit)``, for one channel.
        ``"margin"``: the gap between the two largest scores. Or a function from scores ``(..., c)`` to uncertainties
        ``(...)``; certainty is minus that.
    align_corners : bool, default: False
        What -1 and 1 are: the outer edges of the map or (``True``) the centres of its first and last pixels.

    Returns
    -------
    index_coords : tuple
        Index into ``pred``. Without ``return_batch_index``, ``pred[index_coords] = ts.feat_first(refined).flatten()`` puts back refined
        values ``(b, n, c)``; with it, ``pred[index_coords] = refined`` puts back ``(n, c)``.
    norm_coords : Tensor
        Normalized pixel centres: ``(1, n, d)`` for one image, ``(b, n, d)`` with ``n=``; with ``return_batch_index``, flat ``(n, d)`` for
        all images together. float64 for a double ``pred``, else float32.
    batch_index : Tensor
        Only with ``return_batch_index``: the image of each point ``(n,)``, as `sample` takes it.

    Raises
    ------
    ValueError
        If ``pred`` has several images, which may have different numbers of uncertain pixels, and neither ``n`` nor
        ``return_batch_index`` is given.
    IndexError
        If ``n`` is more than there are pixels.
    TypeError
        If ``pred`` is not floating-point.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> pred = torch.tensor([[[[0.9, 0.4]], [[0.1, 0.3]], [[0.0, 0.3]]]])
    >>> index_coords, coords = ts.coord.uncertain(pred)
    >>> coords
    tensor([[[0.5000, 0.0000]]])
    >>> pred[index_coords]
    tensor([0.4000, 0.3000, 0.3000])
    >>> index_coords, coords, batch_index = ts.coord.uncertain(pred, n=1, return_batch_index=True)
    >>> ts.sample(coords, pred, batch_index=batch_index)
    tensor([[0.4000, 0.3000, 0.3000]])
    """
    function = "ts.coord.uncertain"
    check_pred(function, pred, 3, "(b, c, *spatial)")
    check_flag(function, "return_batch_index", return_batch_index)
    check_flag(function, "align_corners", align_corners)
    _check_fraction(function, "threshold", threshold, -math.inf, math.inf, "0.5 finds the pixels without a class of its own half.")
    n_images, n_classes = pred.shape[:2]
    if n_images > 1 and n is None and not return_batch_index:
        remedy = "Pass return_batch_index=True for flat points of all images, or n= for the same number in each."
        raise ValueError(message(function, "pred", "one image", f"a batch of {n_images}", remedy))
    certainty = certainty_of(function, uncertainty, pred.detach().movedim(1, -1))
    size = tensor_to_size(pred)
    if n is None:
        image, *spatial = (certainty < threshold).nonzero(as_tuple=True)
        axes = spatial[::-1]
    else:
        check_count(function, "n", n)
        certainty = certainty.flatten(1)
        if n > certainty.shape[1]:
            raise IndexError(message(function, "n", f"at most the {certainty.shape[1]} pixels of an image", n, "Ask for fewer."))
        flat = certainty.topk(n, dim=-1, largest=False).indices.flatten()
        image = torch.arange(n_images, device=pred.device).repeat_interleave(n)
        axes = axis_indices(flat, size)
        spatial = axes[::-1]
    coords = pixel_centres(axes, size, dtype_like(pred), align_corners)
    if return_batch_index:
        return (image, slice(None), *spatial), coords, image

    # Every channel of every point, image by image and channel by channel: the order of feat_first(refined).flatten().
    n_points = len(image) if n is None else n
    shape = (n_images, n_classes, n_points)
    channel = torch.arange(n_classes, device=pred.device).reshape(1, -1, 1).expand(shape).flatten()
    first, *rest = (axis.reshape(n_images, 1, n_points).expand(shape).flatten() for axis in (image, *spatial))
    return (first, channel, *rest), coords.reshape(n_images, n_points, len(size))
