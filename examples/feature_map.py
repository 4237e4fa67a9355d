"""Predict a photograph at any coordinate from a small version of it: a feature map, sampled.

A convolutional network turns the small photograph into a feature map. At a coordinate, the sampled features and the encoded
coordinate go through an MLP, which corrects what bilinear interpolation would say. In training, the coordinates are random
ones of four photographs; afterwards, every pixel of a fifth photograph is asked for, which was not part of the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

import torchsample as ts
from _common import (
    add_common_arguments,
    bundled_photo,
    frame_detail,
    open_photo,
    prepare,
    psnr,
    save_figure,
    show,
    show_detail,
    to_map,
    two_rows,
    whole,
)
from _program import ending_in_one_line, how_started

TRAINING = ("chelsea", "coffee", "rocket", "stereo_motorcycle")
EXAMPLES = """examples:
  {command}                                try it on the astronaut, about a minute on two CPU cores
  {command} cat.jpg --output out/cat.png   try it on your own photograph
  {command} --steps 5000 --device cuda
"""


class FeatureMap(nn.Module):
    """Colours at coordinates ``(b, *points, 2)`` of small photographs ``(b, 3, h, w)``."""

    def __init__(self, order: int, channels: int = 32) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, channels, 3, padding=1)]
        for _ in range(3):
            layers += [nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.features = nn.Sequential(*layers)
        self.position = ts.encoding.Gamma(order)
        self.mlp = ts.models.MLP(channels + self.position.out_features(dim=2), 64, 64, 3)

    def forward(self, coords: Tensor, small: Tensor) -> Tensor:
        # Networks learn fastest from numbers around 0 with a spread of about 1, and [0, 1] is neither.
        featmap = self.features(4 * (small - 0.5))
        features = ts.sample(coords, featmap, encoder=self.position)
        return ts.sample(coords, small) + self.mlp(features) / 4


def random_crops(photos: list[Tensor], side: int, batch: int) -> Tensor:
    """Random square parts of random photographs, every other one mirrored."""
    crops = []
    for _ in range(batch):
        photo = photos[int(torch.randint(len(photos), ()))]
        top, left = (int(torch.randint(extent - side + 1, ())) for extent in photo.shape[-2:])
        crop = photo[..., top : top + side, left : left + side]
        crops.append(crop.flip(-1) if torch.rand(()) < 0.5 else crop)
    return torch.cat(crops)


def train(model: FeatureMap, photos: list[Tensor], side: int, args: argparse.Namespace) -> None:
    """Compare the model with the photographs at the same random coordinates."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=args.steps)
    with tqdm(range(args.steps), desc="training") as bar:
        for step in bar:
            truth = random_crops(photos, side, args.batch)
            small = F.avg_pool2d(truth, args.scale)
            coords = ts.coord.rand(args.batch, args.points, device=truth.device)
            loss = F.mse_loss(model(coords, small), ts.sample(coords, truth))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 10 == 0 or step == args.steps - 1:
                bar.set_postfix(loss=f"{loss.item():.5f}", PSNR=f"{-10 * loss.log10().item():.2f} dB", refresh=False)


@torch.inference_mode()
def predict(model: FeatureMap, truth: Tensor, small: Tensor) -> Tensor:
    """The whole photograph, from its small version. For a size of your own: ``ts.coord.full(1, (w, h))``."""
    coords = ts.coord.full_like(truth)
    return ts.feat_first(model(coords, small))


def draw(small: Tensor, bilinear: Tensor, learned: Tensor, truth: Tensor, output: Path) -> None:
    """First row: all of the pictures. Second row: a detail."""
    before, after = (f"{psnr(image, truth):.2f} dB" for image in (bilinear, learned))
    print(f"PSNR of the photograph that was held out: bilinear {before}, learned {after}")
    titles = f"input\n{small.shape[-1]} x {small.shape[-2]}", f"bilinear\n{before}", f"learned\n{after}", "photograph\n(held out)"
    figure, axes = two_rows(4, aspect=1)
    for cells, image, title in zip(axes.T, (small, bilinear, learned, truth), titles, strict=True):
        show(cells[0], image, title)
        show_detail(cells[1], image, "detail")
    frame_detail(axes[0, 0], small)
    save_figure(figure, output)


def parse_arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    command, _ = how_started()
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=EXAMPLES.format(command=command), formatter_class=style)
    add = parser.add_argument
    add("image", nargs="?", type=Path, metavar="IMAGE", help="photograph to predict (default: the astronaut that comes with scikit-image)")
    add("--size", type=whole(1, 300), default=256, help="side in pixels of the square that is predicted (default: %(default)s)")
    add("--scale", type=whole(1), default=4, help="how many times smaller the input is (default: %(default)s)")
    add("--steps", type=whole(1), default=800, help="training steps (default: %(default)s)")
    add("--batch", type=whole(1), default=4, help="photographs per training step (default: %(default)s)")
    add("--points", type=whole(1), default=2048, help="coordinates per photograph and training step (default: %(default)s)")
    add(
        "--order",
        type=whole(1, 64),
        default=8,
        help="octaves of the encoding; 2**order should be about 4*size/scale (default: %(default)s)",
    )
    add_common_arguments(parser, "feature_map.png")
    return parser, parser.parse_args()


def choose_side(parser: argparse.ArgumentParser, photo: Image.Image, args: argparse.Namespace) -> int:
    """The side of the squares, one for all since the encoding tells where in the square a point is: whole pixels of the input."""
    side = min(args.size, *photo.size) // args.scale * args.scale
    if side == 0:
        parser.exit(
            2, f"{parser.prog}: error: a photograph of {min(args.size, *photo.size)} pixels is too small for --scale {args.scale}\n"
        )
    return side


def learn(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """The model learns from four photographs, and predicts the fifth."""
    photo = open_photo(parser, args.image, default="astronaut")
    side = choose_side(parser, photo, args)
    prepare(args)
    photos = [to_map(bundled_photo(name), args.device) for name in TRAINING]
    model = FeatureMap(args.order).to(args.device)
    train(model, photos, side, args)
    truth = to_map(ImageOps.fit(photo, (side, side), Image.Resampling.LANCZOS), args.device)
    small = F.avg_pool2d(truth, args.scale)
    bilinear = ts.feat_first(ts.sample(ts.coord.full_like(truth), small))
    draw(small, bilinear, predict(model, truth, small), truth, args.output)


def main() -> None:
    parser, args = parse_arguments()
    with ending_in_one_line(parser):
        learn(parser, args)


if __name__ == "__main__":
    main()
