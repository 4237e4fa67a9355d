"""Kernels on CUDA devices, in Triton: what `reference` defines, one pass over the points each, without its intermediate tensors.

A program takes a block of points and (but for slopes) a block of channels. Whatever depends on the point alone is computed once
for all channels of a block, and pixels are read as lines of channels. Kernels are written for three axes; those that a map
lacks are one pixel wide and cost nothing. A rule ``(rank, taps, taps, taps, a, align_corners, boundary, boundary, boundary)`` is known
when a kernel is compiled, so that only what it asks for is left. To be launched with ``enable_fp_fusion=False``: a position whose
multiplication and addition were fused could lie on the other side of a pixel's edge than the reference has it.
"""
# mypy: ignore-errors
# ruff: noqa: RET505
# The language of the kernels looks like Python and is none.

import triton
import triton.language as tl
from triton.language.extra import libdevice

EPS = tl.constexpr(2.0**-23)
ZEROS, BORDER, REFLECTION, CIRCULAR = (tl.constexpr(number) for number in range(4))

if triton.knobs.runtime.interpret:

    @triton.jit
    def _fmod(x, period):
        return x % period
else:

    @triton.jit
    def _fmod(x, period):
        # On a device `%` subtracts a rounded quotient, which is wrong for huge positions.
        return libdevice.fmod(x, period)


@triton.jit
def _remainder(x, period):
    """`torch.remainder` by a positive period."""
    rest = _fmod(x, period)
    return tl.where(rest < 0, rest + period, rest)


@triton.jit
def _int_remainder(index, period):
    rest = index % period
    return tl.where(rest < 0, rest + period, rest)


@triton.jit
def _clamp(x, low, high):
    """Keeps NaN."""
    return tl.where(x < low, low, tl.where(x > high, high, x))


@triton.jit
def _position(x, side, rule: tl.constexpr, axis: tl.constexpr):
    """`Axis.position`, and its derivative."""
    taps: tl.constexpr = rule[1 + axis]
    align: tl.constexpr = rule[5]
    boundary: tl.constexpr = rule[6 + axis]
    if align:
        x = tl.where(side == 1, _clamp(x, -1.0, 1.0), x)
    slope = (side - align) * 0.5
    position = x * slope + (side - 1) * 0.5
    if boundary == REFLECTION:
        mirror = -0.5 * (1 - align)
        span = (side - align) * 1.0
        phase = _remainder(position - mirror, tl.maximum(2 * span, 1.0))
        back = phase > span
        inside = tl.abs(position - mirror - span * 0.5) <= span * 0.5
        folded = tl.where(back, 2 * span - phase, phase) + mirror
        return tl.where(inside, position, folded), tl.where(back & (inside == 0), -slope, slope)
    elif boundary == CIRCULAR:
        inside = (position >= 0) & (position < side)
        return tl.where(inside, position, _remainder(position, side * 1.0)), tl.where(inside, slope, slope)
    else:
        low = -1.0 - taps // 2
        high = (side + taps // 2) * 1.0
        return _clamp(position, low, high), tl.where((position < low) | (position > high), 0.0, slope)


@triton.jit
def _locate(coords, live, side, rule: tl.constexpr, axis: tl.constexpr):
    """Along one axis: anchor pixel, fraction behind it, derivative of the position, and whether the point has a place."""
    x = tl.load(coords, live, other=0).to(tl.float32)
    position, slope = _position(x, side, rule, axis)
    known = position == position
    position = tl.where(known, position, 0.0)
    if rule[1 + axis] != 1:
        # As the definition does: within rounding of a pixel's center, the center.
        center = tl.floor(position + 0.5)
        position = tl.where(tl.abs(center - position) <= side * EPS, center, position)
    anchor = tl.floor(position)
    if rule[1 + axis] == 1:
        # Halfway, the even pixel. The difference is exact, or too close to zero to matter.
        rest = position - anchor
        odd = anchor - 2 * tl.floor(anchor * 0.5) == 1
        anchor = tl.where((rest > 0.5) | ((rest == 0.5) & odd), anchor + 1, anchor)
    return anchor.to(tl.int32), position - anchor, slope, known


@triton.jit
def _tap(anchor, t, tap, side, rule: tl.constexpr, axis: tl.constexpr):
    """Index of a tap's pixel, whether it counts, and its weight."""
    taps: tl.constexpr = rule[1 + axis]
    a: tl.constexpr = rule[4]
    align: tl.constexpr = rule[5]
    boundary: tl.constexpr = rule[6 + axis]
    index = anchor + tap - (1 if taps == 4 else 0)
    counts = index == index
    if boundary == ZEROS:
        counts = (index >= 0) & (index < side)
    if boundary == CIRCULAR:
        index = _int_remainder(index, side)
    elif boundary == REFLECTION and align:
        phase = _int_remainder(index, tl.maximum(2 * (side - 1), 1))
        index = tl.minimum(phase, tl.abs(2 * (side - 1) - phase))
    elif boundary == REFLECTION:
        phase = _int_remainder(index, 2 * side)
        index = tl.minimum(phase, 2 * side - 1 - phase)
    else:
        index = tl.minimum(tl.maximum(index, 0), side - 1)
    if taps == 1:
        weight = tl.where(counts, 1.0, 0.0)
    elif taps == 2:
        weight = tl.where(counts, tl.where(tap == 0, 1 - t, t), 0.0)
    else:
        x = tl.abs(t - (tap - 1))
        near = (x - 1) * (((a + 2) * x - 1) * x - 1)
        far = a * (x - 1) * (x - 2) * (x - 2)
        weight = tl.where(counts, tl.where((tap == 0) | (tap == 3), far, near), 0.0)
    return index, counts, weight


@triton.jit
def _slope(t, tap, counts, rule: tl.constexpr, axis: tl.constexpr):
    """Derivative of a tap's weight by ``t``."""
    taps: tl.constexpr = rule[1 + axis]
    a: tl.constexpr = rule[4]
    if taps == 1:
        return t * 0
    elif taps == 2:
        return tl.where(counts, tl.where(tap == 0, -1.0, 1.0), 0.0)
    else:
        x = tl.abs(t - (tap - 1))
        near = (3 * (a + 2) * x - 2 * (a + 3)) * x
        far = a * (x - 2) * (3 * x - 4)
        slope = tl.where((tap == 0) | (tap == 3), far, near)
        return tl.where(counts, tl.where(tap < 2, slope, -slope), 0.0)


@triton.jit
def _points(coords, owner, n_points, n_maps, steps, size, rule: tl.constexpr, index_type: tl.constexpr, block: tl.constexpr):
    """A block's points: their numbers, which exist, which map and where along each axis, and which have a place."""
    point = tl.program_id(0).to(index_type) * block + tl.arange(0, block)
    live = point < n_points
    outer, inner = point // steps[0], point % steps[0]
    coords += outer * steps[1] + inner * steps[2]
    which = tl.load(owner + (outer * steps[4] + inner * steps[5]), live, other=0)
    x, x_t, x_slope, x_known = _locate(coords, live, size[0], rule, 0)
    y, y_t, y_slope, y_known = _locate(coords + steps[3], live & (rule[0] > 1), size[1], rule, 1)
    z, z_t, z_slope, z_known = _locate(coords + 2 * steps[3], live & (rule[0] > 2), size[2], rule, 2)
    # Indices that a graph could not check must not lead out of memory.
    known = live & (which >= 0) & (which < n_maps) & x_known & y_known & z_known
    return point, live, which.to(index_type), known, x, x_t, x_slope, y, y_t, y_slope, z, z_t, z_slope


@triton.jit
def interpolate_kernel(
    out,
    coords,
    featmap,
    owner,
    n_points,
    n_maps,
    n_channels,
    steps,
    size,
    strides,
    missing,
    rule: tl.constexpr,
    index_type: tl.constexpr,
    block_points: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Weighted sums of pixels; ``missing`` where a point has no place."""
    x_taps: tl.constexpr = rule[1]
    y_taps: tl.constexpr = rule[2]
    point, live, which, known, x, x_t, _x_slope, y, y_t, _y_slope, z, z_t, _z_slope = _points(
        coords, owner, n_points, n_maps, steps, size, rule, index_type, block_points
    )
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    inside = channel < n_channels
    lines = featmap + (which * strides[0])[:, None] + (channel.to(index_type) * strides[1])[None, :]
    total = tl.zeros([block_points, block_channels], tl.float32)
    for i in tl.range(rule[3]):
        z_index, _z_counts, z_weight = _tap(z, z_t, i, size[2], rule, 2)
        for j in tl.static_range(y_taps):
            y_index, _y_counts, y_weight = _tap(y, y_t, j, size[1], rule, 1)
            row = z_index.to(index_type) * strides[4] + y_index.to(index_type) * strides[3]
            for k in tl.static_range(x_taps):
                x_index, _x_counts, x_weight = _tap(x, x_t, k, size[0], rule, 0)
                weight = tl.where(known, z_weight * y_weight * x_weight, 0.0)
                # A pixel without weight is not even read, be it NaN.
                offset = row + x_index.to(index_type) * strides[2]
                pixels = tl.load(lines + offset[:, None], (weight != 0)[:, None] & inside[None, :], other=0.0).to(tl.float32)
                total = tl.fma(weight[:, None], pixels, total)
    total = tl.where(known[:, None], total, missing)
    tl.store(out + (point * n_channels)[:, None] + channel[None, :], total, live[:, None] & inside[None, :])


@triton.jit
def slopes_kernel(
    out,
    grad,
    coords,
    featmap,
    owner,
    n_points,
    n_maps,
    n_channels,
    steps,
    size,
    strides,
    grad_strides,
    rule: tl.constexpr,
    index_type: tl.constexpr,
    block_points: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Derivatives ``(points, rank)`` by the coords of what `interpolate_kernel` gives, weighted with ``grad`` and summed over channels."""
    x_taps: tl.constexpr = rule[1]
    y_taps: tl.constexpr = rule[2]
    point, live, which, known, x, x_t, x_slope, y, y_t, y_slope, z, z_t, z_slope = _points(
        coords, owner, n_points, n_maps, steps, size, rule, index_type, block_points
    )
    grad += ((point // steps[0]) * grad_strides[0] + (point % steps[0]) * grad_strides[1])[:, None]
    featmap += (which * strides[0])[:, None]
    x_total = tl.zeros([block_points, block_channels], tl.float32)
    y_total, z_total = x_total, x_total
    start = 0
    while start < n_channels:
        channel = (start + tl.arange(0, block_channels)).to(index_type)
        here = known[:, None] & (channel < n_channels)[None, :]
        incoming = tl.load(grad + (channel * grad_strides[2])[None, :], here, other=0.0).to(tl.float32)
        lines = featmap + (channel * strides[1])[None, :]
        for i in tl.range(rule[3]):
            z_index, z_counts, z_weight = _tap(z, z_t, i, size[2], rule, 2)
            for j in tl.static_range(y_taps):
                y_index, y_counts, y_weight = _tap(y, y_t, j, size[1], rule, 1)
                row = z_index.to(index_type) * strides[4] + y_index.to(index_type) * strides[3]
                for k in tl.static_range(x_taps):
                    x_index, x_counts, x_weight = _tap(x, x_t, k, size[0], rule, 0)
                    offset = row + x_index.to(index_type) * strides[2]
                    counts = z_counts & y_counts & x_counts
                    pixels = tl.load(lines + offset[:, None], counts[:, None] & here, other=0.0).to(tl.float32)
                    product = incoming * pixels
                    speaks = (z_weight * y_weight * x_weight != 0)[:, None] | (tl.abs(product) < float("inf"))
                    product = tl.where(speaks, product, 0.0)
                    slope = z_weight * y_weight * _slope(x_t, k, x_counts, rule, 0)
                    x_total = tl.fma(slope[:, None], product, x_total)
                    slope = z_weight * _slope(y_t, j, y_counts, rule, 1) * x_weight
                    y_total = tl.fma(slope[:, None], product, y_total)
                    slope = _slope(z_t, i, z_counts, rule, 2) * y_weight * x_weight
                    z_total = tl.fma(slope[:, None], product, z_total)
        start += block_channels
    out += point * rule[0]
    # Where the boundary holds a position still, whatever pixels say.
    tl.store(out, tl.where(x_slope == 0, 0.0, tl.sum(x_total, 1) * x_slope), live)
    tl.store(out + 1, tl.where(y_slope == 0, 0.0, tl.sum(y_total, 1) * y_slope), live & (rule[0] > 1))
    tl.store(out + 2, tl.where(z_slope == 0, 0.0, tl.sum(z_total, 1) * z_slope), live & (rule[0] > 2))


@triton.jit
def scatter_kernel(
    canvas,
    coords,
    values,
    owner,
    n_points,
    n_maps,
    n_channels,
    steps,
    size,
    strides,
    value_strides,
    rule: tl.constexpr,
    index_type: tl.constexpr,
    block_points: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Add weighted values to the pixels that `interpolate_kernel` reads; in the order in which programs happen to come."""
    x_taps: tl.constexpr = rule[1]
    y_taps: tl.constexpr = rule[2]
    point, _live, which, known, x, x_t, _x_slope, y, y_t, _y_slope, z, z_t, _z_slope = _points(
        coords, owner, n_points, n_maps, steps, size, rule, index_type, block_points
    )
    channel = (tl.program_id(1) * block_channels + tl.arange(0, block_channels)).to(index_type)
    here = known[:, None] & (channel < n_channels)[None, :]
    start = (point // steps[0]) * value_strides[0] + (point % steps[0]) * value_strides[1]
    value = tl.load(values + start[:, None] + (channel * value_strides[2])[None, :], here, other=0.0).to(tl.float32)
    lines = canvas + (which * strides[0])[:, None] + (channel * strides[1])[None, :]
    for i in tl.range(rule[3]):
        z_index, _z_counts, z_weight = _tap(z, z_t, i, size[2], rule, 2)
        for j in tl.static_range(y_taps):
            y_index, _y_counts, y_weight = _tap(y, y_t, j, size[1], rule, 1)
            row = z_index.to(index_type) * strides[4] + y_index.to(index_type) * strides[3]
            for k in tl.static_range(x_taps):
                x_index, _x_counts, x_weight = _tap(x, x_t, k, size[0], rule, 0)
                weight = z_weight * y_weight * x_weight
                offset = row + x_index.to(index_type) * strides[2]
                tl.atomic_add(lines + offset[:, None], weight[:, None] * value, here & (weight != 0)[:, None], sem="relaxed")


@triton.jit
def plan_kernel(
    pixels,
    weights,
    coords,
    owner,
    n_points,
    n_maps,
    n_pixels,
    steps,
    size,
    strides,
    rule: tl.constexpr,
    index_type: tl.constexpr,
    block_points: tl.constexpr,
):
    """What `scatter_kernel` would add to: pixel and weight of each tap ``(points, taps)``; ``n_pixels`` where it adds nothing."""
    x_taps: tl.constexpr = rule[1]
    y_taps: tl.constexpr = rule[2]
    point, live, which, known, x, x_t, _x_slope, y, y_t, _y_slope, z, z_t, _z_slope = _points(
        coords, owner, n_points, n_maps, steps, size, rule, index_type, block_points
    )
    for i in tl.range(rule[3]):
        z_index, _z_counts, z_weight = _tap(z, z_t, i, size[2], rule, 2)
        for j in tl.static_range(y_taps):
            y_index, _y_counts, y_weight = _tap(y, y_t, j, size[1], rule, 1)
            row = which * strides[0] + z_index.to(index_type) * strides[4] + y_index.to(index_type) * strides[3]
            for k in tl.static_range(x_taps):
                x_index, _x_counts, x_weight = _tap(x, x_t, k, size[0], rule, 0)
                weight = tl.where(known, z_weight * y_weight * x_weight, 0.0)
                place = point * (rule[3] * y_taps * x_taps) + ((i * y_taps + j) * x_taps + k)
                tl.store(pixels + place, tl.where(weight != 0, row + x_index * strides[2], n_pixels), live)
                tl.store(weights + place, weight, live)


@triton.jit
def gather_kernel(
    canvas,
    starts,
    order,
    weights,
    values,
    n_pixels,
    n_channels,
    n_inner,
    n_taps,
    value_strides,
    block_points: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Sum for each pixel what is added to it, in the order of the points: the taps ``order[starts[pixel] : starts[pixel + 1]]``."""
    pixel = tl.program_id(0).to(tl.int64) * block_points + tl.arange(0, block_points)
    live = pixel < n_pixels
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    inside = channel < n_channels
    first = tl.load(starts + pixel, live, other=0)
    count = tl.load(starts + pixel + 1, live, other=0) - first
    columns = values + (channel.to(tl.int64) * value_strides[2])[None, :]
    total = tl.zeros([block_points, block_channels], tl.float32)
    longest = tl.max(count, 0)
    i = 0
    while i < longest:
        here = i < count
        tap = tl.load(order + first + i, here, other=0)
        weight = tl.load(weights + tap, here, other=0.0)
        point = tap // n_taps
        start = (point // n_inner) * value_strides[0] + (point % n_inner) * value_strides[1]
        value = tl.load(columns + start[:, None], here[:, None] & inside[None, :], other=0.0).to(tl.float32)
        total = tl.fma(weight[:, None], value, total)
        i += 1
    tl.store(canvas + (pixel * n_channels)[:, None] + channel[None, :], total, live[:, None] & inside[None, :])
