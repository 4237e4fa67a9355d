"""What a review could break without a test that failed: coordinates, their draws, and what counts as uncertain.

Draws are compared with what they are drawn from, never with a stream of random numbers. A statistical bound is met by a right
implementation but for once in ten million seeds (`RARE`), and the seeds are fixed.
"""

import collections
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2, kstwobign
from torch.testing import assert_close

import torchsample as ts
from torchsample.coordinates import distinct

F32, F64 = torch.float32, torch.float64
RARE = 1e-7


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def center(index, side, align_corners):
    if align_corners:
        return 2 * index / (side - 1) - 1 if side > 1 else 0.0
    return (2 * index + 1) / side - 1


def pixels(coords, size, align_corners=False):
    """Numbers of pixels ``(..., n)``, x fastest; a coordinate that is the center of no pixel of the map is an error."""
    number, stride = torch.zeros(coords.shape[:-1], dtype=torch.int64), 1
    for x, side in zip(coords.unbind(-1), size, strict=True):
        table = torch.tensor([center(i, side, align_corners) for i in range(side)], dtype=F64)
        far, nearest = (x.double().unsqueeze(-1) - table).abs().min(-1)
        assert far.max() <= 2e-7, "not the center of a pixel"
        number, stride = number + stride * nearest, stride * side
    return number


def check_uniform(counts, spread=1.0):
    """Pearson's statistic, which draws without replacement make smaller by ``spread``; neither too large nor too small."""
    expected = counts.sum() / counts.numel()
    statistic = ((counts - expected) ** 2 / expected).sum().item() / spread
    low, high = chi2.isf([1 - RARE / 2, RARE / 2], counts.numel() - 1)
    assert low < statistic < high, (statistic, low, high)


def check_binomial(count, n, probability):
    assert min(binom.cdf(count, n, probability), binom.sf(count - 1, n, probability)) > RARE / 2, (count, n * probability)


class TestRandint:
    """Every pixel of the map can be drawn, no other can, and all are equally likely, whichever way they are drawn."""

    WAYS = (("replace", 3), ("shuffle", 5), ("drop repeats", 2))

    @pytest.mark.parametrize("like", [False, True])
    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("size", [(9,), (11,), (4, 3), (3, 2, 2)])
    @pytest.mark.parametrize(("way", "n"), WAYS)
    def test_range_and_distribution(self, way, n, size, align_corners, like):
        batch, options = 8000, {"align_corners": align_corners, "replace": way == "replace", "generator": generator(1)}
        if like:
            coords = ts.coord.randint_like(n, torch.zeros(batch, 1, *size[::-1]), **options)
        else:
            coords = ts.coord.randint(batch, n, size, **options)
        found, population = pixels(coords, size, align_corners), math.prod(size)
        spread = 1.0 if way == "replace" else (population - n) / (population - 1)
        check_uniform(found.flatten().bincount(minlength=population).double(), spread)
        for place in found.unbind(-1):  # the first draw of a row is like any other, and so is the last one
            check_uniform(place.bincount(minlength=population).double())
        if way != "replace":
            assert (found.sort(-1).values.diff(dim=-1) > 0).all()

    @pytest.mark.parametrize("size", [(1,), (7,), (5, 3), (2, 1, 3)])
    def test_all_pixels_are_a_permutation(self, size):
        n = math.prod(size)
        found = pixels(ts.coord.randint(50, n, size, generator=generator(2)), size)
        assert torch.equal(found.sort(-1).values, torch.arange(n).expand(50, n))
        if n > 5:
            assert len(found.unique(dim=0)) > 40

    @pytest.mark.parametrize("replace", [True, False])
    @pytest.mark.parametrize("size", [(2**20,), (7, 1000, 1000), (3, 2**15, 2**15), (2**31, 5), (2**31, 2**31), (3, 2**30, 2**31)])
    def test_both_ends_of_large_maps(self, size, replace):
        """Along each axis, as many draws in the first and the last 1/1000 as there should be, in each tenth, and of each remainder."""
        n = 60_000
        coords = ts.coord.randint(0, n, size, replace=replace, dtype=F64, generator=generator(3))
        assert ts.coord.inside(coords).all()
        for x, side in zip(coords.unbind(-1), size, strict=True):
            number = ((x + 1) / 2 * side - 0.5).round().long()
            assert number.min() >= 0
            assert number.max() < side
            if side < 1000:
                check_uniform(number.bincount(minlength=side).double())
                continue
            edge = side // 1000
            check_binomial(int((number < edge).sum()), n, edge / side)
            check_binomial(int((number >= side - edge).sum()), n, edge / side)
            check_uniform((number * 10 // side).bincount(minlength=10).double())
            check_uniform((number % 8).bincount(minlength=8).double())
        if not replace:
            assert len(coords.unique(dim=0)) == n

    @pytest.mark.parametrize("replace", [True, False])
    def test_no_remainder_is_preferred(self, replace):
        """The remainder of 32 random bits by this number is in its first half by 1.5 % more often than not."""
        size, n = (int(2**32 / 16.5),), 100_000
        coords = ts.coord.randint(0, n, size, replace=replace, dtype=F64, generator=generator(5))
        check_binomial(int((coords < 0).sum()), n, 0.5)

    def test_rows_are_independent(self):
        """Two maps of a batch: all pairs of first draws are equally likely."""
        found = pixels(ts.coord.randint(20_000, 1, (5,), generator=generator(4)), (5,)).reshape(-1, 2)
        check_uniform((found[:, 0] * 5 + found[:, 1]).bincount(minlength=25).double())


class TestManyNumbersInOne:
    """Repeats are found by sorting numbers that hold a row, a draw and its place, as long as those fit in 63 bits; and beyond that."""

    @staticmethod
    def naive(draws):
        return [[draw not in row[:place] for place, draw in enumerate(row)] for row in draws.tolist()]

    @pytest.mark.parametrize("offset", [-2, -1, 0, 1])
    @pytest.mark.parametrize("doublings", [-1, 0, 1])
    @pytest.mark.parametrize(("rows", "n"), [(1, 3), (2, 3), (3, 12), (5, 7), (64, 4), (100, 15)])
    def test_first_occurrences_on_either_side_of_the_limit(self, rows, n, doublings, offset):
        """Populations at which rows, draws and places together just fit, or just do not, by a few and by a factor of two."""
        limit = 2 ** (63 + doublings) // (rows << n.bit_length())
        population = min(limit + offset, 2**63 - 1)
        # Small numbers, those in the middle, and the last ones, each of them several times.
        near = torch.tensor([0, 1, population // 2, population // 2 + 1, population - 2, population - 1])
        draws = near[torch.randint(len(near), (rows, n), generator=generator(rows + n))]
        draws[-1, :2] = population - 1
        assert distinct._first_occurrences(draws, population).tolist() == self.naive(draws)

    @pytest.mark.parametrize("size", [(2**31, 2**31), (2**21, 2**21, 2**21 - 1), (3, 2**30, 2**30), (2**20, 2**20, 2**12)])
    def test_distinct_in_many_rows(self, size):
        """As many rows as take the sum of all bits beyond 63, where neither rows nor places alone do."""
        for rows, n in ((1, 5), (3, 5), (40, 100), (700, 9)):
            coords = ts.coord.randint(rows, n, size, dtype=F64, generator=generator(rows))
            assert coords.shape == (rows, n, len(size))
            assert ts.coord.inside(coords).all()
            assert all(len(set(map(tuple, row))) == n for row in coords.tolist())
            # Rows are draws of their own: none is another one's.
            assert len({tuple(map(tuple, row)) for row in coords.tolist()}) == rows


class TestRand:
    """All of the map, and its edges as often as its middle."""

    N = 500_000

    @pytest.mark.parametrize("dtype", [F32, F64])
    @pytest.mark.parametrize("like", [False, True])
    def test_reaches_both_edges(self, like, dtype):
        if like:
            coords = ts.coord.rand_like(self.N, torch.zeros(1, 1, 1, 1, dtype=dtype), generator=generator(1))
        else:
            coords = ts.coord.rand(1, self.N, 2, dtype, generator=generator(1))
        assert coords.dtype == dtype
        assert coords.min() >= -1
        assert coords.max() < 1
        for x in coords[0].unbind(-1):
            for edge in (0.9, 0.99, 0.999, 0.9999):
                check_binomial(int((x > edge).sum()), self.N, (1 - edge) / 2)
                check_binomial(int((x < -edge).sum()), self.N, (1 - edge) / 2)
                check_binomial(int((x.abs() < 1 - edge).sum()), self.N, 1 - edge)
            ordered = np.sort(x.double().numpy())
            distance = np.abs((ordered + 1) / 2 - (np.arange(self.N) + 0.5) / self.N).max() + 0.5 / self.N
            assert kstwobign.sf(distance * math.sqrt(self.N)) > RARE
        quadrant = (coords[0] > 0).long()
        check_uniform((quadrant[:, 0] * 2 + quadrant[:, 1]).bincount(minlength=4).double())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_open(self, dtype):
        """In half precision -1 itself comes about once in 2048 or 256 draws; 1 never does."""
        coords = ts.coord.rand(0, self.N, 1, dtype, generator=generator(2))
        assert coords.min() == -1
        assert coords.max() < 1
        assert coords.max() > 0.99

    def test_reaches_both_edges_beside_the_uncertain(self):
        """What `rand_biased` draws without regard to the prediction, and its candidates where all are equally uncertain."""
        for beta in (0.0, 0.5):
            coords = ts.coord.rand_biased(1, 50_000, torch.zeros(1, 1, 4, 4), 2.0, beta, "binary_logits", generator=generator(3))
            free = coords[0, int(beta * 50_000) :]
            for x in free.unbind(-1):
                check_binomial(int((x > 0.999).sum()), len(free), 0.0005)
                check_binomial(int((x < -0.999).sum()), len(free), 0.0005)


class TestAffine:
    """Also of one pixel along an axis, which has no extent where corners are aligned."""

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("size", [(1,), (2,), (1, 1), (1, 4), (3, 1), (1, 1, 1), (1, 3, 1), (2, 1, 3), (2, 3, 4)])
    def test_by_loops(self, size, align_corners):
        rank = len(size)
        theta = torch.randn(2, rank, rank + 1, dtype=F64, generator=generator(5))
        got = ts.coord.affine(theta, size, align_corners)
        assert got.shape == (2, *size[::-1], rank)
        for place in itertools.product(*map(range, size[::-1])):
            pixel = [center(i, side, align_corners) for i, side in zip(reversed(place), size, strict=True)]
            for matrix, coords in zip(theta.tolist(), got, strict=True):
                expected = [sum(a * x for a, x in zip(row, [*pixel, 1.0], strict=True)) for row in matrix]
                assert coords[place].tolist() == pytest.approx(expected, abs=1e-12)
        if rank > 1 and not (align_corners and 1 in size):  # it warns of that
            assert_close(got, torch.nn.functional.affine_grid(theta, [2, 1, *size[::-1]], align_corners))

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_one_pixel_is_the_translation(self, align_corners):
        """Exactly, and with a derivative that is nothing but the translation's."""
        theta = torch.randn(3, 2, 3, generator=generator(6)).requires_grad_()
        got = ts.coord.affine(theta, (1, 1), align_corners)
        assert torch.equal(got.reshape(3, 2), theta[..., 2])
        (slope,) = torch.autograd.grad(got.sum(), theta)
        assert torch.equal(slope, torch.tensor([0.0, 0.0, 1.0]).expand(3, 2, 3))


class TestUncertain:
    """Which pixels, in which order, and where their centers are: by loops over images and pixels."""

    SIZES = ((7,), (1,), (5, 3), (1, 6), (3, 1, 2), (6, 5, 7))

    @staticmethod
    def naive(certainty, threshold, n):
        """Per image, the pixels ``(..., y, x)``: in their order, or the most uncertain first."""
        for image in certainty:
            places = [place for place in itertools.product(*map(range, image.shape)) if n is not None or image[place] < threshold]
            yield places if n is None else sorted(places, key=lambda place: image[place])[:n]

    @staticmethod
    def certainty(pred, uncertainty):
        scores = np.moveaxis(pred.double().numpy(), 1, -1)
        if uncertainty == "margin":
            ordered = np.sort(scores, axis=-1)
            return ordered[..., -1] - ordered[..., -2]
        return np.abs(scores[..., 0]) if uncertainty == "binary_logits" else scores.max(-1)

    @pytest.mark.parametrize("dtype", [F32, F64, torch.float16])
    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize(("uncertainty", "classes"), [("max_probability", 3), ("margin", 3), ("binary_logits", 1)])
    def test_by_loops(self, uncertainty, classes, size, align_corners, dtype):
        count = math.prod(size)
        # All certainties of an image differ, and are exact in every dtype: multiples of 1/1024.
        order = torch.stack([torch.randperm(count, generator=generator(seed)) for seed in range(2)]).reshape(2, 1, *size[::-1])
        pred = order.to(dtype) / 1024 + 0.125
        if uncertainty == "binary_logits":
            pred = pred * torch.where(order % 2 == 0, 1, -1)
        if classes > 1:
            # The gap to the second best is that number again, wherever the second best is; and the largest score is not the gap.
            second = (order % 3).to(dtype) / 4 if uncertainty == "margin" else torch.zeros_like(pred)
            pred = torch.cat([second, second + pred, torch.full_like(pred, -1.0)], dim=1)
        assert pred.dtype == dtype
        certainty = self.certainty(pred, uncertainty)
        wide, close = (F64, 1e-15) if dtype == F64 else (F32, 1.2e-7)
        for n in sorted({1, 2, count - 1, count} - {0} - set(range(count + 1, 3))):
            expected = list(self.naive(certainty, None, n))
            options = {"n": n, "uncertainty": uncertainty, "align_corners": align_corners}
            index, coords, owner = ts.coord.uncertain(pred, return_batch_index=True, **options)
            self.compare(index, coords, owner, expected, size, align_corners, wide, close)
            again, batched = ts.coord.uncertain(pred, **options)
            assert torch.equal(batched.flatten(0, 1), coords)
            assert batched.shape == (2, n, len(size))
            wanted = itertools.chain(*(pred[(image, slice(None), *place)] for image in range(2) for place in expected[image]))
            assert torch.equal(pred[again].reshape(2, classes, n).transpose(1, 2).flatten(), torch.stack(list(wanted)))
        # The threshold is between two certainties, or equal to one, which is then certain enough.
        for threshold in (0.125, 0.125 + 0.5 / 1024, 0.125 + (count // 2) / 1024, 0.125 + (count - 0.5) / 1024):
            expected = list(self.naive(certainty, threshold, None))
            index, coords, owner = ts.coord.uncertain(pred, threshold, None, True, uncertainty, align_corners)
            self.compare(index, coords, owner, expected, size, align_corners, wide, close)

    @staticmethod
    def compare(index, coords, owner, expected, size, align_corners, dtype, close):
        image, channels, *spatial = index
        assert channels == slice(None)
        found = list(zip(image.tolist(), *(axis.tolist() for axis in spatial), strict=True))
        assert found == [(number, *place) for number, places in enumerate(expected) for place in places]
        assert torch.equal(owner, image)
        assert coords.dtype == dtype
        assert coords.shape == (len(found), len(size))
        for point, (_, *place) in zip(coords.tolist(), found, strict=True):
            wanted = [center(i, side, align_corners) for i, side in zip(reversed(place), size, strict=True)]
            assert point == pytest.approx(wanted, rel=0, abs=close)

    @pytest.mark.parametrize("uncertainty", ["max_probability", "margin", "binary_logits"])
    def test_a_threshold_between_neighboring_numbers(self, uncertainty):
        """In double precision, also of thresholds that float32 rounds."""
        for threshold in (0.5, 0.3, 1 / 3, 0.1 + 0.2, 1e-12):
            below, above = np.nextafter(threshold, 0), np.nextafter(threshold, 2)
            pred = torch.tensor([above, below, threshold, above, below], dtype=F64).reshape(1, 1, 5)
            if uncertainty != "binary_logits":  # of two classes: the same number twice, or the gap between it and zero
                pred = torch.cat([pred if uncertainty == "max_probability" else torch.zeros_like(pred), pred], dim=1)
            (_, _, x), coords = ts.coord.uncertain(pred, threshold, uncertainty=uncertainty)
            assert x.tolist() == [1, 4] * pred.shape[1]
            assert_close(coords, torch.tensor([[[-0.4], [0.8]]], dtype=F64), rtol=0, atol=1e-15)

    def test_neighboring_certainties_keep_their_order(self):
        """The n most uncertain of numbers that differ in their last bit, alone and far from zero."""
        for start in (0.5, 1000.0):
            numbers = [start]
            for _ in range(9):
                numbers.append(np.nextafter(numbers[-1], np.inf))
            order = torch.randperm(10, generator=generator(5))
            pred = torch.tensor(numbers, dtype=F64)[order].reshape(1, 1, 10)
            for n in range(1, 11):
                (_, _, x), _ = ts.coord.uncertain(pred, n=n, uncertainty="binary_logits")
                assert order[x].tolist() == list(range(n))

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_sampling_at_the_centers_gives_the_very_pixel(self, align_corners):
        """Centers of every pixel of sides that are no power of two, also at half precision."""
        for side, dtype in itertools.product((3, 100, 641, 1920), (F32, F64, torch.float16, torch.bfloat16)):
            pred = torch.arange(side).reshape(1, 1, side)
            _, coords = ts.coord.uncertain(pred.flip(-1).to(dtype), n=side, uncertainty="binary_logits", align_corners=align_corners)
            found = ts.sample(coords, pred, "nearest", align_corners=align_corners).flatten()
            assert collections.Counter(found.tolist()) == collections.Counter(range(side))
