"""Prefilter: from the pixels of a map to the coefficients that a B-spline weighs, one axis at a time.

The filter is the inverse of the B-spline sampled at the integers. Its impulse response is a sum of decaying exponentials, one
per pole, so it is a short symmetric sum over the map as its boundary continues it; no recursion, no matrix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .boundary import Boundary
from .kernels import Kernel


def _reach(poles: tuple[float, ...], precision: float) -> int:
    """How many pixels away the filter's response has decayed to ``precision``."""
    return math.ceil(math.log(precision) / math.log(max([abs(pole) for pole in poles])))


def _response(poles: tuple[float, ...], reach: int) -> list[float]:
    """Impulse response at 0, 1, ..., ``reach``: partial fractions of the filter, whose gain at frequency zero is one."""
    residues = []
    for pole in poles:
        others = math.prod([(pole - other) * (pole - 1 / other) for other in poles if other != pole])
        residues.append(pole ** (len(poles) - 1) / ((pole - 1 / pole) * others))
    taps = [sum([residue * pole**k for residue, pole in zip(residues, poles, strict=True)]) for k in range(reach + 1)]
    gain = math.prod([(1 - pole) * (1 - 1 / pole) for pole in poles])
    return [tap * gain for tap in taps]


def margin(kernel: Kernel, boundary: Boundary) -> int:
    """Pixels that a filtered map has beyond each end of an axis.

    Beyond an edge that the map does not continue by its own pixels, coefficients only decay towards what they would be far outside:
    to 1e-8 of it within the margin.
    """
    return _reach(kernel.poles, 1e-8) if kernel.poles and boundary.endless else 0


def _filter(signal: Tensor, axis: int, response: list[float]) -> Tensor:
    """Symmetric filter of an axis that is ``2 * reach`` longer than the result."""
    reach = len(response) - 1
    if torch.compiler.is_compiling():
        # One reduction, which a compiler fuses; in eager mode it would hold every window in memory.
        window = signal.unfold(axis, 2 * reach + 1, 1)
        return (window * window.new_tensor([*response[:0:-1], *response])).sum(-1)
    side = signal.shape[axis] - 2 * reach
    total = response[0] * signal.narrow(axis, reach, side)
    for k, tap in enumerate(response[1:], start=1):
        total = total + tap * (signal.narrow(axis, reach - k, side) + signal.narrow(axis, reach + k, side))
    return total


def _continuation(side: int, beyond: int, boundary: Boundary, align_corners: bool, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """Which pixels an axis shows from ``beyond`` pixels before its first to as many behind its last."""
    return boundary.resolve(torch.arange(-beyond, side + beyond, device=like.device), side, align_corners)


def _along(mask: Tensor, axis: int, ndim: int) -> Tensor:
    return mask.reshape(-1, *[1] * (ndim - 1 - axis))


def _precision(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps


def to_coefficients(featmap: Tensor, axis: int, kernel: Kernel, boundary: Boundary, align_corners: bool) -> Tensor:
    """Coefficients of a map along one axis, with the margin on both sides; float32 or wider."""
    response = _response(kernel.poles, _reach(kernel.poles, _precision(featmap)))
    beyond = len(response) - 1 + margin(kernel, boundary)
    index, counts = _continuation(featmap.shape[axis], beyond, boundary, align_corners, featmap)
    signal = featmap.index_select(axis, index)
    if counts is not None:
        signal = signal.masked_fill(~_along(counts, axis, featmap.ndim), 0)
    return _filter(signal, axis, response)


def from_coefficients(coefficients: Tensor, axis: int, side: int, kernel: Kernel, boundary: Boundary, align_corners: bool) -> Tensor:
    """The adjoint of `to_coefficients`: back to ``side`` pixels."""
    response = _response(kernel.poles, _reach(kernel.poles, _precision(coefficients)))
    reach = len(response) - 1
    beyond = reach + margin(kernel, boundary)
    shape = list(coefficients.shape)
    shape[axis] = 2 * reach
    zeros = coefficients.new_zeros(shape)
    signal = _filter(torch.cat([zeros, coefficients, zeros], dim=axis), axis, response)
    index, counts = _continuation(side, beyond, boundary, align_corners, coefficients)
    if counts is not None:
        signal = signal.masked_fill(~_along(counts, axis, signal.ndim), 0)
    shape[axis] = side
    return coefficients.new_zeros(shape).index_add(axis, index, signal)
