"""Ten thousand hostile calls over the whole public surface: how does each end?

A call is made from a seed and an index: one valid call of `hostile_calls`, one or two of its arguments spoilt by `hostile_values`.
It runs in a process of its own kind, under a limit of time and of memory. To look at what is wrong, and at one call again::

    python tests/hostile.py --n 10000 --seed 3 --only ts.hoist
    python tests/hostile.py --seed 3 --index 1234
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import random
import re
import resource
import select
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

import torchsample as ts
from hostile_calls import CALLS, target
from hostile_values import POOLS, SENSE, STRANGE, Mine, made, spoil

HERE, PACKAGE = pathlib.Path(__file__).parent, pathlib.Path(ts.__file__).parent
SECONDS, PATIENCE, MEMORY, LONGEST = 5.0, 60.0, 6 << 30, 600
"""CPU time of a call, wall time without a sign of life, memory beyond what a process starts with, and length of a message."""

KINDS = {
    "floats": "coords pose intrinsics origins directions offsets amplitudes frequencies phases edges weights outer_edges outer_weights"
    " density alpha values x z mean cov pred boxes regions theta displacement points input position t",
    "tensor": "featmap tensor",
    "reals": "coord",
    "integers": "batch_index ray_indices index",
    "bools": "mask",
    "array": "out",
    "tensors": "featmaps",
    "count": "n_samples batch dims n order steps n_points chunk_size batch_dims unfold n_rays step every warmup degree dim side reach",
    "whole": "sampling_ratio",
    "size": "size tile_size output_size resolution",
    "number": "k beta threshold decay early_stop min_alpha a",
    "measure": "fov width near far low high centre center radius half focal power q cell background",
    "flag": "align_corners feat_last prefilter normalize clip replace remember return_coords return_batch_index unit check jitter",
    "callable": "fn refine encoder rest first density_fn",
    "mode": "mode",
    "padding": "padding_mode",
    "choice": "norm convention",
    "generator": "generator",
    # Anything that a dtype can hold, NaN as well.
    "any": "fill uncertainty spacing progress",
    "dtype": "dtype",
    "device": "device",
}
KIND = {name: kind for kind, names in KINDS.items() for name in names.split()}
EXCEPTIONS = {
    ("ts.render.OccupancyGrid.sample", "step"): "number",
    ("ts.neighborhood", "size"): "count",
    ("ts.neighborhood.nobatch", "size"): "count",
    ("ts.local_ensemble", "size"): "count",
    ("ts.ray.intervals", "jitter"): "choice",
    ("ts.ray.resample", "jitter"): "choice",
    ("ts.render.OccupancyGrid", "low"): "measure",
    ("ts.render.composite", "background"): "any",
    ("ts.render.unpack", "values"): "tensor",
    ("ts.render.unpack", "fill"): "any",
    ("ts.coord.from_row_col", "coords"): "reals",
}
OWN = re.compile(r"ts\.[\w.]+: `[^`]+` must be ")
SIGNATURE = re.compile(r"missing \d+ required|unexpected keyword|positional arguments? but|multiple values for|Can't instantiate abstract")


class Ending(NamedTuple):
    """How a call ended."""

    index: int
    name: str
    call: str
    kind: str
    """accepted, own, signature, user, bare, memory, hang or death."""
    senseless: bool
    text: str


class Hang(BaseException):
    """Raised by the clock."""


def kind_of(name: str, argument: str) -> str:
    return EXCEPTIONS.get((name, argument), KIND.get(argument, "count" if argument.isdigit() else "any"))


def _pick(chooser: random.Random, kind: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, Tensor) and chooser.random() < 0.8:
        label, change = chooser.choice(list(spoil(value)))
        return label, made(change)
    pool = POOLS.get(kind, [])
    return chooser.choice(pool if pool and chooser.random() < 0.5 else STRANGE)


def build(seed: int, index: int, names: list[str]) -> tuple[str, str, dict[str, Any], bool]:
    """The name of a call, its description, its arguments, and whether one of them can never mean anything."""
    chooser = random.Random(f"{seed}-{index}")
    name = names[index % len(names)]
    torch.manual_seed(index)
    arguments = chooser.choice(CALLS[name])()
    arguments.update({str(i): value for i, value in enumerate(arguments.pop("*", []))})
    fate = chooser.random()
    if fate < 0.02:
        return name, "unknown=1", {**arguments, "unknown": 1}, False
    if fate < 0.05:
        lost = chooser.choice(list(arguments))
        return name, f"without {lost}", {key: value for key, value in arguments.items() if key != lost}, False
    if fate < 0.09 and len(arguments) > 1:
        one, two = chooser.sample(list(arguments), 2)
        return name, f"{one} and {two} swapped", {**arguments, one: arguments[two], two: arguments[one]}, False
    spoilt, senseless = [], False
    for argument in chooser.sample(list(arguments), 1 if fate < 0.75 or len(arguments) == 1 else 2):
        kind, valid = kind_of(name, argument), arguments[argument]
        label, value = _pick(chooser, kind, valid)
        arguments[argument] = value
        spoilt.append(f"{argument}: {label}")
        senseless |= value is not None and not SENSE[kind](value)
    return name, ", ".join(spoilt), arguments, senseless


def _frames(trace: TracebackType | None) -> Iterator[pathlib.Path]:
    for frame, _ in traceback.walk_tb(trace):
        yield pathlib.Path(frame.f_code.co_filename)


def judge(error: BaseException) -> str:
    """What kind of an ending an exception is."""
    text = str(error)
    if isinstance(error, Hang):
        return "hang"
    if isinstance(error, (ValueError, TypeError, IndexError, ModuleNotFoundError)) and OWN.match(text):
        return "own"
    files = list(_frames(error.__traceback__))
    inside = next((place for place, path in enumerate(files) if PACKAGE in path.parents), len(files))
    shallow = len(files) - inside <= 1
    theirs = any(path.name == "hostile_values.py" for path in files[inside:])
    if isinstance(error, Mine) or theirs or re.search(r"takes_nothing\(\)|Tanh\.__init__\(\)", text):
        return "user"
    if isinstance(error, TypeError) and SIGNATURE.search(text) and shallow:
        return "signature"
    return "memory" if isinstance(error, MemoryError) or "allocate memory" in text else "bare"


def _out_of_time(*_: Any) -> None:
    raise Hang


def run(seed: int, index: int, names: list[str]) -> Ending:
    """Make one call, and say how it ended."""
    name, call, arguments, senseless = build(seed, index, names)
    positional = [arguments.pop(key) for key in list(arguments) if key.isdigit()]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target(name)(*positional, **arguments)
        kind, text = "accepted", ""
    except (Exception, Hang) as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        kind, text = judge(error), f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Ending(index, name, call, kind, senseless, text)


def work(seed: int, names: list[str], indices: Iterable[int]) -> None:
    """Make calls under a limit of memory, and print each ending as a line of JSON."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _out_of_time)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    for index in indices:
        print(json.dumps(run(seed, index, names)), file=out, flush=True)


def _follow(worker: subprocess.Popen[str]) -> Iterator[Ending]:
    """The endings that a worker tells of, until it ends or gives no sign of life."""
    assert worker.stdout
    while select.select([worker.stdout], [], [], PATIENCE)[0]:
        line = worker.stdout.readline()
        if not line.endswith("\n"):
            return
        yield Ending(*json.loads(line))


def survey(n: int, seed: int, only: list[str] | None = None) -> list[Ending]:
    """How ``n`` calls end."""
    names = only or list(CALLS)
    endings: list[Ending] = []
    while len(endings) < n:
        start = len(endings)
        command = [sys.executable, __file__, "--work", json.dumps([seed, names, start, n])]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=HERE.parent)
        try:
            endings.extend(_follow(worker))
            if len(endings) < n:
                ended = worker.poll() is not None or not select.select([worker.stdout], [], [], 0)[0]
                worker.kill()
                code = worker.wait()
                name, call, _, senseless = build(seed, len(endings), names)
                kind = "death" if ended and code not in (0, -9) else "hang"
                endings.append(Ending(len(endings), name, call, kind, senseless, f"the process ended with {code}"))
        finally:
            worker.kill()
            worker.communicate()
    return endings


REFUSED = ("own", "bare", "memory")


def share(endings: Iterable[Ending]) -> float:
    """Of the calls that the library refuses, the share that ends in an error of somebody else."""
    kinds = collections.Counter(ending.kind for ending in endings)
    return (kinds["bare"] + kinds["memory"]) / max(sum(kinds[kind] for kind in REFUSED), 1)


def is_wordy(ending: Ending) -> bool:
    """Whether an own error prints a tensor, or anything as long."""
    return ending.kind == "own" and (len(ending.text) > LONGEST or "tensor(" in ending.text or "array(" in ending.text)


def offences(endings: Iterable[Ending]) -> Iterator[tuple[str, Ending]]:
    for ending in endings:
        if ending.kind in ("bare", "memory", "hang", "death"):
            yield ending.kind, ending
        elif ending.kind == "accepted" and ending.senseless:
            yield "SENSELESS", ending
        elif is_wordy(ending):
            yield "WORDY", ending


def report(endings: list[Ending], seed: int, shown: int = 3) -> str:
    """A table of how calls end, and per function the first that end badly."""
    kinds = collections.Counter(ending.kind for ending in endings)
    bad = collections.Counter(what for what, _ in offences(endings))
    lines = [
        f"{len(endings)} calls: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}",
        f"{share(endings):.2%} of the refused are bare; {bad['SENSELESS']} senseless accepted, {bad['WORDY']} messages too long",
        f"To look at one: python tests/hostile.py --seed {seed} --index INDEX (and the same --only)",
    ]
    by_name = collections.defaultdict(list)
    for ending in endings:
        by_name[ending.name].append(ending)
    for name, own in sorted(by_name.items(), key=lambda item: -len(list(offences(item[1])))):
        found = list(offences(own))
        if found:
            lines.append(f"{name}: {share(own):.1%} bare, {len(found)} of {len(own)} calls end badly")
            lines += [f"    {e.index:6} {what:9} {e.call}  ->  {e.text[:200]!r}" for what, e in found[:shown]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of functions, as ts.hoist")
    parser.add_argument("--index", type=int, help="make this call alone, and show its traceback")
    parser.add_argument("--shown", type=int, default=3, help="calls shown per function")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        seed, names, start, stop = json.loads(options.work)
        work(seed, names, range(start, stop))
    elif options.index is not None:
        name, call, arguments, _ = build(options.seed, options.index, options.only or list(CALLS))
        print(name, call)
        positional = [arguments.pop(key) for key in list(arguments) if key.isdigit()]
        print(target(name)(*positional, **arguments))
    else:
        print(report(survey(options.n, options.seed, options.only), options.seed, options.shown))


if __name__ == "__main__":
    main()
