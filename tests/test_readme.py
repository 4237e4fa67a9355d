"""The README's blocks run as printed, one after the other."""

import json
import pathlib
import statistics

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_every_block_runs():
    examples = list(Sybil(parsers=[PythonCodeBlockParser()]).parse(README).examples())
    assert len(examples) == README.read_text().count("```python") > 5
    for example in examples:
        example.evaluate()


def test_commands_are_what_ci_runs():
    """Two commands with nothing but Python and pip; CI greps the second one out of this file."""
    commands = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "examples/fit_image.py" in commands[0]
    assert "python -m pytest" in commands[1]
    assert README.read_text().count("python -m pytest") == 1


def test_speed_is_what_was_measured():
    """The table of ratios is that of the committed results, made from a clean tree with nothing failed."""
    data = json.loads((README.parent / "benchmarks" / "results" / "intel-xeon-2-cores.json").read_text())
    assert data["complete"]
    assert not data["tree"]["dirty"]
    assert not data["summary"]["failed"]
    lines = README.read_text().splitlines()
    for layout in ("channels-first", "channels-last", "all"):
        means = [line["mean"] for line in data["summary"]["means"] if line["layout"] == layout]
        assert f"| {layout} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |" in lines
    earlier = json.loads((README.parent / "benchmarks" / "results" / "amd-epyc-2-cores.json").read_text())
    first, second, third = (f"{line['mean']:.2f}" for line in earlier["summary"]["means"] if line["layout"] == "all")
    assert f"an earlier commit had {first}, {second} and {third}" in README.read_text()
    losers = {cell["row"].split("-")[0] for cell in data["sampling"] if ratio(cell)["median"] + ratio(cell)["spread"] < 1}
    assert losers == {"image", "warp", "density"}


def ratio(cell):
    return cell["contenders"][cell["better"]["result"]]["ratio"]


def test_speed_of_rendering_is_what_was_measured():
    data = json.loads((README.parent / "benchmarks" / "results" / "intel-xeon-2-cores.json").read_text())
    assert data["complete"]
    assert not data["tree"]["dirty"]
    found = {kind: [case["ratio"]["median"] for case in data["rendering"] if case["kind"] == kind] for kind in ("rendering", "training")}
    least, most, least_training, most_training = (f"{end(found[kind]):.1f}" for kind in found for end in (min, max))
    text = " ".join(README.read_text().split())
    assert f"is {least} to {most} times as fast as nerfacc's batched functions" in text
    assert f"and {least_training} to {most_training} times with gradients" in text


def test_examples_are_what_was_measured():
    """The tables of LIIF and PointRend are those of the results that the examples saved."""
    lines, folder = README.read_text().splitlines(), README.parent / "examples"
    scores = json.loads((folder / "super_resolution" / "results.json").read_text())["scores"]
    for method in scores["2"]:
        means = [statistics.mean(by_method[method].values()) for by_method in scores.values()]
        assert f"| {method} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |" in lines
    ways = json.loads((folder / "point_refinement" / "results.json").read_text())["rows"]["main"]
    assert "PointRend" in ways
    for name, row in ways.items():
        assert f"| {name} | {row['iou_mean']:.2f} | {row['boundary_iou_mean']:.1f} | {row['points']:,} |" in lines


def test_claims_of_the_examples_are_what_was_measured():
    """Beating both bicubics at every scale, parts of LIIF within the spread, PointRend's targets for each seed."""
    folder = README.parent / "examples"
    results = json.loads((folder / "super_resolution" / "results.json").read_text())
    for by_method in results["scores"].values():
        liif, *others = (statistics.mean(found.values()) for found in by_method.values())
        assert liif > max(others)
    runs = {variant: list(zip(*gains.values(), strict=True)) for variant, gains in results["ablation"]["runs"].items()}
    for variant in runs:
        for whole, without in zip(runs["LIIF"], runs[variant], strict=True):
            assert abs(statistics.mean(whole) - statistics.mean(without)) <= statistics.stdev(whole) + statistics.stdev(without)
    targets = json.loads((folder / "point_refinement" / "results.json").read_text())["targets"]
    assert targets["iou_within_0.1_of_dense_in_each_seed"]
    assert targets["mild_beats_uniform_in_each_seed"]
    assert targets["times_fewer_points"] > 60


def test_scenes_are_what_was_measured():
    """The table of scenes, and that the encoding is worth 3 dB."""
    lines = README.read_text().splitlines()
    rows = json.loads((README.parent / "examples" / "nerf" / "results.json").read_text())["rows"]
    means = {}
    for name, row in rows.items():
        assert len(row["seeds"]) == 3
        psnr, ssim, training = ([each[key] for each in row["seeds"].values()] for key in ("psnr", "ssim", "train_seconds"))
        means[name] = statistics.mean(psnr)
        cells = [f"{means[name]:.2f} ± {statistics.stdev(psnr):.2f}", f"{statistics.mean(ssim):.3f}", f"{statistics.mean(training):.0f} s"]
        cells.append(f"{row['paper']:.2f}" if "paper" in row else "")
        assert f"| {name} | {' | '.join(cells)} |" in lines
    assert len(rows) == 7
    minute = json.loads((README.parent / "examples" / "nerf" / "minute.json").read_text())
    seeds = minute["rows"]["voxel grid"]["seeds"].values()
    assert minute["threads"] == 2
    assert statistics.mean(each["psnr"] for each in seeds) > 31.3
    assert all(each["train_seconds"] < 60 and each["psnr"] > 31 for each in seeds)
    assert means["NeRF, half the frequencies"] > means["NeRF"]
    assert abs(means["NeRF without hierarchical sampling"] - means["NeRF"]) < 0.1
    assert means["NeRF"] > means["NeRF without positional encoding"] + 3
