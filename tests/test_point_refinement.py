"""The example of PointRend, on tiny pictures: as a program, and part by part."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from programs import starter, with_commands

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = ["--steps=6", "--batch=4", "--points=16", "--crop=16", "--lr=0.01"]


@pytest.fixture
def part(monkeypatch):
    """A module of the example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return lambda name: importlib.import_module(f"point_refinement.{name}")


@pytest.fixture
def call(part):
    """Run a subcommand in this process."""
    commands = part("commands")

    def run(*arguments):
        args = commands.make_parser().parse_args(list(map(str, arguments)))
        args.call(args)

    return run


@pytest.fixture
def start(part, monkeypatch, capsys):
    """Run the program in this process, as users do: exit code, stdout and stderr."""
    return starter(monkeypatch, capsys, "point_refinement", with_commands(part("commands")))


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "data")


def make_folder(folder: Path, n: int = 3, finer: int = 8) -> Path:
    """Bright discs on dark ground, and their masks."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i in range(n):
        y, x = np.mgrid[: 64 * finer, : 64 * finer] / finer - 32
        disc = np.hypot(x - 3 * i, y) < 12 + 4 * i
        light = disc.reshape(64, finer, 64, finer).mean((1, 3)) * 200 + np.random.default_rng(i).integers(40, size=(64, 64))
        Image.fromarray(light.astype(np.uint8)).convert("RGB").save(folder / "images" / f"{i}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / "masks" / f"{i}.png")
    return folder


def program(*arguments: str | Path, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the example as users do."""
    command = [sys.executable, *launcher, str(EXAMPLES / "point_refinement"), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=100, check=False)


def weights(path: Path) -> torch.Tensor:
    saved = torch.load(path, weights_only=True)
    return torch.cat([tensor.flatten() for tensor in saved["model"].values()])


def in_loops(pred, truth, width):
    """IoU and boundary IoU in percent, pixel by pixel."""
    h, w = truth.shape

    def edge(mask, i, j):
        near = [(y, x) for y in range(i - width, i + width + 1) for x in range(j - width, j + width + 1)]
        return bool(mask[i, j]) and any(not mask[y, x] for y, x in near if 0 <= y < h and 0 <= x < w)

    pixels = [(i, j) for i in range(h) for j in range(w)]
    ratios = []
    for marked in (lambda mask, i, j: bool(mask[i, j]), edge):
        both = sum(marked(pred, i, j) and marked(truth, i, j) for i, j in pixels)
        either = sum(marked(pred, i, j) or marked(truth, i, j) for i, j in pixels)
        ratios.append(100 * both / either if either else 100.0)
    return tuple(ratios)


@pytest.mark.parametrize("width", [1, 2])
def test_iou_and_boundary_iou_are_those_of_loops(width, part):
    metrics = part("metrics")
    generator = torch.Generator().manual_seed(width)
    rough = torch.rand(2, 1, 3, 4, generator=generator)
    pred, truth = (torch.nn.functional.interpolate(rough, (11, 14), mode="bilinear") > 0.5)[:, 0]
    found = metrics.iou(metrics.overlaps(pred[None], truth[None], width))
    assert found == pytest.approx(in_loops(pred, truth, width))
    assert 0 < found[1] < found[0] < 100


def test_equal_and_empty_masks_agree_entirely(part):
    metrics = part("metrics")
    full, empty = torch.ones(1, 9, 9, dtype=torch.bool), torch.zeros(1, 9, 9, dtype=torch.bool)
    for mask in (full, empty):
        assert metrics.iou(metrics.overlaps(mask, mask)) == (100, 100)
    assert metrics.iou(metrics.overlaps(full, empty)) == (0, 100)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(call, folder, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        call("train", "--data", folder, *TINY, "--seed", seed, "--checkpoint", tmp_path / name)
    assert torch.equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not torch.equal(weights(tmp_path / "one"), weights(tmp_path / "three"))


@pytest.mark.parametrize("options", [("--steps=1",), ("--steps=10",), ("--steps=2", f"--seed={2**63 - 1}")])
def test_any_number_of_steps_and_any_seed_will_do(options, call, folder, tmp_path):
    call("train", "--data", folder, *TINY, *options, "--checkpoint", tmp_path / "run.pt")
    assert weights(tmp_path / "run.pt").isfinite().all()


@pytest.mark.parametrize("strategy", ["uniform", "heavy"])
def test_a_strategy_is_part_of_a_run(strategy, call, folder, tmp_path):
    call("train", "--data", folder, *TINY, "--checkpoint", tmp_path / "run.pt")
    with pytest.raises(SystemExit, match=f"is of another run: strategy mild there and {strategy} here"):
        call("train", "--data", folder, *TINY, "--checkpoint", tmp_path / "run.pt", "--strategy", strategy)


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(call, folder, part, tmp_path, monkeypatch):
    training = part("training")
    train = partial(call, "train", "--data", folder, *TINY, "--checkpoint")
    train(tmp_path / "whole.pt")
    make_loss, steps = training.make_loss, []

    def interrupted(*arguments):
        loss_of = make_loss(*arguments)

        def loss(*others):
            steps.append(None)
            if len(steps) == 4:
                raise KeyboardInterrupt
            return loss_of(*others)

        return loss

    monkeypatch.setattr(training, "Trainer", partial(training.Trainer, seconds=-1))
    monkeypatch.setattr(training, "make_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts.pt")
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["step"] == 3
    train(tmp_path / "parts.pt")
    assert len(steps) == 4 + 3
    assert torch.equal(weights(tmp_path / "whole.pt"), weights(tmp_path / "parts.pt"))


def test_killed_while_writing_leaves_the_old_checkpoint(call, folder, tmp_path, monkeypatch):
    path = tmp_path / "run" / "run.pt"
    train = partial(call, "train", "--data", folder, *TINY, "--checkpoint", path)
    train()
    before = path.read_bytes()

    def half(path, data):
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        train("--restart")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
def test_two_processes_learn_what_one_does(folder, call, tmp_path):
    train = ["train", "--data", folder, *TINY, "--checkpoint"]
    call(*train, tmp_path / "one.pt")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    result = program(*train, tmp_path / "two.pt", launcher=launcher)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"Ready: {tmp_path / 'two.pt'}\n"
    torch.testing.assert_close(weights(tmp_path / "two.pt"), weights(tmp_path / "one.pt"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(70, 201), (3, 5), (64, 64)])
def test_predict_writes_a_mask_eight_times_finer(size, call, tmp_path, folder, capsys):
    photo, output, checkpoint = tmp_path / "photo.png", tmp_path / "new" / "mask.png", tmp_path / "run.pt"
    pixels = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    call("train", "--data", folder, *TINY, "--checkpoint", checkpoint)
    call("predict", photo, "-o", output, "--checkpoint", checkpoint)
    with Image.open(output) as mask:
        assert mask.size == (8 * size[0], 8 * size[1])
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert list(output.parent.iterdir()) == [output]
    assert "100%" in capsys.readouterr().err


def test_windows_cover_each_pixel_once_and_see_around_it(part):
    predict, model = part("predict"), part("model")
    seen, covered = np.zeros((131, 400), int), np.zeros((131 * 8, 400 * 8), int)
    for looked, kept, place in predict.windows(131, 400):
        seen[looked] += 1
        covered[place] += 1
        assert all(piece.start % model.STRIDE == 0 and (piece.stop - piece.start) % model.STRIDE == 0 for piece in looked)
        assert [piece.stop - piece.start for piece in kept] == [piece.stop - piece.start for piece in place]
    assert (covered == 1).all()
    assert seen.min() >= 1


def test_windows_see_as_far_as_the_network_does(part):
    model, ways = part("model"), part("ways")
    torch.manual_seed(0)
    net = model.PointRefiner().eval()
    image = torch.randint(256, (3, 128, 200), dtype=torch.uint8)
    with torch.inference_mode():
        whole = net.maps(ways.to_images(image))[-1]
        piece = net.maps(ways.to_images(image[..., 64 - model.HALO :]))[-1]
    torch.testing.assert_close(whole[..., 16:], piece[..., model.HALO // 4 :], rtol=1e-4, atol=1e-5)


def test_an_interrupted_prediction_leaves_nothing(call, part, folder, tmp_path, monkeypatch):
    checkpoint, output = tmp_path / "run.pt", tmp_path / "new" / "mask.png"
    call("train", "--data", folder, *TINY, "--checkpoint", checkpoint)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(part("predict"), "refine", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call("predict", folder / "images" / "0.png", "-o", output, "--checkpoint", checkpoint)
    assert list(output.parent.iterdir()) == []


@pytest.mark.slow
def test_evaluate_writes_numbers_and_a_picture(call, part, folder, tmp_path, capsys, monkeypatch):
    results, picture = tmp_path / "results.json", tmp_path / "picture.png"
    arguments = ["--seeds", 0, 1, "--steps=2", "--batch=2", "--runs", tmp_path / "runs", "--results", results, "--picture", picture]
    call("evaluate", "--data", folder, *arguments)
    found = json.loads(results.read_text())
    assert found["seeds"] == [0, 1]
    assert found["rows"]["main"]["PointRend"]["points"] == 5 * 28**2
    assert found["rows"]["main"]["point head everywhere"]["points"] == 512**2
    assert len(found["rows"]["strategies"]["heavy"]["iou"]) == 2
    assert list(found["rows"]["sweep"]) == ["32", "64", "128", "256", "512"]
    equal = [found["rows"]["main"][name]["multiply_adds"] for name in ("PointRend", "dense head at stride 1")]
    assert equal[0] == pytest.approx(equal[1], rel=0.05)
    assert "| PointRend |" in capsys.readouterr().out
    with Image.open(picture) as drawn:
        assert drawn.width > 800
    # All is trained now; measuring again needs no training.
    monkeypatch.setattr(part("training"), "cut_crops", None)
    call("evaluate", "--data", folder, *arguments)
    again = json.loads(results.read_text())
    assert again["rows"]["main"]["PointRend"]["iou"] == found["rows"]["main"]["PointRend"]["iou"]


def test_crops_of_image_and_mask_are_the_same_place(part, folder):
    training, data = part("training"), part("data")
    pairs = data.read_folder(folder)
    crops = training.draw_crops(pairs, 32, 40, torch.Generator().manual_seed(0))
    assert set(crops[:, 0].tolist()) == {0, 1, 2}
    assert set(crops[:, 3].tolist()) == set(range(8))
    images, masks = training.cut_crops(pairs, crops, 32)
    light = torch.stack([torch.nn.functional.avg_pool2d(mask, 8)[0, 0] for mask in masks])
    assert (images.mean(1) - light * 200 / 255).abs().max() < 0.2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: (data / "images" / "1.png").write_text("no pixels"), "cannot read the image {data}/images/1.png"),
        (lambda data: (data / "masks" / "1.png").write_bytes(b""), "cannot read the image {data}/masks/1.png"),
        (lambda data: (data / "masks" / "2.png").unlink(), "{data}/images/2.png has no mask: there is no {data}/masks/2"),
        (lambda data: Image.new("L", (65, 64)).save(data / "masks" / "0.png"), "{data}/masks/0.png has 65 x 64 pixels, which is no whole"),
        (
            lambda data: Image.new("L", (128, 64)).save(data / "masks" / "0.png"),
            "no whole multiple of the 64 x 64 pixels of {data}/images/0",
        ),
        (lambda data: Image.new("L", (32, 32)).save(data / "masks" / "0.png"), "{data}/masks/0.png has 32 x 32 pixels"),
        (lambda data: [Image.new("L", (40, 64)).save(data / part / "0.png") for part in ("images", "masks")], "at least 64 x 64"),
        (lambda data: (data / "masks").rename(data / "labels"), "there is no folder {data}/masks"),
        (lambda data: [(data / "images" / f"{i}.png").unlink() for i in range(3)], "there are no pictures in {data}/images"),
        (lambda data: [(data / "images" / f"{i}.png").unlink() for i in range(2)], "at least 2 are needed"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(spoil, reason, call, folder, tmp_path):
    spoil(folder)
    with pytest.raises(SystemExit) as stop:
        call("train", "--data", folder, *TINY, "--checkpoint", tmp_path / "run.pt")
    assert reason.format(data=folder) in stop.value.code
    assert len(stop.value.code.splitlines()) == 1


def test_a_missing_package_is_named(part, tmp_path, monkeypatch):
    data = part("data")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="pip install --no-deps pyvista global-land-mask"):
        data.load(None, tmp_path)


def test_the_land_mask_is_thinned_out_row_by_row(part, tmp_path, monkeypatch):
    data = part("data")
    ocean = np.random.default_rng(0).random((26, 52)) < 0.5
    np.savez_compressed(tmp_path / "mask.npz", mask=ocean)
    monkeypatch.setattr(data, "EARTH_MASK", (10, 20))
    nearest = np.round((np.arange(20) + 0.5) * 2.6 - 0.5 - 1e-9).astype(int)
    assert (data.shrink_earth_mask(tmp_path / "mask.npz") == ~ocean[nearest[:10]][:, nearest]).all()


def spoil_checkpoint(path: Path, how: str) -> None:
    """Make a checkpoint one that is not to be used."""
    data = bytearray(path.read_bytes())
    files = {"missing": None, "damaged": b"PK", "empty": b"", "flipped byte": data}
    if how in files:
        data[len(data) // 2] ^= 4
        path.unlink()
        if files[how] is not None:
            path.write_bytes(files[how])
        return
    checkpoint = importlib.import_module("_checkpoint")
    saved = checkpoint.read_checkpoint(path, "point_refinement")
    changes = {
        "another program": {"settings": saved["settings"] | {"program": "nerf"}},
        "head unknown": {"settings": saved["settings"] | {"head": "none"}},
        "channels a text": {"settings": saved["settings"] | {"channels": "16"}},
        "spent NaN": {"spent": float("nan")},
        "no weights": {"model": {}},
    }
    checkpoint.write_checkpoint(path, saved | changes[how])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "there is no checkpoint {path}; make one with the subcommand train"),
        ("damaged", "cannot use the checkpoint {path}: it has no checksum at its end"),
        ("empty", "cannot use the checkpoint {path}: it is empty"),
        ("flipped byte", "cannot use the checkpoint {path}: it is damaged: its contents do not agree with its checksum"),
        ("another program", "cannot use the checkpoint {path}: it is not of the program point_refinement"),
        ("head unknown", "cannot use the checkpoint {path}: its settings make no network (KeyError: 'none')"),
        ("channels a text", "cannot use the checkpoint {path}: its setting 'channels' must be int, not str"),
        ("spent NaN", "cannot use the checkpoint {path}: its seconds spent must be a number of at least 0, not nan"),
        ("no weights", "cannot use the checkpoint {path}: its model lacks the tensor fine.0.weight"),
    ],
)
def test_a_bad_checkpoint_ends_every_command_with_one_line(how, reason, start, folder, tmp_path, monkeypatch):
    """The exit code is 2; nothing is written, and nothing is trained."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.pt"
    assert start("train", "--data", folder, *TINY, "--checkpoint", path)[0] == 0
    spoil_checkpoint(path, how)
    before = sorted(tmp_path.iterdir())
    commands = [["predict", folder / "images" / "0.png"], ["picture", "--data", folder]]
    if how != "missing":
        commands.append(["train", "--data", folder, *TINY])
    for command in commands:
        code, out, error = start(*command, "--checkpoint", path)
        assert (code, out, len(error.splitlines())) == (2, "", 1)
        # Train compares the settings with those of its own.
        assert reason.format(path=path) in error or f"{path} is of another run: " in error
        assert error.startswith("python -m point_refinement: error: ")
    assert sorted(tmp_path.iterdir()) == before


def test_training_is_prolonged_by_the_command(start, folder, tmp_path):
    options = ["--data", folder, *TINY, "--checkpoint", tmp_path / "run.pt"]
    for steps, said in ((3, "Ready: "), (3, "has all 3 steps already"), (5, "has 3 of 3 steps; from here on, the learning rate is")):
        code, out, _ = start("train", *options, f"--steps={steps}")
        assert code == 0
        assert said in out
    code, _, error = start("train", *options, "--steps=4")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "has 5 steps of training already, and this command asks for 4; pass --steps 5 or more, or train with --restart" in error


def test_outputs_are_in_the_folder_in_which_the_program_runs(part):
    """Not where the committed results are."""
    parser = part("commands").make_parser()
    args = parser.parse_args(["evaluate"])
    assert (args.results, args.picture) == (Path("point_refinement_results.json"), Path("point_refinement.png"))
    assert parser.parse_args(["picture"]).output == Path("point_refinement.png")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "--steps=0"], "--steps: must be a whole number of at least 1, not 0"),
        (["train", "--strategy=wild"], "invalid choice: 'wild'"),
        (["train", "--crop=65"], "--crop: must be a whole number from 4 to 64, not 65"),
        (["train", "--lr=-1"], "--lr: must be"),
        (["predict", "photo.png", "-o", "mask.jpg"], "'mask.jpg' must end in .png"),
        (["evaluate", "--seeds"], "--seeds: expected at least one argument"),
        ([], "arguments are required: COMMAND"),
    ],
)
def test_bad_options_are_explained(arguments, reason, call, capsys):
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.slow
def test_bad_input_ends_the_program_with_one_line(tmp_path):
    result = program("train", "--data", tmp_path)
    assert result.returncode == 2
    reason = f"error: there is no folder {tmp_path}/images; --data needs images/ and masks/ in it"
    assert result.stderr == f"{sys.executable} {EXAMPLES / 'point_refinement'}: {reason}\n"


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "picture"])
def test_help_teaches(command, call, capsys):
    with pytest.raises(SystemExit) as stop:
        call(command, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples", f"python -m point_refinement {command}", "default:", "--threads"):
        assert word in text
