"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast, overload

import torch
from torch import Tensor, nn

from .._checks import check_count, check_memory, check_tensor, describe, message

Activation = Callable[[Tensor], Tensor]


class _Apply(nn.Module):
    """A plain function as a layer."""

    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, tensor: Tensor) -> Tensor:
        return self.function(tensor)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def _make_activation(activation: Activation | type[nn.Module] | None) -> nn.Module:
    if activation is None:
        return nn.ReLU()
    if isinstance(activation, nn.Module):
        return activation
    if isinstance(activation, type) and issubclass(activation, nn.Module):
        return activation()
    if not callable(activation):
        wanted = "a Module, a Module class or a function on tensors"
        remedy = "Pass torch.nn.GELU(), torch.nn.GELU or torch.sin, say."
        raise TypeError(message("ts.models.MLP", "activation", wanted, describe(activation), remedy))
    return _Apply(cast("Activation", activation))


class MLP(nn.Sequential):
    """Linear layers with an activation between them, and none after the last.

    Parameters
    ----------
    *layers : int
        Number of features at the input, between the layers, and at the output; or one sequence of them.
    activation : callable, optional
        Applied between layers: a function on tensors or a Module, which all layers share, or a Module class, of which each
        gets its own. ``torch.nn.ReLU()`` if not given.

    Raises
    ------
    ValueError
        If there are fewer than two layers or a width is not positive; when called, if the input has another last dimension
        than the first layer.
    TypeError
        If a width is not an int or the activation not callable.

    Notes
    -----
    Works on ``(..., features)`` of any rank, memory layout and (zero) size, and gives ``(..., out_features)``. The layers
    are those of an ``nn.Sequential``: ``model[0]`` is the first ``nn.Linear``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> model = ts.models.MLP(40, 256, 3)
    >>> model(torch.zeros(8, 4096, 40)).shape
    torch.Size([8, 4096, 3])
    """

    def __init__(self, *layers: int | Sequence[int], activation: Activation | type[nn.Module] | None = None) -> None:
        function = "ts.models.MLP"
        widths: Sequence[object] = layers[0] if len(layers) == 1 and isinstance(layers[0], Sequence) else layers
        if len(widths) < 2:
            remedy = "MLP(2, 256, 3) has 2 inputs, 256 hidden features and 3 outputs."
            raise ValueError(message(function, "layers", "at least two widths", describe(tuple(widths)), remedy))
        checked = [check_count(function, "layers", width) for width in widths]
        for n_in, n_out in pairwise(checked):
            check_memory(function, "layers", n_in * n_out, torch.get_default_dtype(), None, widths)
        modules: list[nn.Module] = []
        for n_in, n_out in pairwise(checked):
            modules += [nn.Linear(n_in, n_out), _make_activation(activation)]
        super().__init__(*modules[:-1])
        self.in_features, self.out_features = checked[0], checked[-1]

    if TYPE_CHECKING:
        # What `nn.Module` declares as a callable of anything.
        def __call__(self, input: Tensor) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> nn.Sequential: ...
    @overload
    def __getitem__(self, index: int) -> nn.Module: ...
    def __getitem__(self, index: slice | int) -> nn.Module:
        layers = list(self)[index]
        return layers if isinstance(layers, nn.Module) else nn.Sequential(*layers)

    def _check_dtype(self, input: Tensor) -> None:
        """Refuse numbers that the first layer does not multiply; autocast converts them."""
        weight = getattr(next(self.children()), "weight", None)
        if not isinstance(weight, Tensor) or torch.compiler.is_compiling() or torch.is_autocast_enabled(input.device.type):
            return
        if weight.dtype != input.dtype:
            remedy = "Convert one of them: model.to(input.dtype) or input.to(torch.float32)."
            raise TypeError(message("ts.models.MLP", "input", f"of the dtype of the weights, {weight.dtype}", input.dtype, remedy))

    def forward(self, input: Tensor) -> Tensor:
        """Apply the network to the last dimension of ``input``."""
        check_tensor("ts.models.MLP", "input", input)
        if not (input.is_floating_point() or input.is_complex()):
            remedy = "Convert it with input.float()."
            raise TypeError(message("ts.models.MLP", "input", "a floating-point tensor", input.dtype, remedy))
        self._check_dtype(input)
        if input.ndim == 0 or input.shape[-1] != self.in_features:
            wanted = f"of shape (..., {self.in_features})"
            remedy = "Features go last: see ts.feat_last."
            raise ValueError(message("ts.models.MLP", "input", wanted, f"shape {tuple(input.shape)}", remedy))
        output = input
        for layer in self:
            output = layer(output)
        return output
