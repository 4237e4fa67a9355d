"""The contract of `ts.sample`: shapes, broadcasting, dtypes, layout, encoder."""

import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

import torchsample as ts

MODES = ("nearest", "bilinear", "bicubic")


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("points", [(7,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("batch", [(2,), (2, 3), (2, 1, 2)])
def test_shape_rule(rank, points, batch):
    featmap = torch.randn(*batch, 5, *range(3, 3 + rank))
    coords = torch.rand(*batch, *points, rank) * 2 - 1
    values = ts.sample(coords, featmap)
    assert values.shape == (*batch, *points, 5)
    assert values.is_contiguous()
    first = ts.sample(coords, featmap, feat_last=False)
    assert first.shape == (*batch, 5, *points)
    assert first.is_contiguous()
    assert torch.equal(first.movedim(len(batch), -1), values)
    for index in torch.cartesian_prod(*map(torch.arange, batch)).reshape(-1, len(batch)).tolist():
        assert_close(values[tuple(index)], ts.sample.nobatch(coords[tuple(index)], featmap[tuple(index)]))


@pytest.mark.parametrize(
    ("coords_batch", "map_batch"),
    [((1,), (3,)), ((3,), (1,)), ((3, 1), (1, 2)), ((1, 1), (3, 2)), ((3, 2), (1, 1))],
)
def test_broadcasting(coords_batch, map_batch):
    """One map for many grids and the reverse: values and gradients as if both were repeated."""
    coords = (torch.rand(*coords_batch, 6, 2, dtype=torch.float64) * 2 - 1).requires_grad_()
    featmap = torch.randn(*map_batch, 4, 5, 3, dtype=torch.float64, requires_grad=True)
    batch = torch.broadcast_shapes(coords_batch, map_batch)
    repeated = ts.sample(coords.expand(*batch, 6, 2), featmap.expand(*batch, 4, 5, 3))
    direct = ts.sample(coords, featmap)
    assert direct.shape == (*batch, 6, 4)
    assert_close(direct, repeated)
    incoming = torch.randn_like(direct)
    for mine, other in zip(*(torch.autograd.grad(v, (coords, featmap), incoming) for v in (direct, repeated)), strict=True):
        assert_close(mine, other)


@pytest.mark.parametrize("feat_last", [True, False])
@pytest.mark.parametrize(
    ("coords_shape", "map_shape", "shape"),
    [
        ((2, 0, 2), (2, 3, 4, 5), (2, 0, 3)),
        ((0, 7, 2), (0, 3, 4, 5), (0, 7, 3)),
        ((1, 7, 2), (0, 3, 4, 5), (0, 7, 3)),
        ((2, 7, 2), (2, 0, 4, 5), (2, 7, 0)),
        ((2, 0, 3, 3), (2, 3, 4, 5, 6), (2, 0, 3, 3)),
    ],
)
def test_empty(coords_shape, map_shape, shape, feat_last):
    coords = torch.zeros(coords_shape, requires_grad=True)
    featmap = torch.zeros(map_shape, requires_grad=True)
    values = ts.sample(coords, featmap, feat_last=feat_last)
    assert values.shape == (shape if feat_last else (shape[0], shape[-1], *shape[1:-1]))
    values.sum().backward()
    assert coords.grad.shape == coords.shape
    assert featmap.grad.shape == featmap.shape


class TestNobatch:
    @pytest.mark.parametrize("name", ["sample", "sample2d", "sample3d"])
    def test_agrees(self, name):
        function = getattr(ts, name)
        rank = 3 if name == "sample3d" else 2
        featmap, coords = torch.randn(4, *range(5, 5 + rank)), ts.coord.rand(0, 9, rank)
        expected = function(coords.unsqueeze(0), featmap.unsqueeze(0), mode="nearest", encoder=ts.encoding.Gamma(2)).squeeze(0)
        assert torch.equal(function.nobatch(coords, featmap, mode="nearest", encoder=ts.encoding.Gamma(2)), expected)

    def test_features_first(self):
        featmap, coords = torch.randn(4, 5, 6), ts.coord.rand(0, 9).reshape(3, 3, 2)
        values = ts.sample.nobatch(coords, featmap, feat_last=False)
        assert values.shape == (4, 3, 3)
        assert values.is_contiguous()

    def test_batched_map_is_an_error(self):
        with pytest.raises(ValueError, match=r"ts\.sample\.nobatch: `featmap`.*there is ts\.sample"):
            ts.sample.nobatch(torch.zeros(1, 9, 2), torch.zeros(1, 3, 4, 5))


class TestBatchIndex:
    def test_flat_points(self):
        featmap = torch.randn(3, 4, 5, 6)
        coords, image = ts.coord.rand(0, 20), torch.randint(3, (20,))
        values = ts.sample(coords, featmap, batch_index=image)
        expected = torch.stack([ts.sample.nobatch(coords[i : i + 1], featmap[image[i]])[0] for i in range(20)])
        assert_close(values, expected)
        assert torch.equal(ts.sample(coords, featmap, batch_index=image.int(), feat_last=False), values.T)
        encoded = ts.sample(coords, featmap, batch_index=image, encoder=ts.encoding.identity)
        assert torch.equal(encoded, torch.cat([values, coords], -1))

    @pytest.mark.parametrize("points", [(1,), (7,), (7, 2)])
    @pytest.mark.parametrize("channels", [1, 6])
    def test_groups_of_points(self, channels, points):
        """Points in boxes, and the image of each box: in an order of their own, also where there are as many boxes as images."""
        featmap, coords = torch.randn(3, channels, 5, 6), torch.rand(3, *points, 2) * 2.2 - 1.1
        image = torch.tensor([2, 0, 0])

        def each(function, *which):
            results = [function(coords[i], featmap[image[i]]) for i in range(3)]
            return torch.stack([result[which[0]] if which else result for result in results])

        values = ts.sample(coords, featmap, batch_index=image)
        assert values.shape == (3, *points, channels)
        assert_close(values, each(ts.sample.nobatch))
        assert torch.equal(ts.sample(coords, featmap, batch_index=image, feat_last=False), values.movedim(-1, 1))
        encoded = ts.sample(coords, featmap, encoder=ts.encoding.identity, batch_index=image, fill=0.5)
        assert torch.equal(encoded[..., channels:], coords)
        slopes = ts.sample_with_jacobian(coords, featmap, batch_index=image)[1]
        assert_close(slopes, each(ts.sample_with_jacobian.nobatch, 1))
        assert_close(ts.neighborhood(coords, featmap, batch_index=image).features, each(ts.neighborhood.nobatch, 0))
        assert_close(ts.local_ensemble(lambda q: q[..., :channels], coords, featmap, batch_index=image), values)
        assert_close(ts.sample_levels(coords, [featmap, featmap], batch_index=image), torch.cat([values, values], -1))
        assert ts.why(coords, featmap, batch_index=image).startswith("table")

    def test_gradients_of_groups(self):
        featmap = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
        coords = (torch.rand(4, 3, 2, dtype=torch.float64) * 2 - 1).requires_grad_()
        image = torch.tensor([2, 0, 2, 1])
        assert torch.autograd.gradcheck(lambda c, m: ts.sample(c, m, "bicubic", batch_index=image), (coords, featmap))

    def test_wrong_groups(self):
        with pytest.raises(ValueError, match=r"`batch_index` must be of shape \(3,\), one map for each of coords \(3, 7, 2\)"):
            ts.sample(torch.zeros(3, 7, 2), torch.zeros(2, 1, 4, 4), batch_index=torch.zeros(21, dtype=torch.int64))

    def test_empty(self):
        empty = ts.sample(torch.zeros(0, 2), torch.zeros(3, 4, 5, 6), batch_index=torch.zeros(0, dtype=torch.int64))
        assert empty.shape == (0, 4)


class TestEncoder:
    def test_stands_after_the_features(self):
        featmap, coords = torch.randn(2, 4, 5, 6), ts.coord.rand(2, 7)
        encoder = ts.encoding.Gamma(3)
        values = ts.sample(coords, featmap, encoder=encoder)
        assert torch.equal(values, torch.cat([ts.sample(coords, featmap), encoder(coords)], dim=-1))
        first = ts.sample(coords, featmap, encoder=encoder, feat_last=False)
        assert first.shape == (2, 16, 7)
        assert torch.equal(first, values.movedim(-1, 1))

    def test_gets_coords_as_given(self):
        seen = []
        coords = torch.zeros(1, 7, 2, dtype=torch.float64)
        values = ts.sample(coords, torch.zeros(5, 3, 4, 4), encoder=lambda c: seen.append(c) or c)
        assert seen[0] is coords
        assert values.shape == (5, 7, 5)
        single = coords[0]
        ts.sample.nobatch(single, torch.zeros(3, 4, 4), encoder=lambda c: seen.append(c) or c)
        assert seen[1] is single

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_is_cast_to_the_maps_dtype(self, dtype):
        values = ts.sample(ts.coord.rand(2, 7), torch.zeros(2, 3, 4, 4, dtype=dtype), encoder=ts.encoding.gamma)
        assert values.dtype == dtype

    def test_result_is_a_trainable_function_of_the_encoder(self):
        linear = torch.nn.Linear(2, 5)
        ts.sample(ts.coord.rand(2, 7), torch.zeros(2, 3, 4, 4), encoder=linear).sum().backward()
        assert linear.weight.grad.abs().sum() > 0


class TestDtypes:
    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool]
    )
    @pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
    def test_labels_stay_bit_exact(self, dtype, padding_mode):
        info = torch.iinfo(dtype) if dtype != torch.bool else None
        labels = torch.randint(0, 2, (2, 3, 5, 4)).bool() if info is None else torch.randint(info.min, info.max, (2, 3, 5, 4), dtype=dtype)
        everything = ts.sample(ts.coord.full_like(labels), labels, "nearest", padding_mode, feat_last=False)
        assert everything.dtype == dtype
        assert torch.equal(everything, labels)
        coords = ts.coord.rand(2, 50) * 2
        wide = ts.sample(coords, labels.double(), "nearest", padding_mode)
        # float64 holds 53 bits: compare what it can hold.
        assert torch.equal(ts.sample(coords, labels, "nearest", padding_mode).double(), wide)

    @pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
    def test_labels_are_not_interpolated(self, mode, dtype):
        with pytest.raises(TypeError, match=r"ts\.sample: `featmap`.*mode='nearest'.*featmap\.float\(\)"):
            ts.sample(ts.coord.rand(1, 3), torch.zeros(1, 1, 4, 4, dtype=dtype), mode)

    def test_nan_coordinate_gives_zero_in_labels(self):
        coords = torch.tensor([[[torch.nan, 0.0], [0.0, 0.0]]])
        assert ts.sample(coords, torch.full((1, 1, 3, 3), 7), "nearest").flatten().tolist() == [0, 7]

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("map_dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("coords_dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_mixed_precision(self, mode, map_dtype, coords_dtype):
        """The result is that of float64, rounded once to the map's dtype."""
        featmap = torch.randn(2, 3, 33, 41).to(map_dtype)
        coords = ts.coord.rand(2, 200).to(coords_dtype)
        values = ts.sample(coords, featmap, mode)
        assert values.dtype == map_dtype
        # In float32, half a pixel is a matter of the last bit: compare nearest away from there.
        position = ts.coord.unnormalize(coords.double(), (41, 33))
        safe = ((position - position.floor() - 0.5).abs() > 1e-4).all(-1)
        tolerance = 4 * torch.finfo(map_dtype).eps if map_dtype in (torch.float16, torch.bfloat16) else 2e-5
        exact = ts.sample(coords.double(), featmap.double(), mode)
        assert_close(values.double()[safe], exact[safe], rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
    def test_complex_maps(self, mode, dtype):
        featmap, coords = torch.randn(2, 3, 5, 4, dtype=dtype), ts.coord.rand(2, 20)
        values = ts.sample(coords, featmap, mode)
        expected = torch.complex(ts.sample(coords, featmap.real, mode), ts.sample(coords, featmap.imag, mode))
        assert values.dtype == dtype
        assert_close(values, expected)

    def test_autocast_changes_nothing(self):
        featmap, coords = torch.randn(2, 3, 5, 4), ts.coord.rand(2, 20)
        expected = ts.sample(coords, featmap, "bicubic")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(ts.sample(coords, featmap, "bicubic"), expected)

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    @pytest.mark.parametrize("shape", ["(1, 2, 256, 256)", "(1, 2, 64, 64, 32)"])
    def test_large_half_maps_are_right(self, dtype, shape):
        """Where PyTorch's own sampling in half precision on the CPU reads wrong memory; a crash must not take the suite along."""
        code = f"""
import torch, torchsample as ts
featmap = torch.rand({shape}).to(torch.{dtype})
featmap = featmap.to(memory_format=torch.channels_last if featmap.ndim == 4 else torch.channels_last_3d)
coords = ts.coord.rand(1, 5000, featmap.ndim - 2)
torch.testing.assert_close(ts.sample(coords, featmap).float(), ts.sample(coords, featmap.float()), rtol=1e-2, atol=1e-2)
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


class TestLayout:
    @pytest.mark.parametrize("mode", MODES)
    def test_any_strides(self, mode):
        coords = ts.coord.rand(2, 30)
        featmap = torch.randn(2, 6, 8, 10)
        views = {
            "channels last": (featmap.to(memory_format=torch.channels_last), featmap),
            "every second pixel": (featmap[..., ::2, ::2], featmap[..., ::2, ::2].clone()),
            "transposed": (featmap.transpose(-1, -2), featmap.transpose(-1, -2).clone()),
            "some channels": (featmap[:, 1:5:2], featmap[:, 1:5:2].clone()),
            "repeated": (featmap[:1].expand(2, -1, -1, -1), featmap[:1].repeat(2, 1, 1, 1)),
        }
        for name, (view, plain) in views.items():
            values = ts.sample(coords, view, mode)
            assert values.is_contiguous(), name
            assert torch.equal(values, ts.sample(coords, plain, mode)), name
        strided = torch.randn(2, 30, 4)[..., ::2]
        assert torch.equal(ts.sample(strided, featmap, mode), ts.sample(strided.contiguous(), featmap, mode))

    def test_inputs_are_left_alone(self):
        featmap, coords = torch.randn(2, 3, 4, 5), ts.coord.rand(2, 7) * 3
        before = featmap.clone(), coords.clone()
        ts.sample(coords, featmap, "bicubic", "reflection", encoder=ts.encoding.gamma)
        assert torch.equal(featmap, before[0])
        assert torch.equal(coords, before[1])


def test_swapping_axes_together_changes_nothing():
    """(x, y) on a map is (y, x) on its transpose."""
    featmap, coords = torch.randn(2, 3, 4, 7), ts.coord.rand(2, 30)
    assert_close(ts.sample(coords, featmap), ts.sample(coords.flip(-1), featmap.transpose(-1, -2)))


def test_names_that_fix_the_rank():
    featmap2, featmap3 = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5, 6)
    coords2, coords3 = ts.coord.rand(2, 7, 2), ts.coord.rand(2, 7, 3)
    assert torch.equal(ts.sample2d(coords2, featmap2, "nearest"), ts.sample(coords2, featmap2, "nearest"))
    assert torch.equal(ts.sample3d(coords=coords3, featmap=featmap3), ts.sample(coords3, featmap3))
    with pytest.raises(ValueError, match=r"ts\.sample2d: `coords`.*2-D"):
        ts.sample2d(coords3, featmap3)
    with pytest.raises(ValueError, match=r"ts\.sample3d\.nobatch: `coords`.*3-D"):
        ts.sample3d.nobatch(coords2[0], featmap2[0])


@pytest.mark.parametrize(
    "call",
    [ts.sample, ts.sample_with_jacobian, ts.neighborhood, ts.why, lambda m, c: ts.local_ensemble(ts.encoding.identity, m, c)],
)
def test_arguments_in_the_order_of_grid_sample(call):
    """The error used to speak of 640-D coords alone."""
    image = torch.zeros(2, 3, 480, 640)
    for grid in (torch.zeros(2, 1, 7, 2), torch.zeros(2, 7, 2)):
        with pytest.raises(ValueError, match="Are the two swapped"):
            call(image, grid)
    if hasattr(call, "nobatch"):
        with pytest.raises(ValueError, match="Are the two swapped"):
            call.nobatch(image[0], torch.zeros(7, 2))


def test_layout_helpers_without_a_batch():
    photo = torch.randn(3, 4, 5)
    assert ts.tensor_to_size.nobatch(photo) == ts.tensor_to_size(photo.unsqueeze(0)) == (5, 4)
    assert torch.equal(ts.feat_last.nobatch(photo), photo.permute(1, 2, 0))
    assert torch.equal(ts.feat_first.nobatch(ts.feat_last.nobatch(photo)), photo)
    for function in (ts.feat_first, ts.feat_last):
        with pytest.raises(ValueError, match=rf"ts\.{function.__name__}\.nobatch: `tensor` must be at least 1-dimensional"):
            function.nobatch(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"ts\.tensor_to_size: `tensor` must be a map .* goes to ts\.tensor_to_size\.nobatch"):
        ts.tensor_to_size(torch.zeros(4, 5))


def test_layout_helpers():
    tensor = torch.randn(2, 3, 4, 5)
    assert torch.equal(ts.feat_first(tensor), tensor.permute(0, 3, 1, 2))
    assert torch.equal(ts.feat_last(ts.feat_first(tensor)), tensor)
    assert torch.equal(ts.feat_first(ts.feat_last(tensor)), tensor)
    assert ts.tensor_to_size(tensor) == (5, 4)
    assert ts.tensor_to_size(torch.zeros(1, 1, 7)) == (7,)
    assert ts.tensor_to_size(torch.zeros(1, 1, 7, 8, 9)) == (9, 8, 7)
