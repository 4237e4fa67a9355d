"""Waves whose amplitudes and frequencies a network estimates at each cell (LTE)."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_floating, message
from ..coordinates.convert import arithmetic_dtype, check_coords


def _check_waves(function: str, argument: str, waves: Tensor, width: int, offsets: Tensor) -> None:
    check_floating(function, argument, waves)
    if waves.shape != (*offsets.shape[:-1], width):
        wanted = f"of shape ({', '.join(map(str, offsets.shape[:-1]))}, {width}) for these offsets and amplitudes"
        remedy = "Amplitudes are (..., 2 n), frequencies (..., d n), phases (..., n) for n waves."
        raise ValueError(message(function, argument, wanted, f"shape {tuple(waves.shape)}", remedy))


def _reduce(turns: Tensor) -> Tensor:
    """Half periods without the whole periods in them, which multiplied by pi would cost a wave its digits."""
    return turns - 2 * (turns.detach() / 2).round()


def local_texture(offsets: Tensor, amplitudes: Tensor, frequencies: Tensor, phases: Tensor | None = None) -> Tensor:
    """Encode offsets from a cell as waves of that cell's own amplitudes, frequencies and phases.

    Parameters
    ----------
    offsets : Tensor
        ``(..., d)``, floating-point, where a cell is 2 wide: as `neighborhood` gives them.
    amplitudes : Tensor
        ``(..., 2 * n)``: of ``n`` cosines, then of ``n`` sines.
    frequencies : Tensor
        ``(..., n * d)``: of each wave along ``(x, y, ...)``, wave by wave; half periods per offset of 1.
    phases : Tensor, optional
        ``(..., n)`` or of a shape that broadcasts to that, in half periods; LTE estimates them from the size of the queried pixel.

    Returns
    -------
    Tensor
        ``(..., 2 * n)``, dtype of ``offsets``, computed in float32 at least.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor.
    ValueError
        If shapes do not fit.

    Notes
    -----
    ``amplitude * cos(pi (frequency . offset + phase))``, and the same with sines: Lee and Jin, "Local Texture Estimator for Implicit
    Representation Function", 2022, section 3.2. Offsets there are ``(y, x)``: reverse each pair of a checkpoint's frequencies.

    Examples
    --------
    >>> import torch, torchsample as ts
    >>> ts.encoding.local_texture(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor([-4.3711e-08,  1.0000e+00])
    >>> maps, coords = torch.rand(1, 32 + 32, 12, 16), ts.coord.full(1, (64, 48))
    >>> cells = ts.neighborhood(coords, maps)
    >>> amplitudes, frequencies = cells.features.split([32, 32], dim=-1)
    >>> ts.encoding.local_texture(cells.offsets, amplitudes, frequencies).shape
    torch.Size([1, 48, 64, 4, 32])
    """
    function = "ts.encoding.local_texture"
    check_coords(function, offsets, "offsets")
    check_floating(function, "amplitudes", amplitudes)
    n = amplitudes.shape[-1] // 2 if amplitudes.ndim else 0
    _check_waves(function, "amplitudes", amplitudes, 2 * n, offsets)
    _check_waves(function, "frequencies", frequencies, offsets.shape[-1] * n, offsets)
    exact = offsets.to(arithmetic_dtype(offsets.dtype))
    turns = (frequencies.to(exact.dtype).reshape(*offsets.shape[:-1], n, offsets.shape[-1]) * exact.unsqueeze(-2)).sum(-1)
    angle = _reduce(turns)
    if phases is not None:
        check_floating(function, "phases", phases)
        try:
            angle = angle + _reduce(phases.to(exact.dtype).expand(*offsets.shape[:-1], n))
        except RuntimeError:
            _check_waves(function, "phases", phases, n, offsets)
            raise
    angle = torch.pi * angle
    return (amplitudes.to(exact.dtype) * torch.cat([angle.cos(), angle.sin()], dim=-1)).to(offsets.dtype)
