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
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for channels in (1, 2):
            check(*make(rank, n=13001, channels=channels, batch=batch), rtol=1e-9)
    finally:
        torch.set_num_threads(before)


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
    """Also at the border, and where a float32 coordinate rounds the pixel's centre."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for side in (5, 8, 13, 97) if rank == 2 else (5, 8):
            featmap = torch.arange(side, dtype=torch.float32).square().expand(1, channels, *[side] * rank)
            coords = ts.coord.full_like(featmap).requires_grad_()
            (slope,) = torch.autograd.grad(ts.sample(coords, featmap)[..., 0].sum(), coords)
            expected = (2 * torch.arange(side) + 1.0) * side / 2
            expected[-1] = 0
            # A coordinate that a float32 cannot hold exactly may lie before its pixel.
            at_pixel = ts.coord.unnormalize(coords.detach().double(), side)[..., 0] >= torch.arange(side)
            assert at_pixel.float().mean() > 0.4
            assert_close(slope[..., 0][at_pixel], expected.expand_as(at_pixel)[at_pixel], rtol=1e-4, atol=0)
    finally:
        torch.set_num_threads(before)


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
