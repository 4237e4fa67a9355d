"""Time torchsample against grid_sample and other libraries, and write the tables as Markdown and JSON.

Four tables: *sampling*, ts.sample on the maps and points of well-known uses, in both memory layouts of the map, forward and with
gradients; *memory*, the peaks of the same calls; *parts*, what makes and encodes coordinates, against the bare primitives; *rendering*,
colours of rays against nerfacc.

All contenders of a cell take turns in the same run, so that whatever else the machine does befalls them alike. Before that their values and
gradients are compared: where they differ, nothing is timed, the row is shown as failed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from . import machine, memory, parts, rendering, report, roofline, sampling
from .rows import LAYOUTS, ROWS, Row, matches
from .timing import Budget, make_timer

TABLES = "sampling", "memory", "parts", "rendering"
EXAMPLES = """examples (from the root of the checkout):
  python -m benchmarks --quick                            try it: tiny maps, seconds instead of minutes
  python -m benchmarks                                    all tables, some twenty minutes on two cores
  python -m benchmarks --list                             the names for --rows
  python -m benchmarks --rows 'pointrend*' --tables sampling --seconds 20
  python -m benchmarks --rows 'gamma*' 'full*'            two of the parts
  python -m benchmarks --tables rendering
  python -m benchmarks --device cuda
  python -m benchmarks --from benchmarks/results/amd-epyc-2-cores.json

Other libraries are used if they are installed: pip install torch-interpol kornia nerfacc.
"""


def usable_device(text: str) -> torch.device:
    """An argument type: the CPU or a CUDA device, found out by using it."""
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argparse.ArgumentTypeError(f"cannot use the device {text!r}: {str(error).splitlines()[0]}") from None
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"cannot time on {text!r}, only on cpu and cuda")
    return device


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """An argument type: a positive number."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
        return number

    return parse


def make_parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    add = parser.add_argument
    add("--rows", nargs="+", default=["*"], metavar="GLOB", help="only rows and parts of these names, see --list (default: all)")
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="TABLE", help=f"of {', '.join(TABLES)} (default: all)")
    add("--against", nargs="+", default=["*"], metavar="GLOB", help="other libraries beside grid_sample, '' for none (default: all)")
    add("--compiled", action="store_true", help="also torch.compile of the definition in plain tensor operations; compiling takes minutes")
    add("--device", type=usable_device, default="cpu", help="cpu, or cuda: device time with a cold cache (default: %(default)s)")
    add("--threads", type=positive(int), help="CPU threads (default: PyTorch's choice)")
    add("--seconds", type=positive(float), default=10, help="how long the contenders of a cell take turns (default: %(default)s)")
    add("--slowest", type=positive(float), default=20, help="leave out a library that takes longer for one call (default: %(default)s)")
    add("--quick", action="store_true", help="tiny sizes and a tenth of a second per cell: to try the benchmark, not to learn from it")
    output = "the files, without .md and .json (default: benchmarks/results/MACHINE, with -part or -quick if it is not everything)"
    add("-o", "--output", type=Path, metavar="STEM", help=output)
    add("--list", action="store_true", help="print the names of rows and parts, and stop")
    add("--from", dest="source", type=Path, metavar="JSON", help="time nothing; make the Markdown of a result again")
    return parser


def show_names() -> None:
    for row in ROWS:
        points = " x ".join(map(str, row.points))
        print(f"{row.name:26} {row.use}: {points} points per map, {row.mode}")
    for part in (*parts.PARTS, *rendering.CASES):
        print(part.name)


def render_again(parser: argparse.ArgumentParser, source: Path) -> int:
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
        text = report.render(data)
    except (OSError, ValueError, KeyError) as error:
        parser.exit(2, f"{parser.prog}: error: cannot read results from {source}: {error}\n")
    path = source.with_suffix(".md")
    report.write_text(path, text)
    print(text)
    print(f"Saved {path}")
    return 0


class Run:
    """One run of the command: what it measures, and the results so far."""

    def __init__(self, args: argparse.Namespace, command: str) -> None:
        self.args = args
        self.device: torch.device = args.device
        self.budget = Budget(min(args.seconds, 0.1) if args.quick else args.seconds)
        self.timer = make_timer(self.device)
        # The glob of a row also reads "row/layout".
        self.rows = [(row, layout) for row in ROWS for layout in LAYOUTS if matches(row.name, args.rows) or self._fits(row, layout)]
        self.parts = [part for part in (parts.QUICK_PARTS if args.quick else parts.PARTS) if matches(part.name, args.rows)]
        self.cases = [case for case in (rendering.QUICK_CASES if args.quick else rendering.CASES) if matches(case.name, args.rows)]
        budget = {"seconds": self.budget.seconds, "warmup": self.budget.warmup, "fewest": self.budget.fewest, "most": self.budget.most}
        self.data: dict[str, Any] = {
            "command": command,
            "date": machine.now(),
            "complete": False,
            "machine": machine.describe_machine(self.device),
            "versions": machine.describe_versions(),
            "tree": machine.describe_tree(),
            "settings": {**budget, "slowest": args.slowest, "quick": args.quick, "device": str(self.device), "rows": args.rows},
            "bandwidth": {},
            **{name: [] for name in TABLES},
        }

    def _fits(self, row: Row, layout: str) -> bool:
        return matches(f"{row.name}/{layout}", self.args.rows)

    def stem(self) -> Path:
        """Where results go: whatever is not the whole table is kept apart from it."""
        if self.args.output is not None:
            output = Path(self.args.output)
            return output.with_suffix("") if output.suffix in (".md", ".json") else output
        partial = self.args.rows != ["*"] or set(self.args.tables) != set(TABLES) or self.args.against != ["*"]
        suffix = "-quick" if self.args.quick else "-part" if partial else ""
        return machine.ROOT / "benchmarks" / "results" / (machine.slug(self.data["machine"]) + suffix)

    def _sized(self, row: Row) -> Row:
        return row.shrunk() if self.args.quick else row

    def steps(self) -> Iterator[tuple[str, str, Callable[[], Iterator[dict[str, Any]]]]]:
        """Table and name of what is measured, and a function that does it."""
        tables = self.args.tables
        if "sampling" in tables and self.rows:
            self._measure_bandwidth()
            for row, layout in self.rows:
                yield "sampling", f"{row.name} {layout}", lambda row=row, layout=layout: self._sample(row, layout)
        if "memory" in tables:
            for row, layout in self.rows:
                yield "memory", f"{row.name} {layout}", lambda row=row, layout=layout: self._remember(row, layout)
        if "parts" in tables:
            for part in self.parts:
                yield "parts", part.name, lambda part=part: self._part(part)
        if "rendering" in tables:
            for case in self.cases:
                yield "rendering", case.name, lambda case=case: self._render(case)

    def count(self) -> int:
        counts = {"sampling": len(self.rows), "memory": len(self.rows), "parts": len(self.parts), "rendering": len(self.cases)}
        return sum(counts[table] for table in set(self.args.tables))

    def _measure_bandwidth(self) -> None:
        n_bytes = 2**22 if self.args.quick else 2**30 if self.device.type == "cuda" else 2**28
        speed, seconds = roofline.copy_bandwidth(self.device, n_bytes, self.timer)
        self.data["bandwidth"] = {"bytes": n_bytes, "bytes_per_second": speed, "seconds": seconds.to_dict()}

    def _sample(self, row: Row, layout: str) -> Iterator[dict[str, Any]]:
        speed = self.data["bandwidth"]["bytes_per_second"]
        args = self.args
        settings = sampling.Settings(self.device, self.budget, self.timer, speed, args.against, args.compiled, args.slowest)
        yield from sampling.measure(self._sized(row), layout, settings)

    def _remember(self, row: Row, layout: str) -> Iterator[dict[str, Any]]:
        try:
            yield memory.measure(self._sized(row), layout, self.device)
        except Exception as problem:
            yield {"row": row.name, "layout": layout, "reason": sampling.why(problem)}

    def _part(self, part: parts.Part) -> Iterator[dict[str, Any]]:
        try:
            yield parts.measure(part, self.device, self.budget, self.timer)
        except Exception as problem:
            yield {"part": part.name, "reason": sampling.why(problem)}

    def _render(self, case: rendering.Case) -> Iterator[dict[str, Any]]:
        try:
            yield rendering.measure(case, self.device, self.budget, self.timer)
        except Exception as problem:
            yield {"case": case.name, "reason": sampling.why(problem)}

    def measure(self) -> None:
        """Everything, one step after the other; what is done is saved after each beside the results, so that stopping loses little."""
        unfinished = self.stem().with_name(self.stem().name + "-unfinished")
        with tqdm(total=self.count(), unit="row") as bar:
            for table, name, step in self.steps():
                bar.set_description(f"{table}: {name}")
                for line in step():
                    self.data[table].append(line)
                report.save(self.data, unfinished)
                bar.update()
        self.data["complete"] = True
        report.save(self.data, self.stem())
        for path in report.saved_as(unfinished):
            path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is 1 if a row failed."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.list:
        show_names()
        return 0
    if args.source is not None:
        return render_again(parser, args.source)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    run = Run(args, shlex.join(["python", "-m", "benchmarks", *arguments]))
    if not run.count():
        parser.error(f"no row or part is called {' or '.join(args.rows)}; --list names them")
    run.measure()
    print(report.render(run.data))
    print(f"Saved {' and '.join(map(str, report.saved_as(run.stem())))}")
    return int(any("reason" in line for table in TABLES for line in run.data[table]))


if __name__ == "__main__":
    sys.exit(main())
