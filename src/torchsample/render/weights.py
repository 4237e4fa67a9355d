"""From density or alpha to transmittance and weights, exact for empty and for opaque samples."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_flag, message
from ..coordinates.convert import arithmetic_dtype
from .rays import Rays, can_look, read_rays, read_spans

__all__ = [
    "alpha_from_density",
    "transmittance_from_alpha",
    "transmittance_from_density",
    "weights_from_alpha",
    "weights_from_density",
]


def _all_finite(function: str, density: Tensor, backward: Tensor) -> bool:
    """Check the signs of densities and of lengths, and say whether all are finite: one look at all numbers, in two passes."""
    bounds = torch.stack([*density.detach().aminmax(), *backward.detach().aminmax()])
    least, most, longest, shortest = bounds.tolist()
    if not least >= 0:
        remedy = "Use a softplus, or look for what made the network's output NaN; check=False does not look."
        raise ValueError(message(function, "density", "non-negative, and not NaN", f"a least value of {least}", remedy))
    if not shortest <= 0:
        remedy = "Each sample starts before it ends; sort distances along rays."
        raise ValueError(message(function, "edges", "ascending, and not NaN", f"a sample of length {-shortest}", remedy))
    return bool(most < torch.inf and longest > -torch.inf)


def _multiply(density: Tensor, backward: Tensor) -> Tensor:
    """The product, where infinite times zero is zero and infinite numbers get a gradient of zero instead of NaN."""
    infinite = density.isinf() | backward.isinf()
    opaque = torch.zeros_like(density).masked_fill((density > 0) & (backward < 0), -torch.inf)
    return torch.where(infinite, opaque, density.masked_fill(infinite, 0) * backward.masked_fill(infinite, 0))


def _exponent(function: str, density: Tensor, edges: Tensor, rays: Rays, check: bool) -> Tensor:
    """Minus density times length: the logarithm of what a sample lets pass."""
    check_flag(function, "check", check)
    start, end = read_spans(function, edges, density, rays)
    density = density.to(arithmetic_dtype(density.dtype))
    backward = start - end
    if check and can_look(density, backward) and _all_finite(function, density, backward):
        return density * backward
    return _multiply(density, backward)


def _passing(function: str, alpha: Tensor, check: bool) -> Tensor:
    """What a sample of some alpha lets pass."""
    check_flag(function, "check", check)
    if check and can_look(alpha):
        least, most = torch.stack(alpha.detach().aminmax()).tolist()
        if not (least >= 0 and most <= 1):
            remedy = "Use a sigmoid, or look for what made the network's output NaN; check=False does not look."
            raise ValueError(message(function, "alpha", "between 0 and 1, and not NaN", f"values from {least} to {most}", remedy))
    return 1 - alpha.to(arithmetic_dtype(alpha.dtype))


def alpha_from_density(density: Tensor, edges: Tensor, check: bool = True) -> Tensor:
    """How much of the light that reaches a sample ends there, ``1 - exp(-density * length)``.

    Parameters
    ----------
    density : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``; per unit of length, at least 0; infinite is opaque.
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``, packed ``(all, 2)``: start and end of each sample.
    check : bool, default: True
        Look whether a density is negative or NaN.

    Returns
    -------
    Tensor
        Shape of ``density``, float32 at least; exact for thin samples, where ``1 - exp`` would lose all digits.

    Raises
    ------
    ValueError
        If shapes do not fit, a density is negative or NaN, or edges descend.
    TypeError
        If an argument is not a floating-point tensor.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.alpha_from_density(torch.tensor([0.0, 1e-9, 1.0, torch.inf]), torch.arange(5.0))
    tensor([0.0000e+00, 1.0000e-09, 6.3212e-01, 1.0000e+00])
    """
    function = "ts.render.alpha_from_density"
    rays = read_rays(function, "density", density, None, None)
    return -_exponent(function, density, edges, rays, check).expm1()


def transmittance_from_density(
    density: Tensor, edges: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None, check: bool = True
) -> Tensor:
    """How much light reaches the start of each sample.

    Parameters
    ----------
    density : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``; per unit of length, at least 0; infinite is opaque.
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``, packed ``(all, 2)``: start and end of each sample.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``.
    check : bool, default: True
        Look whether a density is negative or NaN, see `weights_from_density`.

    Returns
    -------
    Tensor
        Shape of ``density``, float32 at least; exactly 1 for the first sample of a ray, and behind empty ones.

    Raises
    ------
    ValueError
        If shapes do not fit, a density is negative or NaN, edges descend, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.transmittance_from_density(torch.tensor([0.0, 1.0, torch.inf, 1.0]), torch.arange(5.0))
    tensor([1.0000, 1.0000, 0.3679, 0.0000])
    """
    function = "ts.render.transmittance_from_density"
    rays = read_rays(function, "density", density, ray_indices, n_rays)
    return rays.exclusive_sum(_exponent(function, density, edges, rays, check)).exp_()


def transmittance_from_alpha(alpha: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None, check: bool = True) -> Tensor:
    """How much light reaches each sample: the product of ``1 - alpha`` of all before it.

    Parameters
    ----------
    alpha : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``; between 0 and 1.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``.
    check : bool, default: True
        Look whether an alpha is NaN or not between 0 and 1.

    Returns
    -------
    Tensor
        Shape of ``alpha``, float32 at least; exactly 1 behind empty samples, and 0 behind opaque ones.

    Raises
    ------
    ValueError
        If shapes do not fit, an alpha is NaN or not between 0 and 1, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.transmittance_from_alpha(torch.tensor([0.0, 0.5, 1.0, 0.5]))
    tensor([1.0000, 1.0000, 0.5000, 0.0000])
    """
    function = "ts.render.transmittance_from_alpha"
    rays = read_rays(function, "alpha", alpha, ray_indices, n_rays)
    return rays.exclusive_prod(_passing(function, alpha, check))


def weights_from_density(
    density: Tensor, edges: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None, check: bool = True
) -> Tensor:
    """How much each sample contributes to what is seen along its ray, from densities.

    Parameters
    ----------
    density : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``; per unit of length, at least 0; infinite is opaque.
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``, packed ``(all, 2)``: start and end of each sample, in the unit of
        length that densities are in; ``(n + 1,)`` stands for all rays. Distances along a direction that is not of length 1 must be
        multiplied by its length.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``; some may have no samples.
    check : bool, default: True
        Look whether a density is negative or NaN, or edges descend; that is cheap, but waits for a GPU. ``False``, and all calls under
        ``torch.compile`` or `torch.func`, do not look.

    Returns
    -------
    Tensor
        Shape of ``density``, float32 at least. The sum along a ray is its opacity, at most 1.

    Raises
    ------
    ValueError
        If shapes do not fit, a density is negative or NaN, edges descend, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    See Also
    --------
    weights_from_alpha : from alphas.
    composite : from weights to colour, opacity and depth.

    Notes
    -----
    ``T * (1 - exp(-density * length))``, where ``T = exp(-sum of density * length before)``: Max, "Optical models for direct volume
    rendering", 1995; Mildenhall et al., "NeRF", 2020, eq. 3. Nothing is added against zeros: weights of thin samples keep all digits, and
    those of opaque ones are exact. Infinite times zero counts as zero, and no gradient passes through infinite numbers.

    For an opaque background, whatever density is not zero in the last sample, let the last edge be infinite:
    ``edges = torch.nn.functional.pad(edges[..., :-1], (0, 1), value=torch.inf)``. To make it opaque without a condition, let the last
    density be infinite.

    Packed rays are added up by doubling, in ``log2`` of the longest ray's samples steps: nothing is padded, and a ray's weights do not
    depend on other rays. Autograd keeps a byte per sample and step here, and ten in
    `weights_from_alpha` in float32.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.weights_from_density(torch.tensor([[0.0, 1.0, 1.0, torch.inf]]), torch.arange(5.0))
    tensor([[0.0000, 0.6321, 0.2325, 0.1353]])

    Five samples of length 1 on rays 0 and 2 of three:

    >>> density, edges = torch.tensor([0.4, 0.8, 0.1, 0.8, 0.1]), torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    >>> ts.render.weights_from_density(density, edges, torch.tensor([0, 2, 2, 2, 2]), n_rays=3)
    tensor([0.3297, 0.5507, 0.0428, 0.2239, 0.0174])
    """
    function = "ts.render.weights_from_density"
    rays = read_rays(function, "density", density, ray_indices, n_rays)
    exponent = _exponent(function, density, edges, rays, check)
    # In place where autograd does not need what was there.
    return (rays.exclusive_sum(exponent).exp_() * exponent.expm1()).neg_()


def weights_from_alpha(alpha: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None, check: bool = True) -> Tensor:
    """How much each sample contributes to what is seen along its ray, from alphas.

    Parameters
    ----------
    alpha : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``; between 0 and 1.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``; some may have no samples.
    check : bool, default: True
        Look whether an alpha is NaN or not between 0 and 1; that is cheap, but waits for a GPU.

    Returns
    -------
    Tensor
        Shape of ``alpha``, float32 at least. The sum along a ray is its opacity, at most 1.

    Raises
    ------
    ValueError
        If shapes do not fit, an alpha is NaN or not between 0 and 1, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    Notes
    -----
    ``alpha`` times the product of ``1 - alpha`` of all samples before. Nothing is added against zeros: values and derivatives of every
    order are right where alpha is exactly 0 or 1.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.weights_from_alpha(torch.tensor([[0.5, 0.5, 1.0, 0.5]]))
    tensor([[0.5000, 0.2500, 0.2500, 0.0000]])
    """
    function = "ts.render.weights_from_alpha"
    rays = read_rays(function, "alpha", alpha, ray_indices, n_rays)
    passing = _passing(function, alpha, check)
    return rays.exclusive_prod(passing) * alpha
