"""How fast it could be: the bytes that must move, over the speed at which this machine copies."""

from __future__ import annotations

import math

import torch

from .rows import FORWARD, Row
from .timing import Budget, Stat, Timer, interleave, stat

FORMULA = (
    "Roofline: the share that we reach of the speed of a large `copy_` (bytes read + written over its median time, in this run), if each"
    " tap moved a line of its own. Forward: points x taps x line + output, with line = channels x itemsize. A backward adds the incoming"
    " gradient (output), the gradient of the map (map) and points x taps x line again. Lines that a cache already holds count, too: more"
    " than 100 % is possible."
)


def line_bytes(row: Row) -> int:
    """All channels of a pixel."""
    return row.shape[1] * row.dtype.itemsize


def output_bytes(row: Row) -> int:
    return row.n_points * line_bytes(row)


def map_bytes(row: Row) -> int:
    return math.prod(row.shape) * row.dtype.itemsize


def bytes_moved(row: Row, work: str) -> int:
    """Bytes that must move, see `FORMULA`; the gradient of the coords is not counted."""
    lines = row.n_points * row.taps * line_bytes(row)
    forward = lines + output_bytes(row)
    if work == FORWARD:
        return forward
    return forward + output_bytes(row) + map_bytes(row) + lines


def fraction(moved: int, bytes_per_second: float, seconds: float) -> float:
    return moved / bytes_per_second / seconds


def copy_bandwidth(device: torch.device, n_bytes: int, timer: Timer) -> tuple[float, Stat]:
    """Bytes read and written per second of `copy_`, and how long a copy took."""
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    seconds = stat(interleave({"copy_": lambda: target.copy_(source)}, Budget(seconds=2, warmup=2, fewest=5, most=50), timer)["copy_"])
    return 2 * source.nbytes / seconds.median, seconds
