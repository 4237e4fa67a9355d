"""Distances along rays: bodies against a search in NumPy, spacings and contraction against their formulas, derivatives everywhere."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import torchsample as ts
from torchsample import ray

AHEAD = torch.tensor([0.0, 0.0, -1.0])


def random_rays(*shape, dtype=torch.float64):
    return torch.randn(*shape, 3, dtype=dtype) * 2, torch.randn(*shape, 3, dtype=dtype)


def first_and_last_inside(origin, direction, inside, reach=40.0, n=40_000):
    """Distances of a ray at which it is in a body, found by walking along it."""
    t = np.linspace(0, reach, n + 1)
    within = inside(origin + t[:, None] * direction)
    return (t[within][0], t[within][-1]) if within.sum() > 2 else (None, None)


def check_walk(hits, origins, directions, inside):
    """Hits agree with a walk along each ray, to its step; what it sees only for a step or two may be either."""
    n_hits = 0
    for near, far, hit, origin, direction in zip(*(part.numpy() for part in (*hits, origins, directions)), strict=True):
        first, last = first_and_last_inside(origin, direction, inside)
        n_hits += hit
        if first is None:
            assert far - near < 4e-3
            assert hit or near == far == 0
        else:
            assert hit
            assert abs(near - first) < 2e-3
            assert abs(far - last) < 2e-3
    assert 10 < n_hits < len(origins) - 10


def check_box():
    origins, directions = random_rays(60)
    low, high = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([1.5, 1.0, 2.0])
    hits = ray.intersect_box(origins, directions, low, high)
    check_walk(hits, origins, directions, lambda points: ((points >= low.numpy()) & (points <= high.numpy())).all(-1))


def check_sphere():
    origins, directions = random_rays(60)
    centre = torch.tensor([0.5, -0.2, 0.1])
    hits = ray.intersect_sphere(origins, directions, centre, 1.6)
    check_walk(hits, origins, directions, lambda points: np.linalg.norm(points - centre.numpy(), axis=-1) <= 1.6)


def check_oriented_box():
    origins, directions = random_rays(60)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    turn = turn * torch.linalg.det(turn).sign()
    middle, half = torch.tensor([0.3, 0.2, -0.1], dtype=torch.float64), torch.tensor([1.0, 2.0, 0.7], dtype=torch.float64)
    pose = torch.cat([turn, middle.unsqueeze(-1)], dim=-1)
    hits = ray.intersect_oriented_box(origins, directions, pose, half)
    check_walk(hits, origins, directions, lambda points: (np.abs((points - middle.numpy()) @ turn.numpy()) <= half.numpy() + 1e-9).all(-1))


class TestIntersections:
    def test_box(self):
        check_box()

    def test_sphere(self):
        check_sphere()

    def test_oriented_box(self):
        check_oriented_box()

    def check_on_a_slab(self):
        """Parallel to the axes, in every face and beside it: the closed box holds its faces, where 0 / 0 would be NaN."""
        for axis, (one, two) in itertools.product(range(3), itertools.product([-1.0, -0.3, 1.0, 1.01, -1.01], repeat=2)):
            origin, direction = torch.zeros(3), torch.zeros(3)
            others = [other for other in range(3) if other != axis]
            origin[axis], origin[others[0]], origin[others[1]], direction[axis] = -3.0, one, two, 2.0
            for sign in (1.0, -1.0):
                for zero in (0.0, -0.0):
                    moving = direction * sign
                    moving[others] = zero
                    hits = ray.intersect_box(origin * sign, moving, -1.0, 1.0)
                    inside = abs(one) <= 1 and abs(two) <= 1
                    assert [*map(float, hits)] == ([1.0, 2.0, 1.0] if inside else [0.0, 0.0, 0.0])

    def test_axis_parallel_rays_in_a_face(self):
        self.check_on_a_slab()

    def test_inside_behind_and_touching(self):
        origins = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -3.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
        for hits in (ray.intersect_box(origins, AHEAD, -1.0, 1.0), ray.intersect_sphere(origins, AHEAD, 0.0, 1.0)):
            assert hits.hit.tolist() == [True, False, False, True]
            assert hits.near.tolist() == [0.0, 0.0, 0.0, 0.0]
            assert hits.far.tolist() == [1.0, 0.0, 0.0, 2.0]
        corner = ray.intersect_box(torch.tensor([-2.0, 0.0]), torch.tensor([1.0, 1.0]), -1.0, 1.0)
        assert not corner.hit
        tangent = ray.intersect_sphere(torch.tensor([1.0, 0.0, 2.0]), AHEAD, 0.0, 1.0)
        assert not tangent.hit
        for hits in (ray.intersect_box(origins, torch.zeros(3), -1.0, 1.0), ray.intersect_sphere(origins, torch.zeros(3), 0.0, 1.0)):
            assert not hits.hit.any()

    def test_distances_are_in_lengths_of_the_direction(self):
        origins, directions = random_rays(50)
        for body in (lambda o, d: ray.intersect_box(o, d, -1.0, 1.0), lambda o, d: ray.intersect_sphere(o, d, 0.0, 1.0)):
            once, thrice = body(origins, directions), body(origins, 3 * directions)
            assert_close(thrice.near * 3, once.near)
            assert_close(thrice.far * 3, once.far)
            assert torch.equal(thrice.hit, once.hit)

    def test_a_small_sphere_far_away(self):
        """Where b^2 - 4ac is the difference of two numbers of 1e8, float32 has nothing left of it."""
        hits = ray.intersect_sphere(torch.tensor([0.005, 0.0, 10_000.0]), AHEAD, 0.0, 0.01)
        assert hits.hit
        closed = ray.intersect_sphere(torch.tensor([0.005, 0.0, 0.0]), AHEAD, (0.0, 0.0, -1.0), 0.01)
        assert_close(closed.far - closed.near, torch.tensor(2 * math.sqrt(0.01**2 - 0.005**2)), rtol=1e-3, atol=0)

    def check_gradients_are_finite(self):
        """Everywhere: for misses, in a face, at the corner, on the surface, for components that are 0 or nearly so."""
        for direction in ([0.0, 0.0, -1.0], [1e-30, 0.0, -1.0], [1e-42, -1e-12, -1.0], [0.0, 0.0, 0.0]):
            for x in (0.0, 1.0, -1.0, 1.0000001, 2.0):
                for z in (3.0, 1.0, 0.0, -1.0, -3.0):
                    origins = torch.tensor([x, 0.5, z], requires_grad=True)
                    directions = torch.tensor(direction, requires_grad=True)
                    corners = torch.full((3,), -1.0, requires_grad=True), torch.full((3,), 1.0, requires_grad=True)
                    centre, radius = torch.zeros(3, requires_grad=True), torch.tensor(1.0, requires_grad=True)
                    box = ray.intersect_box(origins, directions, *corners)
                    sphere = ray.intersect_sphere(origins, directions, centre, radius)
                    grads = torch.autograd.grad(sum([*box[:2], *sphere[:2]]), (origins, directions, *corners, centre, radius))
                    assert all(grad.isfinite().all() for grad in grads), (direction, x, z)

    def test_gradients_are_finite(self):
        self.check_gradients_are_finite()

    def test_gradients(self):
        origins, directions = (part.requires_grad_() for part in random_rays(12))
        sides = torch.tensor([1.0, 1.2, 0.9], dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda o, d, s: ray.intersect_box(o, d, -s, s)[:2], (origins, directions, sides))
        assert gradcheck(lambda o, d, s: ray.intersect_sphere(o, d, s - 1, s[0])[:2], (origins, directions, sides))
        assert gradcheck(lambda o, d, s: ray.intersect_oriented_box(o, d, torch.eye(4), s)[:2], (origins, directions, sides))

    def test_bodies_per_batch(self):
        origins, directions = random_rays(2, 7)
        low = torch.tensor([[-1.0, -1.0, -1.0], [-3.0, -2.0, -1.0]])
        centre, radius = torch.randn(2, 3), torch.tensor([1.0, 2.0])
        pose = torch.eye(4).repeat(2, 1, 1)
        pose[1, :3, 3] = 1.0
        box, sphere = ray.intersect_box(origins, directions, low, 1.0), ray.intersect_sphere(origins, directions, centre, radius)
        oriented = ray.intersect_oriented_box(origins, directions, pose, (1.0, 2.0, 1.0))
        for i in range(2):
            one = origins[i], directions[i]
            for together, alone in zip(box, ray.intersect_box(*one, low[i], 1.0), strict=True):
                assert_close(together[i], alone)
            for together, alone in zip(sphere, ray.intersect_sphere(*one, centre[i], radius[i]), strict=True):
                assert_close(together[i], alone)
            for together, alone in zip(oriented, ray.intersect_oriented_box(*one, pose[i], torch.tensor([1.0, 2.0, 1.0])), strict=True):
                assert_close(together[i], alone)
        assert ray.intersect_box(origins, directions[0, 0], -1.0, 1.0).hit.shape == (2, 7)
        assert ray.intersect_box(origins.half(), directions.half(), -1.0, 1.0).near.dtype == torch.float32


FORMULAS = {
    "linear": (lambda x: x, lambda s: s),
    "disparity": (lambda x: 1 / x, lambda s: 1 / s),
    "log": (math.log, math.exp),
    "sqrt": (math.sqrt, lambda s: s * s),
    "piecewise": (lambda x: x / 2 if x < 1 else 1 - 1 / (2 * x), lambda s: 2 * s if s < 0.5 else 1 / (2 - 2 * s)),
}
SPACING = pytest.mark.parametrize("spacing", FORMULAS)


def check_spacing(spacing, n=9):
    """Against the formula, one edge at a time."""
    forward, inverse = FORMULAS[spacing]
    near, far = torch.tensor([0.1, 0.6, 2.0], dtype=torch.float64), torch.tensor([0.7, 30.0, 6.0], dtype=torch.float64)
    edges = ray.intervals(near, far, n, spacing)
    assert edges.shape == (3, n + 1)
    for a, b, row in zip(near.tolist(), far.tolist(), edges.tolist(), strict=True):
        for i, edge in enumerate(row):
            assert edge == pytest.approx(inverse(forward(a) + i / n * (forward(b) - forward(a))), rel=1e-12)


class TestIntervals:
    @SPACING
    def test_spacing(self, spacing):
        check_spacing(spacing)

    def test_your_own_spacing(self):
        edges = ray.intervals(1.0, 2.0, 4, spacing=(lambda x: x**3, lambda s: s ** (1 / 3)))
        assert_close(edges, torch.linspace(1, 8, 5) ** (1 / 3))

    @SPACING
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_ends_are_exact(self, spacing, dtype):
        near = torch.rand(500, dtype=dtype) + 0.05
        far = near + torch.rand(500, dtype=dtype) * 100 + 0.01
        edges = ray.intervals(near, far, 33, spacing)
        assert edges.dtype == dtype
        assert torch.equal(edges[:, 0], near)
        assert torch.equal(edges[:, -1], far)
        assert (edges.diff() > 0).all()

    def check_strata(self, spacing="linear", jitter="sample"):
        """Jittered edges stay in strata that reach to the middles of the intervals, and fill them."""
        n, rays = 5, 4000
        near, far = 0.5, 8.0
        forward, _ = FORMULAS[spacing]
        edges = ray.intervals(torch.full((rays,), near, dtype=torch.float64), far, n, spacing, jitter)
        assert (edges.diff() >= 0).all()
        assert edges.min() >= near
        assert edges.max() <= far
        s = np.vectorize(forward)(edges.numpy())
        s = (s - forward(near)) / (forward(far) - forward(near)) * n
        for i in range(n + 1):
            low, high = max(i - 0.5, 0), min(i + 0.5, n)
            part = (s[:, i] - low) / (high - low)
            assert -1e-9 < part.min() < 0.01
            assert 0.99 < part.max() < 1 + 1e-9
            assert abs(part.mean() - 0.5) < 0.02
        correlation = np.corrcoef(s[:, 1], s[:, 2])[0, 1]
        assert correlation > 0.999 if jitter == "ray" else abs(correlation) < 0.1

    @SPACING
    @pytest.mark.parametrize("jitter", ["sample", "ray"])
    def test_strata(self, spacing, jitter):
        self.check_strata(spacing, jitter)

    def test_generator(self):
        def draw(seed):
            return ray.intervals(torch.ones(3), 2.0, 4, jitter="sample", generator=torch.Generator().manual_seed(seed))

        assert torch.equal(draw(1), draw(1))
        assert not torch.equal(draw(1), draw(2))

    def test_from_zero_and_to_infinity(self):
        """multinerf tests near = 0, where a root has no derivative and a logarithm no value."""
        for spacing in ("linear", "sqrt", "piecewise"):
            far = torch.tensor(4.0, requires_grad=True)
            edges = ray.intervals(0.0, far, 8, spacing)
            assert edges[0] == 0
            assert torch.autograd.grad(edges.sum(), far)[0].isfinite()
        near = torch.zeros(3, requires_grad=True)
        assert torch.autograd.grad(ray.intervals(near, 4.0, 8, "piecewise").sum(), near)[0].isfinite().all()
        for spacing in ("disparity", "piecewise"):
            near = torch.tensor(0.5, requires_grad=True)
            edges = ray.intervals(near, math.inf, 8, spacing)
            assert edges[-1] == math.inf
            assert edges[:-1].isfinite().all()
            assert torch.autograd.grad(edges[:-1].sum(), near)[0].isfinite()

    @SPACING
    def test_gradients(self, spacing):
        near = (torch.rand(4, dtype=torch.float64) + 0.3).requires_grad_()
        far = (torch.rand(4, dtype=torch.float64) + 3).requires_grad_()
        assert gradcheck(lambda a, b: ray.intervals(a, b, 5, spacing), (near, far))
        assert gradgradcheck(lambda a, b: ray.intervals(a, b, 5, spacing), (near, far))

    def test_shapes_and_dtypes(self):
        assert ray.intervals(0, 1, 1).tolist() == [0.0, 1.0]
        assert ray.intervals(torch.zeros(2, 1), torch.ones(3), 4).shape == (2, 3, 5)
        assert ray.intervals(torch.zeros(2).half(), 1.0, 4, jitter="ray").dtype == torch.float32
        assert ray.intervals(0.0, torch.ones(0, 3), 4).shape == (0, 3, 5)

    def test_midpoints(self):
        edges = torch.rand(2, 3, 6, dtype=torch.float64).cumsum(-1).requires_grad_()
        assert_close(ray.midpoints(edges), torch.stack([(edges[..., i] + edges[..., i + 1]) / 2 for i in range(5)], dim=-1))
        assert gradcheck(ray.midpoints, (edges,))


def contracted(x, norm):
    """The formula of Mip-NeRF 360, of one point in NumPy."""
    length = np.linalg.norm(x, ord=2 if norm == "l2" else np.inf)
    return x if length <= 1 else (2 - 1 / length) * x / length


NORM = pytest.mark.parametrize("norm", ["l2", "linf"])


def check_contract(norm):
    points = torch.randn(200, 3, dtype=torch.float64) * torch.logspace(-3, 3, 200, dtype=torch.float64).unsqueeze(-1)
    wanted = np.array([contracted(point, norm) for point in points.numpy()])
    np.testing.assert_allclose(ray.contract(points, norm).numpy(), wanted, rtol=1e-12)
    assert_close(ray.uncontract(ray.contract(points, norm), norm), points)


class TestContraction:
    @NORM
    def test_values_and_inverse(self, norm):
        check_contract(norm)

    @NORM
    def test_float32_and_extremes(self, norm):
        x = torch.tensor([[0.0, 0.0, 0.0], [1e30, -1e30, 0.0], [3e38, 0.0, 0.0], [1e-38, 0.0, 0.0]])
        z = ray.contract(x, norm)
        assert z.isfinite().all()
        limit = 2.0 if norm == "linf" else math.sqrt(2)
        assert_close(z[1], torch.tensor([limit, -limit, 0.0]))
        assert_close(z[2], torch.tensor([2.0, 0.0, 0.0]))
        assert torch.equal(z[3], x[3])
        assert ray.contract(x.bfloat16(), norm).dtype == torch.bfloat16
        assert ray.uncontract(torch.tensor([2.0, 0.0]), norm)[0] == math.inf
        assert ray.uncontract(torch.tensor([2.1, 0.0]), norm).isnan().all()

    def check_at_zero_and_one(self, norm="l2"):
        """nerfstudio's contraction has NaN gradients at 0 (`torch.where` over a division); ours has two finite derivatives everywhere."""
        root = math.sqrt(0.5)
        for point in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [root, root, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.5], [2.0, 0.0, 0.0]):
            for function in (ray.contract, ray.uncontract) if point[0] < 2 else (ray.contract,):
                x = torch.tensor(point, dtype=torch.float64, requires_grad=True)
                (first,) = torch.autograd.grad((function(x, norm) * torch.tensor([1.0, 2.0, 3.0])).sum(), x, create_graph=True)
                assert first.isfinite().all()
                if first.requires_grad:
                    (second,) = torch.autograd.grad(first.pow(2).sum(), x, allow_unused=True)
                    assert second is None or second.isfinite().all()
                if max(point) < 1 and np.linalg.norm(point) < 1:
                    assert_close(first, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))

    @NORM
    def test_finite_derivatives_at_zero_and_at_length_one(self, norm):
        self.check_at_zero_and_one(norm)

    def test_derivatives_join_at_length_one(self):
        for direction in torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64), dim=-1):
            inner = torch.autograd.functional.jacobian(ray.contract, direction * (1 - 1e-9))
            outer = torch.autograd.functional.jacobian(ray.contract, direction * (1 + 1e-9))
            assert_close(inner, outer, rtol=0, atol=1e-7)
            assert_close(torch.autograd.functional.jacobian(ray.contract, direction), inner, rtol=0, atol=1e-7)

    @NORM
    def test_gradients(self, norm):
        x = (torch.randn(8, 3, dtype=torch.float64) * 2).requires_grad_()
        z = (ray.contract(x, norm)).detach().requires_grad_()
        for function, points in ((ray.contract, x), (ray.uncontract, z)):
            assert gradcheck(lambda p, f=function: f(p, norm), (points,))
            assert gradgradcheck(lambda p, f=function: f(p, norm), (points,))


def random_covs(*shape, d=3):
    factor = torch.randn(*shape, d, d, dtype=torch.float64)
    return factor @ factor.mT + 0.1 * torch.eye(d, dtype=torch.float64)


def check_push_forward():
    """J cov J^T with J of central differences, one point at a time."""
    means, covs = torch.randn(2, 4, 3, dtype=torch.float64) * 2, random_covs(2, 4)
    weight = torch.randn(3, 5, dtype=torch.float64)
    for fn in (ray.contract, lambda x: (x @ weight).sin()):
        values, pushed = ray.push_forward(fn, means, covs)
        for mean, cov, value, got in zip(*(part.flatten(0, 1) for part in (means, covs, values, pushed)), strict=True):
            steps = 1e-6 * torch.eye(3, dtype=torch.float64)
            jacobian = torch.stack([(fn(mean + step) - fn(mean - step)) / 2e-6 for step in steps], dim=-1)
            assert_close(value, fn(mean))
            assert_close(got, jacobian @ cov @ jacobian.mT, rtol=1e-6, atol=1e-8)


class TestPushForward:
    def test_values(self):
        check_push_forward()

    def test_agrees_with_many_points(self):
        mean, cov = torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64), random_covs() * 1e-4
        points = torch.distributions.MultivariateNormal(mean, cov).sample((200_000,))
        _, pushed = ray.push_forward(ray.contract, mean, cov)
        assert_close(torch.cov(ray.contract(points).mT), pushed, rtol=0.05, atol=0.02 * float(pushed.diagonal().max()))

    def test_gradients(self):
        mean, cov = (torch.randn(2, 3, dtype=torch.float64) * 2).requires_grad_(), random_covs(2).requires_grad_()
        assert gradcheck(lambda m, c: ray.push_forward(ray.contract, m, c), (mean, cov))

    def test_one_covariance_for_all(self):
        means, cov = torch.randn(4, 2), torch.eye(2)
        assert_close(ray.push_forward(ray.contract, means, cov)[1], ray.push_forward(ray.contract, means, cov.expand(4, 2, 2))[1])


ZERO = torch.zeros(2, 3)
ERRORS = {
    "box upside down": (lambda: ray.intersect_box(ZERO, ZERO, 1.0, -1.0), ValueError, "low", "Swap the corners"),
    "box of 2": (lambda: ray.intersect_box(ZERO, ZERO, (1.0, 1.0), 2.0), ValueError, "low", "(..., 3)"),
    "boxes": (lambda: ray.intersect_box(ZERO, ZERO, torch.zeros(3, 3), 2.0), ValueError, "low", "unsqueeze(0)"),
    "rays": (lambda: ray.intersect_box(ZERO, torch.zeros(3, 3), -1.0, 1.0), ValueError, "origins", "broadcasts"),
    "planes": (lambda: ray.intersect_box(ZERO, torch.zeros(2, 2), -1.0, 1.0), ValueError, "directions", "(..., 3)"),
    "no axes": (lambda: ray.intersect_box(torch.tensor(1.0), ZERO, -1.0, 1.0), ValueError, "origins", "last dimension"),
    "integer rays": (lambda: ray.intersect_box(ZERO.long(), ZERO, -1.0, 1.0), TypeError, "origins", ".float()"),
    "list of rays": (lambda: ray.intersect_box([0.0], ZERO, -1.0, 1.0), TypeError, "origins", "torch.as_tensor"),
    "radius": (lambda: ray.intersect_sphere(ZERO, ZERO, 0.0, -1.0), ValueError, "radius", "positive"),
    "text": (lambda: ray.intersect_sphere(ZERO, ZERO, 0.0, "1"), TypeError, "radius", "float"),
    "half": (lambda: ray.intersect_oriented_box(ZERO, ZERO, torch.eye(4), 0.0), ValueError, "half", "half the length"),
    "box pose": (lambda: ray.intersect_oriented_box(ZERO, ZERO, 2 * torch.eye(4), 1.0), ValueError, "pose", "scale"),
    "near at far": (lambda: ray.intervals(1.0, 1.0, 4), ValueError, "near", "near[hit]"),
    "near above far": (lambda: ray.intervals(torch.tensor([1.0, 3.0]), 2.0, 4), ValueError, "near", "near 3 and far 2 at [1]"),
    "near NaN": (lambda: ray.intervals(math.nan, 1.0, 4), ValueError, "near", "got nan"),
    "near 0, disparity": (lambda: ray.intervals(0.0, 1.0, 4, "disparity"), ValueError, "near", "'disparity'"),
    "near 0, log": (lambda: ray.intervals(0.0, 1.0, 4, "log"), ValueError, "near", "'log'"),
    "near below 0": (lambda: ray.intervals(-1.0, 1.0, 4, "sqrt"), ValueError, "near", "'sqrt'"),
    "far away": (lambda: ray.intervals(1.0, math.inf, 4, "log"), ValueError, "far", "reach infinity"),
    "near as text": (lambda: ray.intervals("1", 2.0, 4), TypeError, "near", "float"),
    "integer near": (lambda: ray.intervals(torch.tensor(1), 2.0, 4), TypeError, "near", ".float()"),
    "ends": (lambda: ray.intervals(torch.zeros(2), torch.ones(3), 4), ValueError, "near", "(*rays)"),
    "no intervals": (lambda: ray.intervals(1.0, 2.0, 0), ValueError, "n_samples", "at least 1"),
    "spacing": (lambda: ray.intervals(1.0, 2.0, 4, "cubic"), ValueError, "spacing", "'piecewise'"),
    "half a spacing": (lambda: ray.intervals(1.0, 2.0, 4, (torch.exp,)), ValueError, "spacing", "(forward, inverse)"),
    "jitter": (lambda: ray.intervals(1.0, 2.0, 4, jitter=True), ValueError, "jitter", "'sample'"),
    "generator": (lambda: ray.intervals(1.0, 2.0, 4, jitter="ray", generator=3), TypeError, "generator", "torch.Generator"),
    "one edge": (lambda: ray.midpoints(torch.zeros(3, 1)), ValueError, "edges", "two edges"),
    "norm": (lambda: ray.contract(ZERO, "l1"), ValueError, "norm", "'linf'"),
    "integer x": (lambda: ray.contract(ZERO.long()), TypeError, "x", ".float()"),
    "scalar z": (lambda: ray.uncontract(torch.tensor(1.0)), ValueError, "z", "reshape(1)"),
    "variances": (lambda: ray.push_forward(ray.contract, ZERO, torch.ones(2, 3)), ValueError, "cov", "diag_embed"),
    "matrices of others": (
        lambda: ray.push_forward(ray.contract, torch.rand(4, 3), torch.eye(3).expand(5, 3, 3)),
        ValueError,
        "cov",
        "one for all",
    ),
    "box as text": (lambda: ray.intersect_box(ZERO, ZERO, "abc", 1.0), TypeError, "low", "one number per axis"),
    "box without corner": (lambda: ray.intersect_box(ZERO, ZERO, -1.0, []), TypeError, "high", "one number per axis"),
    "box of None": (lambda: ray.intersect_box(ZERO, ZERO, None, 1.0), TypeError, "low", "one number per axis"),
    "spacing undefined": (lambda: ray.intervals(-1.0, 1.0, 4, (torch.log, torch.exp)), ValueError, "spacing", "only rise or only fall"),
    "integer mean": (lambda: ray.push_forward(ray.contract, ZERO.long(), torch.eye(3)), TypeError, "mean", ".float()"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_argument_and_remedy(case):
    call, kind, argument, words = ERRORS[case]
    with pytest.raises(kind, match=rf"ts\.ray\.\w+: `{argument}` must be .*, got ") as caught:
        call()
    assert words in str(caught.value)


WHOLE = {
    "box": lambda o, d: tuple(ray.intersect_box(o, d, -1.0, 1.0)),
    "sphere": lambda o, d: tuple(ray.intersect_sphere(o, d, 0.0, 1.0)),
    "oriented box": lambda o, d: tuple(ray.intersect_oriented_box(o, d, torch.eye(4), 1.0)),
    "intervals": lambda o, d: (ray.intervals(o[..., 0].abs(), 20 + d[..., 0], 8, "piecewise"),),
    "contract": lambda o, d: (ray.contract(o), ray.uncontract(ray.contract(d))),
    "push forward": lambda o, d: ray.push_forward(ray.contract, o, torch.diag_embed(d**2)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_vmap_and_compile(name):
    o, d = random_rays(3, 5, dtype=torch.float32)
    wanted = WHOLE[name](o, d)
    mapped = torch.func.vmap(WHOLE[name])(o, d)
    compiled = torch.compile(WHOLE[name], fullgraph=True, backend="aot_eager")(o, d)
    for one, two, three in zip(wanted, mapped, compiled, strict=True):
        assert_close(two, one)
        assert_close(three, one)


def test_from_coordinates_to_points():
    """As in the real thing: pixels to rays, rays to what they have of the scene, points on a grid."""
    origins, directions, _ = ray.pinhole(ts.coord.rand(2, 100), torch.eye(4), (64, 64), fov=0.8)
    near, far, hit = ray.intersect_sphere(origins, directions, (0.0, 0.0, -4.0), 2.0)
    t = ray.midpoints(ray.intervals(near[hit], far[hit], 16, jitter="sample"))
    points = origins[hit].unsqueeze(-2) + t.unsqueeze(-1) * directions[hit].unsqueeze(-2)
    assert ((points - torch.tensor([0.0, 0.0, -4.0])).norm(dim=-1) <= 2 + 1e-4).all()


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_spheres_along_directions_of_any_length(length):
    near, far, hit = ray.intersect_sphere(torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.0, 0.0, -length]), 0.0, np.float32(1))
    assert bool(hit)
    assert_close(torch.stack([near, far]).double() * length, torch.tensor([2.0, 4.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_every_kind_of_coordinates_feeds_a_camera():
    """Those of pixels, of what is uncertain, and of an importance map go through the pixels that they name."""
    size, pose = (16, 12), torch.eye(4).expand(2, 4, 4)
    pred = torch.randn(2, 1, 12, 16)
    importance = torch.zeros(2, 1, 12, 16)
    importance[..., 3, 5] = 1.0
    kinds = {
        "randint": ts.coord.randint(2, 50, size),
        "uncertain": ts.coord.uncertain(pred, n=20)[1],
        "importance": ts.coord.rand_biased(2, 50, importance, uncertainty=lambda scores: -scores[..., 0]),
    }
    for name, coords in kinds.items():
        rays = ray.pinhole(coords, pose, size, fov=0.8)
        seen = rays.directions[..., :2] / -rays.directions[..., 2:] / math.tan(0.4) * torch.tensor([1.0, -16 / 12])
        assert_close(seen, coords, msg=name)
    chosen = kinds["importance"] - ts.coord.full(1, size)[0, 3, 5]
    assert bool((chosen.abs().amax(-1) < 0.2).any())


def test_compile_takes_any_number_of_rays():
    def whole(origins, directions):
        hits = ray.intersect_box(origins, directions, (-1.0, -1.0, -1.0), 1.0)
        edges = ray.intervals(hits.near, hits.far + 1, 8, "piecewise", "sample")
        return ray.contract(origins.unsqueeze(-2) + ray.midpoints(edges).unsqueeze(-1) * directions.unsqueeze(-2))

    compiled = torch.compile(whole, fullgraph=True, backend="eager", dynamic=True)
    for n in (3, 5, 8):
        assert compiled(*random_rays(2, n)).shape == (2, n, 8, 3)


@pytest.mark.parametrize("spacing", ["linear", "disparity", "sqrt"])
@pytest.mark.parametrize("jitter", [None, "sample"])
def test_edges_never_step_back(spacing, jitter):
    """A ray through the corner of a box is a few roundings long."""
    near = 3 + torch.rand(2000)
    edges = ray.intervals(near, near * (1 + 4e-7), 32, spacing, jitter)
    assert bool((edges.diff(dim=-1) >= 0).all())
