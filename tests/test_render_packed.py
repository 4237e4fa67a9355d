"""Packed samples: the same numbers as batched ones, whatever other rays hold, and as many as there are."""

import math
import re

import pytest
import torch
from torch.testing import assert_close

import test_render_weights as weight_tests
import torchsample as ts
import torchsample.render

F64 = torch.float64
COUNTS = (3, 0, 1, 7, 0, 0, 2, 16, 17, 5, 0)
"""Samples of each ray: rays without any at the front of others, in a row, and at the end."""


def ragged(counts=COUNTS, dtype=F64, seed=0):
    """Random packed samples, touching each other within rays."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    density = 3 * torch.rand(len(owner), dtype=dtype, generator=generator) * (torch.rand(len(owner), generator=generator) < 0.8)
    end = torch.rand(len(owner), dtype=dtype, generator=generator).cumsum(0)
    edges = torch.stack([torch.cat([end.new_zeros(1), end[:-1]]), end], dim=-1)
    return density, edges, owner, len(counts)


def rows(tensor, owner, n_rays):
    return [tensor[owner == ray] for ray in range(n_rays)]


def check_density():
    density, edges, *rays = ragged()
    weights = ts.render.weights_from_density(density, edges, *rays)
    expected = [ts.render.weights_from_density(d, e) for d, e in zip(rows(density, *rays), rows(edges, *rays), strict=True)]
    assert_close(weights, torch.cat(expected), rtol=1e-13, atol=0)
    reached = ts.render.transmittance_from_density(density, edges, *rays)
    expected = [ts.render.transmittance_from_density(d, e) for d, e in zip(rows(density, *rays), rows(edges, *rays), strict=True)]
    assert_close(reached, torch.cat(expected), rtol=1e-13, atol=0)


def test_density_is_the_batched_one():
    check_density()


def check_alpha():
    density, edges, *rays = ragged()
    alpha = ts.render.alpha_from_density(density, edges)
    alpha[[5, 13, 20]] = 1
    expected = [weight_tests.loop_weights(a.tolist()) for a in rows(alpha, *rays)]
    weights, reached = ts.render.weights_from_alpha(alpha, *rays), ts.render.transmittance_from_alpha(alpha, *rays)
    assert_close(weights, torch.tensor([w for ray, _ in expected for w in ray], dtype=F64), rtol=1e-13, atol=0)
    assert_close(reached, torch.tensor([t for _, ray in expected for t in ray], dtype=F64), rtol=1e-13, atol=0)
    seen = [ts.render.visible(a, 0.3, 0.1) for a in rows(alpha, *rays)]
    assert torch.equal(ts.render.visible(alpha, 0.3, 0.1, *rays), torch.cat(seen))


def test_alpha_is_a_loop():
    check_alpha()


def check_composite(background):
    density, edges, *rays = ragged()
    weights = ts.render.weights_from_density(density, edges, *rays)
    values = torch.rand(len(density), 3, dtype=F64)
    seen = ts.render.composite(weights, edges, values, background, *rays)
    per_ray = zip(*(rows(x, *rays) for x in (weights, edges, values)), strict=True)
    each = [ts.render.composite(w, e, v, background) for w, e, v in per_ray]
    for name in ts.render.Rendering._fields:
        assert_close(getattr(seen, name), torch.stack([getattr(ray, name) for ray in each]), rtol=1e-12, atol=1e-14)
    medians = [ts.render.median_depth(*ray) for ray in zip(rows(weights, *rays), rows(edges, *rays), strict=True)]
    assert_close(ts.render.median_depth(weights, edges, *rays), torch.stack(medians), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("background", [None, 1.0, "last"])
def test_composite_is_the_batched_one(background):
    check_composite(background)


def test_a_colour_for_each_ray():
    density, edges, *rays = ragged()
    weights = ts.render.weights_from_density(density, edges, *rays)
    values, colours = torch.ones(len(density), 3, dtype=F64), torch.rand(11, 3, dtype=F64)
    seen = ts.render.composite(weights, edges, values, colours, *rays)
    assert_close(seen.colour, seen.opacity.unsqueeze(-1) + (1 - seen.opacity).unsqueeze(-1) * colours)


def test_published_numbers():
    """nerfacc's own: densities on rays 0 and 2 of three, unit steps."""
    density, owner = torch.tensor([0.4, 0.8, 0.1, 0.8, 0.1]), torch.tensor([0, 2, 2, 2, 2])
    start = torch.tensor([0.0, 0, 1, 2, 3])
    edges = torch.stack([start, start + 1], dim=-1)
    weights = ts.render.weights_from_density(density, edges, owner, 3)
    assert_close(weights, torch.tensor([0.3297, 0.5507, 0.0428, 0.2239, 0.0174]), atol=5e-5, rtol=0)
    alpha = ts.render.alpha_from_density(density, edges)
    assert_close(ts.render.weights_from_alpha(alpha, owner, 3), weights)


def test_alpha_gradients_at_0_and_1():
    weight_tests.check_alpha_gradients(torch.arange(4).repeat_interleave(4), 4)
    weight_tests.check_alpha_gradients(2 * torch.arange(4).repeat_interleave(4), 8)


def test_density_gradients():
    density, edges, *rays = ragged((2, 0, 5, 1))
    density.requires_grad_()
    edges.requires_grad_()

    def function(d, e):
        return ts.render.weights_from_density(d, e, *rays, check=False)

    assert torch.autograd.gradcheck(function, (density, edges))
    assert torch.autograd.gradgradcheck(function, (density, edges))


def test_composite_gradients():
    density, edges, *rays = ragged((2, 0, 5, 1))
    weights = ts.render.weights_from_density(density + 0.1, edges, *rays).requires_grad_()
    values = torch.rand(8, 2, dtype=F64, requires_grad=True)

    def function(w, e, v):
        return tuple(ts.render.composite(w, e, v, 1.0, *rays))

    assert torch.autograd.gradcheck(function, (weights, edges.requires_grad_(), values))
    assert torch.autograd.gradgradcheck(function, (weights, edges, values))


def test_rays_do_not_disturb_each_other():
    """Opaque, very dense and very long rays beside thin ones: sums over all rays at once would lose the digits of the others."""
    density = torch.tensor([torch.inf, 1e30, 1e-3, 2e-3, 1e38, 1e-3, 2e-3])
    owner = torch.tensor([0, 0, 1, 1, 2, 3, 3])
    edges = torch.stack([torch.zeros(7), torch.ones(7)], dim=-1)
    for check in (True, False):
        weights = ts.render.weights_from_density(density, edges, owner, 4, check)
        alone = ts.render.weights_from_density(density[2:4], edges[2:4])
        assert torch.equal(weights[2:4], alone)
        assert torch.equal(weights[5:], alone)
        assert weights[[0, 1, 4]].tolist() == [1, 0, 1]


def check_many(n, longest):
    """Float32 against closed forms in float64; every ray of another density, so that a sample of another ray would show."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, longest + 1, (2 * n // longest,), generator=generator)
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    position = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    sigma = torch.rand(len(counts), generator=generator) / 8
    density = sigma[owner]
    weights = ts.render.weights_from_density(density, torch.tensor([[0.0, 1.0]]).expand(len(owner), 2), owner, len(counts))
    thickness = density.double() * position
    exact = torch.exp(-thickness) * -torch.expm1(-density.double())
    error = ((weights - exact).abs() / (exact * (1 + thickness)).clamp(min=1e-30)).max().item()
    assert error < 3e-7, error
    opacity = ts.render.accumulate(weights, None, owner, len(counts)).double()
    assert_close(opacity, -torch.expm1(-sigma.double() * counts), rtol=0, atol=2e-6)
    return len(owner)


@pytest.mark.slow
def test_ten_million_samples():
    """A global sum in float32 would be wrong by hundredths here."""
    assert check_many(10_000_000, 64) > 9_900_000


def check_sum_of_a_long_ray():
    """Added one by one in float32, weights of 1 in all would come to 1.06."""
    n, owner = 10_000_000, torch.zeros(10_000_000, dtype=torch.long)
    weights, edges = torch.full((n,), 1 / n), torch.linspace(0, 1, n + 1, dtype=F64).float().unfold(0, 2, 1)
    seen = ts.render.composite(weights, edges, torch.full((n, 1), 0.5), None, owner, 1)
    assert_close(seen.opacity, torch.tensor([1.0]), rtol=1e-6, atol=0)
    assert_close(seen.colour, torch.tensor([[0.5]]), rtol=1e-6, atol=0)
    assert_close(seen.depth, torch.tensor([0.5]), rtol=1e-6, atol=0)
    assert_close(ts.render.median_depth(weights, edges, owner, 1), torch.tensor([0.5]), rtol=1e-6, atol=0)


@pytest.mark.slow
def test_ten_million_samples_of_one_ray():
    check_sum_of_a_long_ray()


@pytest.mark.parametrize("longest", [1, 2, 3, 4, 5, 8, 9, 1000])
def test_many_samples_of_every_length(longest):
    check_many(20_000, longest)


def test_one_long_ray():
    """Each step rounds a product to half a unit of its last place."""
    alpha = torch.rand(100_000, generator=torch.Generator().manual_seed(1)) / 20_000
    owner = torch.zeros(len(alpha), dtype=torch.int32)
    exact = torch.cat([torch.ones(1, dtype=F64), (1 - alpha.double()).cumprod(0)[:-1]])
    reached = ts.render.transmittance_from_alpha(alpha, owner, 1).double()
    assert_close(reached[:1000], exact[:1000], rtol=5e-6, atol=0)
    assert_close(reached, exact, rtol=5e-4, atol=0)
    assert_close(ts.render.transmittance_from_alpha(alpha.double(), owner, 1), exact, rtol=1e-11, atol=0)


def test_no_samples_at_all():
    nothing, owner = torch.zeros(0, requires_grad=True), torch.zeros(0, dtype=torch.long)
    weights = ts.render.weights_from_density(nothing, torch.zeros(0, 2), owner, 3)
    assert ts.render.weights_from_alpha(nothing, owner, 3).shape == weights.shape == (0,)
    for background in (1.0, "last"):
        seen = ts.render.composite(weights, torch.zeros(0, 2), torch.zeros(0, 3), background, owner, 3)
        assert seen.colour.tolist() == [[float(background == 1.0)] * 3] * 3
        median = ts.render.median_depth(weights, torch.zeros(0, 2), owner, 3)
        assert seen.depth.tolist() == median.tolist() == seen.opacity.tolist() == [0, 0, 0]
    assert ts.render.distortion_loss(torch.zeros(0, 2), weights, owner, 3).tolist() == [0, 0, 0]
    seen.depth.sum().backward()


def test_int32():
    density, edges, owner, n_rays = ragged()
    assert torch.equal(
        ts.render.weights_from_density(density, edges, owner.int(), n_rays), ts.render.weights_from_density(density, edges, owner, n_rays)
    )


def test_compiles():
    """In one graph, although how many samples the longest ray has is unknown."""

    def render(density, edges, owner, values):
        weights = ts.render.weights_from_density(density, edges, owner, 11)
        return ts.render.composite(weights, edges, values, 1.0, owner, 11)

    density, edges, owner, _ = ragged()
    values = torch.rand(len(owner), 3, dtype=F64)
    compiled = torch.compile(render, backend="eager", fullgraph=True)
    for one, other in zip(compiled(density, edges, owner, values), render(density, edges, owner, values), strict=True):
        assert_close(one, other)


def check_pack(shape):
    mask = torch.rand(*shape, 6, generator=torch.Generator().manual_seed(3)) < 0.4
    edges = torch.rand(*shape, 7).cumsum(-1)
    samples = ts.render.pack(mask, edges)
    expected = [
        (ray, edges.reshape(-1, 7)[ray, i].item(), edges.reshape(-1, 7)[ray, i + 1].item())
        for ray, row in enumerate(mask.reshape(-1, 6).tolist())
        for i, kept in enumerate(row)
        if kept
    ]
    got = zip(samples.ray_indices.tolist(), *samples.edges.T.tolist(), strict=True)
    assert list(got) == expected
    assert samples.n_rays == math.prod(shape)
    pairs = torch.stack([edges[..., :-1], edges[..., 1:]], dim=-1)
    assert torch.equal(ts.render.pack(mask, pairs).edges, samples.edges)


@pytest.mark.parametrize("shape", [(5,), (), (2, 3)])
def test_pack(shape):
    check_pack(shape)


def check_unpack():
    density, edges, owner, n_rays = ragged()
    for values in (density, edges, owner):
        padded, mask = ts.render.unpack(values, owner, n_rays, fill=-1)
        assert padded.shape == (n_rays, 17, *values.shape[1:])
        assert mask.sum(-1).tolist() == list(COUNTS)
        assert torch.equal(padded[mask], values)
        assert bool((padded[~mask] == -1).all())
        assert [row[: len(one)].tolist() for row, one in zip(padded, rows(values, owner, n_rays), strict=True)] == [
            one.tolist() for one in rows(values, owner, n_rays)
        ]


def test_unpack():
    check_unpack()


def test_packed_and_back():
    """What early stopping leaves out changes nothing that is seen."""
    density, edges = weight_tests.random_rays(40, n=30)
    weights, values = ts.render.weights_from_density(density, edges), torch.rand(40, 30, 3, dtype=F64)
    mask = ts.render.visible(ts.render.alpha_from_density(density, edges), 1e-9, 1e-12)
    samples = ts.render.pack(mask, edges)
    assert len(samples.edges) < mask.numel() * 0.8
    packed = ts.render.weights_from_density(density[mask], *samples)
    assert_close(packed, weights[mask])
    one = ts.render.composite(weights, edges, values, 1.0)
    other = ts.render.composite(packed, samples.edges, values[mask], 1.0, *samples[1:])
    for a, b in zip(one, other, strict=True):
        assert_close(a, b, rtol=1e-6, atol=1e-8)
    padded, filled = ts.render.unpack(samples.edges, *samples[1:])
    again = ts.render.weights_from_density(ts.render.unpack(density[mask], *samples[1:])[0], padded)
    assert_close(again[filled], packed)


OWNER = torch.tensor([0, 1, 1])
FULL, PAIRS = torch.ones(3), torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 2.0]])
WRONG = {
    "unsorted": (lambda: ts.render.weights_from_density(FULL, PAIRS, OWNER.flip(0), 2), ValueError, "`ray_indices`.*ascending.*argsort"),
    "too few rays": (lambda: ts.render.accumulate(FULL, None, OWNER, 1), ValueError, "accumulate: `ray_indices`.*n_rays - 1 = 0"),
    "ray -1": (lambda: ts.render.accumulate(FULL, None, OWNER - 1, 2), ValueError, "from -1 to 0"),
    "float": (lambda: ts.render.weights_from_alpha(FULL, FULL, 2), TypeError, r"`ray_indices`.*long\(\)"),
    "list": (lambda: ts.render.weights_from_alpha(FULL, [0, 0, 0], 2), TypeError, "`ray_indices`.*as_tensor"),
    "no n_rays": (lambda: ts.render.weights_from_alpha(FULL, OWNER), ValueError, "`n_rays`.*go together"),
    "no ray_indices": (lambda: ts.render.weights_from_alpha(FULL, None, 3), ValueError, "`ray_indices`.*go together"),
    "n_rays 2.0": (lambda: ts.render.weights_from_alpha(FULL, OWNER, 2.0), TypeError, "`n_rays`.*int"),
    "two dimensions": (lambda: ts.render.weights_from_alpha(FULL[None], OWNER[None], 2), ValueError, r"`ray_indices`.*\(all,\)"),
    "short": (lambda: ts.render.weights_from_alpha(FULL[:2], OWNER, 2), ValueError, r"`alpha`.*\(3,\)"),
    "last dimension": (lambda: ts.render.weights_from_alpha(FULL[:, None], OWNER, 2), ValueError, "`alpha`.*Squeeze"),
    "edges in a chain": (lambda: ts.render.weights_from_density(FULL, torch.arange(4.0), OWNER, 2), ValueError, r"`edges`.*\(3, 2\)"),
    "values": (lambda: ts.render.accumulate(FULL, torch.ones(4, 3), OWNER, 2), ValueError, r"`values`.*\(3, c\)"),
    "float mask": (lambda: ts.render.pack(FULL, PAIRS), TypeError, "pack: `mask`.*bool"),
    "scalar mask": (lambda: ts.render.pack(torch.tensor(True), PAIRS), ValueError, "pack: `mask`"),
    "pack edges": (lambda: ts.render.pack(FULL > 0, FULL), ValueError, "pack: `edges`"),
    "unpack": (lambda: ts.render.unpack(FULL[:2], OWNER, 2), ValueError, "unpack: `values`.*same mask"),
    "unpack unsorted": (lambda: ts.render.unpack(FULL, OWNER.flip(0), 2), ValueError, "unpack: `ray_indices`"),
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
