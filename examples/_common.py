"""What the examples have in common: photographs, PSNR, pictures and command-line arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps
from torch import Tensor

from _files import check_writable, write_beside

# Left, top, right and bottom of the part of a photograph that is shown enlarged: above the middle, where faces are.
DETAIL = 0.28, 0.08, 0.62, 0.42


def bundled_photo(name: str) -> Image.Image:
    """A photograph that scikit-image installs with itself, so that nothing is downloaded."""
    from skimage import data

    photo = getattr(data, name)()
    # The stereo pair comes as (left, right, disparity).
    return Image.fromarray(photo[0] if isinstance(photo, tuple) else photo)


def to_rgb(photo: Image.Image) -> Image.Image:
    """Any picture as RGB: turned upright, 16-bit greys scaled to 8 bits, transparency laid over white."""
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):
        # Pillow clips 16-bit greys at 255 rather than scaling them.
        photo = Image.fromarray((np.asarray(photo).clip(0, 65535) // 257).astype(np.uint8))
    photo = photo.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")


def open_photo(parser: argparse.ArgumentParser, path: Path | None, default: str) -> Image.Image:
    """The user's photograph, or the bundled one; a file that cannot be read ends the program with one line and exit code 2."""
    if path is None:
        return bundled_photo(default)
    try:
        with Image.open(path) as photo:
            return to_rgb(photo)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        parser.exit(2, f"{parser.prog}: error: cannot read the image {path}: {getattr(error, 'strerror', None) or error}\n")


def to_map(photo: Image.Image, device: torch.device | None = None) -> Tensor:
    """A photograph as a map ``(1, 3, h, w)`` with values in [0, 1]."""
    return torch.from_numpy(np.array(photo)).to(device).permute(2, 0, 1).unsqueeze(0) / 255


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, of values in [0, 1]."""
    error = (image.clamp(0, 1) - truth).square().mean()
    return -10 * torch.log10(error).item()


def show(axes: Axes, image: Tensor, title: str) -> None:
    """Draw a map ``(1, 3, h, w)``, pixel by pixel and without ticks."""
    axes.imshow(image[0].clamp(0, 1).movedim(0, -1).cpu().numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])


def show_detail(axes: Axes, image: Tensor, title: str) -> None:
    """Draw the part of a map that is shown enlarged; its edges may cut through pixels, so that maps of all sizes agree."""
    show(axes, image, title)
    height, width = image.shape[-2:]
    left, top, right, bottom = DETAIL
    axes.set_xlim(left * width - 0.5, right * width - 0.5)
    axes.set_ylim(bottom * height - 0.5, top * height - 0.5)


def frame_detail(axes: Axes, image: Tensor) -> None:
    """Frame that part in a picture of all of the map."""
    height, width = image.shape[-2:]
    left, top, right, bottom = DETAIL
    corner = left * width - 0.5, top * height - 0.5
    axes.add_patch(Rectangle(corner, (right - left) * width, (bottom - top) * height, fill=False, color="yellow", linewidth=1.5))


def two_rows(columns: int, aspect: float) -> tuple[Figure, np.ndarray]:
    """A figure whose two rows of cells fit pictures of this height / width, with room for two lines of title."""
    width = 3.6
    # Strips would leave no room for titles, or make a very tall figure.
    height = min(max(width * aspect, 1.0), 2 * width) + 0.5
    figure = Figure(figsize=(columns * width, 2 * height), dpi=120, layout="constrained")
    return figure, figure.subplots(2, columns)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    write_beside(path, figure.savefig)
    print(f"Saved {path}")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argument type: a whole number of at least ``low`` and at most ``high``."""
    wanted = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {number}")
        return number

    return parse


def between(low: float, high: float = math.inf) -> Callable[[str], float]:
    """An argument type: a number above ``low`` and below ``high``."""
    wanted = f"a number above {low:g}" + (f" and below {high:.4g}" if high < math.inf else "")

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low < number < high:
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}")
        return number

    return parse


def usable_device(text: str) -> torch.device:
    """An argument type: a device of PyTorch that is there, found out by using it."""
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"cannot use the device {text!r}: {reason}") from None
    return device


def output_path(text: str, endings: Sequence[str] = ()) -> Path:
    """An argument type: a file to write, of any kind or of one of some."""
    path = Path(text)
    if endings and path.suffix.lower() not in endings:
        raise argparse.ArgumentTypeError(f"{text!r} must end in one of {', '.join(endings)}")
    try:
        check_writable(path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: {error.strerror}") from None
    return path


def picture_path(text: str) -> Path:
    """An argument type: a picture to write."""
    return output_path(text, [f".{ending}" for ending in sorted(FigureCanvasBase.get_supported_filetypes())])


def add_common_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """The arguments that every example has."""
    add = parser.add_argument
    add("--seed", type=whole(0, 2**63 - 1), default=0, help="seed of all random numbers (default: %(default)s)")
    add("--device", type=usable_device, default="cpu", help="where to compute: cpu, cuda, mps (default: %(default)s)")
    # Not PyTorch's choice, a thread per core: in steps as short as these, threads that wait for a busy core cost more than they bring.
    add("--threads", type=whole(1), default=1, help="CPU threads; more are faster if nothing else is running (default: %(default)s)")
    add(
        "-o",
        "--output",
        type=picture_path,
        default=output,
        metavar="FILE",
        help="picture to write; its folder is created (default: %(default)s)",
    )


def prepare(args: argparse.Namespace) -> None:
    """Apply the seed and the number of threads."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
