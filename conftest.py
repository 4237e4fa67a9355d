"""How the tests run: one thread per process, and each test from the same random state."""

import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core: threads would only get into each other's way.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    """Each test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)
