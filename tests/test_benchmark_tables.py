"""The tables of the benchmarks: what they say of made-up times, the bytes that they count, and the parts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from benchmarks import __main__ as program
from benchmarks import competitors, machine, memory, parts, rendering, report, roofline, rows, summary, timing

import benchmark_fakes as fakes
from benchmark_fakes import CPU, ROW


def test_results_render_again_without_timing(tmp_path, capsys):
    source = tmp_path / "result.json"
    source.write_text(json.dumps(fakes.data(fakes.cell(fakes.times(1, 2)))))
    assert program.main(["--from", str(source)]) == 0
    text = source.with_suffix(".md").read_text()
    assert capsys.readouterr().out.startswith(text)
    assert "| 2.00 ± 0.00 |" in fakes.line_of(text, ROW.name, rows.FIRST, rows.FORWARD, "25 %")


# --- tables -----------------------------------------------------------------------------------------------------------------------


def test_a_loss_is_shown_as_a_loss():
    win, loss = fakes.cell(fakes.times(1, 2)), fakes.cell(fakes.times(1, 0.5), rows.MAP)
    unclear = fakes.cell({**fakes.times(1, 1), competitors.GRID: [0.5, 0.9, 0.99, 1.5]}, rows.COORDS)
    text = report.render(fakes.data(win, loss, unclear))
    assert "| 2.00 ± 0.00 |" in fakes.line_of(text, ROW.name, f"| {rows.FORWARD} |")
    assert "| 0.50 ± 0.00 **loss** |" in fakes.line_of(text, ROW.name, f"| {rows.MAP} |")
    assert "± 0.16 loss within the spread |" in fakes.line_of(text, ROW.name, f"| {rows.COORDS} |")
    assert summary.losses([win, loss, unclear]) == [loss]
    below = text.split("Below 1 beyond the spread:")[1].split("Failed")[0].strip()
    assert below == f"- {ROW.name}, {rows.FIRST}, {rows.MAP}: 0.50 ± 0.00 **loss**"


def test_a_library_that_is_installed_and_cannot_be_used_says_why():
    cell = fakes.cell(fakes.times(1, 2))
    cell["contenders"]["monai"] = {"status": "absent", "reason": "installed without its compiled extension"}
    data = fakes.data(cell)
    assert "- monai: 1.5, not usable: installed without its" in report.render({**data, "versions": {"monai": "1.5"}})
    assert "- monai: absent\n" in report.render({**data, "versions": {"monai": "absent"}})


def test_the_better_of_two_layouts_counts():
    times = {**fakes.times(1, 4, 3), competitors.GRID_COPY: [2.0] * 4, competitors.GRID_COPY + competitors.BARE: [5.0] * 4}
    cell = fakes.cell(times, layout=rows.LAST)
    assert summary.main_ratio(cell)["median"] == 2
    assert summary.main_ratio(cell, "bare")["median"] == 3


def test_means_are_geometric_and_per_work_and_layout():
    cells = [fakes.cell(fakes.times(1, 4)), fakes.cell(fakes.times(1, 1)), fakes.cell(fakes.times(1, 0.25), layout=rows.LAST)]
    found = {(line["work"], line["layout"]): (line["mean"], line["cells"]) for line in summary.means(cells)}
    assert found[rows.FORWARD, rows.FIRST] == (pytest.approx(2), 2)
    assert found[rows.FORWARD, rows.LAST] == (pytest.approx(0.25), 1)
    assert found[rows.FORWARD, "all"] == (pytest.approx(1), 3)
    assert found[rows.MAP, "all"] == (None, 0)


def test_numbers_are_written_without_exponents():
    assert [report.number(value) for value in (0.01234, 1.234, 123.4, 12345.6)] == ["0.0123", "1.23", "123", "12346"]


# --- bytes ------------------------------------------------------------------------------------------------------------------------


def test_roofline_by_hand():
    # Two maps of 3 channels and 4 x 5 pixels, 7 points each: 14 points of 4 taps, lines of 12 bytes.
    row = rows.Row("hand", "", (2, 3, 4, 5), (7,))
    lines, output, featmap = 14 * 4 * 12, 14 * 12, 2 * 3 * 20 * 4
    assert roofline.bytes_moved(row, rows.FORWARD) == lines + output == 840
    assert roofline.bytes_moved(row, rows.MAP) == 840 + output + featmap + lines == 2160
    assert roofline.bytes_moved(row, rows.COORDS) == 2160
    assert roofline.fraction(2160, bytes_per_second=1000, seconds=4.32) == pytest.approx(0.5)
    looks = replace(row, mode="nearest", looks=4)
    assert roofline.bytes_moved(looks, rows.FORWARD) == 4 * (14 * 12 + output)


def test_the_peak_is_the_highest_sum_and_not_the_last():
    assert memory.running_peak([4, 4, -4, 2, -6]) == 8
    assert memory.running_peak([]) == 0


def test_peak_memory_of_a_known_call():
    x = torch.zeros(2**18)  # 1 MiB

    def call():
        y = x + 1
        z = y + 1
        del y
        return z + 1

    # Two at a time, and the numbers that are added.
    assert 2 * x.nbytes <= memory.peak_bytes(call, CPU) < 2 * x.nbytes + 1000


def test_the_memory_budget_by_hand():
    row = rows.Row("hand", "", (2, 3, 4, 5), (7,))
    assert memory.budget_bytes(row, rows.LAST, 1000) == 1000 + 14 * 4 * (8 + 4)
    assert memory.budget_bytes(row, rows.FIRST, 1000) == 1000 + 14 * 4 * (8 + 4) + 480


# --- parts ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", parts.QUICK_PARTS, ids=lambda part: part.name)
def test_a_part_is_ours_over_the_primitive_with_its_limit(part):
    durations = iter([1.0, 1.0, *[3.0, 1.0, 1.0, 3.0] * 2])
    line = parts.measure(part, CPU, timing.Budget(0, fewest=4), lambda call: (call(), next(durations))[1])
    assert line["ratio"] == {"median": 3.0, "spread": 0.0, "rounds": 4}
    assert line["limit"] == parts.LIMITS[part.kind]
    assert line["within"] is False
    text = report.render({**fakes.data(), "parts": [line]})
    assert "**no**" in fakes.line_of(text, part.name)


def test_as_many_draws_as_randint_makes(monkeypatch):
    drawn = []
    original = torch.randint
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: drawn.append(args[-1][-1]) or original(*args, **kwargs))
    for n_points, size in ((20, (32, 32)), (100, (10, 20))):
        parts.ts.coord.randint(1, n_points, size)
        assert drawn.pop() == parts._draws(n_points, size[0] * size[1])


def test_a_machine_is_a_file_name():
    described = {"gpu": None, "cpu": "AMD EPYC", "cores": 2}
    assert machine.slug(described) == "amd-epyc-2-cores"
    assert machine.slug({**described, "cpu": "Intel(R) Xeon(R) Processor"}) == "intel-xeon-2-cores"
    assert machine.slug({**described, "gpu": "NVIDIA H100 80GB HBM3"}) == "nvidia-h100-80gb-hbm3"


# --- rendering --------------------------------------------------------------------------------------------------------------------

WEIGHTS, TRAINING = rendering.QUICK_CASES[0], rendering.QUICK_CASES[-1]


def measure_rendering(case, monkeypatch, theirs):
    monkeypatch.setattr(rendering, "_theirs", theirs)
    durations = iter([1.0, 1.0, *[1.0, 3.0, 3.0, 1.0] * 2])
    return rendering.measure(case, CPU, timing.Budget(0, fewest=4), lambda call: (call(), next(durations))[1])


@pytest.mark.parametrize("case", rendering.QUICK_CASES, ids=lambda case: case.name)
def test_rendering_is_theirs_over_ours(case, monkeypatch):
    line = measure_rendering(case, monkeypatch, rendering._ours)
    assert line["ratio"] == {"median": 3.0, "spread": 0.0, "rounds": 4}
    text = report.render({**fakes.data(), "rendering": [line]})
    assert "| 1000 ± 0 | 3000 ± 0 | 3.00 ± 0.00 | 62500000 |" in fakes.line_of(text, case.name)


def test_rendering_that_differs_is_not_timed(monkeypatch):
    def off(scene):
        return {kind: lambda function=function: (function()[0] * 1.001,) for kind, function in rendering._ours(scene).items()}

    line = measure_rendering(WEIGHTS, monkeypatch, off)
    assert "answer 0 differs by 0.001" in line["reason"]
    assert "ours" not in line
    assert "**failed**" in fakes.line_of(report.render({**fakes.data(), "rendering": [line]}), WEIGHTS.name)


def test_rendering_gradients_are_compared(monkeypatch):
    def off(scene):
        return {"training": lambda: (_Wrong.apply(answers[0]), *answers[1:]) if (answers := rendering._ours(scene)["training"]()) else ()}

    assert "answer 3 differs" in measure_rendering(TRAINING, monkeypatch, off)["reason"]


class _Wrong(torch.autograd.Function):
    """Right values, wrong gradients."""

    @staticmethod
    def forward(_ctx, values):
        return values.clone()

    @staticmethod
    def backward(_ctx, grad):
        return 2 * grad


def test_rendering_alone_without_nerfacc(monkeypatch):
    def absent(_scene):
        raise ImportError("No module named 'nerfacc'")

    line = measure_rendering(WEIGHTS, monkeypatch, absent)
    assert line["absent"] == "No module named 'nerfacc'"
    assert "| absent | - |" in fakes.line_of(report.render({**fakes.data(), "rendering": [line]}), WEIGHTS.name)
