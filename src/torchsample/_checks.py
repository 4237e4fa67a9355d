"""What every check says, and the few checks that several rooms share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TypeGuard

import torch
from torch import Tensor


def message(function: str, argument: str, wanted: str, got: object, remedy: str) -> str:
    """Compose an error that names the function, the argument, what was wanted, what came and the remedy."""
    return f"{function}: `{argument}` must be {wanted}, got {got}. {remedy}"


def check_tensor(function: str, argument: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(message(function, argument, "a torch.Tensor", type(value).__name__, "Convert it with torch.as_tensor."))


def check_choice(function: str, argument: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(message(function, argument, f"one of {', '.join(map(repr, known))}", repr(value), "Check the spelling."))


def check_flag(function: str, argument: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(message(function, argument, "a bool", repr(value), "Pass True or False."))


def check_callable(function: str, argument: str, value: object, wanted: str, remedy: str) -> None:
    if not callable(value):
        raise TypeError(message(function, argument, f"a callable {wanted}", repr(value), remedy))


def is_int(value: object) -> TypeGuard[int]:
    """Whether ``value`` counts things: an int or a traced int, but neither a bool nor a float."""
    return isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool)


def check_count(function: str, argument: str, value: object, minimum: int = 1) -> None:
    wanted = f"an int of at least {minimum}"
    if not is_int(value):
        raise TypeError(message(function, argument, wanted, repr(value), "Pass a plain int."))
    if value < minimum:
        raise ValueError(message(function, argument, wanted, value, "Ask for more."))


def check_number(
    function: str, argument: str, value: object, wanted: str, remedy: str, low: float = -math.inf, high: float = math.inf
) -> None:
    """Check a plain number, and that it is from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message(function, argument, wanted, repr(value), remedy))
    if not low <= float(value) <= high:
        raise ValueError(message(function, argument, wanted, value, remedy))


def check_size(function: str, size: object, argument: str = "size") -> tuple[int, ...]:
    """Return a size ``(w, h, ...)`` as a tuple of positive ints."""
    wanted = "a sequence of positive ints (w, h, ...)"
    remedy = "Take it from a map with ts.tensor_to_size(featmap); in 1-D write (w,)."
    if isinstance(size, Tensor) or not isinstance(size, Sequence) or not all(map(is_int, size)):
        raise TypeError(message(function, argument, wanted, repr(size), remedy))
    if len(size) == 0 or min(size) < 1:
        raise ValueError(message(function, argument, wanted, tuple(size), remedy))
    return tuple(size)


def check_map(function: str, argument: str, value: Tensor) -> None:
    """Check a map with exactly one batch dimension, ``(b, c, *spatial)``."""
    check_tensor(function, argument, value)
    if value.ndim < 3:
        wanted = "a map (b, c, *spatial) with at least 3 dimensions"
        remedy = "Add what is missing with unsqueeze; some functions have a .nobatch for maps (c, *spatial)."
        raise ValueError(message(function, argument, wanted, f"shape {tuple(value.shape)}", remedy))
