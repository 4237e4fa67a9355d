"""Kernels and boundaries of a user's own: what is malformed is named, what works keeps working; and what the library's own take."""

import fractions
import math
from unittest import mock

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
from hostile_values import BOUNDARIES, KERNELS, Mine, OwnBoundary, OwnKernel, fails
from torchsample.interpolation import boundary, kernels

COORDS, MAP = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.rand(2, 3, 4, 6)
BAD_KERNELS = {name: value for name, value in KERNELS if isinstance(value, ts.interpolation.Kernel) and "fails" not in name}
BAD_BOUNDARIES = {
    name: value
    for name, value in BOUNDARIES
    if isinstance(value, ts.interpolation.Boundary) and "fails" not in name and "index" not in name
}
CALLS = {
    "ts.sample": lambda mode, padding: ts.sample(COORDS, MAP, mode, padding),
    "ts.sample.nobatch": lambda mode, padding: ts.sample.nobatch(COORDS[0], MAP[0], mode, padding),
    "ts.sample_levels": lambda mode, padding: ts.sample_levels(COORDS, [MAP], mode, padding),
    "ts.sample_with_jacobian": lambda mode, padding: ts.sample_with_jacobian(COORDS, MAP, mode, padding),
    "ts.splat": lambda mode, padding: ts.splat(COORDS, COORDS, (6, 4), mode, padding),
    "ts.prefilter": lambda mode, padding: ts.prefilter(MAP, mode, padding),
    "ts.why": lambda mode, padding: ts.why(COORDS, MAP, mode, padding),
}


@pytest.mark.parametrize("name", CALLS)
def test_malformed_ones_are_named(name):
    for what, kernel in BAD_KERNELS.items():
        with pytest.raises(ValueError, match=rf"{name}: `mode` must be a Kernel with .*, got .*\. See ") as caught:
            CALLS[name](kernel, "border")
        assert len(str(caught.value)) < 400, what
    for what, rule in BAD_BOUNDARIES.items():
        for padding in (rule, ("zeros", rule)):
            with pytest.raises(ValueError, match=rf"{name}: `padding_mode` must be a Boundary whose .*, got .*\. See ") as caught:
                CALLS[name]("bilinear", padding)
            assert len(str(caught.value)) < 400, what


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("NoOffsets()", "got offsets None"),
        ("OwnKernel(offsets=(0, 1.5))", "got offsets (0, 1.5)"),
        ("OwnKernel(weigh=(t,))", "got 1 weights for 2 offsets"),
        ("OwnKernel(weigh=None)", "got weights that are None for 2 offsets"),
        ("OwnKernel(weigh=long)", "torch.int64 for Tensor of shape (3,), torch.float32"),
        ("OwnKernel(place=shape)", "got an anchor that is Tensor of shape (3, 1)"),
    ],
)
def test_what_is_wrong_with_a_kernel(kernel, words):
    with pytest.raises(ValueError, match="`mode`") as caught:
        ts.sample(COORDS, MAP, BAD_KERNELS[kernel])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("OwnBoundary(find=outside)", "got indices from 99 to"),
        ("OwnBoundary(find=before)", "got indices from -99 to"),
        ("OwnBoundary(find=None)", "got a resolve that is None"),
        ("OwnBoundary(find=floats)", "torch.float64 for Tensor of shape (7,), torch.int64"),
        ("OwnBoundary(bend=shape)", "got a fold that is Tensor of shape (3, 1)"),
        ("OwnBoundary(find=float mask)", "got a mask that is"),
    ],
)
def test_what_is_wrong_with_a_boundary(rule, words):
    with pytest.raises(ValueError, match="`padding_mode`") as caught:
        ts.sample(COORDS, MAP, padding_mode=BAD_BOUNDARIES[rule])
    assert words in str(caught.value)


def test_own_errors_pass_through():
    for kernel in (OwnKernel(weigh=fails), OwnKernel(place=fails)):
        with pytest.raises(Mine):
            ts.sample(COORDS, MAP, kernel)
    for rule in (OwnBoundary(bend=fails), OwnBoundary(find=fails)):
        with pytest.raises(Mine):
            ts.sample(COORDS, MAP, padding_mode=rule)


class Learned(ts.interpolation.Kernel):
    """Linear, times a parameter."""

    offsets = (0, 1)

    def __init__(self, scale):
        self.scale = scale

    def weights(self, t):
        return self.scale * (1 - t), self.scale * t


class Table(ts.interpolation.Boundary):
    """Pixels by a table, made for one side."""

    def __init__(self, side):
        self.order = torch.arange(side).flip(0)

    def resolve(self, index, side, align_corners):
        return self.order.to(index.device)[index.clamp(0, len(self.order) - 1)].to(index.dtype), None


def test_good_ones_work():
    """With parameters, on any device, made for one side only, as NumPy's ints, and where nothing can be tried."""
    scale = torch.tensor(2.0, requires_grad=True)
    ts.sample(COORDS, MAP, Learned(scale)).sum().backward()
    # One factor per axis.
    assert_close(scale.grad, 2 * scale.detach() * ts.sample(COORDS, MAP).sum())
    meta = Learned(torch.tensor(2.0, device="meta"))
    assert ts.sample(COORDS.to("meta"), MAP.to("meta"), meta).is_meta
    line, coords = torch.rand(1, 1, 50), torch.rand(1, 9, 1)
    assert_close(ts.sample(coords, line, padding_mode=Table(50)), ts.sample(coords, line.flip(-1)))
    assert_close(ts.sample(COORDS, MAP, OwnKernel(offsets=(np.int64(0), np.int64(1)))), ts.sample(COORDS, MAP))
    with torch.device("meta"):
        assert_close(ts.sample(COORDS, MAP, OwnKernel(), OwnBoundary()), ts.sample(COORDS, MAP))
    assert_close(torch.func.vmap(lambda c: ts.sample(c, MAP, OwnKernel(), OwnBoundary()))(COORDS[None])[0], ts.sample(COORDS, MAP))


@pytest.mark.parametrize(
    "mode", [Learned(2.0), ts.interpolation.Cubic(-1), ts.interpolation.BSpline(2)], ids=["learned", "cubic", "bspline"]
)
@pytest.mark.parametrize("padding_mode", ["zeros", OwnBoundary()], ids=["zeros", "own"])
def test_compiles_in_one_graph(mode, padding_mode):
    def call(coords, featmap):
        return ts.sample(coords, featmap, mode, padding_mode)

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="eager")
    assert_close(compiled(COORDS, MAP), call(COORDS, MAP))


def test_the_library_s_own_are_not_tried():
    with mock.patch.object(kernels, "kernel_fault", fails), mock.patch.object(boundary, "boundary_fault", fails):
        for mode in ("nearest", "bspline3", ts.interpolation.Cubic(-0.5)):
            ts.sample(COORDS, MAP, mode, ("reflection", ts.interpolation.Circular()))
        with pytest.raises(Mine):
            ts.sample(COORDS, MAP, OwnKernel())


@pytest.mark.parametrize("a", ["x", None, math.nan, math.inf, True, torch.tensor(0.5), 10**400])
def test_cubic_takes_finite_numbers(a):
    with pytest.raises((TypeError, ValueError), match=r"ts\.interpolation\.Cubic: `a` must be a finite number, got "):
        ts.interpolation.Cubic(a)


def test_numbers_become_plain_ones():
    assert ts.interpolation.Cubic(fractions.Fraction(-1, 2)) == ts.interpolation.Cubic(np.float32(-0.5)) == ts.interpolation.Cubic(-0.5)
    assert repr(ts.interpolation.Cubic(-1)) == "Cubic(a=-1.0)"
    assert repr(ts.interpolation.BSpline(np.int64(3))) == "BSpline(degree=3)"
    for degree in (1, 6, 3.0, True, "3", None, torch.tensor(3)):
        with pytest.raises(ValueError, match=r"ts\.interpolation\.BSpline: `degree` must be 2, 3, 4 or 5, got "):
            ts.interpolation.BSpline(degree)


KINDS = ["Nearest", "Linear", "Cubic", "BSpline"]
RULES = ["Zeros", "Border", "Reflection", "Circular"]
POSITIONS, INDICES = torch.linspace(-3, 8, 7), torch.arange(-3, 8)


@pytest.mark.parametrize(
    "wrong", [None, 3.0, [0.5], INDICES, POSITIONS + 0j, POSITIONS.to(torch.float8_e5m2), POSITIONS.to_sparse()], ids=str
)
def test_methods_refuse_what_is_no_position(wrong):
    for name in KINDS:
        kernel = getattr(ts.interpolation, name)()
        for method, argument in (("anchor", "position"), ("weights", "t"), ("slopes", "t")):
            with pytest.raises(TypeError, match=rf"ts\.interpolation\.{name}\.{method}: `{argument}` must be "):
                getattr(kernel, method)(wrong)
    for name in RULES:
        for method in ("fold", "fold_slope"):
            with pytest.raises(TypeError, match=rf"ts\.interpolation\.{name}\.{method}: `position` must be "):
                getattr(getattr(ts.interpolation, name)(), method)(wrong, 5, False, 2)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("side", 0), ("side", 2.5), ("side", 2**63), ("align_corners", 1), ("reach", -1), ("reach", "1"), ("reach", 2**63)],
)
def test_methods_refuse_what_is_no_axis(argument, value):
    for name in RULES:
        rule, axis = getattr(ts.interpolation, name)(), {"side": 5, "align_corners": False, "reach": 2, argument: value}
        for method in ("fold", "fold_slope"):
            with pytest.raises((TypeError, ValueError), match=rf"ts\.interpolation\.{name}\.{method}: `{argument}` must be "):
                getattr(rule, method)(POSITIONS, **axis)
        if argument != "reach":
            with pytest.raises((TypeError, ValueError), match=rf"ts\.interpolation\.{name}\.resolve: `{argument}` must be "):
                rule.resolve(INDICES, axis["side"], axis["align_corners"])
        for wrong in (POSITIONS, [1], INDICES.bool(), INDICES.to_sparse()):
            with pytest.raises(TypeError, match=rf"ts\.interpolation\.{name}\.resolve: `index` must be "):
                rule.resolve(wrong, 5, False)
        with pytest.raises(ValueError, match=r"`side` must be at most 1073741824 here"):
            rule.resolve(INDICES.int(), 2**31, False)
