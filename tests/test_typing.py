"""Type checkers see what calls give."""

import subprocess
import sys
import textwrap

import pytest

USE = """
import numpy as np
import torch
from torch import Tensor, nn

import torchsample as ts


def answer(coords: Tensor) -> tuple[Tensor, Tensor]:
    return coords, coords


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.model = ts.encoding.Gamma(1), ts.models.MLP(4, 8, 3)

    def forward(self, coords: Tensor) -> Tensor:
        return self.model(self.encoder(coords))


def use(featmap: Tensor) -> Tensor:
    model = ts.models.MLP(8 * 9 + 2, 64, 3)
    hoisted, fn = ts.hoist(model[0], model[1:], featmap, unfold=3)
    coords = ts.coord.full(1, (3, 3))
    pair: tuple[Tensor, Tensor] = ts.chunked(answer, coords)
    out: np.ndarray = ts.tiled(model, (3, 3), np.zeros((3, 3, 3)))
    index, centers, image = ts.coord.uncertain(featmap, n=3, return_batch_index=True)
    index, centers = ts.coord.uncertain.nobatch(featmap[0], n=3)
    levels: Tensor = ts.sample_levels(coords, {"a": featmap})
    refined: Tensor = ts.subdivide(featmap, model, size=(9, 9))
    both: tuple[Tensor, list[Tensor]] = ts.subdivide(featmap, model, return_coords=True)
    size: tuple[int, ...] = ts.tensor_to_size.nobatch(featmap[0])
    single: Tensor = ts.feat_first.nobatch(ts.coord.rand.nobatch(5)) + ts.coord.randint.nobatch(5, size)
    return ts.chunked(lambda coords: model(coords), coords) + ts.local_ensemble(fn, coords, hoisted)
"""


@pytest.mark.slow
def test_strict_mypy(tmp_path):
    file = tmp_path / "use.py"
    file.write_text(textwrap.dedent(USE))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
