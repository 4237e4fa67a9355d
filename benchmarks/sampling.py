"""Time the rows: admit the contenders that agree with us, let them take turns, make the numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .agreement import Answers, answers, disagreement
from .competitors import BARE, MAIN, OTHERS, OURS, Contender, main_contenders, other_contender
from .roofline import bytes_moved, fraction
from .rows import Inputs, Row, make_inputs, matches
from .timing import Budget, Timer, interleave, ratio, stat


@dataclass(frozen=True)
class Settings:
    """What all rows have in common."""

    device: torch.device
    budget: Budget
    timer: Timer
    bandwidth: float
    against: Sequence[str] = ("*",)
    """Globs of the other libraries' names."""
    compiled: bool = False
    slowest: float = 20.0
    """Seconds of a call from which on another library is left out."""


@dataclass
class Admitted:
    """Who may be timed, why others may not, and why nobody may."""

    contenders: list[Contender] = field(default_factory=list)
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    failure: str | None = None


def why(problem: Exception) -> str:
    text = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {text[0] if text else 'no message'}"[:200]


def admit_main(contenders: Iterator[Contender], row: Row, inputs: Inputs) -> tuple[Admitted, Answers | None]:
    """Ours and `grid_sample`: if they disagree, or one of them fails, nothing of the row is timed."""
    admitted = Admitted()
    ours: Answers | None = None
    for contender in contenders:
        try:
            found = answers(contender, row, inputs.grads)
        except Exception as problem:
            admitted.failure = f"{contender.name} raised {why(problem)}"
            return admitted, None
        if ours is None:
            ours = found
        elif (wrong := disagreement(ours, found, row)) is not None:
            admitted.failure = f"{OURS} and {contender.name} disagree: {wrong}"
            return admitted, None
        admitted.contenders.append(contender)
    return admitted, ours


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def refusal(make: Callable[[], Contender], row: Row, inputs: Inputs, ours: Answers, slowest: float) -> Contender | dict[str, str]:
    """Another library's contender, or why it is not timed."""
    try:
        contender = make()
        found: list[Answers] = []
        device = inputs.featmap.device
        # The first call may compile something; a slow one gets a second chance.
        for _ in range(2):
            seconds = _seconds(lambda: found.append(answers(contender, row, inputs.grads)), device)
            if seconds <= slowest:
                break
        else:
            return {"status": "slow", "reason": f"{seconds:.0f} s per call, more than {slowest:.0f} s"}
        wrong = disagreement(ours, found[-1], row)
    except ImportError as problem:
        return {"status": "absent", "reason": str(problem)}
    except LookupError as problem:
        return {"status": "not applicable", "reason": str(problem)}
    except Exception as problem:
        return {"status": "failed", "reason": f"raised {why(problem)}"}
    return contender if wrong is None else {"status": "failed", "reason": f"disagrees with {OURS}: {wrong}"}


def admit_others(admitted: Admitted, row: Row, inputs: Inputs, ours: Answers, settings: Settings) -> None:
    """Add the other libraries that are wanted, installed, able, right and fast enough."""
    for name in OTHERS:
        if not matches(name, settings.against) or (name == "compiled" and not settings.compiled):
            continue
        outcome = refusal(lambda name=name: other_contender(name, row, inputs), row, inputs, ours, settings.slowest)
        if isinstance(outcome, Contender):
            admitted.contenders.append(outcome)
        else:
            admitted.refused[name] = outcome


def describe(row: Row, layout: str, work: str) -> dict[str, Any]:
    """What a cell of the table is about."""
    sizes = {"map": list(row.shape), "points": list(row.points), "looks": row.looks, "taps": row.taps}
    kind = {"mode": row.mode, "dtype": str(row.dtype).removeprefix("torch."), "use": row.use}
    return {"row": row.name, "layout": layout, "work": work, **sizes, **kind, "bytes": bytes_moved(row, work)}


def time_work(row: Row, inputs: Inputs, work: str, admitted: Admitted, settings: Settings) -> dict[str, Any]:
    """Numbers of one cell."""
    calls = {contender.name: contender.call(work, inputs.grads) for contender in admitted.contenders}
    times = interleave(calls, settings.budget, settings.timer)
    numbers: dict[str, Any] = {}
    for name, sample in times.items():
        numbers[name] = {"status": "timed", "seconds": stat(sample).to_dict()}
        if name != OURS:
            numbers[name]["ratio"] = ratio(sample, times[OURS]).to_dict()
    ours = numbers[OURS]["seconds"]["median"]
    reached = fraction(bytes_moved(row, work), settings.bandwidth, ours)
    return {"status": "timed", "better": better_layout(numbers), "roofline": reached, "contenders": {**numbers, **admitted.refused}}


def better_layout(numbers: dict[str, Any]) -> dict[str, str]:
    """Which of grid_sample's layouts counts: the one with the smaller median, for the copied result and the bare view."""

    def best(suffix: str) -> str:
        names = [name + suffix for name in MAIN if name + suffix in numbers]
        return min(names, key=lambda name: numbers[name]["seconds"]["median"])

    return {"result": best(""), "bare": best(BARE)}


def measure(row: Row, layout: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """Every cell of a row in a layout."""
    inputs = make_inputs(row, layout, settings.device)
    admitted, ours = admit_main(main_contenders(row, inputs, layout), row, inputs)
    if ours is not None:
        admit_others(admitted, row, inputs, ours, settings)
    del ours
    for work in row.works:
        cell = describe(row, layout, work)
        if admitted.failure is not None:
            yield {**cell, "status": "failed", "reason": admitted.failure}
            continue
        try:
            yield {**cell, **time_work(row, inputs, work, admitted, settings)}
        except Exception as problem:
            yield {**cell, "status": "failed", "reason": why(problem)}
