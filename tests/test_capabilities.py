"""Every cell of the table of capabilities."""

import functools
import io

import onnxruntime
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import hessian, jacfwd, jacrev, vmap
from torch.testing import assert_close

import torchsample as ts
from capabilities import FLOATS, LABELS, MODES, PADDINGS, RANKS, dtype_outcome, is_run

SPATIAL = {1: (4,), 2: (2, 3), 3: (2, 3, 2), 4: (2, 2, 1, 3)}


def cells(transform=None):
    """The cells that are run; the plain run leaves out splines beyond rank 1, whose filters take seconds to differentiate, and rank 4."""

    def is_slow(mode, rank):
        return rank == 4 or (rank > 1 and mode.startswith("bspline"))

    return pytest.mark.parametrize(
        ("mode", "padding_mode", "rank"),
        [
            pytest.param(mode, padding, rank, marks=[pytest.mark.slow] if is_slow(mode, rank) else [])
            for rank in RANKS
            for mode in MODES
            for padding in PADDINGS
            if transform is None or is_run(mode, rank, transform)
        ],
    )


every_cell = cells()


def paddings(mode, padding_mode, rank):
    """The padding of a cell; a spline's margin on all four axes of rank 4 would be a map of millions, so one axis has it there."""
    return (padding_mode, *["reflection"] * 3) if rank == 4 and mode.startswith("bspline") else padding_mode


def make(rank, align_corners, batch=1, n=2, channels=1):
    """Points in and around a small map, away from the kinks at pixels and halfway between them."""
    size = SPATIAL[rank][::-1]
    position = torch.stack([torch.randint(-1, side + 1, (batch, n)) for side in size], -1) + 0.15 + 0.25 * torch.rand(batch, n, rank)
    coords = ts.coord.normalize(position.double(), size, align_corners)
    return coords, torch.randn(batch, channels, *SPATIAL[rank], dtype=torch.float64)


@every_cell
@pytest.mark.parametrize("align_corners", [False, True])
def test_derivatives(mode, padding_mode, rank, align_corners):
    """Backward, double backward and forward mode, by coords and map, at the default tolerances."""
    padding_mode = paddings(mode, padding_mode, rank)
    inputs = tuple(tensor.requires_grad_() for tensor in make(rank, align_corners, n=2 if rank < 3 else 1))
    function = functools.partial(ts.sample, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    fast = rank == 4 or (rank == 3 and mode.startswith("bspline"))
    assert gradcheck(function, inputs, check_forward_ad=True, fast_mode=fast)
    assert gradgradcheck(function, inputs, fast_mode=fast)


@every_cell
def test_derivatives_of_splat_and_jacobian(mode, padding_mode, rank):
    padding_mode = paddings(mode, padding_mode, rank)
    coords, featmap = (tensor.requires_grad_() for tensor in make(rank, False, n=1))
    values = torch.randn(1, 1, 1, dtype=torch.float64, requires_grad=True)
    fast = {"fast_mode": True, "check_forward_ad": True}
    size = ts.tensor_to_size(featmap)
    assert gradcheck(lambda c, v: ts.splat(c, v, size, mode, padding_mode), (coords, values), **fast)
    if mode not in ("nearest", "linear"):
        assert gradcheck(lambda c, m: ts.sample_with_jacobian(c, m, mode, padding_mode)[1], (coords, featmap), **fast)
    if rank < 3:
        assert gradgradcheck(lambda c, v: ts.splat(c, v, size, mode, padding_mode), (coords, values), fast_mode=True)


@every_cell
def test_function_transforms(mode, padding_mode, rank):
    padding_mode = paddings(mode, padding_mode, rank)
    coords, featmap = make(rank, False, n=2)
    function = functools.partial(ts.sample, mode=mode, padding_mode=padding_mode)
    all_coords, all_maps = torch.stack([coords, coords / 2]), torch.stack([featmap, featmap.sin()])
    assert_close(vmap(function)(all_coords, all_maps), torch.stack([function(c, m) for c, m in zip(all_coords, all_maps, strict=True)]))
    assert_close(vmap(function, (0, None))(all_coords, featmap), torch.stack([function(c, featmap) for c in all_coords]))
    assert_close(vmap(function, (None, 0))(coords, all_maps), torch.stack([function(coords, m) for m in all_maps]))
    for argument in (0, 1):
        assert_close(jacrev(function, argument)(coords, featmap), jacfwd(function, argument)(coords, featmap))

    def total(c):
        return function(c, featmap).sum()

    assert_close(hessian(total)(coords), torch.autograd.functional.hessian(total, coords))


@pytest.mark.slow
@cells("compile")
def test_compile(mode, padding_mode, rank):
    """One graph for any number of points, without a break."""
    torch._dynamo.reset()
    spline, padding_mode = mode.startswith("bspline"), paddings(mode, padding_mode, rank)
    # The sums of a prefilter take long to trace: at rank 1 it is part of the graph, beyond that the map comes filtered.
    filtered = spline and rank > 1
    function = functools.partial(ts.sample, mode=mode, padding_mode=padding_mode, prefilter=not filtered)
    compiled = torch.compile(
        lambda c, m: function(c, m), fullgraph=True, dynamic=True, backend="eager" if spline or rank > 2 else "aot_eager"
    )
    for n in (3, 5):
        coords, featmap = make(rank, False, batch=2, n=n, channels=3)
        featmap = ts.prefilter(featmap, mode, padding_mode) if filtered else featmap
        assert_close(compiled(coords, featmap), function(coords, featmap))


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "padding_mode"), [("linear", "border"), ("cubic", "reflection")])
def test_compile_to_machine_code(mode, padding_mode):
    """The default back-end, forward and backward; half a minute each."""
    torch._dynamo.reset()
    function = functools.partial(ts.sample, mode=mode, padding_mode=padding_mode)
    compiled = torch.compile(lambda c, m: function(c, m), fullgraph=True, dynamic=True)
    for n in (3, 5):
        coords, featmap = (tensor.requires_grad_() for tensor in make(2, False, batch=2, n=n, channels=3))
        incoming = torch.randn(2, n, 3, dtype=torch.float64)
        results = [f(coords, featmap) for f in (compiled, function)]
        assert_close(*results)
        assert_close(*(torch.autograd.grad(result, (coords, featmap), incoming) for result in results))


def test_compile_the_other_functions():
    """Encodings, coordinates, `splat`, `batch_index` and `fill` in one graph."""

    def step(coords, featmap, image):
        encoded = ts.sample(coords, featmap, encoder=ts.encoding.gamma, fill=0.0)
        flat = ts.sample(coords.flatten(0, 1), featmap, batch_index=image)
        everything = ts.sample(ts.coord.full_like(featmap), featmap, "nearest", feat_last=False)
        return encoded, flat, ts.splat(coords, encoded, (5, 4), normalize=True), everything, ts.encoding.nearest_pixel(coords, (3, 2))

    torch._dynamo.reset()
    arguments = (*make(2, False, batch=2, n=3), torch.tensor([0, 1, 1, 0, 1, 0]))
    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_close(compiled(*arguments), step(*arguments))


class Sampler(torch.nn.Module):
    def __init__(self, mode, padding_mode):
        super().__init__()
        self.mode, self.padding_mode = mode, padding_mode

    def forward(self, coords, featmap):
        return ts.sample(coords, featmap, self.mode, self.padding_mode)


@pytest.mark.slow
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_export(mode, padding_mode):
    model, (coords, featmap) = Sampler(mode, padding_mode), make(2, False, batch=2, n=3)
    batch, points = torch.export.Dim("batch", min=2), torch.export.Dim("points", min=2)
    shapes = {"coords": {0: batch, 1: points}, "featmap": {0: batch}}
    program = torch.export.export(model, (coords, featmap), dynamic_shapes=shapes)
    for arguments in (make(2, False, batch=2, n=3), make(2, False, batch=4, n=7)):
        assert_close(program.module()(*arguments), model(*arguments))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", [mode for mode in MODES if is_run(mode, 2, "ONNX")])
def test_onnx(mode, padding_mode):
    """Another machine gets the same numbers, from standard operators only."""
    model = Sampler(mode, padding_mode)
    coords, featmap = (tensor.float() for tensor in make(2, False, batch=2, n=3))
    shapes = {"coords": {0: "batch", 1: "points"}, "featmap": {0: "batch"}}
    program = torch.onnx.export(model, (coords, featmap), dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert {node.domain for node in program.model_proto.graph.node} == {""}
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    for arguments in (make(2, False, batch=2, n=3), make(2, False, batch=4, n=7)):
        coords, featmap = (tensor.float() for tensor in arguments)
        (result,) = session.run(None, {"coords": coords.numpy(), "featmap": featmap.numpy()})
        assert_close(torch.from_numpy(result), model(coords, featmap), rtol=1e-4, atol=1e-5)


@every_cell
def test_dtypes(mode, padding_mode, rank):
    padding_mode = paddings(mode, padding_mode, rank)
    coords = make(rank, False, batch=2, n=4)[0]
    for dtype in (*FLOATS, *LABELS):
        outcome = dtype_outcome(mode, dtype)
        featmap = torch.randint(0, 2, (2, 3, *SPATIAL[rank])).to(dtype) if dtype in LABELS else torch.randn(2, 3, *SPATIAL[rank]).to(dtype)
        if outcome == "TypeError":
            with pytest.raises(TypeError, match="mode='nearest'"):
                ts.sample(coords, featmap, mode, padding_mode)
            continue
        for coords_dtype in (torch.float32, torch.float64):
            values = ts.sample(coords.to(coords_dtype), featmap, mode, padding_mode)
            assert values.dtype == dtype
            exact = ts.sample(coords, featmap.to(torch.complex128 if dtype.is_complex else torch.float64), mode, padding_mode)
            if outcome == "bit-exact":
                assert torch.equal(values.to(exact.dtype), exact)
            else:
                eps = torch.finfo(dtype).eps if outcome == "summed in float32" else 4e-6
                assert_close(values.to(exact.dtype), exact, rtol=2 * eps, atol=4 * max(eps, 4e-6))
