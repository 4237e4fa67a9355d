"""What every check says, and the few checks that several rooms share."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from numbers import Integral, Rational, Real
from typing import Any, TypeGuard

import torch
from torch import Tensor


def message(function: str, argument: str, wanted: str, got: object, remedy: str) -> str:
    """Compose an error that names the function, the argument, what was wanted, what came and the remedy."""
    return f"{function}: `{argument}` must be {wanted}, got {got}. {remedy}"


def describe(value: object) -> str:
    """Say what came, in a line: of tensors and arrays their kind and shape, never their numbers."""
    if isinstance(value, Tensor) and value.is_nested:
        return "a nested tensor"
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, Real):
        return f"{type(value).__name__} of shape {tuple(value.shape)}, {value.dtype}"
    try:
        text = repr(value)
    except (RuntimeError, ValueError):
        return type(value).__name__
    return text if len(text) <= 80 and "tensor(" not in text and "array(" not in text else type(value).__name__


def check_tensor(function: str, argument: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(message(function, argument, "a torch.Tensor", type(value).__name__, "Convert it with torch.as_tensor."))
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        kind = "quantized" if value.is_quantized else "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        remedy = "Convert it with .dequantize(), .to_dense() or torch.nested.to_padded_tensor, or sample its parts one by one."
        raise TypeError(message(function, argument, "a dense torch.Tensor", f"a {kind} tensor", remedy))
    if value.dtype.is_floating_point and value.dtype.itemsize < 2:
        remedy = f"PyTorch only stores such numbers; compute with {argument}.half()."
        raise TypeError(message(function, argument, "of 16 bits or more if floating-point", value.dtype, remedy))


def check_floating(function: str, argument: str, value: Tensor, remedy: str | None = None) -> None:
    check_tensor(function, argument, value)
    if not value.is_floating_point():
        wanted = "a floating-point tensor of 16 bits or more"
        raise TypeError(message(function, argument, wanted, value.dtype, remedy or f"Convert it with {argument}.float()."))


def check_device(function: str, argument: str, device: torch.device, other: str, other_device: torch.device) -> None:
    if device != other_device:
        wanted = f"on the device of `{other}`, {other_device}"
        raise ValueError(message(function, argument, wanted, device, "Move one of them with .to(device)."))


def check_choice(function: str, argument: str, value: object, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(message(function, argument, f"one of {', '.join(map(repr, known))}", describe(value), "Check the spelling."))


def check_flag(function: str, argument: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(message(function, argument, "a bool", describe(value), "Pass True or False."))


def check_callable(function: str, argument: str, value: object, wanted: str, remedy: str) -> None:
    if not callable(value):
        raise TypeError(message(function, argument, f"a callable {wanted}", describe(value), remedy))
    if isinstance(value, type) and issubclass(value, torch.nn.Module):
        remedy = f"Build it: {value.__name__}(...)."
        raise TypeError(message(function, argument, f"a callable {wanted}", f"the class {value.__name__}", remedy))


def is_int(value: object) -> TypeGuard[int]:
    """Whether ``value`` counts things: an int, one of NumPy's or a traced int, but neither a bool nor a float."""
    return isinstance(value, (int, torch.SymInt, Integral)) and not isinstance(value, bool)


def as_int(value: int) -> int:
    """A plain int, or a traced one as it is: it stands for any number."""
    return value if isinstance(value, (int, torch.SymInt)) else int(value)


def check_count(function: str, argument: str, value: object, minimum: int = 1) -> int:
    """Check a number of things, and return it as a plain int."""
    wanted = f"an int of at least {minimum}"
    if not is_int(value):
        raise TypeError(message(function, argument, wanted, describe(value), "Pass a plain int."))
    if value < minimum or (not isinstance(value, torch.SymInt) and value >= 2**63):
        wanted = wanted if value < minimum else "an int below 2**63"
        raise ValueError(message(function, argument, wanted, describe(value), f"Pass {minimum} or more, as many as fit into memory."))
    return as_int(value)


def check_number(
    function: str, argument: str, value: object, wanted: str, remedy: str, low: float = -math.inf, high: float = math.inf
) -> None:
    """Check a plain number, and that it is from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message(function, argument, wanted, describe(value), remedy))
    # Ints are compared as they are, as they may be more than any float; NumPy's floats would turn the limits into their own dtype.
    exact: Any = value if isinstance(value, Rational) else float(value)
    if not low <= exact <= high:
        raise ValueError(message(function, argument, wanted, describe(value), remedy))


def check_size(function: str, size: object, argument: str = "size") -> tuple[int, ...]:
    """Return a size ``(w, h, ...)`` as a tuple of positive ints."""
    wanted = "a sequence of positive ints (w, h, ...)"
    remedy = "Take it from a map with ts.tensor_to_size(featmap); in 1-D write (w,)."
    if isinstance(size, torch.Size):
        got = "a torch.Size, whose order is (..., h, w)"
        raise TypeError(
            message(function, argument, wanted, got, "Write ts.tensor_to_size(featmap), or tuple(reversed(featmap.shape[2:])).")
        )
    if isinstance(size, (Tensor, str, bytes)) or not isinstance(size, Sequence) or not all(map(is_side, size)):
        raise TypeError(message(function, argument, wanted, describe(size), remedy))
    sides = tuple(int(side) if isinstance(side, Tensor) else as_int(side) for side in size)
    if len(sides) == 0 or min(sides) < 1 or (isinstance(max(sides), int) and max(sides) >= 2**63):
        raise ValueError(message(function, argument, wanted, describe(sides), remedy))
    return sides


def is_side(value: object) -> bool:
    """Whether ``value`` is an int, or the tensor that `torch.jit.trace` has in the place of one."""
    return is_int(value) or (isinstance(value, Tensor) and bool(torch._C._is_tracing()))


def check_memory(function: str, argument: str, numbers: int, dtype: torch.dtype, device: torch.device | str | None, got: object) -> None:
    """Refuse a result of so many numbers that its device cannot hold it, before the memory is asked for."""
    if not isinstance(numbers, int) or numbers * dtype.itemsize < 2**30:
        # Traced sizes are not known yet, and small ones need no question.
        return
    limit = _memory(torch.get_default_device() if device is None else torch.device(device))
    if numbers * dtype.itemsize > limit:
        wanted = f"small enough for a result that fits into {limit / 2**30:.3g} GiB of memory"
        remedy = f"It would take {numbers * dtype.itemsize / 2**30:.3g} GiB; ts.tiled and ts.chunked work piece by piece."
        raise ValueError(message(function, argument, wanted, describe(got), remedy))


def _memory(device: torch.device) -> float:
    """Bytes that a device has, or that this process may have; as many as addresses reach where nobody knows."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "meta":
        return 2.0**62
    if not hasattr(os, "sysconf"):
        return 2.0**47
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return float(installed)
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    return float(installed if allowed == resource.RLIM_INFINITY else min(installed, allowed))


def check_single_map(function: str, tensor: Tensor, argument: str = "tensor") -> None:
    """Check a map without a batch, ``(c, *spatial)``."""
    check_tensor(function, argument, tensor)
    if tensor.ndim < 2:
        remedy = f"Give it a channel dimension first: {argument}.unsqueeze(0)."
        raise ValueError(message(function, argument, "a map (c, *spatial)", f"shape {tuple(tensor.shape)}", remedy))


def check_map(function: str, argument: str, value: Tensor) -> None:
    """Check a map with exactly one batch dimension, ``(b, c, *spatial)``."""
    check_tensor(function, argument, value)
    if value.ndim < 3:
        wanted = "a map (b, c, *spatial) with at least 3 dimensions"
        remedy = f"Add what is missing with unsqueeze; a map (c, *spatial) goes to {function}.nobatch."
        raise ValueError(message(function, argument, wanted, f"shape {tuple(value.shape)}", remedy))
