"""The benchmarks themselves: who takes turns with whom, what is refused, and what the tables say. No clock decides anything here."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks import __main__ as program
from benchmarks import agreement, competitors, machine, parts, rendering, report, rows, sampling, summary, timing

import benchmark_fakes as fakes

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
TINY = [row.shrunk() for row in rows.ROWS]
ROW = TINY[0]
NOBODY = sampling.Settings(CPU, timing.Budget(0, fewest=2), timing.wall_timer, 1e9, against=())


def wrong(contender: competitors.Contender, factor: float = 1.01) -> competitors.Contender:
    """The same contender, a hundredth off."""
    look = contender.look
    return replace(contender, look=lambda *leaves: look(*leaves) * factor)


# --- the command ------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_writes_both_files_and_renders_them_again(tmp_path):
    stem = tmp_path / "new" / "folder" / "result"
    options = ["--quick", "--seconds=0.01", "--threads=1", "--rows", "labels*", "signal*/channels-last", "full*", "--against", ""]
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *options, "--output", str(stem)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "100%" in result.stderr
    markdown, data = stem.with_suffix(".md").read_text(), json.loads(stem.with_suffix(".json").read_text())
    assert sorted(path.name for path in stem.parent.iterdir()) == ["result.json", "result.md"]
    assert result.stdout.startswith(markdown)
    check_origin(data)
    assert [(cell["row"], cell["layout"], cell["work"]) for cell in data["sampling"]] == [
        *(("labels-16x1x480x640", layout, rows.FORWARD) for layout in rows.LAYOUTS),
        *(("signal-64x128x4096", rows.LAST, work) for work in rows.WORKS),
    ]
    for cell in data["sampling"]:
        check_cell(cell)
    assert [line["row"] for line in data["memory"]] == ["labels-16x1x480x640"] * 2 + ["signal-64x128x4096"]
    assert all(line["budget"] > line[competitors.GRID] > 0 for line in data["memory"])
    assert [line["part"] for line in data["parts"]] == ["full-16x8"]
    assert report.render(data) == markdown


def check_origin(data: dict) -> None:
    assert data["machine"]["cpu"]
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["threads"] == 1
    assert data["machine"]["gpu"] is None
    assert {"python", "torch", "torchsample", "torch-interpol", "kornia", "monai"} <= data["versions"].keys()
    assert data["tree"].keys() == {"commit", "dirty"}
    assert data["command"].startswith("python -m benchmarks --quick")
    assert data["complete"] is True
    assert data["date"].endswith("+00:00")
    assert data["bandwidth"]["bytes_per_second"] > 0


def check_cell(cell: dict) -> None:
    assert cell["status"] == "timed"
    assert cell["bytes"] > 0
    assert cell["roofline"] > 0
    wanted = {competitors.OURS, competitors.GRID, competitors.GRID + competitors.BARE}
    if cell["layout"] == rows.LAST:
        wanted |= {competitors.GRID_COPY, competitors.GRID_COPY + competitors.BARE}
    assert cell["contenders"].keys() == wanted
    for name, found in cell["contenders"].items():
        assert found["seconds"].keys() == {"median", "spread", "rounds"}
        assert found["seconds"]["rounds"] >= 3
        assert ("ratio" in found) == (name != competitors.OURS)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    options = ("--rows", "--tables", "--device", "--threads", "--seconds", "--output", "--quick", "--list", "--from", "--compiled")
    for word in (*options, "examples", "python -m benchmarks"):
        assert word in text


def test_the_list_names_every_row_and_part(capsys):
    assert program.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [row.name for row in rows.ROWS] + [case.name for case in (*parts.PARTS, *rendering.CASES)]
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--rows", "nothing"], "no row or part is called nothing; --list names them"),
        (["--device", "abacus"], "cannot use the device 'abacus'"),
        (["--seconds", "0"], "must be a positive number, not '0'"),
        (["--threads", "many"], "must be a positive number, not 'many'"),
        (["--tables", "round"], "invalid choice: 'round'"),
        (["--from", "missing.json"], "cannot read results from missing.json"),
    ],
)
def test_bad_options_are_explained(arguments, reason, capsys, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", pytest.fail)
    with pytest.raises(SystemExit) as stop:
        program.main(arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_part_of_the_table_does_not_overwrite_all_of_it():
    def name(*arguments):
        run = program.Run(program.make_parser().parse_args(arguments), "")
        return run.stem().name.removeprefix(machine.slug(run.data["machine"]))

    assert name() == ""
    assert name("--rows", "liif*") == name("--tables", "parts") == name("--against", "") == "-part"
    assert name("--quick") == "-quick"
    assert name("--output", "some/name.md") == name("--output", "some/name") == "name"


def test_a_failed_row_is_the_exit_status(tmp_path, monkeypatch):
    def contenders(row, inputs, _):
        ours = competitors._ours(row, inputs)
        return iter([ours, wrong(ours)])

    monkeypatch.setattr(sampling, "main_contenders", contenders)
    arguments = ["--quick", "--rows", ROW.name, "--tables", "sampling", "--against", "", "-o", str(tmp_path / "result")]
    assert program.main(arguments) == 1
    assert "**failed**" in (tmp_path / "result.md").read_text()


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "result.md"
    report.write_text(path, "old")
    monkeypatch.setattr(report.os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError))
    with pytest.raises(PermissionError):
        report.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --- time -------------------------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only contenders move."""

    def __init__(self):
        self.now = 0.0
        self.called = []

    def contender(self, name, *durations):
        def call():
            self.called.append(name)
            self.now += durations[(self.called.count(name) - 1) % len(durations)]

        return call

    def timer(self, call):
        start = self.now
        call()
        return self.now - start


def test_contenders_take_turns_and_warm_up_does_not_count():
    clock = Clock()
    # The first call of each is slow, and nobody may notice.
    calls = {name: clock.contender(name, 100.0, *[seconds] * 99) for name, seconds in {"a": 1.0, "b": 2.0, "c": 3.0}.items()}
    times = timing.interleave(calls, timing.Budget(seconds=18, fewest=1), clock.timer, lambda: clock.now)
    assert "".join(clock.called) == "abc" + "abc" + "bca" + "cab"
    assert times == {"a": [1.0] * 3, "b": [2.0] * 3, "c": [3.0] * 3}


@pytest.mark.parametrize(("budget", "rounds"), [(timing.Budget(0, fewest=4), 4), (timing.Budget(1000, most=6), 6), (timing.Budget(5), 5)])
def test_rounds_fill_the_seconds_between_the_fewest_and_the_most(budget, rounds):
    clock = Clock()
    times = timing.interleave({"a": clock.contender("a", 1.0)}, budget, clock.timer, lambda: clock.now)
    assert len(times["a"]) == rounds


def test_spread_is_half_of_the_distance_of_the_quartiles():
    assert timing.stat([5.0, 1.0, 4.0, 2.0, 3.0]) == timing.Stat(3.0, 1.0, 5)
    assert timing.stat([7.0]) == timing.Stat(7.0, 0.0, 1)


def test_ratios_are_taken_round_by_round():
    # The machine is ten times slower in every other round: the times spread, their ratio does not.
    ours, theirs = [1.0, 10.0, 1.0, 10.0], [2.0, 20.0, 2.0, 20.0]
    assert timing.stat(theirs).spread > 1
    assert timing.ratio(theirs, ours) == timing.Stat(2.0, 0.0, 4)


# --- rows and contenders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", rows.LAYOUTS)
@pytest.mark.parametrize("row", TINY, ids=lambda row: row.name)
def test_grid_sample_agrees_in_every_row(row, layout):
    inputs = rows.make_inputs(row, layout, CPU)
    n_looks = row.looks
    assert len(inputs.coords) == n_looks
    assert {tuple(coords.shape) for coords in inputs.coords} == {(row.shape[0], *row.points, row.rank)}
    admitted, ours = sampling.admit_main(competitors.main_contenders(row, inputs, layout), row, inputs)
    assert admitted.failure is None
    assert len(admitted.contenders) == (3 if layout == rows.FIRST else 5)
    assert len(ours.values) == n_looks
    assert len(ours.coords_grads) == (0 if row.labels else n_looks)


def test_a_map_is_in_its_layout():
    row = next(row for row in TINY if row.name.startswith("voxels"))
    first, last = (rows.make_inputs(row, layout, CPU).featmap for layout in rows.LAYOUTS)
    assert torch.equal(first, last)
    assert first.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last_3d)
    assert not last.is_contiguous()


def test_points_keep_clear_of_pixel_centres_and_of_the_middle_between_them():
    size = (7, 5)
    coords = rows.keep_clear(torch.rand(10_000, 2) * 2.2 - 1.1, size)
    halves = (coords.double() + 1) * torch.tensor(size) - 1
    distance = (halves - halves.round()).abs()
    assert distance.min() > 0.039
    assert distance.max() > 0.45


def test_other_libraries_are_reported_absent():
    inputs = rows.make_inputs(ROW, rows.FIRST, CPU)
    ours = agreement.answers(competitors._ours(ROW, inputs), ROW, inputs.grads)

    def make():
        raise ModuleNotFoundError("No module named 'abacus'")

    assert sampling.refusal(make, ROW, inputs, ours, 20)["status"] == "absent"


def test_grid_pull_gets_voxel_coordinates_in_the_order_of_the_map():
    row = next(row for row in TINY if row.name.startswith("voxels"))
    row = replace(row, shape=(2, 3, 4, 5, 6))
    inputs = rows.make_inputs(row, rows.FIRST, CPU)
    seen = []

    def grid_pull(featmap, voxels, interpolation, bound, extrapolate):
        seen.append((voxels, interpolation, bound, extrapolate))
        # Read back: (z, y, x) in voxels to (x, y, z) in [-1, 1].
        grid = (2 * voxels.flip(-1) + 1) / torch.tensor(row.size) - 1
        return torch.nn.functional.grid_sample(featmap, grid, padding_mode="border", align_corners=False)

    contender = competitors._pull(row, inputs, "fake", grid_pull, "replicate")
    ours = agreement.answers(competitors._ours(row, inputs), row, inputs.grads)
    assert agreement.disagreement(ours, agreement.answers(contender, row, inputs.grads), row) is None
    assert seen[0][0].shape == (2, 1, 1, 200, 3)
    assert seen[0][1:] == (1, "replicate", True)


# --- refusals ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [ROW, next(row for row in TINY if row.labels)], ids=lambda row: row.name)
def test_a_row_with_wrong_numbers_is_not_timed_and_shown_as_failed(row, monkeypatch):
    def contenders(row, inputs, layout):
        ours, grid_sample, *rest = real(row, inputs, layout)
        return iter([ours, wrong(grid_sample, 2), *rest])

    real = sampling.main_contenders
    monkeypatch.setattr(sampling, "main_contenders", contenders)
    settings = replace(NOBODY, timer=lambda _: pytest.fail("a row with wrong numbers was timed"))
    cells = list(sampling.measure(row, rows.FIRST, settings))
    assert [cell["status"] for cell in cells] == ["failed"] * len(row.works)
    assert "torchsample and grid_sample disagree: values differ by" in cells[0]["reason"]
    text = report.render(fakes.data(*cells))
    assert "**failed**" in fakes.line_of(text, row.name, rows.FIRST, f"| {rows.FORWARD} |")
    assert cells[0]["reason"] in text
    assert summary.means(cells)[0] == {"work": rows.FORWARD, "layout": rows.FIRST, "mean": None, "cells": 0}


def test_another_library_with_wrong_numbers_is_refused_alone(monkeypatch):
    good, bad = competitors.OTHERS[:2]

    def make(name, row, inputs):
        contender = replace(competitors._ours(row, inputs), name=name)
        return contender if name == good else wrong(contender)

    monkeypatch.setattr(sampling, "other_contender", make)
    cells = list(sampling.measure(ROW, rows.FIRST, replace(NOBODY, against=[good, bad])))
    assert [cell["status"] for cell in cells] == ["timed"] * 3
    for cell in cells:
        assert cell["contenders"][good]["status"] == "timed"
        assert cell["contenders"][bad]["status"] == "failed"
        assert "seconds" not in cell["contenders"][bad]
    text = report.render(fakes.data(*cells))
    assert f"- {bad}, {ROW.name}: disagrees with torchsample: values differ by" in text


@pytest.mark.parametrize("what", ["values", "map_grad", "coords_grads"])
def test_every_kind_of_number_is_compared(what):
    inputs = rows.make_inputs(ROW, rows.FIRST, CPU)
    ours = agreement.answers(competitors._ours(ROW, inputs), ROW, inputs.grads)
    for spoil in (lambda number: number * 1.01, lambda number: number * torch.nan, lambda number: number[..., :-1]):
        theirs = copy.deepcopy(ours)
        getattr(theirs, what)[0] = spoil(getattr(ours, what)[0])
        assert agreement.disagreement(ours, theirs, ROW).startswith(what.replace("_", " "))
    assert agreement.disagreement(ours, copy.deepcopy(ours), ROW) is None


def test_a_contender_that_raises_fails_the_row_and_a_slow_one_is_left_out():
    inputs = rows.make_inputs(ROW, rows.FIRST, CPU)
    good = competitors._ours(ROW, inputs)

    def broken(*_):
        raise RuntimeError("out of abacuses\nand more")

    admitted, _ = sampling.admit_main(iter([good, replace(good, name="grid_sample", look=broken)]), ROW, inputs)
    assert admitted.failure == "grid_sample raised RuntimeError: out of abacuses"
    ours = agreement.answers(good, ROW, inputs.grads)
    assert sampling.refusal(lambda: good, ROW, inputs, ours, slowest=0)["status"] == "slow"
    assert sampling.refusal(lambda: good, ROW, inputs, ours, slowest=1000) is good
