"""What every encoding promises, and the values of each."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import torchsample as ts


class EncodingContract:
    """Shape, dtype, derivatives, and agreement of function and Module; inherited by the test of each encoding."""

    dims = (1, 2, 3, 4)

    def module(self, dim):
        raise NotImplementedError

    def function(self, coords):
        raise NotImplementedError

    def printed(self):
        """The Module for two dimensions, as it prints."""
        raise NotImplementedError

    def test_width_is_known(self):
        for dim in self.dims:
            for points in ((), (7,), (2, 3), (0,)):
                coords = torch.rand(*points, dim)
                assert self.module(dim)(coords).shape == (*points, self.module(dim).out_features(dim))

    def test_module_is_the_function(self):
        for dim in self.dims:
            coords = ts.coord.rand(3, 5, dim)
            assert torch.equal(self.module(dim)(coords), self.function(coords))

    def test_prints_its_arguments(self):
        assert repr(self.module(2)) == self.printed()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_dtype(self, dtype):
        """The dtype of coords; half precision is float64 rounded, not half arithmetic."""
        coords = ts.coord.rand(3, 50).to(dtype)
        encoded = self.function(coords)
        assert encoded.dtype == dtype
        tolerance = max(2 * torch.finfo(dtype).eps, 1e-13)
        assert_close(encoded.double(), self.function(coords.double()), rtol=0, atol=max(tolerance, 2e-6 if dtype == torch.float32 else 0))

    def test_derivatives(self):
        coords = (ts.coord.rand(2, 3, dtype=torch.float64) * 0.9).requires_grad_()
        assert torch.autograd.gradcheck(self.function, coords)
        assert torch.autograd.gradgradcheck(self.function, coords)
        assert torch.autograd.gradcheck(self.function, coords, check_forward_ad=True, check_backward_ad=False)

    def test_any_strides_and_unchanged_input(self):
        coords = torch.rand(4, 5, 4)[..., ::2]
        before = coords.clone()
        assert torch.equal(self.function(coords), self.function(coords.contiguous()))
        assert torch.equal(coords, before)

    def test_moves_and_saves_like_any_module(self):
        module = self.module(2)
        module.load_state_dict(module.state_dict())
        assert module.double()(ts.coord.rand(1, 2, dtype=torch.float64)).dtype == torch.float64

    def test_as_encoder(self):
        coords, featmap = ts.coord.rand(2, 7), torch.randn(2, 3, 4, 4)
        values = ts.sample(coords, featmap, encoder=self.module(2))
        assert values.shape[-1] == 3 + self.module(2).out_features(2)

    @pytest.mark.parametrize("bad", [torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.complex64), [[0.0, 0.0]]])
    def test_wrong_coords(self, bad):
        with pytest.raises(TypeError, match="`coords` must be a"):
            self.function(bad)
        with pytest.raises(ValueError, match="`coords` must be of shape"):
            self.function(torch.tensor(0.0))

    def test_wrong_dim(self):
        with pytest.raises(ValueError, match="`dim` must be an int of at least 1"):
            self.module(2).out_features(0)


class TestIdentity(EncodingContract):
    def module(self, dim):
        return ts.encoding.Identity()

    def function(self, coords):
        return ts.encoding.identity(coords)

    def printed(self):
        return "Identity()"

    def test_value(self):
        coords = ts.coord.rand(2, 3)
        assert torch.equal(ts.encoding.identity(coords), coords)


class TestGamma(EncodingContract):
    def module(self, dim):
        return ts.encoding.Gamma(order=4)

    def function(self, coords):
        return ts.encoding.gamma(coords, order=4)

    def printed(self):
        return "Gamma(order=4)"

    @staticmethod
    def check_values():
        """Each number by its definition, one at a time, in Python's own float64."""
        coords = torch.tensor([[0.3, -0.7, 1.0], [-1.0, 0.0, 0.111]], dtype=torch.float64)
        encoded = ts.encoding.gamma(coords)
        assert encoded.shape == (2, 60)
        for row, point in zip(encoded.tolist(), coords.tolist(), strict=True):
            expected = []
            for octave in range(10):
                expected += [math.cos(2**octave * math.pi * x) for x in point]
                expected += [math.sin(2**octave * math.pi * x) for x in point]
            assert row == pytest.approx(expected, abs=1e-12)

    def test_values(self):
        self.check_values()

    @pytest.mark.parametrize("octave", [0, 5, 10, 14, 20, 30, 63])
    def test_accurate_at_every_octave(self, octave):
        """In float32, against float64 of the exactly reduced angle."""
        coords = ts.coord.rand(1, 2000, 1)
        encoded = ts.encoding.gamma(coords, order=octave + 1)[..., -2:]
        turns = [math.fmod(x * 2.0**octave, 2) for x in coords.flatten().tolist()]
        expected = torch.tensor([[math.cos(math.pi * t), math.sin(math.pi * t)] for t in turns])
        assert (encoded[0] - expected).abs().max() < 5e-7

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
    def test_many_points_are_the_same_bit_for_bit(self, dim, dtype):
        """Written block by block without a gradient, as with one, and as few points are; from any place in memory."""
        points = 15000 * torch.get_num_threads()
        coords = ts.coord.rand(0, points * dim + 1, 1, dtype).flatten()[1:].reshape(points, dim)
        before = coords.clone()
        encoded = ts.encoding.gamma(coords)
        assert encoded.is_contiguous()
        assert torch.equal(encoded, ts.encoding.gamma(coords.clone().requires_grad_()))
        assert torch.equal(encoded[-50:], ts.encoding.gamma(coords[-50:]))
        assert torch.equal(ts.encoding.gamma(coords, 5), ts.encoding.gamma(coords.reshape(2, -1, dim), 5).flatten(0, 1))
        assert torch.equal(ts.encoding.gamma(coords.T.contiguous().T), encoded)
        assert torch.equal(coords, before)

    def test_many_points_in_every_transform(self):
        """Nothing is written in place where a derivative or a transform looks on."""
        coords = ts.coord.rand(2, 4000, 3, torch.float64)
        tangent = torch.rand_like(coords)
        expected = ts.encoding.gamma(coords)
        assert torch.equal(torch.func.vmap(ts.encoding.gamma)(coords), expected)
        value, forward = torch.func.jvp(ts.encoding.gamma, (coords,), (tangent,))
        assert torch.equal(value, expected)
        with torch.autograd.forward_ad.dual_level():
            dual = ts.encoding.gamma(torch.autograd.forward_ad.make_dual(coords, tangent))
            assert torch.equal(torch.autograd.forward_ad.unpack_dual(dual).tangent, forward)
        assert_close((expected - ts.encoding.gamma(coords - 1e-7 * tangent)) / 1e-7, forward, rtol=1e-3, atol=0.5)
        with torch.inference_mode():
            assert torch.equal(ts.encoding.gamma(coords.clone()), expected)

    def test_a_graph_of_many_points_serves_few(self):
        """One program for any number of points, exported with enough to be written block by block."""
        points = torch.export.Dim("points", min=2)
        program = torch.export.export(ts.encoding.Gamma(), (ts.coord.rand(2, 9000, 2),), dynamic_shapes={"coords": {1: points}})
        for n in (3, 9001):
            coords = ts.coord.rand(2, n, 2)
            assert_close(program.module()(coords), ts.encoding.gamma(coords), rtol=0, atol=1e-6)

    @settings(max_examples=50, deadline=None)
    @given(x=st.floats(-1, 1, width=32), order=st.integers(1, 20))
    def test_lies_on_the_unit_circle_and_has_period_two(self, x, order):
        pair = ts.encoding.gamma(torch.tensor([x], dtype=torch.float64), order).reshape(order, 2)
        assert_close(pair.square().sum(-1), torch.ones(order, dtype=torch.float64))
        assert_close(ts.encoding.gamma(torch.tensor([x + 2], dtype=torch.float64), order).reshape(order, 2), pair, rtol=0, atol=1e-8)

    def test_wrong_order(self):
        for build in (ts.encoding.Gamma, lambda order: ts.encoding.gamma(torch.zeros(1, 2), order)):
            with pytest.raises(ValueError, match="`order` must be an int of at least 1, got 0"):
                build(order=0)
            with pytest.raises(ValueError, match="`order` must be at most 64, got 65"):
                build(order=65)
            with pytest.raises(TypeError, match=r"`order` must be an int of at least 1, got 2\.5"):
                build(order=2.5)


class TestNearestPixel(EncodingContract):
    sizes = (7, 4, 5, 2)

    def module(self, dim):
        return ts.encoding.NearestPixel(self.sizes[:dim])

    def function(self, coords):
        return ts.encoding.nearest_pixel(coords, self.sizes[: coords.shape[-1]] if getattr(coords, "shape", ()) else (7, 4))

    def printed(self):
        return "NearestPixel(size=(7, 4), align_corners=False, relative_to='coord')"

    def test_dtype(self):
        """A coordinate in half precision may lie in another pixel: only the dtype is compared."""
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            assert self.function(ts.coord.rand(3, 5).to(dtype)).dtype == dtype

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_values(self, align_corners):
        coords = ts.coord.rand(1, 50, dtype=torch.float64)
        encoded = ts.encoding.nearest_pixel(coords, (7, 4), align_corners)
        assert torch.equal(encoded[..., :2], coords)
        for point, offset in zip(coords[0].tolist(), encoded[0, :, 2:].tolist(), strict=True):
            for x, side, got in zip(point, (7, 4), offset, strict=True):
                position = (x + 1) / 2 * (side - 1) if align_corners else ((x + 1) * side - 1) / 2
                centre = min(range(side), key=lambda pixel: abs(pixel - position))
                assert got == pytest.approx(2 * (centre - position), abs=1e-12)
                assert -1 <= got <= 1
        turned = ts.encoding.nearest_pixel(coords, (7, 4), align_corners, relative_to="pixel")
        assert torch.equal(turned, encoded * torch.tensor([1.0, 1.0, -1.0, -1.0]))
        module = ts.encoding.NearestPixel((7, 4), align_corners, relative_to="pixel")
        assert torch.equal(module(coords), turned)

    def test_is_that_of_release_0_1(self):
        """Twice the pixel's center minus the coordinate, in pixels: what that release's own test expects, and its checkpoints."""
        coords = ts.coord.normalize(torch.tensor([[1.75, 2.25]]), (4, 4))
        assert_close(ts.encoding.nearest_pixel(coords, (4, 4))[..., 2:], torch.tensor([[0.5, -0.5]]))

    def test_sign_edges_and_ties(self):
        """Center minus coordinate; the last pixel at the very edge; the even pixel in the middle between two."""
        encoded = ts.encoding.nearest_pixel(torch.tensor([[1.0], [-1.0], [0.0], [0.5], [1.5], [0.3]]), (4,))[:, 1]
        assert_close(encoded, torch.tensor([-1.0, 1.0, 1.0, -1.0, -3.0, -0.2]), rtol=0, atol=1e-6)

    def test_wrong_size(self):
        for build in (ts.encoding.NearestPixel, lambda size: ts.encoding.nearest_pixel(torch.zeros(1, 2), size)):
            with pytest.raises(ValueError, match=r"`size` must be a sequence of positive ints \(w, h, ...\), got \(4, 0\)"):
                build((4, 0))
            with pytest.raises(TypeError, match="`size` must be a sequence of positive ints"):
                build(4)
        for build in (ts.encoding.NearestPixel, lambda size, **options: ts.encoding.nearest_pixel(torch.zeros(1, 2), size, **options)):
            with pytest.raises(ValueError, match="`relative_to` must be one of 'coord', 'pixel', got 'centre'"):
                build((4, 4), relative_to="centre")
        with pytest.raises(ValueError, match="`size` must be as long as the last dimension"):
            ts.encoding.nearest_pixel(torch.zeros(1, 2), (4, 4, 4))
        with pytest.raises(ValueError, match="`size` must be as long as the last dimension"):
            ts.encoding.NearestPixel((4, 4)).out_features(3)
