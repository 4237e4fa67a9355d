"""Warping with the identity returns the map; every warp agrees with what it stands for; traps are warned of."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import torchsample as ts

SPATIAL = {1: (7,), 2: (5, 4), 3: (3, 4, 5), 4: (2, 3, 3, 4)}
every_rank = pytest.mark.parametrize("rank", SPATIAL)
both_corners = pytest.mark.parametrize("align_corners", [False, True])


def make_map(rank):
    return torch.randn(2, 3, *SPATIAL[rank], dtype=torch.float64)


@every_rank
@both_corners
def test_identities(rank, align_corners):
    """Each converter's identity."""
    featmap = make_map(rank)
    size = ts.tensor_to_size(featmap)
    everything = ts.coord.full_like(featmap, align_corners)
    warps = {
        "affine": ts.coord.affine(torch.eye(rank, rank + 1, dtype=torch.float64).expand(2, -1, -1), size, align_corners),
        "displacement": ts.coord.from_displacement(torch.zeros(2, rank, *SPATIAL[rank], dtype=torch.float64), align_corners),
        "pixels": ts.coord.normalize(ts.coord.unnormalize(everything, size, align_corners), size, align_corners),
        "unit": ts.coord.from_unit(ts.coord.to_unit(everything)),
        "row and column": ts.coord.normalize(
            ts.coord.from_row_col(torch.ones(SPATIAL[rank]).nonzero()).reshape(1, *SPATIAL[rank], rank).double(), size, align_corners
        ),
    }
    for name, coords in warps.items():
        values = ts.sample(coords, featmap, align_corners=align_corners, feat_last=False)
        assert_close(values, featmap, rtol=1e-10, atol=1e-10, msg=name)


@both_corners
@pytest.mark.parametrize("rank", [2, 3])
def test_affine_is_affine_grid(rank, align_corners):
    theta = torch.randn(2, rank, rank + 1, dtype=torch.float64)
    expected = F.affine_grid(theta, [2, 1, *SPATIAL[rank]], align_corners)
    assert_close(ts.coord.affine(theta, SPATIAL[rank][::-1], align_corners), expected)


def test_affine_dtypes_and_gradients():
    theta = torch.randn(2, 2, 3)
    for dtype in (torch.float16, torch.bfloat16):
        expected = ts.coord.affine(theta.to(dtype).float(), (8, 6)).to(dtype)
        assert torch.equal(ts.coord.affine(theta.to(dtype), (8, 6)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ts.coord.affine(theta, (8, 6)), ts.coord.affine(theta.clone(), (8, 6)))
    theta = theta.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: ts.coord.affine(t, (3, 2)), theta)


@every_rank
@both_corners
def test_displacement_of_whole_pixels_is_a_roll(rank, align_corners):
    """Looking one pixel along x and two back along y, on a round map."""
    featmap = make_map(rank)
    shift = torch.tensor([1.0, -2.0, 3.0, 1.0], dtype=torch.float64)[:rank]
    field = shift.reshape(1, rank, *[1] * rank).expand(2, -1, *SPATIAL[rank])
    coords = ts.coord.from_displacement(field, align_corners)
    values = ts.sample(coords, featmap, padding_mode="circular", align_corners=align_corners, feat_last=False)
    rolled = featmap.roll([-int(step) for step in reversed(shift)], tuple(range(2, 2 + rank)))
    assert_close(values, rolled, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 2, 4, 5), (2, 1, 3, 3, 4, 5), (4, 1, 7), (2, 3, 1, 7), (2, 2, 1, 3, 3, 4, 5)])
def test_displacement_has_any_number_of_batch_dimensions(shape):
    rank = next(rank for rank in range(len(shape) - 2, 0, -1) if shape[-rank - 1] == rank)
    field = torch.randn(shape, dtype=torch.float64)
    flat = ts.coord.from_displacement(field.reshape(-1, *shape[-rank - 1 :]))
    expected = flat.reshape(*shape[: -rank - 1], *shape[-rank:], rank)
    assert torch.equal(ts.coord.from_displacement(field), expected)
    first = (0,) * (len(shape) - rank - 1)
    assert torch.equal(ts.coord.from_displacement.nobatch(field[first]), expected[first])
    featmap = torch.randn(*shape[: -rank - 1], 2, *shape[-rank:], dtype=torch.float64)
    assert ts.sample(ts.coord.from_displacement(field), featmap).shape == (*shape[: -rank - 1], *shape[-rank:], 2)


def test_displacement_of_several_readings_has_the_fewest_batch_dimensions():
    assert ts.coord.from_displacement(torch.zeros(2, 2, 1, 5)).shape == (2, 1, 5, 2)


def test_affine_without_a_batch():
    theta = torch.randn(2, 3)
    assert torch.equal(ts.coord.affine.nobatch(theta, (5, 4)), ts.coord.affine(theta.unsqueeze(0), (5, 4))[0])
    with pytest.raises(ValueError, match=r"ts\.coord\.affine\.nobatch: `theta` must be of shape \(2, 3\) .* got shape \(1, 2, 3\)"):
        ts.coord.affine.nobatch(theta.unsqueeze(0), (5, 4))


def test_row_col_reverses():
    index = torch.tensor([[1, 2, 3]])
    assert ts.coord.from_row_col(index).tolist() == [[3, 2, 1]]
    assert torch.equal(ts.coord.from_row_col(ts.coord.from_row_col(index)), index)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: ts.coord.affine(torch.eye(2), (4, 4)), ValueError, r"ts\.coord\.affine: `theta` must be of shape \(b, 2, 3\)"),
        (lambda: ts.coord.affine(torch.zeros(1, 2, 3).long(), (4, 4)), TypeError, r"ts\.coord\.affine: `theta` must be a floating"),
        (lambda: ts.coord.affine(torch.zeros(1, 2, 3), (4, 0)), ValueError, r"ts\.coord\.affine: `size` must be"),
        (
            lambda: ts.coord.from_displacement(torch.zeros(1, 3, 4, 4)),
            ValueError,
            r"`displacement` must be a map \(\*batch, d, \*spatial\)",
        ),
        (lambda: ts.coord.from_displacement(torch.zeros(1, 2, 4, 4).int()), TypeError, "`displacement` must be a floating"),
        (lambda: ts.coord.from_row_col([1, 2]), TypeError, "`coords` must be a torch.Tensor"),
        (lambda: ts.coord.from_row_col(torch.tensor(1)), ValueError, "`coords` must be of shape"),
        (lambda: ts.coord.diagnose(torch.zeros(1, 3, 3), torch.zeros(3, 4, 4)), ValueError, r"ts\.coord\.diagnose: `featmap` must be"),
        (lambda: ts.coord.diagnose(torch.zeros(1, 3, 2).long(), torch.zeros(1, 3, 4, 4)), TypeError, "`coords` must be a floating"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


class TestDiagnose:
    featmap = torch.zeros(2, 3, 48, 64)

    def suspicions(self, coords):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert ts.coord.diagnose(coords, self.featmap) is None
        assert all(str(warning.message).startswith("ts.coord.diagnose: ") for warning in caught)
        assert all(warning.filename == __file__ for warning in caught)
        return " ".join(str(warning.message) for warning in caught)

    def test_good_coords(self):
        for coords in (
            ts.coord.rand(2, 500),
            ts.coord.full_like(self.featmap),
            ts.coord.randint_like(100, self.featmap),
            ts.coord.rand(2, 500) * 1.5,
            ts.coord.affine(torch.eye(2, 3)[None], (64, 48)),
            torch.zeros(2, 1, 2),
            torch.zeros(2, 0, 2),
            torch.full((2, 3, 2), torch.nan),
        ):
            assert not self.suspicions(coords)

    def test_unit_square(self):
        assert "ts.coord.from_unit" in self.suspicions(torch.rand(2, 500, 2))

    def test_pixels(self):
        assert "pixel positions in a map of size (64, 48)" in self.suspicions(torch.rand(2, 5, 2) * torch.tensor([63.0, 47.0]) + 1)
        found = self.suspicions(torch.rand(2, 50, 2) * torch.tensor([47.0, 63.0]))
        assert "(row, col)" in found

    def test_swapped(self):
        assert "x and y look swapped" in self.suspicions(ts.coord.full_like(self.featmap).flip(-1))
        turn = torch.tensor([[[math.cos(0.3), -math.sin(0.3), 0], [math.sin(0.3), math.cos(0.3), 0]]])
        assert not self.suspicions(ts.coord.affine(turn, (64, 48)))
