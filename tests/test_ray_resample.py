"""Resampling: against multinerf's definitions in NumPy, the true distribution, and the faults of the classic `sample_pdf`."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.autograd import gradcheck
from torch.testing import assert_close

from torchsample import ray

N_BINS, N_SAMPLES = 64, 128
EDGES = torch.linspace(2.0, 6.0, N_BINS + 1)
PEAK = torch.exp(-(((torch.arange(N_BINS) - 40.3) / 2) ** 2))
RAYS = {
    "uniform": torch.full((N_BINS,), 1 / N_BINS),
    "peaked": PEAK / PEAK.sum(),
    "peaked, sum 1e-3": PEAK / PEAK.sum() * 1e-3,
    "peaked, sum 1e-12": PEAK / PEAK.sum() * 1e-12,
    "peaked, sum 1e-37": PEAK / PEAK.sum() * 1e-37,
    "peaked, sum beyond float32": PEAK * 3e38,
    "nearly empty": torch.full((N_BINS,), 1e-12),
    "two walls": torch.nn.functional.one_hot(torch.tensor(5), N_BINS) * 0.3 + torch.nn.functional.one_hot(torch.tensor(63), N_BINS) * 0.1,
    "noise": torch.rand(N_BINS, generator=torch.Generator().manual_seed(0)) ** 8,
}


def classic_sample_pdf(bins, weights, n_samples):
    """`sample_pdf(..., det=True)` of nerf-pytorch, which EG3D and pytorch3d have too."""
    weights = weights + 1e-5
    pdf = weights / torch.sum(weights, -1, keepdim=True)
    cdf = torch.cumsum(pdf, -1)
    cdf = torch.cat([torch.zeros_like(cdf[..., :1]), cdf], -1)
    u = torch.linspace(0.0, 1.0, steps=n_samples).expand([*cdf.shape[:-1], n_samples]).contiguous()
    inds = torch.searchsorted(cdf, u, right=True)
    below = torch.max(torch.zeros_like(inds - 1), inds - 1)
    above = torch.min((cdf.shape[-1] - 1) * torch.ones_like(inds), inds)
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    bins_below, bins_above = bins.expand(cdf.shape).gather(-1, below), bins.expand(cdf.shape).gather(-1, above)
    denom = cdf_above - cdf_below
    denom = torch.where(denom < 1e-5, torch.ones_like(denom), denom)
    return bins_below + (u - cdf_below) / denom * (bins_above - bins_below)


def kolmogorov_smirnov(samples, edges, weights):
    """The largest gap between the distribution of samples and that of the histogram, which is linear in each bin."""
    weights, edges = weights.double().numpy(), edges.double().numpy()
    cdf = np.concatenate([[0], np.cumsum(weights / weights.sum())])
    return stats.kstest(samples.double().numpy(), lambda x: np.interp(x, edges, cdf)).statistic


def check_distribution(name="peaked, sum 1e-3", jitter=None):
    weights = RAYS[name]
    samples = ray.resample(EDGES, weights.expand(8, -1), N_SAMPLES, jitter)
    assert samples.shape == (8, N_SAMPLES)
    assert (samples.diff() >= 0).all()
    for row in samples:
        assert kolmogorov_smirnov(row, EDGES, weights) < 0.01


def linear_interpolation(x, xp, fp):
    """Where a value belongs, one by one: the first interval whose upper end is above it, in float64."""
    for k in range(len(xp) - 1):
        if xp[k] <= x < xp[k + 1]:
            return fp[k] + (x - xp[k]) / (xp[k + 1] - xp[k]) * (fp[k + 1] - fp[k])
    return fp[-1]


def multinerf_sample(t, weights, n):
    """`stepfun.sample(None, ..., deterministic_center=True)`: integrate_weights, then invert_cdf."""
    cw = np.minimum(1, np.cumsum(weights[:-1] / weights.sum()))
    cw0 = np.concatenate([[0.0], cw, [1.0]])
    pad = 1 / (2 * n)
    return np.array([linear_interpolation(u, cw0, t) for u in np.linspace(pad, 1 - pad, n)])


def multinerf_sample_intervals(t, weights, n, domain):
    """`stepfun.sample_intervals`: halfway between centres; the ends as far beyond, clamped to the domain."""
    centers = multinerf_sample(t, weights, n)
    mid = (centers[1:] + centers[:-1]) / 2
    first, last = max(domain[0], 2 * centers[0] - mid[0]), min(domain[1], 2 * centers[-1] - mid[-1])
    return np.concatenate([[first], mid, [last]])


def random_histograms(*rays, n=9):
    edges = torch.rand(*rays, n + 1, dtype=torch.float64).sort(-1).values * 5
    weights = torch.rand(*rays, n, dtype=torch.float64) * (torch.rand(*rays, n) < 0.7)
    weights[..., 4] += 0.01
    return edges, weights


def check_multinerf(intervals, n=17):
    edges, weights = random_histograms(2, 20)
    ours = ray.resample(edges, weights, n, intervals=intervals).flatten(0, 1)
    for row, t, w in zip(ours.numpy(), edges.flatten(0, 1).numpy(), weights.flatten(0, 1).numpy(), strict=True):
        wanted = multinerf_sample_intervals(t, w, n, (t[0], t[-1])) if intervals else multinerf_sample(t, w, n)
        np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-9)


class TestDistribution:
    @pytest.mark.parametrize("jitter", [None, "sample", "ray"])
    @pytest.mark.parametrize("name", RAYS)
    def test_kolmogorov_smirnov(self, name, jitter):
        check_distribution(name, jitter)

    def test_the_classic_fails_the_same_check(self):
        """An absolute 1e-5 per bin makes four tenths of a ray of 1e-3 uniform."""
        classic = classic_sample_pdf(EDGES, RAYS["peaked, sum 1e-3"], N_SAMPLES)
        assert 0.2 < kolmogorov_smirnov(classic, EDGES, RAYS["peaked, sum 1e-3"]) < 0.5
        assert kolmogorov_smirnov(classic_sample_pdf(EDGES, RAYS["peaked"], N_SAMPLES), EDGES, RAYS["peaked"]) < 0.01

    @pytest.mark.parametrize("intervals", [False, True])
    def test_is_multinerf(self, intervals):
        check_multinerf(intervals)

    def test_strata(self):
        """With equal weights, samples are their u: each within its own part of the ray, and anywhere in it."""
        edges = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)
        for jitter in ("sample", "ray"):
            samples = ray.resample(edges, torch.ones(4000, 4), 8, jitter)
            part = samples * 8 - torch.arange(8)
            assert part.min() >= -1e-12
            assert part.max() <= 1 + 1e-12
            assert_close(part.mean(0), torch.full((8,), 0.5, dtype=torch.float64), atol=0.03, rtol=0)
            assert_close(part.std(0), torch.full((8,), math.sqrt(1 / 12), dtype=torch.float64), atol=0.02, rtol=0)
            alike = (part - part[:, :1]).abs().max() < 1e-9
            assert alike if jitter == "ray" else not alike

    def test_generator(self):
        def draw(seed):
            return ray.resample(EDGES, RAYS["noise"], 9, "sample", generator=torch.Generator().manual_seed(seed))

        assert torch.equal(draw(1), draw(1))
        assert not torch.equal(draw(1), draw(2))


class TestFaultsOfOthers:
    """What goes wrong elsewhere, each by its name."""

    def check_no_absolute_epsilon(self):
        """(a) A ray is sampled alike whatever its opacity."""
        wanted = ray.resample(EDGES, RAYS["peaked"], N_SAMPLES)
        for scale in (1e-38, 1e-20, 1e-7, 1e-3, 1e3, 1e30):
            assert_close(ray.resample(EDGES, RAYS["peaked"] * scale, N_SAMPLES), wanted, rtol=0, atol=2e-4)

    def test_no_absolute_epsilon(self):
        self.check_no_absolute_epsilon()

    def test_nothing_snaps_to_the_left_edge(self):
        """(b) In a bin of little weight too, samples are spread over its whole width."""
        weights = torch.tensor([1.0, 1e-6, 1.0], dtype=torch.float64)
        samples = ray.resample(torch.tensor([0.0, 1.0, 2.0, 3.0]), weights, 4_000_001)
        inside = samples[(samples > 1) & (samples < 2)]
        assert len(inside) in (1, 2, 3)
        faint = ray.resample(torch.tensor([0.0, 1.0, 2.0, 3.0]), weights * torch.tensor([0.0, 1.0, 0.0]), 9)
        assert_close(faint.mean(), torch.tensor(1.5, dtype=torch.float64))

    def test_none_are_wasted_on_the_ends(self):
        """(c) Without jitter, samples are the centres of their strata."""
        assert_close(ray.resample(torch.tensor([0.0, 1.0]), torch.ones(1), 4), torch.tensor([0.125, 0.375, 0.625, 0.875]))

    def test_random_samples_are_stratified(self):
        """(d) Independent draws of 128 are off by 0.05 or more; strata are not."""
        samples = ray.resample(EDGES, RAYS["peaked"].expand(50, -1), N_SAMPLES, "sample")
        assert max(kolmogorov_smirnov(row, EDGES, RAYS["peaked"]) for row in samples) < 0.01

    def test_first_and_last_bins_are_sampled_whole(self):
        """(e) Edges and weights are those of the same intervals, up to the ends of the ray."""
        samples = ray.resample(torch.tensor([0.0, 1.0, 2.0]), torch.ones(2), 1000)
        assert samples.min() < 0.002
        assert samples.max() > 1.998
        with pytest.raises(ValueError, match="not their midpoints"):
            ray.resample(torch.tensor([0.5, 1.5]), torch.ones(2), 4)

    def check_detached(self):
        """(f) No gradient flows into weights, even those of empty rays; edges have theirs."""
        weights = torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
        edges = torch.rand(3, 6, dtype=torch.float64).cumsum(-1).requires_grad_()
        for intervals in (False, True):
            samples = ray.resample(edges, weights, 7, intervals=intervals)
            (grad,) = torch.autograd.grad(samples.sum(), weights, allow_unused=True)
            assert grad is None
            assert gradcheck(lambda e, i=intervals: ray.resample(e, weights.detach(), 7, intervals=i), (edges,))

    def test_weights_are_detached(self):
        self.check_detached()

    def check_zero_width(self):
        """(g) A bin without width is a place like any other, and none of nothing's."""
        edges = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0])
        assert_close(ray.resample(edges, torch.tensor([0.0, 0.0, 1.0, 0.0]), 5), torch.ones(5))
        samples = ray.resample(edges, torch.tensor([1.0, 0.0, 2.0, 1.0]), 8)
        assert_close(samples, torch.tensor([0.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.25, 1.75]))
        for weights in (torch.zeros(3), torch.ones(3), torch.tensor([0.0, 1.0, 0.0])):
            assert_close(ray.resample(torch.full((4,), 3.0), weights, 5), torch.full((5,), 3.0))

    def test_bins_without_width(self):
        self.check_zero_width()

    def check_empty_rays(self):
        """nerfacc puts all samples of an empty ray into its last bin; ours are uniform over its extent."""
        edges = torch.tensor([0.0, 1.0, 2.0, 8.0])
        weights = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        samples = ray.resample(edges, weights, 4)
        assert_close(samples, torch.tensor([[1.0, 3.0, 5.0, 7.0], [1.125, 1.375, 1.625, 1.875]]))
        assert_close(ray.resample(edges, torch.zeros(3), 4, intervals=True), torch.tensor([0.0, 2.0, 4.0, 6.0, 8.0]))
        assert_close(ray.percentile(edges, torch.zeros(3), 0.5), torch.tensor(4.0))

    def test_empty_rays_are_uniform(self):
        self.check_empty_rays()

    def check_empty_bins(self, device="cpu"):
        """Not one of a million samples is in a bin without weight, at the ends of the ray neither."""
        n = 97
        edges = torch.arange(n + 1.0, device=device)
        generator = torch.Generator().manual_seed(1)
        weights = (torch.rand(2000, n, generator=generator) * (torch.rand(2000, n, generator=generator) < 0.3)).to(device)
        weights[:, :3], weights[:, -3:], weights[:, 50] = 0, 0, 1e-3
        for jitter in (None, "sample"):
            samples = ray.resample(edges, weights, 499, jitter)
            # On an edge both of its bins have the sample.
            low, high = samples.floor().long(), samples.ceil().long() - 1
            ok = (weights.gather(-1, low.clamp_max(n - 1)) > 0) | (weights.gather(-1, high.clamp_min(0)) > 0)
            assert ok.all()
            assert (samples.diff() >= 0).all()

    def test_bins_without_weight_get_nothing(self):
        self.check_empty_bins()


def check_parallel_scan():
    """On a GPU a running sum may change, even fall, across bins of nothing; they still get no sample."""
    cumsum = torch.Tensor.cumsum

    def rounded(tensor, dim):
        total = cumsum(tensor, dim)
        return total * (1 + (torch.rand_like(total) - 0.5) * 4 * torch.finfo(total.dtype).eps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "cumsum", rounded)
        TestFaultsOfOthers().check_empty_bins()


def test_a_scan_in_parallel_may_round_as_it_likes():
    check_parallel_scan()


class TestIntervals:
    def test_cover_and_sort(self):
        edges, weights = random_histograms(500)
        for jitter in (None, "sample", "ray"):
            again = ray.resample(edges, weights, 16, jitter, intervals=True)
            assert again.shape == (500, 17)
            assert (again.diff() >= 0).all()
            assert (again[:, 0] >= edges[:, 0]).all()
            assert (again[:, -1] <= edges[:, -1]).all()

    def test_loop_of_proposals(self):
        """Edges go in, edges come out: twice, narrower each time."""
        edges = ray.intervals(torch.full((3,), 2.0), 6.0, 64)
        for _ in range(2):
            weights = torch.exp(-((ray.midpoints(edges) - 4.5) ** 2) * 50)
            edges = ray.resample(edges, ray.anneal(ray.blur(weights), 0.9), 32, "sample", intervals=True)
        assert ((ray.midpoints(edges) - 4.5).abs() < 0.6).float().mean() > 0.9


def check_shapes():
    """Any leading dimensions; edges for all rays, or weights for all; dtypes are those that both promote to."""
    edges, weights = random_histograms(2, 3)
    together = ray.resample(edges, weights, 5)
    for i in range(2):
        for j in range(3):
            assert_close(together[i, j], ray.resample(edges[i, j], weights[i, j], 5))
    assert_close(ray.resample(edges[0, 0], weights, 5)[1, 2], ray.resample(edges[0, 0], weights[1, 2], 5))
    assert_close(ray.resample(edges, weights[0, 0], 5, intervals=True)[1, 2], ray.resample(edges[1, 2], weights[0, 0], 5, intervals=True))
    assert ray.resample(edges.half().float(), weights.half(), 5).dtype == torch.float32
    assert ray.resample(edges.bfloat16().sort(-1).values, weights.bfloat16(), 5, "ray").dtype == torch.float32
    assert ray.resample(edges, weights.float(), 5).dtype == torch.float64
    assert ray.resample(torch.zeros(0, 4, 10), torch.zeros(0, 4, 9), 5).shape == (0, 4, 5)
    assert ray.resample(edges, weights, 1).shape == (2, 3, 1)


def test_shapes_and_dtypes():
    check_shapes()


def test_many_bins_in_float32():
    """The end of the distribution is 1 to the last bit, whatever rounding made of ten thousand sums."""
    weights = torch.rand(4, 10_000)
    weights[:, -1] = 1e-3
    edges = torch.linspace(0, 1, 10_001)
    for row, weight in zip(ray.resample(edges, weights, N_SAMPLES), weights, strict=True):
        assert kolmogorov_smirnov(row, edges, weight) < 0.01
    assert_close(ray.percentile(edges, weights, 1.0), torch.ones(4), rtol=0, atol=0)


def check_blur():
    """Mip-NeRF's: pad by the ends, the larger of two, the mean of two; element by element."""
    weights = torch.rand(2, 3, 7, dtype=torch.float64)
    for row, got in zip(weights.flatten(0, 1).numpy(), ray.blur(weights).flatten(0, 1).numpy(), strict=True):
        padded = [row[0], *row, row[-1]]
        larger = [max(padded[i], padded[i + 1]) for i in range(8)]
        np.testing.assert_allclose(got, [(larger[i] + larger[i + 1]) / 2 for i in range(7)])


class TestWeights:
    def test_blur(self):
        check_blur()
        assert_close(ray.blur(torch.zeros(3, 4)), torch.zeros(3, 4))
        assert_close(ray.blur(torch.tensor([2.0])), torch.tensor([2.0]))
        assert gradcheck(ray.blur, (torch.rand(2, 5, dtype=torch.float64, requires_grad=True),))
        weights = torch.rand(100, 20)
        assert (ray.blur(weights) >= weights).all()

    def check_anneal(self):
        weights = torch.tensor([0.0, 0.25, 1.0, 4.0])
        assert_close(ray.anneal(weights, 0.5), torch.tensor([0.0, 0.5, 1.0, 2.0]))
        assert torch.equal(ray.anneal(weights, 1.0), weights)
        assert torch.equal(ray.anneal(weights, 0), torch.ones(4))
        assert torch.equal(ray.anneal(weights, torch.tensor(0.5)), ray.anneal(weights, 0.5))

    def test_anneal(self):
        self.check_anneal()
        weights = torch.tensor([0.0, 0.25, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(ray.anneal(weights, 0.3).sum(), weights)
        assert grad.isfinite().all()
        positive = (torch.rand(5, dtype=torch.float64) + 0.1).requires_grad_()
        assert gradcheck(ray.anneal, (positive, torch.tensor(0.4, dtype=torch.float64, requires_grad=True)))


def check_percentile():
    """multinerf's `weighted_percentile`: np.interp of the cumulative weights."""
    edges, weights = random_histograms(2, 10)
    q = [0.03, 0.5, 0.77]
    ours = ray.percentile(edges, weights, q)
    for row, t, w in zip(ours.flatten(0, 1).numpy(), edges.flatten(0, 1).numpy(), weights.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_allclose(row, np.interp(q, np.concatenate([[0], np.cumsum(w / w.sum())]), t), atol=1e-9)
    assert_close(ray.percentile(edges, weights, 0.5), ours[..., 1])


class TestPercentile:
    def test_values(self):
        check_percentile()

    def test_ends_are_those_of_the_weight(self):
        edges, weights = torch.arange(6.0), torch.tensor([0.0, 1e-9, 0.0, 3e-9, 0.0])
        assert_close(ray.percentile(edges, weights, torch.tensor([0.0, 1.0])), torch.tensor([1.0, 4.0]), rtol=0, atol=0)

    def test_gradients(self):
        edges = torch.rand(3, 6, dtype=torch.float64).cumsum(-1).requires_grad_()
        weights = (torch.rand(3, 5, dtype=torch.float64) + 0.1).requires_grad_()
        assert gradcheck(lambda e, w: ray.percentile(e, w, [0.2, 0.5, 0.9]), (edges, weights))
        empty = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.grad(ray.percentile(edges, empty, 0.5).sum(), empty)[0].isfinite().all()


W, E = torch.ones(2, 3), torch.arange(4.0)
ERRORS = {
    "percent as text": (lambda: ray.percentile(E, W, ["a"]), TypeError, "q", "0.5 for the median"),
    "negative": (lambda: ray.resample(E, -W, 4), ValueError, "weights", "negative densities"),
    "NaN": (lambda: ray.resample(E, W * math.nan, 4), ValueError, "weights", "finite"),
    "infinite": (lambda: ray.blur(W * math.inf), ValueError, "weights", "finite"),
    "no weights": (lambda: ray.anneal(W[:, :0], 1.0), ValueError, "weights", "one weight per interval"),
    "integer weights": (lambda: ray.resample(E, W.long(), 4), TypeError, "weights", ".float()"),
    "weights as list": (lambda: ray.resample(E, [1.0, 1.0, 1.0], 4), TypeError, "weights", "torch.as_tensor"),
    "integer edges": (lambda: ray.resample(E.long(), W, 4), TypeError, "edges", ".float()"),
    "midpoints": (lambda: ray.resample(E[1:], W, 4), ValueError, "edges", "not their midpoints"),
    "rays": (lambda: ray.resample(E.expand(3, 4), W, 4), ValueError, "edges", "(*rays, 4)"),
    "descending": (lambda: ray.resample(E.flip(0), W, 4), ValueError, "edges", "ascending"),
    "endless": (lambda: ray.resample(E / (3 - E), W, 4), ValueError, "edges", "finite"),
    "devices": (lambda: ray.resample(E, W.to("meta"), 4), ValueError, "weights", ".to(device)"),
    "no samples": (lambda: ray.resample(E, W, 0), ValueError, "n_samples", "at least 1"),
    "one interval": (lambda: ray.resample(E, W, 1, intervals=True), ValueError, "n_samples", "at least 2"),
    "float samples": (lambda: ray.resample(E, W, 4.0), TypeError, "n_samples", "int"),
    "jitter": (lambda: ray.resample(E, W, 4, "all"), ValueError, "jitter", "'ray'"),
    "intervals": (lambda: ray.resample(E, W, 4, intervals=1), TypeError, "intervals", "True or False"),
    "generator": (lambda: ray.resample(E, W, 4, "ray", generator=1), TypeError, "generator", "torch.Generator"),
    "power": (lambda: ray.anneal(W, -1.0), ValueError, "power", "at least 0"),
    "power as text": (lambda: ray.anneal(W, "1"), TypeError, "power", "a number"),
    "percents": (lambda: ray.percentile(E, W, 50), ValueError, "q", "percents by 100"),
    "table of q": (lambda: ray.percentile(E, W, torch.zeros(2, 2)), ValueError, "q", "(m,)"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_argument_and_remedy(case):
    call, kind, argument, words = ERRORS[case]
    with pytest.raises(kind, match=rf"ts\.ray\.\w+: `{argument}` must be .*, got ") as caught:
        call()
    assert words in str(caught.value)


WHOLE = {
    "samples": lambda e, w: ray.resample(e, w, 7),
    "intervals": lambda e, w: ray.resample(e, w, 7, intervals=True),
    "percentile": lambda e, w: ray.percentile(e, w, 0.5),
    "weights": lambda e, w: ray.anneal(ray.blur(w), 0.7) * ray.midpoints(e),
}


@pytest.mark.parametrize("name", WHOLE)
def test_vmap_and_compile(name):
    edges, weights = random_histograms(3, 4)
    wanted = WHOLE[name](edges, weights)
    assert_close(torch.func.vmap(WHOLE[name])(edges, weights), wanted)
    assert_close(torch.compile(WHOLE[name], fullgraph=True, backend="aot_eager")(edges, weights), wanted)


def test_jitter_under_vmap_and_compile():
    edges, weights = random_histograms(3, 4)
    mapped = torch.func.vmap(lambda e, w: ray.resample(e, w, 7, "sample"), randomness="different")(edges, weights)
    compiled = torch.compile(lambda e, w: ray.resample(e, w, 7, "ray"), fullgraph=True, backend="eager")(edges, weights)
    assert mapped.shape == compiled.shape == (3, 4, 7)


def test_compile_takes_any_number_of_rays():
    compiled = torch.compile(lambda e, w: ray.resample(e, w, 7, "sample", intervals=True), fullgraph=True, backend="eager", dynamic=True)
    for n in (3, 5, 8):
        assert compiled(*random_histograms(2, n)).shape == (2, n, 8)
