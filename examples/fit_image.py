"""Learn a photograph as a function from coordinates to colours, with and without an encoding of the coordinates.

A small network gets the (x, y) of a pixel and has to answer with its RGB. Fed with the two numbers as they are, it learns a
blur; fed with sines and cosines of them (ts.encoding.Gamma), it learns the photograph. Both are then asked for the colours
between the pixels that they were trained on, which renders the photograph at a higher resolution.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

import torchsample as ts
from _common import add_common_arguments, grid_of_axes, open_photo, psnr, save_figure, show, to_map, whole

EXAMPLES = """examples:
  python fit_image.py                                  the default photograph, about a minute on two CPU cores
  python fit_image.py cat.jpg --output out/cat.png     your own photograph
  python fit_image.py --size 256 --steps 6000 --order 7 --device cuda
"""

# Pixels rendered at a time: the memory that the network needs does not grow with the picture.
CHUNK = 2**15


def parse_arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("image", nargs="?", type=Path, metavar="IMAGE", help="photograph to learn (default: the astronaut that comes with scikit-image)")
    add("--size", type=whole(1), default=128, help="longest side in pixels of the photograph in training (default: %(default)s)")
    add("--upscale", type=whole(1), default=4, help="how many times larger it is rendered after training (default: %(default)s)")
    add("--steps", type=whole(1), default=1500, help="training steps of each of the two networks (default: %(default)s)")
    add("--points", type=whole(1), default=2048, help="pixels drawn per training step (default: %(default)s)")
    add("--order", type=whole(1, 64), default=6, help="octaves of the encoding: 2**order should be about size/2 (default: %(default)s)")
    add("--width", type=whole(1), default=256, help="features of each of the three hidden layers (default: %(default)s)")
    add_common_arguments(parser, "fit_image.png")
    return parser, parser.parse_args()


def shrink(photo: Image.Image, size: int) -> Image.Image:
    """The photograph with a longest side of at most ``size``."""
    scale = min(1, size / max(photo.size))
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def enlarged_truth(photo: Image.Image, size: tuple[int, int]) -> Image.Image | None:
    """The photograph at the size of the rendering, if it has that many pixels."""
    if photo.width < size[0] or photo.height < size[1]:
        return None
    return photo.resize(size, Image.Resampling.LANCZOS)


def make_model(encoder: ts.encoding.Encoding, width: int) -> nn.Module:
    return nn.Sequential(encoder, ts.models.MLP(encoder.out_features(dim=2), width, width, width, 3))


def train(model: nn.Module, image: Tensor, steps: int, points: int, label: str) -> None:
    """Ask the model for the colours of random pixels, over and over."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    points = min(points, image[0, 0].numel())
    with tqdm(range(steps), desc=label) as bar:
        for step in bar:
            coords = ts.coord.randint_like(points, image)
            truth = ts.sample(coords, image, mode="nearest")
            loss = F.mse_loss(model(coords), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 25 == 0 or step == steps - 1:
                bar.set_postfix(loss=f"{loss.item():.5f}", PSNR=f"{-10 * loss.log10().item():.2f} dB", refresh=False)


@torch.inference_mode()
def render(model: nn.Module, size: tuple[int, int], device: torch.device) -> Tensor:
    """The colours at every pixel of a picture of any size ``(w, h)``, some rows at a time."""
    coords = ts.coord.full(1, size, device=device)
    rows = coords.split(max(1, CHUNK // size[0]), dim=1)
    return ts.feat_first(torch.cat([model(some).cpu() for some in rows], dim=1))


def busiest_part(image: Tensor) -> tuple[float, float, float, float]:
    """Left, top, right and bottom (fractions) of the third of the image where neighbouring pixels differ most."""
    grey = image.mean(1, keepdim=True)
    change = F.pad((grey.diff(dim=-1)).abs(), (0, 1)) + F.pad((grey.diff(dim=-2)).abs(), (0, 0, 0, 1))
    height, width = (-(-side // 3) for side in image.shape[-2:])
    busy = F.avg_pool2d(change, (height, width), stride=1)[0, 0]
    top, left = divmod(int(busy.argmax()), busy.shape[1])
    h, w = image.shape[-2:]
    return left / w, top / h, (left + width) / w, (top + height) / h


def cut(image: Tensor, part: tuple[float, float, float, float]) -> Tensor:
    height, width = image.shape[-2:]
    left, top, right, bottom = part
    return image[..., round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def size_label(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"


def mark(axes, image: Tensor, part: tuple[float, float, float, float]) -> None:
    """Frame the part that the second row shows."""
    height, width = image.shape[-2:]
    corner = part[0] * width - 0.5, part[1] * height - 0.5
    axes.add_patch(Rectangle(corner, (part[2] - part[0]) * width, (part[3] - part[1]) * height, fill=False, color="yellow", linewidth=1.5))


def report(truth: Tensor, renderings: dict[str, Tensor]) -> dict[str, str]:
    """Print the PSNR of both models, and give the titles of their pictures."""
    values = {label: f"{psnr(image, truth):.2f} dB" for label, image in renderings.items()}
    print(f"PSNR at {size_label(truth)}: " + ", ".join(f"{label} {value}" for label, value in values.items()))
    return {label: f"{label}\n{size_label(truth)}, {value}" for label, value in values.items()}


def draw(image: Tensor, small: dict[str, Tensor], truth: Tensor | None, large: dict[str, Tensor], output: Path) -> None:
    """First row: the photograph and what was learned, as trained. Second row: a detail of the rendering between the pixels."""
    figure, axes = grid_of_axes(2, 3, image.shape[-2] / image.shape[-1])
    part = busiest_part(image)
    titles = report(image, small)
    show(axes[0, 0], image, f"photograph, for training\n{size_label(image)}")
    mark(axes[0, 0], image, part)
    for cell, (label, rendering) in zip(axes[0, 1:], small.items(), strict=True):
        show(cell, rendering, titles[label])
    some = next(iter(large.values()))
    titles = {label: f"{label}\n{size_label(some)}" for label in large} if truth is None else report(truth, large)
    show(axes[1, 0], cut(image if truth is None else truth, part), f"photograph, detail\n{size_label(image if truth is None else truth)}")
    for cell, (label, rendering) in zip(axes[1, 1:], large.items(), strict=True):
        show(cell, cut(rendering, part), titles[label])
    save_figure(figure, output)


def main() -> None:
    parser, args = parse_arguments()
    photo = open_photo(parser, args.image, default="astronaut")
    image = to_map(shrink(photo, args.size))
    size = ts.tensor_to_size(image)
    large_size = tuple(side * args.upscale for side in size)
    small, large = {}, {}
    encoders = {"raw coordinates": ts.encoding.Identity(), "encoded": ts.encoding.Gamma(args.order)}
    for label, encoder in encoders.items():
        torch.manual_seed(args.seed)
        model = make_model(encoder, args.width).to(args.device)
        train(model, image.to(args.device), args.steps, args.points, f"{label:>15}")
        small[label], large[label] = render(model, size, args.device), render(model, large_size, args.device)
    truth = enlarged_truth(photo, large_size)
    draw(image, small, None if truth is None else to_map(truth), large, args.output)


if __name__ == "__main__":
    main()
