"""Bases of a cell's offsets: OPE-SR's and LTE's, against their definitions as loops."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts
from test_encoding import EncodingContract


def fourier(x, order):
    """``1, sqrt(2) cos(k w x), sqrt(2) sin(k w x)`` with ``w = pi / 2``, in Python's own float64."""
    row = [1.0]
    for k in range(1, order + 1):
        row += [math.sqrt(2) * math.cos(k * math.pi / 2 * x), math.sqrt(2) * math.sin(k * math.pi / 2 * x)]
    return row


class TestOpe(EncodingContract):
    def module(self, dim):
        return ts.encoding.Ope(order=2)

    def function(self, coords):
        return ts.encoding.ope(coords, order=2)

    def printed(self):
        return "Ope(order=2)"

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_dtype(self, dtype):
        """Values reach 2 in the plane, not 1: twice the rounding of the contract's."""
        coords = (ts.coord.rand(3, 50) * 2).to(dtype)
        encoded = self.function(coords)
        assert encoded.dtype == dtype
        tolerance = max(2 * torch.finfo(dtype).eps, 1e-13)
        assert_close(encoded.double(), self.function(coords.double()), rtol=0, atol=max(tolerance, 3e-6 if dtype == torch.float32 else 0))

    @staticmethod
    def check_values():
        for dim, order in ((1, 3), (2, 0), (2, 1), (2, 3), (3, 2)):
            offsets = ts.coord.rand(1, 7, dim, dtype=torch.float64)[0] * 2
            encoded = ts.encoding.ope(offsets, order)
            for row, point in zip(encoded.tolist(), offsets.tolist(), strict=True):
                axes = [fourier(x, order) for x in point]
                expected = [math.prod(product) for product in itertools.product(*reversed(axes))]  # x runs fastest
                assert row == pytest.approx(expected, abs=1e-12)

    def test_values(self):
        self.check_values()

    @pytest.mark.parametrize(("dim", "order"), [(1, 3), (1, 8), (2, 3), (3, 1)])
    def test_orthonormal(self, dim, order):
        """Mean products over ``[-2, 2]``, by the midpoint rule, which is exact for so few waves."""
        n = 4 * order + 4
        points = 2 * ts.coord.full(0, (n,) * dim, dtype=torch.float64).reshape(-1, dim)
        basis = ts.encoding.ope(points, order)
        assert_close(basis.T @ basis / len(points), torch.eye((2 * order + 1) ** dim, dtype=torch.float64), rtol=0, atol=1e-12)

    def test_two_cells_away_it_begins_again(self):
        offsets = ts.coord.rand(1, 9, dtype=torch.float64) * 2
        assert_close(ts.encoding.ope(offsets + 4), ts.encoding.ope(offsets), rtol=0, atol=1e-12)

    def test_a_map_is_an_image_without_a_network(self):
        """OPE-SR's upsampler on `neighborhood`, point by point as its definition reads."""
        latent = torch.randn(1, 3 * 9, 4, 5, dtype=torch.float64)
        coords = ts.coord.rand(1, 6, dtype=torch.float64)
        cells = ts.neighborhood(coords, latent)
        colours = torch.einsum("...kcp,...kp->...kc", cells.features.unflatten(-1, (3, 9)), ts.encoding.ope(cells.offsets, 1))
        got = (cells.weights.unsqueeze(-1) * colours).sum(-2)
        for point, colour in zip(coords[0].tolist(), got[0].tolist(), strict=True):
            px, py = ((x + 1) * side / 2 - 0.5 for x, side in zip(point, (5, 4), strict=True))
            total = [0.0] * 3
            for y, x in itertools.product((math.floor(py), math.floor(py) + 1), (math.floor(px), math.floor(px) + 1)):
                row, column = min(max(y, 0), 3), min(max(x, 0), 4)
                basis = [a * b for a in fourier(2 * (py - row), 1) for b in fourier(2 * (px - column), 1)]
                for c in range(3):
                    value = sum(latent[0, 9 * c + k, row, column].item() * basis[k] for k in range(9))
                    total[c] += (1 - abs(px - x)) * (1 - abs(py - y)) * value
            assert colour == pytest.approx(total, abs=1e-11)

    def test_wrong_order(self):
        for build in (ts.encoding.Ope, lambda order: ts.encoding.ope(torch.zeros(1, 2), order)):
            with pytest.raises(ValueError, match="`order` must be an int of at least 0, got -1"):
                build(-1)
            with pytest.raises(TypeError, match="`order` must be an int of at least 0"):
                build(1.5)

    @pytest.mark.parametrize("bad", [torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.complex64), [[0.0, 0.0]]])
    def test_wrong_offsets(self, bad):
        """The function's argument is `offsets`; its errors name one that it does not have."""
        with pytest.raises(TypeError, match="`offsets` must be a"):
            ts.encoding.ope(bad)
        with pytest.raises(ValueError, match="`offsets` must be of shape"):
            ts.encoding.ope(torch.tensor(0.0))

    test_wrong_coords = None  # see above


class TestLocalTexture:
    @staticmethod
    def check_values():
        """Wave by wave: amplitudes and phases as LTE has them, frequencies along (x, y, ...)."""
        for dim in (1, 2, 3):
            offsets = ts.coord.rand(2, 3, dim, dtype=torch.float64) * 2
            amplitudes, frequencies = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 3, 4 * dim, dtype=torch.float64)
            phases = torch.randn(2, 3, 4, dtype=torch.float64)
            for given in (None, phases):
                encoded = ts.encoding.local_texture(offsets, amplitudes, frequencies, given)
                assert encoded.shape == (2, 3, 8)
                for i, j, wave in itertools.product(range(2), range(3), range(4)):
                    turn = sum(frequencies[i, j, dim * wave + axis].item() * offsets[i, j, axis].item() for axis in range(dim))
                    angle = math.pi * (turn + (0 if given is None else given[i, j, wave].item()))
                    cosine, sine = amplitudes[i, j, wave].item() * math.cos(angle), amplitudes[i, j, 4 + wave].item() * math.sin(angle)
                    assert encoded[i, j, wave].item() == pytest.approx(cosine, abs=1e-12)
                    assert encoded[i, j, 4 + wave].item() == pytest.approx(sine, abs=1e-12)

    def test_values(self):
        self.check_values()

    @pytest.mark.parametrize("frequency", [1.0, 63.0, 1001.0, 2.0**14 + 1, 2.0**20])
    def test_accurate_at_large_frequencies(self, frequency):
        """In float32; offsets of few bits, so that a wave's turns are exact and only its angle can lose digits."""
        offsets = torch.arange(-16, 17, dtype=torch.float32).reshape(-1, 1) / 8
        ones = torch.ones(33, 2)
        encoded = ts.encoding.local_texture(offsets, ones, torch.full((33, 1), frequency))
        for got, x in zip(encoded.tolist(), offsets.flatten().tolist(), strict=True):
            angle = math.pi * math.fmod(frequency * x, 2)
            assert got == pytest.approx([math.cos(angle), math.sin(angle)], abs=5e-7)

    def test_phases_keep_their_digits(self):
        """Whole periods must go before the phase comes, or it is rounded to the digits that many turns leave."""
        offsets, ones, phase = torch.full((1, 1), 1.5), torch.ones(1, 2), torch.full((1, 1), 0.1)
        encoded = ts.encoding.local_texture(offsets, ones, torch.full((1, 1), 4096.0), phase)
        assert encoded[0].tolist() == pytest.approx([math.cos(0.1 * math.pi), math.sin(0.1 * math.pi)], abs=5e-7)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_dtype(self, dtype):
        """That of the offsets; computed in float32 at least, the exact value rounded."""
        offsets, amplitudes, frequencies = (torch.randn(50, n).to(dtype) for n in (2, 8, 8))
        encoded = ts.encoding.local_texture(offsets, amplitudes, frequencies)
        assert encoded.dtype == dtype
        exact = ts.encoding.local_texture(offsets.double(), amplitudes.double(), frequencies.double())
        assert_close(encoded.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-5)
        assert ts.encoding.local_texture(offsets.double(), amplitudes, frequencies).dtype == torch.float64

    def test_gradients(self):
        shapes = ((2, 2), (2, 6), (2, 6), (2, 3))
        inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
        assert torch.autograd.gradcheck(ts.encoding.local_texture, inputs)
        assert torch.autograd.gradgradcheck(ts.encoding.local_texture, inputs)
        assert torch.autograd.gradcheck(ts.encoding.local_texture, inputs, check_forward_ad=True, check_backward_ad=False)

    def test_on_the_neighborhood(self):
        """LTE's own arrangement: the maps of amplitudes and frequencies, read at each of the nearest cells."""
        maps, coords = torch.randn(2, 8 + 8, 4, 5), ts.coord.rand(2, 7)
        cells = ts.neighborhood(coords, maps)
        amplitudes, frequencies = cells.features.split([8, 8], dim=-1)
        whole = ts.encoding.local_texture(cells.offsets, amplitudes, frequencies)
        assert whole.shape == (2, 7, 4, 8)
        one = ts.encoding.local_texture(cells.offsets[1, 3, 2], amplitudes[1, 3, 2], frequencies[1, 3, 2])
        assert_close(whole[1, 3, 2], one)

    def test_no_points(self):
        assert ts.encoding.local_texture(torch.zeros(0, 2), torch.zeros(0, 6), torch.zeros(0, 6)).shape == (0, 6)

    @pytest.mark.parametrize(
        ("shapes", "argument"),
        [
            (((4, 2), (4, 5), (4, 6)), "amplitudes"),
            (((4, 2), (3, 6), (4, 6)), "amplitudes"),
            (((4, 2), (4, 6), (4, 5)), "frequencies"),
            (((4, 2), (4, 6), (4, 3)), "frequencies"),
            (((4, 2), (4, 6), (4, 6), (4, 2)), "phases"),
        ],
    )
    def test_wrong_shapes(self, shapes, argument):
        with pytest.raises(ValueError, match=f"ts.encoding.local_texture: `{argument}` must be of shape"):
            ts.encoding.local_texture(*map(torch.zeros, shapes))

    def test_wrong_types(self):
        with pytest.raises(TypeError, match="`amplitudes` must be a torch"):
            ts.encoding.local_texture(torch.zeros(1, 2), [1.0], torch.zeros(1, 2))
        with pytest.raises(TypeError, match="`frequencies` must be a torch"):
            ts.encoding.local_texture(torch.zeros(1, 2), torch.zeros(1, 2), None)
        with pytest.raises(TypeError, match="must be a floating-point tensor"):
            ts.encoding.local_texture(torch.zeros(1, 2).long(), torch.zeros(1, 2), torch.zeros(1, 2))

    def test_offsets_are_named(self):
        """As for `ope`."""
        with pytest.raises(TypeError, match="`offsets` must be a"):
            ts.encoding.local_texture(torch.zeros(1, 2).long(), torch.zeros(1, 2), torch.zeros(1, 2))
