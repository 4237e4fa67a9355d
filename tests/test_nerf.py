"""The example nerf: scenes from folders, training that goes on and is shared, views rendered; errors in one line."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from programs import starter, with_commands

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "nerf": {"steps": 4, "batch": 8, "samples": 4, "fine_samples": 4, "order": 2, "width": 8},
    "voxels": {"steps": 4, "batch": 8, "samples": 16, "side": 8, "cells": 4},
    "triplane": {"steps": 4, "batch": 8, "samples": 16, "side": 8, "channels": 4, "cells": 4},
}


@pytest.fixture
def example(monkeypatch):
    """The modules of the example, by name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return lambda name: importlib.import_module(f"nerf.{name}")


@pytest.fixture
def start(example, monkeypatch, capsys):
    """Run the program in this process, as users do: exit code, stdout and stderr."""
    return starter(monkeypatch, capsys, "nerf", with_commands(example("commands")))


def ball_scene(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Colour and opacity of a ball of radius 0.7, coloured by its place."""
    b, c = (origins * directions).sum(-1), (origins**2).sum(-1) - 0.49
    room = b**2 - c
    points = origins + (-b - np.sqrt(np.maximum(room, 0)))[:, None] * directions
    return np.where(room[:, None] > 0, np.concatenate([0.5 + 0.5 * points / 0.7, np.ones_like(points[:, :1])], 1), 0)


@pytest.fixture
def folder(example, tmp_path):
    return make_ball(tmp_path / "ball", example("scene"))


def make_ball(folder: Path, scene: ModuleType) -> Path:
    """Photographs of a ball."""
    for part, count in (("train", 12), ("test", 3)):
        (folder / part).mkdir(parents=True)
        frames = []
        for number, pose in enumerate(scene.poses_around(count)):
            rgba = ball_scene(*scene.camera_rays(pose, 24)).reshape(24, 24, 4)
            Image.fromarray((255 * rgba).round().astype(np.uint8)).save(folder / part / f"r_{number}.png")
            frames.append({"file_path": f"./{part}/r_{number}", "transform_matrix": pose.tolist()})
        text = json.dumps({"camera_angle_x": scene.FIELD_OF_VIEW, "bound": 1.0, "frames": frames})
        (folder / f"transforms_{part}.json").write_text(text)
    return folder


def fit(example, folder, field, checkpoint=None, restart=False, **changes):
    training = example("training")
    views = example("data").read_views(folder, "train")
    settings = training.make_settings(field, views, **SMALL[field] | changes)
    return training.fit(settings, views, torch.device("cpu"), checkpoint, restart)


def run(cwd: Path, *arguments: object, processes: int = 1, status: int = 0) -> subprocess.CompletedProcess:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launcher, str(EXAMPLES / "nerf"), *map(str, arguments)]
    result = subprocess.run(
        command, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == status, result.stderr
    return result


def test_rays_go_through_the_pixels_of_the_photographs(example, folder):
    """Our cameras against the caster's own formula, which does not use this library."""
    import torchsample as ts

    views, scene = example("data").read_views(folder, "train"), example("scene")
    rays = ts.ray.pinhole(ts.coord.full(0, views.size), views.poses[5], views.size, fov=views.fov)
    origins, directions = scene.camera_rays(views.poses[5].double().numpy(), 24)
    np.testing.assert_allclose(rays.origins.reshape(-1, 3), origins, atol=1e-6)
    np.testing.assert_allclose(rays.directions.reshape(-1, 3), directions, atol=1e-6)


@pytest.mark.parametrize("field", SMALL)
def test_the_same_seed_gives_the_same_field_wherever_it_was_interrupted(example, folder, tmp_path, field):
    whole = fit(example, folder, field, tmp_path / "whole.pt")
    training, shared, calls = example("training"), importlib.import_module("_training"), []
    draw = training._draw

    def draw_some(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*arguments)

    with (
        mock.patch.object(shared.Trainer.__init__, "__defaults__", (0.0, None)),
        mock.patch.object(training, "_draw", draw_some),
        pytest.raises(KeyboardInterrupt),
    ):
        fit(example, folder, field, tmp_path / "parts.pt")
    parts = fit(example, folder, field, tmp_path / "parts.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    again = training.load(tmp_path / "whole.pt", torch.device("cpu"))
    pose = example("data").read_views(folder, "test").poses[0]
    first, second = (example("rendering").render_view(model.eval(), pose, (8, 8), 0.7) for model in (whole, again))
    assert torch.equal(first.colour, second.colour)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["voxels", "nerf"])
def test_a_field_learns_the_ball(example, folder, field):
    """Far better than a white picture, on views that it has not seen."""
    changes = {
        "voxels": {"steps": 120, "batch": 256, "side": 24, "cells": 12},
        "nerf": {"steps": 150, "batch": 128, "width": 24, "samples": 16},
    }
    model = fit(example, folder, field, **changes[field], lr=1e-2).eval()
    test = example("data").read_views(folder, "test")
    found = example("scores").measure(model, test)
    white = -10 * (1 - test.images).square().mean().log10().item()
    assert found["psnr"] > white + 6
    assert found["ssim"] > 0.6


@pytest.mark.slow
@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("field", SMALL)
def test_two_processes_learn_what_one_does(folder, tmp_path, field):
    """To rounding, which Adam's first steps make more of: they only see the sign of a gradient."""
    for processes in (1, 2):
        options = ["--field", field, "--steps", 10, "--batch", 64, "--views", 7, "--threads", 1, "--checkpoint", f"{processes}.pt"]
        assert "PSNR=" in run(tmp_path, "train", folder, *options, processes=processes).stderr
    one, two = (torch.load(tmp_path / f"{processes}.pt", weights_only=True)["model"] for processes in (1, 2))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-2, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("field", ["voxels", "nerf"])
def test_training_that_fails_says_so_and_saves_nothing(folder, tmp_path, field):
    options = ["--field", field, "--steps", 20, "--batch", 64, "--lr", 1e29, "--checkpoint", "v.pt"]
    result = run(tmp_path, "train", folder, *options, status=2)
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert "NaN" in line
    assert "Traceback" not in result.stderr
    assert list(tmp_path.glob("*.pt")) == list(tmp_path.glob(".*.pt")) == []


def test_make_data_photographs_a_mesh(example, tmp_path):
    """Of a ball, exact colours aside: distances and outlines are those of a formula, cameras those that the files say."""
    import trimesh

    trimesh.creation.icosphere(subdivisions=5, radius=3.0).apply_translation([1, 2, 3]).export(tmp_path / "ball.ply")
    args = (
        example("commands")
        .make_parser()
        .parse_args(["make-data", str(tmp_path / "ball.ply"), "--views", "4", "--size", "32", "-o", str(tmp_path / "made")])
    )
    args.call(args)
    views = example("data").read_views(tmp_path / "made", "train")
    assert views.images.shape == (4, 32, 32, 3)
    assert len(example("data").read_views(tmp_path / "made", "test").images) == 2
    scene, pose = example("scene"), views.poses[1].double().numpy()
    origins, directions = scene.camera_rays(pose, 32)
    b, room = (origins * directions).sum(-1), (origins * directions).sum(-1) ** 2 - (origins**2).sum(-1) + 0.81
    depth = np.load(tmp_path / "made" / "train" / "r_1_depth.npy").reshape(-1)
    inside, outside = room > 0.02, room < 0
    np.testing.assert_allclose(depth[inside], (-b - np.sqrt(room.clip(0)))[inside], rtol=2e-3)
    assert np.isinf(depth[outside]).all()
    picture = views.images[1].reshape(-1, 3).numpy()
    assert (picture[room < -0.1] == 1).all()
    assert (picture[inside] < 1).any(-1).all()
    args.output = tmp_path / "made"
    with pytest.raises(SystemExit, match="exists already"):
        args.call(args)
    args.output = tmp_path / "ball.ply" / "made"
    with pytest.raises(SystemExit, match=r"cannot write .*made: (File exists|Not a directory)"):
        args.call(args)


@pytest.mark.parametrize("kind", ["vertex_colors", "face_colors"])
def test_colours_of_a_mesh_are_its_own(example, tmp_path, kind):
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3)
    setattr(ball.visual, kind, np.tile([255, 0, 0, 255], (len(ball.vertices if kind == "vertex_colors" else ball.faces), 1)))
    ball.export(tmp_path / "ball.ply")
    scene = example("scene")
    rgba, _ = scene.Scene(tmp_path / "ball.ply").cast(np.array([[0.0, -4, 0]]), np.array([[0.0, 1, 0]]))
    assert rgba[0, 0] > rgba[0, 1] + 0.3
    assert rgba[0, 3] == 1


def test_up_is_told_by_the_file_or_the_user(example, tmp_path):
    import trimesh

    slab = trimesh.creation.box((2, 2, 0.5))
    for name in ("slab.ply", "slab.obj"):
        slab.export(tmp_path / name)
    above, down = np.array([[0.0, 0, 4]]), np.array([[0.0, 0, -1]])
    scene = example("scene").Scene
    heights = [
        4 - scene(tmp_path / name, up).cast(above, down)[1][0] for name, up in (("slab.ply", None), ("slab.obj", None), ("slab.obj", "z"))
    ]
    np.testing.assert_allclose(heights, [0.225, 0.9, 0.225], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on_where_it_was(folder, tmp_path, how):
    command = [sys.executable, str(EXAMPLES / "nerf"), "train", str(folder), "--steps", "100000", "--batch", "64", "--checkpoint", "v.pt"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as training:
        shown = b""
        while b"PSNR=" not in shown:
            shown += training.stderr.read(1)
        training.send_signal(how)
        said = b"".join(training.communicate(timeout=100)).decode()
    step = torch.load(tmp_path / "v.pt", weights_only=True)["step"]
    assert f"stopped at step {step}; the same command goes on from there, without --restart" in said
    assert said.endswith("interrupted; nothing half-written is left\n")
    assert step >= 10
    assert training.returncode == 130


def test_a_checkpoint_that_cannot_be_written_is_named_at_once(example, folder, tmp_path):
    (tmp_path / "v.pt").mkdir()
    with pytest.raises(SystemExit, match=r"cannot write .*v.pt: it is a folder"):
        fit(example, folder, "voxels", tmp_path / "v.pt")


def test_cameras_that_look_past_the_scene_are_named(example, folder):
    path = folder / "transforms_train.json"
    found = json.loads(path.read_text())
    for frame in found["frames"]:
        frame["transform_matrix"][0][3] += 50
    path.write_text(json.dumps(found))
    with pytest.raises(SystemExit, match=r"no camera looks at the cube of half side 1 around the origin.*--bound"):
        fit(example, folder, "voxels")


def test_names_with_dots_and_folders_elsewhere(example, folder, tmp_path):
    path = folder / "transforms_train.json"
    found = json.loads(path.read_text())
    (folder / "train" / "r_0.png").rename(folder / "train" / "v1.0.png")
    found["frames"][0]["file_path"] = "./train/v1.0"
    path.write_text(json.dumps(found))
    model = fit(example, folder, "voxels", tmp_path / "v.pt")
    folder.rename(tmp_path / "moved")
    again = fit(example, tmp_path / "moved", "voxels", tmp_path / "v.pt")
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_tiny_nerf_data_and_its_errors(example, tmp_path):
    poses = np.stack(example("scene").poses_around(106))
    arrays = {"images": np.zeros((106, 5, 5, 3), np.float32), "poses": poses, "focal": np.array(7.0)}
    np.savez(tmp_path / "tiny.npz", **arrays)
    data = example("data")
    assert len(data.read_views(tmp_path / "tiny.npz", "train").images) == 100
    test = data.read_views(tmp_path / "tiny.npz", "test")
    assert len(test.images) == 6
    assert test.fov == pytest.approx(2 * math.atan(2.5 / 7))
    assert test.background == 0
    np.savez(tmp_path / "tiny.npz", **arrays | {"poses": poses[:50]})
    with pytest.raises(SystemExit, match=r"tiny.npz has 106 images and 50 cameras"):
        data.read_views(tmp_path / "tiny.npz", "train")
    for name, bad, reason in (
        ("focal", np.array(0.0), "focal length of .*tiny.npz must be a number above 0, not 0"),
        ("focal", np.array(np.nan), "focal length"),
        ("focal", np.zeros(3), "cannot read .*tiny.npz"),
        ("images", np.full((106, 5, 5, 3), np.nan), "the images of .*tiny.npz must be"),
        ("images", np.full((106, 5, 5, 3), 200.0), "numbers from 0 to 1"),
        ("images", np.zeros((106, 5, 5)), r"not float64 \(106, 5, 5\)"),
        ("images", np.array("a"), "the images of"),
        ("poses", np.ones((106, 4, 4)), "the last row of the camera of image 0 of .*tiny.npz must be 0 0 0 1, not 1 1 1 1"),
    ):
        np.savez(tmp_path / "tiny.npz", **arrays | {name: bad})
        with pytest.raises(SystemExit, match=reason):
            data.read_views(tmp_path / "tiny.npz", "train")
    np.savez(tmp_path / "tiny.npz", **arrays | {"images": np.full((106, 5, 5, 3), 51, np.uint8)})
    assert data.read_views(tmp_path / "tiny.npz", "train").images.unique().tolist() == [pytest.approx(0.2)]
    np.savez(tmp_path / "tiny.npz", **{name: array[:50] if array.ndim else array for name, array in arrays.items()})
    with pytest.raises(SystemExit, match=r"tiny.npz has 50 images, of which none are for test"):
        data.read_views(tmp_path / "tiny.npz", "test")
    for damaged in (b"PK", (tmp_path / "tiny.npz").read_bytes()[:1000]):
        (tmp_path / "tiny.npz").write_bytes(damaged)
        with pytest.raises(SystemExit, match=r"cannot read .*tiny.npz"):
            data.read_views(tmp_path / "tiny.npz", "train")


def test_scenes_of_other_sizes_and_backgrounds(example, folder):
    """A folder of somebody else's does not say how large its scene is: as large as NeRF's own, unless --bound says otherwise."""
    read = example("data").read_views
    ours = read(folder, "train")
    path = folder / "transforms_train.json"
    found = json.loads(path.read_text())
    del found["bound"]
    for frame in found["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] *= 1.5
    path.write_text(json.dumps(found))
    torch.testing.assert_close(read(folder, "train").poses, ours.poses)
    described = ours.describe()
    assert described.pop("photos").startswith("12 of 24 x 24, checksum ")
    assert described == {"bound": 1, "background": 1, "radius": 4, "fov": pytest.approx(0.6911112)}
    assert read(folder, "train", 3.0).describe()["radius"] == 2
    path.write_text(json.dumps({**found, "bound": -1}))
    with pytest.raises(SystemExit, match=r"bound of .*transforms_train.json must be a number above 0, not -1"):
        read(folder, "train")
    path.write_text(json.dumps(found))
    model = fit(example, folder, "voxels", background=0.0)
    beside = model(torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([[1.0, 0.0, 0.0]]))[-1]
    assert beside.colour.tolist() == [[0, 0, 0]]


def spoil(folder: Path, how: str) -> None:
    path = folder / "transforms_train.json"
    found = json.loads(path.read_text())
    if how == "missing image":
        (folder / "train" / "r_3.png").unlink()
    elif how == "truncated image":
        image = folder / "train" / "r_3.png"
        image.write_bytes(image.read_bytes()[:60])
    elif how == "other size":
        Image.new("RGBA", (7, 9)).save(folder / "train" / "r_3.png")
    elif how == "no rotation":
        found["frames"][3]["transform_matrix"][0][0] += 0.5
    elif how == "mirrored":
        found["frames"][3]["transform_matrix"] = (np.array(found["frames"][3]["transform_matrix"]) @ np.diag([-1, 1, 1, 1])).tolist()
    elif how == "ragged":
        found["frames"][3]["transform_matrix"][0] = [1]
    elif how == "no angle":
        del found["camera_angle_x"]
    elif how == "path of nothing":
        found["frames"][3]["file_path"] = 5
    found |= {"no frames": {"frames": []}, "frame of nothing": {"frames": [None]}, "frames of nothing": {"frames": 3}}.get(how, {})
    path.write_text(json.dumps(found) if how != "no json" else "{")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing image", r"cannot read the image .*r_3.png: No such file"),
        ("truncated image", r"cannot read the image .*r_3.png"),
        ("other size", r"the image .*r_3.png is \(9, 7\)|the image .*r_3.png is \(7, 9\)"),
        ("no rotation", r"the camera of .*r_3.png is not a rotation"),
        ("mirrored", r"the camera of .*r_3.png is not a rotation"),
        ("ragged", r"the camera of .*r_3.png must be a 4 x 4 matrix of numbers, not \[\[1\]"),
        ("no angle", r"camera_angle_x of .*transforms_train.json must be an angle"),
        ("no frames", r"cannot read the cameras .*transforms_train.json.*it has no frames"),
        ("frame of nothing", r"cannot read the cameras .*transforms_train.json"),
        ("frames of nothing", r"cannot read the cameras .*transforms_train.json"),
        ("path of nothing", r"cannot read the cameras .*transforms_train.json.*lacks its file_path"),
        ("no json", r"cannot read the cameras .*transforms_train.json"),
    ],
)
def test_bad_folders_are_named(example, folder, how, reason):
    spoil(folder, how)
    with pytest.raises(SystemExit, match=reason) as stop:
        example("data").read_views(folder, "train")
    assert len(str(stop.value).splitlines()) == 1


def test_views_and_turntables_are_written_whole(example, folder, tmp_path):
    fit(example, folder, "voxels", tmp_path / "ball.pt")
    program = example("commands")
    for name, size in (("view.png", (16, 16)), ("turn.gif", (16, 16))):
        arguments = ["render", "--checkpoint", tmp_path / "ball.pt", "-o", tmp_path / "out" / name, "--size", 16, "--frames", 3]
        args = program.make_parser().parse_args(list(map(str, arguments)))
        args.call(args)
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.size == size
            assert getattr(picture, "n_frames", 1) == (3 if name.endswith("gif") else 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["turn.gif", "view-depth.png", "view.png"]


def spoil_checkpoint(path: Path, how: str) -> None:
    """Make a checkpoint one that is not to be used."""
    if how == "flipped byte":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        return
    checkpoint = importlib.import_module("_checkpoint")
    saved = checkpoint.read_checkpoint(path, "nerf")
    settings, name = saved["settings"], "fields.coarse.features"
    changes = {
        "another program": {"settings": settings | {"program": "super_resolution"}},
        "field unknown": {"settings": settings | {"field": "sdf"}},
        "radius a text": {"settings": settings | {"radius": "far"}},
        "fov missing": {"settings": {name: value for name, value in settings.items() if name != "fov"}},
        "bound infinite": {"settings": settings | {"bound": math.inf}},
        "step beyond": {"step": 5},
        "features turned": {"model": saved["model"] | {name: saved["model"][name].movedim(1, -1)}},
        "features NaN": {"model": saved["model"] | {name: saved["model"][name] * torch.nan}},
    }
    checkpoint.write_checkpoint(path, saved | changes[how])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("flipped byte", "it is damaged: its contents do not agree with its checksum"),
        ("another program", "it is not of the program nerf"),
        ("field unknown", "its settings make no network (KeyError: 'sdf')"),
        ("radius a text", "its setting 'radius' must be float, not str"),
        ("fov missing", "its settings lack 'fov'"),
        ("bound infinite", "its setting 'bound' must be a number of at least 0, not inf"),
        ("step beyond", "its step must be from 1 to its 4 steps, not 5"),
        ("features turned", "its model's tensor fields.coarse.features must be float32 (1, 7, 8, 8, 8), not float32 (1, 8, 8, 8, 7)"),
        ("features NaN", "its model's tensor fields.coarse.features holds NaN or infinite numbers"),
    ],
)
def test_a_bad_checkpoint_ends_every_command_with_one_line(example, start, folder, tmp_path, monkeypatch, how, reason):
    """The exit code is 2; nothing is written, and nothing is trained."""
    monkeypatch.chdir(tmp_path)
    training = example("training")
    monkeypatch.setattr(training, "DEFAULTS", {field: training.DEFAULTS[field] | SMALL[field] for field in SMALL})
    path = tmp_path / "runs" / "voxel_grid-0.pt"
    fit(example, folder, "voxels", path)
    spoil_checkpoint(path, how)
    before = sorted(each for each in tmp_path.rglob("*") if "ball" not in each.parts)
    data = path.read_bytes()
    for others in ("NeRF", "NeRF_without_positional_encoding"):
        (tmp_path / "runs" / f"{others}-0.pt").write_bytes(data)
    evaluate = ["evaluate", folder, "--checkpoint", path], ["evaluate", folder, "--only", "voxel grid", "--runs", "runs"]
    others = ["render", "--checkpoint", path], ["picture", folder, "--runs", "runs"], ["train", folder, "--checkpoint", path]
    for command in (*evaluate, *others):
        code, out, error = start(*command)
        error = error.removeprefix("voxel grid, seed 0\n")
        assert (code, out, len(error.splitlines())) == (2, "", 1), command
        assert f"python -m nerf: error: {'cannot use the checkpoint ' if reason in error else ''}" in error
        # Train and the table compare the settings with those of their own.
        assert reason in error or "is of another run: " in error
        assert error.endswith("Remove it, or train with --restart.\n")
    assert path.read_bytes() == data
    assert sorted(each for each in tmp_path.rglob("*") if "ball" not in each.parts and "NeRF" not in each.name) == before


def test_training_is_prolonged_by_the_command_but_not_by_the_table(start, folder, tmp_path):
    options = [folder, "--checkpoint", tmp_path / "voxel_grid-0.pt", "--batch=8"]
    for steps, said in ((3, "Ready: "), (3, "has all 3 steps already"), (5, "has 3 of 3 steps; from here on, the learning rate is")):
        code, out, _ = start("train", *options, f"--steps={steps}")
        assert code == 0
        assert said in out
    code, _, error = start("train", *options, "--steps=4")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "has 5 steps of training already, and this command asks for 4; pass --steps 5 or more, or train with --restart" in error
    code, _, error = start("evaluate", folder, "--only", "voxel grid", "--runs", tmp_path, "--results", tmp_path / "r.json", "--steps=5")
    assert code == 2
    assert "prolonged ['at step 3 of 3'] there and nothing here" in error


def test_make_data_removes_what_killed_runs_left(start, tmp_path):
    import trimesh

    trimesh.creation.icosphere(subdivisions=1).export(tmp_path / "ball.ply")
    dead, alive = (tmp_path / f".made.{number}.partial" for number in (2**22 + 1, os.getppid()))
    for path in (dead, alive):
        (path / "train").mkdir(parents=True)
        (path / "train" / "r_0.png").write_text("half")
    options = ["make-data", tmp_path / "ball.ply", "--views=2", "--size=8", "-o", tmp_path / "made"]
    assert start(*options)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [alive.name, "ball.ply", "made"]
    assert start(*options)[0] == 2


def test_evaluate_saves_the_table_and_goes_on(example, folder, tmp_path, capsys, monkeypatch):
    training = example("training")
    monkeypatch.setattr(training, "DEFAULTS", {field: training.DEFAULTS[field] | SMALL[field] for field in SMALL})
    arguments = [
        "evaluate",
        folder,
        "--seeds",
        0,
        1,
        "--only",
        "voxel grid",
        "NeRF",
        "NeRF, a quarter of the views",
        "--runs",
        tmp_path / "runs",
        "--results",
        tmp_path / "r.json",
    ]
    args = example("commands").make_parser().parse_args(list(map(str, arguments)))
    args.call(args)
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert set(rows) == {"voxel grid", "NeRF", "NeRF, a quarter of the views"}
    assert rows["NeRF, a quarter of the views"]["settings"]["views"] == 22
    assert set(rows["NeRF"]["seeds"]) == {"0", "1"}
    assert "| NeRF | " in capsys.readouterr().out
    args.checkpoint = tmp_path / "runs" / "NeRF-0.pt"
    with pytest.raises(SystemExit, match=r"--checkpoint measures one run as it is"):
        args.call(args)
    args.checkpoint = None
    assert rows["NeRF"]["paper"] == 31.01
    args.call(args)
    again = json.loads((tmp_path / "r.json").read_text())["rows"]
    for name, seed in itertools.product(rows, ("0", "1")):
        first, second = (found[name]["seeds"][seed] for found in (rows, again))
        assert first["train_seconds"] == second["train_seconds"] > 0
        assert first["psnr"] == second["psnr"]


def test_a_missing_mesh_is_named(example, monkeypatch):
    scene = example("scene")
    with pytest.raises(SystemExit, match=r"there is no mesh nothing\.obj; pass a file, or one of duck, bunny"):
        scene.find_mesh("nothing.obj")
    monkeypatch.setattr(scene.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="pip install pybullet"):
        scene.find_mesh("duck")


def test_greys_of_sixteen_bits_are_scaled(example, tmp_path):
    Image.fromarray(np.full((3, 3), 13107, np.uint16)).save(tmp_path / "grey.png")
    np.testing.assert_allclose(example("data")._read_picture(tmp_path / "grey.png"), 0.2, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["render", "-o", "a.xyz"], "'a.xyz' must end in one of .gif, .png"),
        (["render", "--height", "1"], "must be a number above -1 and below 1, not '1'"),
        (["render", "--fov", "4"], "must be a number above 0 and below 3.142, not '4'"),
        (["render", "-o", "/proc/a.png"], "cannot write '/proc/a.png'"),
        (["train", "duck", "--bound", "0"], "must be a number above 0, not '0'"),
        (["train", "duck", "--field", "sdf"], "invalid choice: 'sdf'"),
        (["make-data", "duck", "--views", "1"], "a whole number from 2"),
    ],
)
def test_bad_options_are_explained(example, arguments, reason, capsys):
    with pytest.raises(SystemExit) as stop:
        example("commands").make_parser().parse_args(arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


def test_help_teaches(example, capsys):
    for arguments in (["--help"], *([command, "--help"] for command in ("make-data", "train", "render", "evaluate", "picture"))):
        with pytest.raises(SystemExit):
            example("commands").make_parser().parse_args(arguments)
        assert "default" in capsys.readouterr().out or arguments == ["--help"]
