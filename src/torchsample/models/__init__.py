"""Small networks from the last dimension of their input to the last dimension of their output."""

from .mlp import MLP

__all__ = ["MLP"]
