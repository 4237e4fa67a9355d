"""Weights and what is seen, against loops over rays in float64, closed forms, and published numbers."""

import itertools
import math
import re

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
import torchsample.render

F64 = torch.float64


def loop_weights(alpha):
    """The definition, a ray at a time: weights and transmittances of a list of alphas."""
    weights, reached, light = [], [], 1.0
    for a in alpha:
        reached.append(light)
        weights.append(light * a)
        light *= 1 - a
    return weights, reached


def loop_alpha(density, edges):
    return [-math.expm1(-d * (b - a)) for d, (a, b) in zip(density, itertools.pairwise(edges), strict=True)]


def random_rays(*shape, n=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    density = 3 * torch.rand(*shape, n, dtype=F64, generator=generator)
    density = density * (torch.rand(density.shape, generator=generator) < 0.7)
    edges = 2 + torch.rand(*shape, n + 1, dtype=F64, generator=generator).cumsum(-1)
    return density, edges


def check_density(shape):
    density, edges = random_rays(*shape)
    weights, reached = ts.render.weights_from_density(density, edges), ts.render.transmittance_from_density(density, edges)
    alpha = ts.render.alpha_from_density(density, edges)
    flat = [x.reshape(-1, x.shape[-1]).tolist() for x in (density, edges)]
    expected = [loop_alpha(d, e) for d, e in zip(*flat, strict=True)]
    assert_close(alpha, torch.tensor(expected, dtype=F64).reshape(density.shape), rtol=1e-13, atol=0)
    assert_close(weights, torch.tensor([loop_weights(a)[0] for a in expected], dtype=F64).reshape(density.shape), rtol=1e-12, atol=0)
    assert_close(reached, torch.tensor([loop_weights(a)[1] for a in expected], dtype=F64).reshape(density.shape), rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 1, 3)])
def test_density_any_number_of_rays(shape):
    """nerfstudio's ``get_weights`` takes one dimension of rays only."""
    check_density(shape)


def check_alpha():
    alpha = torch.rand(4, 7, dtype=F64, generator=torch.Generator().manual_seed(1))
    alpha[1, 3], alpha[2, 0], alpha[2, 5], alpha[3, 2:4] = 1, 1, 1, 0
    expected = [loop_weights(a) for a in alpha.tolist()]
    assert_close(ts.render.weights_from_alpha(alpha), torch.tensor([w for w, _ in expected], dtype=F64), rtol=1e-13, atol=0)
    assert_close(ts.render.transmittance_from_alpha(alpha), torch.tensor([t for _, t in expected], dtype=F64), rtol=1e-13, atol=0)


def test_alpha():
    check_alpha()


def test_density_and_alpha_agree():
    density, edges = random_rays(6)
    alpha = ts.render.alpha_from_density(density, edges)
    assert_close(ts.render.weights_from_alpha(alpha), ts.render.weights_from_density(density, edges))


def test_edges_in_all_their_forms():
    density, edges = random_rays(2, 3)
    expected = ts.render.weights_from_density(density, edges)
    pairs = torch.stack([edges[..., :-1], edges[..., 1:]], dim=-1)
    assert torch.equal(ts.render.weights_from_density(density, pairs), expected)
    shared = ts.render.weights_from_density(density, edges[0, 0])
    assert torch.equal(shared[0, 0], expected[0, 0])
    assert torch.equal(shared, ts.render.weights_from_density(density, edges[0, 0].expand(2, 3, -1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_epsilon(dtype):
    """Empty samples let everything pass, and thin ones keep their digits: with 1e-7 or 1e-10 added, neither holds."""
    alpha = torch.zeros(65, dtype=dtype)
    assert bool((ts.render.transmittance_from_alpha(alpha) == 1).all())
    assert bool((ts.render.transmittance_from_density(alpha, torch.arange(66, dtype=dtype)) == 1).all())
    thin = torch.full((3,), 1e-9, dtype=dtype)
    assert_close(ts.render.weights_from_density(thin, torch.arange(4, dtype=dtype)), thin, rtol=1e-6, atol=0)
    alpha[4] = 1
    assert bool((ts.render.weights_from_alpha(alpha) == alpha).all())
    assert bool((ts.render.transmittance_from_alpha(alpha)[5:] == 0).all())


@pytest.mark.parametrize("check", [True, False])
def test_infinite_density_is_opaque(check):
    density = torch.tensor([0.5, torch.inf, 2.0, torch.inf, 1.0], dtype=F64, requires_grad=True)
    edges = torch.arange(6, dtype=F64).requires_grad_()
    weights = ts.render.weights_from_density(density, edges, check=check)
    first = -math.expm1(-0.5)
    assert_close(weights, torch.tensor([first, 1 - first, 0, 0, 0], dtype=F64), rtol=1e-15, atol=0)
    gradient = torch.autograd.grad((weights * torch.arange(1, 6)).sum(), (density, edges), create_graph=True)
    assert_close(gradient[0], torch.tensor([-math.exp(-0.5), 0, 0, 0, 0], dtype=F64))  # 1 exp(-d) - 2 exp(-d)
    second = torch.autograd.grad(sum(g.square().sum() for g in gradient), (density, edges))
    assert all(bool(g.isfinite().all()) for g in (*gradient, *second))


@pytest.mark.parametrize("check", [True, False])
def test_opaque_background(check):
    """An infinite last edge takes all the light that is left, unless nothing is there; gradients stay finite."""
    density = torch.tensor([[0.5, 0.3], [0.5, 0.0]], dtype=F64, requires_grad=True)
    edges = torch.tensor([0, 1, torch.inf], dtype=F64)
    weights = ts.render.weights_from_density(density, edges, check=check)
    first = -math.expm1(-0.5)
    assert_close(weights, torch.tensor([[first, 1 - first], [first, 0]], dtype=F64), rtol=1e-15, atol=0)
    values = torch.rand(2, 2, 3, dtype=F64)
    seen = ts.render.composite(weights, edges, values)
    assert_close(seen.depth, torch.tensor([first * 0.5 + (1 - first) * 1, 0.5], dtype=F64))
    median = ts.render.median_depth(weights, edges)
    assert bool((median <= 1).all())
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in (*seen, median)), density)
    assert bool(gradient.isfinite().all())
    assert gradient[:, 1].tolist() == [0, 0]


def test_zero_lengths():
    density = torch.tensor([1.0, torch.inf, 1.0], requires_grad=True)
    weights = ts.render.weights_from_density(density, torch.tensor([0.0, 1.0, 1.0, 2.0]))
    assert_close(weights, torch.tensor([1 - math.exp(-1), 0, math.exp(-1) - math.exp(-2)]))
    assert bool(torch.autograd.grad(weights[2], density)[0].isfinite().all())


ALPHA = torch.tensor([[0.3, 0.0, 0.8, 0.5], [0.2, 1.0, 0.6, 0.1], [1.0, 0.4, 1.0, 0.0], [0.0, 1.0, 1.0, 0.9]], dtype=F64)


def reference_gradient(alpha, upstream):
    """Derivative of ``sum_i upstream_i alpha_i prod_{j<i} (1 - alpha_j)``, each product written out without its own factor."""
    result = []
    for k in range(len(alpha)):
        before = math.prod(1 - a for a in alpha[:k])
        total = upstream[k] * before
        for i in range(k + 1, len(alpha)):
            total -= upstream[i] * alpha[i] * math.prod(1 - a for j, a in enumerate(alpha[:i]) if j != k)
        result.append(total)
    return result


def check_alpha_gradients(ray_indices=None, n_rays=None):
    """At exactly 0 and 1, where formulas that divide fail; finite differences may step over the edge of [0, 1], so nothing is checked."""
    alpha = (ALPHA if ray_indices is None else ALPHA.flatten()).clone().requires_grad_()

    def function(a):
        return ts.render.weights_from_alpha(a, ray_indices, n_rays, check=False)

    upstream = torch.rand(4, 4, dtype=F64, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(function(alpha), alpha, upstream.reshape(alpha.shape))
    expected = [reference_gradient(a, u) for a, u in zip(ALPHA.tolist(), upstream.tolist(), strict=True)]
    assert_close(gradient, torch.tensor(expected, dtype=F64).reshape(alpha.shape))
    assert torch.autograd.gradcheck(function, alpha)
    assert torch.autograd.gradgradcheck(function, alpha)


def test_alpha_gradients_at_0_and_1():
    """nerfacc's ``exclusive_prod`` calls its own gradient wrong there."""
    check_alpha_gradients()


def check_thin_gradients():
    """Of alphas themselves, which other functions take."""
    density, edges = random_rays(2, n=4, seed=5)
    arguments = ((density + 0.1).requires_grad_(), edges.requires_grad_())
    assert torch.autograd.gradcheck(ts.render.alpha_from_density, arguments)
    assert torch.autograd.gradgradcheck(ts.render.alpha_from_density, arguments)
    assert torch.autograd.gradcheck(lambda d, e: ts.render.weights_from_alpha(ts.render.alpha_from_density(d, e)), arguments)


def test_alpha_of_density_has_gradients():
    check_thin_gradients()


def check_mixed_derivatives():
    """Reverse over forward mode, where the derivative of PyTorch's `cumprod` is NaN at alpha = 1."""
    alpha = torch.tensor([0.3, 1.0, 0.5, 1.0, 0.2], dtype=F64)

    def energy(a):
        return (ts.render.weights_from_alpha(a) * torch.arange(1, 6)).square().sum()

    exact = torch.autograd.functional.hessian(energy, alpha)
    for outer, inner in itertools.product((torch.func.jacrev, torch.func.jacfwd), repeat=2):
        assert_close(outer(inner(energy))(alpha), exact)


def test_mixed_derivatives():
    check_mixed_derivatives()


def test_density_gradients():
    density, edges = random_rays(3, n=4)
    density.requires_grad_()
    edges.requires_grad_()

    def function(d, e):
        return ts.render.weights_from_density(d, e, check=False)  # a density of 0 is varied to both sides

    assert torch.autograd.gradcheck(function, (density, edges))
    assert torch.autograd.gradgradcheck(function, (density, edges))


def test_weights_never_exceed_the_light():
    """Transmittance above 1 is what an epsilon inside the product gives."""
    density = 1e-7 * torch.rand(100, 512)
    reached = ts.render.transmittance_from_density(density, torch.arange(513.0))
    assert bool((reached <= 1).all())
    assert bool((reached.diff(dim=-1) <= 0).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32(dtype):
    density, edges = (3 * torch.rand(4, 64)).to(dtype), torch.arange(65.0)
    weights = ts.render.weights_from_density(density, edges)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, ts.render.weights_from_density(density.float(), edges))
    alpha = torch.rand(4, 8).to(dtype)
    assert torch.equal(ts.render.weights_from_alpha(alpha), ts.render.weights_from_alpha(alpha.float()))


def test_under_transforms():
    density, edges = random_rays(3)
    expected = ts.render.weights_from_density(density, edges)
    assert_close(torch.func.vmap(ts.render.weights_from_density)(density, edges), expected)
    jacobian = torch.func.jacrev(ts.render.weights_from_density)(density[0], edges[0])
    forward = torch.func.jacfwd(ts.render.weights_from_density)(density[0], edges[0])
    assert_close(jacobian, forward)


def test_compiles():
    """In one graph: nothing depends on the numbers."""

    def render(density, edges, values):
        return ts.render.composite(ts.render.weights_from_density(density, edges), edges, values, 1.0)

    density, edges = (x.float() for x in random_rays(3))
    values = torch.rand(3, 9, 3)
    compiled = torch.compile(render, backend="eager", fullgraph=True)
    for one, other in zip(compiled(density, edges, values), render(density, edges, values), strict=True):
        assert_close(one, other)


EDGES, DENSITY = torch.arange(4.0), torch.ones(2, 3)
WRONG = {
    "negative": (lambda: ts.render.weights_from_density(-DENSITY, EDGES), ValueError, "weights_from_density: `density`.*non-negative"),
    "nan": (lambda: ts.render.weights_from_density(DENSITY * torch.nan, EDGES), ValueError, "`density`.*nan"),
    "one nan": (
        lambda: ts.render.transmittance_from_density(torch.tensor([1.0, torch.nan, 1.0]), EDGES),
        ValueError,
        "transmittance_from_density: `density`.*nan",
    ),
    "descending": (lambda: ts.render.alpha_from_density(DENSITY, EDGES.flip(0)), ValueError, "alpha_from_density: `edges`.*ascending"),
    "as many edges": (lambda: ts.render.weights_from_density(DENSITY, DENSITY), ValueError, r"`edges`.*\(2, 4\), one more"),
    "edges of more rays": (lambda: ts.render.weights_from_density(DENSITY, EDGES.expand(3, 4)), ValueError, r"`edges`.*\(3, 4\)"),
    "integers": (lambda: ts.render.weights_from_density(DENSITY.long(), EDGES), TypeError, "`density`.*float"),
    "edges elsewhere": (lambda: ts.render.weights_from_density(DENSITY, EDGES.to("meta")), ValueError, "`edges`.*on the device of"),
    "rays elsewhere": (
        lambda: ts.render.accumulate(DENSITY[0], None, torch.zeros(3, dtype=torch.long, device="meta"), 1),
        ValueError,
        "accumulate: `ray_indices`.*on the device of",
    ),
    "values elsewhere": (lambda: ts.render.accumulate(DENSITY, torch.ones(2, 3, 3, device="meta")), ValueError, "`values`.*on the device"),
    "bytes": (lambda: ts.render.accumulate(DENSITY, torch.ones(2, 3, 3).byte()), TypeError, "accumulate: `values`.*values / 255"),
    "early_stop as text": (lambda: ts.render.visible(DENSITY, "a"), TypeError, "visible: `early_stop`.*between 0 and 1"),
    "integer edges": (lambda: ts.render.weights_from_density(DENSITY, EDGES.long()), TypeError, "`edges`.*float"),
    "list": (lambda: ts.render.weights_from_alpha([0.5]), TypeError, "`alpha`.*as_tensor"),
    "scalar": (lambda: ts.render.weights_from_alpha(torch.tensor(0.5)), ValueError, r"`alpha`.*reshape\(1\)"),
    "alpha of 2": (lambda: ts.render.weights_from_alpha(2 * DENSITY), ValueError, "weights_from_alpha: `alpha`.*between 0 and 1"),
    "alpha of nan": (lambda: ts.render.transmittance_from_alpha(DENSITY * torch.nan), ValueError, "transmittance_from_alpha: `alpha`"),
    "check": (lambda: ts.render.weights_from_alpha(DENSITY, check=None), TypeError, "`check`.*True or False"),
    "values without c": (lambda: ts.render.accumulate(DENSITY, DENSITY), ValueError, r"accumulate: `values`.*unsqueeze\(-1\)"),
    "background name": (lambda: ts.render.composite(DENSITY, EDGES, torch.ones(2, 3, 3), "white"), TypeError, "`background`.*'last'"),
    "background shape": (lambda: ts.render.composite(DENSITY, EDGES, torch.ones(2, 3, 3), (1, 1)), ValueError, "`background`.*3 numbers"),
    "early_stop": (lambda: ts.render.visible(DENSITY, 2.0), ValueError, "visible: `early_stop`.*between 0 and 1"),
    "min_alpha": (lambda: ts.render.visible(DENSITY, 0.1, -1.0), ValueError, "visible: `min_alpha`"),
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


def test_unchecked():
    """What is not looked at, is computed."""
    assert bool(ts.render.weights_from_density(DENSITY * torch.nan, EDGES, check=False).isnan().all())
    with torch.device("meta"):
        assert ts.render.weights_from_density(torch.empty(2, 3), torch.empty(4)).shape == (2, 3)
