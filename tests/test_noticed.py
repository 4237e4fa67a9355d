"""What a review could break without a test that failed: sampling, splatting, refining, chunks and local encodings.

Every expected number is a loop in float64, a closed form, or plain counting. Coordinates are in `test_noticed_draws.py`.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import backends
import oracle
import torchsample as ts
from torchsample.interpolation import taps

F32, F64 = torch.float32, torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestNormalizedSplat:
    """The weighted mean of all values that reach a pixel, by loops over points and taps."""

    @staticmethod
    def naive(coords, values, size, mode, padding_mode, align_corners):
        """``(n, d)``, ``(n, c)`` -> ``(c, *spatial)``."""
        total, weight = np.zeros((values.shape[1], *size[::-1]), values.dtype), np.zeros(size[::-1])
        for point, value in zip(coords.tolist(), values, strict=True):
            axes = []
            for x, side in zip(reversed(point), reversed(size), strict=True):
                found = oracle.taps(oracle.position(x, side, align_corners), mode)
                axes.append([(oracle.pixel(i, side, padding_mode, align_corners), w) for i, w in found])
            for combination in itertools.product(*axes):
                where, share = tuple(i for i, _ in combination), math.prod(w for _, w in combination)
                if None not in where:
                    total[(slice(None), *where)] += share * value
                    weight[where] += share
        return np.divide(total, weight, out=np.zeros_like(total), where=weight != 0)

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("padding_mode", ["border", "zeros", "reflection"])
    @pytest.mark.parametrize(("mode", "size", "dtype"), [
        ("nearest", (4, 3), F64),
        ("linear", (5,), F64),
        ("linear", (4, 3), torch.complex128),
        ("linear", (3, 4, 2), F64),
        ("cubic", (6, 4), F64),
    ])  # fmt: skip
    def test_is_a_weighted_mean(self, mode, size, dtype, padding_mode, align_corners):
        coords = torch.rand(2, 23, len(size), dtype=F64, generator=generator(3)) * 2.2 - 1.1
        values = torch.randn(2, 23, 2, dtype=dtype, generator=generator(4)) + 5
        got = ts.splat(coords, values, size, mode, padding_mode, align_corners, normalize=True)
        for each, points, features in zip(got, coords, values, strict=True):
            expected = self.naive(points, features.numpy(), size, mode, padding_mode, align_corners)
            # Negative weights of a cubic may nearly cancel: the mean is then large, and its error with it.
            assert_close(each, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)

    def test_batches_broadcast(self):
        coords = torch.rand(1, 9, 1, dtype=F64, generator=generator()) * 2 - 1
        values = torch.randn(3, 9, 2, dtype=F64, generator=generator(1))
        got = ts.splat(coords, values, (4,), normalize=True)
        for each, features in zip(got, values, strict=True):
            expected = self.naive(coords[0], features.numpy(), (4,), "linear", "border", False)
            assert_close(each, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_counts_in_float32(self, dtype):
        """5000 values on one pixel: neither their sum nor their number fits in half precision."""
        values = torch.tensor([100.0, 104.0], dtype=dtype).repeat(2500).reshape(1, -1, 1)
        got = ts.splat(torch.full((1, 5000, 1), -0.5), values, (2,), "nearest", normalize=True)
        assert got.flatten().tolist() == [102.0, 0.0]

    def test_derivatives(self):
        coords = torch.rand(1, 6, 1, dtype=F64, generator=generator(7)).mul(1.6).sub(0.8).requires_grad_()
        values = torch.randn(1, 6, 2, dtype=F64, generator=generator(8)).requires_grad_()
        assert torch.autograd.gradcheck(lambda c, v: ts.splat(c, v, (3,), normalize=True), (coords, values))


class TestFill:
    NAN = math.nan
    POINTS = ((0.1, -0.2), (NAN, 0.0), (0.0, NAN), (NAN, NAN), (NAN, 3.0), (3.0, NAN), (1.5, 0.0), (0.0, -1.5), (2.0, 2.0), (1.0, -1.0))

    @pytest.mark.parametrize("padding_mode", ["border", "zeros", "reflection", "circular"])
    @pytest.mark.parametrize("dtype", [F32, torch.bfloat16, torch.complex64, torch.int64, torch.uint8])
    @pytest.mark.parametrize("mode", ["nearest", "linear"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_nan_in_one_coordinate(self, channels, mode, dtype, padding_mode):
        """NaN wherever a coordinate is NaN, also where another one is outside; labels have no NaN, and get the fill."""
        labels = not (dtype.is_floating_point or dtype.is_complex)
        if labels and mode != "nearest":
            return
        featmap, coords = torch.full((1, channels, 4, 5), 7, dtype=dtype), torch.tensor([self.POINTS])
        for feat_last in (True, False):
            got = ts.sample(coords, featmap, mode, padding_mode, fill=9 + 0j if dtype.is_complex else 9, feat_last=feat_last)
            got = got[0] if feat_last else got[0].T
            for value, point in zip(got, self.POINTS, strict=True):
                lost, outside = any(x != x for x in point), not all(abs(x) <= 1 for x in point)
                if lost and not labels:
                    assert value.isnan().all(), point
                elif outside:
                    assert (value == 9).all(), point
                elif padding_mode != "zeros" or mode == "nearest" or point != (1.0, -1.0):
                    assert ((value - 7).abs() < 1e-5).all(), point

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_nan_along_each_axis(self, axis):
        coords = torch.full((1, 2, 3), 5.0)
        coords[0, 0, axis] = math.nan
        got = ts.sample(coords, torch.ones(1, 2, 3, 3, 3), fill=[1.0, 2.0])
        assert got[0, 0].isnan().all()
        assert got[0, 1].tolist() == [1.0, 2.0]

    @pytest.mark.parametrize("number", [2**24 + 1, 2**31 + 1, 2**53 + 1, 2**60 + 1, 2**63 - 1, -(2**53) - 1, -(2**63)])
    def test_large_labels_bit_for_bit(self, number):
        """Numbers that float32 rounds (from 2**24), and float64 (from 2**53): alone, one per channel, and as a tensor."""
        featmap = torch.tensor([-number // 2, number // 2 - 1]).reshape(1, 2, 1).expand(1, 2, 4)
        outside = torch.tensor([[[-1.25], [0.3], [1.25]]], dtype=F64)
        for fill, expected in (
            (number, [number, number]),
            ([number, number // 3], [number, number // 3]),
            ((number, 5), [number, 5]),
            (torch.tensor(number), [number, number]),
            (torch.tensor([number, -5]), [number, -5]),
        ):
            got = ts.sample(outside, featmap, "nearest", fill=fill)
            assert got.tolist() == [[expected, featmap[0, :, 1].tolist(), expected]]
            assert got.dtype == torch.int64

    def test_labels_of_other_widths(self):
        for dtype in (torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32):
            bounds = torch.iinfo(dtype)
            for number in {bounds.min, bounds.max, min(2**24 + 1, bounds.max)}:
                got = ts.sample(torch.tensor([[[2.0]]]), torch.zeros(1, 1, 4, dtype=dtype), "nearest", fill=number)
                assert got.item() == number


class TestSubdivide:
    """Which steps ask, for how many pixels, and what comes out, at any rank."""

    @staticmethod
    def asked(spatial, steps, n_points):
        """A step asks unless the next one can ask for every pixel that it has; the last step always does."""
        pixels = [math.prod(spatial) * (2 ** len(spatial)) ** step for step in range(1, steps + 2)]
        return [min(n_points, pixels[step]) for step in range(steps) if step == steps - 1 or n_points < pixels[step + 1]]

    @pytest.mark.parametrize("steps", [1, 2, 3])
    @pytest.mark.parametrize(("spatial", "edges"), [
        ((1,), (2, 4, 8)),
        ((3,), (6, 12, 24)),
        ((1, 1), (4, 16, 64)),
        ((2, 1), (8, 32, 128)),
        ((1, 1, 1), (8, 64, 512)),
        ((1, 2, 1), (16, 128, 1024)),
    ])  # fmt: skip
    def test_which_steps_ask(self, spatial, edges, steps):
        assert edges == tuple(math.prod(spatial) * 2 ** (len(spatial) * step) for step in (1, 2, 3))

        def head(coords):
            return (coords * torch.arange(1.0, coords.shape[-1] + 1)).sum(-1, keepdim=True).sin()

        coarse = ts.feat_first(head(ts.coord.full(1, spatial[::-1])))
        whole = ts.feat_first(head(ts.coord.full(1, tuple(side * 2**steps for side in spatial[::-1]))))
        for n_points in sorted({max(edge + by, 1) for edge in (*edges, edges[0] // 2) for by in (-1, 0, 1)}):
            got, coords = ts.subdivide(coarse, head, steps, n_points, "binary_logits", return_coords=True)
            assert [each.shape for each in coords] == [(1, n, len(spatial)) for n in self.asked(spatial, steps, n_points)]
            assert got.shape == whole.shape
            # As many pixels as were asked for last are the head's own, and all of them where there are points for all.
            assert int((got == whole).sum()) >= min(n_points, whole.numel())

    def test_the_last_step_asks_in_a_volume(self):
        """Once, in the last step, for all of its 512 pixels; for one point fewer, in the last two steps."""
        calls = []

        def head(coords):
            calls.append(coords.shape[1])
            return coords.prod(-1, keepdim=True)

        for n_points in (512, 511, 4096):
            ts.subdivide(torch.zeros(2, 1, 1, 1, 1), head, 3, n_points, "binary_logits")
        assert calls == [512, 64, 511, 512]


class TestChunkedGradients:
    """Under autograd: the same numbers and derivatives as of one call, through the whole graph, and at a linear cost."""

    @staticmethod
    def field(weight):
        return lambda c: {"wave": (c @ weight).sin(), "plain": c.detach().cos(), "pair": (c.square().sum(-1), (c @ weight).exp().prod(-1))}

    @staticmethod
    def loss(answer, order):
        factor = torch.linspace(-1, 2, answer["wave"].numel(), dtype=F64).reshape(answer["wave"].shape)
        total = (factor * answer["wave"] ** order).sum() + (answer["pair"][0] * answer["pair"][1]).square().sum()
        return total + (answer["plain"][..., 0] * answer["pair"][0]).sum()

    @pytest.mark.parametrize("chunk_size", [1, 3, 7, 14, 15, 100])
    @pytest.mark.parametrize("by", ["both", "coords", "weight", "neither"])
    def test_first_and_second_derivatives(self, by, chunk_size):
        coords = torch.rand(2, 7, 2, 2, dtype=F64, generator=generator(1)).requires_grad_(by in ("both", "coords"))
        weight = torch.randn(2, 3, dtype=F64, generator=generator(2)).requires_grad_(by in ("both", "weight"))
        needed = [tensor for tensor in (coords, weight) if tensor.requires_grad]
        got, expected = ts.chunked(self.field(weight), coords, chunk_size), self.field(weight)(coords)
        for left, right in zip(
            [got["wave"], got["plain"], *got["pair"]], [expected["wave"], expected["plain"], *expected["pair"]], strict=True
        ):
            assert_close(left, right, rtol=1e-14, atol=1e-14)
            assert left.requires_grad == right.requires_grad
        if not needed:
            return
        first, second = [], []
        for answer in (got, expected):
            slopes = torch.autograd.grad(self.loss(answer, 3), needed, create_graph=True)
            first.append(slopes)
            second.append(torch.autograd.grad(sum(slope.pow(2).sum() for slope in slopes), needed))
        for left, right in zip([*first[0], *second[0]], [*first[1], *second[1]], strict=True):
            assert_close(left, right, rtol=1e-11, atol=1e-11)

    def test_only_some_chunks_need_a_gradient(self):
        """Whether the first or the last of them."""
        coords, weight = torch.linspace(-1, 1, 10, dtype=F64).reshape(1, 10, 1), torch.tensor(2.0, dtype=F64, requires_grad=True)
        for side in (-1, 1):
            got = ts.chunked(lambda c, side=side: c * weight if side * c.sum() > 0 else c.sin(), coords, 2)
            counts = torch.tensor([(side * pair.sum() > 0).item() for pair in coords.reshape(5, 2)]).repeat_interleave(2)
            assert_close(got.flatten(), torch.where(counts, coords.flatten() * 2, coords.flatten().sin()))
            (slope,) = torch.autograd.grad(got.square().sum(), weight)
            assert_close(slope, (counts * 4 * coords.flatten().square()).sum())

    def test_each_chunk_once(self):
        """A chunk is asked for once, and its graph is gone through once in a backward pass."""
        asked, visits, coords = [], [], torch.rand(1, 10, 2, generator=generator()).requires_grad_()

        def fn(c):
            asked.append(c.shape[1])
            answer = c.sin()
            answer.register_hook(lambda grad: visits.append(grad.abs().sum().item()))
            return answer

        got = ts.chunked(fn, coords, 3)
        assert asked == [3, 3, 3, 1]
        got.sum().backward()
        assert sorted(visits) == [2.0, 6.0, 6.0, 6.0]

    def test_a_backward_pass_costs_no_more_with_more_chunks(self):
        """Pieces written into one tensor would each have the whole gradient copied on the way back."""

        def allocated(chunk_size):
            coords = torch.zeros(1, 20_000, 1, requires_grad=True)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
                ts.chunked(lambda c: 2 * c, coords, chunk_size).sum().backward()
            return sum(max(event.nbytes(), 0) for event in profile.profiler.kineto_results.events() if event.name() == "[memory]")

        few, many = allocated(10_000), allocated(1000)
        assert few > 80_000, "the profiler saw nothing"
        # Narrowing gives each piece a gradient of the whole of coords, in any case: 20 of 80 kB.
        assert many < few + 20 * 80_000 * 1.2


class TestManyMaps:
    """Rows are counted through all the maps: more than 2**31 of them, none of which costs memory."""

    SIDE, MAPS = 1500, 2**21 + 3

    @pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
    def test_the_rows_of_the_last_map(self, mode):
        # Each map begins one number after the one before, in the same memory: what is read says from which map, and where.
        featmap = torch.arange(self.MAPS + self.SIDE + 1, dtype=F64).as_strided((self.MAPS, 2, self.SIDE), (1, 1, 1))
        assert featmap.untyped_storage().nbytes() < 20e6
        assert len(featmap) * self.SIDE > 2**31
        owner = torch.tensor([0, 1, self.MAPS // 2, 2**31 // self.SIDE, self.MAPS - 2, self.MAPS - 1])
        pixels = torch.tensor([3, 1499, 777, 1000, 1, 1402])
        coords = ts.coord.normalize(pixels.double(), self.SIDE).unsqueeze(-1).requires_grad_(mode != "nearest")
        with backends.served_by("table"):
            got = ts.sample(coords, featmap, mode, batch_index=owner)
        assert_close(got, torch.stack([owner + pixels, owner + pixels + 1], -1).double(), rtol=0, atol=1e-6)
        if coords.requires_grad:
            inner = (pixels > 1) & (pixels < self.SIDE - 2)
            (slope,) = torch.autograd.grad(got.sum(), coords)
            # On a ramp, Keys' cubic with a = -0.75 has the slope -2 a at its pixels.
            expected = {"linear": 1.0, "cubic": 1.5}[mode] * self.SIDE
            assert_close(slope.flatten()[inner], torch.full((int(inner.sum()),), expected, dtype=F64), rtol=1e-6, atol=0)

    @pytest.mark.parametrize(("shape", "wide"), [
        ((1, 7, 2**30 - 1), False),
        ((1, 1, 2**30), True),
        ((2, 1, 2**29), True),
        ((2, 1, 2**29 - 1), False),
        ((2**15, 1, 2**15), True),
        ((2**15 - 1, 64, 2**15), False),
        ((3, 1, 2**15, 2**14), True),
        ((1, 64, 2**15, 2**14), False),
        ((2**10, 2, 2**10, 2**5, 2**5), True),
        ((2**10 - 1, 2, 2**10, 2**5, 2**5), False),
    ])  # fmt: skip
    def test_the_width_of_an_index(self, shape, wide):
        """Maps times pixels, and not channels; with a bit to spare, since boundaries double a side."""
        assert taps._index_dtype(torch.empty(shape, device="meta")) == (torch.int64 if wide else torch.int32)


class TestDetachedRounding:
    """Whole periods are taken out of a phase, and neither values nor derivatives show it."""

    # Of few binary digits: products with harmonics and frequencies are exact in float32, and so are periods.
    OFFSETS = (0.0, 0.375, -1.0, 1.5, 1.9375, -2.0, 2.0, 2.0625, 3.25, -5.75, 6.0, 100.375, -1001.625, 10_000.3125, -300_000.25)

    @staticmethod
    def waves(x, order, derivative):
        """Derivative of the Fourier basis at ``x``: sines and cosines shifted by quarter periods, from phases reduced exactly."""
        row = [float(derivative == 0)]
        for k in range(1, order + 1):
            turns = math.fmod(k * x, 4.0)
            scale = math.sqrt(2) * (k * math.pi / 2) ** derivative
            row += [scale * math.cos(math.pi / 2 * (turns + derivative)), scale * math.sin(math.pi / 2 * (turns + derivative))]
        return row

    @staticmethod
    def derivatives(value, x, degree):
        """The values of a column, and its first derivatives up to a degree."""
        found = [value]
        while len(found) <= degree and found[-1].requires_grad:
            (slope,) = torch.autograd.grad(found[-1].sum(), x, create_graph=True, materialize_grads=True)
            found.append(slope[:, 0])
        return [each.detach() for each in found]

    def check_ope(self, offsets, order, dtype, bound):
        x = torch.tensor(offsets, dtype=dtype).unsqueeze(-1).requires_grad_()
        for number, column in enumerate(ts.encoding.ope(x, order).unbind(-1)):
            for degree, found in enumerate(self.derivatives(column, x, 2)):
                expected = torch.tensor([self.waves(each, order, degree)[number] for each in x[:, 0].tolist()], dtype=dtype)
                assert_close(found, expected, rtol=0, atol=bound * (order * math.pi / 2) ** degree)

    @pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (F32, 1e-6)])
    def test_ope(self, dtype, bound):
        self.check_ope(self.OFFSETS, 3, dtype, bound)

    @pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (F32, 1e-6)])
    def test_ope_of_many_harmonics(self, dtype, bound):
        """A wave of 80 quarter periods, times pi, would lose two digits."""
        self.check_ope((0.03125, -1.96875, 1.78125, 101.90625), 40, dtype, bound)

    def test_ope_of_offsets_of_many_digits(self):
        """Three times a number of 24 digits has 26: whole periods are taken out before."""
        self.check_ope((1234.5678, -99_999.91, 7654.321, 3.3333333), 3, F32, 2e-6)

    def test_ope_mixed_derivative(self):
        """By x and y: the product of the slopes along both axes."""
        x = torch.tensor([[1.5, -2.25], [1000.5, 3.75]], dtype=F64, requires_grad=True)
        for column in range(25):
            value = ts.encoding.ope(x, 2)[:, column]
            (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
            (mixed,) = torch.autograd.grad(slope[:, 0].sum(), x, materialize_grads=True) if slope.requires_grad else (torch.zeros_like(x),)
            expected = [self.waves(a, 2, 1)[column % 5] * self.waves(b, 2, 1)[column // 5] for a, b in x.tolist()]
            assert_close(mixed[:, 1], torch.tensor(expected, dtype=F64), rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("with_phases", [False, True])
    @pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-10), (F32, 2e-6)])
    def test_local_texture(self, dtype, bound, with_phases):
        """First and second derivatives by offsets, frequencies and phases, by complex exponentials."""
        rows = [
            # offset, frequency, phase
            ((0.5, -0.25), (1.5, 2.0), 0.25),
            ((1.5, 0.75), (-3.0, 5.5), -1.75),
            ((-2.0, 1.25), (101.0, -57.5), 30.5),
            ((0.125, -1.625), (1001.0, 4096.0), -2000.75),
        ]
        offsets, frequencies, phases = (torch.tensor(list(column), dtype=dtype) for column in zip(*rows, strict=True))
        inputs = [offsets, frequencies, *([phases.unsqueeze(-1)] if with_phases else [])]
        for tensor in inputs:
            tensor.requires_grad_()
        for part in range(2):
            amplitudes = torch.tensor([3.0, -2.0], dtype=dtype).expand(4, 2)
            value = ts.encoding.local_texture(offsets, amplitudes, *inputs[1:])[:, part]
            first = torch.autograd.grad(value.sum(), inputs, create_graph=True)
            second = torch.autograd.grad(first[0][:, 0].sum(), inputs)
            for number, (offset, frequency, phase) in enumerate(rows):
                turns = math.fmod(sum(o * f for o, f in zip(offset, frequency, strict=True)), 2.0) + with_phases * math.fmod(phase, 2.0)
                wave = [np.exp(1j * math.pi * turns) * (1j * math.pi) ** degree for degree in range(3)]
                wave = [(3.0 * each.real, -2.0 * each.imag)[part] for each in wave]
                scale = max(map(abs, frequency))
                assert value[number].item() == pytest.approx(wave[0], abs=3 * bound)
                by = [[wave[1] * f for f in frequency], [wave[1] * o for o in offset], [wave[1]]]
                # Of the derivative by the first offset, which is the first frequency times the slope.
                again = [
                    [wave[2] * frequency[0] * f for f in frequency],
                    [wave[2] * frequency[0] * o + wave[1] * (axis == 0) for axis, o in enumerate(offset)],
                    [wave[2] * frequency[0]],
                ]
                for found, expected in zip(first, by, strict=False):
                    assert found[number].tolist() == pytest.approx(expected, abs=30 * bound * scale)
                for found, expected in zip(second, again, strict=False):
                    assert found[number].tolist() == pytest.approx(expected, abs=100 * bound * scale**2)
