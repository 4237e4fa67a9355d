"""From weights to what is seen: colour, opacity, depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .._checks import check_device, check_floating, check_number, check_tensor, describe, message
from ..coordinates.convert import arithmetic_dtype
from .depth import expected_depth
from .rays import Rays, close, read_rays, read_spans

__all__ = ["Rendering", "accumulate", "composite", "visible"]

Background = float | Sequence[float] | Tensor | Literal["last"]


class Rendering(NamedTuple):
    """What is seen along each ray, as `composite` gives it.

    Parameters
    ----------
    colour : Tensor
        ``(*rays, c)``.
    opacity : Tensor
        ``(*rays)``: the sum of weights, 0 for a ray that meets nothing.
    depth : Tensor
        ``(*rays)``: the expected distance at which light ends, of the light that does; 0 for a ray that meets nothing.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> weights, edges, values = torch.tensor([[0.25, 0.25]]), torch.tensor([1.0, 2.0, 3.0]), torch.ones(1, 2, 3)
    >>> ts.render.composite(weights, edges, values)
    Rendering(colour=tensor([[0.5000, 0.5000, 0.5000]]), opacity=tensor([0.5000]), depth=tensor([2.]))
    """

    colour: Tensor
    opacity: Tensor
    depth: Tensor


def _check_values(function: str, values: Tensor, weights: Tensor) -> None:
    check_floating(function, "values", values, "Convert bytes with values / 255.")
    check_device(function, "values", values.device, "weights", weights.device)
    if values.shape[:-1] != weights.shape:
        wanted = f"of shape ({', '.join(map(str, weights.shape))}, c), some numbers for each weight"
        remedy = "Give a single number per sample a last dimension with unsqueeze(-1)."
        raise ValueError(message(function, "values", wanted, f"shape {tuple(values.shape)}", remedy))


def accumulate(weights: Tensor, values: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None) -> Tensor:
    """Add up the samples of each ray.

    Parameters
    ----------
    weights : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``.
    values : Tensor, optional
        ``(*rays, n, c)`` or ``(all, c)``: something of each sample, as colours, normals, semantic logits or squared distances. Without
        it, weights themselves are added: opacity.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``; some may have no samples, and get zeros.

    Returns
    -------
    Tensor
        ``(*rays, c)``, or ``(*rays)`` without ``values``; packed, ``(n_rays, c)`` or ``(n_rays,)``; float32 at least.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> weights, colours = torch.tensor([0.5, 0.25, 0.25]), torch.eye(3)
    >>> ts.render.accumulate(weights, colours, torch.tensor([0, 0, 2]), n_rays=3)
    tensor([[0.5000, 0.2500, 0.0000],
            [0.0000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.2500]])
    """
    function = "ts.render.accumulate"
    rays = read_rays(function, "weights", weights, ray_indices, n_rays)
    weights = weights.to(arithmetic_dtype(weights.dtype))
    if values is None:
        return rays.total(weights)
    _check_values(function, values, weights)
    return rays.weighted_total(weights, values)


def _read_background(function: str, background: Background, values: Tensor, opacity: Tensor, rays: Rays) -> Tensor:
    """The background's colour, as it broadcasts with ``(*rays, c)``."""
    if isinstance(background, str) and background == "last":
        return rays.last(values)
    n_channels = values.shape[-1]

    def explain(found: str) -> str:
        wanted = f"None, 'last', a number, {n_channels} numbers, or a tensor ({', '.join(map(str, (*opacity.shape, n_channels)))})"
        return message(function, "background", wanted, found, "Draw random ones with torch.rand; let 1.0 be white.")

    if isinstance(background, Tensor):
        check_tensor(function, "background", background)
    if isinstance(background, bool) or (isinstance(background, Tensor) and background.is_complex()):
        raise TypeError(explain(describe(background)))
    try:
        colour = torch.as_tensor(background, dtype=opacity.dtype, device=values.device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(explain(describe(background))) from error
    if colour.shape not in ((), (n_channels,), (*opacity.shape, n_channels)):
        raise ValueError(explain(f"shape {tuple(colour.shape)}"))
    return colour


def composite(
    weights: Tensor,
    edges: Tensor,
    values: Tensor,
    background: Background | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
) -> Rendering:
    """Render rays from the weights of their samples.

    Parameters
    ----------
    weights : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``, as `weights_from_density` and `weights_from_alpha` give them.
    edges : Tensor
        ``(*rays, n + 1)`` ascending, or ``(*rays, n, 2)``, packed ``(all, 2)``: start and end of each sample. Depths are in its unit.
    values : Tensor
        ``(*rays, n, c)`` or ``(all, c)``: colours, or anything else.
    background : float, sequence of float, Tensor or "last", optional
        What is seen where light passes everything: a number (1.0 is white), a colour ``(c,)``, one for each ray ``(*rays, c)``, or
        ``"last"``, the last sample of each ray. Black if not given.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``; some may have no samples, and see the background.

    Returns
    -------
    Rendering
        ``colour (*rays, c)``, ``opacity (*rays)`` and ``depth (*rays)``, float32 at least.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``ray_indices`` is out of order.
    TypeError
        If a tensor is of another kind, or ``background`` is no colour.

    See Also
    --------
    accumulate : anything else that is to be added up with the same weights.
    median_depth : the distance before which half of the light ends.
    chunked : whole views in bounded memory, see the last example.

    Notes
    -----
    Depth is that of the light that ends: divided by opacity, so that a ray of little opacity does not seem near. It is 0, and has no
    gradient, for rays of no opacity. A last sample that ends at infinity is taken to be where it starts. A random background, against
    fields that learn to paint their own, is ``background=torch.rand(n_rays, 3)``.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> edges = torch.linspace(2, 6, 65)
    >>> middle = (edges[1:] + edges[:-1]) / 2
    >>> def render(rays):  # (n, 6): origins and directions; a ball around 0
    ...     points = rays[:, None, :3] + middle[:, None] * rays[:, None, 3:]
    ...     weights = ts.render.weights_from_density(5.0 * (points.norm(dim=-1) < 1), edges)
    ...     return ts.render.composite(weights, edges, torch.ones_like(points), background=0.5)
    >>> view = render(torch.tensor([[0.0, 0.0, 4.0, 0.0, 0.0, -1.0]]))
    >>> view.depth
    tensor([3.2015])

    A whole view, some rays at a time; ``progress=True`` shows a bar:

    >>> origin = torch.tensor([0.0, 0.0, 4.0])
    >>> plane = torch.nn.functional.pad(ts.coord.full(1, (40, 30))[0] * torch.tensor([0.4, 0.3]), (0, 1), value=-1.0)
    >>> rays = torch.cat([origin.expand_as(plane), plane / plane.norm(dim=-1, keepdim=True)], dim=-1)
    >>> with torch.inference_mode():
    ...     view = ts.chunked(render, rays, chunk_size=256, batch_dims=0)
    >>> view.colour.shape, view.depth.shape
    (torch.Size([30, 40, 3]), torch.Size([30, 40]))
    """
    function = "ts.render.composite"
    rays = read_rays(function, "weights", weights, ray_indices, n_rays)
    weights = weights.to(arithmetic_dtype(weights.dtype))
    _check_values(function, values, weights)
    read_spans(function, edges, weights, rays)
    opacity = rays.total(weights)
    colour = rays.weighted_total(weights, values)
    if background is not None:
        passed = (1 - opacity).unsqueeze(-1)
        colour = colour + passed * _read_background(function, background, values, opacity, rays)
    if weights.shape[-1] == 0:
        return Rendering(colour, opacity, 0 * opacity)
    start, end = read_spans(function, close(edges, weights), weights, rays)
    return Rendering(colour, opacity, expected_depth(weights, start, end, opacity, rays))


def visible(
    alpha: Tensor,
    early_stop: float = 1e-4,
    min_alpha: float = 0.0,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
) -> Tensor:
    """Mark the samples that still matter: those that enough light reaches, and that are not too thin to be seen.

    Ask a field for its density first, and for its colours only where this is true; the sum of weights that get lost is at most
    ``early_stop``, and ``min_alpha`` for each sample that is left out.

    Parameters
    ----------
    alpha : Tensor
        ``(*rays, n)`` or, packed, ``(all,)``; of densities with `alpha_from_density`.
    early_stop : float, default: 1e-4
        The least transmittance at the start of a sample.
    min_alpha : float, default: 0.0
        The least alpha of a sample.
    ray_indices : Tensor, optional
        ``(all,)``, ascending: the ray of each packed sample.
    n_rays : int, optional
        Number of rays, with ``ray_indices``.

    Returns
    -------
    Tensor
        Bool, shape of ``alpha``. False where alpha is NaN, and behind it.

    Raises
    ------
    ValueError
        If shapes do not fit, ``ray_indices`` is out of order, or a threshold is not between 0 and 1.
    TypeError
        If a tensor is of another kind.

    See Also
    --------
    pack : keep only these samples.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.render.visible(torch.tensor([0.0, 0.5, 1.0, 0.5]), min_alpha=0.01)
    tensor([False,  True,  True, False])

    Packed samples stay packed:

    >>> density, ray_indices = torch.tensor([0.0, 9.0, 9.0, 1.0]), torch.tensor([0, 1, 1, 1])
    >>> edges = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    >>> seen = ts.render.visible(ts.render.alpha_from_density(density, edges), 1e-4, 0.0, ray_indices, n_rays=2)
    >>> edges[seen], ray_indices[seen]
    (tensor([[0., 1.],
            [0., 1.],
            [1., 2.]]), tensor([0, 1, 1]))
    """
    function = "ts.render.visible"
    rays = read_rays(function, "alpha", alpha, ray_indices, n_rays)
    for name, threshold in (("early_stop", early_stop), ("min_alpha", min_alpha)):
        check_number(function, name, threshold, "a number between 0 and 1", "It is a share of light.", low=0, high=1)
    alpha = alpha.detach().to(arithmetic_dtype(alpha.dtype))
    return (rays.exclusive_prod(1 - alpha) >= float(early_stop)) & (alpha >= float(min_alpha))
