"""How well a mask agrees with the truth: all of it, and its outline."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BOUNDARY = 4  # Pixels, of the 512 of a tile.


def inner_boundary(mask: Tensor, width: int) -> Tensor:
    """Pixels of a mask ``(b, h, w)``, bool, that have a pixel outside it in the square of ``2 * width + 1`` around them.

    What is beyond the edge of the tile is unknown, and no boundary.
    """
    outside = F.max_pool2d((~mask).float().unsqueeze(1), 2 * width + 1, stride=1, padding=width).squeeze(1) > 0
    return mask & outside


def overlap(pred: Tensor, truth: Tensor) -> Tensor:
    """Pixels in both masks, and pixels in either; to be added up over tiles."""
    return torch.stack([(pred & truth).sum(), (pred | truth).sum()])


def overlaps(pred: Tensor, truth: Tensor, width: int = BOUNDARY) -> Tensor:
    """`overlap` of the masks, and of their boundaries: ``(2, 2)``."""
    return torch.stack([overlap(pred, truth), overlap(inner_boundary(pred, width), inner_boundary(truth, width))])


def iou(counts: Tensor) -> tuple[float, float]:
    """IoU and boundary IoU in percent, of the sum of `overlaps`; two empty masks agree."""
    both, either = counts.double().unbind(-1)
    ratios = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return 100 * ratios[0].item(), 100 * ratios[1].item()
