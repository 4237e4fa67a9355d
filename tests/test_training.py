"""What the larger examples share: files written whole or not at all, checkpoints that are checked, training that goes on."""

from __future__ import annotations

import importlib
import io
import math
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

EXAMPLES = Path(__file__).parents[1] / "examples"
DEAD = 2**22 + 1  # More than Linux ever gives to a process.
WIDTH, STEPS = 3, 6


@pytest.fixture(autouse=True)
def shared(monkeypatch):
    """The modules that the examples share, by name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def build(settings):
    return nn.Linear(2, settings["width"])


def settings_of(**changes):
    return {"program": "toy", "seed": 0, "steps": STEPS, "batch": 4, "lr": 0.1, "width": WIDTH} | changes


def train(path, steps=STEPS, stop=None, rates=None, resume=True, prolong=True, **changes):
    """Train a toy; interrupted before step ``stop`` is made, with a checkpoint of every step."""
    training = importlib.import_module("_training")
    settings = settings_of(steps=steps, **changes)
    torch.manual_seed(0)
    trainer = training.Trainer(build(settings), training.Team(0, 1, torch.device("cpu")), settings, path, seconds=-1.0)

    def loss_of(model, generator, _):
        if trainer.step == stop:
            raise KeyboardInterrupt
        if rates is not None:
            rates.append([group["lr"] for group in trainer._optimizer.param_groups] + [trainer._optimizer.param_groups[0]["betas"]])
        coords = torch.rand(4, 2, generator=generator)
        return (model(coords) - coords.sum(-1, keepdim=True).sin()).square().mean(), {}

    if resume:
        trainer.resume(prolong)
    if stop is None:
        trainer.run(loss_of)
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer.run(loss_of)
    return trainer


def load(path):
    return importlib.import_module("_checkpoint").load_model(path, "toy", build, lambda _: {"width": WIDTH, "seed": 0})


def fields(path):
    return importlib.import_module("_checkpoint").read_checkpoint(path, "toy")


def tensors(path):
    """All tensors of a checkpoint by name, and what else it holds, without the seconds."""
    saved = fields(path)
    found = {f"model {name}": tensor for name, tensor in saved["model"].items()}
    for number, moments in saved["optimizer"].items():
        found |= {f"optimizer {number} {name}": tensor for name, tensor in moments.items()}
    return found, (saved["settings"], saved["step"])


def assert_equal(path, other):
    (first, about), (second, about_other) = tensors(path), tensors(other)
    assert about == about_other
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a checkpoint of four steps out of six."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        path = tmp_path_factory.mktemp("good") / "toy.pt"
        train(path, stop=4)
        assert fields(path)["step"] == 4
        return path.read_bytes()


def put(name, value):
    """Spoil a checkpoint: one field, or one entry of a field, is another one."""

    def spoil(saved):
        *way, last = name
        place = saved
        for each in way:
            place = place[each]
        place[last] = value(place[last]) if callable(value) else value
        return saved

    return spoil


def drop(*name):
    def spoil(saved):
        *way, last = name
        place = saved
        for each in way:
            place = place[each]
        del place[last]
        return saved

    return spoil


def fill(value):
    """One number of a tensor is another one."""

    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


WEIGHT, MOMENT = ("model", "weight"), ("optimizer", 0, "exp_avg")
CONTENTS = {
    "a list": (lambda _: [1, 2], "it holds list, where fields are wanted"),
    "a tensor": (lambda _: torch.ones(3), "it holds Tensor, where fields are wanted"),
    "nothing": (lambda _: {}, "it lacks the field 'model'"),
    **{f"no {name}": (drop(name), f"it lacks the field '{name}'") for name in ("model", "optimizer", "settings", "step", "spent")},
    "model a list": (put(["model"], [1.0]), "its field 'model' must be dict, not list"),
    "model a tensor": (put(["model"], torch.ones(2)), "its field 'model' must be dict, not Tensor"),
    "model empty": (put(["model"], {}), "its model lacks the tensor weight"),
    "model of numbers": (put(["model"], {"weight": 1.0, "bias": 2.0}), "its model's weight must be a tensor, not float"),
    "model with more": (put(["model", "more"], torch.ones(1)), "its model has the tensor 'more', which is not wanted"),
    "weight missing": (drop(*WEIGHT), "its model lacks the tensor weight"),
    "weight turned": (
        put(WEIGHT, lambda weight: weight.T.contiguous()),
        "its model's tensor weight must be float32 (3, 2), not float32 (2, 3)",
    ),
    "weight of doubles": (put(WEIGHT, torch.Tensor.double), "its model's tensor weight must be float32 (3, 2), not float64 (3, 2)"),
    "weight NaN": (put(WEIGHT, fill(math.nan)), "its model's tensor weight holds NaN or infinite numbers"),
    "weight infinite": (put(WEIGHT, fill(-math.inf)), "its model's tensor weight holds NaN or infinite numbers"),
    "settings a list": (put(["settings"], [1]), "its field 'settings' must be dict, not list"),
    "settings None": (put(["settings"], None), "its field 'settings' must be dict, not NoneType"),
    "settings empty": (put(["settings"], {}), "it is not of the program toy"),
    "settings of tensors": (put(["settings", "lr"], torch.ones(2)), "its settings must be names and plain values, unlike 'lr'"),
    "settings by number": (
        lambda saved: saved | {"settings": saved["settings"] | {3: 4}},
        "its settings must be names and plain values, unlike 3",
    ),
    "of another program": (put(["settings", "program"], "nerf"), "it is not of the program toy"),
    "steps a text": (put(["settings", "steps"], "6"), "its setting 'steps' must be a whole number of at least 1, not '6'"),
    "steps none": (drop("settings", "steps"), "its setting 'steps' must be a whole number of at least 1, not None"),
    "steps 0": (put(["settings", "steps"], 0), "its setting 'steps' must be a whole number of at least 1, not 0"),
    "prolonged a number": (
        put(["settings", "prolonged"], 3),
        "its setting 'prolonged' must be a list of lines",
    ),
    "step -5": (put(["step"], -5), "its step must be from 1 to its 6 steps, not -5"),
    "step 0": (put(["step"], 0), "its step must be from 1 to its 6 steps, not 0"),
    "step beyond": (put(["step"], 7), "its step must be from 1 to its 6 steps, not 7"),
    "step a fraction": (put(["step"], 4.0), "its field 'step' must be int, not float"),
    "step a text": (put(["step"], "4"), "its field 'step' must be int, not str"),
    "step True": (put(["step"], True), "its field 'step' must be int, not bool"),
    "spent -1": (put(["spent"], -1.0), "its seconds spent must be a number of at least 0, not -1.0"),
    "spent NaN": (put(["spent"], math.nan), "its seconds spent must be a number of at least 0, not nan"),
    "spent infinite": (put(["spent"], math.inf), "its seconds spent must be a number of at least 0, not inf"),
    "spent a text": (put(["spent"], "1.0"), "its field 'spent' must be float, not str"),
    "optimizer a list": (put(["optimizer"], []), "its field 'optimizer' must be dict, not list"),
}
"""What may be wrong with a checkpoint, whoever reads it: what spoils it, and the reason that is said."""
FOR_TRAINING = {
    "optimizer empty": (put(["optimizer"], {}), "its optimizer lacks the tensor (0, 'step')"),
    "optimizer of numbers": (put(["optimizer", 0], 5), "its optimizer lacks the tensor (0, 'step')"),
    "optimizer as PyTorch has it": (
        put(["optimizer"], lambda state: {"state": state, "param_groups": []}),
        "its optimizer lacks the tensor (0, 'step')",
    ),
    "optimizer by names": (
        put(["optimizer"], lambda state: {str(number): each for number, each in state.items()}),
        "its optimizer lacks the tensor (0, 'step')",
    ),
    "optimizer with more": (
        put(["optimizer", 2], 5),
        "its optimizer has the tensor 2, which is not wanted",
    ),
    "moment missing": (drop(*MOMENT), "its optimizer lacks the tensor (0, 'exp_avg')"),
    "moment a number": (put(MOMENT, 0.0), "its optimizer's (0, 'exp_avg') must be a tensor, not float"),
    "moment of another shape": (
        put(MOMENT, torch.zeros(1)),
        "its optimizer's tensor (0, 'exp_avg') must be float32 (3, 2), not float32 (1,)",
    ),
    "moment of whole numbers": (
        put(MOMENT, torch.Tensor.long),
        "its optimizer's tensor (0, 'exp_avg') must be float32 (3, 2), not int64 (3, 2)",
    ),
    "moment NaN": (put(MOMENT, fill(math.nan)), "its optimizer's tensor (0, 'exp_avg') holds NaN or infinite numbers"),
}
FOR_LOADING = {
    "no width": (drop("settings", "width"), "its settings lack 'width'"),
    "width a text": (put(["settings", "width"], "3"), "its setting 'width' must be int, not str"),
    "width a fraction": (put(["settings", "width"], 3.0), "its setting 'width' must be int, not float"),
    "width True": (put(["settings", "width"], True), "its setting 'width' must be int, not bool"),
    "width negative": (put(["settings", "width"], -3), "its setting 'width' must be a number of at least 0, not -3"),
    "width another": (put(["settings", "width"], 4), "its model's tensor weight must be float32 (4, 2), not float32 (3, 2)"),
    "width enormous": (put(["settings", "width"], 2**62), "its settings make no network (RuntimeError: "),
}


def plain(data: bytes) -> bytes:
    return data[: data.rindex(b"\nsha256 ")]


def refusal(path, action):
    """The one line that ends the program."""
    with pytest.raises(SystemExit) as stop:
        action(path)
    assert isinstance(stop.value.code, str)
    assert len(stop.value.code.splitlines()) == 1
    assert str(path) in stop.value.code
    return stop.value.code


@pytest.mark.parametrize(
    ("action", "name"), [(train, name) for name in CONTENTS | FOR_TRAINING] + [(load, name) for name in CONTENTS | FOR_LOADING]
)
def test_wrong_contents_end_with_one_line(action, name, good, shared, tmp_path, capsys):
    spoil, reason = (CONTENTS | FOR_TRAINING | FOR_LOADING)[name]
    path = tmp_path / "toy.pt"
    saved = torch.load(io.BytesIO(plain(good)), weights_only=True)
    shared("_checkpoint").write_checkpoint(path, spoil(saved))
    before = path.read_bytes()
    line = refusal(path, action)
    assert line.startswith(f"error: cannot use the checkpoint {path}: {reason}")
    assert line.endswith(". Remove it, or train with --restart.")
    assert path.read_bytes() == before
    assert capsys.readouterr() == ("", "")


def other_zip(_=None):
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.ones(3))
    return buffer.getvalue()


NO_CHECKSUM = "it has no checksum at its end: it is cut off, or of another program, or of an earlier version"
FILES = {
    "empty": (lambda _: b"", "it is empty"),
    "one byte": (lambda data: data[:1], NO_CHECKSUM),
    "half": (lambda data: data[: len(data) // 2], NO_CHECKSUM),
    "a byte less": (lambda data: data[:-1], NO_CHECKSUM),
    "a byte more": (lambda data: data + b"\n", NO_CHECKSUM),
    "of an earlier version": (plain, NO_CHECKSUM),
    "of numpy": (other_zip, NO_CHECKSUM),
    "a text": (lambda _: b"no checkpoint\n" * 100, NO_CHECKSUM),
    "other weights": (lambda data: data.replace(b"weight", b"height"), "it is damaged: its contents do not agree with its checksum"),
    "nothing but a checksum": (lambda data: data[-72:], "it is damaged: its contents do not agree with its checksum"),
}


@pytest.mark.parametrize("action", [train, load])
@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_checkpoints_end_with_one_line(action, name, good, tmp_path):
    spoil, reason = FILES[name]
    path = tmp_path / "toy.pt"
    path.write_bytes(spoil(good))
    assert refusal(path, action) == f"error: cannot use the checkpoint {path}: {reason}. Remove it, or train with --restart."


def test_a_file_with_a_checksum_but_without_fields_is_refused(shared, tmp_path):
    path, checkpoint = tmp_path / "toy.pt", shared("_checkpoint")
    for data in (b"", b"PK", b"no checkpoint", other_zip()):
        path.write_bytes(data + checkpoint.MARK + checkpoint._checksum(data))
        assert "it is of another program, or of another version" in refusal(path, load)


def test_every_flipped_bit_is_noticed(good, tmp_path):
    """A bit at random places of the whole file, and at places of the weights themselves."""
    generator, path = np.random.default_rng(0), tmp_path / "toy.pt"
    path.write_bytes(good)
    weight = fields(path)["model"]["weight"].numpy().tobytes()
    inside = good.index(weight) + np.arange(len(weight))
    for place in [*generator.integers(len(good), size=400), *inside, *range(len(good) - 72, len(good))]:
        data = bytearray(good)
        data[place] ^= 1 << generator.integers(8)
        path.write_bytes(data)
        assert refusal(path, load).startswith(f"error: cannot use the checkpoint {path}: it ")


def test_a_flipped_bit_would_go_unnoticed_without_the_checksum(good):
    """Why there is one: PyTorch reads a changed weight as if nothing were wrong."""
    saved = torch.load(io.BytesIO(plain(good)), weights_only=True)
    weight = saved["model"]["weight"]
    data = bytearray(plain(good))
    data[good.index(weight.numpy().tobytes())] ^= 1
    changed = torch.load(io.BytesIO(bytes(data)), weights_only=True)["model"]["weight"]
    assert not torch.equal(changed, weight)


def test_pytorch_alone_reads_a_checkpoint(good, tmp_path):
    (tmp_path / "toy.pt").write_bytes(good)
    assert torch.load(tmp_path / "toy.pt", weights_only=True)["step"] == 4
    assert zipfile.is_zipfile(tmp_path / "toy.pt")


def test_paths_that_are_no_files_are_named(tmp_path):
    assert "there is no checkpoint" in refusal(tmp_path / "none.pt", load)
    assert refusal(tmp_path, load).endswith("it is not an ordinary file")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe", load).endswith("it is not an ordinary file")
    assert refusal(tmp_path / "pipe", train).endswith("it is not an ordinary file")
    assert refusal(tmp_path, train).endswith("it is a folder")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lr": 0.5}, "lr 0.1 there and 0.5 here"),
        ({"batch": 8}, "batch 4 there and 8 here"),
        ({"width": 5}, "width 3 there and 5 here"),
        ({"lr": 1}, "lr 0.1 there and 1 here"),
        ({"more": "a\nb"}, "more nothing there and a b here"),
        ({"more": "a" * 100}, f"more nothing there and {'a' * 57}... here"),
        ({"prolong": False, "steps": 9}, "steps 6 there and 9 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changes, reason, good, tmp_path):
    path = tmp_path / "toy.pt"
    path.write_bytes(good)
    line = refusal(path, lambda path: train(path, **changes))
    assert line == f"error: {path} is of another run: {reason}. Remove it, or train with --restart."


def test_restarting_needs_no_good_checkpoint(tmp_path):
    path = tmp_path / "toy.pt"
    path.write_bytes(b"")
    train(path, resume=False)
    assert fields(path)["step"] == STEPS


def test_an_interrupted_run_is_equal_to_the_bit(tmp_path):
    train(tmp_path / "whole.pt")
    for stop in (1, 2, 5, None):
        train(tmp_path / "parts.pt", stop=stop)
    assert_equal(tmp_path / "whole.pt", tmp_path / "parts.pt")


@pytest.mark.parametrize("done", [3, 5, STEPS])
def test_training_can_be_prolonged(done, tmp_path, capsys):
    """After a run that is finished, and after one that is not: as of that step, the rate is that of the longer run."""
    first, whole, parts = [], [], []
    stop = None if done == STEPS else done
    train(tmp_path / "whole.pt", stop=stop, rates=first)
    train(tmp_path / "parts.pt", stop=stop)
    capsys.readouterr()
    train(tmp_path / "whole.pt", steps=12, rates=whole)
    said = capsys.readouterr().out
    assert f"whole.pt has {done} of 6 steps; from here on, the learning rate is that of a run of 12 steps" in said
    assert len(said.splitlines()) == 1
    for stop in (done + 1, done + 2, 11, None):
        train(tmp_path / "parts.pt", steps=12, stop=stop, rates=parts)
    assert_equal(tmp_path / "whole.pt", tmp_path / "parts.pt")
    longer = []
    train(None, steps=12, rates=longer)
    assert whole == parts == longer[done:]
    assert first != longer[:done]
    settings = fields(tmp_path / "whole.pt")["settings"]
    assert settings == settings_of(steps=12, prolonged=[f"at step {done} of 6"])


def test_training_can_be_prolonged_again_and_shortened(tmp_path, capsys):
    path = tmp_path / "toy.pt"
    train(path)
    train(path, steps=20, stop=8)
    train(path, steps=10)
    assert "has 8 of 20 steps; from here on, the learning rate is that of a run of 10 steps" in capsys.readouterr().out
    saved = fields(path)
    assert saved["settings"]["prolonged"] == ["at step 6 of 6", "at step 8 of 20"]
    assert saved["step"] == saved["settings"]["steps"] == 10
    assert load(path).weight.isfinite().all()


@pytest.mark.parametrize(
    ("stop", "steps", "reason"),
    [
        (None, 5, "6 steps of training already, and this command asks for 5; pass --steps 6 or more"),
        (4, 3, "4 steps of training already, and this command asks for 3; pass --steps 6 or more"),
        (4, 4, "4 steps of training already, and this command asks for 4; pass --steps 6 or more"),
    ],
)
def test_fewer_steps_than_are_done_are_refused(stop, steps, reason, tmp_path):
    path = tmp_path / "toy.pt"
    train(path, stop=stop)
    before = path.read_bytes()
    assert refusal(path, lambda path: train(path, steps=steps)) == f"error: {path} has {reason}, or train with --restart"
    assert path.read_bytes() == before


def test_a_finished_run_says_so_and_is_left_alone(tmp_path, capsys):
    path = tmp_path / "toy.pt"
    train(path)
    before = path.stat()
    capsys.readouterr()
    again = train(path)
    assert capsys.readouterr() == (f"{path} has all 6 steps already; more --steps prolong the training, --restart begins anew\n", "")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not again.model.training
    assert torch.equal(again.model.weight, fields(path)["model"]["weight"])


def test_a_table_does_not_take_prolonged_runs(tmp_path):
    """Runs that are compared are all of one kind."""
    path = tmp_path / "toy.pt"
    train(path)
    train(path, steps=9)
    reason = "prolonged ['at step 6 of 6'] there and nothing here"
    assert reason in refusal(path, lambda path: train(path, steps=9, prolong=False))


def test_seconds_add_up(shared, tmp_path):
    path = tmp_path / "toy.pt"
    train(path, stop=4)
    saved = fields(path)
    shared("_checkpoint").write_checkpoint(path, saved | {"spent": saved["spent"] + 1000})
    train(path)
    train(path, steps=9)
    assert 1000 < fields(path)["spent"] < 1100


def test_training_that_fails_saves_none_of_it(tmp_path):
    path = tmp_path / "toy.pt"
    with pytest.raises(SystemExit, match="the training gave NaN or infinite numbers; lower --lr"):
        train(path, lr=1e30)
    assert load(path).weight.isfinite().all()
    assert fields(path)["step"] < STEPS


# Files


def partial(path, number):
    return path.with_name(f".{path.stem}.{number}.partial{path.suffix}")


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("name", ["run.pt", "picture with spaces.png", "folder", "v1.0.tif", "[a]*.pt"])
def test_what_killed_processes_left_is_removed_and_nothing_else(kind, name, shared, tmp_path):
    path = tmp_path / name
    others = [
        tmp_path / other
        for other in (f".{name}", f"{name}.{DEAD}.partial", f".other.{DEAD}.partial.pt", f".{path.stem}.x.partial{path.suffix}")
    ]
    living = partial(path, os.getppid())
    for each in (*others, living, partial(path, DEAD), partial(path, os.getpid()), partial(path, 10**30)):
        if kind == "file":
            each.write_text("half")
        else:
            each.mkdir()
            (each / "half.png").write_text("half")
    shared("_files").check_writable(path)
    assert set(tmp_path.iterdir()) == {*others, living}


def test_a_leftover_that_cannot_be_removed_is_not_in_the_way(shared, tmp_path, monkeypatch):
    path, files = tmp_path / "run.pt", shared("_files")
    partial(path, DEAD).write_text("of somebody else")

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(files, "_remove", refuse)
    files.check_writable(path)
    assert partial(path, DEAD).exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_in_the_middle_of_writing(kind, shared, tmp_path):
    """The old file is whole, a running process is left alone, and the next start cleans up what the killed one left."""
    path, files = tmp_path / "out" / "run.pt", shared("_files")
    if kind == "file":
        files.write_beside(path, lambda partial: partial.write_text("old"))
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from _files import write_beside; from pathlib import Path\n"
        "def write(path):\n"
        "    if sys.argv[3] == 'folder': path.mkdir(); path = path / 'a.png'\n"
        "    path.write_bytes(b'half'); print('writing', flush=True); time.sleep(100)\n"
        "write_beside(Path(sys.argv[2]), write)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(EXAMPLES), str(path), kind], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        left = partial(path, process.pid)
        files.check_writable(path)
        assert left.exists()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert left.exists()
    files.check_writable(path)
    assert not left.exists()
    assert [each.read_text() for each in path.parent.iterdir()] == (["old"] if kind == "file" else [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_writing_that_fails_leaves_the_old_file(error, shared, tmp_path):
    path, files = tmp_path / "run.pt", shared("_files")
    path.write_text("old")

    def write(partial):
        partial.write_text("half")
        raise error

    with pytest.raises(error):
        files.write_beside(path, write)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_full_disk_is_one_line(shared, tmp_path):
    def write(partial):
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit, match=re.escape(f"error: cannot write {tmp_path / 'run.pt'}: No space left on device")):
        shared("_files").write_beside(tmp_path / "run.pt", write)
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(shared, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run.pt").symlink_to(tmp_path / "disk" / "large.pt")
    shared("_files").write_beside(tmp_path / "run.pt", lambda partial: partial.write_text("new"))
    assert (tmp_path / "run.pt").is_symlink()
    assert (tmp_path / "disk" / "large.pt").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is a folder"),
        ("/dev/null", "it is not an ordinary file"),
        ("file/run.pt", "(File exists|Not a directory)"),
        ("a" * 240 + ".pt", "File name too long"),
        ("/proc/run.pt", "No such file or directory"),
    ],
)
def test_places_that_cannot_be_written_are_named(name, reason, shared, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=f"error: cannot write {re.escape(str(tmp_path / name))}: {reason}"):
        shared("_files").claim(tmp_path / name)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_equal_to_the_bit(tmp_path):
    """By SIGKILL, at any moment, in training and in writing."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; import test_training, torch; from pathlib import Path\n"
        "print('ready', flush=True); test_training.train(Path(sys.argv[3]), steps=1000)"
    )
    generator, path = np.random.default_rng(0), tmp_path / "parts.pt"
    kills = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(EXAMPLES), str(Path(__file__).parent), str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            process.stdout.readline()
            try:
                process.wait(0.05 + 0.2 * generator.random())
            except subprocess.TimeoutExpired:
                process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
        assert len(list(tmp_path.iterdir())) <= 2
    assert kills >= 3
    train(path, steps=1000)
    train(tmp_path / "whole.pt", steps=1000)
    assert_equal(tmp_path / "whole.pt", path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["parts.pt", "whole.pt"]
