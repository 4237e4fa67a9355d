"""The local ensemble, against LIIF's published definition as loops, and against interpolation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

import oracle
import torchsample as ts


def first(channels):
    """A network that returns the features it is given."""
    return lambda queries: queries[..., :channels]


def liif(featmap, coord, cell, network):
    """``query_rgb`` of LIIF, point by point: map ``(C, H, W)``, coord and cell ``(Q, 2)`` in the order ``(y, x)``."""
    height, width = featmap.shape[1:]
    radius = (1 / height, 1 / width)
    results = []
    for point, extent in zip(coord, cell, strict=True):
        predictions, areas = [], []
        for vy in (-1, 1):
            for vx in (-1, 1):
                pixels, offset = [], []
                for x, v, r, side in zip(point, (vy, vx), radius, (height, width), strict=True):
                    shifted = min(max(x + v * r + 1e-6, -1 + 1e-6), 1 - 1e-6)
                    pixel = round(((shifted + 1) * side - 1) / 2)
                    pixels.append(pixel)
                    offset.append((x - (-1 + r + 2 * r * pixel)) * side)
                predictions.append(network([*featmap[:, pixels[0], pixels[1]], *offset, extent[0] * height, extent[1] * width]))
                areas.append(abs(offset[0] * offset[1]) + 1e-9)
        areas = areas[::-1]  # each answer by the area opposite: 0 <-> 3, 1 <-> 2
        results.append(sum(p * area / sum(areas) for p, area in zip(predictions, areas, strict=True)))
    return np.array(results)


def random_network(width, out, seed=3):
    """Two layers with fixed weights: for LIIF's order of columns, and as a callable for ours."""
    rng = np.random.default_rng(seed)
    w1, b1, w2 = rng.normal(size=(16, width)), rng.normal(size=16), rng.normal(size=(out, 16))
    swapped = w1.copy()
    swapped[:, -4:] = w1[:, [-3, -4, -1, -2]]  # (y, x, cell y, cell x) -> (x, y, cell x, cell y)

    def ours(queries):
        return torch.tanh(queries @ torch.from_numpy(swapped).T + torch.from_numpy(b1)) @ torch.from_numpy(w2).T

    return lambda row: w2 @ np.tanh(w1 @ np.array(row) + b1), ours


def check_liif():
    featmap = torch.randn(1, 3, 5, 7, dtype=torch.float64)
    coords = ts.coord.rand(1, 150, dtype=torch.float64)  # also beyond the outermost centres
    position = ts.coord.unnormalize(coords, (7, 5))
    coords = coords[:, ((position - position.round()).abs().amin(-1) > 1e-2)[0]]
    cell = 0.3 * torch.rand_like(coords) + 0.01
    theirs, ours = random_network(3 + 4, 2)
    expected = liif(featmap[0].numpy(), coords[0].flip(-1).numpy(), cell[0].flip(-1).numpy(), theirs)
    got = ts.local_ensemble(ours, coords, featmap, cell)
    assert coords.shape[1] > 100
    # LIIF's own 1e-6 moves no point here over a limit between cells, and its 1e-9 weighs next to nothing.
    assert_close(got[0], torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_is_liif():
    check_liif()


def test_liif_with_unfolded_features():
    """Its checkpoints' first layer takes ``F.unfold``'s 9 C channels."""
    featmap = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    coords = ts.coord.rand(1, 40, dtype=torch.float64)
    position = ts.coord.unnormalize(coords, (4, 5))
    coords = coords[:, ((position - position.round()).abs().amin(-1) > 1e-2)[0]]
    unfolded = F.unfold(featmap, 3, padding=1).view(18, 5, 4)
    theirs, ours = random_network(18 + 4, 3)
    cell = torch.tensor([2 / 13, 2 / 11], dtype=torch.float64)
    expected = liif(unfolded.numpy(), coords[0].flip(-1).numpy(), [(2 / 11, 2 / 13)] * coords.shape[1], theirs)
    assert_close(ts.local_ensemble(ours, coords, featmap, cell, unfold=3)[0], torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_right_where_liif_is_wrong():
    """At the centres of the last row and column all of LIIF's areas vanish; ours give the pixel."""
    featmap = torch.randn(1, 1, 13, 17, dtype=torch.float64)
    coords = ts.coord.full_like(featmap).flatten(1, -2)
    published = liif(featmap[0].numpy(), coords[0].flip(-1).numpy(), np.ones((221, 2)), lambda row: np.array(row[:1]))
    pixels = featmap.flatten(2).movedim(1, -1)
    wrong = (torch.from_numpy(published) - pixels[0]).abs().squeeze(-1) > 1e-3
    assert wrong.sum() == 28
    assert_close(ts.local_ensemble(first(1), coords, featmap), pixels, rtol=0, atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("rank", "spatial"), [(1, (7,)), (2, (5, 4)), (2, (1, 3)), (3, (3, 4, 5)), (4, (2, 3, 2, 2))])
def test_features_alone_are_linear_border_sampling(rank, spatial, align_corners):
    featmap = torch.randn(2, 3, *spatial, dtype=torch.float64)
    inside, outside = ts.coord.rand(2, 20, rank, dtype=torch.float64), ts.coord.rand(2, 20, rank, dtype=torch.float64) * 30
    coords = torch.cat(
        [inside, outside, ts.coord.full_like(featmap, align_corners).flatten(1, -2), torch.full((2, 1, rank), 1.0).double()], 1
    )
    got = ts.local_ensemble(first(3), coords, featmap, align_corners=align_corners)
    assert_close(
        got, torch.from_numpy(oracle.sample(coords.numpy(), featmap.numpy(), "linear", "border", align_corners)), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("unfold", [1, 3, 5])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unfold_is_a_wide_map(rank, unfold):
    """In the order of ``F.unfold``: channel by channel, the patch row by row, zero outside; at corners and outside, too."""
    spatial = (4, 3, 5)[:rank]
    featmap = torch.randn(2, 2, *spatial, dtype=torch.float64)
    coords = torch.cat([ts.coord.rand(2, 20, rank, dtype=torch.float64) * 1.5, ts.coord.full_like(featmap).flatten(1, -2)], 1)
    padded = F.pad(featmap, [unfold // 2] * (2 * rank))
    windows = padded
    for dim, _ in enumerate(spatial, start=2):
        windows = windows.unfold(dim, unfold, 1)
    wide = windows.movedim([*range(-rank, 0)], [*range(2, 2 + rank)]).flatten(1, 1 + rank)
    if rank == 2:
        assert torch.equal(wide, F.unfold(featmap, unfold, padding=unfold // 2).reshape(2, -1, *spatial))
    network = ts.models.MLP(wide.shape[1] + 2 * rank, 8, 3).double()
    cell = [0.1 * (1 + axis) for axis in range(rank)]
    expected = ts.local_ensemble(network, coords, wide, cell)
    assert_close(ts.local_ensemble(network, coords, featmap, cell, unfold=unfold), expected, rtol=1e-12, atol=1e-12)
    got = ts.local_ensemble(first(wide.shape[1]), coords, featmap, unfold=unfold, size=1)
    assert torch.equal(got, ts.local_ensemble(first(wide.shape[1]), coords, wide, size=1))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("spatial", [(1, 1), (1, 4), (5, 1), (2, 1), (1, 1, 3)])
def test_unfold_of_thin_maps(spatial, align_corners):
    """Beyond the only pixel of an axis is zero, as `F.unfold` and `hoist` have it, not the pixel again."""
    rank = len(spatial)
    featmap = torch.randn(2, 2, *spatial, dtype=torch.float64)
    coords = torch.cat([ts.coord.rand(2, 9, rank, dtype=torch.float64) * 1.5, torch.zeros(2, 1, rank, dtype=torch.float64)], 1)
    layer, rest = nn.Linear(2 * 3**rank + rank, 6).double(), nn.Sequential(nn.Tanh(), nn.Linear(6, 3)).double()
    got = ts.local_ensemble(nn.Sequential(layer, rest), coords, featmap, unfold=3, align_corners=align_corners)
    hoisted, fn = ts.hoist(layer, rest, featmap, unfold=3)
    assert_close(got, ts.local_ensemble(fn, coords, hoisted, align_corners=align_corners), rtol=1e-11, atol=1e-11)
    if rank == 2:
        wide = F.unfold(featmap, 3, padding=1).reshape(2, -1, *spatial)
        expected = ts.local_ensemble(nn.Sequential(layer, rest), coords, wide, align_corners=align_corners)
        assert_close(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_cell", [True, False])
@pytest.mark.parametrize(("rank", "unfold"), [(1, 3), (2, 1), (2, 3), (2, 5), (3, 3)])
def test_hoist(rank, unfold, with_cell, bias):
    featmap = torch.randn(2, 2, *(4, 3, 5)[:rank], dtype=torch.float64)
    coords = torch.cat([ts.coord.rand(2, 20, rank, dtype=torch.float64) * 1.2, ts.coord.full_like(featmap).flatten(1, -2)], 1)
    layer = nn.Linear(2 * unfold**rank + rank * (1 + with_cell), 6, bias=bias).double()
    rest = nn.Sequential(nn.Tanh(), nn.Linear(6, 3)).double()
    cell = torch.rand(2, 1, rank, dtype=torch.float64) if with_cell else None
    hoisted, fn = ts.hoist(layer, rest, featmap, unfold)
    assert hoisted.shape == (2, 6, *featmap.shape[2:])
    got = ts.local_ensemble(fn, coords, hoisted, cell)
    expected = ts.local_ensemble(nn.Sequential(layer, rest), coords, featmap, cell, unfold=unfold)
    assert_close(got, expected, rtol=1e-11, atol=1e-11)
    names = [name for name, _ in layer.named_parameters()]
    for name, slope, wanted in zip(
        names,
        torch.autograd.grad(got.square().sum(), list(layer.parameters())),
        torch.autograd.grad(expected.square().sum(), list(layer.parameters())),
        strict=True,
    ):
        assert_close(slope, wanted, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("align_corners", [False, True])
def test_columns_are_features_offsets_cells(align_corners):
    """What fn sees, cell by cell; the cell in half pixels of the map: 2 for a query as large as one of its pixels."""
    featmap = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    coords = ts.coord.rand(2, 6, dtype=torch.float64) * 1.3
    seen = []
    ts.local_ensemble(lambda q: seen.append(q) or q[..., :1], coords, featmap, (0.5, 0.4), align_corners=align_corners)
    (queries,) = seen
    cells = ts.neighborhood(coords, featmap, align_corners=align_corners)
    assert queries.shape == (2, 6, 4, 3 + 2 + 2)
    assert torch.equal(queries[..., :3], cells.features)
    assert torch.equal(queries[..., 3:5], cells.offsets)
    sides = (3, 4) if align_corners else (4, 5)
    assert_close(queries[..., 5:], torch.tensor([0.5 * sides[0], 0.4 * sides[1]], dtype=torch.float64).expand(2, 6, 4, 2))


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 6, 2), (2, 1, 2), (1, 6, 2), (2, 6, 1), ()])
def test_cell_broadcasts(shape):
    featmap, coords = torch.randn(2, 3, 5, 4), ts.coord.rand(2, 6)
    cell = torch.rand(shape)
    got = ts.local_ensemble(lambda q: q[..., -2:], coords, featmap, cell)
    assert_close(got, (cell * torch.tensor([4.0, 5.0])).expand(2, 6, 2))


def test_cell_may_be_numbers():
    featmap, coords = torch.randn(2, 3, 5, 4), ts.coord.rand(2, 6)
    for cell in ((0.5, 0.25), [0.5, 0.25], torch.tensor([0.5, 0.25], dtype=torch.float64)):
        got = ts.local_ensemble(lambda q: q[..., -2:], coords, featmap, cell)
        assert got.dtype == torch.float32
        assert_close(got, torch.tensor([2.0, 1.25]).expand(2, 6, 2))


def test_size_one_is_the_nearest_cell():
    """LIIF without its ensemble; offsets as `nearest_pixel` encodes them relative to the pixel."""
    featmap, coords = torch.randn(2, 3, 5, 4, dtype=torch.float64), ts.coord.rand(2, 30, dtype=torch.float64)
    network = ts.models.MLP(5, 8, 2).double()
    offsets = ts.encoding.nearest_pixel(coords, (4, 5), relative_to="pixel")[..., 2:]
    expected = network(torch.cat([ts.sample(coords, featmap, "nearest"), offsets], -1))
    assert_close(ts.local_ensemble(network, coords, featmap, size=1), expected, rtol=1e-12, atol=1e-12)


def test_size_three_weighs_as_the_neighborhood():
    featmap, coords = torch.randn(2, 3, 5, 4, dtype=torch.float64), ts.coord.rand(2, 30, dtype=torch.float64) * 1.3
    network = ts.models.MLP(5, 8, 2).double()
    cells = ts.neighborhood(coords, featmap, 3)
    expected = (network(torch.cat([cells.features, cells.offsets], -1)) * cells.weights.unsqueeze(-1)).sum(-2)
    assert_close(ts.local_ensemble(network, coords, featmap, size=3), expected, rtol=1e-12, atol=1e-12)


def test_continuous_where_cells_change():
    """No seam between the cells of one point and those of the next."""
    featmap = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    network = ts.models.MLP(5, 16, 2).double()
    centres = ts.coord.full_like(featmap).flatten(1, -2)
    left, right = (ts.local_ensemble(network, centres + step, featmap) for step in (-1e-9, 1e-9))
    assert_close(left, right, rtol=0, atol=1e-6)
    assert left.std() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_maps(dtype):
    """fn gets the map's dtype, the answer has fn's; places are computed in float32."""
    featmap, coords = torch.randn(1, 3, 40, 300).to(dtype), ts.coord.rand(1, 50)
    seen = []
    got = ts.local_ensemble(lambda q: seen.append(q.dtype) or q[..., :3], coords, featmap, (0.1, 0.1), unfold=3)
    assert seen == [dtype]
    assert got.dtype == dtype
    exact = ts.local_ensemble(first(3), coords.double(), featmap.double(), (0.1, 0.1), unfold=3)
    assert_close(got.double(), exact, rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_nan_coordinate_touches_no_other_point():
    featmap, coords = torch.randn(1, 3, 5, 4), ts.coord.rand(1, 6)
    network = ts.models.MLP(5, 8, 2)
    expected = ts.local_ensemble(network, coords, featmap)
    coords[0, 2, 0] = torch.nan
    got = ts.local_ensemble(network, coords, featmap)
    assert got[0, 2].isnan().all()
    others = [0, 1, 3, 4, 5]
    assert torch.equal(got[:, others], expected[:, others])
    slopes = torch.autograd.grad(got[:, others].sum(), list(network.parameters()))
    assert all(slope.isfinite().all() for slope in slopes)


def test_gradients():
    featmap = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    coords = (ts.coord.rand(1, 4, dtype=torch.float64) * 1.1).requires_grad_()
    cell = torch.rand(1, 4, 2, dtype=torch.float64, requires_grad=True)
    network = nn.Sequential(nn.Linear(2 * 9 + 4, 5), nn.Tanh(), nn.Linear(5, 2)).double()

    def ask(coords, featmap, cell):
        return ts.local_ensemble(network, coords, featmap, cell, unfold=3)

    assert torch.autograd.gradcheck(ask, (coords, featmap, cell))
    assert torch.autograd.gradgradcheck(ask, (coords, featmap, cell))
    slopes = torch.autograd.grad(ask(coords, featmap, cell).sum(), list(network.parameters()))
    assert all(slope.abs().max() > 0 for slope in slopes)


def test_batch_index_and_nobatch():
    featmap, coords = torch.randn(3, 2, 5, 4), ts.coord.rand(0, 8) * 1.3
    network = ts.models.MLP(2 * 9 + 4, 8, 2)
    owner = torch.tensor([2, 0, 1, 1, 2, 0, 0, 2])
    got = ts.local_ensemble(network, coords, featmap, (0.1, 0.2), unfold=3, batch_index=owner)
    for i, which in enumerate(owner.tolist()):
        assert_close(got[i : i + 1], ts.local_ensemble.nobatch(network, coords[i : i + 1], featmap[which], (0.1, 0.2), unfold=3))
        assert_close(got[i : i + 1], ts.local_ensemble(network, coords[i][None, None], featmap[which][None], (0.1, 0.2), unfold=3)[0])


@pytest.mark.parametrize("unfold", [1, 3])
@pytest.mark.parametrize(
    ("points", "batch"), [((1, 7), (3,)), ((3, 7), (1,)), ((2, 1, 7), (1, 3)), ((2, 3, 4, 2), (2, 3)), ((3, 2, 4), (3,))]
)
def test_batches_broadcast(points, batch, unfold):
    """Coords of batch 1 serve several maps, as in `sample`."""
    coords = ts.coord.rand(0, math.prod(points), dtype=torch.float64).reshape(*points, 2)
    featmap = torch.randn(*batch, 3, 5, 4, dtype=torch.float64)
    middle = unfold**2 // 2
    got = ts.local_ensemble(lambda q: q[..., middle : 3 * unfold**2 : unfold**2], coords, featmap, (0.1, 0.1), unfold=unfold)
    assert_close(got, ts.sample(coords, featmap))


def test_no_points():
    assert ts.local_ensemble(ts.models.MLP(5, 2), torch.zeros(2, 0, 2), torch.zeros(2, 3, 4, 4)).shape == (2, 0, 2)
