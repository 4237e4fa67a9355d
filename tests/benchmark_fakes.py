"""Made-up results, as the benchmarks make them of measured ones."""

from __future__ import annotations

import torch
from benchmarks import competitors, machine, rows, sampling, timing

ROW = rows.ROWS[0].shrunk()
CPU = torch.device("cpu")


def cell(seconds: dict[str, list[float]], work: str = rows.FORWARD, layout: str = rows.FIRST, row: rows.Row = ROW) -> dict:
    """A cell as `time_work` makes it, of made-up times."""
    numbers = {}
    for name, sample in seconds.items():
        found = {"status": "timed", "seconds": timing.stat(sample).to_dict()}
        numbers[name] = found if name == competitors.OURS else {**found, "ratio": timing.ratio(sample, seconds[competitors.OURS]).to_dict()}
    filled = {"status": "timed", "better": sampling.better_layout(numbers), "roofline": 0.25, "contenders": numbers}
    return {**sampling.describe(row, layout, work), **filled}


def times(ours: float, grid_sample: float, bare: float = 1.0) -> dict[str, list[float]]:
    return {
        competitors.OURS: [ours] * 4,
        competitors.GRID: [grid_sample] * 4,
        competitors.GRID + competitors.BARE: [bare] * 4,
    }


def data(*cells: dict) -> dict:
    return {
        "command": "python -m benchmarks",
        "date": machine.now(),
        "complete": True,
        "machine": machine.describe_machine(CPU),
        "versions": machine.describe_versions(),
        "tree": {"commit": "0" * 40, "dirty": True},
        "settings": {"seconds": 1, "warmup": 1, "fewest": 3, "most": 5, "quick": False},
        "bandwidth": {"bytes": 2**20, "bytes_per_second": 1e9, "seconds": timing.stat([1.0]).to_dict()},
        "sampling": list(cells),
        "memory": [],
        "parts": [],
    }


def line_of(text: str, *words: str) -> str:
    """The line of a table that has all the words."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and all(word in line for word in words)]
    return line
