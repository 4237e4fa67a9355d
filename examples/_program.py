"""What programs with subcommands have in common: their command line, and an end without a traceback."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Mapping

import torch

from _common import usable_device, whole

Command = tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None], str]
"""What a subcommand does, what adds its arguments, and what it is for."""


def parser_of(program: str, description: str | None, examples: str, commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The command line of a program; every subcommand has --seed, --device and --threads."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description, epilog=examples, formatter_class=style)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    threads = torch.get_num_threads()
    for name, (call, add_arguments, what) in commands.items():
        command = subparsers.add_parser(name, help=what)
        add_arguments(command)
        command.add_argument("--seed", type=whole(0, 2**31), default=0, help="seed of all random numbers (default: %(default)s)")
        command.add_argument("--device", type=usable_device, default="cpu", help="where to compute: cpu, cuda (default: %(default)s)")
        command.add_argument("--threads", type=whole(1), default=threads, help="CPU threads (default: %(default)s)")
        command.set_defaults(call=call)
    return parser


def run(parser: argparse.ArgumentParser) -> None:
    """Run a subcommand; being terminated is like Ctrl-C: what is half done is cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    try:
        args.call(args)
    except KeyboardInterrupt:
        raise SystemExit("\ninterrupted; nothing half-written is left") from None
    except ValueError as error:
        # The library names what is wrong with what it was given; other errors are the program's own.
        if not str(error).startswith("ts."):
            raise
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except SystemExit as stop:
        # One line and the exit code of wrong usage, as argparse has it.
        parser.exit(2, f"{parser.prog}: {stop.code}\n")
