"""The two forms of samples along rays, batched and packed: sums and products along a ray, each written once per form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import pad

from .._checks import check_count, check_device, check_floating, check_memory, check_tensor, message
from .._eager import is_transformed, why_not_eager
from .weighted_sum import weighted_sum


def can_look(*tensors: Tensor) -> bool:
    """Whether numbers may be looked at: not while a call is compiled or transformed, and not where there are none."""
    if torch.compiler.is_compiling() or any(tensor.is_meta or tensor.numel() == 0 for tensor in tensors):
        return False
    return why_not_eager(*tensors) is None


def shift(values: Tensor, first: float) -> Tensor:
    """Each sample's predecessor along the last dimension, and a number for the first."""
    return torch.cat([torch.full_like(values[..., :1], first), values[..., :-1]], dim=-1)


class Batched:
    """Samples ``(*rays, n)``: each ray has as many."""

    def exclusive_sum(self, values: Tensor) -> Tensor:
        """Sum of the samples before each. Shifted first: nothing is subtracted again, which infinite values would not survive."""
        return shift(values, 0.0).cumsum(-1)

    def inclusive_sum(self, values: Tensor) -> Tensor:
        """Sum of the samples up to each."""
        return values.cumsum(-1)

    def sum_behind(self, values: Tensor) -> Tensor:
        """Sum of each sample and those after it; not a difference, which would have the error of the larger sum."""
        return values.flip(-1).cumsum(-1).flip(-1)

    def exclusive_prod(self, values: Tensor) -> Tensor:
        """Product of the samples before each; the derivatives of `cumprod` are right at 0, of every order."""
        values = shift(values, 1.0)
        if not (is_transformed(values) or forward_ad._current_level >= 0):
            return values.cumprod(-1)
        # Derivatives of the forward-mode derivative of `cumprod` are NaN at 0; here nothing is divided.
        step = 1
        while step < values.shape[-1]:
            values = torch.cat([values[..., :step], values[..., step:] * values[..., :-step]], dim=-1)
            step *= 2
        return values

    def total(self, values: Tensor) -> Tensor:
        """Sum of each ray: ``(*rays, n)`` to ``(*rays)``."""
        return values.sum(-1)

    def weighted_total(self, weights: Tensor, values: Tensor) -> Tensor:
        """Weighted sum of each ray: ``(*rays, n)`` and ``(*rays, n, c)`` to ``(*rays, c)``."""
        return weighted_sum(weights, values)

    def spread(self, values: Tensor) -> Tensor:
        """Give each sample its ray's value, ``(*rays)`` to what broadcasts with ``(*rays, n)``."""
        return values.unsqueeze(-1)

    def last(self, values: Tensor) -> Tensor:
        """The last sample of each ray, ``(*rays, n, c)`` to ``(*rays, c)``; 0 without samples."""
        return values[..., -1:, :].sum(-2)

    def find(self, sums: Tensor, level: Tensor) -> Tensor:
        """Number of the first sample whose inclusive sum is at least a level ``(*rays)``."""
        index = torch.searchsorted(sums.detach(), level.detach().unsqueeze(-1)).squeeze(-1)
        return index.clamp(max=sums.shape[-1] - 1)

    def pick(self, values: Tensor, index: Tensor) -> Tensor:
        """The value of one sample of each ray."""
        return values.gather(-1, index.unsqueeze(-1)).squeeze(-1)


class Packed:
    """Samples ``(all,)`` of all rays, one ray after the other; each ray has as many as it needs, or none."""

    def __init__(self, ray_indices: Tensor, n_rays: int) -> None:
        self.owner, self.n_rays = ray_indices.long().contiguous(), n_rays

    def starts(self) -> Tensor:
        """Where each ray's samples begin, ``(n_rays,)``."""
        return torch.searchsorted(self.owner, torch.arange(self.n_rays, device=self.owner.device))

    def positions(self) -> Tensor:
        """Number of each sample in its own ray."""
        return torch.arange(len(self.owner), device=self.owner.device) - self.starts()[self.owner]

    def _scan(self, values: Tensor, combine: Callable[[Tensor, Tensor], Tensor], identity: float) -> Tensor:
        """Combine all samples of the same ray before each one, by doubling the number that are combined in every step.

        A ray only sees its own samples, whatever the others hold, and rounding grows with the logarithm of their number; a sum over all
        rays minus the sum where a ray starts would lose the digits of short rays behind long ones, and does not survive an infinity.
        """
        position = self.positions()
        result = torch.where(position > 0, shift(values, identity), identity)
        longest = int(position.max()) + 1 if can_look(position) else len(values)
        step = 1
        while step < longest - 1:
            joined = combine(result[step:], result[:-step])
            result = torch.cat([result[:step], torch.where(position[step:] >= step, joined, result[step:])])
            step *= 2
        return result

    def exclusive_sum(self, values: Tensor) -> Tensor:
        return self._scan(values, torch.add, 0.0)

    def inclusive_sum(self, values: Tensor) -> Tensor:
        return self.exclusive_sum(values) + values

    def sum_behind(self, values: Tensor) -> Tensor:
        mirrored = Packed(self.n_rays - 1 - self.owner.flip(0), self.n_rays)
        return mirrored.inclusive_sum(values.flip(0)).flip(0)

    def exclusive_prod(self, values: Tensor) -> Tensor:
        return self._scan(values, torch.mul, 1.0)

    def total(self, values: Tensor) -> Tensor:
        # Added one by one, many samples of a ray would lose digits in float32; Apple's GPUs have nothing else.
        wide = values.to(torch.float64) if values.is_floating_point() and values.device.type != "mps" else values
        return wide.new_zeros(self.n_rays, *values.shape[1:]).index_add(0, self.owner, wide).to(values.dtype)

    def weighted_total(self, weights: Tensor, values: Tensor) -> Tensor:
        return self.total(weights.unsqueeze(-1) * values)

    def spread(self, values: Tensor) -> Tensor:
        return values[self.owner]

    def last(self, values: Tensor) -> Tensor:
        is_last = pad(self.owner[1:] != self.owner[:-1], (0, 1), value=True)[: len(values)]
        return self.total(torch.where(is_last.unsqueeze(-1), values, 0))

    def find(self, sums: Tensor, level: Tensor) -> Tensor:
        below = self.total((sums < self.spread(level)).long())
        return (self.starts() + below).clamp(max=len(self.owner) - 1)

    def pick(self, values: Tensor, index: Tensor) -> Tensor:
        return values[index]


Rays = Batched | Packed


def check_ray_indices(function: str, ray_indices: Tensor, n_rays: int) -> int:
    """Check that ray indices are integers ``(all,)``, in order, of rays that there are; return how many there are as a plain int."""
    check_tensor(function, "ray_indices", ray_indices)
    if ray_indices.dtype not in (torch.int64, torch.int32):
        raise TypeError(message(function, "ray_indices", "int64 or int32", ray_indices.dtype, "Convert it with ray_indices.long()."))
    n_rays = check_count(function, "n_rays", n_rays, minimum=0)
    # Where rays start, their sums in float64, and what becomes of them.
    check_memory(function, "n_rays", 4 * n_rays, torch.float64, ray_indices.device, n_rays)
    if ray_indices.ndim != 1:
        remedy = "It says which ray each sample belongs to; ts.render.pack makes it."
        raise ValueError(message(function, "ray_indices", "of shape (all,)", f"shape {tuple(ray_indices.shape)}", remedy))
    if not can_look(ray_indices):
        return n_rays
    if bool((ray_indices[1:] < ray_indices[:-1]).any()):
        remedy = "Sort the samples: order = ray_indices.argsort(stable=True)."
        raise ValueError(message(function, "ray_indices", "ascending, the samples of a ray together", "indices in disorder", remedy))
    low, high = int(ray_indices[0]), int(ray_indices[-1])
    if low < 0 or high >= n_rays:
        remedy = "Rays are counted from 0; n_rays also counts those without samples."
        raise ValueError(message(function, "ray_indices", f"between 0 and n_rays - 1 = {n_rays - 1}", f"from {low} to {high}", remedy))
    return n_rays


def read_rays(function: str, argument: str, values: Tensor, ray_indices: Tensor | None, n_rays: int | None) -> Rays:
    """Check per-sample numbers of either form, and say which form it is."""
    check_floating(function, argument, values)
    if ray_indices is None and n_rays is None:
        if values.ndim == 0:
            raise ValueError(message(function, argument, "of shape (*rays, n)", "a tensor without dimensions", "Use reshape(1)."))
        return Batched()
    if ray_indices is None or n_rays is None:
        missing = "ray_indices" if ray_indices is None else "n_rays"
        remedy = "Packed samples need both, batched ones neither."
        raise ValueError(message(function, missing, "given, as ray_indices and n_rays go together", None, remedy))
    n_rays = check_ray_indices(function, ray_indices, n_rays)
    check_device(function, "ray_indices", ray_indices.device, argument, values.device)
    if values.shape != ray_indices.shape:
        wanted = f"of shape {tuple(ray_indices.shape)}, one number for each of ray_indices"
        remedy = "Squeeze a last dimension of 1; samples (*rays, n) go without ray_indices."
        raise ValueError(message(function, argument, wanted, f"shape {tuple(values.shape)}", remedy))
    return Packed(ray_indices, n_rays)


def read_spans(function: str, edges: Tensor, like: Tensor, rays: Rays) -> tuple[Tensor, Tensor]:
    """Start and end of each sample."""
    check_floating(function, "edges", edges)
    check_device(function, "edges", edges.device, "its samples", like.device)
    shape = tuple(like.shape)
    pairs, chain = (*shape, 2), (*shape[:-1], shape[-1] + 1)
    if _expands(edges, pairs) and edges.ndim == len(pairs):
        start, end = edges.expand(pairs).unbind(-1)
        return start, end
    if isinstance(rays, Packed) or not _expands(edges, chain):
        wanted = f"{pairs}, start and end of each sample"
        wanted = f"of shape {wanted}" if isinstance(rays, Packed) else f"of shape {chain}, one more than samples, or {wanted}"
        remedy = "Samples lie between edges; of n distances, make n + 1 edges."
        raise ValueError(message(function, "edges", wanted, f"shape {tuple(edges.shape)}", remedy))
    return edges[..., :-1], edges[..., 1:]


def close(edges: Tensor, weights: Tensor) -> Tensor:
    """Edges of which samples without an end, as an opaque background is, end where they start."""
    if edges.is_cpu and can_look(edges) and not bool(edges[..., -1].isinf().any()):
        # Nothing to copy; elsewhere the question would wait for the device.
        return edges
    if edges.ndim > weights.ndim:
        start, end = edges[..., :1], edges[..., 1:]
        return torch.cat([start, torch.where(end.isinf(), start, end)], dim=-1)
    last = torch.where(edges[..., -1:].isinf(), edges[..., -2:-1], edges[..., -1:])
    return torch.cat([edges[..., :-1], last], dim=-1)


def _expands(edges: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether edges have the shape, or one that is the same for many rays; the last dimension is never repeated."""
    if not 0 < edges.ndim <= len(shape) or edges.shape[-1] != shape[-1]:
        return False
    return all(mine in (1, its) for mine, its in zip(reversed(edges.shape[:-1]), reversed(shape[:-1]), strict=False))
