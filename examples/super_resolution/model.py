"""LIIF: a convolutional encoder, and a small network that is asked for colours at coordinates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import torchsample as ts


class _Block(nn.Module):
    """EDSR's residual block: two convolutions and no normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, featmap: Tensor) -> Tensor:
        return featmap + self.body(featmap)


class Encoder(nn.Module):
    """A small EDSR without its upsampling: pictures ``(b, 3, h, w)`` to feature maps ``(b, channels, h, w)``."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(_Block(channels) for _ in range(blocks)), nn.Conv2d(channels, channels, 3, padding=1))
        self.reach = 2 + 2 * blocks

    def forward(self, image: Tensor) -> Tensor:
        featmap = self.head(image)
        return featmap + self.body(featmap)


class Liif(nn.Module):
    """Colours ``(b, *points, 3)`` at coordinates of small pictures, for query pixels of a given size.

    The network corrects bicubic interpolation, which is what is left to learn on.
    """

    def __init__(self, channels: int, blocks: int, width: int, cell: bool = True, ensemble: bool = True, unfold: bool = True) -> None:
        super().__init__()
        self.encoder = Encoder(channels, blocks)
        self.patch, self.cells, self.uses_cell = 3 if unfold else 1, 2 if ensemble else 1, cell
        self.head = ts.models.MLP(channels * self.patch**2 + 2 + 2 * cell, width, width, width, 3)
        # Pixels around a coordinate that its colour depends on: of cells, their patches and convolutions, or the four of cubics.
        self.reach = max(self.encoder.reach + self.patch // 2 + 1, 2) + 1

    def forward(self, coords: Tensor, small: Tensor, cell: Tensor) -> Tensor:
        return self.colours(coords, small, cell, *self.prepare(small))

    def prepare(self, small: Tensor) -> tuple[Tensor, Any]:
        """What has to be done once per picture: its feature map, through the first layer of the head, and the rest of the head."""
        return ts.hoist(self.head[0], self.head[1:], self.encoder(2 * small - 1), unfold=self.patch)

    def colours(self, coords: Tensor, small: Tensor, cell: Tensor, featmap: Tensor, head: Any) -> Tensor:
        """Colours at coordinates of a prepared picture."""
        detail = ts.local_ensemble(head, coords, featmap, cell if self.uses_cell else None, size=self.cells)
        return ts.sample(coords, small, mode="bicubic") + detail / 4

    @torch.inference_mode()
    def enlarge(self, small: Tensor, size: tuple[int, int], chunk_size: int = 32768) -> Tensor:
        """A picture ``(1, 3, h, w)`` at another size ``(w, h)``."""
        cell = 2 / torch.tensor(size, dtype=small.dtype, device=small.device)
        prepared = self.prepare(small)
        coords = ts.coord.full(1, size, small.device)
        return ts.feat_first(ts.chunked(lambda part: self.colours(part, small, cell, *prepared), coords, chunk_size)).clamp(0, 1)


def build(settings: dict[str, Any]) -> Liif:
    """The network of a run's settings, initialized by its seed."""
    torch.manual_seed(settings["seed"])
    return Liif(*(settings[name] for name in ("channels", "blocks", "width", "cell", "ensemble", "unfold")))
