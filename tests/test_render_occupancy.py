"""The occupancy grid: a loop over cells, a loop along rays, and what is seen with and without it."""

import functools
import math
import operator
import re

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
import torchsample.render

F64 = torch.float64


def ball(points):
    return 8.0 * (points.norm(dim=-1) < 0.5)


def random_grid(size=(4, 3, 5), low=(-1.0, 0.0, 2.0), high=(3.0, 1.5, 4.5)):
    grid = ts.render.OccupancyGrid(low, high, size)
    grid.mask.copy_(torch.rand(grid.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.4)
    return grid


def look_up(grid, point):
    """A cell by its numbers."""
    cell = [math.floor((p - a) / (b - a) * n) for p, a, b, n in zip(point, grid.low.tolist(), grid.high.tolist(), grid.size, strict=True)]
    if not all(0 <= c < n for c, n in zip(cell, grid.size, strict=True)):
        return False
    return bool(grid.mask[(0, 0, *cell[::-1])])


def check_occupied(size=(4, 3, 5)):
    """Sides of different lengths and numbers of cells: no axis can stand for another."""
    grid = random_grid(size)
    points = torch.rand(7, 60, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    points = points * torch.tensor([6.0, 3.0, 4.0]) + torch.tensor([-2, -1, 1])
    got = grid.occupied(points)
    assert got.dtype == torch.bool
    assert got.tolist() == [[look_up(grid, point) for point in row] for row in points.tolist()]
    assert 0.05 < got.float().mean() < 0.6


def test_occupied():
    check_occupied()


def test_occupied_elsewhere():
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 4)
    points = torch.tensor([[0.0, 0, 0], [1.01, 0, 0], [math.nan, 0, 0], [math.inf, 0, 0]])
    assert grid.occupied(points).tolist() == [True, False, False, False]
    assert grid.occupied(points[0]).shape == ()
    assert grid.occupied(torch.zeros(0, 3)).shape == (0,)
    plane = ts.render.OccupancyGrid((0, 0), (2, 1), (8, 4))
    assert plane.occupied(torch.tensor([1.5, 0.5])).item()


def check_update_all():
    """Every cell is asked, once, at a point of its own."""
    grid, asked = ts.render.OccupancyGrid((-1.0, 0.0, 2.0), (3.0, 1.5, 4.5), (4, 3, 5)), []

    def field(points):
        asked.append(points)
        return points[:, 0] + 10 * points[:, 2]

    grid.update(field, 0, generator=torch.Generator().manual_seed(0), chunk_size=7)
    points = torch.cat(asked)
    assert max(map(len, asked)) == 7
    cell = ((points - grid.low) / (grid.high - grid.low) * torch.tensor([4, 3, 5])).floor().long()
    assert sorted(map(tuple, cell.tolist())) == sorted((x, y, z) for x in range(4) for y in range(3) for z in range(5))
    x, y, z = cell.unbind(-1)
    assert torch.equal(grid.density[0, 0, z, y, x], field(points))
    share = (points - grid.low) / (grid.high - grid.low) * torch.tensor([4, 3, 5]) - cell
    assert share.std() > 0.2


def test_update_looks_into_every_cell():
    check_update_all()


def check_average():
    """What is found counts at once, what is not found is forgotten slowly; the threshold is at most the mean."""
    grid = ts.render.OccupancyGrid((0,), (4,), 4, decay=0.5, threshold=0.3)
    found = torch.tensor([4.0, 1.0, 0.25, 0.0])
    for step, expected in enumerate(([4, 1, 0.25, 0], [2, 0.5, 0.125, 0.0], [1, 0.25, 0.0625, 0], [0.5, 0.125, 0.03125, 0])):
        grid.update(lambda points, step=step: found[points[:, 0].long()] * (step == 0), step, every=1)
        assert grid.density.flatten().tolist() == expected
        limit = min(0.3, sum(expected) / 4)
        assert grid.mask.flatten().tolist() == [value >= limit for value in expected]
    assert grid.mask.flatten().tolist() == [True, False, False, False]


def test_update_is_a_moving_average():
    check_average()


def test_fog_and_nothing():
    """Equal cells below the threshold are all at their mean, and occupied; cells of density 0 are not."""
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 5)
    assert bool(grid.mask.all())
    grid.update(lambda points: torch.full_like(points[:, 0], 0.0013), 0)
    assert bool(grid.mask.all())
    nothing = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 5)
    nothing.update(lambda points: points[:, 0] * 0, 0)
    assert not bool(nothing.mask.any())


def check_later_updates():
    """A quarter of all cells, and of as many occupied ones; none twice."""
    grid, asked = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 16), []

    def field(points):
        asked.append(points)
        return ball(points).unsqueeze(-1)

    generator = torch.Generator().manual_seed(0)
    grid.update(field, 0, generator=generator)
    occupied, before = grid.mask.sum().item(), grid.density.clone()
    grid.update(field, 8, generator=generator)
    assert len(asked) == 1  # between two looks
    grid.update(field, 256, generator=generator)
    cells = ((asked[1] + 1) * 8).floor().long() @ torch.tensor([1, 16, 256])
    assert len(cells.unique()) == len(cells)
    there = before.flatten()[cells] > 0
    assert there.sum() == occupied < 1024
    assert 0.15 * 4096 < (~there).sum() < 0.25 * 4096
    assert bool((grid.density.flatten()[cells] >= 0.95 * before.flatten()[cells]).all())
    full = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 16)
    full.update(field, 256, generator=generator)
    assert 0.3 * 4096 < len(asked[2]) < 0.5 * 4096


def test_later_updates():
    check_later_updates()


def check_draws():
    """Among occupied cells, more than a quarter of all, and among all cells, each is as likely as any other: counted over 64 draws."""
    occupied = torch.rand(64 * 64, generator=torch.Generator().manual_seed(3)) < 0.4
    occupied[0], occupied[-1] = False, False
    grid = ts.render.OccupancyGrid((0, 0), (1, 1), 64, decay=1.0)
    counts, draws = torch.zeros(64 * 64), 64

    def field(points):
        cells = (points * 64).floor().long() @ torch.tensor([1, 64])
        counts[cells] += 1
        return occupied[cells].float()

    generator = torch.Generator().manual_seed(0)
    grid.update(field, 0, generator=generator)
    assert torch.equal(grid.mask.flatten(), occupied)
    counts.zero_()
    for step in range(256, 256 + 16 * draws, 16):
        grid.update(field, step, generator=generator)
    for kind, chance in ((~occupied, 1 - (1 - 1 / 4096) ** 1024), (occupied, 1 - ((1 - 1 / 4096) * (1 - 1 / int(occupied.sum()))) ** 1024)):
        own = counts[kind]
        spread = math.sqrt(draws * chance * (1 - chance))
        assert bool(((own - draws * chance).abs() < 6 * spread).all())
        # From the first cells to the last, and those themselves.
        assert bool(((own[[0, -1]] - draws * chance).abs() < 4 * spread).all())
        for part in own.chunk(16):
            assert abs(float(part.mean()) - draws * chance) < 5 * spread / math.sqrt(len(part))


def test_draws():
    check_draws()


def test_updates_repeat_with_a_generator():
    grids = [ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 8) for _ in range(2)]
    for grid in grids:
        generator = torch.Generator().manual_seed(5)
        for step in (0, 16, 512):
            grid.update(ball, step, generator=generator)
    assert torch.equal(grids[0].density, grids[1].density)


def loop_samples(grid, origin, direction, near, far, step):
    """Edges of a ray's samples, walking along it."""
    enter, leave = near, far
    for o, d, a, b in zip(origin, direction, grid.low.tolist(), grid.high.tolist(), strict=True):
        if d == 0:
            if not a <= o <= b:
                return []
        else:
            enter, leave = max(enter, min((a - o) / d, (b - o) / d)), min(leave, max((a - o) / d, (b - o) / d))
    result, start = [], enter
    while start < leave - 1e-3 * step:
        end = min(start + step, leave)
        if leave - end < 1e-3 * step:
            end = leave
        middle = (start + end) / 2
        if look_up(grid, [o + middle * d for o, d in zip(origin, direction, strict=True)]):
            result.append((start, end))
        start = end
    return result


def check_samples():
    grid = random_grid()
    generator = torch.Generator().manual_seed(3)
    origins = torch.rand(4, 10, 3, dtype=F64, generator=generator) * torch.tensor([6.0, 3.0, 4.0]) + torch.tensor([-2, -1, 1])
    directions = torch.randn(4, 10, 3, dtype=F64, generator=generator)
    directions[0] = torch.eye(3, dtype=F64)[torch.arange(10) % 3]  # along axes
    samples = grid.sample(origins, directions, 0.1, 5.0, 0.23)
    assert samples.n_rays == 40
    for ray, (origin, direction) in enumerate(zip(origins.reshape(-1, 3).tolist(), directions.reshape(-1, 3).tolist(), strict=True)):
        expected = torch.tensor(loop_samples(grid, origin, direction, 0.1, 5.0, 0.23), dtype=F64).reshape(-1, 2)
        assert_close(samples.edges[samples.ray_indices == ray], expected, rtol=0, atol=1e-9)
    assert len(samples.edges) > 20


def test_samples_are_a_walk():
    check_samples()


def test_full_grid_covers_the_box():
    """Steps add up to the way through the box, without slivers, gaps or overlaps: also with a step that rounds, and with jitter."""
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 8)
    origins, directions = torch.tensor([[-3.0, 0.2, 0.1]] * 2), torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.0, 0.8]])
    samples = grid.sample(origins, directions, 0.0, 100.0, 0.1)
    assert (samples.ray_indices == 0).sum() == 20
    assert_close(samples.edges[0, 0].item(), 2.0)
    assert samples.ray_indices.tolist().count(1) == 0  # it misses
    generator = torch.Generator().manual_seed(0)
    jittered = grid.sample(origins, directions, 0.0, 100.0, 0.1, True, generator).edges
    again = grid.sample(origins, directions, 0.0, 100.0, 0.1, True, generator.manual_seed(0)).edges
    assert torch.equal(jittered, again)
    assert len(jittered) == 21
    assert jittered[0, 0] == 2
    assert jittered[-1, 1] == 4
    assert torch.equal(jittered[1:, 0], jittered[:-1, 1])
    assert not torch.equal(jittered[1], samples.edges[1])


def test_no_slivers():
    """A way of ten steps is ten samples, if it is a little more by rounding, too."""
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 8)
    for step in (0.03, 0.041, 0.057, 0.06, 0.07, 0.083, 0.09):
        far = functools.reduce(operator.add, [step] * 10)  # `sum` compensates in newer versions of Python
        samples = grid.sample(torch.zeros(1, 3, dtype=F64), torch.eye(3, dtype=F64)[:1], 0.0, far, step)
        assert len(samples.edges) == 10
        assert samples.edges[-1, 1] == far


def test_rays_in_a_face():
    """Zero divided by zero: inside, as the closed box is."""
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 4)
    origins = torch.tensor([[-2.0, 1.0, 0.0], [-2.0, -1.0, -1.0], [-2.0, 1.001, 0.0]])
    samples = grid.sample(origins, torch.tensor([[1.0, 0.0, -0.0]] * 3), 0.0, 10.0, 0.5)
    assert samples.ray_indices.bincount(minlength=3).tolist() == [4, 4, 0]


def test_near_and_far_of_each_ray():
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 4)
    origins, directions = torch.zeros(2, 3), torch.eye(3)[:2]
    samples = grid.sample(origins, directions, torch.tensor([0.0, 0.5]), torch.tensor([0.25, 3.0]), 0.25)
    assert samples.edges.tolist() == [[0, 0.25], [0.5, 0.75], [0.75, 1.0]]
    assert grid.sample(origins, directions, 5.0, 6.0, 0.1).edges.shape == (0, 2)
    assert grid.sample(origins[:0], directions[:0], 0.0, 6.0, 0.1).n_rays == 0


def test_what_is_skipped_is_not_missed():
    """A ball, with the grid and without: the same opacity and depth from half of the samples."""
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 48)
    for step in (0, 16, 32):
        # A random point of a cell may miss what the rest of it holds: here, one that is found stands for all of its cell.
        grid.update(lambda points: ball(0.86 * points), step, generator=torch.Generator().manual_seed(step))
    generator = torch.Generator().manual_seed(9)
    target = torch.rand(300, 3, generator=generator) - 0.5
    origins = torch.nn.functional.normalize(torch.randn(300, 3, generator=generator), dim=-1) * 3
    directions = torch.nn.functional.normalize(target - origins, dim=-1)
    full = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 1)
    seen = []
    for which in (grid, full):
        samples = which.sample(origins, directions, 0.0, 6.0, 0.01)
        points = origins[samples.ray_indices] + samples.edges.mean(-1, keepdim=True) * directions[samples.ray_indices]
        weights = ts.render.weights_from_density(ball(points), *samples)
        seen.append(ts.render.composite(weights, samples.edges, points, 1.0, *samples[1:]))
        seen.append(len(points))
    assert seen[1] < seen[3] / 2
    for one, other in zip(seen[0], seen[2], strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_state():
    """What a checkpoint holds is all there is."""
    grid = ts.render.OccupancyGrid((-1.0, 0.0, 2.0), (3.0, 1.5, 4.5), (4, 3, 5), decay=0.9)
    grid.update(lambda points: points[:, 0].relu(), 0)
    other = ts.render.OccupancyGrid((0, 0, 0), (1, 1, 1), (4, 3, 5), decay=0.9)
    other.load_state_dict(grid.state_dict())
    assert set(grid.state_dict()) == {"low", "high", "density", "mask"}
    for name, tensor in grid.state_dict().items():
        assert torch.equal(tensor, getattr(other, name))
    assert not list(grid.parameters())
    box = "low=(-1.0, 0.0, 2.0), high=(3.0, 1.5, 4.5)"
    assert repr(grid) == f"OccupancyGrid({box}, resolution=(4, 3, 5), decay=0.9, threshold=0.01)"


def test_nothing_changes_where_the_field_fails():
    grid = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 4)
    grid.update(ball, 0)
    before = {name: tensor.clone() for name, tensor in grid.state_dict().items()}
    with pytest.raises(ValueError, match=r"update: `density_fn`.*NaN"):
        grid.update(lambda points: points[:, 0] / 0 * 0, 16)
    assert all(torch.equal(tensor, before[name]) for name, tensor in grid.state_dict().items())


GRID = ts.render.OccupancyGrid((-1, -1, -1), (1, 1, 1), 4)
RAY = torch.zeros(2, 3), torch.eye(3)[:2]
WRONG = {
    "no box": (lambda: ts.render.OccupancyGrid((1, 1, 1), (1, 2, 2)), ValueError, "OccupancyGrid: `high`.*above `low`"),
    "corner of nan": (lambda: ts.render.OccupancyGrid((math.nan, 1, 1), (1, 2, 2)), ValueError, "`low`.*finite"),
    "two corners": (lambda: ts.render.OccupancyGrid((0, 0, 0), (1, 1)), ValueError, "`high`"),
    "size of a plane": (lambda: ts.render.OccupancyGrid((0, 0, 0), (1, 1, 1), (3, 4)), ValueError, "`resolution`.*3"),
    "size 0": (lambda: ts.render.OccupancyGrid((0, 0, 0), (1, 1, 1), 0), ValueError, "positive"),
    "decay": (lambda: ts.render.OccupancyGrid((0, 0, 0), (1, 1, 1), 4, 1.5), ValueError, "`decay`"),
    "decay as text": (lambda: ts.render.OccupancyGrid((0, 0, 0), (1, 1, 1), 4, "x"), TypeError, "`decay`.*a number"),
    "step as text": (lambda: GRID.sample(*RAY, 0.0, 1.0, "a"), TypeError, "sample: `step`.*a positive number"),
    "threshold": (lambda: ts.render.OccupancyGrid((0, 0, 0), (1, 1, 1), 4, 0.9, -1.0), ValueError, "`threshold`"),
    "points": (lambda: GRID.occupied(torch.zeros(5, 2)), ValueError, r"occupied: `points`.*\(..., 3\)"),
    "integer points": (lambda: GRID.occupied(torch.zeros(5, 3).long()), TypeError, "occupied: `points`"),
    "no function": (lambda: GRID.update(3.0, 0), TypeError, "update: `density_fn`"),
    "step": (lambda: GRID.update(ball, -1), ValueError, "update: `step`"),
    "every": (lambda: GRID.update(ball, 0, every=0), ValueError, "update: `every`"),
    "shape": (lambda: GRID.update(lambda points: points, 0), ValueError, "update: `density_fn`.*a number per point"),
    "rays": (lambda: GRID.sample(RAY[0], RAY[1][:1], 0.0, 1.0, 0.1), ValueError, "sample: `directions`.*origins"),
    "one ray": (lambda: GRID.sample(RAY[0][0], RAY[1][0], 0.0, 1.0, 0.1), ValueError, "sample: `directions`"),
    "integer rays": (lambda: GRID.sample(RAY[0].long(), RAY[1], 0.0, 1.0, 0.1), TypeError, "sample: `origins`"),
    "step 0": (lambda: GRID.sample(*RAY, 0.0, 1.0, 0.0), ValueError, "sample: `step`"),
    "near beyond far": (lambda: GRID.sample(*RAY, 2.0, 1.0, 0.1), ValueError, "sample: `near`.*less than `far`"),
    "far of nan": (lambda: GRID.sample(*RAY, 0.0, torch.tensor([1.0, math.nan]), 0.1), ValueError, "sample: `near`.*NaN"),
    "near of others": (lambda: GRID.sample(*RAY, torch.zeros(2, 1), 1.0, 0.1), ValueError, "sample: `near`.*Squeeze"),
    "no direction": (lambda: GRID.sample(RAY[0], 0 * RAY[1], 0.0, math.inf, 0.1), ValueError, "sample: `far`.*not zero"),
    "nan direction": (lambda: GRID.sample(RAY[0], RAY[1] * math.nan, 0.0, math.inf, 0.1), ValueError, "sample: `far`.*NaN"),
}


def check_refused(name):
    call, kind, match = WRONG[name]
    said = ""
    try:
        call()
    except kind as error:
        said = str(error)
    assert re.search(match, said), said or "nothing was refused"


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    check_refused(name)
