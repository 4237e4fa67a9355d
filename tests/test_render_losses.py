"""The losses of mip-NeRF 360 against their definitions as loops over all pairs."""

import itertools
import re

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
import torchsample.render
from test_render_packed import ragged, rows

F64 = torch.float64


def loop_distortion(spans, weights):
    middle = [(a + b) / 2 for a, b in spans]
    pairs = sum(w * v * abs(m - k) for w, m in zip(weights, middle, strict=True) for v, k in zip(weights, middle, strict=True))
    return pairs + sum(w * w * (b - a) / 3 for w, (a, b) in zip(weights, spans, strict=True))


def loop_interlevel(edges, weights, outer_edges, outer_weights):
    total = 0.0
    for w, (a, b) in zip(weights, itertools.pairwise(edges), strict=True):
        bound = sum(v for v, (c, d) in zip(outer_weights, itertools.pairwise(outer_edges), strict=True) if max(a, c) < min(b, d))
        total += max(0, w - bound) ** 2 / w if w else 0
    return total


def histogram(*shape, n, seed=0, opacity=1.0):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.rand(*shape, n + 1, dtype=F64, generator=generator).cumsum(-1)
    edges = (edges - edges[..., :1]) / (edges[..., -1:] - edges[..., :1])
    weights = torch.rand(*shape, n, dtype=F64, generator=generator) ** 3
    return edges, opacity * weights / weights.sum(-1, keepdim=True)


def check_distortion(shape):
    edges, weights = histogram(*shape, n=12)
    loss = ts.render.distortion_loss(edges, weights)
    flat = zip(edges.reshape(-1, 13).tolist(), weights.reshape(-1, 12).tolist(), strict=True)
    expected = [loop_distortion(list(itertools.pairwise(e)), w) for e, w in flat]
    assert_close(loss, torch.tensor(expected, dtype=F64).reshape(shape), rtol=1e-13, atol=0)


@pytest.mark.parametrize("shape", [(4,), (), (2, 3)])
def test_distortion(shape):
    check_distortion(shape)


def check_packed_distortion():
    density, edges, *rays = ragged()
    edges = edges + torch.tensor([0.0, 1e-2])  # samples of a grid may have gaps, or overlap a little
    weights = ts.render.weights_from_density(density, edges, *rays)
    loss = ts.render.distortion_loss(edges, weights, *rays)
    per_ray = zip(rows(edges, *rays), rows(weights, *rays), strict=True)
    assert_close(loss, torch.tensor([loop_distortion(e.tolist(), w.tolist()) for e, w in per_ray], dtype=F64), rtol=1e-12, atol=0)


def test_packed_distortion():
    check_packed_distortion()


def test_distortion_does_not_depend_on_where():
    """Differences of sums over middles would leave no digit of a loss far from the origin."""
    edges, weights = histogram(50, n=64)
    edges = torch.linspace(0, 1, 65).round(decimals=3)  # also exact in float32 far away, to 1e-4
    near = ts.render.distortion_loss(edges, weights.float())
    far = ts.render.distortion_loss(edges.double().mul(1024).round().div(1024).float() + 1024, weights.float())
    exact = ts.render.distortion_loss(edges.double().mul(1024).round().div(1024), weights)
    assert_close(far.double(), exact, rtol=1e-5, atol=0)
    assert_close(near, far, rtol=1e-2, atol=0)
    assert bool((ts.render.distortion_loss(edges, torch.eye(64)) >= 0).all())


def test_distortion_gradients():
    edges, weights = histogram(2, n=5)
    arguments = (edges.requires_grad_(), weights.requires_grad_())
    assert torch.autograd.gradcheck(ts.render.distortion_loss, arguments)
    assert torch.autograd.gradgradcheck(ts.render.distortion_loss, arguments)


def test_packed_distortion_gradients():
    density, edges, *rays = ragged((2, 0, 5))
    arguments = (edges.requires_grad_(), density.requires_grad_())
    assert torch.autograd.gradcheck(lambda e, w: ts.render.distortion_loss(e, w, *rays), arguments)
    assert torch.autograd.gradgradcheck(lambda e, w: ts.render.distortion_loss(e, w, *rays), arguments)


def check_interlevel(shape):
    """Edges in common, too: intervals that touch do not overlap."""
    edges, weights = histogram(*shape, n=12)
    outer_edges, outer_weights = histogram(*shape, n=7, seed=1, opacity=0.6)
    outer_edges[..., 2:5] = edges[..., [3, 6, 7]]
    outer_edges = outer_edges.sort(-1).values
    weights[..., 4] = 0
    loss = ts.render.interlevel_loss(edges, weights, outer_edges, outer_weights)
    flat = [x.reshape(-1, x.shape[-1]).tolist() for x in (edges, weights, outer_edges, outer_weights)]
    expected = torch.tensor([loop_interlevel(*ray) for ray in zip(*flat, strict=True)], dtype=F64)
    assert bool((expected > 1e-3).any())
    assert_close(loss, expected.reshape(shape), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("shape", [(20,), (), (2, 10)])
def test_interlevel(shape):
    check_interlevel(shape)


def check_interlevel_outside():
    """A proposal beside an interval, or merely touching it, covers nothing of it; a point lies in one proposal, or in none."""
    one, proposal = torch.ones(1, dtype=F64), torch.tensor([2.0, 3.0], dtype=F64)
    beside, overlapping = [(0, 1), (4, 5), (1, 2), (3, 4), (3, 3), (1, 1)], [(1, 2.1), (2.9, 4), (0, 9), (2, 2), (2.5, 2.5)]
    for ends in (*beside, *overlapping):
        loss = ts.render.interlevel_loss(torch.tensor(ends, dtype=F64), one, proposal, one)
        assert loss.item() == float(ends in beside), ends


def test_interlevel_outside():
    check_interlevel_outside()


@pytest.mark.parametrize("seed", range(50))
def test_interlevel_anywhere(seed):
    generator = torch.Generator().manual_seed(seed)
    edges, outer_edges = (torch.randint(0, 12, (n,), generator=generator).double().sort().values for n in (8, 5))
    edges, outer_edges = edges.unique(), outer_edges.unique() + 0.5 * (seed % 2)
    if min(len(edges), len(outer_edges)) < 2:
        edges, outer_edges = torch.tensor([0.0, 1.0], dtype=F64), torch.tensor([0.5, 2.0], dtype=F64)
    weights, outer_weights = (torch.rand(len(e) - 1, dtype=F64, generator=generator) for e in (edges, outer_edges))
    expected = loop_interlevel(*(x.tolist() for x in (edges, weights, outer_edges, outer_weights)))
    assert ts.render.interlevel_loss(edges, weights, outer_edges, outer_weights).item() == pytest.approx(expected, rel=1e-12)


def test_interlevel_of_edges_in_two_precisions():
    edges, outer_edges = torch.tensor([0.0, 0.5, 1.0]).half(), torch.tensor([0.0, 0.50001, 1.0])
    weights, outer_weights = torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.1])
    # The second interval reaches a bit of the first proposal.
    assert_close(ts.render.interlevel_loss(edges, weights, outer_edges, outer_weights), torch.tensor(0.32 + 0.18))


def check_distortion_of_long_steps():
    """Nothing lies in the last, endless-looking sample: what is left of a difference of sums would be multiplied by its length."""
    weights = torch.cat([torch.rand(20, 64, generator=torch.Generator().manual_seed(3)).softmax(-1), torch.zeros(20, 1)], dim=-1)
    edges = torch.cat([torch.linspace(2, 3, 65), torch.tensor([1e6])])
    exact = ts.render.distortion_loss(edges.double(), weights.double())
    assert_close(ts.render.distortion_loss(edges, weights).double(), exact, rtol=1e-5, atol=0)
    owner, spans = torch.arange(20).repeat_interleave(65), edges.unfold(0, 2, 1).repeat(20, 1)
    assert_close(ts.render.distortion_loss(spans, weights.flatten(), owner, 20).double(), exact, rtol=1e-5, atol=0)


def test_distortion_of_long_steps():
    check_distortion_of_long_steps()


def test_interlevel_of_a_covering_proposal_is_zero():
    edges, weights = histogram(30, n=12)
    assert_close(ts.render.interlevel_loss(edges, weights, edges, weights), torch.zeros(30, dtype=F64), rtol=0, atol=1e-20)
    coarse = weights.unflatten(-1, (4, 3)).sum(-1)
    assert_close(ts.render.interlevel_loss(edges, weights, edges[:, ::3], coarse), torch.zeros(30, dtype=F64), rtol=0, atol=1e-20)
    outside = torch.linspace(2, 3, 5, dtype=F64)
    uncovered = ts.render.interlevel_loss(edges, weights, outside, torch.zeros(30, 4, dtype=F64))
    assert_close(uncovered, weights.sum(-1))


def test_interlevel_teaches_the_proposal_only():
    edges, weights = histogram(3, n=12)
    outer_edges, outer_weights = histogram(3, n=4, seed=1, opacity=0.3)
    arguments = [x.clone().requires_grad_() for x in (edges, weights, outer_edges, outer_weights)]
    gradients = torch.autograd.grad(ts.render.interlevel_loss(*arguments).sum(), arguments, allow_unused=True)
    assert gradients[:3] == (None, None, None)
    assert bool((gradients[3] <= 0).all())
    assert bool((gradients[3] < 0).any())
    assert torch.autograd.gradcheck(lambda v: ts.render.interlevel_loss(edges, weights, outer_edges, v), arguments[3])


def test_interlevel_of_nothing():
    """Weights of 0 are divided by, in the formula."""
    edges, weights = torch.linspace(0, 1, 5), torch.tensor([0.0, 1e-45, 1e-38, 0.0])
    proposal = torch.zeros(2, requires_grad=True)
    loss = ts.render.interlevel_loss(edges, weights, torch.linspace(0, 1, 3), proposal)
    assert 0 <= loss < 1e-37
    assert bool(torch.autograd.grad(loss, proposal)[0].isfinite().all())


def test_intervals_without_extent():
    edges = torch.tensor([0.0, 0.25, 0.25, 0.5, 0.5, 1.0])
    weights, outer = torch.full((5,), 0.2), torch.tensor([0.0, 0.5, 1.0])
    assert_close(ts.render.interlevel_loss(edges, weights, outer, torch.tensor([0.5, 0.2])), torch.tensor(0.0))


EDGES, WEIGHTS = torch.linspace(0, 1, 5), torch.ones(2, 4)
WRONG = {
    "distortion, edges": (lambda: ts.render.distortion_loss(EDGES[1:], WEIGHTS), ValueError, "distortion_loss: `edges`"),
    "distortion, weights": (lambda: ts.render.distortion_loss(EDGES, WEIGHTS.long()), TypeError, "distortion_loss: `weights`"),
    "interlevel, edges": (lambda: ts.render.interlevel_loss(EDGES[1:], WEIGHTS, EDGES, WEIGHTS), ValueError, "interlevel_loss: `edges`"),
    "interlevel, pairs": (
        lambda: ts.render.interlevel_loss(torch.ones(2, 4, 2), WEIGHTS, EDGES, WEIGHTS),
        ValueError,
        r"interlevel_loss: `edges`.*n \+ 1",
    ),
    "interlevel, outer": (lambda: ts.render.interlevel_loss(EDGES, WEIGHTS, EDGES[1:], WEIGHTS), ValueError, "edges"),
    "interlevel, rays": (
        lambda: ts.render.interlevel_loss(EDGES.expand(2, 5), WEIGHTS, EDGES, WEIGHTS[0]),
        ValueError,
        "`outer_weights`.*same rays",
    ),
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
