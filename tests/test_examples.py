"""The examples as users run them: as programs."""

from __future__ import annotations

import importlib
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from programs import starter

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = {
    "fit_image.py": ["--steps=3", "--size=24", "--width=16", "--points=64", "--upscale=2"],
    "feature_map.py": ["--steps=3", "--size=32", "--batch=1", "--points=64"],
}
PROGRAMS = "super_resolution", "point_refinement", "nerf"
each_example = pytest.mark.parametrize("example", TINY)
each_program = pytest.mark.parametrize("name", PROGRAMS)


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
    return run_command([sys.executable, str(EXAMPLES / example), *map(str, arguments)], cwd)


def run_command(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
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


@pytest.fixture
def start(monkeypatch, capsys):
    """Run fit_image.py or feature_map.py in this process, as users do: exit code, stdout and stderr."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def call(example, *arguments):
        module = importlib.import_module(example.removesuffix(".py"))
        return starter(monkeypatch, capsys, example, module.main)(*arguments)

    return call


@each_example
def test_an_example_learns_and_draws(example, start, tmp_path):
    """Of a strip, in a folder with a space in its name; what a killed run has left there is removed."""
    output = tmp_path / "new folder" / "picture.png"
    output.parent.mkdir()
    output.with_name(f".picture.{2**22 + 1}.partial.png").write_text("half")
    code, out, error = start(example, save_noise(tmp_path / "photo.png", (9, 30)), *TINY[example], "--output", output)
    assert code == 0
    assert len(psnrs(out)) == 2
    assert "100%" in error
    check_picture(output)
    assert list(output.parent.iterdir()) == [output]


# Strips, grey and transparent, to see at once that pictures of any kind and shape will do.
@pytest.mark.slow
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
def test_help_explains_the_example(example, start):
    code, out, _ = start(example, "--help")
    assert code == 0
    for word in ("IMAGE", "--steps", "--seed", "--output", "default: 0", "examples:", "cat.jpg --output out/cat.png"):
        assert word in out


@each_example
def test_an_unreadable_image_ends_the_example_with_one_line(example, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "photo.png"
    path.write_text("no pixels here")
    code, out, error = start(example, path)
    assert (code, out, len(error.splitlines())) == (2, "", 1)
    assert f": error: cannot read the image {path}: " in error
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


def test_a_photo_smaller_than_the_scale_is_refused(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = start("feature_map.py", save_noise(tmp_path / "photo.png", (3, 50)), *TINY["feature_map.py"])
    assert code == 2
    assert "too small for --scale 4" in error


@pytest.mark.slow
def test_encoded_coordinates_learn_what_raw_ones_cannot(tmp_path):
    settings = ["--steps=200", "--size=48", "--width=96", "--points=512", "--order=4", "--upscale=2"]
    result = run("fit_image.py", *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    raw, encoded, *enlarged = psnrs(result.stdout)
    assert encoded > raw + 5
    assert enlarged[1] > enlarged[0] + 3
    check_picture(tmp_path / "fit_image.png")


@pytest.mark.slow
def test_a_sampled_feature_map_beats_bilinear(tmp_path):
    result = run("feature_map.py", "--steps=100", "--size=96", "--order=7", "--points=1024", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    bilinear, learned = psnrs(result.stdout)
    assert learned > bilinear + 0.3


@pytest.mark.slow
@each_example
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_example_ends_with_one_line(example, how, tmp_path):
    command = [sys.executable, str(EXAMPLES / example), "--steps=1000000", *TINY[example][1:]]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        shown = b""
        while b"PSNR=" not in shown:
            shown += process.stderr.read(1)
        process.send_signal(how)
        said = process.communicate(timeout=100)[1].decode()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.endswith("\ninterrupted; nothing half-written is left\n")
    assert list(tmp_path.iterdir()) == []


# How programs are started


@pytest.fixture
def _nothing_imported(monkeypatch):
    """The modules of the examples are not imported yet, nor is their folder on the path; after the test all is as it was."""

    def imported():
        return {
            name: found for name, found in sys.modules.items() if Path(getattr(found, "__file__", None) or "/").is_relative_to(EXAMPLES)
        }

    before = imported()
    for name in before:
        del sys.modules[name]
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each).resolve() != EXAMPLES])
    yield
    for name in imported():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.usefixtures("_nothing_imported")
@pytest.mark.parametrize("name", [*PROGRAMS, *(f"{name}/__main__.py" for name in PROGRAMS), *TINY])
def test_a_program_is_found_wherever_it_is_started(name, tmp_path, monkeypatch, capsys):
    """In this process."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.chdir(tmp_path)
    path = EXAMPLES / name
    if path.is_file():
        # As Python does for a file.
        sys.path.insert(0, str(path.parent))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name="__main__")
    assert stop.value.code == 0
    assert "examples" in capsys.readouterr().out


def forms(name: str, folder: Path) -> list[tuple[list[str], Path]]:
    """The ways to start a program: what comes after python, and in which folder."""
    (folder / "my examples").symlink_to(EXAMPLES)
    (folder / "elsewhere").mkdir()
    paths = [([str(EXAMPLES / name)], Path("/")), ([f"../my examples/{name}"], folder / "elsewhere")]
    inside = (["-m", name.removesuffix(".py")], EXAMPLES)
    return [*paths, inside] if name.endswith(".py") else [*paths, inside, (["-m", f"examples.{name}"], EXAMPLES.parent)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PROGRAMS, *TINY])
def test_help_shows_what_the_user_typed_and_can_be_pasted(name, tmp_path):
    pasted = []
    for program, cwd in forms(name, tmp_path):
        result = run_command([sys.executable, *program, "--help"], cwd)
        assert result.returncode == 0, result.stderr
        typed = " ".join([sys.executable, *(f"'{part}'" if " " in part else part for part in program)])
        assert result.stdout.startswith(f"usage: {typed}")
        examples = result.stdout[result.stdout.index("\nexamples") :].splitlines()
        lines = [line.strip() for line in examples if line.startswith(f"  {typed} ")]
        assert len(lines) >= 3
        pasted.append((lines[0].split("   ")[0], cwd))
    # A shell takes the line of the path with a space, and the program stops at an argument that does not exist.
    line, cwd = pasted[1]
    result = run_command(["bash", "-c", f"{line} --nonsense"], cwd)
    assert result.returncode == 2
    assert result.stderr.endswith("error: unrecognized arguments: --nonsense\n")


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A command of each program that takes a second, and the file that it writes."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from test_nerf import make_ball
    from test_point_refinement import make_folder
    from test_super_resolution import save_photos

    options = ["--steps=1", "--checkpoint", tmp_path / "out.pt"]

    def make(name):
        if name == "super_resolution":
            return ["train", "--data", save_photos(tmp_path / "photos"), "--batch=1", *options]
        if name == "point_refinement":
            return ["train", "--data", make_folder(tmp_path / "data"), "--batch=1", "--crop=16", *options]
        return ["train", make_ball(tmp_path / "ball", importlib.import_module("nerf.scene")), "--batch=8", *options]

    return lambda name: list(map(str, make(name)))


@pytest.mark.slow
@each_program
def test_a_program_works_wherever_it_is_started(name, command, tmp_path):
    arguments, output = command(name), tmp_path / "out.pt"
    for program, cwd in forms(name, tmp_path):
        result = run_command([sys.executable, *program, *arguments], cwd)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"Ready: {output}")
        output.unlink()


@pytest.mark.slow
@each_program
@pytest.mark.parametrize("form", ["-m", "path"])
def test_torchrun_starts_a_program(name, form, command, tmp_path):
    arguments, cwd = command(name), EXAMPLES if form == "-m" else tmp_path
    program = ["-m", name] if form == "-m" else [str(EXAMPLES / name)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    result = run_command([*torchrun, *program, *arguments], cwd)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Ready: {tmp_path / 'out.pt'}")
