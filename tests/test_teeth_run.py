"""The program that breaks the code says what was noticed, what was not, and which case is out of date."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "teeth" / "run.py"
CASE = """
[[case]]
name = "{name}"
file = "src/torchsample/coordinates/convert.py"
old = {old!r}
new = {new!r}
test = "tests/test_coord_convert.py::test_sizes_go_with_their_axes"
"""


def run(tmp_path, *cases):
    """The program with cases of ours: exit code and what it prints."""
    file = tmp_path / "cases.toml"
    file.write_text("".join(CASE.format(name=name, old=old, new=new) for name, old, new in cases))
    found = subprocess.run([sys.executable, str(RUN), "--cases", str(file)], capture_output=True, text=True, check=False, timeout=300)
    return found.returncode, found.stdout


@pytest.mark.slow
def test_what_it_says(tmp_path):
    line = "    return (2 * position - (side - 1)) / extent if extent else 0 * position"
    code, said = run(
        tmp_path,
        ("half a pixel off", line, line.replace("side - 1", "side")),
        ("another way to write it", line, line.replace("2 * position", "position * 2")),
        ("moved", "    this line was moved", "    return None"),
    )
    assert code == 1
    assert "half a pixel off" not in said
    assert "another way to write it: is not noticed by tests/test_coord_convert.py::test_sizes_go_with_their_axes" in said
    assert "moved: cannot be tried" in said
    assert "`old` must occur once in src/torchsample/coordinates/convert.py, and occurs 0 times" in said
    assert "1 passed, 2 failed" in said
