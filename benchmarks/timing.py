"""How time is taken: contenders in turn, in the same run, and the numbers that are made of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

Call = Callable[[], object]
Timer = Callable[[Call], float]

DEFINITION = (
    "Numbers are medians ± half the distance between the quartiles, over rounds; in a round each contender is called once, in an order that"
    " rotates, and its ratio is of that round: its time / ours. Above 1 we are faster."
)


@dataclass(frozen=True)
class Stat:
    """Median of a sample, and half the distance between its quartiles."""

    median: float
    spread: float
    rounds: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def stat(sample: Sequence[float]) -> Stat:
    if len(sample) < 2:
        return Stat(sample[0], 0.0, 1)
    low, middle, high = statistics.quantiles(sample, n=4, method="inclusive")
    return Stat(middle, (high - low) / 2, len(sample))


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Stat:
    """Of their times to ours, round by round."""
    return stat([their / our for their, our in zip(theirs, ours, strict=True)])


def wall_timer(call: Call) -> float:
    """Seconds of a call on the CPU; what it returns is let go after the clock stops."""
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds


class DeviceTimer:
    """Seconds of a call on a CUDA device, by its own events, starting with nothing of the inputs in its cache.

    Before the call a buffer larger than the L2 cache is overwritten, and the device is kept busy long enough for its work to be queued up,
    so that the launching of kernels is not counted; unless the call waits for the device itself.
    """

    LEAD_CYCLES = 30_000_000

    def __init__(self, device: torch.device) -> None:
        cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
        self.buffer = torch.empty(max(4 * cache, 2**28), dtype=torch.uint8, device=device)
        self.device = device

    def __call__(self, call: Call) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        self.buffer.zero_()
        torch.cuda._sleep(self.LEAD_CYCLES)
        start.record()
        result = call()
        end.record()
        end.synchronize()
        del result
        return start.elapsed_time(end) / 1000


def make_timer(device: torch.device) -> Timer:
    return DeviceTimer(device) if device.type == "cuda" else wall_timer


@dataclass(frozen=True)
class Budget:
    """How long contenders are timed together: rounds until the seconds are over."""

    seconds: float
    warmup: int = 1
    fewest: int = 3
    most: int = 500


def interleave(
    calls: Mapping[str, Call],
    budget: Budget,
    timer: Timer = wall_timer,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds per round of each contender, all called once per round, after rounds that do not count."""
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(budget.warmup):
            for name in names:
                timer(calls[name])
        start, number = clock(), 0
        while number < budget.fewest or (number < budget.most and clock() - start < budget.seconds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                times[name].append(timer(calls[name]))
            number += 1
    finally:
        if collecting:
            gc.enable()
    return times
