"""Have calls served by a back-end of the test's choice."""

import contextlib
from unittest import mock

import torch

from torchsample.interpolation import dispatch, fast_grid

NAMES = ("definition", "table", "any")


@contextlib.contextmanager
def served_by(name):
    """By the definition, by a table wherever the definition is not needed, or by whom the library chooses."""
    where = {"definition": (dispatch, "_only_by_definition"), "table": (fast_grid, "refuses")}
    with contextlib.ExitStack() as stack:
        if name in where:
            stack.enter_context(mock.patch.object(*where[name], lambda *_: "the test asks for it"))
        yield


@contextlib.contextmanager
def threads(n):
    """On so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
