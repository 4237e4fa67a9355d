"""The example super_resolution: training that goes on, is shared and survives; enlarging piece by piece; errors in one line."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import torchsample as ts
from programs import starter, with_commands

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = ["--steps=4", "--batch=2", "--threads=1"]


@pytest.fixture
def example(monkeypatch):
    """The modules of the example, by name, with a network small enough for tests."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    training = importlib.import_module("super_resolution.training")
    monkeypatch.setattr(training, "SHAPE", training.SHAPE | {"channels": 4, "blocks": 1, "width": 8})
    return lambda name: importlib.import_module(f"super_resolution.{name}")


@pytest.fixture
def start(example, monkeypatch, capsys):
    """Run the program in this process, as users do: exit code, stdout and stderr."""
    return starter(monkeypatch, capsys, "super_resolution", with_commands(example("commands")))


def save_photos(folder: Path, count: int = 3, side: int = 48) -> Path:
    """Smooth colourful pictures, of slightly different sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        y, x = np.mgrid[0:side, 0 : side + number] / side
        waves = [np.sin(7 * x + number), np.cos(9 * y * x), np.sin(11 * (x + y))]
        Image.fromarray((127 + 120 * np.stack(waves, -1)).astype(np.uint8)).save(folder / f"photo{number}.png")
    return folder


def run(cwd: Path, *arguments: object, processes: int = 1, code: int = 0) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launcher, str(EXAMPLES / "super_resolution"), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == code, result.stderr
    return result


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def settings_of(example, photos, **changes):
    shape = example("training").SHAPE
    return shape | {"program": "super_resolution", "seed": 0, "steps": 6, "batch": 2, "lr": 1e-3, "photos": sorted(photos)} | changes


@pytest.fixture
def trained(example, tmp_path):
    """A checkpoint of a tiny network."""
    photos = example("data").find_photos(save_photos(tmp_path / "photos"), "train")
    path = tmp_path / "tiny.pt"
    example("training").fit(settings_of(example, photos), photos, torch.device("cpu"), path, restart=False)
    return path


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    photos = save_photos(tmp_path / "photos")
    for processes in (1, 2):
        output = run(tmp_path, "train", *TINY, "--data", photos, "--checkpoint", f"{processes}.pt", processes=processes)
        assert output.stdout == f"Ready: {processes}.pt, trained on 2 photographs\n"
    one, two = weights(tmp_path / "1.pt"), weights(tmp_path / "2.pt")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("example")
def test_a_batch_must_divide_among_the_processes():
    shared = importlib.import_module("_training")
    with pytest.raises(SystemExit, match="a batch of 4 does not divide among 3 processes; change --batch"):
        shared.Trainer(torch.nn.Linear(1, 1), shared.Team(0, 3, torch.device("cpu")), {"batch": 4}, None)


def test_an_interrupted_training_goes_on_to_the_same_result(example, tmp_path):
    photos = example("data").find_photos(save_photos(tmp_path / "photos"), "train")
    training, shared = example("training"), importlib.import_module("_training")
    settings, device = settings_of(example, photos), torch.device("cpu")
    training.fit(settings, photos, device, tmp_path / "whole.pt", restart=False)
    draw, calls = training.draw_batch, []

    def draw_some(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return draw(*arguments)

    with (
        mock.patch.object(shared.Trainer.__init__, "__defaults__", (0.0, None)),
        mock.patch.object(training, "draw_batch", draw_some),
        pytest.raises(KeyboardInterrupt),
    ):
        training.fit(settings, photos, device, tmp_path / "parts.pt", restart=False)
    saved = torch.load(tmp_path / "parts.pt", weights_only=True)
    assert saved["step"] == 3
    training.fit(settings, photos, device, tmp_path / "parts.pt", restart=False)
    whole, parts = weights(tmp_path / "whole.pt"), weights(tmp_path / "parts.pt")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_write_that_is_cut_off_leaves_the_checkpoint(example, trained, tmp_path):
    before = trained.read_bytes()
    photos = example("data").find_photos(tmp_path / "photos", "train")

    def cut_off(path, data):
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError("no space left")

    with mock.patch.object(Path, "write_bytes", cut_off), pytest.raises(SystemExit, match=r"error: cannot write .*tiny.pt: no space left"):
        example("training").fit(settings_of(example, photos), photos, torch.device("cpu"), trained, restart=True)
    assert trained.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "tiny.pt"]


def test_another_run_is_not_overwritten(example, trained, tmp_path):
    photos = example("data").find_photos(tmp_path / "photos", "train")
    with pytest.raises(SystemExit, match=r"is of another run: lr 0.001 there and 0.5 here. Remove it"):
        example("training").fit(settings_of(example, photos, lr=0.5), photos, torch.device("cpu"), trained, restart=False)


@pytest.mark.parametrize("size", [(130, 101), (48, 48), (77, 200)])
def test_pieces_make_the_same_picture_as_the_whole(example, trained, tmp_path, size):
    upscale, data = example("upscale"), example("data")
    model = example("training").load(trained, torch.device("cpu"))
    photo = data.open_picture(tmp_path / "photos" / "photo0.png")
    out = ts.tiled(upscale.Tiles(model, photo, size, torch.device("cpu")), size, np.zeros((*size[::-1], 3), np.uint8), 37)
    whole = data.to_bytes(model.enlarge(importlib.import_module("_common").to_map(photo), size)[0].movedim(0, -1))
    # A colour halfway between two whole numbers may be rounded to either.
    assert np.abs(out.astype(int) - whole).max() <= 1
    assert (out != whole).mean() < 0.01


@pytest.mark.slow
def test_upscale_writes_pictures_of_any_size(trained, tmp_path):
    photo = tmp_path / "photos" / "photo1.png"
    for name, options, size in (("a.png", ["--scale", "1.5"], (74, 72)), ("b.tif", ["--size", "99x60"], (99, 60))):
        output = run(tmp_path, "upscale", photo, *options, "-o", tmp_path / "new" / name, "--checkpoint", trained, "--tile", 40)
        assert f"{size[0]} x {size[1]} pixels" in output.stdout
        with Image.open(tmp_path / "new" / name) as picture:
            assert picture.size == size
    assert "100%" in output.stderr


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_interrupting_leaves_the_old_picture(example, trained, tmp_path, name):
    (tmp_path / "out").mkdir()
    old = tmp_path / "out" / name
    old.write_text("old")
    program, upscale = example("commands"), example("upscale")
    arguments = ["upscale", str(tmp_path / "photos" / "photo0.png"), "--scale=3", "-o", str(old), "--checkpoint", str(trained), "--tile=32"]
    args, calls, colours = program.make_parser().parse_args(arguments), [], upscale.to_bytes

    def stop(values):
        calls.append(values)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return colours(values)

    with mock.patch.object(upscale, "to_bytes", stop), pytest.raises(KeyboardInterrupt):
        upscale.upscale(args)
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_evaluate_saves_the_table_that_it_prints(example, trained, tmp_path, capsys):
    save_photos(tmp_path / "own" / "test", 1, 80)
    save_photos(tmp_path / "own" / "train", 2)
    program, results = example("commands"), tmp_path / "results.json"
    common = ["--data", str(tmp_path / "own"), "--results", str(results), *TINY]
    for arguments in (["--checkpoint", str(trained)], ["--ablation", "--seeds", "0", "1", "--runs", str(tmp_path / "runs")]):
        args = program.make_parser().parse_args(["evaluate", *common, *arguments])
        args.call(args)
    printed, saved = capsys.readouterr().out, json.loads(results.read_text())
    assert f"| LIIF | {saved['scores']['2']['LIIF']['photo0']:.2f} |" in printed
    assert set(saved["scores"]) == {"2", "3", "4", "6", "8"}
    assert set(saved["ablation"]["runs"]) == {"LIIF", "without cell", "without ensemble", "without unfolding"}
    assert all(len(gains) == 2 for gains in saved["ablation"]["runs"].values())
    assert saved["run"]["settings"]["seed"] == 0


def test_psnr_is_of_whole_numbers_without_the_border(example):
    scores, generator = example("scores"), np.random.default_rng(0)
    image, truth = generator.random((3, 9, 8)), generator.integers(256, size=(3, 9, 8)) / 255
    errors = []
    for c in range(3):
        for y in range(2, 7):
            for x in range(2, 6):
                errors.append((round(255 * image[c, y, x]) / 255 - truth[c, y, x]) ** 2)
    expected = -10 * np.log10(np.mean(errors))
    found = scores.shaved_psnr(torch.from_numpy(image)[None], torch.from_numpy(truth)[None], 2)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["upscale", "{photo}", "--checkpoint=none.pt"], "there is no checkpoint none.pt; make one with the subcommand train"),
        (["upscale", "{photo}", "--checkpoint={photo}"], "cannot use the checkpoint {photo}: it has no checksum"),
        (["upscale", "none.png", "--checkpoint={trained}"], "cannot read the image none.png: No such file"),
        (["upscale", "{broken}", "--checkpoint={trained}"], "cannot read the image {broken}"),
        (["upscale", "{photo}", "--checkpoint={trained}", "--size=20000x20000"], "piece by piece, as TIFF: pass -o"),
        (["upscale", "{photo}", "--checkpoint={trained}", "-o=a.doc"], "a.doc must end as a picture does"),
        (["train", "--data=nowhere"], "there is no folder nowhere"),
        (["train", "--data={empty}"], "there are no pictures in {empty}"),
    ],
)
def test_errors_name_the_file(example, trained, tmp_path, arguments, reason):
    broken, empty = tmp_path / "broken.png", tmp_path / "empty"
    broken.write_text("no pixels")
    empty.mkdir()
    names = {"photo": tmp_path / "photos" / "photo0.png", "trained": trained, "broken": broken, "empty": empty}
    args = example("commands").make_parser().parse_args([argument.format(**names) for argument in arguments])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as stop:
        args.call(args)
    assert reason.format(**names) in str(stop.value)
    assert len(str(stop.value).splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def spoil(path: Path, how: str) -> None:
    """Make a checkpoint one that is not to be used."""
    if how in ("empty", "flipped byte", "earlier version"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes({"empty": b"", "flipped byte": data, "earlier version": data[:-72]}[how])
        return
    checkpoint = importlib.import_module("_checkpoint")
    saved = checkpoint.read_checkpoint(path, "super_resolution")
    name = "encoder.head.weight"
    changes = {
        "another program": {"settings": saved["settings"] | {"program": "nerf"}},
        "settings a list": {"settings": [1]},
        "width a text": {"settings": saved["settings"] | {"width": "8"}},
        "step -5": {"step": -5},
        "no weights": {"model": {}},
        "weight NaN": {"model": saved["model"] | {name: saved["model"][name] * torch.nan}},
        "weight of doubles": {"model": saved["model"] | {name: saved["model"][name].double()}},
    }
    checkpoint.write_checkpoint(path, saved | changes[how])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("empty", "it is empty"),
        ("flipped byte", "it is damaged: its contents do not agree with its checksum"),
        ("earlier version", "it has no checksum at its end"),
        ("another program", "it is not of the program super_resolution"),
        ("settings a list", "its field 'settings' must be dict, not list"),
        ("width a text", ""),
        ("step -5", "its step must be from 1 to its 6 steps, not -5"),
        ("no weights", "its model lacks the tensor encoder.head.weight"),
        ("weight NaN", "its model's tensor encoder.head.weight holds NaN or infinite numbers"),
        ("weight of doubles", "its model's tensor encoder.head.weight must be float32 (4, 3, 3, 3), not float64 (4, 3, 3, 3)"),
    ],
)
@pytest.mark.parametrize("command", ["train", "upscale", "evaluate", "picture"])
def test_a_bad_checkpoint_ends_every_command_with_one_line(start, trained, tmp_path, monkeypatch, command, how, reason):
    """The exit code is 2; nothing is written, and nothing is trained."""
    monkeypatch.chdir(tmp_path)
    spoil(trained, how)
    photos = ["--data", tmp_path / "photos"]
    options = {
        "train": [*photos, "--steps=6", "--batch=2", "--lr=1e-3"],
        "upscale": [tmp_path / "photos" / "photo0.png"],
        "evaluate": photos,
    }
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    code, out, error = start(command, *options.get(command, []), "--checkpoint", trained)
    assert (code, out, len(error.splitlines())) == (2, "", 1)
    if how == "width a text" and command == "train":
        assert f"error: {trained} is of another run: width 8 there and 8 here. Remove it" in error
    else:
        reason = reason or "its setting 'width' must be int, not str"
        assert error.startswith(f"python -m super_resolution: error: cannot use the checkpoint {trained}: {reason}")
    assert error.endswith("Remove it, or train with --restart.\n")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_training_is_prolonged_by_the_command(start, tmp_path):
    options = ["--data", save_photos(tmp_path / "photos"), "--checkpoint", tmp_path / "run.pt", "--batch=2"]
    for steps, said in (
        (3, "Ready: "),
        (3, "has all 3 steps already"),
        (5, "has 3 of 3 steps; from here on, the learning rate is that of"),
    ):
        code, out, _ = start("train", *options, f"--steps={steps}")
        assert code == 0
        assert said in out
    code, _, error = start("train", *options, "--steps=4")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "run.pt has 5 steps of training already, and this command asks for 4; pass --steps 5 or more, or train with --restart" in error
    assert start("train", *options, "--steps=4", "--restart")[0] == 0


def test_evaluate_writes_to_the_folder_in_which_it_runs(start, trained, tmp_path, monkeypatch):
    """Not to the results that belong to the example; what is in the file already stays, and what is no results is left alone."""
    monkeypatch.chdir(tmp_path)
    committed = EXAMPLES / "super_resolution" / "results.json"
    before = committed.read_bytes()
    save_photos(tmp_path / "own", 1, 80)
    results = tmp_path / "super_resolution_results.json"
    results.write_text('{"ablation": 1}')
    assert start("evaluate", "--checkpoint", trained, "--data", "own")[0] == 0
    assert set(json.loads(results.read_text())) == {"ablation", "run", "scores"}
    assert committed.read_bytes() == before
    results.write_text("[1")
    code, _, error = start("evaluate", "--checkpoint", trained, "--data", "own")
    assert (code, error.splitlines()[-1].split("error: ")[1]) == (2, f"{results.name} holds no results; remove it, or pass --results")
    assert results.read_text() == "[1"


def test_a_full_disk_is_noticed_before_the_work(example, start, trained, tmp_path, monkeypatch):
    """A mapped file would end the program by a signal, and leave half of itself."""

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    monkeypatch.setattr(example("upscale"), "to_bytes", None)
    output = tmp_path / "out" / "a.tif"
    code, out, error = start("upscale", tmp_path / "photos" / "photo0.png", "-o", output, "--checkpoint", trained)
    assert (code, out) == (2, "")
    assert error == f"python -m super_resolution: error: cannot write {output}: No space left on device\n"
    assert list(output.parent.iterdir()) == []


def test_upscale_removes_what_killed_runs_left(start, trained, tmp_path):
    photo, output = tmp_path / "photos" / "photo0.png", tmp_path / "new folder" / "out.tif"
    output.parent.mkdir()
    dead, alive = (output.with_name(f".out.{number}.partial.tif") for number in (2**22 + 1, os.getppid()))
    for path in (dead, alive):
        path.write_text("half")
    assert start("upscale", photo, "-o", output, "--checkpoint", trained, "--scale=1.5")[0] == 0
    assert sorted(output.parent.iterdir()) == sorted([alive, output])


@pytest.mark.slow
def test_an_error_is_one_line_and_exit_code_2(tmp_path):
    error = run(tmp_path, "train", "--data=nowhere", code=2).stderr
    assert error == f"{sys.executable} {EXAMPLES / 'super_resolution'}: error: there is no folder nowhere\n"


@pytest.mark.parametrize("argument", ["--scale=0.5", "--scale=much", "--size=20x", "--tile=1"])
def test_bad_options_are_explained(example, argument, capsys):
    with pytest.raises(SystemExit) as stop:
        example("commands").make_parser().parse_args(["upscale", "a.png", argument])
    assert stop.value.code == 2
    assert argument.split("=")[0] in capsys.readouterr().err


def test_help_teaches(start):
    code, whole, _ = start("--help")
    assert code == 0
    for word in ("train", "upscale", "evaluate", "picture", "torchrun", "examples"):
        assert word in whole
    for command in ("train", "upscale", "evaluate", "picture"):
        assert "(default: " in start(command, "--help")[1]


@pytest.mark.slow
def test_a_small_network_learns(example):
    """Sharp edges, which bicubic interpolation blurs."""
    y, x = np.mgrid[0:96, 0:96]
    stripes = np.stack([(x + 2 * y) // 17 % 2, (3 * x - y) // 29 % 2, (x // 11 + y // 13) % 2], -1)
    photos = {"stripes": Image.fromarray((40 + 170 * stripes).astype(np.uint8))}
    training, scores = example("training"), example("scores")
    settings = settings_of(example, photos, steps=150, lr=5e-3, channels=12, width=32, batch=4)
    model = training.fit(settings, photos, torch.device("cpu"), None, restart=False)
    small, truth = scores.pair(photos["stripes"], 3)
    size = ts.tensor_to_size(truth)
    learnt, bicubic = model.enlarge(small, size), scores.pillow_bicubic(small, size)
    assert scores.shaved_psnr(learnt, truth, 3) > scores.shaved_psnr(bicubic, truth, 3)
