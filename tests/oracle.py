"""Interpolation as its definition reads: nested loops over an endless signal, in float64 NumPy.

Nothing here is vectorized, folded or shared with the library: the map is continued by walking pixel by pixel, and each kernel is its
textbook function of the distance.
"""

import itertools
import math

import numpy as np

SUPPORT = {"nearest": 1, "linear": 1, "cubic": 2}


def pixel(index: int, side: int, padding_mode: str, align_corners: bool) -> int | None:
    """The pixel of the map that an endless axis shows at ``index``; None is a zero."""
    if 0 <= index < side:
        return index
    if padding_mode == "zeros":
        return None
    if padding_mode == "border":
        return 0 if index < 0 else side - 1
    if padding_mode == "circular":
        while index < 0:
            index += side
        while index >= side:
            index -= side
        return index
    if side == 1:
        return 0
    while not 0 <= index < side:
        first, last = (0, 2 * (side - 1)) if align_corners else (-1, 2 * side - 1)
        index = first - index if index < 0 else last - index
    return index


def kernel(mode: str, x: float, a: float = -0.75) -> float:
    """Weight of a pixel at distance ``x``."""
    x = abs(x)
    if mode == "linear":
        return max(0.0, 1 - x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def position(x: float, side: int, align_corners: bool) -> float:
    return (x + 1) / 2 * (side - 1) if align_corners else ((x + 1) * side - 1) / 2


def taps(p: float, mode: str, a: float = -0.75) -> list[tuple[int, float]]:
    if mode == "nearest":
        return [(round(p), 1.0)]
    reach = SUPPORT[mode]
    low = math.floor(p)
    return [(i, kernel(mode, p - i, a)) for i in range(low - reach + 1, low + reach + 1)]


def sample_point(point, featmap, mode, padding_mode, align_corners, a=-0.75):
    """Value ``(c,)`` of a map ``(c, *spatial)`` at one point ``(x, y, ...)``."""
    sides = featmap.shape[1:]
    axes = []
    for x, side in zip(reversed(point), sides, strict=True):
        axes.append([(pixel(i, side, padding_mode, align_corners), w) for i, w in taps(position(x, side, align_corners), mode, a)])
    total = np.zeros(featmap.shape[0])
    for combination in itertools.product(*axes):
        where = tuple(i for i, _ in combination)
        if None not in where:
            total += featmap[(slice(None), *where)] * math.prod(w for _, w in combination)
    return total


def sample(coords, featmap, mode, padding_mode, align_corners, a=-0.75):
    """``(b, n, d)``, ``(b, c, *spatial)`` -> ``(b, n, c)``."""
    return np.stack(
        [
            np.stack([sample_point(point, one, mode, padding_mode, align_corners, a) for point in points])
            for points, one in zip(coords.astype(np.float64), featmap.astype(np.float64), strict=True)
        ]
    )
