"""Whether a call is an ordinary one, on numbers that are there: only then may code look at numbers, or do without derivatives."""

from __future__ import annotations

import torch
from torch import Tensor


def is_transformed(*tensors: Tensor) -> bool:
    """Whether a transform of `torch.func` is active, which only plain operations follow, or a tensor is vectorized by autograd."""
    functorch = torch._C._functorch
    return functorch.peek_interpreter_stack() is not None or any(functorch.is_legacy_batchedtensor(tensor) for tensor in tensors)


def has_subclass(*tensors: Tensor) -> bool:
    """Whether a tensor is of a class of its own, which may give operations another meaning."""
    return any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in tensors)


def why_not_eager(*tensors: Tensor) -> str | None:
    """Why a call must keep to plain differentiable operations, or None."""
    if has_subclass(*tensors):
        return "a tensor is of a subclass"
    if torch.compiler.is_compiling() or torch._C._is_tracing() or torch._C._len_torch_dispatch_stack():
        return "the call is being traced or compiled"
    if is_transformed(*tensors):
        return "a transform of torch.func is active"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    return None
