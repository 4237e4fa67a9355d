"""How much memory a call holds at its peak, besides its inputs, and how much it may."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from .competitors import BARE, OURS, main_contenders
from .roofline import map_bytes
from .rows import COORDS, FIRST, FORWARD, Row, make_inputs
from .timing import Call

# The profiler's own messages, which would tear up the progress bar.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

DEFINITION = (
    "Most bytes that a call holds at a time besides its inputs: forward + backward(map, coords), labels forward only. Each allocation of"
    " PyTorch is counted, by its profiler (CPU) or its allocator (CUDA). Budget: what grid_sample with permute and contiguous holds, in its"
    " better layout, plus an index of 8 bytes and a weight per point and tap, plus a copy of a channels-first map."
)


def running_peak(changes: list[int]) -> int:
    """Highest sum of allocations (positive) and releases (negative) so far."""
    peak = held = 0
    for change in changes:
        held += change
        peak = max(peak, held)
    return peak


def peak_bytes(call: Call, device: torch.device) -> int:
    """Most bytes held during a call, which is made once before to warm up."""
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    # The summary that is public adds up changes per operator, which hides peaks in between; these are the single events.
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return running_peak([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])


def budget_bytes(row: Row, layout: str, grid_sample: int) -> int:
    """What we may hold, see `DEFINITION`."""
    per_tap = 8 + row.dtype.itemsize
    return grid_sample + row.n_points * row.taps * per_tap + (map_bytes(row) if layout == FIRST else 0)


def measure(row: Row, layout: str, device: torch.device) -> dict[str, Any]:
    """One line of the table."""
    inputs = make_inputs(row, layout, device)
    work = FORWARD if row.labels else COORDS
    peaks: dict[str, int] = {}
    for contender in main_contenders(row, inputs, layout):
        if not contender.name.endswith(BARE):
            peaks[contender.name] = peak_bytes(contender.call(work, inputs.grads), device)
    ours = peaks.pop(OURS)
    allowed = budget_bytes(row, layout, min(peaks.values()))
    return {"row": row.name, "layout": layout, "work": work, "ours": ours, **peaks, "budget": allowed, "within": ours <= allowed}
