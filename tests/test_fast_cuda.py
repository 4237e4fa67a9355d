"""The kernels for CUDA devices give what the definition gives: on a device where there is one, and in Triton's interpreter elsewhere.

The interpreter has to be chosen before Triton is imported, hence the process of their own in which all the cases run.
"""

import importlib.util
import itertools
import os
import pathlib
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from torchsample.interpolation import Border, BSpline, Circular, Cubic, Linear, Nearest, Reflection, Zeros, fast_cuda, reference

HAS_DEVICE = torch.cuda.is_available()
DEVICE = "cuda" if HAS_DEVICE else "cpu"
KERNELS = {"nearest": Nearest(), "linear": Linear(), "cubic": Cubic(), "catmull-rom": Cubic(-0.5)}
BOUNDARIES = {"zeros": Zeros(), "border": Border(), "reflection": Reflection(), "circular": Circular()}
SIDES = (5, 3, 4)
HUGE = (1e3, -12345.678, 3e9, -2e20, 1e30, torch.inf, -torch.inf, torch.nan)

needs_device = pytest.mark.skipif(not HAS_DEVICE, reason="needs a CUDA device")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize(
    "checks", ["cases", *(pytest.param(name, marks=pytest.mark.slow) for name in ("values", "scatter", "shapes", "operators"))]
)
def test_kernels(checks):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TRITON_"))}
    if not HAS_DEVICE:
        environment |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    # NumPy, which the interpreter runs on, warns of the remainder of infinity.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "python_functions=check_*", "-W", "ignore::RuntimeWarning"]
    command = [sys.executable, "-m", "pytest", *options, "-k", f"check_{checks}", pathlib.Path(__file__).name]
    done = subprocess.run(command, cwd=pathlib.Path(__file__).parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_what_is_refused():
    coords, featmap = torch.zeros(2, 3, 2), torch.zeros(2, 4, 5, 6)

    def refusal(kernel=KERNELS["linear"], boundary=BOUNDARIES["zeros"], coords=coords, featmap=featmap, rank=2):
        return fast_cuda.refuses(coords, featmap, reference.make_axes((6, 5, 4, 3)[:rank], kernel, [boundary] * rank, False))

    class Mine(Linear):
        pass

    class Edge(Border):
        pass

    assert refusal() == "not on a CUDA device"
    assert "bspline" in refusal(BSpline(3)).lower()
    assert "Mine" in refusal(Mine())
    assert "Edge" in refusal(boundary=Edge())
    assert refusal(rank=4) == "rank 4"
    assert "float64" in refusal(coords=coords.double())
    for dtype in (torch.float64, torch.complex64, torch.int32, torch.uint8, torch.float8_e4m3fn):
        assert str(dtype) in refusal(featmap=featmap.to(dtype))


def test_what_is_refused_in_transforms():
    coords, featmap = torch.zeros(2, 3, 2), torch.zeros(2, 4, 5, 6)
    reasons = []

    def look(coords):
        reasons.append(fast_cuda._refuses_context())
        return coords.sum()

    torch.func.grad(look)(coords)
    torch.vmap(look)(coords)
    torch.func.jvp(look, (coords,), (coords,))
    with torch.autograd.forward_ad.dual_level():
        look(coords)
    assert None not in reasons
    assert len(reasons) == 4
    look(featmap)
    assert reasons[-1] is None


def test_importing_the_package_does_not_import_triton():
    code = "import sys, torch; print('triton' in sys.modules); import torchsample.interpolation.fast_cuda; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() in (["False", "False"], ["True", "True"])


def make_axes(size, mode, paddings, align_corners):
    return reference.make_axes(size, KERNELS[mode], [BOUNDARIES[name] for name in paddings], align_corners)


def make_coords(*shape, reach=4.5):
    """Points inside and outside, some of them on pixel centres, edges and halfway, where sides are those of `make_map`."""
    coords = (torch.rand(shape) * 2 - 1) * reach
    flat = coords.view(-1, shape[-1])
    special = torch.tensor([0.0, 1.0, -1.0, 0.2, -0.6, 0.5, -0.5, 1 / 3])
    count = min(len(flat), len(special))
    flat[:count] = special[:count, None]
    return coords.to(DEVICE)


def make_map(rank, channels=3, batch=(2,), dtype=torch.float32):
    return torch.randn(*batch, channels, *SIDES[:rank][::-1]).to(DEVICE, dtype)


def of_batch(batch, n_points):
    return tuple(torch.arange(side, device=DEVICE).reshape(-1, *[1] * (len(batch) - 1 - dim + n_points)) for dim, side in enumerate(batch))


def leaf(tensor):
    """A leaf of the same memory layout."""
    return tensor.detach().requires_grad_()


def compare(coords, featmap, batch, axes, rtol=1e-5, atol=1e-5):
    """Values, both derivatives, and the two ways to scatter."""
    outcomes = []
    for backend in (fast_cuda, reference):
        x, m = leaf(coords), leaf(featmap)
        values = backend.interpolate(x, m, batch, axes)
        weights = torch.linspace(-1, 1, max(values.numel(), 1), device=DEVICE)[: values.numel()].reshape(values.shape).to(values.dtype)
        by_coords, by_map = torch.autograd.grad(values, (x, m), weights, materialize_grads=True)
        outcomes.append((values, by_coords, by_map))
    (mine, by_coords, by_map), (wanted, wanted_by_coords, wanted_by_map) = outcomes
    assert mine.dtype == wanted.dtype
    assert_close(mine, wanted, rtol=rtol, atol=atol, equal_nan=True)
    assert_close(by_map, wanted_by_map, rtol=rtol, atol=atol, equal_nan=True)
    assert_close(by_coords, wanted_by_coords, rtol=rtol, atol=20 * atol, equal_nan=True)


CASES = [
    *itertools.product((1, 2), ("nearest", "linear", "cubic"), BOUNDARIES, (False, True)),
    *itertools.product((3,), ("nearest", "linear"), BOUNDARIES, (False, True)),
]


@pytest.mark.parametrize(("rank", "mode", "padding", "align_corners"), CASES)
def check_cases(rank, mode, padding, align_corners):
    axes = make_axes(SIDES[:rank], mode, [padding] * rank, align_corners)
    compare(make_coords(2, 17, rank), make_map(rank), of_batch((2,), 1), axes)


@pytest.mark.parametrize(
    ("paddings", "align_corners"), [(("zeros", "border", "circular"), False), (("reflection", "zeros", "border"), True)]
)
def check_cases_of_cubic_volumes(paddings, align_corners):
    compare(make_coords(1, 9, 3), make_map(3, 2, (1,)), of_batch((1,), 1), make_axes(SIDES, "cubic", paddings, align_corners))


@pytest.mark.parametrize("paddings", [("circular", "border"), ("zeros", "reflection"), ("reflection", "circular")])
@pytest.mark.parametrize("mode", ["linear", "catmull-rom"])
def check_cases_with_a_padding_per_axis(mode, paddings):
    compare(make_coords(2, 9, 2), make_map(2), of_batch((2,), 1), make_axes(SIDES[:2], mode, paddings, False))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", BOUNDARIES)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def check_values_far_away(mode, padding, align_corners):
    """Huge, infinite and NaN coordinates along one axis or both, and maps of a single pixel."""
    far = torch.tensor([(a, b) for a in (*HUGE, 0.3) for b in (HUGE[1], torch.nan, torch.inf, -0.4)], device=DEVICE)
    for size, other in (((4, 3), padding), ((1, 2), "border")):
        compare(far, torch.randn(2, *size[::-1], device=DEVICE), (), make_axes(size, mode, (padding, other), align_corners))


@pytest.mark.parametrize("padding", BOUNDARIES)
def check_values_halfway(padding):
    """The nearest pixel is the very one that the reference takes, on every tie and next to it."""
    for side in (1, 2, 7, 48, 1000):
        axes = make_axes((side,), "nearest", (padding,), False)
        ties = (torch.arange(-3, min(2 * side, 200) + 3, device=DEVICE) - side + 0.0) / side
        coords = torch.cat([ties, ties.nextafter(ties + 1), ties.nextafter(ties - 1)]).unsqueeze(-1)
        numbers = torch.arange(1.0, side + 1, device=DEVICE).unsqueeze(0)
        assert torch.equal(fast_cuda.interpolate(coords, numbers, (), axes), reference.interpolate(coords, numbers, (), axes))


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def check_values_of_pixels_without_weight(mode, number):
    """On the centres of pixels, whose neighbours are NaN or infinite; and beyond the edges, where zeros surround them."""
    featmap = torch.randn(1, 2, 5, 5, device=DEVICE)
    featmap[:, :, 1::2] = number
    featmap[:, :, :, 1::2] = number
    coords = torch.tensor([-0.8, 0.0, 0.8, 1.6], device=DEVICE)
    coords = torch.cartesian_prod(coords, coords).unsqueeze(0)
    for paddings in (("zeros", "reflection"), ("circular", "border")):
        axes = make_axes((5, 5), mode, paddings, False)
        if mode == "nearest":
            wanted = reference.interpolate(coords, featmap, of_batch((1,), 1), axes)
            assert_close(fast_cuda.interpolate(coords, featmap, of_batch((1,), 1), axes), wanted, equal_nan=True)
        else:
            compare(coords, featmap, of_batch((1,), 1), axes)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def check_values_beyond_an_infinite_border(mode):
    """There nothing changes with the coords, whatever the pixels: the derivative is zero, and not infinity less infinity."""
    axes = make_axes((5, 4), mode, ("border", "border"), False)
    compare(torch.tensor([[3.0, 3.0], [-3.0, 3.0], [3.0, -4.0]], device=DEVICE), torch.full((2, 4, 5), torch.inf, device=DEVICE), (), axes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def check_cases_in_half_precision(mode, dtype):
    """Summed in float32 and rounded once, whichever of coords and map is in half."""
    axes, batch = make_axes(SIDES[:2], mode, ("zeros", "circular"), False), of_batch((2,), 1)
    coords, featmap = make_coords(2, 9, 2), make_map(2)
    compare(coords.to(dtype), featmap, batch, axes)
    compare(coords, featmap.to(dtype), batch, axes, rtol=2e-2, atol=2e-2)
    precise = reference.interpolate(coords, featmap.to(dtype).float(), batch, axes)
    # The interpreter cuts bfloat16 off where devices round.
    once = 1e-7 if HAS_DEVICE or dtype == torch.float16 else 2**-7
    assert_close(fast_cuda.interpolate(coords, featmap.to(dtype), batch, axes), precise.to(dtype), rtol=once, atol=1e-7)
    x, m = leaf(coords), leaf(featmap.to(dtype))
    by_coords, by_map = torch.autograd.grad(fast_cuda.interpolate(x, m, batch, axes).sum(), (x, m))
    assert (by_coords.dtype, by_map.dtype) == (torch.float32, dtype)


def scattered(backend, coords, values, batch, shape, axes):
    x, v = leaf(coords), leaf(values)
    canvas = backend.scatter(x, v, batch, shape, axes)
    weights = torch.linspace(-1, 1, canvas.numel(), device=DEVICE).reshape(canvas.shape)
    return canvas, *torch.autograd.grad(canvas, (x, v), weights, materialize_grads=True)


def compare_scattered(coords, values, batch, shape, axes):
    outcomes = [scattered(fast_cuda, coords, values, batch, shape, axes)]
    torch.use_deterministic_algorithms(True)
    try:
        outcomes.append(scattered(fast_cuda, coords, values, batch, shape, axes))
    finally:
        torch.use_deterministic_algorithms(False)
    wanted = scattered(reference, coords, values, batch, shape, axes)
    for outcome in outcomes:
        for got, expected, atol in zip(outcome, wanted, (1e-5, 2e-4, 1e-5), strict=True):
            assert got.dtype == expected.dtype
            assert_close(got, expected, rtol=1e-5, atol=atol, equal_nan=True)


@pytest.mark.parametrize("padding", BOUNDARIES)
@pytest.mark.parametrize(("rank", "mode"), [(1, "cubic"), (2, "linear"), (3, "nearest")])
def check_scatter(rank, mode, padding):
    """As derivatives of values are scattered at once in every case above, what is new here is the order, and the derivatives."""
    axes = make_axes(SIDES[:rank], mode, [padding] * rank, rank == 3)
    compare_scattered(make_coords(2, 17, rank), torch.randn(2, 17, 3, device=DEVICE), of_batch((2,), 1), (2,), axes)


def check_scatter_of_anything():
    """Cubic volumes; points without a place; NaN values with and without weight; half precision; broadcast values and coords."""
    axes = make_axes(SIDES, "cubic", ("zeros", "reflection", "circular"), False)
    compare_scattered(make_coords(5, 3), torch.randn(5, 2, device=DEVICE), (), (), axes)
    axes = make_axes(SIDES[:2], "linear", ("zeros", "circular"), False)
    coords = make_coords(10, 2)
    coords[3, 0], coords[4, 1], coords[5] = torch.nan, torch.inf, 1e30
    values = torch.randn(10, 2, device=DEVICE)
    compare_scattered(coords, values, (), (), axes)
    for dtype in (torch.float16, torch.bfloat16):
        ours, theirs = (backend.scatter(coords, values.to(dtype), (), (), axes) for backend in (fast_cuda, reference))
        assert_close(ours, theirs)
        ours, theirs = (scattered(backend, coords.to(dtype), values.to(dtype), (), (), axes) for backend in (fast_cuda, reference))
        assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
    values[0], values[1] = torch.nan, torch.inf
    ours, theirs = (backend.scatter(coords, values, (), (), axes) for backend in (fast_cuda, reference))
    assert_close(ours, theirs, equal_nan=True)
    coords, batch = make_coords(1, 6, 2), of_batch((2,), 1)
    compare_scattered(coords, torch.randn(2, 6, 2, device=DEVICE), batch, (2,), axes)
    compare_scattered(coords.expand(2, -1, -1), torch.randn(1, 6, 2, device=DEVICE), batch, (2,), axes)


def check_scatter_in_order_is_reproducible():
    axes = make_axes(SIDES[:2], "linear", ("border", "border"), False)
    coords, values = make_coords(20000 if HAS_DEVICE else 100, 2), torch.randn(20000 if HAS_DEVICE else 100, 5, device=DEVICE)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (fast_cuda.scatter(coords, values, (), (), axes) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)
    wanted = reference.scatter(coords.double(), values.double(), (), (), axes)
    assert_close(first.double(), wanted, rtol=1e-4, atol=1e-3)


def check_shapes_of_batches():
    """Maps per batch, per point and shared; several batch dimensions; no batch; points in grids, or none."""
    axes = make_axes(SIDES[:2], "linear", ("border", "zeros"), False)
    compare(make_coords(2, 3, 4, 2), make_map(2), of_batch((2,), 2), axes)
    compare(make_coords(1, 7, 2), make_map(2), of_batch((2,), 1), axes)
    compare(make_coords(2, 7, 2), make_map(2, batch=(1,)), of_batch((1,), 1), axes)
    compare(make_coords(2, 3, 5, 2), make_map(2, batch=(2, 3)), of_batch((2, 3), 1), axes)
    compare(make_coords(1, 3, 5, 2), make_map(2, batch=(2, 1)), of_batch((2, 1), 1), axes)
    compare(make_coords(2, 1, 5, 2), make_map(2, batch=(1, 3)), of_batch((1, 3), 1), axes)
    compare(make_coords(8, 2), make_map(2, batch=(3,)), (torch.randint(3, (8,), device=DEVICE),), axes)
    compare(make_coords(8, 2), make_map(2, batch=()), (), axes)
    compare(make_coords(2, 3, 2), make_map(2, batch=()), (), axes)
    compare(torch.zeros(2, device=DEVICE), make_map(2, batch=()), (), axes)
    compare(make_coords(9, 2), make_map(2, 130, batch=()), (), axes)
    compare(make_coords(300, 2), make_map(2, 1, batch=()), (), axes)
    for empty in ((0, 4), (2, 0)):
        compare(make_coords(*empty, 2), make_map(2, batch=empty[:1]), of_batch(empty[:1], 1), axes)
    compare(make_coords(2, 4, 2), make_map(2, 0), of_batch((2,), 1), axes)
    compare_scattered(make_coords(2, 0, 2), torch.zeros(2, 0, 3, device=DEVICE), of_batch((2,), 1), (2,), axes)
    compare_scattered(make_coords(2, 4, 2), torch.zeros(2, 4, 0, device=DEVICE), of_batch((2,), 1), (2,), axes)
    compare_scattered(make_coords(2, 3, 5, 2), torch.randn(2, 3, 5, 4, device=DEVICE), of_batch((2, 3), 1), (2, 3), axes)


def check_shapes_in_memory():
    """Any strides are read as they are; the map's gradient has the layout of the map."""
    axes, batch = make_axes(SIDES[:2], "linear", ("border", "zeros"), False), of_batch((2,), 1)
    coords, featmap = make_coords(2, 7, 2), make_map(2)
    for many in (coords, coords[:, :1]):
        compare(many, featmap.to(memory_format=torch.channels_last), batch, axes)
        compare(many, featmap.mT.contiguous().mT, batch, axes)
        compare(many, torch.randn(4, 6, 6, 10, device=DEVICE)[::2, 1::2, ::2, ::2], batch, axes)
        compare(many, featmap[:1].expand(2, -1, -1, -1), batch, axes)
        compare(many, featmap[:, :1].expand(-1, 3, -1, -1), batch, axes)
    compare(coords.flip(-1).mT.contiguous().mT, featmap, batch, axes)
    compare(torch.randn(4, 14, 5, device=DEVICE)[::2, ::2, 1:5:2], featmap, batch, axes)
    compare(coords[:, :1].expand(2, 7, 2), featmap, batch, axes)
    values = torch.randn(2, 3, 14, device=DEVICE).mT[:, ::2]
    compare_scattered(coords, values, batch, (2,), axes)
    compare_scattered(coords, values[:, :1, :1].expand(2, 7, 3), batch, (2,), axes)
    for layout in (torch.contiguous_format, torch.channels_last):
        m = leaf(featmap.to(memory_format=layout))
        (gradient,) = torch.autograd.grad(fast_cuda.interpolate(coords, m, batch, axes).sum(), m)
        assert gradient.stride() == m.stride()


def check_shapes_with_indices_of_64_bit(monkeypatch):
    """The same kernels, told that offsets are long; and where there is room, a map that needs it."""
    from torchsample.interpolation import triton_launch

    monkeypatch.setattr(triton_launch, "_index_type", lambda *_: triton_launch.tl.int64)
    axes = make_axes(SIDES[:2], "linear", ("border", "circular"), False)
    compare(make_coords(2, 7, 2), make_map(2), of_batch((2,), 1), axes)
    compare_scattered(make_coords(2, 7, 2), torch.randn(2, 7, 3, device=DEVICE), of_batch((2,), 1), (2,), axes)
    monkeypatch.undo()
    few, many = torch.empty(3, 4, device="meta"), torch.empty(2**20, 2**11, device="meta")
    assert triton_launch._index_type(few) == triton_launch.tl.int32
    assert triton_launch._index_type(few, many) == triton_launch.tl.int64
    assert triton_launch._index_type(many[:, :1]) == triton_launch.tl.int64
    assert triton_launch._index_type(many[:1].expand(2**20, -1)) == triton_launch.tl.int32


def check_shapes_of_indices_that_no_map_has():
    """In a graph nobody looks at ``batch_index``; nothing outside of the map is read, or written to."""
    axes = make_axes(SIDES[:2], "linear", ("border", "border"), False)
    coords, index = make_coords(4, 2, reach=0.5), torch.tensor([0, 1, 2, -1], device=DEVICE)
    values = fast_cuda.interpolate(coords, make_map(2), (index,), axes)
    assert values.isnan().all(-1).tolist() == [False, False, True, True]
    canvas = fast_cuda.scatter(coords, torch.ones(4, 1, device=DEVICE), (index,), (2,), axes)
    assert_close(canvas.sum(), torch.tensor(2.0, device=DEVICE))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def check_operators_have_second_derivatives(mode):
    """Of the values and of the scatter, by everything, through a function whose own derivative depends on coords and map."""
    axes, batch = make_axes(SIDES[:2], mode, ("zeros", "circular"), False), of_batch((2,), 1)
    coords, featmap = make_coords(1, 5, 2, reach=1.2), make_map(2)
    coords[0, 0, 0] = torch.nan
    values = torch.randn(2, 5, 3, device=DEVICE)
    outcomes = []
    for backend in (fast_cuda, reference):
        x, m, v = leaf(coords), leaf(featmap), leaf(values)
        sampled = backend.interpolate(x, m, batch, axes).nan_to_num()
        first = torch.autograd.grad(sampled.sin().sum(), (x, m), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, m), materialize_grads=True)
        canvas = backend.scatter(x, v, batch, (2,), axes)
        third = torch.autograd.grad(canvas.sin().sum(), (x, v), create_graph=True)
        fourth = torch.autograd.grad(sum(g.square().sum() for g in third), (x, v), materialize_grads=True)
        outcomes.append((*first, *second, *third, *fourth))
    for got, wanted in zip(*outcomes, strict=True):
        assert_close(got, wanted, rtol=1e-4, atol=1e-3)


def check_operators_have_third_derivatives():
    axes = make_axes((5,), "cubic", ("border",), False)
    coords, featmap = make_coords(5, 1, reach=0.9), make_map(1, batch=())
    outcomes = []
    for backend in (fast_cuda, reference):
        x = leaf(coords)
        total = backend.interpolate(x, featmap, (), axes).square().sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(total, x, create_graph=True)
            total = slope.sum()
        outcomes.append(slope)
    assert_close(*outcomes, rtol=1e-4, atol=1e-2)


def check_operators_are_registered():
    """PyTorch's own examination: schema, shapes without data, derivatives, compiled graphs."""
    axes, maps = make_axes(SIDES[:2], "linear", ("zeros", "circular"), False), make_map(2)
    rule, owner, coords = fast_cuda._rule(axes), torch.arange(2, device=DEVICE).unsqueeze(1), make_coords(2, 5, 2)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    values = torch.randn(2, 5, 3, device=DEVICE)
    torch.library.opcheck(fast_cuda._interpolate, (leaf(coords), leaf(maps), owner, *rule, 0.0), test_utils=tests)
    torch.library.opcheck(fast_cuda._slopes, (leaf(values), leaf(coords), leaf(maps), owner, *rule), test_utils=tests)
    torch.library.opcheck(fast_cuda._scatter, (leaf(coords), leaf(values), owner, 2, [5, 3], *rule), test_utils=tests)


def check_operators_stay_in_a_compiled_graph():
    """One graph, forward and backward, of dynamic sizes; Inductor itself where there is a device, its front elsewhere."""
    axes = make_axes(SIDES[:2], "linear", ("border", "circular"), False)

    def both(coords, featmap, backend=fast_cuda):
        batch = (torch.arange(featmap.shape[0], device=coords.device).unsqueeze(1),)
        values = backend.interpolate(coords * 0.9, featmap, batch, axes)
        return values, backend.scatter(coords, values, batch, featmap.shape[:1], axes)

    compiled = torch.compile(both, fullgraph=True, dynamic=True, backend="inductor" if HAS_DEVICE else "aot_eager")
    for batch, n in ((2, 7), (3, 11)):
        for layout in (torch.contiguous_format, torch.channels_last):
            outcomes = []
            for call in (compiled, lambda coords, featmap: both(coords, featmap, reference)):
                torch.manual_seed(0)
                x, m = leaf(make_coords(batch, n, 2)), leaf(make_map(2, batch=(batch,)).to(memory_format=layout))
                results = call(x, m)
                outcomes.append((*results, *torch.autograd.grad([r.sin().sum() for r in results], (x, m))))
            for got, wanted in zip(*outcomes, strict=True):
                assert_close(got, wanted, rtol=1e-4, atol=1e-3)


def check_operators_may_be_asked_for_in_a_graph():
    axes = make_axes(SIDES[:2], "linear", ("border", "circular"), False)

    @torch.compile(fullgraph=True, backend="eager")
    def ask(coords, featmap):
        return coords + (fast_cuda.refuses(coords, featmap, axes) is None)

    coords = make_coords(2, 5, 2)
    assert_close(ask(coords, make_map(2)), coords + HAS_DEVICE)


@needs_device
def check_cases_at_scale():
    """Sizes of real use, every block full and the last one not."""
    for rank, mode, channels, dtype in itertools.product((1, 2, 3), ("nearest", "linear", "cubic"), (1, 3, 64, 200), (torch.float32,)):
        side = {1: 5000, 2: 97, 3: 23}[rank]
        featmap = torch.randn(2, channels, *range(side, side + rank), device=DEVICE, dtype=dtype)
        axes = make_axes(featmap.shape[2:][::-1], mode, ["reflection", "zeros", "circular"][:rank], False)
        compare(make_coords(2, 3001, rank), featmap, of_batch((2,), 1), axes, atol=2e-3)


@needs_device
def check_shapes_beyond_2_to_the_31():
    featmap = torch.zeros(2, 2, 2**15, 2**15 + 2**10, dtype=torch.bfloat16, device=DEVICE)
    featmap[1, 1, -1, -1] = 3
    axes = make_axes(featmap.shape[2:][::-1], "linear", ("border", "border"), False)
    coords = torch.ones(2, 1, 2, device=DEVICE)
    assert fast_cuda.interpolate(coords, featmap, of_batch((2,), 1), axes)[1, 0].tolist() == [0, 3]
