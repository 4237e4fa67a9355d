"""What the sampling table says in short: geometric means, and where we lose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .rows import FIRST, LAST, WORKS

Cell = dict[str, Any]
LOSS, MAYBE = "**loss**", "loss within the spread"


def is_timed(cell: Cell) -> bool:
    return cell["status"] == "timed"


def main_ratio(cell: Cell, kind: str = "result") -> dict[str, float]:
    """Ratio to grid_sample in its better layout: ``"result"`` as ours is, features last and contiguous, or ``"bare"``."""
    ratio: dict[str, float] = cell["contenders"][cell["better"][kind]]["ratio"]
    return ratio


def verdict(ratio: dict[str, float]) -> str:
    """A loss is called a loss; nothing is said of anything else."""
    if ratio["median"] >= 1:
        return ""
    return LOSS if ratio["median"] + ratio["spread"] < 1 else MAYBE


def losses(cells: Iterable[Cell]) -> list[Cell]:
    """Cells that are below 1 by more than their spread."""
    return [cell for cell in cells if is_timed(cell) and verdict(main_ratio(cell)) == LOSS]


def geometric_mean(numbers: Sequence[float]) -> float | None:
    return math.exp(math.fsum(map(math.log, numbers)) / len(numbers)) if numbers else None


def means(cells: Sequence[Cell], kind: str = "result") -> list[dict[str, Any]]:
    """Per work and layouts, the geometric mean of the ratios and how many they are."""
    lines = []
    for work in WORKS:
        for name, layouts in ((FIRST, [FIRST]), (LAST, [LAST]), ("all", [FIRST, LAST])):
            chosen = [cell for cell in cells if is_timed(cell) and cell["work"] == work and cell["layout"] in layouts]
            ratios = [main_ratio(cell, kind)["median"] for cell in chosen]
            lines.append({"work": work, "layout": name, "mean": geometric_mean(ratios), "cells": len(ratios)})
    return lines


def summarize(cells: Sequence[Cell]) -> dict[str, Any]:
    return {
        "means": means(cells),
        "bare_means": means(cells, "bare"),
        "losses": [{key: cell[key] for key in ("row", "layout", "work")} | main_ratio(cell) for cell in losses(cells)],
        "failed": [{key: cell[key] for key in ("row", "layout", "work", "reason")} for cell in cells if not is_timed(cell)],
    }
