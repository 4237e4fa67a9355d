"""Derivatives of `ts.sample`, by finite differences at the default tolerances and against PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import torchsample as ts

SPATIAL = {1: (5,), 2: (3, 4), 3: (2, 3, 4)}


def make_inputs(rank, align_corners, n=4):
    """Points in and outside of the map, away from the kinks at pixels and half pixels."""
    size = SPATIAL[rank][::-1]
    position = torch.stack([torch.randint(-2, side + 2, (1, n)) for side in size], -1) + 0.15 + 0.25 * torch.rand(1, n, rank)
    coords = ts.coord.normalize(position.double(), size, align_corners).requires_grad_()
    return coords, torch.randn(1, 2, *SPATIAL[rank], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_first_and_second_order(rank, mode, padding_mode, align_corners):
    inputs = make_inputs(rank, align_corners, n=2 if rank == 3 else 4)

    def function(coords, featmap):
        return ts.sample(coords, featmap, mode, padding_mode, align_corners)

    assert gradcheck(function, inputs)
    if rank < 3 and mode != "nearest":
        assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(("rank", "mode"), [(2, "nearest"), (2, "bilinear"), (2, "bicubic"), (3, "bilinear")])
def test_gradients_are_those_of_grid_sample(rank, mode, padding_mode):
    coords, featmap = make_inputs(rank, False, n=20)
    mine = ts.sample(coords, featmap, mode, padding_mode)
    grid = coords.reshape(1, *[1] * (rank - 1), -1, rank)
    torchs = F.grid_sample(featmap, grid, mode, padding_mode, align_corners=False).flatten(2).transpose(1, 2)
    incoming = torch.randn_like(mine)
    for left, right in zip(*(torch.autograd.grad(v, (coords, featmap), incoming) for v in (mine, torchs)), strict=True):
        assert_close(left, right, rtol=1e-10, atol=1e-10)


def test_nearest_has_zero_gradient_where_only_coords_need_one():
    coords = ts.coord.rand(1, 5).requires_grad_()
    ts.sample(coords, torch.randn(1, 2, 4, 4), "nearest").sum().backward()
    assert torch.equal(coords.grad, torch.zeros_like(coords))


def test_nan_coordinate_leaves_the_gradients_of_others_alone():
    coords, featmap = make_inputs(2, False, n=6)
    with torch.no_grad():
        broken = coords.clone()
        broken[0, 2, 0] = torch.nan
    broken.requires_grad_()
    others = [0, 1, 3, 4, 5]
    got = torch.autograd.grad(ts.sample(broken, featmap)[:, others].sum(), (broken, featmap))
    expected = torch.autograd.grad(ts.sample(coords, featmap)[:, others].sum(), (coords, featmap))
    assert_close(got[0][:, others], expected[0][:, others])
    assert_close(got[1], expected[1])


def test_pixel_without_weight_does_not_spoil_coordinate_gradients():
    """At a pixel centre the slope towards a finite neighbour stays what it is, whatever NaN lies elsewhere."""
    featmap = torch.arange(8.0, dtype=torch.float64).reshape(1, 1, 8)
    coords = ts.coord.full_like(featmap)[:, 2:4].requires_grad_()
    expected = torch.autograd.grad(ts.sample(coords, featmap).sum(), coords)[0]
    featmap = featmap.clone()
    featmap[..., 6:] = torch.nan
    assert torch.equal(torch.autograd.grad(ts.sample(coords, featmap).sum(), coords)[0], expected)


def test_kinks_take_the_slope_towards_larger_coordinates():
    """At a pixel centre, the slope of the linear piece that begins there; beyond the last one the border is flat."""
    signal = torch.tensor([1.0, 2.0, 5.0, 4.0, 8.0], dtype=torch.float64)
    coords = ts.coord.full(1, (5,), align_corners=True, dtype=torch.float64).requires_grad_()
    for padding_mode, last in (("border", 0.0), ("zeros", -8.0), ("reflection", -4.0), ("circular", -7.0)):
        values = ts.sample(coords, signal.reshape(1, 1, 5), padding_mode=padding_mode, align_corners=True)
        (slopes,) = torch.autograd.grad(values.sum(), coords)
        # A pixel is 2 / 4 wide in these coordinates.
        expected = torch.cat([signal.diff(), torch.tensor([last], dtype=torch.float64)])
        assert_close(slopes.flatten() / 2, expected)
