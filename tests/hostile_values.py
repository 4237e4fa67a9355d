"""What `hostile` puts in the place of an argument, and which of it can never mean anything there.

The functions here also stand for a user's own: an exception that comes from this file is the user's, and passes through.
"""

from __future__ import annotations

import decimal
import fractions
import math
import numbers
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import torchsample as ts

Value = tuple[str, Any]
Kernel, Boundary = ts.interpolation.Kernel, ts.interpolation.Boundary

FLOAT8 = [getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e8m0fnu") if hasattr(torch, name)]
COMPLEX = [torch.complex32, torch.complex64, torch.complex128]
WHOLE = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, *FLOAT8, *COMPLEX, *WHOLE]


class Mine(Exception):  # noqa: N818
    """What a user's own function raises."""


def fails(*_: Any, **__: Any) -> Any:
    raise Mine


def takes_nothing() -> None: ...


class Thing:
    """A class where a value is wanted."""

    def __init__(self, size: Any = None) -> None:
        if size is not None:
            raise Mine


class Wide(nn.Linear):
    """A layer for other features than there are."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


def _answer(label: str, change: Callable[[Tensor], Any]) -> Value:
    def answer(x: Any = None, *_: Any, **__: Any) -> Any:
        return change(x) if isinstance(x, Tensor) else x

    return f"lambda x: {label}", answer


CALLABLES: list[Value] = [
    ("fails", fails),
    ("takes_nothing", takes_nothing),
    ("nn.Linear(7, 2)", Wide(7, 2)),
    ("nn.Tanh", nn.Tanh),
    _answer("None", lambda _: None),
    _answer("3", lambda _: 3),
    _answer("'x'", lambda _: "x"),
    _answer("[]", lambda _: []),
    _answer("{}", lambda _: {}),
    _answer("x.numpy()", lambda x: x.detach().numpy() if x.device.type == "cpu" and type(x) is Tensor else None),
    _answer("(x, x)", lambda x: (x, x)),
    _answer("x.sum()", lambda x: x.sum()),
    _answer("x.sum(-1)", lambda x: x.sum(-1)),
    _answer("x[:0]", lambda x: x[:0]),
    _answer("x[1:]", lambda x: x[1:]),
    _answer("x[..., :0]", lambda x: x[..., :0]),
    _answer("x[None]", lambda x: x[None]),
    _answer("x.long()", lambda x: x.long()),
    _answer("x + 0j", lambda x: x + 0j),
    _answer("x.to('meta')", lambda x: x.to("meta")),
    _answer("x.double()", lambda x: x.double()),
    _answer("x * nan", lambda x: x * math.nan),
    _answer("x.to_sparse()", lambda x: x.to_sparse()),
    _answer("x.to(float8)", lambda x: x.to(FLOAT8[0])),
    _answer("x > 0", lambda x: x > 0),
]


class OwnKernel(Kernel):
    """A linear kernel, but for what is spoilt."""

    offsets = (0, 1)

    def __init__(self, **spoilt: Any) -> None:
        vars(self).update(spoilt)

    def anchor(self, position: Tensor) -> Tensor:
        change = vars(self).get("place")
        return change(position) if change else position.floor()

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        change = vars(self).get("weigh")
        return change(t) if change else (1 - t, t)


class NoOffsets(Kernel):
    """A kernel that forgot something."""

    def weights(self, t: Tensor) -> tuple[Tensor, ...]:
        return 1 - t, t


class OwnBoundary(Boundary):
    """A border, but for what is spoilt."""

    def __init__(self, **spoilt: Any) -> None:
        vars(self).update(spoilt)

    def fold(self, position: Tensor, side: int, align_corners: bool, reach: int) -> Tensor:
        change = vars(self).get("bend")
        return change(position) if change else position.clamp(-reach - 1, side + reach)

    def resolve(self, index: Tensor, side: int, align_corners: bool) -> tuple[Tensor, Tensor | None]:
        change = vars(self).get("find")
        return change(index.clamp(0, side - 1)) if change else (index.clamp(0, side - 1), None)


KERNELS: list[Value] = [
    ("NoOffsets()", NoOffsets()),
    *((f"OwnKernel(offsets={value!r})", OwnKernel(offsets=value)) for value in ((), None, 1, (0, 1.5), ("a", "b"), (0,), (0, 1, 2), "ab")),
    *((f"OwnKernel(poles={value!r})", OwnKernel(poles=value)) for value in (None, (2.0,), ("a",), (math.nan,), 0.5)),
    ("OwnKernel(selects='x')", OwnKernel(selects="x")),
    ("OwnKernel(weigh=t)", OwnKernel(weigh=lambda t: t)),
    ("OwnKernel(weigh=None)", OwnKernel(weigh=lambda _: None)),
    ("OwnKernel(weigh=(1, 0))", OwnKernel(weigh=lambda _: (1.0, 0.0))),
    ("OwnKernel(weigh=(t,))", OwnKernel(weigh=lambda t: (t,))),
    ("OwnKernel(weigh=scalars)", OwnKernel(weigh=lambda t: (t.sum(), t.sum()))),
    ("OwnKernel(weigh=shape)", OwnKernel(weigh=lambda t: (t[..., None], t[..., None]))),
    ("OwnKernel(weigh=short)", OwnKernel(weigh=lambda t: (t[1:], t[1:]))),
    ("OwnKernel(weigh=long)", OwnKernel(weigh=lambda t: (t.long(), t.long()))),
    ("OwnKernel(weigh=complex)", OwnKernel(weigh=lambda t: (t + 0j, t + 0j))),
    ("OwnKernel(weigh=fails)", OwnKernel(weigh=fails)),
    ("OwnKernel(place=None)", OwnKernel(place=lambda _: None)),
    ("OwnKernel(place=shape)", OwnKernel(place=lambda x: x[..., None])),
    ("OwnKernel(place=scalar)", OwnKernel(place=lambda x: x.sum())),
    ("OwnKernel(place=complex)", OwnKernel(place=lambda x: x + 0j)),
    ("OwnKernel(place=fails)", OwnKernel(place=fails)),
    ("OwnKernel, the class", OwnKernel),
    ("Cubic, the class", ts.interpolation.Cubic),
]
BOUNDARIES: list[Value] = [
    ("OwnBoundary(bend=None)", OwnBoundary(bend=lambda _: None)),
    ("OwnBoundary(bend=shape)", OwnBoundary(bend=lambda x: x[..., None])),
    ("OwnBoundary(bend=short)", OwnBoundary(bend=lambda x: x[1:])),
    ("OwnBoundary(bend=long)", OwnBoundary(bend=lambda x: x.long())),
    ("OwnBoundary(bend=fails)", OwnBoundary(bend=fails)),
    ("OwnBoundary(find=index)", OwnBoundary(find=lambda i: i)),
    ("OwnBoundary(find=None)", OwnBoundary(find=lambda _: None)),
    ("OwnBoundary(find=triple)", OwnBoundary(find=lambda i: (i, None, None))),
    ("OwnBoundary(find=floats)", OwnBoundary(find=lambda i: (i.double(), None))),
    ("OwnBoundary(find=outside)", OwnBoundary(find=lambda i: (i + 99, None))),
    ("OwnBoundary(find=before)", OwnBoundary(find=lambda i: (i - 99, None))),
    ("OwnBoundary(find=shape)", OwnBoundary(find=lambda i: (i[..., None], None))),
    ("OwnBoundary(find=(None, None))", OwnBoundary(find=lambda _: (None, None))),
    ("OwnBoundary(find=float mask)", OwnBoundary(find=lambda i: (i, i.double()))),
    ("OwnBoundary(find=mask of another shape)", OwnBoundary(find=lambda i: (i, (i > 0)[..., None]))),
    ("OwnBoundary(find=fails)", OwnBoundary(find=fails)),
    ("OwnBoundary, the class", OwnBoundary),
    ("Zeros, the class", ts.interpolation.Zeros),
    ("[]", []),
    ("['zeros']", ["zeros"]),
    ("['zeros'] * 9", ["zeros"] * 9),
    ("['zeros', 3]", ["zeros", 3]),
    ("{'zeros', 'border'}", {"zeros", "border"}),
]

STRANGE: list[Value] = [
    ("None", None),
    ("''", ""),
    ("'x'", "x"),
    ("'nearest '", "nearest "),
    ("b'x'", b"x"),
    ("{}", {}),
    ("{'a': 1}", {"a": 1}),
    ("{1, 2}", {1, 2}),
    ("object()", object()),
    ("1j", 1j),
    ("True", True),
    ("False", False),
    ("[]", []),
    ("()", ()),
    ("[1, 2]", [1, 2]),
    ("[[1, 2], [3]]", [[1, 2], [3]]),
    ("[None]", [None]),
    ("['x', 'y']", ["x", "y"]),
    ("[nan, 1.0]", [math.nan, 1.0]),
    ("range(3)", range(3)),
    ("Thing", Thing),
    ("math", math),
    ("...", ...),
    ("slice(2)", slice(2)),
    ("np.zeros(3)", np.zeros(3)),
    ("np.array(['x'])", np.array(["x"])),
    ("np.array([object()])", np.array([object()])),
    ("np.float32(0.5)", np.float32(0.5)),
    ("np.int64(2)", np.int64(2)),
    ("np.bool_(True)", np.bool_(True)),
    ("np.float64(nan)", np.float64(math.nan)),
    ("Fraction(1, 2)", fractions.Fraction(1, 2)),
    ("Decimal('1.5')", decimal.Decimal("1.5")),
    ("nan", math.nan),
    ("inf", math.inf),
    ("-inf", -math.inf),
    ("1e400 as int", 10**400),
    ("0", 0),
    ("-1", -1),
    ("-10**30", -(10**30)),
    ("1", 1),
    ("0.5", 0.5),
    ("2.0", 2.0),
    ("-0.5", -0.5),
    ("1e30", 1e30),
    ("2**31", 2**31),
    ("2**63", 2**63),
    ("10**12", 10**12),
    ("10**30", 10**30),
    ("torch.float32", torch.float32),
    ("torch.int64", torch.int64),
    ("torch.device('meta')", torch.device("meta")),
    ("torch.tensor(2)", torch.tensor(2)),
    ("torch.tensor(nan)", torch.tensor(math.nan)),
    ("torch.zeros(3)", torch.zeros(3)),
    ("torch.zeros(0)", torch.zeros(0)),
    ("torch.Generator()", torch.Generator()),
    ("torch", torch),
]
SIZES: list[Value] = [
    *((repr(size), size) for size in ((), (0, 4), (-1, 4), (4,), (4, 3, 2), (4, 3, 2, 1), (4.0, 3), (True, 3), (4, None), "43", (4, "3"))),
    *((repr(size), size) for size in ((2**31, 2**31), (2**31, 1), (1, 10**12), (2**63, 2), (10**30, 2), (math.nan, 3), (2**16, 2**16))),
    ("np.array([4, 3])", np.array([4, 3])),
    ("(np.int64(4), 3)", (np.int64(4), 3)),
    ("torch.tensor([4, 3])", torch.tensor([4, 3])),
    ("torch.Size([4, 3])", torch.Size([4, 3])),
]
DEVICES: list[Value] = [
    (repr(name), name) for name in ("cuda", "cuda:99", "meta", "nonsense", "", "mps", "xla", "cpu:0", "cpu:7", 0, 99, 1.5)
]
NUMBERS: list[Value] = [(repr(value), value) for value in (-1.0, 0.0, 1.0, 2.0, 1e-40, 1e308, -1e308, 5e-324)]
POOLS: dict[str, list[Value]] = {
    "count": [("3.0", 3.0), ("torch.tensor(3)", torch.tensor(3)), ("'3'", "3"), ("2**31 - 1", 2**31 - 1), ("2**40", 2**40), ("-2", -2)],
    "size": SIZES,
    "device": DEVICES,
    "number": NUMBERS,
    "measure": [*NUMBERS, ("r(5)", torch.linspace(-1, 1, 5)), ("r(3)", torch.linspace(-1, 1, 3)), ("(0.1, 0.2)", (0.1, 0.2))],
    "callable": CALLABLES,
    "mode": KERNELS,
    "padding": BOUNDARIES,
    "dtype": [(repr(dtype), dtype) for dtype in DTYPES],
    "tensors": [("[3, 4]", [3, 4]), ("[torch.zeros(3)]", [torch.zeros(3)]), ("[featmap, None]", [torch.zeros(2, 3, 4, 6), None])],
}


# Tensors of the wrong kind.


def _jagged(x: Tensor) -> Tensor:
    rows = x.detach().reshape(-1, x.shape[-1] if x.ndim else 1).float()
    return torch.nested.nested_tensor([rows, rows[:1]], layout=torch.jagged)


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.detach().clone()


class Odd(Tensor):
    """A subclass that means nothing else."""


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "[0]": lambda x: x[0],
    "[..., 0]": lambda x: x[..., 0],
    "[None]": lambda x: x[None],
    "[..., None]": lambda x: x[..., None],
    "[:0]": lambda x: x[:0],
    "[..., :0]": lambda x: x[..., :0],
    "[..., :1]": lambda x: x[..., :1],
    "[:, :0]": lambda x: x[:, :0],
    ".mT": lambda x: x.transpose(0, -1),
    ".repeat(3)": lambda x: torch.cat([x] * 3),
    "cat(-1)": lambda x: torch.cat([x, x], -1),
    ".flatten()": lambda x: x.flatten(),
    ".sum()": lambda x: x.sum(),
    "10-D": lambda x: x.reshape(*[1] * (10 - x.ndim), *x.shape),
    "63-D": lambda x: x.reshape(*[1] * (63 - x.ndim), *x.shape),
    "expanded": lambda x: x.expand(7, *x.shape),
    "numpy": lambda x: x.numpy(),
    "tolist": lambda x: x.tolist(),
    "list of rows": lambda x: list(x.unbind(0)),
    "meta": lambda x: x.to("meta"),
    "COO": lambda x: x.to_sparse(),
    "CSR": lambda x: (x if x.ndim > 1 else x[None]).to_sparse_csr(),
    "nested": lambda x: torch.nested.nested_tensor([x.detach(), x.detach()]),
    "jagged": _jagged,
    "quint8": lambda x: torch.quantize_per_tensor(x.float(), 0.1, 3, torch.quint8),
    "qint32": lambda x: torch.quantize_per_tensor(x.float(), 0.1, 3, torch.qint32),
    "mkldnn": lambda x: x.float().to_mkldnn(),
    "requires_grad": lambda x: x.detach().clone().requires_grad_(),
    "inference": _inference,
    "strided": lambda x: torch.cat([x, x], -1)[..., ::2],
    "subclass": lambda x: x.as_subclass(Odd),
    "Parameter": lambda x: nn.Parameter(x, requires_grad=x.is_floating_point()),
    "nan": lambda x: x * math.nan,
    "inf": lambda x: x * math.inf,
    "-x": lambda x: -x,
    "x * 1e30": lambda x: x * 1e30,
    "x - 5": lambda x: x - 5,
    "zeros": lambda x: torch.zeros_like(x),
    "ones * 2**40": lambda x: torch.full_like(x, 2**40),
    **{str(dtype): lambda x, dtype=dtype: x.to(dtype) for dtype in DTYPES},
}


def spoil(value: Tensor) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every change to a tensor, by name."""
    for label, change in CHANGES.items():
        yield label, lambda change=change: change(value)


def made(change: Callable[[], Any]) -> Any:
    """A changed tensor; None where torch itself cannot make it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return change()
        except Exception:
            return None


# What can never mean anything.


def _is_odd(x: Tensor) -> bool:
    """Layouts and dtypes that no function here has a use for."""
    return x.is_nested or x.layout != torch.strided or x.is_quantized or x.dtype in FLOAT8


def _is_number(value: Any) -> bool:
    return isinstance(value, (numbers.Real, decimal.Decimal)) and not isinstance(value, bool) and value == value


def _is_count(value: Any, least: int) -> bool:
    if isinstance(value, (bool, Tensor, np.ndarray)):
        return isinstance(value, Tensor) and not value.dtype.is_floating_point
    try:
        return operator.index(value) >= least
    except TypeError:
        return False


def _is_size(value: Any) -> bool:
    if isinstance(value, (list, tuple, range)):
        return len(value) > 0 and all(_is_count(side, 1) for side in value)
    return _is_count(value, 1) or isinstance(value, (np.ndarray, Tensor))


MODES = ("nearest", "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "bspline2", "bspline3", "bspline4", "bspline5")
KNOWN = (*MODES, "zeros", "border", "reflection", "circular")
SENSE: dict[str, Callable[[Any], bool]] = {
    "tensor": lambda x: isinstance(x, Tensor) and not _is_odd(x),
    "floats": lambda x: isinstance(x, Tensor) and not _is_odd(x) and x.is_floating_point(),
    "reals": lambda x: isinstance(x, Tensor) and not _is_odd(x) and not x.is_complex() and x.dtype != torch.bool,
    "integers": lambda x: isinstance(x, Tensor) and not _is_odd(x) and not x.is_floating_point() and not x.is_complex(),
    "bools": lambda x: isinstance(x, Tensor) and not _is_odd(x) and x.dtype == torch.bool,
    "array": lambda x: isinstance(x, (Tensor, np.ndarray)) and not (isinstance(x, Tensor) and _is_odd(x)),
    "tensors": lambda x: isinstance(x, (list, tuple, dict)) and bool(x) and all(map(torch.is_tensor, getattr(x, "values", x.__iter__)())),
    "count": lambda x: _is_count(x, 0),
    "whole": lambda x: _is_count(x, -(10**40)),
    "size": _is_size,
    "number": lambda x: _is_number(x) or (isinstance(x, Tensor) and x.numel() == 1),
    "measure": lambda x: _is_number(x) or isinstance(x, (list, tuple, range, np.ndarray)) or (isinstance(x, Tensor) and not _is_odd(x)),
    "flag": lambda x: isinstance(x, bool),
    "callable": callable,
    "mode": lambda x: isinstance(x, Kernel) or (isinstance(x, str) and x in KNOWN),
    "padding": lambda x: isinstance(x, (Boundary, list, tuple)) or (isinstance(x, str) and x in KNOWN),
    "choice": lambda x: isinstance(x, str) and x not in ("", "x", "nearest "),
    "generator": lambda x: isinstance(x, torch.Generator),
    "dtype": lambda x: isinstance(x, torch.dtype) and x.is_floating_point and x not in FLOAT8,
    "device": lambda x: isinstance(x, (str, torch.device)) or _is_count(x, 0),
    "any": lambda _: True,
}
"""Whether a value of a kind of argument may mean something; what may not must not be accepted."""
