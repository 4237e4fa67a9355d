"""Find where a prediction is uncertain, to look there again."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast, overload

import torch
from torch import Tensor

from ._checks import check_choice, check_count, check_flag, check_floating, check_memory, check_number, message
from ._eager import why_not_eager
from ._nobatch import with_nobatch
from .coordinates.arguments import choose_device, dtype_like
from .coordinates.draw import rand
from .coordinates.pixels import axis_indices, pixel_centres
from .layout import hold_size, tensor_to_size
from .sampling import sample

__all__ = ["rand_biased", "uncertain"]

Rule = Literal["binary_logits", "binary_probability", "margin", "max_probability"]
Uncertainty = Rule | Callable[[Tensor], Tensor]
Certainty = Callable[[Tensor], Tensor]
"""From scores ``(..., c)`` to how sure they are ``(...)``; low is uncertain."""
Index = tuple[Tensor | slice, ...]


def _margin(scores: Tensor) -> Tensor:
    top = scores.topk(2, dim=-1).values
    return top[..., 0] - top[..., 1]


_BINARY: dict[str, Certainty] = {
    "binary_logits": lambda scores: scores.squeeze(-1).abs(),
    "binary_probability": lambda scores: (scores.squeeze(-1) - 0.5).abs(),
}
_SEVERAL: dict[str, Certainty] = {"margin": _margin, "max_probability": lambda scores: scores.amax(-1)}


def check_pred(function: str, pred: Tensor, minimum_dims: int, shape: str, argument: str = "pred") -> None:
    """Check a map of scores."""
    check_floating(function, argument, pred, "Give probabilities or logits, not labels.")
    if pred.ndim < minimum_dims or pred.shape[minimum_dims - 2] == 0:
        remedy = "Put classes, at least one, before the spatial dimensions."
        raise ValueError(message(function, argument, f"a map {shape}", f"shape {tuple(pred.shape)}", remedy))


def read_uncertainty(function: str, uncertainty: Uncertainty | None, pred: Tensor, dim: int, argument: str = "pred") -> Certainty:
    """The rule that a name, or nothing, stands for; ``dim`` is where ``pred`` has its classes."""
    if callable(uncertainty):
        return functools.partial(_ask, function, uncertainty)
    n_classes = pred.shape[dim]
    if uncertainty is None:
        uncertainty = "binary_logits" if n_classes == 1 else "margin"
        if n_classes == 1:
            _warn_of_probabilities(function, argument, pred)
    check_choice(function, "uncertainty", uncertainty, [*_BINARY, *_SEVERAL])
    if uncertainty in _BINARY and n_classes != 1:
        remedy = "For several classes there are 'margin' and 'max_probability'."
        raise ValueError(message(function, argument, f"a map of one channel for {uncertainty!r}", f"{n_classes} channels", remedy))
    if uncertainty in _SEVERAL and n_classes < 2:
        remedy = "For a single logit there is 'binary_logits', for a single probability 'binary_probability'."
        raise ValueError(message(function, argument, f"a map of two classes or more for {uncertainty!r}", "1 channel", remedy))
    return (_BINARY | _SEVERAL)[uncertainty]


def _ask(function: str, uncertainty: Callable[[Tensor], Tensor], scores: Tensor) -> Tensor:
    """Minus what a function of the user says of scores."""
    values = uncertainty(scores)
    if not isinstance(values, Tensor) or values.shape != scores.shape[:-1]:
        wanted = f"a callable from scores {tuple(scores.shape)} to a tensor {tuple(scores.shape[:-1])}"
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(message(function, "uncertainty", wanted, got, "Reduce the last dimension."))
    if not values.is_floating_point():
        wanted = "a callable to a floating-point tensor"
        raise TypeError(message(function, "uncertainty", wanted, values.dtype, "Convert its result with .float()."))
    return -values


def _warn_of_probabilities(function: str, argument: str, pred: Tensor) -> None:
    """Warn where one channel looks like probabilities: taken for logits, the surest background would be the most uncertain."""
    if pred.device.type != "cpu" or pred.numel() == 0 or why_not_eager(pred) is not None:
        return
    low, high = (bound.item() for bound in pred.detach().aminmax())
    if 0 <= low <= 0.25 and 0.75 <= high <= 1:
        said = f"{function}: `{argument}` has numbers from {low:.2g} to {high:.2g}, as probabilities have, and is taken for logits."
        remedy = "Pass uncertainty='binary_probability' for probabilities, or 'binary_logits' if they are logits."
        warnings.warn(f"{said} {remedy}", UserWarning, stacklevel=5)


def _choose(candidates: Tensor, maps: Tensor, certainty: Certainty, n: int, align_corners: bool) -> Tensor:
    """The n candidates of each map where it is least certain."""
    found = certainty(sample(candidates, maps, align_corners=align_corners))
    best = found.topk(n, dim=-1, largest=False).indices
    return candidates.take_along_dim(best.unsqueeze(-1), dim=1)


def _rand_biased(
    function: str,
    batch: int,
    n_samples: int,
    pred: Tensor,
    k: float,
    beta: float,
    uncertainty: Uncertainty | None,
    align_corners: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """Coordinates ``(batch, n_samples, d)`` for a prediction ``(batch, c, *spatial)`` or ``(1, c, *spatial)``."""
    n_samples = check_count(function, "n_samples", n_samples)
    check_flag(function, "align_corners", align_corners)
    wanted, remedy = "a finite number of at least 1", "k=3 draws three times the points and keeps the uncertain ones."
    check_number(function, "k", k, wanted, remedy, 1, 2**62 / n_samples)
    remedy = "beta=0.75 chooses three quarters of the points for their uncertainty."
    check_number(function, "beta", beta, "a number from 0 to 1", remedy, 0, 1)
    if pred.shape[0] not in (1, batch):
        remedy = "Pass batch=pred.shape[0]."
        raise ValueError(message(function, "pred", f"a batch of 1 or {batch}", f"shape {tuple(pred.shape)}", remedy))
    certainty = read_uncertainty(function, uncertainty, pred, 1)
    choose_device(function, pred.device, generator)
    maps, rank = pred.detach(), pred.ndim - 2
    check_memory(function, "k", batch * int(k * n_samples) * rank, dtype_like(maps), maps.device, k)

    def draw(count: int) -> Tensor:
        return rand(batch, count, rank, dtype=dtype_like(maps), device=maps.device, generator=generator)

    n_uncertain = int(beta * n_samples)
    chosen = []
    if n_uncertain:
        chosen.append(_choose(draw(int(k * n_samples)), maps, certainty, n_uncertain, align_corners))
    if n_uncertain < n_samples:
        chosen.append(draw(n_samples - n_uncertain))
    return torch.cat(chosen, dim=1)


def _rand_biased_nobatch(
    n_samples: int,
    pred: Tensor,
    k: float = 3.0,
    beta: float = 0.75,
    uncertainty: Uncertainty | None = None,
    align_corners: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`rand_biased` for a prediction ``(c, *spatial)``: coordinates ``(n_samples, d)``."""
    function = "ts.coord.rand_biased.nobatch"
    check_pred(function, pred, 2, "(c, *spatial)")
    return _rand_biased(function, 1, n_samples, pred.unsqueeze(0), k, beta, uncertainty, align_corners, generator).squeeze(0)


@with_nobatch(_rand_biased_nobatch)
def rand_biased(
    batch: int,
    n_samples: int,
    pred: Tensor,
    k: float = 3.0,
    beta: float = 0.75,
    uncertainty: Uncertainty | None = None,
    align_corners: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw coordinates that prefer the uncertain parts of a prediction, to train there.

    ``k * n_samples`` points are drawn uniformly and ``pred`` is sampled there; the ``beta * n_samples`` most uncertain of
    them are kept, and the rest is drawn uniformly, as in PointRend (Kirillov et al., 2020, section 3.1).
    ``rand_biased.nobatch(n_samples, pred, ...)`` and ``batch=0`` take a prediction ``(c, *spatial)``.

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
        Oversampling ratio, at least 1: how many candidates are drawn for each point of the result.
    beta : float, default: 0.75
        Share of the points that are chosen for their uncertainty, from 0 to 1; 0 draws all points uniformly.
    uncertainty : str or callable, optional
        ``"binary_logits"`` and ``"binary_probability"``, for one channel: uncertain is a logit near 0, or a probability near 0.5.
        ``"margin"``, for several: the smaller the gap between the two largest scores, the more uncertain. ``"max_probability"``, for
        several: the lower the largest score. Or a function from scores ``(..., c)`` to uncertainties ``(...)``. Without it,
        ``"binary_logits"`` for one channel and ``"margin"`` for several.
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

    Warns
    -----
    UserWarning
        If nothing is said of ``uncertainty`` and a single channel looks like probabilities (on a CPU, in eager mode).

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> logits = torch.linspace(-3, 3, 64).expand(1, 1, 64, 64)
    >>> coords = ts.coord.rand_biased(1, 1000, logits, beta=1.0)
    >>> bool(coords[..., 0].abs().max() < 0.6)
    True
    """
    function = "ts.coord.rand_biased"
    batch = check_count(function, "batch", batch, minimum=0)
    check_pred(function, pred, 3 if batch else 2, "(batch, c, *spatial)" if batch else "(c, *spatial)")
    maps = pred if batch else pred.unsqueeze(0)
    coords = _rand_biased(function, batch or 1, n_samples, maps, k, beta, uncertainty, align_corners, generator)
    return coords if batch else coords.squeeze(0)


def _uncertain_nobatch(
    pred: Tensor,
    threshold: float = 0.5,
    n: int | None = None,
    uncertainty: Uncertainty | None = None,
    align_corners: bool = False,
) -> tuple[Index, Tensor]:
    """`uncertain` for a prediction ``(c, *spatial)``: coordinates ``(n, d)``, and ``pred[index_coords]`` is ``(c, n)``."""
    function = "ts.coord.uncertain.nobatch"
    check_pred(function, pred, 2, "(c, *spatial)")
    _, spatial, coords = _find(function, pred.unsqueeze(0), threshold, n, uncertainty, align_corners)
    return (slice(None), *spatial), coords


def _find(
    function: str, pred: Tensor, threshold: float, n: int | None, uncertainty: Uncertainty | None, align_corners: bool
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Image ``(n,)``, indices ``(..., y, x)`` and centers ``(n, d)`` of the uncertain pixels of all images."""
    check_flag(function, "align_corners", align_corners)
    remedy = "0.5 finds the pixels whose two best classes differ by less."
    check_number(function, "threshold", threshold, "a finite number", remedy, -sys.float_info.max, sys.float_info.max)
    scores = hold_size(pred.detach(), pred.ndim - 2).movedim(1, -1)
    certainty = read_uncertainty(function, uncertainty, pred, 1)(scores)
    size = tensor_to_size(pred)
    if n is None:
        image, *spatial = (certainty < float(threshold)).nonzero(as_tuple=True)
        axes = spatial[::-1]
    else:
        n = check_count(function, "n", n)
        certainty = certainty.flatten(1)
        if n > certainty.shape[1]:
            raise IndexError(message(function, "n", f"at most the {certainty.shape[1]} pixels of an image", n, "Ask for fewer."))
        flat = certainty.topk(n, dim=-1, largest=False).indices.flatten()
        image = torch.arange(pred.shape[0], device=pred.device).repeat_interleave(n)
        axes = axis_indices(flat, size)
        spatial = axes[::-1]
    return image, spatial, pixel_centres(axes, size, dtype_like(pred), align_corners)


class _Uncertain(Protocol):
    """The type of `uncertain`: what it returns depends on ``return_batch_index``."""

    @overload
    def __call__(
        self,
        pred: Tensor,
        threshold: float = ...,
        n: int | None = ...,
        return_batch_index: Literal[False] = ...,
        uncertainty: Uncertainty | None = ...,
        align_corners: bool = ...,
    ) -> tuple[Index, Tensor]: ...
    @overload
    def __call__(
        self,
        pred: Tensor,
        threshold: float = ...,
        n: int | None = ...,
        *,
        return_batch_index: Literal[True],
        uncertainty: Uncertainty | None = ...,
        align_corners: bool = ...,
    ) -> tuple[Index, Tensor, Tensor]: ...
    @property
    def nobatch(self) -> Callable[..., tuple[Index, Tensor]]: ...


def _overloaded(function: Callable[..., Any]) -> _Uncertain:
    return cast("_Uncertain", with_nobatch(_uncertain_nobatch)(function))


@_overloaded
def uncertain(
    pred: Tensor,
    threshold: float = 0.5,
    n: int | None = None,
    return_batch_index: bool = False,
    uncertainty: Uncertainty | None = None,
    align_corners: bool = False,
) -> tuple[Index, Tensor] | tuple[Index, Tensor, Tensor]:
    """Find the pixels of a prediction that are uncertain, to predict them again at inference.

    ``uncertain.nobatch`` takes a prediction ``(c, *spatial)`` and gives coordinates ``(n, d)``; there,
    ``pred[index_coords] = ts.feat_first.nobatch(refined)`` puts back refined values ``(n, c)``.

    Parameters
    ----------
    pred : Tensor
        Probabilities or scores ``(b, c, *spatial)``, floating-point.
    threshold : float, default: 0.5
        A pixel is uncertain if its certainty, as ``uncertainty`` defines it, is below.
    n : int, optional
        Instead of all pixels below the threshold, the ``n`` most uncertain ones of each image, most uncertain first.
    return_batch_index : bool, default: False
        Give flat points of all images, and the image of each: for batches without padding.
    uncertainty : str or callable, optional
        What certainty is: for one channel ``"binary_logits"``, ``abs(logit)``, or ``"binary_probability"``, ``abs(p - 0.5)``; for several
        ``"margin"``, the gap between the two largest scores, or ``"max_probability"``, the largest score. Or a function from scores
        ``(..., c)`` to uncertainties ``(...)``; certainty is minus that. Without it, ``"binary_logits"`` for one channel and
        ``"margin"`` for several.
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

    Warns
    -----
    UserWarning
        If nothing is said of ``uncertainty`` and a single channel looks like probabilities (on a CPU, in eager mode).

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
    n_images, n_classes = pred.shape[:2]
    if n_images > 1 and n is None and not return_batch_index:
        remedy = "Pass return_batch_index=True for flat points of all images, or n= for the same number in each."
        raise ValueError(message(function, "pred", "one image", f"a batch of {n_images}", remedy))
    image, spatial, coords = _find(function, pred, threshold, n, uncertainty, align_corners)
    if return_batch_index:
        return (image, slice(None), *spatial), coords, image

    # Every channel of every point, image by image and channel by channel: the order of feat_first(refined).flatten().
    n_points = len(image) if n is None else n
    shape = (n_images, n_classes, n_points)
    channel = torch.arange(n_classes, device=pred.device).reshape(1, -1, 1).expand(shape).flatten()
    first, *rest = (axis.reshape(n_images, 1, n_points).expand(shape).flatten() for axis in (image, *spatial))
    return (first, channel, *rest), coords.reshape(n_images, n_points, coords.shape[-1])
