"""What every maker of coordinates promises, and what each promises beyond that."""

import math

import pytest
import torch
from scipy.stats import chisquare, kstest
from torch.testing import assert_close

import torchsample as ts

SIZE = (6, 4, 3)


class GeneratorContract:
    """Shapes, dtypes, ranges and the meaning of ``batch=0``; inherited by the test of each generator."""

    def make(self, batch, rank, **options):
        """Coordinates of ``batch`` maps of size ``SIZE[:rank]``."""
        raise NotImplementedError

    def points(self, rank):
        """Shape of the points of one map."""
        return (5,)

    @pytest.mark.parametrize("rank", [1, 2, 3])
    @pytest.mark.parametrize("batch", [1, 4])
    def test_shape(self, batch, rank):
        assert self.make(batch, rank).shape == (batch, *self.points(rank), rank)

    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_batch_zero_has_no_batch_dimension(self, rank):
        assert self.make(0, rank).shape == (*self.points(rank), rank)

    def test_inside_and_contiguous(self):
        coords = self.make(3, 2)
        assert ts.coord.inside(coords).all()
        assert coords.is_contiguous()
        assert not coords.requires_grad

    def test_default_dtype(self):
        assert self.make(2, 2).dtype == torch.float32

    def test_repeats_with_its_generator(self):
        first, second, other = (self.make(2, 2, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_negative_batch(self):
        with pytest.raises(ValueError, match=r"`batch` must be an int of at least 0, got -1"):
            self.make(-1, 2)


class LikeContract(GeneratorContract):
    """The same for functions that take a map."""

    @pytest.mark.parametrize(
        ("map_dtype", "dtype"),
        [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.uint8, torch.float32), (torch.float64, torch.float64)],
    )
    def test_dtype_follows_the_map(self, map_dtype, dtype):
        assert self.make(2, 2, dtype=map_dtype).dtype == dtype

    def test_empty_batch(self):
        function, arguments = self.call(torch.zeros(0, 3, 4, 6))
        assert function(*arguments).shape == (0, *self.points(2), 2)

    # A map has no negative batch.
    test_negative_batch = None

    def make(self, batch, rank, dtype=torch.float32, **options):
        tensor = torch.zeros(*([batch] if batch else []), 2, *SIZE[:rank][::-1], dtype=dtype)
        function, arguments = self.call(tensor)
        return (function if batch else function.nobatch)(*arguments, **options)

    def test_needs_a_map(self):
        function, arguments = self.call(torch.zeros(3, 4))
        with pytest.raises(ValueError, match=r"`tensor` must be a map \(b, c, \*spatial\)"):
            function(*arguments)


class DtypeContract:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_dtype(self, dtype):
        assert self.make(2, 2, dtype=dtype).dtype == dtype

    def test_integer_dtype(self):
        with pytest.raises(TypeError, match="`dtype` must be a floating-point"):
            self.make(2, 2, dtype=torch.int64)


class TestRand(DtypeContract, GeneratorContract):
    def make(self, batch, rank, **options):
        return ts.coord.rand(batch, 5, rank, **options)

    def test_is_uniform(self):
        coords = ts.coord.rand(2, 5000, 2, dtype=torch.float64)
        for axis in range(2):
            assert kstest(coords[..., axis].flatten().numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3

    def test_generator_brings_its_device(self):
        with pytest.raises(ValueError, match="`generator` must be on the device meta"):
            ts.coord.rand(1, 2, device="meta", generator=torch.Generator())


class TestRandLike(LikeContract):
    def call(self, tensor):
        return ts.coord.rand_like, (5, tensor)


class PixelContract:
    """For those that draw pixel centres: distinct, on the grid, equally likely, and not more than there are."""

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("replace", [False, True])
    def test_are_pixel_centres(self, replace, align_corners):
        coords = self.make(3, 3, align_corners=align_corners, replace=replace)
        position = ts.coord.unnormalize(coords, SIZE, align_corners)
        assert_close(position, position.round(), rtol=0, atol=1e-5)
        assert ((position.round() >= 0) & (position.round() < torch.tensor(SIZE))).all()


class TestRandint(PixelContract, DtypeContract, GeneratorContract):
    def make(self, batch, rank, **options):
        return ts.coord.randint(batch, 5, SIZE[:rank], **options)

    @staticmethod
    def flat(coords, size):
        position = ts.coord.unnormalize(coords.double(), size).round().long()
        strides = torch.tensor([math.prod(size[:axis]) for axis in range(len(size))])
        return (position * strides).sum(-1)

    @pytest.mark.parametrize(("n", "size"), [(24, (6, 4)), (6, (6, 4)), (7, (6, 4)), (3, (6, 4)), (1, (1, 1)), (500, (50, 60))])
    def test_distinct(self, n, size):
        for draw in self.flat(ts.coord.randint(20, n, size), size):
            assert len(draw.unique()) == n

    @pytest.mark.parametrize("replace", [False, True])
    @pytest.mark.parametrize("n", [1, 3, 6, 20])
    def test_every_pixel_is_equally_likely(self, n, replace):
        """Chi-square over both ways to draw without replacement, and with."""
        size = (6, 5)
        counts = self.flat(ts.coord.randint(6000, n, size, replace=replace), size).flatten().bincount(minlength=30).double()
        # Without replacement counts vary less by (N - n) / (N - 1) than chi-square thinks.
        spread = 1.0 if replace else (30 - n) / 29
        statistic = chisquare(counts.numpy()).statistic / spread
        assert 8 < statistic < 65, statistic

    def test_every_order_is_equally_likely(self):
        """Pairs of draws, in order: n = 2 of 9, through the rejection of repeats."""
        size = (3, 3)
        first, second = self.flat(ts.coord.randint(20000, 2, size), size).unbind(-1)
        counts = (first * 9 + second).bincount(minlength=81).reshape(9, 9)
        assert (counts.diagonal() == 0).all()
        assert chisquare(counts[~torch.eye(9, dtype=torch.bool)].double().numpy()).pvalue > 1e-3

    def test_cost_does_not_grow_with_the_map(self):
        """Ten billion pixels: an array of their indices would take 80 GB."""
        coords = ts.coord.randint(2, 4096, (100_000, 100_000), dtype=torch.float64)
        flat = self.flat(coords, (100_000, 100_000))
        assert all(len(draw.unique()) == 4096 for draw in flat)
        counts = flat.flatten().div(1e9, rounding_mode="floor").long().bincount(minlength=10)
        assert chisquare(counts.numpy()).pvalue > 1e-3

    def test_memory_does_not_grow_with_the_map(self):
        def peak(size):
            with torch.profiler.profile(profile_memory=True) as profile:
                ts.coord.randint(1, 1000, size)
            return sum(event.self_cpu_memory_usage for event in profile.events() if event.self_cpu_memory_usage > 0)

        assert peak((50_000, 50_000)) <= 1.2 * peak((640, 480))

    @pytest.mark.parametrize("n", [3, 4000])
    def test_distinct_of_as_many_pixels_as_an_index_can_name(self, n):
        """Too many for a draw and its place to fit into one number."""
        generator = torch.Generator().manual_seed(3)
        coords = ts.coord.randint(2, n, (2**31, 2**31), dtype=torch.float64, generator=generator)
        assert ts.coord.inside(coords).all()
        draws = torch.Generator().manual_seed(3)
        first = [torch.randint(2**62, (2, n + n // 4 + 8), generator=draws)[:, :n] % 2**31 for _ in range(2)]
        assert torch.equal(ts.coord.unnormalize(coords, (2**31, 2**31)).round().long(), torch.stack(first, -1))

    def test_uniform_to_more_than_32_bits(self):
        """The remainder of 32 random bits favors the first rows of a map of 16,000 x 16,000 pixels: 78.77 % in the place of 77.73 %."""
        for replace in (True, False):
            coords = ts.coord.randint(1, 1_000_000, (16_000, 16_000), replace=replace, dtype=torch.float64)
            row = ts.coord.unnormalize(coords, (16_000, 16_000))[..., 1].round()
            share = (row < 12_436).double().mean().item()
            # Six standard deviations.
            assert abs(share - 12_436 / 16_000) < 6 * (0.7773 * 0.2227 / 1e6) ** 0.5

    @pytest.mark.parametrize("side", [2**63 - 1, 3 * 2**60, 2**62 + 1])
    def test_uniform_along_axes_of_any_length(self, side):
        """The remainder of as many bits as the bound has is not uniform: thirds, six standard deviations."""
        coords = ts.coord.randint(1, 100_000, (side,), dtype=torch.float64)[0, :, 0]
        for low, high in ((-1, -1 / 3), (-1 / 3, 1 / 3), (1 / 3, 1)):
            share = ((coords >= low) & (coords <= high)).double().mean().item()
            assert abs(share - 1 / 3) < 6 * (2 / 9 / 1e5) ** 0.5

    def test_without_a_batch(self):
        generator = torch.Generator()
        single = ts.coord.randint.nobatch(5, (6, 4), generator=generator.manual_seed(1))
        assert torch.equal(single, ts.coord.randint(0, 5, (6, 4), generator=generator.manual_seed(1)))
        single = ts.coord.rand.nobatch(5, 3, generator=generator.manual_seed(1))
        assert torch.equal(single, ts.coord.rand(0, 5, 3, generator=generator.manual_seed(1)))

    def test_the_first_distinct_of_many_draws(self):
        """What is kept, by Python's own dict, row by row."""
        draws = torch.randint(2**62, (3, 75 + 75 // 4 + 8), generator=torch.Generator().manual_seed(3)) % 300
        coords = ts.coord.randint(3, 75, (20, 15), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        for drawn, kept in zip(draws.tolist(), self.flat(coords, (20, 15)).tolist(), strict=True):
            assert list(dict.fromkeys(drawn))[:75] == kept

    def test_more_than_there_are(self):
        with pytest.raises(IndexError, match=r"ts\.coord\.randint: `n_samples` must be at most the 24 pixels.*replace=True"):
            ts.coord.randint(1, 25, (6, 4))
        assert ts.coord.randint(1, 25, (6, 4), replace=True).shape == (1, 25, 2)

    def test_more_pixels_than_an_index_can_name(self):
        with pytest.raises(ValueError, match=r"`size` must be of at most 2\*\*63 - 1 pixels"):
            ts.coord.randint(1, 5, (2**32, 2**32))


class TestRandintLike(PixelContract, LikeContract):
    def call(self, tensor):
        return ts.coord.randint_like, (5, tensor)


class FullContract:
    # Nothing random here.
    test_repeats_with_its_generator = None

    def points(self, rank):
        return SIZE[:rank][::-1]

    def test_inside_and_contiguous(self):
        assert ts.coord.inside(self.make(3, 2)).all()
        assert self.make(3, 2).is_contiguous()

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_every_pixel_in_its_place(self, rank, align_corners):
        coords = self.make(2, rank, align_corners=align_corners)
        for place in torch.cartesian_prod(*map(torch.arange, SIZE[:rank][::-1])).reshape(-1, rank).tolist():
            for axis, (index, side) in enumerate(zip(reversed(place), SIZE, strict=False)):
                expected = 2 * index / (side - 1) - 1 if align_corners else (2 * index + 1) / side - 1
                assert coords[(1, *place, axis)].item() == pytest.approx(expected, abs=1e-7)


class TestFull(FullContract, DtypeContract, GeneratorContract):
    def make(self, batch, rank, **options):
        return ts.coord.full(batch, SIZE[:rank], **options)

    def test_nobatch(self):
        assert torch.equal(ts.coord.full.nobatch((6, 4), align_corners=True), ts.coord.full(0, (6, 4), align_corners=True))

    def test_axes_do_not_share_memory(self):
        coords = ts.coord.full(2, (6, 4))
        coords[0].zero_()
        assert torch.equal(coords[1], ts.coord.full.nobatch((6, 4)))

    def test_is_affine_grid_of_the_identity(self):
        for align_corners in (False, True):
            theta = torch.eye(3, 4, dtype=torch.float64)[None]
            grid = torch.nn.functional.affine_grid(theta, [1, 1, 3, 4, 6], align_corners)
            assert_close(ts.coord.full(1, (6, 4, 3), align_corners=align_corners, dtype=torch.float64), grid)


class TestFullLike(FullContract, LikeContract):
    def call(self, tensor):
        return ts.coord.full_like, (tensor,)

    def points(self, rank):
        return SIZE[:rank][::-1]


@pytest.mark.parametrize("align_corners", [False, True])
def test_nearest_returns_the_very_pixel_for_every_side(align_corners):
    """Every side up to a thousand, then some of every size up to 16384, from float32 coordinates."""
    sides = [*range(1, 1000), *range(1000, 16385, 211), 16383, 16384]
    for side in sides:
        ramp = torch.arange(side).reshape(1, 1, side)
        values = ts.sample(ts.coord.full_like(ramp, align_corners), ramp, "nearest", align_corners=align_corners)
        assert torch.equal(values.flatten(), ramp.flatten()), side
