"""Sizes and counts: NumPy's ints are ints, a torch.Size is no size, and what cannot fit into memory is refused before it is asked for."""

import numpy as np
import pytest
import torch

import torchsample as ts

MAP = torch.zeros(1, 1, 4, 4)
HUGE = 2**20, 2**20

TOO_LARGE = {
    "full": lambda: ts.coord.full(1, HUGE),
    "full.nobatch": lambda: ts.coord.full.nobatch(HUGE),
    "a batch of full": lambda: ts.coord.full(2**40, (4, 4)),
    "full_like": lambda: ts.coord.full_like(MAP.expand(1, 1, 4, 4).as_strided((1, 1, *HUGE), (0, 0, 0, 0))),
    "rand": lambda: ts.coord.rand(1, 2**40),
    "rand_like": lambda: ts.coord.rand_like(2**40, MAP),
    "randint": lambda: ts.coord.randint(1, 2**40, HUGE),
    "randint with replacement": lambda: ts.coord.randint(1, 2**40, (4, 4), replace=True),
    "rand_biased": lambda: ts.coord.rand_biased(1, 10, MAP, k=1e12),
    "affine": lambda: ts.coord.affine(torch.zeros(1, 2, 3), HUGE),
    "splat": lambda: ts.splat(torch.zeros(1, 5, 2), torch.zeros(1, 5, 3), HUGE),
    "subdivide, steps": lambda: ts.subdivide(MAP, lambda c: c[..., :1], 10**12),
    "subdivide, size": lambda: ts.subdivide(MAP, lambda c: c[..., :1], size=HUGE),
    "neighborhood": lambda: ts.neighborhood(torch.zeros(1, 5, 2), MAP, 2**31),
    "local_ensemble, size": lambda: ts.local_ensemble(ts.encoding.identity, torch.zeros(1, 5, 2), MAP, size=2**31),
    "local_ensemble, unfold": lambda: ts.local_ensemble(ts.encoding.identity, torch.zeros(1, 5, 2), MAP, unfold=2**31 + 1),
    "roi_align, output_size": lambda: ts.roi_align(torch.zeros(1, 2, 3), MAP, 2**20),
    "roi_align, sampling_ratio": lambda: ts.roi_align(torch.zeros(1, 2, 3), MAP, 7, 2**31),
    "ope": lambda: ts.encoding.ope(torch.zeros(5, 2), 2**31),
    "prefilter": lambda: ts.prefilter(torch.zeros(1, 1, *[2] * 8)),
    "sample with a spline": lambda: ts.sample(torch.zeros(1, 5, 8), torch.zeros(1, 1, *[2] * 8), "bspline3"),
    "MLP": lambda: ts.models.MLP(2**20, 2**20),
    "intervals": lambda: ts.ray.intervals(0.0, 1.0, 2**40),
    "resample": lambda: ts.ray.resample(torch.arange(3.0), torch.ones(2), 2**40),
    "OccupancyGrid": lambda: ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 2**20),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_cannot_fit_is_refused(name):
    with pytest.raises(
        ValueError, match=r"^ts\.[a-zA-Z_.]+: `\w+` must be small enough for a result that fits into .* GiB of memory, got "
    ):
        TOO_LARGE[name]()


def test_meta_tensors_take_no_memory():
    assert ts.coord.full(1, HUGE, device="meta").shape == (1, *HUGE, 2)


def test_steps_without_end():
    """It used to double for ever."""
    with pytest.raises(ValueError, match=r"ts\.subdivide: `steps` must be"):
        ts.subdivide(MAP, lambda c: c[..., :1], 10**12)


COUNTS = {
    "rand": lambda n: ts.coord.rand(n(2), n(5), n(3)),
    "randint": lambda n: ts.coord.randint(n(2), n(5), (n(4), n(6))),
    "full": lambda n: ts.coord.full(n(2), (n(4), n(6))),
    "rand_like": lambda n: ts.coord.rand_like(n(5), MAP),
    "normalize": lambda n: ts.coord.normalize(torch.ones(2), n(4)),
    "rand_biased": lambda n: ts.coord.rand_biased(n(1), n(5), MAP),
    "uncertain": lambda n: ts.coord.uncertain(MAP, n=n(3))[1],
    "neighborhood": lambda n: ts.neighborhood(torch.zeros(1, 5, 2), MAP, n(3)).features,
    "local_ensemble": lambda n: ts.local_ensemble(ts.encoding.identity, torch.zeros(1, 5, 2), MAP, size=n(1), unfold=n(3)),
    "subdivide": lambda n: ts.subdivide(MAP, lambda c: c[..., :1], n(2), n(9)),
    "subdivide to a size": lambda n: ts.subdivide(MAP, lambda c: c[..., :1], size=(n(9), n(7))),
    "roi_align": lambda n: ts.roi_align(torch.eye(2, 3).unsqueeze(0), MAP, n(3), n(2)),
    "chunked": lambda n: ts.chunked(torch.sin, torch.zeros(1, 9, 2), n(4), n(1)),
    "tiled": lambda n: ts.tiled(torch.sin, (n(5), n(4)), torch.zeros(4, 5, 2), n(3)),
    "splat": lambda n: ts.splat(torch.zeros(1, 5, 2), torch.ones(1, 5, 3), (n(4), n(6))),
    "gamma": lambda n: ts.encoding.gamma(torch.zeros(5, 2), n(3)),
    "MLP": lambda n: ts.models.MLP(n(2), n(8), n(3))(torch.zeros(5, 2)),
    "ope": lambda n: ts.encoding.Ope(n(2))(torch.zeros(5, 2)),
    "nearest_pixel": lambda n: ts.encoding.nearest_pixel(torch.zeros(5, 2), (n(4), n(6))),
    "intervals": lambda n: ts.ray.intervals(0.0, 1.0, n(4)),
}


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
@pytest.mark.parametrize("name", COUNTS)
def test_numpy_ints_are_counts(name, kind):
    results = []
    for convert in (int, kind):
        torch.manual_seed(0)
        results.append(COUNTS[name](convert))
    assert torch.equal(*results)
    with pytest.raises((TypeError, ValueError), match=r"^ts\."):
        COUNTS[name](np.float64)


SIZES = {
    "full": lambda size: ts.coord.full(1, size),
    "randint": lambda size: ts.coord.randint(1, 5, size),
    "normalize": lambda size: ts.coord.normalize(torch.zeros(5, 2), size),
    "unnormalize": lambda size: ts.coord.unnormalize(torch.zeros(5, 2), size),
    "affine": lambda size: ts.coord.affine(torch.zeros(1, 2, 3), size),
    "region_from_box": lambda size: ts.coord.region_from_box(torch.zeros(5, 4), size),
    "splat": lambda size: ts.splat(torch.zeros(1, 5, 2), torch.ones(1, 5, 3), size),
    "nearest_pixel": lambda size: ts.encoding.nearest_pixel(torch.zeros(5, 2), size),
    "NearestPixel": lambda size: ts.encoding.NearestPixel(size),
    "tiled": lambda size: ts.tiled(torch.sin, size, torch.zeros(4, 5, 2)),
    "roi_align": lambda size: ts.roi_align(torch.zeros(1, 2, 3), MAP, size),
    "subdivide": lambda size: ts.subdivide(MAP, lambda c: c[..., :1], size=size),
    "pinhole": lambda size: ts.ray.pinhole(torch.zeros(5, 2), torch.eye(4), size, fov=1.0),
    "ndc": lambda size: ts.ray.ndc(torch.zeros(3), -torch.ones(3), size, 2.0),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_torch_size_is_no_size(name):
    """Its order is that of the map, (h, w): taken for (w, h) it would be wrong for every map that is not square."""
    image = torch.zeros(1, 3, 6, 8)
    with pytest.raises(TypeError, match=r"got a torch\.Size, whose order is \(\.\.\., h, w\)\. Write ts\.tensor_to_size\(featmap\)"):
        SIZES[name](image.shape[2:])
    if name != "tiled":
        SIZES[name](ts.tensor_to_size(image))


def test_negative_counts_say_what_to_pass():
    with pytest.raises(ValueError, match=r"ts\.coord\.rand: `batch` must be an int of at least 0, got -1\. Pass 0 or more"):
        ts.coord.rand(-1, 5)
