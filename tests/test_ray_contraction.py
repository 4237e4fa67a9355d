"""Contraction against its formula and its derivatives, written down in float64: on axes, at length 1, at 0 and far out."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from torchsample import ray

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
NORM = pytest.mark.parametrize("norm", ["l2", "linf"])

DIRECTIONS = {
    "axis": [1.0, 0.0, 0.0],
    "other axis": [0.0, 0.0, -1.0],
    "plane": [0.6, -0.8, 0.0],
    "space": [2 / 7, 3 / 7, -6 / 7],
}
LENGTHS = [0.0, 1e-30, 1e-3, 0.5, 1 - 1e-6, 1.0, 1 + 1e-6, 1.5, 2.0, 50.0, 1e6, 1e18, 1e30]


def length_of(x, norm):
    """The length of a point, and its gradient: where the length is not unique, points are not tried."""
    if norm == "l2":
        length = math.sqrt(float((x**2).sum()))
        return length, x / length if length else 0 * x
    largest = int(np.abs(x).argmax())
    gradient = np.zeros(3)
    gradient[largest] = np.sign(x[largest])
    return abs(x[largest]), gradient


def contraction(x, norm):
    """Value and Jacobian of one point: ``g(length) * x``, with ``g`` = ``(2 - 1 / length) / length`` beyond length 1."""
    length, gradient = length_of(x, norm)
    if length <= 1:
        return x, np.eye(3)
    factor, slope = (2 - 1 / length) / length, -2 / length**2 + 2 / length**3
    return factor * x, factor * np.eye(3) + slope * np.outer(x, gradient)


def expansion(z, norm):
    """The inverse: ``g`` = ``1 / (length * (2 - length))``."""
    length, gradient = length_of(z, norm)
    if length <= 1:
        return z, np.eye(3)
    room = length * (2 - length)
    return z / room, np.eye(3) / room + (2 * length - 2) / room**2 * np.outer(z, gradient)


def check(function, oracle, point, norm, dtype):
    """A value, and the derivatives of reverse mode, forward mode and of a batch."""
    x = torch.tensor(point, dtype=dtype)
    value, jacobian = oracle(x.double().numpy(), norm)
    value, jacobian = torch.from_numpy(np.asarray(value)).to(dtype), torch.from_numpy(jacobian).to(dtype)
    eps = torch.finfo(dtype).eps
    # Near length 2, the inverse is steep: rounding of the length counts many times.
    steep = float(jacobian.abs().max())
    assert_close(function(x, norm), value, rtol=8 * eps * max(steep, 1), atol=0)
    tolerance = 32 * eps * max(steep, 1) * steep
    for derive in (torch.func.jacrev, torch.func.jacfwd):
        assert_close(derive(lambda p: function(p, norm))(x), jacobian, rtol=0, atol=tolerance)


@NORM
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_contraction(norm, direction, dtype):
    for length in LENGTHS:
        check(ray.contract, contraction, length * np.array(DIRECTIONS[direction]), norm, dtype)


@NORM
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_expansion(norm, direction, dtype):
    for length in (0.0, 1e-30, 1e-3, 0.5, 1 - 1e-6, 1.0, 1 + 1e-6, 1.5, 1.9, 1.99):
        check(ray.uncontract, expansion, length * np.array(DIRECTIONS[direction]), norm, dtype)


@NORM
@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_half_precision_is_rounded_once(norm, dtype):
    """All arithmetic is done in float32 at least."""
    half = 0.51 * torch.finfo(dtype).eps
    x = (torch.randn(500, 3, dtype=F64, generator=torch.Generator().manual_seed(0)) * 20).to(dtype)
    z = (torch.rand(500, 3, dtype=F64, generator=torch.Generator().manual_seed(1)) * 2.2 - 1.1).to(dtype)
    for function, points in ((ray.contract, x), (ray.uncontract, z)):
        got = function(points, norm)
        assert got.dtype == dtype
        assert_close(got.double(), function(points.double(), norm), rtol=half, atol=1e-7)


@NORM
def test_the_far_end(norm):
    """Length 2 is infinity, and beyond there is nothing, to the last digit."""
    for dtype in (F32, F64):
        eps = torch.finfo(dtype).eps
        before, at, beyond = (ray.uncontract(torch.tensor([0.0, length], dtype=dtype), norm) for length in (2 - 2 * eps, 2.0, 2 + 2 * eps))
        assert_close(before, torch.tensor([0.0, 1 / (2 * eps)], dtype=dtype), rtol=4 * eps, atol=0)
        assert at[1] == math.inf
        assert beyond.isnan().all()


@NORM
def test_infinity_and_nan(norm):
    for number in (math.inf, -math.inf, math.nan):
        assert ray.contract(torch.tensor([number, 1.0]), norm).isnan().any()


@NORM
def test_one_and_many_coordinates(norm):
    """Both lengths of a single coordinate are its size."""
    x = torch.tensor([[-3.0], [0.5], [2.0]])
    assert_close(ray.contract(x, norm), torch.tensor([[-5 / 3], [0.5], [1.5]]))
    wide = torch.zeros(2, 40)
    wide[1, 7] = -4.0
    assert_close(ray.contract(wide, norm)[1, 7], torch.tensor(-1.75))
