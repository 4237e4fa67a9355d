"""The values of `ts.sample` against the nested-loop oracle and against PyTorch."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import backends
import oracle
import torchsample as ts

PADDINGS = ("zeros", "border", "reflection")
# Odd, even, single and unequal sides: a swapped axis cannot hide.
SPATIAL = {1: (7,), 2: (5, 4), 3: (3, 4, 5), 4: (2, 3, 1, 4)}
MODES = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}


def make_map(rank, channels=2, batch=2, dtype=torch.float64):
    return torch.randn(batch, channels, *SPATIAL[rank], dtype=dtype)


def make_coords(rank, align_corners, batch=2, n_random=12):
    """Random points in and around the map, exact pixel centres, the corners, and points far outside."""
    random = torch.rand(batch, n_random, rank, dtype=torch.float64) * 3 - 1.5
    size = SPATIAL[rank][::-1]
    centres = ts.coord.full(batch, size, align_corners=align_corners, dtype=torch.float64).flatten(1, -2)[:, ::3]
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=rank)), dtype=torch.float64).expand(batch, -1, -1)
    far = torch.tensor([-7.3, 9.1, 1.77, -2.43], dtype=torch.float64)[:rank].expand(batch, 2, rank) * torch.tensor([[1.0], [37.0]])
    return torch.cat([random, centres, corners, far], dim=1)


def off_ties(coords, rank, align_corners):
    """Drop points within rounding of the middle between two pixels, where the nearest one is a matter of the last bit."""
    position = ts.coord.unnormalize(coords, SPATIAL[rank][::-1], align_corners)
    distance = (position - position.floor() - 0.5).abs().amin(-1)
    return coords[:, (distance > 1e-9).all(0)]


def check_against_oracle(rank, mode, padding_mode, align_corners):
    featmap = make_map(rank)
    coords = make_coords(rank, align_corners)
    if mode == "nearest":
        coords = off_ties(coords, rank, align_corners)
    expected = oracle.sample(coords.numpy(), featmap.numpy(), MODES[mode], padding_mode, align_corners)
    for name in backends.NAMES:
        with backends.served_by(name):
            values = ts.sample(coords, featmap, mode, padding_mode, align_corners)
        assert_close(values, torch.from_numpy(expected), rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_oracle(rank, mode, padding_mode, align_corners):
    check_against_oracle(rank, mode, padding_mode, align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize(("rank", "mode"), [(2, "nearest"), (2, "bilinear"), (2, "bicubic"), (3, "nearest"), (3, "bilinear")])
def test_grid_sample(rank, mode, padding_mode, align_corners):
    """PyTorch agrees, ties between pixels included."""
    featmap = make_map(rank)
    coords = make_coords(rank, align_corners)
    grid = coords.reshape(2, *[1] * (rank - 1), -1, rank)
    expected = F.grid_sample(featmap, grid, mode, padding_mode, align_corners).flatten(2).transpose(1, 2)
    assert_close(ts.sample(coords, featmap, mode, padding_mode, align_corners), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("a", [-0.75, -0.5, -1.0])
def test_cubic_parameter(a):
    featmap, coords = make_map(2), make_coords(2, False)
    expected = oracle.sample(coords.numpy(), featmap.numpy(), "cubic", "border", False, a)
    assert_close(ts.sample(coords, featmap, ts.interpolation.Cubic(a=a)), torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("names", [("linear", "bilinear", "trilinear"), ("cubic", "bicubic", "tricubic")])
def test_synonyms(names):
    featmap, coords = make_map(2), make_coords(2, False)
    first, *others = [ts.sample(coords, featmap, name) for name in names]
    for other in others:
        assert torch.equal(first, other)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_pixel_centres_return_the_map(rank, mode, align_corners):
    featmap = make_map(rank)
    everything = ts.sample(ts.coord.full_like(featmap, align_corners), featmap, mode, align_corners=align_corners, feat_last=False)
    assert_close(everything, featmap, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    size=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    align_corners=st.booleans(),
    padding_mode=st.sampled_from(PADDINGS),
    mode=st.sampled_from(sorted(MODES)),
    seed=st.integers(0, 2**20),
)
def test_constant_map_stays_constant(size, align_corners, padding_mode, mode, seed):
    """Weights sum to one; with zeros around, only where every tap is inside."""
    generator = torch.Generator().manual_seed(seed)
    coords = ts.coord.rand(2, 20, len(size), dtype=torch.float64, generator=generator) * (1.0 if padding_mode == "zeros" else 3.0)
    featmap = torch.full((2, 1, *size[::-1]), 1.75, dtype=torch.float64)
    values = ts.sample(coords, featmap, mode, padding_mode, align_corners)
    if padding_mode == "zeros":
        position = ts.coord.unnormalize(coords, size, align_corners)
        reach = {"nearest": 0, "bilinear": 0, "bicubic": 1}[mode]
        last = torch.tensor(size) - 1
        values = values[((position >= reach) & (position <= last - reach)).all(-1)]
    assert_close(values, torch.full_like(values, 1.75), rtol=1e-12, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    size=st.lists(st.integers(8, 12), min_size=1, max_size=2),
    align_corners=st.booleans(),
    kernel=st.sampled_from([ts.interpolation.Linear(), ts.interpolation.Cubic(a=-0.5)]),
    seed=st.integers(0, 2**20),
)
def test_planes_are_reproduced(size, align_corners, kernel, seed):
    """A map that is linear in the coordinates is interpolated exactly, wherever all taps are inside."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(len(size), dtype=torch.float64, generator=generator)
    plane = (ts.coord.full(1, size, align_corners=align_corners, dtype=torch.float64) @ slope).unsqueeze(1)
    coords = ts.coord.rand(1, 30, len(size), dtype=torch.float64, generator=generator) * 0.6
    assert_close(ts.sample(coords, plane, kernel, align_corners=align_corners).squeeze(-1), coords @ slope, rtol=1e-10, atol=1e-10)


def test_nan_coordinate_touches_no_other_point():
    featmap, coords = make_map(2), make_coords(2, False)
    expected = ts.sample(coords, featmap)
    coords[0, 3, 1] = torch.nan
    values = ts.sample(coords, featmap)
    assert values[0, 3].isnan().all()
    values[0, 3] = expected[0, 3]
    assert torch.equal(values, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
def test_infinity_is_far_outside(mode, padding_mode):
    featmap = make_map(2)
    infinite = torch.tensor([[torch.inf, -torch.inf], [0.0, torch.inf]], dtype=torch.float64).expand(2, -1, -1)
    finite = torch.tensor([[1e9, -1e9], [0.0, 1e9]], dtype=torch.float64).expand(2, -1, -1)
    got = ts.sample(infinite, featmap, mode, padding_mode)
    assert got.isfinite().all()
    assert_close(got, ts.sample(finite, featmap, mode, padding_mode))


@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
def test_single_pixel_with_aligned_corners_is_everywhere(padding_mode):
    coords = torch.tensor([[[0.0], [0.7], [-5.0], [torch.inf], [torch.nan]]])
    values = ts.sample(coords, torch.full((1, 1, 1), 3.0), "bilinear", padding_mode, align_corners=True)
    assert_close(values.flatten(), torch.tensor([3.0, 3.0, 3.0, 3.0, torch.nan]), equal_nan=True)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_pixel_without_weight_has_no_say(mode):
    featmap = make_map(2)
    coords = ts.coord.full_like(featmap)
    poisoned = featmap.clone()
    poisoned[:, :, 2, 1] = torch.nan
    poisoned[:, :, 0, 3] = torch.inf
    # float64 positions of these pixel centres are exact for sides 5 and 4 only where the coordinate is; take those that are.
    position = ts.coord.unnormalize(coords, (4, 5))
    exact = (position == position.round()).all(-1)
    values = ts.sample(coords, poisoned, mode)
    assert exact.sum() > 10
    assert_close(values[exact], poisoned.movedim(1, -1)[exact], equal_nan=True)


def test_bicubic_matches_torch_upsampling():
    """Querying everything at twice the size is PyTorch's own upsampling."""
    featmap = make_map(2)
    doubled = ts.sample(ts.coord.full(2, (8, 10), dtype=torch.float64), featmap, "bicubic", feat_last=False)
    assert_close(doubled, F.interpolate(featmap, scale_factor=2, mode="bicubic", align_corners=False), rtol=1e-10, atol=1e-10)


def test_oracle_knows_the_textbook():
    """The oracle itself: a few values done by hand."""
    signal = np.array([[1.0, 3.0, 7.0]])
    assert oracle.sample_point([0.0], signal, "linear", "zeros", False) == 3.0
    assert oracle.sample_point([1.0], signal, "linear", "zeros", False) == 3.5
    assert oracle.sample_point([1.0], signal, "linear", "border", False) == 7.0
    assert oracle.sample_point([-1 / 3], signal, "linear", "border", False) == pytest.approx(2.0)
    assert oracle.sample_point([0.5], signal, "linear", "border", True) == 5.0
    assert oracle.sample_point([1 / 3], signal, "cubic", "border", False) == 0.59375 * (3 + 7) - 0.09375 * (1 + 7)
