"""What the programs have in common: how they were started, their command line, and an end without a traceback."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from _common import usable_device, whole

Command = tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None], str]
"""What a subcommand does, what adds its arguments, and what it is for."""


def how_started() -> tuple[str, str]:
    """The program as the user typed it, so that lines of its help can be pasted, and how to start it on two processes."""
    spec, python = sys.modules["__main__"].__spec__, sys.orig_argv[0]
    # A file has no such name, and a folder has only this one.
    program = shlex.quote(sys.argv[0]) if spec is None or spec.name == "__main__" else f"-m {spec.name.removesuffix('.__main__')}"
    torchrun = str(Path(python).with_name("torchrun"))
    return f"{shlex.quote(python)} {program}", f"{shlex.quote(torchrun)} --nproc-per-node 2 {program}"


def parser_of(description: str | None, examples: str, commands: Mapping[str, Command], command: str) -> argparse.ArgumentParser:
    """The command line of a program with subcommands, of which every one has --seed, --device and --threads."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=command, description=description, epilog=examples, formatter_class=style)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    threads = torch.get_num_threads()
    for name, (call, add_arguments, what) in commands.items():
        subparser = subparsers.add_parser(name, help=what)
        add_arguments(subparser)
        subparser.add_argument("--seed", type=whole(0, 2**31), default=0, help="seed of all random numbers (default: %(default)s)")
        subparser.add_argument("--device", type=usable_device, default="cpu", help="where to compute: cpu, cuda (default: %(default)s)")
        subparser.add_argument("--threads", type=whole(1), default=threads, help="CPU threads (default: %(default)s)")
        subparser.set_defaults(call=call)
    return parser


@contextlib.contextmanager
def ending_in_one_line(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End the program with one line: on wrong input with the exit code of wrong usage, 2; on Ctrl-C and on being terminated with 130."""
    # Being terminated is like Ctrl-C: what is half done is cleaned up.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        parser.exit(130, "\ninterrupted; nothing half-written is left\n")
    except OSError as error:  # A folder that cannot be read, a device that is gone.
        where = f"{error.filename}: " if error.filename else ""
        parser.exit(2, f"{parser.prog}: error: {where}{error.strerror or error}\n")
    except ValueError as error:
        # The library names what is wrong with what it was given; other errors are the program's own.
        if not str(error).startswith("ts."):
            raise
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except SystemExit as stop:
        if not isinstance(stop.code, str):
            raise
        parser.exit(2, f"{parser.prog}: {stop.code}\n")
    finally:
        signal.signal(signal.SIGTERM, before)


def run(parser: argparse.ArgumentParser) -> None:
    """Run a subcommand."""
    with ending_in_one_line(parser):
        args = parser.parse_args()
        torch.set_num_threads(args.threads)
        torch.manual_seed(getattr(args, "seed", 0))
        args.call(args)
