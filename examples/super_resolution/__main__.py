"""Starts the program, in any folder: ``python path/to/examples/super_resolution``; in examples/, ``python -m super_resolution`` as well."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # The modules are in the folder above, where Python looks for them only if it is started there.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from _program import how_started, run
    from super_resolution.commands import make_parser

    run(make_parser(*how_started()))
