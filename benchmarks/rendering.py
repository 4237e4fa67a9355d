"""Rays: weights of samples and whole renderings against nerfacc's batched functions, which do the same on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import torchsample as ts

from .agreement import error
from .timing import Budget, Timer, interleave, ratio, stat

NERFACC = "nerfacc"
TOLERANCE = 1e-4
"""Relative to the largest number; nerfacc subtracts exponentials from 1, and divides by opacity plus an epsilon."""
KINDS = {
    "weights": "weights of densities",
    "alpha-weights": "weights of alphas",
    "visible": "which samples still matter",
    "rendering": "densities and colours to colour on white, opacity and expected depth",
    "training": "the same, with the gradients of colour by densities and colours",
}


@dataclass(frozen=True)
class Scene:
    """Samples along rays, as both libraries take them; random, and the same for both."""

    density: Tensor
    alpha: Tensor
    edges: Tensor
    colours: Tensor
    white: Tensor

    @classmethod
    def random(cls, n_rays: int, n_samples: int, device: torch.device) -> Scene:
        edges = torch.linspace(2, 6, n_samples + 1, device=device).repeat(n_rays, 1)
        density = 2 * torch.rand(n_rays, n_samples, device=device)
        alpha = ts.render.alpha_from_density(density, edges)
        colours = torch.rand(n_rays, n_samples, 3, device=device)
        return cls(density.requires_grad_(), alpha, edges, colours.requires_grad_(), torch.ones(3, device=device))


Answers = tuple[Tensor, ...]


def _ours(scene: Scene) -> dict[str, Callable[[], Answers]]:
    def render() -> Answers:
        weights = ts.render.weights_from_density(scene.density, scene.edges)
        return tuple(ts.render.composite(weights, scene.edges, scene.colours, scene.white))

    return {
        "weights": lambda: (ts.render.weights_from_density(scene.density, scene.edges),),
        "alpha-weights": lambda: (ts.render.weights_from_alpha(scene.alpha),),
        "visible": lambda: (ts.render.visible(scene.alpha, 1e-2, 1e-2),),
        "rendering": render,
        "training": render,
    }


def _theirs(scene: Scene) -> dict[str, Callable[[], Answers]]:
    from nerfacc import volrend

    start, end = scene.edges[:, :-1].contiguous(), scene.edges[:, 1:].contiguous()

    def render() -> Answers:
        found = volrend.rendering(start, end, rgb_sigma_fn=lambda *_: (scene.colours, scene.density), render_bkgd=scene.white)
        colour, opacity, depth, _ = found
        return colour, opacity.squeeze(-1), depth.squeeze(-1)

    return {
        "weights": lambda: (volrend.render_weight_from_density(start, end, scene.density)[0],),
        "alpha-weights": lambda: (volrend.render_weight_from_alpha(scene.alpha)[0],),
        "visible": lambda: (volrend.render_visibility_from_alpha(scene.alpha, early_stop_eps=1e-2, alpha_thre=1e-2),),
        "rendering": render,
        "training": render,
    }


@dataclass(frozen=True)
class Case:
    """What is computed, of how many rays and samples of each."""

    kind: str
    n_rays: int
    n_samples: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.n_rays}x{self.n_samples}"

    def call(self, functions: dict[str, Callable[[], Answers]], scene: Scene) -> Callable[[], Answers]:
        function = functions[self.kind]
        if self.kind == "training":

            def train() -> Answers:
                answers = function()
                # What a squared error sends back: numbers that differ.
                upstream = answers[0].detach() - 0.5
                return (*answers, *torch.autograd.grad(answers[0], (scene.density, scene.colours), upstream))

            return train
        return torch.no_grad()(function)


SIZES = (1024, 64), (4096, 64), (4096, 192), (16384, 128)
CASES = tuple(Case(kind, *size) for kind in KINDS for size in SIZES)
QUICK_CASES = tuple(Case(kind, 16, 8) for kind in KINDS)


def _disagreement(ours: Answers, theirs: Answers) -> str | None:
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        found = error(one.detach(), other.detach())
        if not found <= TOLERANCE:
            return f"answer {number} differs by {found:.2g} of the largest, allowed {TOLERANCE:g}"
    return None


def measure(case: Case, device: torch.device, budget: Budget, timer: Timer) -> dict[str, Any]:
    """One line of the table; without nerfacc, ours alone."""
    scene = Scene.random(case.n_rays, case.n_samples, device)
    calls: dict[str, Callable[[], Answers]] = {"ours": case.call(_ours(scene), scene)}
    line: dict[str, Any] = {"case": case.name, "kind": case.kind, "rays": case.n_rays, "samples": case.n_samples}
    try:
        calls[NERFACC] = case.call(_theirs(scene), scene)
    except ImportError as problem:
        line["absent"] = str(problem)
    else:
        reason = _disagreement(calls["ours"](), calls[NERFACC]())
        if reason:
            return {**line, "reason": reason}
    times = interleave(calls, budget, timer)
    line.update({name: stat(sample).to_dict() for name, sample in times.items()})
    if NERFACC in times:
        line["ratio"] = ratio(times[NERFACC], times["ours"]).to_dict()
    return line
