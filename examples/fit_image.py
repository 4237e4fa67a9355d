"""Learn a photograph as a function from coordinates to colours, with and without an encoding of the coordinates.

A small network gets the (x, y) of a pixel and has to answer with its RGB. Fed with the two numbers as they are, it learns a
blur; fed with sines and cosines of them (ts.encoding.Gamma), it learns the photograph. Both are then asked for the colours
between the pixels that they were trained on, which renders the photograph at a higher resolution.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

import torchsample as ts
from _common import add_common_arguments, frame_detail, open_photo, prepare, psnr, save_figure, show, show_detail, to_map, two_rows, whole
from _program import ending_in_one_line, how_started

EXAMPLES = """examples:
  {command}                                  the default photograph, about a minute on two CPU cores
  {command} cat.jpg --output out/cat.png     your own photograph
  {command} --size 256 --steps 6000 --order 6 --device cuda
"""

# Pixels rendered at a time: the memory that the network needs does not grow with the picture.
CHUNK = 2**15


def parse_arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    command, _ = how_started()
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=EXAMPLES.format(command=command), formatter_class=style)
    add = parser.add_argument
    add("image", nargs="?", type=Path, metavar="IMAGE", help="photograph to learn (default: the astronaut that comes with scikit-image)")
    add("--size", type=whole(1), default=128, help="longest side in pixels of the photograph in training (default: %(default)s)")
    add("--upscale", type=whole(1), default=4, help="how many times larger it is rendered after training (default: %(default)s)")
    add("--steps", type=whole(1), default=2000, help="training steps of each of the two networks (default: %(default)s)")
    add("--points", type=whole(1), default=1024, help="pixels drawn per training step (default: %(default)s)")
    add("--order", type=whole(1, 64), default=5, help="octaves of the encoding: 2**order should be about size/4 (default: %(default)s)")
    add("--width", type=whole(1), default=192, help="features of each of the four hidden layers (default: %(default)s)")
    add_common_arguments(parser, "fit_image.png")
    return parser, parser.parse_args()


def shrink(photo: Image.Image, size: int) -> Image.Image:
    """The photograph with a longest side of at most ``size``."""
    scale = min(1, size / max(photo.size))
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def enlarge(photo: Image.Image, image: Tensor, size: tuple[int, int]) -> tuple[str, Tensor]:
    """What to compare a rendering with: the photograph if it has that many pixels, else the pixels of the training."""
    if photo.width >= size[0] and photo.height >= size[1]:
        return "photograph", to_map(photo.resize(size, Image.Resampling.LANCZOS))
    return "training pixels", ts.sample(ts.coord.full(1, size), image, mode="nearest", feat_last=False)


def make_model(encoder: ts.encoding.Encoding, width: int) -> nn.Module:
    return nn.Sequential(encoder, ts.models.MLP(encoder.out_features(dim=2), width, width, width, width, 3))


def train(model: nn.Module, image: Tensor, steps: int, points: int, label: str) -> None:
    """Ask the model for the colours of random pixels, over and over."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
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


def size_label(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"


def compare(truth: Tensor, renderings: dict[str, Tensor]) -> dict[str, str]:
    """Print the PSNR of each rendering, and give it as part of a title."""
    values = {label: f"{psnr(image, truth):.2f} dB" for label, image in renderings.items()}
    print(f"PSNR at {size_label(truth)}: " + ", ".join(f"{label} {value}" for label, value in values.items()))
    return {label: f", {value}" for label, value in values.items()}


def draw_row(cells: Iterable[Axes], truth: tuple[str, Tensor], renderings: dict[str, Tensor], enlarged: bool) -> None:
    """The photograph and what the models made of it."""
    name, image = truth
    comparable = name == "photograph"
    values = compare(image, renderings) if comparable else dict.fromkeys(renderings, "")
    size = size_label(image)
    for cell, (label, picture) in zip(cells, {name: image, **renderings}.items(), strict=True):
        if enlarged:
            show_detail(cell, picture, f"{label}\ndetail of {size}{values.get(label, '')}")
        else:
            show(cell, picture, f"{label}\n{size}{values.get(label, '')}")


def learn(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Both networks learn the photograph, and are drawn side by side."""
    photo = open_photo(parser, args.image, default="astronaut")
    image = to_map(shrink(photo, args.size))
    size = ts.tensor_to_size(image)
    large_size = tuple(side * args.upscale for side in size)
    small, large = {}, {}
    encoders = {"raw coordinates": ts.encoding.Identity(), "encoded": ts.encoding.Gamma(args.order)}
    for label, encoder in encoders.items():
        prepare(args)
        model = make_model(encoder, args.width).to(args.device)
        train(model, image.to(args.device), args.steps, args.points, f"{label:>15}")
        small[label], large[label] = render(model, size, args.device), render(model, large_size, args.device)
    figure, axes = two_rows(3, size[1] / size[0])
    draw_row(axes[0], ("photograph", image), small, enlarged=False)
    draw_row(axes[1], enlarge(photo, image, large_size), large, enlarged=True)
    frame_detail(axes[0, 0], image)
    save_figure(figure, args.output)


def main() -> None:
    parser, args = parse_arguments()
    with ending_in_one_line(parser):
        learn(parser, args)


if __name__ == "__main__":
    main()
