"""Make Markdown of results, and write both files so that nobody ever finds half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import memory, rendering, roofline, timing
from .competitors import GRID, GRID_COPY, OTHERS, OURS
from .parts import PRIMITIVES
from .rows import FIRST, LAST, WORKS
from .summary import Cell, is_timed, main_ratio, summarize, verdict

Data = dict[str, Any]
NONE = "-"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; columns of numbers are aligned by whoever renders it."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines)]


def number(value: float, digits: int = 3) -> str:
    """A positive number to so many digits, and never with an exponent, however large."""
    return f"{value:.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def milliseconds(stat: Data) -> str:
    return f"{number(1000 * stat['median'])} ± {number(1000 * stat['spread'], 2)}"


def times_faster(ratio: Data) -> str:
    mark = verdict(ratio)
    return f"{ratio['median']:.2f} ± {ratio['spread']:.2f}" + (f" {mark}" if mark else "")


def _of(cell: Cell, name: str, key: str, show: Callable[[Data], str]) -> str:
    """One number of a contender; a dash if it did not run, and in other words than a number why it was refused."""
    found = cell["contenders"].get(name)
    if found is None:
        return NONE
    return show(found[key]) if found["status"] == "timed" else found["status"]


def _sampling_line(cell: Cell) -> list[str]:
    start = [cell["row"], cell["layout"], cell["work"]]
    if not is_timed(cell):
        return [*start, "**failed**", *[NONE] * 5]
    times = [_of(cell, name, "seconds", milliseconds) for name in (OURS, GRID, GRID_COPY)]
    ratios = [times_faster(main_ratio(cell)), times_faster(main_ratio(cell, "bare"))]
    return [*start, *times, *ratios, f"{100 * cell['roofline']:.0f} %"]


def _sampling(data: Data) -> list[str]:
    head = ["row", "layout", "work", "ours ms", "grid_sample ms", "grid_sample ms, contiguous map", "ratio", "ratio, bare view", "roofline"]
    speed = f"{data['bandwidth']['bytes_per_second'] / 1e9:.1f} GB/s, {data['bandwidth']['bytes'] / 2**20:.0f} MiB at a time"
    notes = [
        f"{timing.DEFINITION} Values and gradients were compared before; a row whose numbers differ is not timed.",
        "`grid_sample` returns what we return: features last, contiguous. In channels-last rows it also runs on a contiguous copy of the"
        " map, made outside of the timing, and the better of the two counts. The bare view is its result permuted and not copied.",
        f"{roofline.FORMULA} Copying ran at {speed}.",
    ]
    lines = ["## Sampling", ""]
    for note in notes:
        lines += [note, ""]
    return [*lines, *table(head, map(_sampling_line, data["sampling"])), ""]


def _rows(data: Data) -> list[str]:
    seen = {cell["row"]: cell for cell in data["sampling"]}
    lines = []
    for name, cell in seen.items():
        points = " x ".join(map(str, cell["points"])) + (f", {cell['looks']} looks" if cell["looks"] > 1 else "")
        lines.append([name, cell["use"], " x ".join(map(str, cell["map"])), points, cell["mode"], cell["dtype"]])
    return ["### The rows", "", *table(["row", "what", "map", "points per map", "mode", "dtype"], lines), ""]


def _others(data: Data) -> list[str]:
    """Other libraries: their time, the ratio to ours, or why there is none."""
    names = [name for name in OTHERS if any(name in cell.get("contenders", {}) for cell in data["sampling"])]
    present = [name for name in names if any(_status(cell, name) != "absent" for cell in data["sampling"])]
    lines = ["### Other libraries", ""]
    for name in OTHERS[:-1]:
        version = data["versions"].get(name, "absent")
        missing = {_reasons(cell)[name] for cell in data["sampling"] if name in _reasons(cell) and _status(cell, name) == "absent"}
        lines.append(f"- {name}: {version}" + (f", not usable: {'; '.join(sorted(missing))}" if missing and version != "absent" else ""))
    if present:
        lines += ["", *table(["row", "layout", "work", *(f"{name} ms, ratio" for name in present)], _other_lines(data, present))]
    reasons = sorted(
        {(name, cell["row"], reason) for cell in data["sampling"] for name, reason in _reasons(cell).items() if name in present}
    )
    return [*lines, "", *(f"- {name}, {row}: {reason}" for name, row, reason in reasons), ""]


def _status(cell: Cell, name: str) -> str:
    return cell.get("contenders", {}).get(name, {}).get("status", "absent")


def _reasons(cell: Cell) -> dict[str, str]:
    return {name: found["reason"] for name, found in cell.get("contenders", {}).items() if "reason" in found}


def _time_and_ratio(found: Data | None) -> str:
    if found is None:
        return NONE
    return f"{milliseconds(found['seconds'])}, {times_faster(found['ratio'])}" if found["status"] == "timed" else found["status"]


def _other_lines(data: Data, names: Sequence[str]) -> Iterable[list[str]]:
    for cell in filter(is_timed, data["sampling"]):
        found = [cell["contenders"].get(name) for name in names]
        yield [cell["row"], cell["layout"], cell["work"], *map(_time_and_ratio, found)]


def _mean(means: Sequence[Data], work: str, layout: str) -> str:
    line = next(line for line in means if (line["work"], line["layout"]) == (work, layout))
    return NONE if line["mean"] is None else f"{line['mean']:.2f} ({line['cells']})"


def _summary(data: Data) -> list[str]:
    found = summarize(data["sampling"])
    columns = FIRST, LAST, "all"
    lines = ["### In short", "", "Geometric means of the ratios, in brackets of how many; in the last column against the bare view.", ""]
    body = [[work, *(_mean(found["means"], work, layout) for layout in columns), _mean(found["bare_means"], work, "all")] for work in WORKS]
    lines += [*table(["work", *columns, "all, bare view"], body), "", "Below 1 beyond the spread:", ""]
    lines += [f"- {loss['row']}, {loss['layout']}, {loss['work']}: {times_faster(loss)}" for loss in found["losses"]] or ["- none"]
    lines += ["", "Failed, and not timed:", ""]
    failed = dict.fromkeys(f"- {cell['row']}, {cell['layout']}: {cell['reason']}" for cell in found["failed"])
    return [*lines, *(failed or ["- none"]), ""]


def _mebibytes(n_bytes: int | None) -> str:
    return NONE if n_bytes is None else number(n_bytes / 2**20)


def _memory(data: Data) -> list[str]:
    head = ["row", "layout", "ours MiB", "grid_sample MiB", "grid_sample MiB, contiguous map", "budget MiB", "within"]
    lines = []
    for line in data["memory"]:
        if "reason" in line:
            lines.append([line["row"], line["layout"], "**failed**", line["reason"], NONE, NONE, NONE])
            continue
        numbers = [_mebibytes(line.get(name)) for name in ("ours", GRID, GRID_COPY, "budget")]
        lines.append([line["row"], line["layout"], *numbers, "yes" if line["within"] else "**no**"])
    return ["## Peak memory", "", memory.DEFINITION, "", *table(head, lines), ""]


def _parts(data: Data) -> list[str]:
    lines = []
    for line in data["parts"]:
        if "reason" in line:
            lines.append([line["part"], "**failed**", line["reason"], NONE, NONE, NONE])
            continue
        share = f"{line['ratio']['median']:.2f} ± {line['ratio']['spread']:.2f}"
        numbers = [milliseconds(line["ours"]), milliseconds(line["bare"]), share, f"{line['limit']:g}"]
        lines.append([line["part"], *numbers, "yes" if line["within"] else "**no**"])
    primitives = [f"- {kind}: {text}" for kind, text in PRIMITIVES.items()]
    note = "Ours over the bare primitive, interleaved as above; here less is better."
    head = ["part", "ours ms", "primitive ms", "ours / primitive", "limit", "within"]
    return ["## Parts", "", note, "", *primitives, "", *table(head, lines), ""]


def _rendering_line(line: Data) -> list[str]:
    if "reason" in line:
        return [line["case"], "**failed**", line["reason"], NONE, NONE]
    per_ray = number(1e9 * line["ours"]["median"] / line["rays"])
    theirs, ratio = (milliseconds(line[rendering.NERFACC]), times_faster(line["ratio"])) if "ratio" in line else ("absent", NONE)
    return [line["case"], milliseconds(line["ours"]), theirs, ratio, per_ray]


def _rendering(data: Data) -> list[str]:
    note = (
        f"Rays x samples. Against the batched functions of {rendering.NERFACC}, the only ones that it has on a CPU, "
        "interleaved as in the other tables; answers and gradients were compared before, and may differ by"
        f" {rendering.TOLERANCE:g} of the largest."
    )
    kinds = [f"- {kind}: {text}" for kind, text in rendering.KINDS.items()]
    head = ["case", "ours ms", f"{rendering.NERFACC} ms", "ratio", "ours, ns per ray"]
    return ["## Rendering", "", timing.DEFINITION, "", note, "", *kinds, "", *table(head, map(_rendering_line, data["rendering"])), ""]


def _origin(data: Data) -> list[str]:
    machine, versions, tree, settings = data["machine"], data["versions"], data["tree"], data["settings"]
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    dirty = {True: " with changes", False: "", None: " (unknown)"}[tree["dirty"]]
    lines = [
        f"- machine: {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads{gpu}; load at the start {machine['load']}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"- commit: {tree['commit'] or 'unknown'}{dirty}",
        f"- date: {data['date']}, {'complete' if data['complete'] else '**stopped before the end**'}",
        f"- command: `{data['command']}`",
        f"- time: {settings['seconds']:g} s per cell, {settings['warmup']} warm-up round(s), at least {settings['fewest']} rounds",
    ]
    if settings["quick"]:
        lines.append("- **--quick: sizes are tiny; these numbers say nothing about speed**")
    return ["# Benchmarks", "", *lines, ""]


def render(data: Data) -> str:
    """The tables as Markdown."""
    lines = _origin(data)
    if data["sampling"]:
        lines += [*_sampling(data), *_summary(data), *_others(data), *_rows(data)]
    if data["memory"]:
        lines += _memory(data)
    if data["parts"]:
        lines += _parts(data)
    if data.get("rendering"):
        lines += _rendering(data)
    return "\n".join(lines)


def write_text(path: Path, text: str) -> None:
    """Write beside the file and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def saved_as(stem: Path) -> tuple[Path, Path]:
    """The Markdown and the JSON of a result."""
    return stem.with_name(stem.name + ".md"), stem.with_name(stem.name + ".json")


def save(data: Data, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.md`` and ``stem.json``."""
    paths = saved_as(stem)
    write_text(paths[0], render(data))
    write_text(paths[1], json.dumps({**data, "summary": summarize(data["sampling"])}, indent=1) + "\n")
    return paths
