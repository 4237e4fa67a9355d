"""What the engine can do beyond PyTorch's sampling: splines, circular and mixed padding, fill, splat, jacobians, extreme sizes."""

import itertools
import subprocess
import sys
import textwrap

import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

import oracle
import torchsample as ts
from test_sample_values import make_coords, make_map

SPLINES = ("bspline2", "bspline3", "bspline4", "bspline5")
MODES = ("nearest", "bilinear", "bicubic", *SPLINES)
PADDINGS = ("zeros", "border", "reflection", "circular")
SCIPY = {
    ("reflection", False): "reflect",
    ("reflection", True): "mirror",
    ("circular", False): "grid-wrap",
    ("circular", True): "grid-wrap",
    ("border", False): "nearest",
    ("zeros", False): "grid-constant",
}


def check_scipy(rank, mode, padding_mode, align_corners, side=17):
    """SciPy's own filter of "reflect" is off by more than 1e-6 on sides shorter than about ten; ours goes through every pixel there too."""
    featmap = torch.randn(1, 2, *range(side, side + rank), dtype=torch.float64)
    size = ts.tensor_to_size(featmap)
    # SciPy keeps 12 pixels of an endless signal, so what lies farther outside is not to be compared.
    beyond = 30 if padding_mode in ("reflection", "circular") else 6
    position = torch.stack([torch.rand(60, dtype=torch.float64) * (n - 1 + 2 * beyond) - beyond for n in size], dim=-1)
    values = ts.sample(ts.coord.normalize(position, size, align_corners)[None], featmap, mode, padding_mode, align_corners)
    for channel in range(2):
        where = position.flip(-1).T.numpy()
        expected = ndimage.map_coordinates(featmap[0, channel].numpy(), where, order=int(mode[-1]), mode=SCIPY[padding_mode, align_corners])
        assert_close(values[0, :, channel], torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


def check_scipy_smallest():
    check_scipy(1, "bspline3", "reflection", False)


@pytest.mark.parametrize(("padding_mode", "align_corners"), SCIPY)
@pytest.mark.parametrize("mode", SPLINES)
def test_splines_are_those_of_scipy(mode, padding_mode, align_corners):
    for rank in (1, 2, 3):
        check_scipy(rank, mode, padding_mode, align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", SPLINES)
def test_splines_go_through_every_pixel(mode, padding_mode, align_corners):
    for side in (1, 2, 3, 8):
        featmap = torch.randn(1, 2, side, 5, dtype=torch.float64)
        coords = ts.coord.full_like(featmap, align_corners)
        assert_close(ts.sample(coords, featmap, mode, padding_mode, align_corners, feat_last=False), featmap, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", SPLINES)
def test_prefilter_once(mode):
    featmap, coords = torch.randn(2, 3, 9, 8), ts.coord.rand(2, 20) * 1.5
    for padding_mode in (*PADDINGS, ("circular", "border"), ("zeros", "reflection")):
        coefficients = ts.prefilter(featmap, mode, padding_mode)
        values = ts.sample(coords, coefficients, mode, padding_mode, prefilter=False)
        assert_close(values, ts.sample(coords, featmap, mode, padding_mode))
        single = ts.prefilter.nobatch(featmap[0], mode, padding_mode)
        assert torch.equal(single, coefficients[0])
    assert ts.prefilter(featmap, "bilinear") is featmap
    assert ts.prefilter(featmap.half(), mode).dtype == torch.float32


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_circular(mode, align_corners):
    """Against the oracle, and exact at the seam: the map shifted by whole periods, and rolled by whole pixels."""
    for rank in (1, 2, 3, 4):
        featmap, coords = make_map(rank), make_coords(rank, align_corners)
        if mode != "nearest":
            name = {"bilinear": "linear", "bicubic": "cubic"}[mode]
            expected = oracle.sample(coords.numpy(), featmap.numpy(), name, "circular", align_corners)
            assert_close(ts.sample(coords, featmap, mode, "circular", align_corners), torch.from_numpy(expected), rtol=1e-10, atol=1e-10)
    signal = torch.randn(1, 1, 8, dtype=torch.float64)
    position = torch.rand(1, 50, 1, dtype=torch.float64) * 7 + 0.25
    values, rolled, shifted = (
        ts.sample(ts.coord.normalize(position + by, 8, align_corners), source, mode, "circular", align_corners)
        for by, source in ((0, signal), (3, signal.roll(3, -1)), (-16, signal))
    )
    assert_close(rolled, values)
    assert_close(shifted, values)


def test_padding_per_axis():
    """A panorama: around in x, clamped in y; and every pair against the oracle of each axis."""
    panorama = torch.randn(1, 2, 6, 8, dtype=torch.float64)
    coords = torch.tensor([[[1.0, -1.5], [-1.0, -1.5], [3.0, 0.3], [1.0, 0.3]]], dtype=torch.float64)
    values = ts.sample(coords, panorama, "bilinear", ("circular", "border"))
    assert_close(values[0, 0], values[0, 1])
    assert_close(values[0, 2], values[0, 3])
    assert_close(values[0, 0], (panorama[0, :, 0, 0] + panorama[0, :, 0, -1]) / 2)
    points = ts.coord.rand(1, 40, dtype=torch.float64) * 2
    for across, down in itertools.product(PADDINGS, repeat=2):
        got = ts.sample(points, panorama, "bicubic", (across, down))
        rows = [[oracle.pixel(i, 6, down, False) for i in range(-9, 15)], [oracle.pixel(i, 8, across, False) for i in range(-12, 20)]]
        wide = torch.zeros(1, 2, 24, 32, dtype=torch.float64)
        for (y, row), (x, column) in itertools.product(enumerate(rows[0]), enumerate(rows[1])):
            if row is not None and column is not None:
                wide[..., y, x] = panorama[..., row, column]
        position = ts.coord.unnormalize(points, (8, 6)) + torch.tensor([12, 9])
        assert_close(got, ts.sample(ts.coord.normalize(position, (32, 24)), wide, "bicubic"), rtol=1e-9, atol=1e-9)


def test_padding_per_axis_must_fit():
    with pytest.raises(ValueError, match=r"ts\.sample: `padding_mode` must be one name, or 2 for 2-D coords"):
        ts.sample(torch.zeros(1, 1, 2), torch.zeros(1, 1, 4, 4), padding_mode=("border",) * 3)
    with pytest.raises(ValueError, match="'circular'"):
        ts.sample(torch.zeros(1, 1, 2), torch.zeros(1, 1, 4, 4), padding_mode=("border", "mirror"))


def test_own_kernel_and_boundary():
    """One short class each, and they work at every rank."""

    class Smooth(ts.interpolation.Kernel):
        offsets = (0, 1)

        def weights(self, t):
            s = t * t * (3 - 2 * t)
            return 1 - s, s

    class Negative(ts.interpolation.Border):
        """The first pixel before the map, the last pixel behind it, like `Border`, by another road."""

        def resolve(self, index, side, align_corners):
            return torch.where(index < 0, 0, torch.where(index >= side, side - 1, index)), None

    for rank in (1, 2, 3):
        featmap, coords = make_map(rank), make_coords(rank, False)
        assert_close(ts.sample(coords, featmap, "bicubic", Negative()), ts.sample(coords, featmap, "bicubic"))
        at_pixels = ts.sample(ts.coord.full_like(featmap), featmap, Smooth(), feat_last=False)
        assert_close(at_pixels, featmap)
    signal = torch.tensor([[[0.0, 1.0]]])
    assert_close(ts.sample(torch.tensor([[[-0.25]]]), signal, Smooth()), torch.tensor([[[0.25**2 * 2.5]]]))


class TestFill:
    @pytest.mark.parametrize("padding_mode", PADDINGS)
    @pytest.mark.parametrize("mode", MODES)
    def test_nan_and_infinity(self, mode, padding_mode):
        """NaN stays NaN; infinity is outside."""
        coords = torch.tensor([[[torch.nan, 0.0], [torch.inf, 0.0], [0.0, -torch.inf], [torch.inf, torch.nan]]])
        values = ts.sample(coords, torch.ones(1, 1, 4, 4), mode, padding_mode, fill=7.0).flatten()
        assert_close(values, torch.tensor([torch.nan, 7.0, 7.0, torch.nan]), equal_nan=True)
        bare = ts.sample(coords, torch.ones(1, 1, 4, 4), mode, padding_mode).flatten()
        far = {"zeros": 0.0, "border": 1.0}.get(padding_mode, torch.nan)
        assert_close(bare, torch.tensor([torch.nan, far, far, torch.nan]), equal_nan=True)

    def test_labels(self):
        coords = torch.tensor([[[torch.nan, 0.0], [2.0, 0.0], [0.0, 0.0]]])
        labels = torch.full((1, 1, 3, 3), 5, dtype=torch.uint8)
        assert ts.sample(coords, labels, "nearest", fill=255).flatten().tolist() == [255, 255, 5]
        with pytest.raises(TypeError, match=r"ts\.sample: `fill` must be a number that"):
            ts.sample(coords, labels, "nearest", fill=0.5)

    @pytest.mark.parametrize(
        ("fill", "dtype"),
        [
            (300, torch.uint8),
            (-1, torch.uint8),
            (1e6, torch.float16),
            (2**63, torch.int64),
            ("red", torch.float32),
            ([1, [2]], torch.float32),
        ],
    )
    def test_what_the_map_cannot_hold(self, fill, dtype):
        with pytest.raises((TypeError, ValueError), match=r"ts\.sample: `fill` must be a number that torch\.\w+ can hold"):
            ts.sample(torch.tensor([[[2.0]]]), torch.zeros(1, 1, 4, dtype=dtype), "nearest", fill=fill)

    def test_is_not_rounded(self):
        """Not to float32 on the way to a double map."""
        outside = torch.tensor([[[2.0]]])
        assert ts.sample(outside, torch.zeros(1, 1, 4).double(), fill=0.1).item() == 0.1
        assert ts.sample(outside, torch.zeros(1, 1, 4).double(), fill=[0.1]).item() == 0.1
        assert ts.sample(outside, torch.zeros(1, 1, 4).half(), fill=torch.inf).item() == torch.inf
        assert ts.sample(outside, torch.zeros(1, 1, 4).to(torch.uint16), "nearest", fill=65535).item() == 65535

    def test_shape(self):
        with pytest.raises(ValueError, match=r"ts\.sample: `fill` must be a number .* or one for each of the 3 channels"):
            ts.sample(torch.zeros(1, 1, 2), torch.zeros(1, 3, 4, 4), fill=[0.0, 1.0])

    def test_gradients(self):
        coords = torch.tensor([[[0.1, 0.2], [1.5, 0.0]]], dtype=torch.float64, requires_grad=True)
        featmap = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        fill = torch.randn(2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda c, m, f: ts.sample(c, m, fill=f), (coords, featmap, fill))


FILLS = [
    (torch.uint64, 2**64 - 1, 2**64 - 1),
    (torch.uint64, 0, 0),
    (torch.uint64, -1, ValueError),
    (torch.uint64, 2**64, ValueError),
    (torch.uint64, torch.tensor(-1), ValueError),
    (torch.uint64, torch.tensor(2**63 + 5, dtype=torch.uint64), 2**63 + 5),
    (torch.int64, torch.tensor(2**63 + 5, dtype=torch.uint64), ValueError),
    (torch.int64, 2**63 - 1, 2**63 - 1),
    (torch.int64, -(2**63), -(2**63)),
    (torch.uint8, torch.tensor(300), ValueError),
    (torch.uint8, 256, ValueError),
    (torch.int8, torch.tensor(-5), -5),
    (torch.int64, 1.5, TypeError),
    (torch.float64, 10**20, 1e20),
    (torch.float16, 70000, ValueError),
    (torch.float16, torch.inf, torch.inf),
    (torch.float32, True, TypeError),
    (torch.float32, 1j, TypeError),
    (torch.bool, True, True),
    (torch.bool, 1, TypeError),
    (torch.complex128, 0.1 + 0.2j, 0.1 + 0.2j),
    (torch.complex64, 1e39, ValueError),
]


@pytest.mark.parametrize(("dtype", "fill", "expected"), FILLS, ids=[f"{number}" for number in range(len(FILLS))])
def test_fill_is_exact_or_refused(dtype, fill, expected):
    """To the last bit of the widest labels; nothing wraps, and nothing becomes infinite."""
    featmap, outside = torch.ones(1, 1, 2, 2).to(dtype), torch.tensor([[[2.0, 0.0]]])
    if isinstance(expected, type):
        with pytest.raises(expected, match=r"ts\.sample: `fill` must be a number that torch\.\w+ can hold"):
            ts.sample(outside, featmap, "nearest", fill=fill)
    else:
        assert ts.sample(outside, featmap, "nearest", fill=fill).item() == expected


def test_fill_is_for_points_outside():
    """The point's own position decides, up to and including the edge; taps outside are padded as ever."""
    featmap = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 2, 3, 4)
    above = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)).item()
    coords = torch.tensor([[[1.0, 0.0], [above, 0.0], [0.0, -1.0], [0.0, -2.0], [-1.0, 1.0]]])
    values = ts.sample(coords, featmap, padding_mode="zeros", fill=[-1.0, -2.0])
    assert_close(values[0, :, 0], torch.tensor([1.5, -1.0, 0.75, -1.0, 0.0]))
    assert_close(values[0, :, 1], torch.tensor([1.5, -2.0, 0.75, -2.0, 0.0]))
    inside = ts.coord.inside(coords)
    assert torch.equal(ts.sample(coords, featmap, fill=9.0)[inside], ts.sample(coords, featmap)[inside])


def check_adjoint(rank, mode, padding_mode, align_corners, dtype=torch.float64):
    featmap, coords = make_map(rank, dtype=dtype), make_coords(rank, align_corners)
    values = torch.randn(2, coords.shape[1], 2, dtype=dtype)
    left = (ts.sample(coords, featmap, mode, padding_mode, align_corners) * values).sum()
    size = ts.tensor_to_size(featmap)
    right = (featmap * ts.splat(coords, values, size, mode, padding_mode, align_corners)).sum()
    assert_close(left, right, rtol=1e-9, atol=1e-9)


class TestSplat:
    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("padding_mode", [*PADDINGS, ("circular", "border")])
    @pytest.mark.parametrize("mode", MODES)
    def test_is_the_adjoint(self, mode, padding_mode, align_corners):
        for rank in (2,) if isinstance(padding_mode, tuple) else (1, 2, 3):
            check_adjoint(rank, mode, padding_mode, align_corners)
        check_adjoint(2, mode, padding_mode, align_corners, torch.complex128)

    def test_is_the_gradient_of_sample(self):
        coords, featmap = ts.coord.rand(2, 30), torch.randn(2, 3, 6, 5, requires_grad=True)
        incoming = torch.randn(2, 30, 3)
        (gradient,) = torch.autograd.grad(ts.sample(coords, featmap, "bicubic"), featmap, incoming)
        assert_close(ts.splat(coords, incoming, (5, 6), "bicubic"), gradient)

    def test_normalized(self):
        """A constant comes back where anything fell, and zero elsewhere."""
        coords = ts.coord.rand(1, 5)
        mean = ts.splat(coords, torch.full((1, 5, 2), 3.0), (16, 16), normalize=True)
        weight = ts.splat(coords, torch.ones(1, 5, 1), (16, 16))
        assert_close(mean, torch.where(weight > 0, 3.0, 0.0).expand(-1, 2, -1, -1))
        image = torch.rand(1, 3, 6, 7)
        assert_close(ts.splat(ts.coord.full_like(image), ts.feat_last(image), (7, 6), normalize=True), image)

    def test_shapes(self):
        values = torch.randn(3, 4, 5, 2)
        coords = ts.coord.rand(1, 20).reshape(1, 4, 5, 2)
        together = ts.splat(coords, values, (8, 7))
        assert together.shape == (3, 2, 7, 8)
        assert together.is_contiguous()
        assert_close(together, ts.splat(coords.expand(3, -1, -1, -1), values, (8, 7)))
        assert_close(together[1], ts.splat.nobatch(coords[0], values[1], (8, 7)))
        assert torch.equal(ts.splat(coords[:, :0], values[:, :0], (8, 7)), torch.zeros(3, 2, 7, 8))
        assert ts.splat(coords[:0], values[:0], (8, 7)).shape == (0, 2, 7, 8)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_is_summed_in_float32(self, dtype):
        """4096 ones in one pixel: half precision would stop at 2048, bfloat16 at 256."""
        total = ts.splat(torch.zeros(1, 4096, 2), torch.ones(1, 4096, 1, dtype=dtype), (1, 1))
        assert total.dtype == dtype
        assert total.item() == 4096

    def test_points_without_a_place_add_nothing(self):
        coords = torch.tensor([[[torch.nan, 0.0], [torch.inf, 0.0], [0.0, 0.0]]])
        values = torch.tensor([[[torch.nan], [5.0], [1.0]]])
        assert ts.splat(coords, values, (3, 3), padding_mode="circular").sum() == 1
        assert ts.splat(coords, values, (3, 3), padding_mode="zeros").sum() == 1
        assert ts.splat(coords, values, (3, 3), padding_mode="border").sum() == 6

    @pytest.mark.parametrize(
        ("coords", "values", "size", "match"),
        [
            (torch.zeros(1, 4, 2), torch.zeros(1, 5, 3), (4, 4), "`values` must be of the points"),
            (torch.zeros(1, 4, 2), torch.zeros(4, 3), (4, 4), "`values` must be of as many dimensions"),
            (torch.zeros(1, 4, 2), torch.zeros(1, 4, 3), (4,), "`size` must be as long as"),
            (torch.zeros(1, 4, 2), torch.zeros(1, 4, 3).long(), (4, 4), "`values` must be floating-point"),
            (torch.zeros(2, 4, 2), torch.zeros(3, 4, 3), (4, 4), "`coords` must be of a batch shape"),
            (torch.zeros(1, 4, 2), torch.zeros(1, 4, 3), (4, 0), "`size` must be a sequence of positive ints"),
        ],
    )
    def test_errors(self, coords, values, size, match):
        with pytest.raises((ValueError, TypeError), match=rf"ts\.splat: {match}"):
            ts.splat(coords, values, size)


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_jacobian(rank, mode, padding_mode):
    """Values are those of `sample`, slopes those of autograd, channel by channel; with NaN where there is no place."""
    for align_corners in (False, True):
        featmap, coords = make_map(rank), make_coords(rank, align_corners, n_random=5)[:, :8].requires_grad_()
        values, jacobian = ts.sample_with_jacobian(coords, featmap, mode, padding_mode, align_corners)
        direct = ts.sample(coords, featmap, mode, padding_mode, align_corners)
        assert_close(values, direct)
        assert jacobian.shape == (*direct.shape, rank)
        for channel in range(2):
            (expected,) = torch.autograd.grad(direct[..., channel].sum(), coords, retain_graph=True)
            assert_close(jacobian[:, :, channel], expected)


def test_jacobian_forms():
    featmap, coords = torch.randn(3, 2, 4, 5), ts.coord.rand(3, 7)
    values, jacobian = ts.sample_with_jacobian(coords, featmap, "bicubic")
    single = ts.sample_with_jacobian.nobatch(coords[1], featmap[1], "bicubic")
    assert_close(single, (values[1], jacobian[1]))
    flat = ts.sample_with_jacobian(coords.flatten(0, 1), featmap, "bicubic", batch_index=torch.arange(3).repeat_interleave(7))
    assert_close(flat, (values.flatten(0, 1), jacobian.flatten(0, 1)))
    complexes = torch.complex(featmap, featmap.flip(-1))
    _, slope = ts.sample_with_jacobian(coords, complexes)
    assert_close(slope.real, ts.sample_with_jacobian(coords, featmap)[1])
    with pytest.raises(TypeError, match=r"ts\.sample_with_jacobian: `featmap` must be floating-point"):
        ts.sample_with_jacobian(coords, featmap.long(), "nearest")


def test_jacobian_of_a_distance_field_is_its_normal():
    grid = ts.coord.full(1, (64, 64), dtype=torch.float64)
    circle = grid.norm(dim=-1).sub(0.5).unsqueeze(1)
    angle = torch.linspace(0, 6, 20, dtype=torch.float64)
    on_circle = 0.5 * torch.stack([angle.cos(), angle.sin()], -1)[None]
    _, normal = ts.sample_with_jacobian(on_circle, circle, "bspline3", "reflection")
    assert_close(normal[..., 0, :], 2 * on_circle, rtol=0, atol=2e-3)


def test_jacobian_in_every_mode_of_differentiation():
    """Its slopes nest in forward mode, old and new, and in tracing without data."""
    coords, featmap = ts.coord.rand(1, 3, dtype=torch.float64), torch.randn(1, 1, 4, 4, dtype=torch.float64)

    def slopes(c):
        return ts.sample_with_jacobian(c, featmap, "bicubic")[1]

    assert torch.autograd.gradcheck(slopes, coords.requires_grad_(), check_forward_ad=True)
    on_meta = ts.sample_with_jacobian(coords.detach().to("meta"), featmap.to("meta"))[1]
    assert on_meta.shape == (1, 3, 1, 2)


@pytest.mark.parametrize("a", [-1.0, -0.75, -0.6, -0.33])
def test_cubic_weights_nothing_but_the_pixel_at_its_centre(a):
    featmap = torch.tensor([[[1.0, 2.0, torch.nan, 4.0, 5.0]]], dtype=torch.float64)
    coords = ts.coord.full_like(featmap, align_corners=True)
    values = ts.sample(coords, featmap, ts.interpolation.Cubic(a), align_corners=True)
    assert_close(values.flatten(), featmap.flatten(), equal_nan=True, rtol=0, atol=0)


def test_splat_takes_conjugates():
    values, coords = torch.randn(1, 5, 2, dtype=torch.complex64), ts.coord.rand(1, 5)
    assert_close(ts.splat(coords, values.conj(), (4, 4)), ts.splat(coords, values, (4, 4)).conj())


class TestSize:
    @pytest.mark.slow
    def test_more_than_two_billion_elements(self):
        """A map whose last elements lie beyond what 32 bits can address; nothing is copied, so 2 GB are enough."""
        code = """
            import torch, torchsample as ts
            labels = torch.zeros(1, 1, 46400, 46400, dtype=torch.bool)
            assert labels.numel() > 2**31
            labels[0, 0, -1, -1] = labels[0, 0, -7, 12345] = True
            pixels = torch.tensor([[46399, 46399], [12345, 46393], [12345, 46392], [0, 0]])
            coords = ts.coord.normalize(pixels.double(), (46400, 46400))[None]
            assert ts.sample(coords, labels, "nearest").flatten().tolist() == [True, True, False, False]
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=300)

    def test_large_batches(self):
        n = 65_537
        featmap, coords = torch.randn(n, 1, 2, 2), ts.coord.rand(n, 1)
        values = ts.sample(coords, featmap)
        last = slice(n - 3, n)
        assert_close(values[last], ts.sample(coords[last], featmap[last]))
        assert ts.splat(coords, values, (2, 2)).shape == featmap.shape

    def test_far_outside_is_no_overflow(self):
        """Positions beyond what an int64 holds."""
        coords = torch.tensor([[[1e30, -1e30], [1e37, 0.0]]])
        for mode, padding_mode in itertools.product(MODES, PADDINGS):
            values = ts.sample(coords, torch.ones(1, 1, 5, 4), mode, padding_mode)
            assert_close(values, torch.full_like(values, 0.0 if padding_mode == "zeros" else 1.0))


def test_deterministic_algorithms_are_honoured():
    coords, featmap = ts.coord.rand(2, 50).requires_grad_(), torch.randn(2, 3, 6, 5, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        for mode in MODES:
            first, second = (torch.autograd.grad(ts.sample(coords, featmap, mode).sum(), (coords, featmap)) for _ in range(2))
            assert all(torch.equal(left, right) for left, right in zip(first, second, strict=True))
            assert torch.equal(*(ts.splat(coords, coords.sin(), (5, 6), mode) for _ in range(2)))
    finally:
        torch.use_deterministic_algorithms(False)


def test_channels_last_is_not_copied():
    """Sampling a few points of a large map allocates far less than the map, in every layout."""
    for layout in (torch.contiguous_format, torch.channels_last):
        featmap = torch.zeros(1, 64, 256, 256).to(memory_format=layout)
        coords = ts.coord.rand(1, 10)
        with torch.profiler.profile(profile_memory=True) as profile:
            ts.sample(coords, featmap, "bicubic")
        allocated = sum(event.self_cpu_memory_usage for event in profile.events() if event.self_cpu_memory_usage > 0)
        assert allocated < featmap.nbytes / 20


def test_broadcast_map_gets_one_gradient():
    """One map for a thousand grids: the backward never holds a thousand gradients."""
    featmap = torch.zeros(1, 8, 128, 128, requires_grad=True)
    coords = ts.coord.rand(1000, 4)
    values = ts.sample(coords, featmap)
    with torch.profiler.profile(profile_memory=True) as profile:
        values.sum().backward()
    allocated = sum(event.self_cpu_memory_usage for event in profile.events() if event.self_cpu_memory_usage > 0)
    assert allocated < 20 * featmap.nbytes
