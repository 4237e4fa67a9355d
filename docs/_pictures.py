"""The pictures of the documentation, drawn with the library itself."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats
from torch import Tensor

import torchsample as ts

BLUE, ORANGE, GREEN, GREY = "#2a6f97", "#d1495b", "#4f9d69", "#8d99ae"
PALE = "#dbe9f4"

set_matplotlib_formats("svg")
plt.rcParams.update(
    {
        "axes.edgecolor": "#b8c0cc",
        "axes.labelcolor": "#444444",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 11,
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "svg.hashsalt": "torchsample",
        "xtick.color": "#444444",
        "ytick.color": "#444444",
    }
)


def align_corners(width: int = 4, height: int = 3) -> Figure:
    """Where -1 and 1 are on a small map, for both settings."""
    size = (width, height)
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.9))
    for panel, align in zip(panels, (False, True), strict=True):
        low, high = ts.coord.unnormalize(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), size, align_corners=align).tolist()
        for y in range(height):
            for x in range(width):
                panel.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=PALE, edgecolor="white", linewidth=2.5))
        panel.add_patch(
            Rectangle(tuple(low), high[0] - low[0], high[1] - low[1], fill=False, edgecolor=ORANGE, linewidth=2, linestyle=(0, (4, 2)))
        )
        centres = ts.coord.unnormalize(ts.coord.full.nobatch(size, align_corners=align), size, align_corners=align)
        panel.scatter(*centres.flatten(0, 1).T.numpy(), s=34, color=BLUE, zorder=3)
        for (x, ha), (y, va) in [((low[0], "right"), (low[1], "bottom")), ((high[0], "left"), (high[1], "top"))]:
            sign = -1 if ha == "right" else 1
            place = (-0.5, -0.5) if sign < 0 else (width - 0.5, height - 0.5)
            panel.annotate(
                f"({sign}, {sign})",
                (x, y),
                (place[0] + 0.12 * sign, place[1] + 0.16 * sign),
                ha=ha,
                va=va,
                color=ORANGE,
                fontweight="bold",
                arrowprops={"arrowstyle": "-", "color": ORANGE, "shrinkA": 0, "shrinkB": 2},
            )
        ticks = [-1.0, -0.5, 0.0, 0.5, 1.0]
        panel.set_xticks(ts.coord.unnormalize(torch.tensor(ticks), width, align_corners=align).tolist(), [f"{t:g}" for t in ticks])
        panel.set_yticks(ts.coord.unnormalize(torch.tensor(ticks), height, align_corners=align).tolist(), [f"{t:g}" for t in ticks])
        panel.set_xlim(-1.35, width + 0.35)
        panel.set_ylim(height + 0.1, -1.1)
        panel.set_aspect("equal")
        panel.set_xlabel("x")
        panel.set_ylabel("y", rotation=0, labelpad=8)
        panel.set_title(f"align_corners={align}" + ("" if align else ", the default"), family="monospace", fontsize=10)
    return figure


def resolutions(place: float = 0.5, widths: tuple[int, ...] = (32, 16, 8, 4)) -> Figure:
    """One coordinate in one scene, on maps of falling resolution."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 2.7), sharey=True)
    for panel, align in zip(panels, (False, True), strict=True):
        path = []
        for row, width in enumerate(widths):
            shades = torch.linspace(0.88, 0.55, width).tolist()
            for pixel, shade in enumerate(shades):
                face = (shade, 0.35 + 0.6 * shade, 0.98)
                panel.add_patch(Rectangle((pixel / width, row - 0.36), 1 / width, 0.72, facecolor=face, edgecolor="white", linewidth=0.8))
            position = ts.coord.unnormalize(torch.tensor([place]), width, align_corners=align).item()
            path.append(((position + 0.5) / width, row))
        panel.plot(*zip(*path, strict=True), color=ORANGE, marker="o", markersize=7, linewidth=1.5)
        panel.axvline(path[0][0], color=ORANGE, linewidth=0.8, linestyle=":")
        panel.set_xlim(-0.01, 1.01)
        panel.set_ylim(len(widths) - 0.5, -0.5)
        panel.set_yticks(range(len(widths)), [f"{width} pixels" for width in widths])
        panel.tick_params(left=False)
        panel.spines["left"].set_visible(False)
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["left", "", "middle", "", "right"])
        panel.set_title(f"x = {place:g}, align_corners={align}", family="monospace", fontsize=10)
    return figure


def padding(signal: Tensor) -> Figure:
    """A signal of a few pixels, and what is beyond its edges."""
    width = len(signal)
    featmap = signal.reshape(1, 1, width)
    x = torch.linspace(-2.5, 2.5, 1001).reshape(1, -1, 1)
    centres = ts.coord.full(1, (width,))
    figure, panels = plt.subplots(3, 1, figsize=(8.5, 5.2), sharex=True, sharey=True)
    for panel, mode, color in zip(panels, ("border", "zeros", "reflection"), (BLUE, ORANGE, GREEN), strict=True):
        panel.axvspan(-1, 1, color="#f1f4f8", zorder=0)
        panel.axhline(0, color="#d5dae1", linewidth=0.8, zorder=1)
        values = ts.sample(x, featmap, padding_mode=mode).flatten()
        panel.plot(x.flatten(), values, color=color)
        panel.scatter(centres.flatten(), signal, color=color, s=34, zorder=3)
        panel.set_ylabel(mode, family="monospace", color=color, fontsize=10)
        panel.set_ylim(min(0.0, signal.min().item()) - 0.3, signal.max().item() + 0.3)
        panel.set_yticks([0, 1, 2, 3])
    panels[-1].set_xticks([-2, -1, 0, 1, 2])
    panels[-1].set_xlim(-2.5, 2.5)
    panels[-1].set_xlabel("x (the map spans the shaded part; dots are pixel centres)")
    return figure


def kernels(signal: Tensor, modes: dict[str, object]) -> Figure:
    """A signal of a few pixels, read with several kernels."""
    width = len(signal)
    featmap = signal.reshape(1, 1, width)
    x = torch.linspace(-1, 1, 1001).reshape(1, -1, 1)
    figure, panels = plt.subplots(1, len(modes), figsize=(9, 2.6), sharey=True)
    for panel, (name, mode), color in zip(panels, modes.items(), (ORANGE, BLUE, GREEN), strict=True):
        values = ts.sample(x, featmap, mode=mode).flatten()
        jumps = values.clone()
        if mode == "nearest":
            jumps[1:][values[1:] != values[:-1]] = torch.nan
        panel.plot(x.flatten(), jumps, color=color)
        panel.scatter(ts.coord.full(1, (width,)).flatten(), signal, color=color, s=30, zorder=3)
        panel.set_title(name, family="monospace", fontsize=10)
        panel.set_xticks([-1, 0, 1])
        panel.set_xlabel("x")
    return figure


def show_map(panel: plt.Axes, image: Tensor, **kwargs: object) -> None:
    """Show a map (h, w) or (h, w, 3) so that the axes are normalized coordinates."""
    panel.imshow(image.detach().numpy(), extent=(-1, 1, 1, -1), **kwargs)
    panel.set_xticks([-1, 0, 1])
    panel.set_yticks([-1, 0, 1])


def map_and_samples(image: Tensor, coords: Tensor, colors: Tensor) -> Figure:
    """A map (h, w, 3) with the points on it, and the points alone in the colours sampled there."""
    figure, panels = plt.subplots(1, 2, figsize=(8.5, 4.2))
    show_map(panels[0], image)
    panels[0].scatter(*coords.T.numpy(), s=14, facecolors="none", edgecolors="white", linewidths=1.2)
    panels[0].set_title("a map, and coordinates on it")
    panels[1].scatter(*coords.T.numpy(), s=34, c=colors.clamp(0, 1).numpy())
    panels[1].set(xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    panels[1].set_title("the values there")
    for panel in panels:
        panel.set_xlabel("x")
        panel.set_ylabel("y", rotation=0, labelpad=8)
    return figure


def scatters(image: Tensor, points: dict[str, Tensor], **kwargs: object) -> Figure:
    """Several sets of points on one map."""
    figure, panels = plt.subplots(1, len(points), figsize=(9, 3.4), sharey=True)
    for panel, (title, coords) in zip(panels, points.items(), strict=True):
        show_map(panel, image, cmap="Blues", vmin=-0.15, vmax=1.6, **kwargs)
        panel.scatter(*coords.T.numpy(), s=4, color=ORANGE, linewidths=0)
        panel.set_title(title, family="monospace", fontsize=10)
    return figure


def images(pictures: dict[str, Tensor], height: float = 3.4, **kwargs: object) -> Figure:
    """Maps (h, w) or (h, w, 3) side by side."""
    figure, panels = plt.subplots(1, len(pictures), figsize=(9, height), sharey=True)
    for panel, (title, image) in zip(panels, pictures.items(), strict=True):
        show_map(panel, image, **kwargs)
        panel.set_title(title)
    return figure


def octaves(x: Tensor, features: Tensor, order: int) -> Figure:
    """Features (n, 2 * order) of 1-D coordinates (n, 1): a row of panels per octave."""
    figure, panels = plt.subplots(order, 1, figsize=(8.5, 1.25 * order), sharex=True, sharey=True)
    for octave, panel in enumerate(panels):
        cosine, sine = features[:, 2 * octave], features[:, 2 * octave + 1]
        panel.plot(x.flatten(), cosine, color=BLUE, label="cos")
        panel.plot(x.flatten(), sine, color=ORANGE, label="sin")
        panel.set_yticks([-1, 1])
        panel.set_ylabel(f"octave {octave}", rotation=0, ha="right", va="center")
        panel.set_xlim(-1, 1)
    panels[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    panels[-1].set_xticks([-1, -0.5, 0, 0.5, 1])
    panels[-1].set_xlabel("x")
    return figure


def offsets(x: Tensor, features: Tensor, width: int) -> Figure:
    """Features (n, 2) of 1-D coordinates (n, 1): the coordinate and its offset from the nearest of `width` pixels."""
    figure, panel = plt.subplots(figsize=(8.5, 2.8))
    edges = torch.linspace(-1, 1, width + 1).tolist()
    for pixel, (left, right) in enumerate(itertools.pairwise(edges)):
        panel.axvspan(left, right, color=PALE if pixel % 2 else "#f1f4f8", zorder=0)
    offset = features[:, 1].clone()
    offset[1:][(offset[1:] - offset[:-1]).abs() > 1] = torch.nan
    panel.plot(x.flatten(), features[:, 0], color=GREY, label="the coordinate")
    panel.plot(x.flatten(), offset, color=ORANGE, label="its offset")
    panel.scatter(ts.coord.full(1, (width,)).flatten(), [0] * width, color=BLUE, zorder=3, label="pixel centres")
    panel.set(xlim=(-1.0, 1.0), xlabel="x", xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, 0, 1])
    panel.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return figure


def flower(size: tuple[int, int], petals: int = 5, softness: float = 0.12) -> Tensor:
    """A synthetic probability map (1, 1, h, w): inside of a flower near 1, outside near 0, unsure at its outline."""
    x, y = ts.coord.full.nobatch(size).unbind(-1)
    radius = 0.55 + 0.2 * torch.cos(petals * torch.atan2(y, x))
    return torch.sigmoid((radius - torch.hypot(x, y)) / softness)[None, None]


def tiles(size: tuple[int, int]) -> Tensor:
    """A colourful synthetic map (1, 3, h, w): rings, and tiles that shift them."""
    x, y = ts.coord.full.nobatch(size).unbind(-1)
    rings = torch.cos(5 * torch.hypot(x - 0.3, y + 0.2))
    tiles = torch.sign(torch.sin(5 * x + 1.5 * y) * torch.sin(5 * y - 1.5 * x))
    shade = 0.5 + 0.33 * rings + 0.14 * tiles
    return torch.from_numpy(plt.get_cmap("viridis")(shade.numpy())[..., :3]).float().movedim(-1, 0)[None]
