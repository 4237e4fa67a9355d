"""Regions and their pooling, against torchvision's and detectron2's definitions as loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
from torchsample import regions


def interpolate(featmap, position):
    """torchvision's ``bilinear_interpolate`` at a pixel position ``(..., y, x)``, at any rank; map ``(c, *spatial)``."""
    sides = featmap.shape[1:]
    if any(p < -1 or p > side for p, side in zip(position, sides, strict=True)):
        return np.zeros(featmap.shape[0])
    axes = []
    for p, side in zip(position, sides, strict=True):
        p = max(p, 0.0)
        low = int(p)
        if low >= side - 1:
            low = high = side - 1
            p = float(low)
        else:
            high = low + 1
        axes.append(((low, 1 - (p - low)), (high, p - low)))
    total = np.zeros(featmap.shape[0])
    for corner in itertools.product(*axes):
        total += math.prod(weight for _, weight in corner) * featmap[(slice(None), *(pixel for pixel, _ in corner))]
    return total


def pool(featmap, start, extent, output, sampling_ratio, place=lambda point: point):
    """The loops of both kernels: all arguments in the order ``(..., y, x)``; ``place`` turns a rotated box's points."""
    result = np.zeros((featmap.shape[0], *output))
    bins = [side / number for side, number in zip(extent, output, strict=True)]
    grid = [sampling_ratio if sampling_ratio > 0 else math.ceil(side / number) for side, number in zip(extent, output, strict=True)]
    for cell in itertools.product(*map(range, output)):
        total = np.zeros(featmap.shape[0])
        for sample in itertools.product(*map(range, grid)):
            point = [s + p * b + (i + 0.5) * b / g for s, p, b, i, g in zip(start, cell, bins, sample, grid, strict=True)]
            total += interpolate(featmap, place(point))
        result[(slice(None), *cell)] = total / max(math.prod(grid), 1)
    return result


def roi_align(box, featmap, output, sampling_ratio, scale=1.0):
    """``torchvision.ops.roi_align(..., aligned=True)`` of one box ``(x0, y0, ..., x1, y1, ...)``; output ``(..., h, w)``."""
    d = len(box) // 2
    start, end = ([x * scale - 0.5 for x in corner[::-1]] for corner in (box[:d], box[d:]))
    return pool(featmap, start, [b - a for a, b in zip(start, end, strict=True)], output, sampling_ratio)


def roi_align_rotated(box, featmap, output, sampling_ratio, scale=1.0):
    """detectron2's ``ROIAlignRotated`` of one box ``(x, y, w, h, degrees)``."""
    x, y, w, h = (value * scale for value in box[:4])
    theta = box[4] * math.pi / 180
    cos, sin = math.cos(theta), math.sin(theta)

    def turn(point):
        yy, xx = point
        return yy * cos - xx * sin + y - 0.5, yy * sin + xx * cos + x - 0.5

    return pool(featmap, (-h / 2, -w / 2), (h, w), output, sampling_ratio, turn)


BOXES = [
    (1.3, 2.1, 7.9, 9.4),
    (-3.2, -4.7, 5.1, 3.3),  # overhangs two edges
    (4.4, 3.7, 19.2, 23.9),  # and the other two
    (-8.3, -9.13, 21.71, 25.37),  # all of them
    (5.21, 6.37, 5.24, 6.39),  # tiny
    (0.0, 0.0, 9.0, 11.0),  # the map
    (3.0, 4.0, 3.0, 8.0),  # without width
    (40.3, 40.2, 45.1, 47.3),  # elsewhere
    (8.9, 10.9, 9.02, 11.02),  # at the corner
    (2.0, 3.0, 8.0, 5.0),
]


def check_boxes(output, sampling_ratio):
    featmap = torch.randn(3, 2, 11, 9, dtype=torch.float64)
    boxes = torch.tensor(BOXES, dtype=torch.float64)
    owner = torch.tensor([2, 0, 1, 0, 2, 1, 1, 0, 2, 0])  # in no order
    got = ts.roi_align(ts.coord.region_from_box(boxes, (9, 11)), featmap, output, sampling_ratio, owner)
    expected = [
        roi_align(box, featmap[which].numpy(), output[::-1], sampling_ratio) for box, which in zip(BOXES, owner.tolist(), strict=True)
    ]
    assert_close(got, torch.from_numpy(np.stack(expected)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampling_ratio", [-1, 1, 2, 3])
@pytest.mark.parametrize("output", [(1, 1), (3, 2), (2, 5), (7, 7)])
def test_is_torchvision(output, sampling_ratio):
    """Results in the order of the boxes, whichever maps they are in."""
    check_boxes(output, sampling_ratio)


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_is_detectron2_rotated(sampling_ratio, scale):
    """Also for a level of a pyramid, where the box is one of the image and ``spatial_scale`` is a quarter."""
    featmap = torch.randn(1, 2, 9, 12, dtype=torch.float64)
    boxes = [
        (5.2, 4.1, 6.3, 3.2, 30.0),
        (5.0, 5.0, 7.7, 4.4, -117.3),
        (1.1, 8.3, 9.9, 5.1, 271.0),
        (4.0, 3.0, 2.3, 5.1, 0.0),
        (11.9, 0.2, 6.0, 1.3, 725.0),
    ]
    boxes = [tuple(x / scale for x in box[:4]) + box[4:] for box in boxes]
    size = (int(12 / scale), int(9 / scale))
    regions = ts.coord.region_from_rotated_box(torch.tensor(boxes, dtype=torch.float64), size)
    got = ts.roi_align(regions, featmap, (3, 2), sampling_ratio)
    expected = [roi_align_rotated(box, featmap[0].numpy(), (2, 3), sampling_ratio, scale) for box in boxes]
    assert_close(got, torch.from_numpy(np.stack(expected)), rtol=1e-9, atol=1e-9)


def test_upright_rotated_boxes_are_boxes():
    featmap = torch.randn(1, 2, 9, 12, dtype=torch.float64)
    upright = ts.coord.region_from_rotated_box(torch.tensor([[5.0, 4.0, 6.2, 3.1, 0.0]], dtype=torch.float64), (12, 9))
    box = ts.coord.region_from_box(torch.tensor([[1.9, 2.45, 8.1, 5.55]], dtype=torch.float64), (12, 9))
    assert_close(upright, box)
    quarter = ts.coord.region_from_rotated_box(torch.tensor([[5.0, 4.0, 6.0, 4.0, 90.0]], dtype=torch.float64), (12, 9))
    straight = ts.coord.region_from_box(torch.tensor([[3.0, 1.0, 7.0, 7.0]], dtype=torch.float64), (12, 9))
    turned = ts.roi_align(quarter, featmap, (3, 2), 2)  # its x axis runs upwards
    assert_close(turned, ts.roi_align(straight, featmap, (2, 3), 2).transpose(-1, -2).flip(-1))


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
@pytest.mark.parametrize(
    ("spatial", "output", "boxes"),
    [
        ((9,), (4,), [(1.2, 7.3), (-3.1, 4.4), (2.0, 2.1)]),
        ((4, 5, 6), (2, 3, 2), [(1.2, 0.3, 0.4, 4.9, 4.2, 3.1), (-2.2, 1.3, 2.1, 3.3, 9.1, 3.9)]),
    ],
)
def test_any_rank(spatial, output, boxes, sampling_ratio):
    featmap = torch.randn(1, 2, *spatial, dtype=torch.float64)
    regions = ts.coord.region_from_box(torch.tensor(boxes, dtype=torch.float64), spatial[::-1])
    got = ts.roi_align(regions, featmap, output, sampling_ratio)
    expected = [roi_align(box, featmap[0].numpy(), output[::-1], sampling_ratio) for box in boxes]
    assert got.shape == (len(boxes), 2, *output[::-1])
    assert_close(got, torch.from_numpy(np.stack(expected)), rtol=1e-9, atol=1e-9)


def test_one_pixel_beyond_counts_and_no_more():
    """Samples in the middle of boxes one pixel wide: position -1 and ``side`` count, as the edge; a quarter further is 0."""
    featmap = torch.full((1, 1, 4, 4), 3.0, dtype=torch.float64)
    for x, value in ((-0.5, 3.0), (-0.75, 0.0), (4.5, 3.0), (4.75, 0.0), (0.0, 3.0)):
        for axis in (0, 1):
            centre = [2.0, 2.0]
            centre[axis] = x
            box = torch.tensor([[centre[0] - 0.5, centre[1] - 0.5, centre[0] + 0.5, centre[1] + 0.5]], dtype=torch.float64)
            assert ts.roi_align(ts.coord.region_from_box(box, (4, 4)), featmap, 1, 1).item() == value


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_samples_that_count_as_zero_do_not_read_the_edge(bad):
    """What is far outside is 0, whatever the pixel at the edge holds; 0 times NaN or inf is NaN."""
    featmap = torch.ones(1, 1, 4, 4)
    featmap[0, 0, 0, 0] = bad
    region = ts.coord.region_from_box(torch.tensor([[-20.0, -20.0, -10.0, -10.0]]), (4, 4))
    assert torch.equal(ts.roi_align(region, featmap, 2, 2), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_region_that_is_not_finite_is_alone_with_it(bad):
    """One broken box of a diverging detector is NaN or 0; the others keep their values, whatever the sampling ratio."""
    featmap = torch.randn(1, 2, 8, 8)
    regions = ts.coord.region_from_box(torch.tensor([[1.0, 1.0, 6.0, 5.0], [0.0, 0.0, 3.0, 3.0]]), (8, 8))
    expected = ts.roi_align(regions[:1], featmap, 2)
    regions[1, 0, 0] = bad
    for sampling_ratio in (2, -1):
        got = ts.roi_align(regions, featmap, 2, sampling_ratio)
        assert_close(got[:1], expected if sampling_ratio < 0 else ts.roi_align(regions[:1], featmap, 2, 2))


@pytest.mark.parametrize("sampling_ratio", [2, -1])
def test_many_regions_are_pooled_some_at_a_time(sampling_ratio, monkeypatch):
    """Adaptive ratios make thousands of samples of a large box; they must not all be held at once."""
    featmap, corners = torch.randn(2, 3, 20, 20), 10 * torch.rand(9, 2)
    boxes = ts.coord.region_from_box(torch.cat([corners, corners + 10 * torch.rand(9, 2)], 1), (20, 20))
    owner, most = torch.arange(9) % 2, []
    whole, sample = ts.roi_align(boxes, featmap, 3, sampling_ratio, owner), regions.sample

    def watch(coords, *arguments, **options):
        most.append(len(coords) * featmap.shape[1])
        return sample(coords, *arguments, **options)

    monkeypatch.setattr(regions, "sample", watch)
    monkeypatch.setattr(regions, "NUMBERS", 300)
    assert_close(ts.roi_align(boxes, featmap, 3, sampling_ratio, owner), whole)
    # A single region may have more.
    assert max(most) <= max(300, 3 * 9 * 16)


def test_compiles_with_a_fixed_ratio():
    boxes, featmap = ts.coord.region_from_box(torch.tensor([[1.0, 1.0, 6.0, 5.0]]), (8, 8)), torch.randn(1, 2, 8, 8)
    pool = torch.compile(lambda boxes, featmap: ts.roi_align(boxes, featmap, 2, 2), fullgraph=True, backend="eager")
    assert_close(pool(boxes, featmap), ts.roi_align(boxes, featmap, 2, 2))


def test_float32_boxes_of_whole_pixels():
    """A box of exactly two pixels per bin has two samples per bin, though 1 / 3 is not exact; a little more has three."""
    featmap = torch.randn(1, 1, 30, 30)
    for x in range(10):
        for width, count in ((4, 2), (6, 3), (14, 7), (4.5, 3)):
            region = ts.coord.region_from_box(torch.tensor([[x, x, x + width, x + width]], dtype=torch.float32), (30, 30))
            assert_close(ts.roi_align(region, featmap, 2), ts.roi_align(region, featmap, 2, count))


@pytest.mark.parametrize(
    ("regions_dtype", "dtype"), list(itertools.product([torch.float32, torch.float64], [torch.float16, torch.float32, torch.float64]))
)
def test_dtype_is_the_map_s(regions_dtype, dtype):
    featmap = torch.randn(1, 2, 11, 9).to(dtype)
    boxes = torch.tensor(BOXES[:3], dtype=regions_dtype)
    got = ts.roi_align(ts.coord.region_from_box(boxes, (9, 11)), featmap, 3, 2)
    assert got.dtype == dtype
    expected = [roi_align(box, featmap[0].double().numpy(), (3, 3), 2) for box in BOXES[:3]]
    assert_close(got.double(), torch.from_numpy(np.stack(expected)), rtol=0, atol={torch.float16: 4e-3}.get(dtype, 2e-5))


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_gradients(sampling_ratio):
    featmap = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([(0.7, 0.9, 3.1, 4.2), (-1.3, 1.1, 2.6, 3.7), (1.2, 2.3, 2.15, 3.05)], dtype=torch.float64)
    regions = ts.coord.region_from_box(boxes, (4, 5)).requires_grad_()
    owner = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(lambda f, r: ts.roi_align(r, f, 2, sampling_ratio, owner), (featmap, regions))
    wanted = boxes.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda b: ts.roi_align(ts.coord.region_from_box(b, (4, 5)), featmap.detach(), 2, 2, owner), wanted)
    rotated = torch.tensor([[2.1, 2.3, 2.2, 1.3, 33.0]], dtype=torch.float64, requires_grad=True)
    one = featmap[:1].detach()
    assert torch.autograd.gradcheck(lambda b: ts.roi_align(ts.coord.region_from_rotated_box(b, (4, 5)), one, 2, 2), rotated)


@pytest.mark.parametrize("sampling_ratio", [-1, 1, 2])
@pytest.mark.parametrize("maps", [0, 1, 2])
def test_no_regions(maps, sampling_ratio):
    """detectron2's `test_empty_batch`: an image without boxes, also a batch without images, takes part in a training step."""
    featmap = torch.randn(maps, 3, 5, 4, requires_grad=True)
    regions = torch.zeros(0, 2, 3, requires_grad=True)
    batch_index = torch.zeros(0, dtype=torch.int64) if maps > 1 else None
    got = ts.roi_align(regions, featmap, 7, sampling_ratio, batch_index)
    assert got.shape == (0, 3, 7, 7)
    got.sum().backward()
    assert torch.equal(featmap.grad, torch.zeros_like(featmap))
    assert torch.equal(regions.grad, torch.zeros_like(regions))


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_regions_without_extent(sampling_ratio):
    """detectron2's `test_empty_box`: zeros, in the graph, with the adaptive ratio; the one point that there is with a fixed one."""
    featmap = torch.rand(1, 1, 5, 5, requires_grad=True)
    regions = ts.coord.region_from_box(torch.tensor([[3.0, 4.0, 3.0, 4.0]]), (5, 5)).requires_grad_()
    got = ts.roi_align(regions, featmap, 7, sampling_ratio)
    assert got.shape == (1, 1, 7, 7)
    got.sum().backward()
    if sampling_ratio == -1:
        assert torch.equal(got, torch.zeros_like(got))
        assert torch.equal(featmap.grad, torch.zeros_like(featmap))
    else:
        assert_close(got, ts.sample(torch.tensor([[[0.2, 0.6]]]), featmap).reshape(1, 1, 1, 1).expand_as(got))


def test_regions_of_maps_that_are_not_there():
    with pytest.raises(ValueError, match=r"ts\.roi_align: `batch_index` must be given for 0 maps"):
        ts.roi_align(torch.zeros(1, 2, 3), torch.zeros(0, 3, 5, 4), 7)


def test_order_is_that_of_the_regions():
    """mmcv's SimpleRoIAlign gives the regions of the first image first."""
    featmap = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 6, 6)
    region = ts.coord.region_from_box(torch.tensor([[1.0, 1.0, 4.0, 5.0]]), (6, 6))
    owner = [2, 0, 1, 1, 0, 2]
    for dtype in (torch.int64, torch.int32):
        got = ts.roi_align(region.expand(6, 2, 3), featmap, 2, batch_index=torch.tensor(owner, dtype=dtype))
        assert got[:, 0, 0, 0].tolist() == owner


class TestRegions:
    def test_boxes_by_hand(self):
        box = torch.tensor([10.0, 20.0, 30.0, 60.0], dtype=torch.float64)
        region = ts.coord.region_from_box(box, (100, 80))
        corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
        pixels = (ts.coord.from_region(corners, region) + 1) / 2 * torch.tensor([100.0, 80.0])
        assert_close(pixels, torch.tensor([[10.0, 20.0], [30.0, 60.0], [30.0, 20.0], [20.0, 40.0]], dtype=torch.float64))
        normalized = ts.coord.region_from_box(torch.tensor([-0.5, 0.0, 0.5, 1.0]))
        assert_close(ts.coord.from_region(corners.float(), normalized), torch.tensor([[-0.5, 0.0], [0.5, 1.0], [0.5, 0.0], [0.0, 0.5]]))

    def test_rotated_boxes_by_hand(self):
        """detectron2's own example: counter-clockwise, the y axis pointing down; corners of a box of 4 x 2 turned by 30 degrees."""
        theta = math.radians(30)
        region = ts.coord.region_from_rotated_box(torch.tensor([10.0, 12.0, 4.0, 2.0, 30.0], dtype=torch.float64), (40, 20))
        for x, y in itertools.product((-1, 1), repeat=2):
            got = ts.coord.from_region(torch.tensor([x, y], dtype=torch.float64), region)
            expected = [
                10 + math.cos(theta) * 2 * x + math.sin(theta) * y,
                12 - math.sin(theta) * 2 * x + math.cos(theta) * y,
            ]
            assert_close((got + 1) / 2 * torch.tensor([40.0, 20.0], dtype=torch.float64), torch.tensor(expected, dtype=torch.float64))

    @pytest.mark.parametrize("points", [(), (5,), (4, 3)])
    @pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_inverse_and_loops(self, rank, batch, points):
        regions = torch.randn(*batch, rank, rank + 1, dtype=torch.float64)
        regions[..., :-1] += 4 * torch.eye(rank)
        coords = torch.randn(*batch, *points, rank, dtype=torch.float64)
        image = ts.coord.from_region(coords, regions)
        assert image.shape == coords.shape
        assert_close(ts.coord.to_region(image, regions), coords, rtol=1e-9, atol=1e-9)
        for where in itertools.product(*map(range, batch)):
            for point, got in zip(coords[where].reshape(-1, rank).tolist(), image[where].reshape(-1, rank).tolist(), strict=True):
                matrix = regions[where].tolist()
                expected = [sum(m * x for m, x in zip(row[:-1], point, strict=True)) + row[-1] for row in matrix]
                assert got == pytest.approx(expected, abs=1e-12)

    def test_batches_broadcast(self):
        """One region for all points, or one set of points for all regions; detectron2's get_point_coords_wrt_image."""
        boxes = torch.tensor([[0.0, 0.0, 8.0, 4.0], [2.0, 1.0, 4.0, 9.0], [3.0, 3.0, 5.0, 4.0]], dtype=torch.float64)
        regions = ts.coord.region_from_box(boxes, (16, 12))
        points = torch.rand(3, 7, 2, dtype=torch.float64)
        image = points * (boxes[:, None, 2:] - boxes[:, None, :2]) + boxes[:, None, :2]  # theirs, in [0, 1] and pixels
        got = ts.coord.from_region(ts.coord.from_unit(points), regions)
        assert_close(ts.coord.to_unit(got) * torch.tensor([16.0, 12.0], dtype=torch.float64), image)
        shared = ts.coord.from_region(points[:1], regions)
        assert_close(shared, torch.cat([ts.coord.from_region(points[:1], regions[i : i + 1]) for i in range(3)]))
        assert_close(ts.coord.from_region(points, regions[:1])[2], ts.coord.from_region(points[2], regions[0]))
        assert_close(ts.coord.to_region(points[:1], regions)[1], ts.coord.to_region(points[0], regions[1]))

    def test_batch_dims_that_look_like_points(self):
        """A set of points without the batch of its regions is refused, not mixed up."""
        regions = torch.randn(3, 2, 3)
        for points in (torch.randn(2, 2), torch.randn(2, 5, 2), torch.randn(2)):
            for convert in (ts.coord.from_region, ts.coord.to_region):
                with pytest.raises(ValueError, match="`coords` must be"):
                    convert(points, regions)

    def test_gradients(self):
        regions = (torch.randn(2, 2, 3) + 3 * torch.eye(2, 3)).double().requires_grad_()
        coords = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(ts.coord.from_region, (coords, regions))
        assert torch.autograd.gradcheck(ts.coord.to_region, (coords, regions))
        boxes = torch.tensor([[3.0, 4.0, 2.0, 1.0, 77.0]], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda b: ts.coord.region_from_rotated_box(b, (10, 8)), boxes)

    def test_flat_regions_have_no_inverse_but_spoil_no_other(self):
        boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
        got = ts.coord.to_region(torch.tensor([[[0.3, 0.2]], [[-0.5, -0.5]]]), ts.coord.region_from_box(boxes, (8, 8)))
        assert not got[0].isfinite().all()
        assert_close(got[1], torch.tensor([[0.0, 0.0]]))

    @pytest.mark.parametrize("convert", [ts.coord.from_region, ts.coord.to_region])
    @pytest.mark.parametrize(("coords", "regions"), list(itertools.permutations([torch.float16, torch.float32, torch.float64], 2)))
    def test_mixed_dtypes(self, convert, coords, regions):
        """`to_region` is the inverse of from_region and takes what that takes: both promote."""
        got = convert(
            torch.tensor([0.5, 0.25], dtype=coords), ts.coord.region_from_box(torch.tensor([0.0, 0.0, 4.0, 4.0], dtype=regions), (8, 8))
        )
        expected = [-0.25, -0.375] if convert is ts.coord.from_region else [2.0, 1.5]
        assert got.tolist() == expected

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half(self, dtype):
        """Floating-point coords and regions of any width."""
        regions = ts.coord.region_from_box(torch.tensor([0.0, 0.0, 4.0, 4.0], dtype=dtype), (8, 8))
        coords = torch.tensor([[0.5, 0.25]], dtype=dtype)
        assert ts.coord.from_region(coords, regions).dtype == dtype
        got = ts.coord.to_region(coords, regions)
        assert got.dtype == dtype
        assert got.tolist() == [[2.0, 1.5]]


class TestSampleLevels:
    LEVELS = ((2, 3, 8, 6), (2, 1, 4, 3), (2, 4, 1, 1))

    @pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
    def test_concatenates_features_for_every_map_of_a_batch(self, mode):
        """detectron2's inference concatenates its levels along the batch."""
        maps = [torch.randn(shape, dtype=torch.float64) for shape in self.LEVELS]
        coords = ts.coord.rand(2, 7, dtype=torch.float64).reshape(2, 7, 2) * 1.2
        got = ts.sample_levels(coords, maps, mode)
        assert got.shape == (2, 7, 8)
        assert got.is_contiguous()
        start = 0
        for featmap in maps:
            stop = start + featmap.shape[1]
            for index in range(2):
                expected = ts.sample.nobatch(coords[index], featmap[index], mode)
                assert_close(got[index, :, start:stop], expected)
            start = stop

    @pytest.mark.parametrize("points", [(6,), (2, 3)])
    def test_features_first(self, points):
        maps = [torch.randn(shape) for shape in self.LEVELS]
        coords = ts.coord.rand(2, 6).reshape(2, *points, 2)
        got = ts.sample_levels(coords, maps, feat_last=False)
        assert got.shape == (2, 8, *points)
        assert got.is_contiguous()
        assert torch.equal(got, ts.sample_levels(coords, maps).movedim(-1, 1))

    def test_arguments_reach_every_level(self):
        maps = [torch.randn(shape) for shape in self.LEVELS]
        coords = ts.coord.rand(2, 9) * 1.5
        got = ts.sample_levels(coords, maps, "bilinear", "zeros", True)
        assert_close(got, torch.cat([ts.sample(coords, each, "bilinear", "zeros", True) for each in maps], -1))
        assert not torch.allclose(got, ts.sample_levels(coords, maps))
        owner = torch.tensor([1, 0, 1, 1])
        flat = ts.coord.rand(0, 4)
        got = ts.sample_levels(flat, maps, batch_index=owner)
        assert_close(
            got, torch.stack([ts.sample_levels(flat[i][None, None], [m[o][None] for m in maps])[0, 0] for i, o in enumerate(owner)])
        )
        first = ts.sample_levels(flat, maps, batch_index=owner, feat_last=False)
        assert_close(first, got.movedim(-1, 0))

    @pytest.mark.parametrize("feat_last", [True, False])
    def test_encoder_and_fill(self, feat_last):
        """Once, behind all maps; one number, or one per channel of all of them."""
        maps = [torch.randn(shape) for shape in self.LEVELS]
        coords = ts.coord.rand(2, 50) * 1.5
        values = ts.sample_levels(coords, maps)
        outside = ~ts.coord.inside(coords)
        assert outside.any()
        for fill in (0.5, list(range(8))):
            got = ts.sample_levels(coords, maps, encoder=ts.encoding.gamma, fill=fill, feat_last=feat_last)
            expected = torch.where(outside.unsqueeze(-1), torch.tensor(fill, dtype=torch.float32), values)
            expected = torch.cat([expected, ts.encoding.gamma(coords)], -1)
            assert torch.equal(got, expected if feat_last else expected.movedim(-1, 1))

    def test_a_dict(self):
        """torchvision's feature pyramids are dicts; an error names the level."""
        maps = dict(zip("abc", [torch.randn(shape) for shape in self.LEVELS], strict=True))
        coords = ts.coord.rand(2, 5)
        assert torch.equal(ts.sample_levels(coords, maps), ts.sample_levels(coords, list(maps.values())))
        maps["b"] = maps["b"][0]
        with pytest.raises(ValueError, match=r"ts\.sample_levels: `featmaps\['b'\]` must be"):
            ts.sample_levels(coords, maps)
        with pytest.raises(TypeError, match=r"ts\.sample_levels: `featmaps` must be a sequence or dict of maps, at least one, got \{\}"):
            ts.sample_levels(coords, {})

    def test_without_a_batch(self):
        maps = [torch.randn(shape[1:]) for shape in self.LEVELS]
        coords = ts.coord.rand(0, 5)
        got = ts.sample_levels.nobatch(coords, maps, fill=0.0, encoder=ts.encoding.identity)
        batched = ts.sample_levels(coords.unsqueeze(0), [each.unsqueeze(0) for each in maps], fill=0.0, encoder=ts.encoding.identity)
        assert torch.equal(got, batched[0])
        assert torch.equal(ts.sample_levels.nobatch(coords, maps, feat_last=False), ts.sample_levels.nobatch(coords, maps).T)

    def test_gradients(self):
        maps = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 2, 3, 4), (1, 1, 2, 2))]
        coords = ts.coord.rand(1, 4, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda c, *m: ts.sample_levels(c, m), (coords, *maps))

    @pytest.mark.parametrize("feat_last", [True, False])
    def test_levels_broadcast(self, feat_last):
        """Maps are ``(*batch, c_i, *spatial_i)`` and "coords as in sample", where one map serves all coords and one set of
        points all maps; a level of batch 1 besides one of 2 does so in every other argument."""
        coords = ts.coord.rand(1, 5)
        maps = [torch.randn(1, 3, 4, 4), torch.randn(2, 2, 8, 8)]
        got = ts.sample_levels(coords, maps, feat_last=feat_last)
        expected = torch.cat([ts.sample(coords, maps[0]).expand(2, -1, -1), ts.sample(coords, maps[1])], -1)
        assert_close(got, expected if feat_last else expected.movedim(-1, 1))
