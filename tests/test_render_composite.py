"""What is seen: colour, opacity, depths and visibility, against loops over rays in float64 and closed forms."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
import torchsample.render
from test_render_weights import random_rays
from torchsample.render.weighted_sum import weighted_sum

F64 = torch.float64


@pytest.mark.parametrize("sigma", [1e-6, 0.3, 2.0, 50.0])
def test_homogeneous_slab(sigma):
    """Opacity ``1 - exp(-sigma L)``, whatever the samples; depth that of an exponential, cut off, as samples become short."""
    length = 1.7
    for n in (1, 7, 4000):
        edges = torch.linspace(0, length, n + 1, dtype=F64)
        weights = ts.render.weights_from_density(torch.full((n,), sigma, dtype=F64), edges)
        opacity = -math.expm1(-sigma * length)
        assert_close(ts.render.accumulate(weights).item(), opacity, rtol=1e-12, atol=0)
    seen = ts.render.composite(weights, edges, torch.ones(n, 1, dtype=F64))
    mean = 1 / sigma - length / math.expm1(sigma * length)
    assert_close(seen.depth.item(), mean, rtol=1e-4, atol=0)
    assert_close(ts.render.median_depth(weights, edges).item(), -math.log1p(-opacity / 2) / sigma, rtol=1e-4, atol=0)


def test_ball_through_its_chords():
    """A ball of constant density: opacity by the length of the chord, depth symmetric when thin."""
    offset = torch.tensor([0.0, 0.3, 0.8, 0.999, 1.1], dtype=F64)
    half = (1 - offset.square()).clamp(min=0).sqrt()
    inner = torch.linspace(-1, 1, 33, dtype=F64) * half.unsqueeze(-1)
    edges = torch.cat([torch.full((5, 1), -2.0, dtype=F64), inner, torch.full((5, 1), 2.0, dtype=F64)], dim=-1) + 3
    inside = torch.tensor([0.0] + [1.0] * 32 + [0.0], dtype=F64)
    weights = ts.render.weights_from_density((1e-6 * inside).expand(5, -1), edges)
    seen = ts.render.composite(weights, edges, torch.ones(5, 34, 1, dtype=F64))
    assert_close(seen.opacity, -torch.expm1(-2e-6 * half), rtol=1e-12, atol=0)
    assert_close(seen.depth, torch.tensor([3.0, 3, 3, 3, 0], dtype=F64), rtol=1e-6, atol=0)
    assert_close(ts.render.median_depth(weights, edges), torch.tensor([3.0, 3, 3, 3, 0], dtype=F64), rtol=1e-5, atol=0)


def loop_median(weights, edges):
    half, total = sum(weights) / 2, 0.0
    for w, (a, b) in zip(weights, itertools.pairwise(edges), strict=True):
        if total + w >= half and w > 0:
            return a + (half - total) / w * (b - a)
        total += w
    return 0.0


def check_composite():
    density, edges = random_rays(3, 4)
    density[1, 2] = 0
    weights = ts.render.weights_from_density(density, edges)
    values, background = torch.rand(3, 4, 9, 3, dtype=F64), torch.rand(3, 4, 3, dtype=F64)
    seen, median = ts.render.composite(weights, edges, values, background), ts.render.median_depth(weights, edges)
    assert seen.colour.shape == (3, 4, 3)
    for ray in itertools.product(range(3), range(4)):
        w, e, opacity = weights[ray].tolist(), edges[ray].tolist(), sum(weights[ray].tolist())
        for channel in range(3):
            colour = sum(a * v for a, v in zip(w, values[ray][:, channel].tolist(), strict=True))
            assert seen.colour[ray][channel].item() == pytest.approx(colour + (1 - opacity) * background[ray][channel].item(), rel=1e-12)
        depth = sum(a * (x + y) / 2 for a, (x, y) in zip(w, itertools.pairwise(e), strict=True)) / opacity if opacity else 0
        assert seen.opacity[ray].item() == pytest.approx(opacity, rel=1e-12)
        assert seen.depth[ray].item() == pytest.approx(depth, rel=1e-12)
        assert median[ray].item() == pytest.approx(loop_median(w, e), rel=1e-12)


def test_composite():
    check_composite()


def test_backgrounds():
    weights, values, edges = torch.tensor([[0.2, 0.3], [0.0, 0.0]]), torch.rand(2, 2, 3), torch.arange(3.0)
    black = ts.render.composite(weights, edges, values).colour
    left = torch.tensor([[0.5], [1.0]])
    for background, colour in {1.0: torch.ones(3), (0.1, 0.2, 0.3): torch.tensor([0.1, 0.2, 0.3]), "last": values[:, -1]}.items():
        assert_close(ts.render.composite(weights, edges, values, background).colour, black + left * colour)
    white = ts.render.composite(weights, edges, values, [1.0, 1.0, 1.0]).colour
    assert torch.equal(white, ts.render.composite(weights, edges, values, 1).colour)


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-38, 1e-20])
def test_empty_rays_have_a_depth(scale):
    """The original renderer divides by opacity: NaN in depth and disparity, and in gradients, for rays that meet nothing."""
    weights = (scale * torch.rand(3, 8)).requires_grad_()
    edges = torch.linspace(2, 6, 9).expand(3, -1).clone().requires_grad_()
    seen, median = ts.render.composite(weights, edges, torch.rand(3, 8, 3), 1.0), ts.render.median_depth(weights, edges)
    assert all(bool(part.isfinite().all()) for part in (*seen, median))
    if scale < 1e-30:
        assert seen.depth.tolist() == median.tolist() == [0, 0, 0]
    gradients = torch.autograd.grad(seen.depth.sum() + median.sum(), (weights, edges))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_rays_without_samples():
    for rays in [(2,), (0,), (2, 3)]:
        seen = ts.render.composite(torch.zeros(*rays, 0), torch.zeros(*rays, 1), torch.zeros(*rays, 0, 3), 1.0)
        assert torch.equal(seen.colour, torch.ones(*rays, 3))
        assert torch.equal(seen.depth, torch.zeros(rays))
        assert torch.equal(ts.render.median_depth(torch.zeros(*rays, 0), torch.zeros(*rays, 1)), torch.zeros(rays))
    assert ts.render.weights_from_density(torch.zeros(2, 0), torch.zeros(2, 1)).shape == (2, 0)
    assert ts.render.weights_from_alpha(torch.zeros(2, 0)).shape == (2, 0)
    assert ts.render.composite(torch.zeros(2, 0), torch.zeros(2, 1), torch.zeros(2, 0, 3), "last").colour.tolist() == [[0] * 3] * 2


def test_composite_gradients():
    density, edges = random_rays(2, n=4, seed=4)
    weights = ts.render.weights_from_density(density + 0.1, edges).requires_grad_()
    values, background = torch.rand(2, 4, 3, dtype=F64, requires_grad=True), torch.rand(2, 3, dtype=F64, requires_grad=True)

    def function(w, e, v, b):
        return *ts.render.composite(w, e, v, b), ts.render.median_depth(w, e)

    assert torch.autograd.gradcheck(function, (weights, edges.requires_grad_(), values, background))
    assert torch.autograd.gradgradcheck(function, (weights, edges, values, background))


def check_weighted_sum(*shape, n=5, c=3):
    weights, values = torch.rand(*shape, n, dtype=F64), torch.rand(*shape, c, n, dtype=F64).mT
    assert_close(weighted_sum(weights, values), torch.einsum("...n,...nc->...c", weights, values), rtol=1e-13, atol=0)
    assert torch.autograd.gradcheck(weighted_sum, (weights.requires_grad_(), values.requires_grad_()))
    assert torch.autograd.gradgradcheck(weighted_sum, (weights, values))
    for one in (weights, values):
        inputs = [x if x is one else x.detach() for x in (weights, values)]
        assert torch.autograd.gradcheck(weighted_sum, inputs)


@pytest.mark.parametrize(
    ("shape", "n", "c"), [((), 5, 3), ((4,), 5, 3), ((2, 3), 5, 1), ((2, 3), 1, 4), ((2,), 0, 3), ((0,), 5, 3), ((2,), 5, 0)]
)
def test_weighted_sum(shape, n, c):
    check_weighted_sum(*shape, n=n, c=c)


def is_a_product(weights, values):
    return type(weighted_sum(weights.requires_grad_(), values).grad_fn).__name__ == "_ProductBackward"


def check_precision():
    """A product of matrices serves where it is exact; autocast, and settings that round products, get the sum."""
    weights, values = torch.rand(7, 33), torch.rand(7, 33, 3)
    exact = (weights.double().unsqueeze(-1) * values.double()).sum(-2)
    assert is_a_product(weights, values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not is_a_product(weights, values)
        assert_close(weighted_sum(weights, values).double(), exact, rtol=1e-5, atol=0)
    torch.set_float32_matmul_precision("medium")
    try:
        assert not is_a_product(weights, values)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not is_a_product(weights, values.half())
    assert not is_a_product(weights, values[..., :1])
    assert not is_a_product(torch.rand(2, 1000), torch.rand(2, 1000, 3))


def test_precision():
    check_precision()


def test_backward_in_autocast():
    """The derivatives of what was computed outside of it keep their precision."""
    weights, values = torch.rand(7, 33, requires_grad=True), torch.rand(7, 33, 3)
    seen = weighted_sum(weights, values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (gradient,) = torch.autograd.grad(seen.sum(), weights)
    assert_close(gradient, values.sum(-1), rtol=1e-6, atol=0)


def test_composite_under_transforms():
    weights, values, edges = torch.rand(3, 5, dtype=F64), torch.rand(3, 5, 3, dtype=F64), torch.arange(6, dtype=F64)

    def colour(w, v):
        return ts.render.composite(w, edges, v, 1.0).colour

    assert_close(torch.func.vmap(colour)(weights, values), colour(weights, values))
    assert_close(torch.func.jacfwd(colour)(weights[0], values[0]), torch.func.jacrev(colour)(weights[0], values[0]))


def test_half_is_added_up_in_float32():
    """Half precision can tell little opacity from none only by luck, and adds few samples up."""
    weights, edges = torch.tensor([[0.01, 0.01, 0.05, 0.01]]).half(), torch.arange(0.0, 50.0, 10.0)
    values = torch.rand(1, 4, 3).half()
    seen, exact = (ts.render.composite(w, edges, v, 0.5) for w, v in ((weights, values), (weights.float(), values.float())))
    for name in seen._fields:
        assert_close(getattr(seen, name), getattr(exact, name))
    assert_close(ts.render.median_depth(weights, edges), torch.tensor([24.0]), rtol=1e-2, atol=0)
    many, owner = torch.full((4000,), 1 / 4096).bfloat16(), torch.zeros(4000, dtype=torch.long)
    assert_close(ts.render.accumulate(many, None, owner, 1), torch.tensor([4000 / 4096]))
    assert_close(ts.render.accumulate(many.unsqueeze(0)), torch.tensor([4000 / 4096]))


def multinerf_render(density, edges, values, background):
    """multinerf's render.py as a formula: compute_alpha_weights and volumetric_rendering."""
    shaded = density * edges.diff(dim=-1)
    alpha = 1 - torch.exp(-shaded)
    before = torch.cat([torch.zeros_like(shaded[..., :1]), shaded[..., :-1].cumsum(-1)], dim=-1)
    weights = alpha * torch.exp(-before)
    opacity = weights.sum(-1)
    colour = (weights.unsqueeze(-1) * values).sum(-2) + (1 - opacity).clamp(min=0).unsqueeze(-1) * background
    middle = 0.5 * (edges[..., :-1] + edges[..., 1:])
    mean = (weights * middle).sum(-1) / opacity.clamp(min=torch.finfo(torch.float32).eps)
    return weights, colour, opacity, mean.nan_to_num(torch.inf).clamp(edges[..., 0], edges[..., -1])


def test_is_multinerf():
    density, edges = random_rays(20, n=32, seed=6)
    values = torch.rand(20, 32, 3, dtype=F64)
    expected = multinerf_render(density, edges, values, 1.0)
    weights = ts.render.weights_from_density(density, edges)
    for one, other in zip((weights, *ts.render.composite(weights, edges, values, 1.0)), expected, strict=True):
        assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_endless_samples_in_both_forms():
    spans, weights = torch.tensor([[1.0, 2.0], [2.0, torch.inf]]), torch.tensor([0.25, 0.75])
    owner, values = torch.zeros(2, dtype=torch.long), torch.ones(2, 3)
    packed = ts.render.composite(weights, spans, values, None, owner, 1)
    batched = ts.render.composite(weights[None], spans[None], values[None])
    chained = ts.render.composite(weights[None], torch.tensor([1.0, 2.0, torch.inf]), values[None])
    assert packed.depth.item() == batched.depth.item() == chained.depth.item() == 0.25 * 1.5 + 0.75 * 2
    gap = torch.tensor([[[1.0, torch.inf], [1.0, 2.0]]])
    assert ts.render.composite(weights[None], gap, values[None]).depth.item() == 0.25 * 1 + 0.75 * 1.5
    assert ts.render.median_depth(weights[None], spans[None]).item() == 2


def check_visible():
    alpha = torch.tensor([[0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [0.0, 0.5, 1.0, 1.0, 0.0, 0.3]])
    assert ts.render.visible(alpha, 0.5e-3).tolist() == [[True] * 4 + [False] * 2, [True] * 3 + [False] * 3]
    assert ts.render.visible(alpha, 0.5e-3, 0.4).tolist() == [[True] * 4 + [False] * 2, [False, True, True] + [False] * 3]
    assert bool(ts.render.visible(alpha, 0.0).all())


def test_visible():
    check_visible()


def test_early_stopping_loses_no_more_than_it_says():
    density, edges = random_rays(200, n=60)
    alpha = ts.render.alpha_from_density(density, edges)
    weights = ts.render.weights_from_alpha(alpha)
    lost = weights.masked_fill(ts.render.visible(alpha, 1e-2), 0).sum(-1)
    assert 0 < lost.max() < 1e-2
