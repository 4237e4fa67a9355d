"""`torch.jit.trace` and `torch.export` of the functions that sample, beyond `sample` itself in the table of capabilities."""

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
from capabilities import MODES, PADDINGS

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")


def make(n=7):
    return 2.4 * torch.rand(2, n, 2) - 1.2, torch.rand(2, 6, 5, 4)


CALLS = {
    "jacobian": lambda c, m: ts.sample_with_jacobian(c, m, "bicubic", "reflection"),
    "fill and encoder": lambda c, m: ts.sample(c, m, fill=0.5, encoder=ts.encoding.gamma),
    "levels": lambda c, m: ts.sample_levels(c, [m, m[..., ::2]]),
    "batch_index": lambda c, m: ts.sample(c, m, batch_index=torch.tensor([1, 0])),
    "neighborhood": lambda c, m: tuple(ts.neighborhood(c, m, 3)),
    "local_ensemble": lambda c, m: ts.local_ensemble(lambda q: q.sin(), c, m, cell=(0.1, 0.1), unfold=3),
    "splat": lambda c, m: ts.splat(c, c.sin(), ts.tensor_to_size(m)),
    "whole map": lambda c, m: ts.sample(ts.coord.full_like(m), m, "nearest") + c.sum(),
    "nearest_pixel": lambda c, m: ts.encoding.nearest_pixel(c, ts.tensor_to_size(m)),
    "unnormalize": lambda c, m: ts.coord.unnormalize(c, ts.tensor_to_size(m), clip=True),
    "roi_align": lambda c, m: ts.roi_align(torch.eye(2, 3).unsqueeze(0), m[:1], 2, 2) + c.sum(),
    "uncertain": lambda c, m: ts.coord.uncertain(m, n=3, return_batch_index=True)[1] + c.sum(),
    "subdivide": lambda c, m: ts.subdivide(m[:, :1], lambda points: points[..., :1], 2, 9, "binary_logits") + c.sum(),
}
"""From coords and a map to what is traced; those that sample at the coords work for any number of points."""


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_jit_trace_of_sample(mode, padding_mode):
    def function(coords, featmap):
        return ts.sample(coords, featmap, mode, padding_mode)

    traced = torch.jit.trace(function, make())
    for n in (7, 9):
        coords, featmap = make(n)
        assert_close(traced(coords, featmap), function(coords, featmap))


@pytest.mark.parametrize("name", CALLS)
def test_jit_trace(name):
    function = CALLS[name]
    traced = torch.jit.trace(function, make())
    for n in (7, 9):
        coords, featmap = make(n)
        assert_close(traced(coords, featmap), function(coords, featmap))


@pytest.mark.parametrize("name", ["sample", "spline", "jacobian", "levels", "neighborhood", "local_ensemble", "uncertain"])
def test_a_traced_map_keeps_its_size(name):
    """Sides are constants of a trace, as PyTorch warns: a map of another size fails, and is not read as one of that size."""
    calls = {"sample": lambda c, m: ts.sample(c, m), "spline": lambda c, m: ts.sample(c, m, "bspline3", "reflection")} | CALLS
    with pytest.warns(torch.jit.TracerWarning, match="Python integer"):
        traced = torch.jit.trace(calls[name], make())
    for size in ((10, 8), (5, 8), (3, 4)):
        with pytest.raises(RuntimeError, match="expanded size of the tensor"):
            traced(make()[0], torch.rand(2, 6, *size))


def test_export_for_maps_of_any_size():
    """What a trace cannot do."""

    class Sampler(torch.nn.Module):
        def forward(self, coords, featmap):
            return ts.sample(coords, featmap, "bilinear", ("reflection", "zeros")), ts.sample_with_jacobian(coords, featmap, "bicubic")

    dim = torch.export.Dim
    shapes = {"coords": {1: dim("points", min=2)}, "featmap": {2: dim("height", min=3), 3: dim("width", min=3)}}
    program = torch.export.export(Sampler(), make(), dynamic_shapes=shapes)
    coords, featmap = make(9)[0], torch.rand(2, 6, 17, 23)
    assert_close(program.module()(coords, featmap), Sampler()(coords, featmap))


@pytest.mark.slow
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ("bspline2", "bspline4", "bspline5")])
def test_export_of_the_jacobian(mode, padding_mode):
    class Slopes(torch.nn.Module):
        def forward(self, coords, featmap):
            return ts.sample_with_jacobian(coords, featmap, mode, padding_mode)

    points = {"coords": {1: torch.export.Dim("points", min=2)}, "featmap": {}}
    program = torch.export.export(Slopes(), make(), dynamic_shapes=points)
    for n in (7, 9):
        arguments = make(n)
        assert_close(program.module()(*arguments), Slopes()(*arguments))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "jacobian" else [pytest.mark.slow]) for name in CALLS if name != "uncertain"]
)
def test_export(name):
    class Call(torch.nn.Module):
        def forward(self, coords, featmap):
            return CALLS[name](coords, featmap)

    arguments = make()
    program = torch.export.export(Call(), arguments)
    assert_close(program.module()(*arguments), Call()(*arguments))
