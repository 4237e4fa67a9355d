"""Conversions: inverse to each other, exact at pixels, and what is inside."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import torchsample as ts


@settings(max_examples=200, deadline=None)
@given(side=st.integers(1, 100_000), align_corners=st.booleans(), dtype=st.sampled_from([torch.float32, torch.float64]), data=st.data())
def test_round_trip_within_two_ulp_of_the_side(side, align_corners, dtype, data):
    position = torch.tensor(data.draw(st.lists(st.floats(-0.5, side - 0.5, width=32), min_size=1, max_size=20)), dtype=dtype)
    if side == 1 and align_corners:
        position = torch.zeros_like(position)
    back = ts.coord.unnormalize(ts.coord.normalize(position, side, align_corners), side, align_corners)
    ulp = torch.finfo(dtype).eps * 2.0 ** torch.tensor(float(side)).log2().floor()
    assert ((back - position).abs() <= 2 * ulp).all()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("side", [1, 2, 3, 640, 641, 4097, 16384, 99_991])
def test_rounding_recovers_every_pixel(side, align_corners):
    pixels = torch.arange(side)
    coords = ts.coord.normalize(pixels, side, align_corners)
    assert coords.dtype == torch.float32
    assert torch.equal(ts.coord.unnormalize(coords, side, align_corners).round().long(), pixels)


def test_sizes_go_with_their_axes():
    position = torch.tensor([[0, 0], [639, 479]])
    assert_close(ts.coord.normalize(position, (640, 480), align_corners=True), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    edge = torch.tensor([[1 - 1 / 640, 1 - 1 / 480]])
    assert_close(ts.coord.normalize(position, (640, 480)), torch.cat([-edge, edge]))
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    assert_close(ts.coord.unnormalize(corners, (640, 480)), torch.tensor([[-0.5, -0.5], [639.5, 479.5]]))
    assert_close(ts.coord.unnormalize(corners, (640, 480), align_corners=True), torch.tensor([[0.0, 0.0], [639.0, 479.0]]))


def test_clip():
    coords = torch.tensor([[-3.0, -1.0], [1.0, 2.0], [0.0, 0.0]])
    assert_close(ts.coord.unnormalize(coords, (4, 6), clip=True), torch.tensor([[0.0, 0.0], [3.0, 5.0], [1.5, 2.5]]))
    assert_close(ts.coord.unnormalize(coords, 4, clip=True), torch.tensor([[0.0, 0.0], [3.0, 3.0], [1.5, 1.5]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("side", [300, 480, 640, 3000, 2**24 + 4])
def test_clip_stays_on_the_map_when_it_is_rounded(side, dtype):
    if side - 1 <= torch.finfo(dtype).max:
        position = ts.coord.unnormalize(torch.tensor([-1.0, 1.0, 9.0], dtype=dtype), side, clip=True)
        assert position.double().min() >= 0
        assert position.double().max() <= side - 1


def test_one_pixel_with_aligned_corners_is_the_centre():
    for position in (torch.tensor([0]), torch.tensor([0.0, 0.3, -4.0])):
        assert torch.equal(ts.coord.normalize(position, 1, align_corners=True), torch.zeros(len(position)))
    assert_close(ts.coord.normalize(torch.tensor([[0.0, 3.0]]), (1, 4), align_corners=True), torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize("function", [ts.coord.normalize, ts.coord.unnormalize])
def test_dtypes(function):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert function(torch.zeros(3, 2, dtype=dtype), (5, 4)).dtype == dtype
    for dtype in (torch.uint8, torch.int8, torch.int32, torch.int64):
        values = function(torch.tensor([0, 1], dtype=dtype), 200)
        assert values.dtype == torch.float32
        assert_close(values, function(torch.tensor([0.0, 1.0]), 200))
    assert function(torch.zeros(5, 0, 2), (640, 480)).shape == (5, 0, 2)
    assert function(torch.tensor(3.0), 9).shape == ()


def test_half_precision_is_computed_in_float32():
    """Position 4001 is no half number, and neither is any of the steps."""
    coords = ts.coord.normalize(torch.tensor([4000.0]).half(), 4096)
    assert coords.item() == torch.tensor((2 * 4000 - 4095) / 4096).half().item()


def test_gradients():
    position = torch.rand(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: ts.coord.normalize(p, (5, 4)), position)
    assert torch.autograd.gradcheck(lambda p: ts.coord.unnormalize(p, (5, 4), align_corners=True), position)


def test_inside_is_closed():
    above = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)).item()
    points = torch.tensor([[0.0, 0.0], [1.0, -1.0], [above, 0.0], [0.0, -above], [torch.nan, 0.0], [torch.inf, 0.0]])
    assert ts.coord.inside(points).tolist() == [True, True, False, False, False, False]
    assert ts.coord.inside(points.reshape(2, 3, 2)).shape == (2, 3)


def test_unit_coordinates():
    unit = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert_close(ts.coord.from_unit(unit), torch.tensor([-1.0, -0.5, 0.0, 1.0]))
    coords = ts.coord.rand(2, 100)
    assert_close(ts.coord.from_unit(ts.coord.to_unit(coords)), coords)
