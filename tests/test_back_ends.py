"""Every back-end on the CPU gives what the definition gives, values and derivatives, in every regime that it serves."""

import subprocess
import sys
import textwrap
from unittest import mock

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

import backends
import torchsample as ts
from torchsample.interpolation import fast_cpu

MODES = ("nearest", "bilinear", "bicubic", "bspline3")
PADDINGS = ("zeros", "border", "reflection", "circular")
SPATIAL = (5, 7, 4, 3)


def make(rank, n=40, channels=3, batch=2, dtype=torch.float64, channels_last=False, spatial=SPATIAL):
    """Points in and around a map, off the kinks, which rounding puts on either side."""
    shape = spatial[:rank]
    featmap = torch.randn(batch, *shape, channels, dtype=dtype).movedim(-1, 1)
    featmap = featmap if channels_last else featmap.contiguous()
    size = torch.tensor(shape[::-1])
    position = (torch.rand(batch, n, rank, dtype=torch.float64) * (size + 4) - 2).floor() + 0.1 + 0.3 * torch.rand(batch, n, rank)
    return ts.coord.normalize(position, shape[::-1]), featmap


def derive(name, coords, featmap, *arguments, grad=None):
    coords, featmap = coords.detach().requires_grad_(), featmap.detach().requires_grad_()
    with backends.served_by(name):
        values = ts.sample(coords, featmap, *arguments)
        grad = torch.linspace(-1, 2, values.numel(), dtype=values.dtype).reshape(values.shape) if grad is None else grad
        return (values, *torch.autograd.grad(values, (coords, featmap), grad))


def check(coords, featmap, *arguments, name="any", rtol=1e-10):
    expected = derive("definition", coords, featmap, *arguments)
    for what, got, wanted in zip(("values", "coords", "map"), derive(name, coords, featmap, *arguments), expected, strict=True):
        assert got.dtype == wanted.dtype
        scale = wanted.abs().max().item() if wanted.numel() else 1
        assert_close(got, wanted, rtol=rtol, atol=rtol * scale, msg=lambda text, what=what: f"{what}: {text}")


def check_derivatives(rank, mode, padding_mode, align_corners, name):
    for channels_last in (False, True):
        coords, featmap = make(rank, channels=6, channels_last=channels_last)
        check(coords.float(), featmap.float(), mode, padding_mode, align_corners, name=name, rtol=2e-5)
    coords, featmap = make(rank, channels=2)
    check(coords, featmap, mode, padding_mode, align_corners, name=name)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_table(rank, mode, padding_mode, align_corners):
    if rank == 4 and mode == "bspline3":
        pytest.skip("the margin of a filtered map on four axes is a map of millions; rank 3 shows the same code")
    check_derivatives(rank, mode, padding_mode, align_corners, "table")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("rank", [2, 3])
def test_grid_sample(rank, padding_mode, align_corners):
    with mock.patch.object(fast_cpu.Table, "interpolate", side_effect=AssertionError("not by a table")):
        check_derivatives(rank, "bilinear", padding_mode, align_corners, "any")


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_one_map_is_shared_out(threads, rank, batch):
    check_shares(threads, rank, batch)


def check_shares(threads, rank, batch):
    """An odd number of points, so that shares are filled up; enough of them, so that they are dealt out."""
    with backends.threads(threads):
        for channels in (1, 2):
            check(*make(rank, n=13001, channels=channels, batch=batch), rtol=1e-9)


def test_pieces_add_up():
    """Sizes that real calls reach only with millions of taps."""
    with mock.patch.multiple(fast_cpu, PIECE=96, SORTED=160):
        for batch, n in ((1, 301), (3, 7), (2, 120)):
            for channels_last in (False, True):
                coords, featmap = make(2, n=n, channels=6, batch=batch, dtype=torch.float32, channels_last=channels_last)
                check(coords.float(), featmap, "bicubic", name="table", rtol=2e-5)
                # Either half of the map: the rows of the other half are those that nothing reaches.
                for side in (1, -1):
                    check(side * (coords.float().abs() * 0.5 + 0.2), featmap, "bicubic", name="table", rtol=2e-5)


def test_few_points_on_a_large_map():
    for channels_last in (False, True):
        for dtype, rtol in ((torch.float32, 2e-5), (torch.bfloat16, 2e-2)):
            with mock.patch.multiple(fast_cpu, PIECE=96, SORTED=160):
                coords, featmap = make(2, n=60, channels=7, dtype=dtype, channels_last=channels_last, spatial=(64, 80))
                check(coords.float(), featmap, name="table", rtol=rtol)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(rank, dtype):
    """Positions and sums are in float32 whatever the map is, so both round the same number once."""
    coords, featmap = make(rank, channels=9, dtype=dtype)
    expected = derive("definition", coords.float(), featmap, "bilinear")[0]
    assert_close(derive("table", coords.float(), featmap, "bilinear")[0], expected, rtol=torch.finfo(dtype).eps, atol=0)
    check(coords.float(), featmap, "bilinear", name="table", rtol=0.02)
    check(coords.to(dtype), featmap, "bicubic", name="table", rtol=0.02)


def test_precise_coords_keep_their_precision():
    """float64 coords on a float32 map: `grid_sample` would round them."""
    coords, featmap = make(2, channels=1, dtype=torch.float32)
    assert "grid_sample would lose precision" in ts.why(coords, featmap)
    check(coords, featmap, rtol=1e-6)


def strided(rank):
    coords, featmap = make(rank, channels=8)
    wide = torch.randn(*featmap.shape[:-1], 2 * featmap.shape[-1], dtype=featmap.dtype)
    yield coords, wide[..., ::2]
    yield coords, featmap.transpose(1, -1).contiguous().transpose(1, -1)
    yield coords, featmap[:1].expand(2, *featmap.shape[1:])
    yield coords, featmap[:, ::3]
    yield coords[:1], featmap
    yield coords, featmap[:1]
    yield coords.unflatten(1, (5, 8)).transpose(1, 2), featmap
    yield coords[..., :1].expand(-1, -1, rank), featmap
    yield coords[:, :0], featmap
    yield coords, featmap[:, :0]
    yield coords[:0], featmap[:0]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_strides_and_broadcasts(rank, mode):
    for coords, featmap in strided(rank):
        for name in ("table", "any"):
            check(coords, featmap, mode, name=name)


def test_batches_of_batches():
    """Several batch dimensions, each broadcast on its own: points are not in the order of the maps."""
    featmap = torch.randn(3, 1, 2, 5, 6, dtype=torch.float64)
    for shape in ((3, 1), (1, 4), (3, 4), (1, 1)):
        check(ts.coord.rand(1, 11, 2, dtype=torch.float64).expand(*shape, -1, -1) * 0.9, featmap)


def test_points_of_several_maps():
    coords, featmap = make(2, n=30, channels=6)
    index = torch.randint(2, (30,), dtype=torch.int32)
    for mode in MODES:
        values = ts.sample(coords[0], featmap, mode, batch_index=index)
        both = ts.sample(coords[:1], featmap, mode)
        assert_close(values, both[index.long(), torch.arange(30)], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint64])
def test_labels(dtype):
    for channels_last in (False, True):
        coords, featmap = make(2, n=300, dtype=torch.float32, channels_last=channels_last)
        labels = (featmap * 3).round().abs().to(dtype)
        for padding_mode in PADDINGS:
            with backends.served_by("definition"):
                expected = ts.sample(coords, labels, "nearest", padding_mode)
            assert torch.equal(ts.sample(coords, labels, "nearest", padding_mode), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rank", "channels"), [(2, 1), (2, 6), (3, 1), (3, 6)])
def test_derivative_at_a_pixel_is_towards_the_next(rank, channels, threads):
    check_kinks(rank, channels, threads)


def check_kinks(rank, channels, threads):
    """At every pixel's center the slope is the one towards the next pixel, zero at the last, however its coordinate is rounded."""
    with backends.threads(threads):
        for side in (5, 8, 13, 21, 97) if rank == 2 else (5, 8, 11):
            for align_corners in (False, True):
                featmap = torch.arange(side, dtype=torch.float32).square().expand(1, channels, *[side] * rank)
                coords = ts.coord.full_like(featmap, align_corners).requires_grad_()
                values = ts.sample(coords, featmap, align_corners=align_corners)
                (slope,) = torch.autograd.grad(values[..., 0].sum(), coords)
                expected = (2 * torch.arange(side) + 1.0) * (side - align_corners) / 2
                expected[-1] = 0
                assert_close(slope[..., 0], expected.expand_as(slope[..., 0]), rtol=1e-4, atol=0)


def slopes_of_square(coords, side, align_corners, padding_mode, channels, name):
    """The slope of ``x**2`` along x at coords ``(n,)``, as `sample` gives it with a back-end."""
    featmap = torch.arange(side, dtype=coords.dtype).square().expand(1, channels, 2, side).contiguous()
    points = torch.stack([coords, torch.zeros_like(coords)], dim=-1).unsqueeze(0).requires_grad_()
    if name == "jacobian":
        return ts.sample_with_jacobian(points, featmap, "bilinear", padding_mode, align_corners)[1][0, :, 0, 0]
    if name == "twice":
        total = ts.sample(points, featmap, "bilinear", padding_mode, align_corners)[..., 0].sum()
        return torch.autograd.grad(total, points, create_graph=True)[0][0, :, 0].detach()
    with backends.served_by(name):
        values = ts.sample(points, featmap, "bilinear", padding_mode, align_corners)
    return torch.autograd.grad(values[..., 0].sum(), points)[0][0, :, 0]


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_rule_for_slopes_at_pixel_centers(dtype, align_corners, padding_mode):
    """Centers as users write them and their neighbors among the floats; a gradient used to depend on the number of channels."""
    for side in (*range(2, 40), 97, 100, 300, 1000):
        center, eps = torch.arange(side, dtype=dtype), torch.finfo(dtype).eps
        full = ts.coord.full(0, (side,), align_corners=align_corners, dtype=dtype)[:, 0]
        by_hand = 2 * center / (side - 1) - 1 if align_corners else (2 * center + 1) / side - 1
        beside = [full + steps * eps / 4 for steps in (-12, -5, -3, -2, -1, 1, 2, 3, 5, 12)]
        coords = torch.cat([full, by_hand, *beside, 2.2 * torch.rand(50, dtype=dtype) - 1.1])
        expected = slopes_of_square(coords, side, align_corners, padding_mode, 1, "definition")
        towards_next = (2 * center + 1) * (side - align_corners) / 2
        # Neighboring pixels differ by ``side`` in their slopes.
        assert_close(expected[: side - 1], towards_next[:-1], rtol=1e-5, atol=side / 8)
        for name, channels in (("any", 1), ("table", 1), ("table", 5), ("jacobian", 1), ("twice", 1)):
            got = slopes_of_square(coords, side, align_corners, padding_mode, channels, name)
            assert_close(got, expected, rtol=1e-5, atol=side / 8)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_pixel_centers_read_their_pixel_alone(mode, align_corners):
    """Bit for bit, with whatever beside them."""
    for side in (5, 7, 21, 100, 333):
        featmap = torch.randn(1, 6, 3, side)
        featmap[..., side // 2] = torch.nan
        for name in ("definition", "table"):
            with backends.served_by(name):
                values = ts.sample(ts.coord.full_like(featmap, align_corners), featmap, mode, align_corners=align_corners, feat_last=False)
            assert torch.equal(values.nan_to_num(7.0), featmap.nan_to_num(7.0))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_no_say_without_weight(mode):
    """NaN in the map, where derivatives are wanted too."""
    coords, featmap = make(2, channels=6)
    featmap[:, :, 2, 1] = torch.nan
    expected, got = (derive(name, coords, featmap, mode) for name in ("definition", "table"))
    for left, right in zip(got, expected, strict=True):
        assert_close(left, right, rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize(("rank", "channels"), [(2, 1), (2, 6), (3, 1)])
def test_points_without_a_place(rank, channels, padding_mode):
    coords, featmap = make(rank, n=8, channels=channels)
    coords[0, 2, 0], coords[1, 5, rank - 1], coords[0, 0] = torch.nan, torch.inf, -torch.inf
    expected, got = (derive(name, coords, featmap, "bilinear", padding_mode) for name in ("definition", "any"))
    for left, right in zip(got, expected, strict=True):
        assert_close(left, right, rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "bspline3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_splat(dtype, mode):
    for channels, n in ((2, 50), (6, 50), (6, 3)):
        coords, _ = make(2, n=n)
        coords[0, 0, 0] = torch.nan
        values = torch.randn(1, n, channels, dtype=dtype)
        found = {}
        for name in ("definition", "any"):
            with backends.served_by(name):
                leaves = coords.to(torch.promote_types(dtype, torch.float32)).requires_grad_(), values.clone().requires_grad_()
                canvas = ts.splat(*leaves, (5, 4), mode, "border", normalize=channels == 2)
                grad = torch.linspace(-1, 1, canvas.numel(), dtype=dtype).reshape(canvas.shape)
                found[name] = canvas, *torch.autograd.grad(canvas, leaves, grad)
        tolerance = {torch.float32: 2e-5, torch.float64: 1e-10, torch.bfloat16: 0.03}[dtype]
        for left, right in zip(found["any"], found["definition"], strict=True):
            assert_close(left, right, rtol=tolerance, atol=tolerance * right.abs().max().item())


def test_higher_derivatives_go_on():
    """The first derivative of a fast call has derivatives itself, and is vectorized over gradients."""
    coords, featmap = make(2, n=5, channels=6)
    coords.requires_grad_()
    featmap.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda *inputs: ts.sample(*inputs, "bicubic"), (coords, featmap))
    values = ts.sample(coords, featmap)
    grads = torch.randn(3, *values.shape, dtype=torch.float64)
    together = torch.autograd.grad(values, coords, grads, is_grads_batched=True, retain_graph=True)[0]
    for grad, one in zip(grads, together, strict=True):
        assert_close(torch.autograd.grad(values, coords, grad, retain_graph=True)[0], one)


def test_modified_map_is_noticed():
    coords, featmap = make(2, channels=6)
    featmap = (featmap.requires_grad_() * 1).contiguous()
    values = ts.sample(coords, featmap)
    featmap.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()


def test_deterministic_algorithms():
    coords, featmap = make(2, n=500, channels=6, dtype=torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        for channels in (1, 6):
            runs = [derive("any", coords.float(), featmap[:, :channels]) for _ in range(2)]
            assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("rank", "mode", "channels"), [(2, "bilinear", 64), (3, "bilinear", 32), (2, "bicubic", 32)])
def test_nothing_of_the_size_points_taps_channels(rank, mode, channels):
    n, side = 40_000, {2: 64, 3: 16}[rank]
    coords = ts.coord.rand(1, n, rank).requires_grad_()
    featmap = torch.randn(1, channels, *[side] * rank, requires_grad=True)
    taps = (4 if mode == "bicubic" else 2) ** rank
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        ts.sample(coords, featmap, mode).sum().backward()
    largest = max(event.nbytes() for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]")
    output = n * channels * 4
    assert largest <= max(output, 12 * n * taps, 4 * featmap.numel())
    assert largest < output * taps / 2


def test_half_precision_never_meets_grid_sample():
    """PyTorch's `grid_sample` reads wild memory for half-precision maps of this size, so a process of its own tries ours."""
    code = textwrap.dedent("""
        import torch, torchsample as ts
        for dtype in (torch.float16, torch.bfloat16):
            for shape in ((1, 1, 256, 256), (1, 3, 64, 64, 32)):
                featmap = torch.randn(shape, dtype=dtype, requires_grad=True)
                coords = ts.coord.rand(1, 500, len(shape) - 2)
                assert "grid_sample would lose precision" in ts.why(coords, featmap), ts.why(coords, featmap)
                values = ts.sample(coords, featmap)
                exact = ts.sample(coords.double(), featmap.double())
                assert (values - exact).abs().max() < 2 * torch.finfo(dtype).eps * exact.abs().max()
                values.sum().backward()
                assert featmap.grad.isfinite().all()
        print("whole")
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "whole\n", done.stderr


def test_few_points_on_a_map_of_permuted_axes():
    coords, featmap = make(2, n=60, channels=7, dtype=torch.float32, spatial=(64, 80))
    check(coords.float(), featmap.contiguous().transpose(2, 3), name="table", rtol=2e-5)


def test_more_taps_than_a_piece():
    with mock.patch.multiple(fast_cpu, PIECE=5, SORTED=7, BLOCK=3):
        coords, featmap = make(2, n=9, channels=6, dtype=torch.float32)
        check(coords.float(), featmap, "bicubic", name="table", rtol=2e-5)


class Learnt(ts.interpolation.Kernel):
    """Linear, with a parameter."""

    offsets = (0, 1)

    def __init__(self, scale):
        self.scale = scale

    def weights(self, t):
        return self.scale * (1 - t), self.scale * t


class Flat(ts.interpolation.Kernel):
    """Weights that do not depend on the position."""

    offsets = (0, 1)

    def weights(self, t):
        return torch.full_like(t, 0.25), torch.full_like(t, 0.75)


class Either(ts.interpolation.Kernel):
    """The nearer of two pixels, by their weights."""

    offsets = (0, 1)
    selects = True

    def weights(self, t):
        return (t < 0.5).to(t.dtype) + 0 * t, (t >= 0.5).to(t.dtype)


def test_kernels_of_ones_own():
    coords, featmap = make(2, n=20, channels=6)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert "holds something else than numbers" in ts.why(coords, featmap, Learnt(scale))
    (slope,) = torch.autograd.grad(ts.sample(coords, featmap, Learnt(scale)).sum(), scale)
    assert_close(slope, 2 * ts.sample(coords, featmap).sum() * scale.detach())
    check(coords, featmap, Either(), name="table")
    values = ts.sample(coords.requires_grad_(), featmap, Flat())
    assert not torch.autograd.grad(values.sum(), coords)[0].any()


def test_a_boundary_of_ones_own_may_be_anything():
    class Mirror(ts.interpolation.Boundary):
        """Not hashable; says which taps count only where it must."""

        __hash__ = None

        def resolve(self, index, side, align_corners):
            outside = (index < 0) | (index >= side)
            return index.abs().clamp(0, side - 1), ~outside if outside.any() else None

    coords, featmap = make(2, n=40, channels=6)
    for mode in ("nearest", "bilinear"):
        with mock.patch.object(fast_cpu, "POINTS", 3):
            check(coords, featmap, mode, ("border", Mirror()))
            check(coords * 0.5, featmap, mode, Mirror())
    coords[0, 0] = torch.nan
    assert ts.sample(coords, featmap, "bilinear", Mirror())[0, 0].isnan().all()


@pytest.mark.parametrize("channels", [1, 6])
def test_results_may_be_changed_in_place(channels):
    coords, featmap = make(2, channels=channels)
    featmap.requires_grad_()
    for feat_last in (True, False):
        (2 * ts.sample(coords, featmap, feat_last=feat_last).add_(1).mul_(3)).sum().backward()
    assert_close(featmap.grad, 12 * torch.autograd.grad(ts.sample(coords, featmap).sum(), featmap)[0])
    values = torch.ones(2, 40, channels, dtype=torch.float64, requires_grad=True)
    ts.splat(coords, values, (4, 4)).mul_(2).sum().backward()
    assert_close(values.grad, torch.full_like(values, 2.0))


def test_gradients_that_are_not_finite():
    values = torch.ones(1, 3, 2, requires_grad=True)
    coords = torch.tensor([[[torch.inf, 0.0], [0.1, 0.2], [-torch.inf, 0.5]]])
    ts.splat(coords, values, (4, 4)).sum().backward()
    assert_close(values.grad, torch.ones_like(values))


def test_transforms_around_a_call():
    """A transform may be of something else than the tensors of the call."""
    coords, featmap = make(2, n=5, channels=6)
    values, weights = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(4, 2, 3, 4, 4, dtype=torch.float64)
    together = torch.func.vmap(lambda weight: (ts.splat(coords, values, (4, 4)) * weight).sum())(weights)
    assert_close(together, (ts.splat(coords, values, (4, 4)) * weights).sum((1, 2, 3, 4)))
    coords.requires_grad_()
    slope = torch.func.grad(lambda scale: (scale * ts.sample(coords, featmap)).sum())(torch.ones((), dtype=torch.float64))
    assert_close(slope, ts.sample(coords, featmap).sum())


def test_inference_tensors_and_default_devices():
    coords, featmap = make(2, n=5, channels=6)
    with torch.inference_mode():
        frozen = featmap.clone()
        inside = ts.sample(coords, frozen)
    for mode in ("nearest", "bilinear", "bicubic"):
        (slope,) = torch.autograd.grad(ts.sample(coords.requires_grad_(), frozen, mode).sum(), coords)
        assert_close(slope, torch.autograd.grad(ts.sample(coords, featmap, mode).sum(), coords)[0])
    assert_close(inside, ts.sample(coords, featmap).detach())
    with torch.device("meta"):
        assert ts.sample(coords, featmap, "bicubic").device.type == "cpu"


def test_vectorized_gradients_keep_no_graph():
    coords, featmap = make(2, n=5, channels=6)
    values = ts.sample(coords.requires_grad_(), featmap)
    (together,) = torch.autograd.grad(values, coords, torch.ones(3, *values.shape, dtype=torch.float64), is_grads_batched=True)
    assert not together.requires_grad
