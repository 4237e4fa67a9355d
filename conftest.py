"""How the tests run: one thread per process, and each test from the same random state."""

import importlib.util
import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core: threads would only get into each other's way.
    torch.set_num_threads(1)

# Doctests are looked for in every module of the package; those of the CUDA back-end import Triton.
collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["src/torchsample/interpolation/triton_*.py"]


@pytest.fixture(autouse=True)
def _seed():
    """Each test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)
