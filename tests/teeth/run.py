"""Does the suite have teeth? Break one thing at a time in a copy of the tree; the test that is named with it must fail.

``cases.toml`` has the faults as data: a file, some of its text, what stands there instead, and the test that notices. ``old`` occurs
once in its file. Where the code has moved, the case is mended there and nowhere else.

    python tests/teeth/run.py                      every case, on all cores
    python tests/teeth/run.py --only "spline"      those whose name has the word
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = "src", "tests", "conftest.py", "pyproject.toml"
NOTICED, UNNOTICED, HANG = 1, 0, -signal.SIGALRM
SECONDS = 120
"""A fault that makes a test run for ever is noticed as well."""


def read_cases(path: Path) -> list[dict[str, str]]:
    """The cases of a file."""
    with path.open("rb") as file:
        return tomllib.load(file)["case"]


def break_tree(case: dict[str, str], tree: Path) -> None:
    """Make a copy of the tree with one fault."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, tree / name)
    file = tree / case["file"]
    text = file.read_text()
    if text.count(case["old"]) != 1:
        found = text.count(case["old"])
        raise SystemExit(f"{case['name']}: `old` must occur once in {case['file']}, and occurs {found} times: renew the case")
    file.write_text(text.replace(case["old"], case["new"]))


def run_test(case: dict[str, str], log: Path) -> None:
    """In a process of its own: run the test of a case in a broken copy, and end with pytest's exit code."""
    import pytest

    output = log.open("w")
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    signal.alarm(SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve()
        break_tree(case, tree)
        os.chdir(tree)
        # Before the checkout itself, which an editable installation puts there.
        sys.path.insert(0, str(tree / "src"))
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "slow or not slow", case["test"]]))
    output.flush()
    os._exit(code)


def start(case: dict[str, str], log: Path) -> int:
    """Fork a process for a case: what it needs of other packages is loaded already."""
    number = os.fork()
    if number == 0:
        try:
            run_test(case, log)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(70)
    return number


def survey(cases: list[dict[str, str]], jobs: int, logs: Path) -> dict[str, int]:
    """The exit code of each case, or minus the signal that ended it."""
    waiting, running, codes = list(enumerate(cases)), {}, {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, case = waiting.pop(0)
            running[start(case, logs / f"{number}.log")] = case["name"]
        ended, status = os.wait()
        codes[running.pop(ended)] = os.waitstatus_to_exitcode(status)
        if sys.stderr.isatty():
            print(f"\r{len(codes)} of {len(cases)}", end="" if waiting or running else "\n", file=sys.stderr, flush=True)
    return codes


def preload() -> None:
    """Import once what every process needs; the package itself comes from each copy."""
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):
        import scipy.ndimage  # noqa: F401


def main() -> None:
    """The command line; exit code 1 if a fault went unnoticed, or a case does not fit the code any more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name has this in it")
    parser.add_argument("--cases", type=Path, default=Path(__file__).with_name("cases.toml"), metavar="FILE", help="(default: cases.toml)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (default: %(default)s)")
    args = parser.parse_args()
    cases = [case for case in read_cases(args.cases) if args.only in case["name"]]
    begun = time.monotonic()
    preload()
    with tempfile.TemporaryDirectory() as folder:
        codes = survey(cases, args.jobs, Path(folder))
        wrong = [(number, case) for number, case in enumerate(cases) if codes[case["name"]] not in (NOTICED, HANG)]
        for number, case in wrong:
            said = (Path(folder) / f"{number}.log").read_text().strip().splitlines()
            what = "is not noticed" if codes[case["name"]] == UNNOTICED else f"cannot be tried (exit code {codes[case['name']]})"
            print(f"{case['name']}: {what} by {case['test']}", *said[-5:], sep="\n    ")
    # In words that a reader of test reports knows.
    print(f"{len(cases) - len(wrong)} passed, {len(wrong)} failed in {time.monotonic() - begun:.0f} s")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
