"""`ts.why` names who serves a call, and what it says comes true."""

from unittest import mock

import pytest
import torch

import torchsample as ts
from torchsample.interpolation import fast_cpu, fast_grid, reference

LAST = torch.channels_last


def points(n=100, rank=2, batch=2, **options):
    return ts.coord.rand(batch, n, rank, **options)


CASES = {
    "few channels": (
        points(),
        torch.rand(2, 3, 8, 8),
        {},
        "grid_sample: for few channels or few values, sampled linearly, it is the quickest.",
    ),
    "few values": (points(10), torch.rand(2, 64, 8, 8), {}, "grid_sample: "),
    "few channels of a volume": (points(rank=3), torch.rand(2, 1, 8, 8, 8), {}, "grid_sample: "),
    "many channels": (points(4096), torch.rand(2, 64, 8, 8), {}, "table: the map has more than 4 channels."),
    "many channels of a volume": (points(4096, 3), torch.rand(2, 3, 8, 8, 8), {}, "table: the map has more than 2 channels."),
    "channels-first": (points(4096), torch.rand(2, 64, 8, 8), {}, "copied in each call (0.0 MiB)"),
    "channels-first volume": (points(4096, 3), torch.rand(2, 8, 8, 8, 8), {}, "memory_format=torch.channels_last_3d)"),
    "few points": (points(500), torch.rand(2, 64, 256, 256), {}, "only the pixels that they touch are copied"),
    "half": (points(4096), torch.rand(2, 64, 8, 8).half().to(memory_format=LAST), {}, "to rows of torch.float32"),
    "nearest": (points(), torch.rand(2, 3, 8, 8), {"mode": "nearest"}, "table: grid_sample samples linearly"),
    "labels": (points(), torch.zeros(2, 3, 8, 8, dtype=torch.int64), {"mode": "nearest"}, "table: "),
    "spline": (points(), torch.rand(2, 3, 8, 8), {"mode": "bspline3", "padding_mode": "reflection"}, "ts.prefilter does it once"),
    "circular": (points(), torch.rand(2, 3, 8, 8), {"padding_mode": "circular"}, "grid_sample does not know this padding"),
    "mixed": (points(), torch.rand(2, 3, 8, 8), {"padding_mode": ("border", "zeros")}, "grid_sample does not know this padding"),
    "double coords": (points(dtype=torch.float64), torch.rand(2, 3, 8, 8), {}, "float32 coords take half the time"),
    "NaN": (points(), torch.full((2, 3, 8, 8), torch.nan), {}, "done again by the definition"),
    "several grids": (points(batch=4).unflatten(0, (2, 2)), torch.rand(1, 2, 3, 8, 8), {}, "evenly and in order"),
    "complex": (points(), torch.rand(2, 3, 8, 8, dtype=torch.complex64), {}, "definition: no fast path for torch.complex64."),
    "empty": (torch.empty(2, 0, 2), torch.rand(2, 3, 8, 8), {}, "definition: there is nothing to do."),
    "meta": (points(device="meta"), torch.rand(2, 3, 8, 8, device="meta"), {}, "definition: no fast path for tensors on meta."),
}


@pytest.mark.parametrize("name", CASES)
def test_says_and_does(name):
    coords, featmap, options, expected = CASES[name]
    explanation = ts.why(coords, featmap, **options)
    assert expected in explanation
    served = {
        "definition": mock.patch.object(reference, "interpolate", wraps=reference.interpolate),
        "table": mock.patch.object(fast_cpu.Table, "interpolate", autospec=True, side_effect=fast_cpu.Table.interpolate),
        "grid_sample": mock.patch.object(fast_grid.GridSample, "interpolate", autospec=True, side_effect=fast_grid.GridSample.interpolate),
    }
    with served[explanation.split(":")[0]] as spy:
        ts.sample(coords, featmap, **options)
    assert spy.call_count == 1


def test_a_good_call_gets_no_advice():
    for featmap in (torch.rand(2, 64, 64, 64).to(memory_format=LAST), torch.rand(2, 3, 8, 8)):
        assert "\n" not in ts.why(points(4096), featmap)


def test_transforms_are_seen():
    featmap, seen = torch.rand(2, 3, 8, 8), []

    def call(coords):
        seen.append(ts.why(coords, featmap))
        return ts.sample(coords, featmap).sum()

    torch.func.grad(call)(points())
    with torch.autograd.forward_ad.dual_level():
        call(points())
    assert seen == ["definition: a transform of torch.func is active.", "definition: forward-mode differentiation is active."]


def test_without_a_batch_and_with_an_index():
    assert ts.why.nobatch(points(batch=1)[0], torch.rand(3, 8, 8)).startswith("grid_sample: ")
    index = torch.zeros(100, dtype=torch.int64)
    assert "evenly" in ts.why(points(batch=1)[0], torch.rand(2, 3, 8, 8), batch_index=index)


def test_advice_is_good_wherever_it_is_given():
    for shape, n_batch in (((64, 32, 32), 0), ((64, 8, 8, 8), 0), ((2, 2, 64, 32, 32), 2), ((2, 64, 99), 1), ((2, 64, 32, 32), 1)):
        rank, featmap = len(shape) - 1 - n_batch, torch.rand(shape)
        coords = torch.rand(*shape[:n_batch], 4096, rank)
        call = ts.why if n_batch else ts.why.nobatch
        remedy = call(coords, featmap).split("keep ")[1].rstrip(".")
        assert "\n" not in call(coords, eval(remedy, {"featmap": featmap, "torch": torch}))


def test_takes_what_sample_takes():
    with pytest.raises(ValueError, match=r"ts\.why.*padding_mode"):
        ts.why(points(), torch.rand(2, 3, 8, 8), padding_mode="wrap")
