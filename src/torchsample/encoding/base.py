"""What every encoding Module has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .._checks import check_count, check_memory


class Encoding(nn.Module, ABC):
    """A Module from coordinates ``(..., dim)`` to features ``(..., out_features(dim))``.

    It checks its arguments when it is built, prints them, and knows how wide its output is.

    Examples
    --------
    >>> import torchsample as ts
    >>> encoder = ts.encoding.Gamma(order=4)
    >>> encoder
    Gamma(order=4)
    >>> ts.models.MLP(encoder.out_features(dim=2), 64, 3)[0]
    Linear(in_features=16, out_features=64, bias=True)
    """

    if TYPE_CHECKING:
        # What `nn.Module` declares as a callable of anything.
        def __call__(self, coords: Tensor) -> Tensor: ...

    @abstractmethod
    def forward(self, coords: Tensor) -> Tensor:
        """Encode coordinates ``(..., dim)``."""

    def out_features(self, dim: int) -> int:
        """Number of features for points of ``dim`` coordinates.

        Parameters
        ----------
        dim : int
            Number of coordinates of a point, at least 1.

        Returns
        -------
        int
            The last dimension of the output.

        Raises
        ------
        ValueError, TypeError
            If ``dim`` is not a positive int, or the encoding is for another number of coordinates.
        """
        function = f"ts.encoding.{type(self).__name__}.out_features"
        dim = check_count(function, "dim", dim)
        check_memory(function, "dim", dim, torch.int64, None, dim)
        # No point is enough to see how wide the result is.
        tensors = (*self.parameters(), *self.buffers())
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
        with torch.no_grad():
            return int(self(like.new_empty(0, dim)).shape[-1])
