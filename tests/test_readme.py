"""The README's blocks run as printed, one after the other."""

import json
import pathlib

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
    data = json.loads((README.parent / "benchmarks" / "results" / "amd-epyc-2-cores.json").read_text())
    assert data["complete"]
    assert not data["tree"]["dirty"]
    assert not data["summary"]["failed"]
    lines = README.read_text().splitlines()
    for layout in ("channels-first", "channels-last", "all"):
        means = [line["mean"] for line in data["summary"]["means"] if line["layout"] == layout]
        assert f"| {layout} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |" in lines
