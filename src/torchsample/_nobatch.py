"""Attach to a function its form without a batch, so that ``f.nobatch(...)`` works and type checkers know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar, cast

_Batched = ParamSpec("_Batched")
_Single = ParamSpec("_Single")
_Result = TypeVar("_Result", covariant=True)


class WithNobatch(Protocol[_Batched, _Single, _Result]):
    """A function that carries its form without a batch."""

    @property
    def nobatch(self) -> Callable[_Single, _Result]: ...

    def __call__(self, *args: _Batched.args, **kwargs: _Batched.kwargs) -> _Result: ...


def with_nobatch(
    single: Callable[_Single, _Result],
) -> Callable[[Callable[_Batched, _Result]], WithNobatch[_Batched, _Single, _Result]]:
    """Decorate a function with ``single``, its form without a batch."""

    def attach(function: Callable[_Batched, _Result]) -> WithNobatch[_Batched, _Single, _Result]:
        name = f"{function.__name__}.nobatch"
        single.__name__, single.__qualname__ = "nobatch", name
        function.nobatch = single  # type: ignore[attr-defined]
        return cast("WithNobatch[_Batched, _Single, _Result]", function)

    return attach
