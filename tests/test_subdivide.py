"""PointRend's inference, against loops that do it pixel by pixel."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import oracle
import torchsample as ts


def certainty(scores):
    """PointRend's: the magnitude of a single logit, the gap between the two best of several."""
    if len(scores) == 1:
        return abs(scores[0])
    first, second = sorted(scores)[:-3:-1]
    return first - second


def centre(pixel, size, align_corners):
    """Normalized centre ``(x, y, ...)`` of a pixel ``(..., y, x)``."""
    pairs = zip(reversed(pixel), reversed(size), strict=True)
    if align_corners:
        return [2 * i / (side - 1) - 1 for i, side in pairs]
    return [(2 * i + 1) / side - 1 for i, side in pairs]


def around(pixel, fine, coarse, align_corners):
    """The pixels that a pixel of a finer map is interpolated from."""
    axes = []
    for x, side in zip(centre(pixel, fine, align_corners), reversed(coarse), strict=True):
        taps = oracle.taps(oracle.position(x, side, align_corners), "linear")
        axes.append([oracle.pixel(i, side, "border", align_corners) for i, _ in taps])
    return itertools.product(*reversed(axes))


def naive(coarse, head, steps, n_points, remember, align_corners=False, measure=certainty):
    """One map ``(c, *spatial)``; the refined map and per step the pixels that were asked for, in their order."""
    logits, asked = coarse, []
    news = np.full(coarse.shape[1:], np.inf)
    for step in range(steps):
        size = logits.shape[1:]
        fine = tuple(2 * side for side in size)
        pixels = list(itertools.product(*map(range, fine)))
        larger, spread = np.zeros((len(coarse), *fine)), np.zeros(fine)
        for p in pixels:
            larger[(slice(None), *p)] = oracle.sample_point(centre(p, fine, align_corners), logits, "linear", "border", align_corners)
            spread[p] = max(news[q] for q in around(p, fine, size, align_corners))
        logits, news = larger, spread
        if n_points >= 2 ** len(size) * len(pixels) and step < steps - 1:
            continue
        late = (news <= 0.01 * logits.std()) & remember
        order = sorted(pixels, key=lambda p: (late[p], measure(logits[(slice(None), *p)].tolist()), p))
        asked.append(order[:n_points])
        for p in asked[-1]:
            values = np.array(head(centre(p, fine, align_corners)))
            news[p] = np.abs(values - logits[(slice(None), *p)]).max()
            logits[(slice(None), *p)] = values
    return logits, asked


def polynomial(classes):
    """A head as numbers for one point and as tensors for ours: sums of few products, exact in binary."""

    def one(x):
        return [(1 + k) * x[0] * x[-1] + x[0] - k * 0.25 * x[-1] * x[-1] + 0.0625 for k in range(classes)]

    return one, lambda coords: torch.stack(one(coords.unbind(-1)), dim=-1)


def dyadic(*shape):
    """Random numbers of few bits, whose interpolation at twice the size is exact, too, and without ties."""
    return torch.randint(-(2**20), 2**20, shape).double() / 2**19


def check(coarse, steps, n_points, remember, align_corners=False, exact=True, **options):
    one, many = polynomial(coarse.shape[1])
    measure = options.pop("measure", certainty)
    refined, coords = ts.subdivide(
        coarse, many, steps, n_points, align_corners=align_corners, remember=remember, return_coords=True, **options
    )
    for index, single in enumerate(coarse.numpy()):
        expected, asked = naive(single, one, steps, n_points, remember, align_corners, measure)
        assert len(asked) == len(coords)
        if exact:
            assert torch.equal(refined[index], torch.from_numpy(expected))
        assert_close(refined[index], torch.from_numpy(expected), rtol=1e-12, atol=1e-12)
        sizes = [[side * 2**step for side in single.shape[1:]] for step in range(1, steps + 1)][-len(asked) :]
        for pixels, size, got in zip(asked, sizes, coords, strict=True):
            wanted = torch.tensor([centre(p, size, align_corners) for p in pixels], dtype=torch.float64)
            assert_close(got[index], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("remember", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize(("spatial", "steps", "n_points"), [((8,), 4, 7), ((4, 8), 3, 30), ((2, 4, 2), 2, 40)])
def test_is_pointrend(spatial, steps, n_points, classes, remember):
    """Bit for bit, for all ranks and each map of a batch on its own."""
    check(dyadic(3, classes, *spatial), steps, n_points, remember)


@pytest.mark.parametrize("remember", [False, True])
def test_aligned_corners(remember):
    check(dyadic(2, 1, 3, 5), 3, 30, remember, align_corners=True, exact=False)
    check(dyadic(1, 3, 1, 4), 2, 9, remember, align_corners=True, exact=False)


@pytest.mark.parametrize("n_points", [1, 255, 256, 257, 1023, 1024, 10**6])
def test_steps_that_could_predict_the_next_one_predict_nothing(n_points):
    """detectron2: ``if N >= 4 * H * W and step < steps - 1: continue``."""
    check(dyadic(1, 1, 4, 4), 3, n_points, False)


def test_settled_pixels_come_last_but_come():
    """Once all others are predicted, what is left of a step's points goes to them."""
    coarse = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    head = lambda coords: torch.ones_like(coords[..., :1])  # noqa: E731
    _, coords = ts.subdivide(coarse, head, 2, 200, return_coords=True)
    assert [each.shape[1] for each in coords] == [64, 200]
    check(dyadic(2, 1, 4, 4), 3, 60, True)
    check(dyadic(2, 1, 4, 4), 3, 250, True)


def ambiguous(coords):
    """About 0 in the left quarter, where nothing is to be decided, and the wavy edge of a disc on the right."""
    x = coords[..., :1]
    disc = 0.35 + 0.05 * torch.sin(20 * x) - (coords - coords.new_tensor([0.4, 0.1])).norm(dim=-1, keepdim=True)
    return torch.where(x < -0.5, torch.full_like(x, -1e-6), disc)


def wrong_pixels(remember):
    coarse = ts.feat_first(ambiguous(ts.coord.full(1, (16, 16), dtype=torch.float64)))
    refined, coords = ts.subdivide(coarse, ambiguous, steps=3, n_points=700, remember=remember, return_coords=True)
    truth = ts.feat_first(ambiguous(ts.coord.full(1, (128, 128), dtype=torch.float64)))
    return int(((refined > 0) != (truth > 0)).sum()), coords


def test_an_ambiguous_area_does_not_eat_all_points():
    """The least certain pixels stay so: an implementation that forgets predicts them again and again, and nothing else."""
    forgetful, _ = wrong_pixels(False)
    remembering, coords = wrong_pixels(True)
    assert forgetful > 10
    assert remembering < forgetful / 10
    on_the_disc = [float((each[..., 0] > -0.5).double().mean()) for each in coords]
    assert on_the_disc[-1] > 0.5, "almost all of the area is known"


def test_asks_for_the_points_of_detectron2():
    """``get_uncertain_point_coords_on_grid``: the top k cells, and ``w_step / 2 + (i % W) * w_step`` in the unit square."""
    coarse = torch.randn(2, 1, 4, 6, dtype=torch.float64)
    _, (coords,) = ts.subdivide(coarse, polynomial(1)[1], 1, 20, return_coords=True)
    height, width = 8, 12
    larger = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    indices = torch.topk(-larger.abs().reshape(2, height * width), k=20, dim=1)[1]
    x = 1 / width / 2 + (indices % width) / width
    y = 1 / height / 2 + torch.div(indices, width, rounding_mode="floor") / height
    assert_close(ts.coord.to_unit(coords), torch.stack([x, y], -1).double(), rtol=0, atol=1e-6)


def test_uncertainty_by_name_and_by_function():
    coarse = dyadic(2, 3, 4, 4)
    check(coarse, 2, 20, False, uncertainty="margin")
    check(coarse, 2, 20, True, uncertainty="max_probability", measure=max)
    check(coarse, 2, 20, False, uncertainty=lambda scores: scores[..., 0] - scores[..., 2], measure=lambda s: s[2] - s[0])
    check(coarse[:, :1], 2, 20, True, uncertainty="binary_probability", measure=lambda s: abs(s[0] - 0.5))


def test_no_steps_give_the_coarse_map():
    coarse = torch.randn(2, 3, 4, 5)
    refined, coords = ts.subdivide(coarse, lambda _: None, 0, return_coords=True)
    assert torch.equal(refined, coarse)
    assert coords == []


@pytest.mark.parametrize("spatial", [(3,), (3, 4), (2, 3, 2)])
def test_enough_points_are_dense_evaluation(spatial):
    _, many = polynomial(2)
    refined = ts.subdivide(torch.randn(2, 2, *spatial), many, 2, 10**6)
    assert torch.equal(refined, ts.feat_first(many(ts.coord.full_like(refined))).contiguous())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype(dtype):
    """That of the coarse map; coordinates never in half precision."""
    seen = set()

    def head(coords):
        seen.add(coords.dtype)
        return (coords[..., :1] - 0.1).to(torch.float16)

    refined = ts.subdivide(torch.randn(1, 1, 4, 4).to(dtype), head, 3, 20)
    assert refined.dtype == dtype
    assert refined.isfinite().all()
    assert seen == {torch.float64 if dtype == torch.float64 else torch.float32}


@pytest.mark.parametrize("remember", [False, True])
def test_gradients(remember):
    """To the coarse map by what is left of it, and to the head by what it predicted."""

    def by_place(scores):  # a choice that no small step changes
        order = torch.linspace(0, 99, scores[0, ..., 0].numel(), dtype=scores.dtype).sin()
        return order.reshape(1, *scores.shape[1:-1]).expand(scores.shape[:-1])

    coarse = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)

    def ask(coarse, scale):
        return ts.subdivide(coarse, lambda c: scale * c[..., :1] + c[..., 1:] ** 2, 2, 30, by_place, remember=remember)

    assert torch.autograd.gradcheck(ask, (coarse, scale))
    assert all(slope.abs().max() > 0 for slope in torch.autograd.grad(ask(coarse, scale).square().sum(), [coarse, scale]))


def test_leaves_its_input_alone():
    coarse = torch.randn(2, 1, 4, 4)
    before = coarse.clone()
    ts.subdivide(coarse, polynomial(1)[1], 3, 20)
    assert torch.equal(coarse, before)
    turned = coarse.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert torch.equal(ts.subdivide(turned, polynomial(1)[1], 2, 20), ts.subdivide(coarse, polynomial(1)[1], 2, 20))


def test_with_a_real_head():
    """Fine features and coarse logits sampled at the points, as PointRend's head has them."""
    features, coarse = torch.randn(2, 8, 32, 32), torch.randn(2, 3, 8, 8)
    network = nn.Linear(8 + 3, 3)

    def head(coords):
        return network(ts.sample_levels(coords, [features, coarse]))

    refined = ts.subdivide(coarse, head, 2, 100)
    assert refined.shape == (2, 3, 32, 32)
    # Where it was asked, the head's own answer stands.
    dense = ts.feat_first(head(ts.coord.full_like(refined)))
    assert math.isclose(float(((refined - dense).abs().amax(1) < 1e-5).sum()), 200, abs_tol=3)


def test_empty_batch():
    assert ts.subdivide(torch.zeros(0, 1, 4, 4), polynomial(1)[1], 2).shape == (0, 1, 16, 16)


def test_nan_is_not_certain():
    """A pixel that has no number is the first to predict anew; detectron2's topk takes it first, too."""
    coarse = torch.full((1, 1, 4), 5.0)
    coarse[0, 0, 3] = torch.nan
    refined = ts.subdivide(coarse, lambda coords: torch.ones_like(coords), 1, 3)
    assert refined.isfinite().all()
