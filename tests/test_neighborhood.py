"""The cells around coordinates, against loops over each of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import oracle
import torchsample as ts

SIZES = (1, 2, 3, 4, 5)
SPATIAL = {1: (7,), 2: (5, 4), 3: (3, 4, 5)}
# Sides at which every multiple of 1/16 has an exact position in binary.
EXACT = {False: (8, 2, 4), True: (3, 5, 2)}


def bspline(x, degree):
    """The centred B-spline by Schoenberg's truncated powers."""
    if degree == 0:
        return 1.0
    powers = ((-1) ** k * math.comb(degree + 1, k) * max(0.0, x + (degree + 1) / 2 - k) ** degree for k in range(degree + 2))
    return sum(powers) / math.factorial(degree)


def axis_cells(x, side, size, align_corners):
    """Of one axis, pixel, offset, weight and validity of each cell."""
    p = 0.0 if align_corners and side == 1 else oracle.position(x, side, align_corners)
    first = round(p) - (size - 1) // 2 if size % 2 else math.floor(p) - (size // 2 - 1)
    cells = []
    for index in range(first, first + size):
        pixel = oracle.pixel(index, side, "border", align_corners)
        cells.append((pixel, 2 * (p - pixel), bspline(p - index, size - 1), index == pixel))
    return cells


def expect_point(point, featmap, size, align_corners):
    """Features ``(K, c)``, offsets ``(K, d)``, weights ``(K,)`` and validity ``(K,)`` of one point ``(x, y, ...)``."""
    axes = [axis_cells(x, side, size, align_corners) for x, side in zip(point, featmap.shape[:0:-1], strict=True)]
    rows = []
    for cells in itertools.product(*reversed(axes)):  # (..., y, x): x runs fastest
        feature = featmap[(slice(None), *(cell[0] for cell in cells))]
        weight = math.prod(cell[2] for cell in cells)
        rows.append((feature, [cell[1] for cell in reversed(cells)], weight, all(cell[3] for cell in cells)))
    return [np.array(column) for column in zip(*rows, strict=True)]


def check(coords, featmap, size, align_corners):
    got = ts.neighborhood(coords, featmap, size, align_corners)
    expected = [
        [expect_point(point, one, size, align_corners) for point in points]
        for points, one in zip(coords.tolist(), featmap.numpy(), strict=True)
    ]
    for name, values, column in zip(got._fields, got, range(4), strict=True):
        wanted = torch.from_numpy(np.array([[point[column] for point in points] for points in expected]))
        assert values.shape == wanted.shape, name
        assert_close(values, wanted, rtol=1e-12, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


def off_ties(coords, size, align_corners):
    """Without the points whose cells hang on the last bit of their position."""
    position = ts.coord.unnormalize(coords, size, align_corners)
    distance = (2 * position - (2 * position).round()).abs().amin(-1)
    return coords[:, (distance > 1e-9).all(0)]


def check_random(rank, size, align_corners):
    featmap = torch.randn(2, 2, *SPATIAL[rank], dtype=torch.float64)
    # Cells far outside are another matter; up to two pixels beyond the edge, weights are those of the spline.
    coords = off_ties(ts.coord.rand(2, 12, rank, dtype=torch.float64) * 1.4, SPATIAL[rank][::-1], align_corners)
    assert coords.shape[1] > 10
    check(coords, featmap, size, align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_random_points(rank, size, align_corners):
    check_random(rank, size, align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_centres_borders_and_ties(size, align_corners):
    """Every multiple of 1/16 from outside to outside: pixel centres, edges, and the middle between pixels."""
    for side in EXACT[align_corners]:
        coords = torch.arange(-18, 19, dtype=torch.float64).reshape(1, -1, 1) / 16
        check(coords, torch.randn(1, 2, side, dtype=torch.float64), size, align_corners)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("align_corners", [False, True])
def test_single_pixel(size, align_corners):
    check(
        torch.tensor([[[0.25, -0.5], [1.0, -1.0]]], dtype=torch.float64), torch.randn(1, 3, 1, 1, dtype=torch.float64), size, align_corners
    )


def test_centres_and_borders_in_a_plane():
    check(ts.coord.full(1, (4, 8), dtype=torch.float64).flatten(1, 2), torch.randn(1, 1, 8, 4, dtype=torch.float64), 2, False)
    corners = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    check(corners, torch.randn(1, 1, 8, 4, dtype=torch.float64), 3, False)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "mode"), [(1, "nearest"), (2, "linear")])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_weighted_sum_is_interpolation(rank, size, mode, align_corners):
    """By the oracle, and by `sample`; at centres, corners, and far outside."""
    featmap = torch.randn(2, 3, *SPATIAL[rank], dtype=torch.float64)
    extremes = torch.tensor(list(itertools.product((-1.0, 1.0, 9.3, -777.7), repeat=rank)), dtype=torch.float64).expand(2, -1, -1)
    centres = ts.coord.full_like(featmap, align_corners).flatten(1, -2)
    coords = torch.cat(
        [off_ties(ts.coord.rand(2, 20, rank, dtype=torch.float64) * 2, SPATIAL[rank][::-1], align_corners), extremes, centres], 1
    )
    cells = ts.neighborhood(coords, featmap, size, align_corners)
    values = (cells.weights.unsqueeze(-1) * cells.features).sum(-2)
    assert_close(
        values, torch.from_numpy(oracle.sample(coords.numpy(), featmap.numpy(), mode, "border", align_corners)), rtol=1e-10, atol=1e-10
    )
    assert_close(values, ts.sample(coords, featmap, mode, align_corners=align_corners), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_far_outside(size):
    """All cells are the edge's, not valid, measured from the real pixel; weights still sum to 1."""
    featmap = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], dtype=torch.float64)
    coords = torch.tensor([[[101.0], [-1e6], [torch.inf], [-torch.inf]]], dtype=torch.float64)
    cells = ts.neighborhood(coords, featmap, size)
    edges = torch.tensor([4.0, 1.0, 4.0, 1.0], dtype=torch.float64)
    assert torch.equal(cells.features[..., 0], edges.reshape(1, 4, 1).expand(1, 4, size))
    assert not cells.valid.any()
    assert_close(cells.weights.sum(-1), torch.ones(1, 4, dtype=torch.float64))
    # x * 4 / 2 + 3 / 2 is the position; twice the distance from pixel 3 or 0 the offset.
    expected = torch.tensor([2 * (203.5 - 3), 2 * (-2e6 + 1.5), torch.inf, -torch.inf], dtype=torch.float64)
    assert_close(cells.offsets[..., 0], expected.reshape(1, 4, 1).expand(1, 4, size))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_nan_coordinate(size):
    featmap, coords = torch.randn(1, 2, 4, 5), ts.coord.rand(1, 5)
    expected = ts.neighborhood(coords, featmap, size)
    coords[0, 2, 1] = torch.nan
    got = ts.neighborhood(coords, featmap, size)
    others = [0, 1, 3, 4]
    for values, wanted in zip(got, expected, strict=True):
        assert torch.equal(values[:, others], wanted[:, others])
    assert all(values[:, 2].isnan().all() for values in got[:3])
    assert not got.valid[:, 2].any()
    labels = ts.neighborhood(coords, torch.full((1, 1, 4, 5), 7), size)
    assert (labels.features[0, 2] == 0).all()
    assert (labels.features[0, others] == 7).all()


def test_nan_in_the_map_stays_in_its_cell():
    featmap = torch.tensor([[[1.0, torch.nan, 3.0, torch.inf]]])
    cells = ts.neighborhood(ts.coord.full_like(featmap), featmap, 3)
    assert_close(cells.features[0, 2, :, 0], torch.tensor([torch.nan, 3.0, torch.inf]), equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_integer_maps(dtype):
    """Bit for bit, beyond the 53 bits of a float64 as well."""
    big = 2**62 + 1 if dtype == torch.int64 else 1 if dtype == torch.bool else torch.iinfo(dtype).max
    featmap = torch.tensor([[[0, big, 1]]], dtype=dtype)
    cells = ts.neighborhood(torch.tensor([[[-0.5], [0.5]]]), featmap)
    assert cells.features.dtype == dtype
    assert cells.features.flatten().tolist() == featmap.flatten()[[0, 1, 1, 2]].tolist()


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_wide_unsigned_maps(dtype):
    """Any dtype, as `sample` with nearest takes them."""
    featmap = torch.tensor([[[0, 9, 1]]]).to(dtype)
    assert ts.neighborhood(torch.tensor([[[-0.5]]]), featmap).features.flatten().tolist() == [0, 9]


def test_complex_map():
    featmap = torch.randn(1, 2, 4, 5, dtype=torch.complex64)
    coords = ts.coord.rand(1, 9)
    cells = ts.neighborhood(coords, featmap)
    assert_close((cells.weights.unsqueeze(-1) * cells.features).sum(-2), ts.sample(coords, featmap))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_maps(dtype):
    """Features keep their dtype; weights and offsets are not rounded to it, nor positions computed in it."""
    featmap, coords = torch.randn(1, 2, 300).to(dtype), ts.coord.rand(1, 50, 1)
    cells, exact = ts.neighborhood(coords, featmap), ts.neighborhood(coords.double(), featmap.double())
    assert cells.features.dtype == dtype
    assert torch.equal(cells.features.double(), exact.features)
    assert cells.weights.dtype == cells.offsets.dtype == torch.float32
    assert_close(cells.offsets.double(), exact.offsets, rtol=0, atol=1e-4)
    assert_close(cells.weights.double(), exact.weights, rtol=0, atol=1e-4)


def test_long_map():
    """Cells are numbered exactly where float32 has few bits left between them."""
    side = 2**21 - 3
    featmap = torch.arange(side).reshape(1, 1, side)
    pixels = torch.randint(side, (1, 3000, 1))
    cells = ts.neighborhood(ts.coord.normalize(pixels, (side,)), featmap, 1)
    assert (cells.features[..., 0] - pixels).abs().max() <= 1
    position = ts.coord.unnormalize(ts.coord.normalize(pixels, (side,)), (side,))
    assert torch.equal(cells.features[..., 0].float(), position.round())


SHAPES = [((1, 7), (3,)), ((3, 7), (1,)), ((2, 1, 7), (1, 3)), ((2, 3, 4, 2), (2, 3)), ((3, 2, 4), (3,)), ((1, 2, 1, 5), (2, 1))]


@pytest.mark.parametrize(("points", "batch"), SHAPES)
def test_features_broadcast_like_sample(points, batch):
    coords, featmap = ts.coord.rand(0, math.prod(points), dtype=torch.float64).reshape(*points, 2), torch.randn(*batch, 3, 5, 4).double()
    cells = ts.neighborhood(coords, featmap)
    expected = ts.sample(coords, featmap)
    assert cells.features.shape == (*expected.shape[:-1], 4, 3)
    assert_close((cells.weights.unsqueeze(-1) * cells.features).sum(-2), expected)


@pytest.mark.parametrize(("points", "batch"), SHAPES)
def test_all_of_it_broadcasts(points, batch):
    """Offsets, weights and validity have the batch of the result, also where coords have a batch of 1."""
    coords, featmap = ts.coord.rand(0, math.prod(points)).reshape(*points, 2), torch.randn(*batch, 3, 5, 4)
    shape = (*ts.sample(coords, featmap).shape[:-1], 4)
    cells = ts.neighborhood(coords, featmap)
    assert [tuple(values.shape) for values in cells] == [(*shape, 3), (*shape, 2), shape, shape]


def test_batch_index_and_nobatch():
    featmap, coords = torch.randn(3, 2, 5, 4), ts.coord.rand(0, 8) * 1.3
    owner = torch.tensor([2, 0, 1, 1, 2, 0, 0, 2], dtype=torch.int32)
    got = ts.neighborhood(coords, featmap, 3, batch_index=owner)
    assert got.features.shape == (8, 9, 2)
    for i, which in enumerate(owner.tolist()):
        for values, wanted in zip(got, ts.neighborhood.nobatch(coords[i : i + 1], featmap[which], 3), strict=True):
            assert torch.equal(values[i], wanted[0])
        for values, wanted in zip(got, ts.neighborhood(coords[i : i + 1].unsqueeze(0), featmap[which : which + 1], 3), strict=True):
            assert torch.equal(values[i], wanted[0, 0])


def test_no_points_and_any_strides():
    featmap = torch.randn(2, 3, 5, 4)
    assert ts.neighborhood(torch.zeros(2, 0, 2), featmap, 3).features.shape == (2, 0, 9, 3)
    coords = ts.coord.rand(2, 9, 4)[..., ::2]
    before = coords.clone()
    turned = featmap.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    for values, wanted in zip(ts.neighborhood(coords, turned), ts.neighborhood(coords.contiguous(), featmap), strict=True):
        assert torch.equal(values, wanted)
    assert torch.equal(coords, before)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_gradients(size, align_corners):
    featmap = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    coords = off_ties(ts.coord.rand(1, 6, 2, dtype=torch.float64) * 1.3, (3, 4), align_corners).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: ts.neighborhood(coords.detach(), f, size, align_corners).features, featmap)
    assert torch.autograd.gradcheck(lambda c: ts.neighborhood(c, featmap.detach(), size, align_corners)[1:3], coords)
    if size > 2:
        assert torch.autograd.gradgradcheck(lambda c: ts.neighborhood(c, featmap.detach(), size, align_corners).weights, coords)
    features = ts.neighborhood(coords, featmap.detach(), size, align_corners).features
    assert not features.requires_grad, "which cells are read does not depend on coords smoothly"


def test_gradient_of_offsets_is_the_side():
    """Also where the edge stands in: the coordinate moves, the pixel does not."""
    coords = torch.tensor([[[0.1, 3.0]]], requires_grad=True)
    offsets = ts.neighborhood(coords, torch.zeros(1, 1, 5, 7)).offsets
    (slope,) = torch.autograd.grad(offsets.sum(), coords)
    assert_close(slope, torch.tensor([[[4 * 7.0, 4 * 5.0]]]))


def test_nan_coordinate_has_no_gradient_for_others():
    coords = torch.tensor([[[0.1], [torch.nan]]], requires_grad=True)
    featmap = torch.randn(1, 1, 5, requires_grad=True)
    cells = ts.neighborhood(coords, featmap)
    total = cells.weights[:, 0] @ cells.features[:, 0, :, 0].T
    slopes = torch.autograd.grad(total.sum(), [coords, featmap])
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("size", SIZES)
def test_weights_are_a_partition(size):
    cells = ts.neighborhood(ts.coord.rand(1, 500, 2, dtype=torch.float64) * 5, torch.zeros(1, 1, 5, 7), size)
    assert_close(cells.weights.sum(-1), torch.ones(1, 500, dtype=torch.float64), rtol=1e-12, atol=0)
    assert (cells.weights >= -1e-14).all()


def test_weighted_sum_of_three_is_smooth():
    """Its derivative, too, where the cells change halfway between two pixels."""
    featmap = torch.randn(1, 1, 8, dtype=torch.float64)
    tie = torch.tensor([[[0.0]]], dtype=torch.float64)  # between pixels 3 and 4

    def value(x):
        cells = ts.neighborhood(x, featmap, 3)
        return (cells.weights * cells.features[..., 0]).sum()

    left, right = (torch.func.grad(value)(tie + side) for side in (-1e-9, 1e-9))
    assert_close(left, right, rtol=0, atol=1e-6)
    assert left.abs() > 1e-3
