"""Run a program of the examples in the test's own process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable


def starter(monkeypatch, capsys, name: str, main: Callable[[], object]) -> Callable[..., tuple[object, str, str]]:
    """A function that runs a program as users do, with arguments, and gives its exit code, stdout and stderr."""

    def start(*arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return start


def with_commands(commands) -> Callable[[], object]:
    """What starts a program with subcommands, of its module ``commands``."""
    return lambda: importlib.import_module("_program").run(commands.make_parser())
