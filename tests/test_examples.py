"""The examples as users run them: as programs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = {
    "fit_image.py": ["--steps=3", "--size=24", "--width=16", "--points=64", "--upscale=2"],
    "feature_map.py": ["--steps=3", "--size=32", "--batch=1", "--points=64"],
}
each_example = pytest.mark.parametrize("example", TINY)


@pytest.fixture
def parse(monkeypatch, capsys):
    """The reading of the arguments of fit_image.py, and of the photograph, in this process: (exit code, stderr)."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    common, program = importlib.import_module("_common"), importlib.import_module("fit_image")

    def read():
        parser, args = program.parse_arguments()
        common.open_photo(parser, args.image, "astronaut")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fit_image.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            read()
        return stop.value.code, capsys.readouterr().err

    return call


def run(example: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / example), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def psnrs(output: str) -> list[float]:
    return [float(value) for value in re.findall(r"(-?\d+\.\d\d) dB", output)]


def check_picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert picture.width > 800
        assert picture.height > 200


def save_noise(path: Path, size: tuple[int, int], channels: int = 3) -> Path:
    """A picture of random pixels: L, LA, RGB or RGBA."""
    pixels = np.random.default_rng(0).integers(256, size=(*size[::-1], channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(path)
    return path


# Strips, grey and transparent, to see at once that pictures of any kind and shape will do.
@pytest.mark.parametrize(("example", "size", "channels"), [("fit_image.py", (29, 11), 1), ("feature_map.py", (9, 40), 4)])
def test_the_same_seed_gives_the_same_numbers_and_a_picture(example, size, channels, tmp_path):
    photo = save_noise(tmp_path / "photo.png", size, channels)
    output = tmp_path / "new" / "folder" / "picture.png"
    runs = [run(example, photo, *TINY[example], "--seed=5", "--output", output, cwd=tmp_path) for _ in range(2)]
    for result in runs:
        assert result.returncode == 0, result.stderr
    assert len(psnrs(runs[0].stdout)) == 2
    assert runs[0].stdout == runs[1].stdout
    assert "100%" in runs[0].stderr
    check_picture(output)
    assert list(output.parent.iterdir()) == [output]


@each_example
def test_help_explains_the_example(example, tmp_path):
    result = run(example, "--help", cwd=tmp_path)
    assert result.returncode == 0
    for word in ("IMAGE", "--steps", "--seed", "--output", "default: 0", "examples:", f"python {example}"):
        assert word in result.stdout


@each_example
def test_an_unreadable_image_ends_the_example_with_one_line(example, tmp_path):
    path = tmp_path / "photo.png"
    path.write_text("no pixels here")
    result = run(example, path, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"{example}: error: cannot read the image {path}: ")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["missing", "truncated", "folder"])
def test_every_kind_of_unreadable_image_is_named(kind, tmp_path, parse):
    path = tmp_path / "photo.png"
    if kind == "truncated":
        path.write_bytes(save_noise(path, (64, 64)).read_bytes()[:500])
    elif kind == "folder":
        path.mkdir()
    code, error = parse(path, "--output", tmp_path / "picture.png")
    assert code == 2
    assert len(error.splitlines()) == 1
    assert f"cannot read the image {path}: " in error


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--steps=0", "--steps: must be a whole number of at least 1, not 0"),
        ("--size=-5", "--size: must be a whole number of at least 1, not -5"),
        ("--order=65", "--order: must be a whole number from 1 to 64, not 65"),
        ("--points=many", "--points: must be a whole number of at least 1, not 'many'"),
        ("--device=abacus", "--device: cannot use the device 'abacus'"),
        ("--output=picture.txt", "--output: 'picture.txt' must end in"),
        ("--output=.png", "--output: '.png' must end in"),
    ],
)
def test_bad_options_are_explained(argument, reason, parse):
    code, error = parse(argument)
    assert code == 2
    assert reason in error


@pytest.mark.parametrize(("mode", "pixel", "rgb"), [("L", 7, 7), ("LA", (7, 0), 255), ("I;16", 257 * 7, 7), ("I", 257 * 7, 7), ("P", 0, 0)])
def test_pictures_of_any_mode_become_rgb(mode, pixel, rgb, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    photo = importlib.import_module("_common").to_rgb(Image.new(mode, (3, 2), pixel))
    assert photo.mode == "RGB"
    assert photo.getpixel((2, 1)) == (rgb, rgb, rgb)


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(monkeypatch, tmp_path):
    class Broken:
        def savefig(self, path):
            path.write_text("half of a pic")
            raise RuntimeError

    monkeypatch.syspath_prepend(str(EXAMPLES))
    path = save_noise(tmp_path / "picture.png", (4, 4))
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        importlib.import_module("_common").save_figure(Broken(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_photo_smaller_than_the_scale_is_refused(tmp_path):
    photo = save_noise(tmp_path / "photo.png", (3, 50))
    result = run("feature_map.py", photo, *TINY["feature_map.py"], cwd=tmp_path)
    assert result.returncode == 2
    assert "too small for --scale 4" in result.stderr


def test_encoded_coordinates_learn_what_raw_ones_cannot(tmp_path):
    settings = ["--steps=200", "--size=48", "--width=96", "--points=512", "--order=4", "--upscale=2"]
    result = run("fit_image.py", *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    raw, encoded, *enlarged = psnrs(result.stdout)
    assert encoded > raw + 5
    assert enlarged[1] > enlarged[0] + 3
    check_picture(tmp_path / "fit_image.png")


def test_a_sampled_feature_map_beats_bilinear(tmp_path):
    result = run("feature_map.py", "--steps=100", "--size=96", "--order=7", "--points=1024", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    bilinear, learned = psnrs(result.stdout)
    assert learned > bilinear + 0.3
