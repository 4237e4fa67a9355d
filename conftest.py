"""How the tests run: README and docstrings block by block, each test from the same random state."""

import os
from doctest import ELLIPSIS

import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core: threads would only get into each other's way.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    """Each test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    """Blocks of one document build on each other, so one process runs them all; tests go wherever there is time."""
    for item in items:
        if item.path.suffix == ".md" or item.path.parent.name != "tests":
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


readme = Sybil(parsers=[PythonCodeBlockParser()], patterns=["README.md"])
docstrings = Sybil(parsers=[DocTestParser(optionflags=ELLIPSIS)], patterns=["src/**/*.py"])
pytest_collect_file = (readme + docstrings).pytest()
