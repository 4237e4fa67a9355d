"""What else is timed: each part of the library against the bare primitive that it cannot do without."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import torchsample as ts

from .timing import Budget, Call, Timer, interleave, ratio, stat

PRIMITIVES = {
    "full": "`torch.empty(shape).fill_(0.5)` of the same shape",
    "gamma": "`torch.cos` and `torch.sin` of a ready tensor of half the size, each written into a half of the output",
    "randint": "`torch.unique` of as many ready random numbers as it draws (all pixels, where it shuffles)",
    "rand_biased": "`ts.sample` of as many ready points, and `topk` of its first channel",
    "uncertain": "one pass over the prediction: `pred.amax(dim=1)`",
}
LIMITS = {"full": 2.0, "gamma": 1.5, "randint": 2.0, "rand_biased": 1.5, "uncertain": 2.0}


@dataclass(frozen=True)
class Part:
    """A call of the library, and what to compare it with."""

    kind: str
    size: str
    make: Callable[[torch.device], tuple[Call, Call]]
    """Ours and the primitive, with their inputs ready."""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.size}"


def _full(size: tuple[int, ...]) -> Part:
    def make(device: torch.device) -> tuple[Call, Call]:
        shape = (1, *size[::-1], len(size))
        return lambda: ts.coord.full(1, size, device=device), lambda: torch.empty(shape, device=device).fill_(0.5)

    return Part("full", "x".join(map(str, size)), make)


def _gamma(n_points: int, order: int = 10) -> Part:
    def make(device: torch.device) -> tuple[Call, Call]:
        coords = ts.coord.rand(1, n_points, device=device)
        angles = torch.rand(n_points, coords.shape[-1] * order, device=device)

        def bare() -> Tensor:
            output = torch.empty(2, *angles.shape, device=device)
            torch.cos(angles, out=output[0])
            torch.sin(angles, out=output[1])
            return output

        return lambda: ts.encoding.gamma(coords, order), bare

    return Part("gamma", f"{n_points}", make)


def _draws(n_points: int, population: int) -> int:
    """How many numbers `coord.randint` draws: all pixels of a small map, else a quarter to spare."""
    return population if population < 4 * n_points else n_points + n_points // 4 + 8


def _randint(n_points: int, size: tuple[int, ...]) -> Part:
    def make(device: torch.device) -> tuple[Call, Call]:
        population = math.prod(size)
        draws = torch.randint(population, (_draws(n_points, population),), device=device)
        return lambda: ts.coord.randint(1, n_points, size, device=device), lambda: torch.unique(draws)

    return Part("randint", f"{n_points}-of-" + "x".join(map(str, size)), make)


def _rand_biased(n_points: int, shape: tuple[int, ...]) -> Part:
    def make(device: torch.device) -> tuple[Call, Call]:
        pred = torch.randn(shape, device=device)
        candidates = ts.coord.rand(shape[0], 3 * n_points, len(shape) - 2, device=device)
        n_uncertain = int(0.75 * n_points)

        def bare() -> object:
            return ts.sample(candidates, pred)[..., 0].topk(n_uncertain, dim=-1, largest=False)

        kind = "binary_logits" if shape[1] == 1 else "max_probability"
        return lambda: ts.coord.rand_biased(shape[0], n_points, pred, uncertainty=kind), bare

    return Part("rand_biased", f"{n_points}-of-" + "x".join(map(str, shape)), make)


def _uncertain(shape: tuple[int, ...]) -> Part:
    def make(device: torch.device) -> tuple[Call, Call]:
        pred = torch.rand(shape, device=device)
        certainty = pred.amax(dim=1).flatten()
        # One pixel in twenty is uncertain.
        threshold = certainty.kthvalue(max(1, certainty.numel() // 20)).values.item()
        return lambda: ts.coord.uncertain(pred, threshold, return_batch_index=True), lambda: pred.amax(dim=1)

    return Part("uncertain", "x".join(map(str, shape)), make)


PARTS = (
    *map(_full, [(32, 32), (256, 256), (1024, 1024), (1920, 1080), (96, 96, 96)]),
    *map(_gamma, [1024, 65536, 2**20]),
    *(_randint(*case) for case in [(1024, (640, 480)), (65536, (640, 480)), (65536, (400, 400)), (2**20, (4096, 4096))]),
    *(_rand_biased(*case) for case in [(1024, (2, 1, 56, 56)), (4096, (8, 1, 224, 224)), (65536, (2, 19, 512, 1024))]),
    *map(_uncertain, [(1, 1, 480, 640), (1, 19, 512, 1024), (8, 21, 256, 256), (2, 4, 64, 64, 64)]),
)
QUICK_PARTS = (_full((16, 8)), _gamma(100), _randint(20, (32, 32)), _rand_biased(20, (2, 1, 16, 16)), _uncertain((2, 5, 16, 16)))


def measure(part: Part, device: torch.device, budget: Budget, timer: Timer) -> dict[str, Any]:
    """One line of the table; the ratio is ours to the primitive."""
    ours, bare = part.make(device)
    times = interleave({"ours": ours, "bare": bare}, budget, timer)
    # Ours over theirs, unlike in the other tables: the limit is a multiple of the primitive.
    share = ratio(times["ours"], times["bare"])
    return {
        "part": part.name,
        "kind": part.kind,
        "ours": stat(times["ours"]).to_dict(),
        "bare": stat(times["bare"]).to_dict(),
        "ratio": share.to_dict(),
        "limit": LIMITS[part.kind],
        "within": share.median <= LIMITS[part.kind],
    }
