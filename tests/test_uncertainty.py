"""Where to look: `rand_biased` in training, `uncertain` at inference."""

import pytest
import torch
from scipy.stats import kstest
from torch.testing import assert_close

import torchsample as ts


def ramp_logits(side=64):
    """One logit that is zero along the middle column."""
    return torch.linspace(-3, 3, side).expand(1, 1, side, side)


class TestRandBiased:
    @pytest.mark.parametrize("rank", [1, 2, 3])
    @pytest.mark.parametrize(("batch", "map_batch"), [(3, 3), (3, 1), (1, 1)])
    def test_shape(self, batch, map_batch, rank):
        coords = ts.coord.rand_biased(batch, 7, torch.rand(map_batch, 2, *[5] * rank))
        assert coords.shape == (batch, 7, rank)
        assert coords.dtype == torch.float32
        assert ts.coord.inside(coords).all()

    def test_batch_zero(self):
        assert ts.coord.rand_biased(0, 7, torch.rand(2, 5, 4)).shape == (7, 2)
        assert ts.coord.rand_biased(0, 7, torch.rand(2, 5, 4).double()).dtype == torch.float64

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_keeps_exactly_the_most_uncertain_candidates(self, align_corners):
        """The chosen points are the best of the k * n that the same generator draws first."""
        pred, n, k, beta = torch.rand(2, 3, 6, 5), 40, 3.7, 0.6
        coords = ts.coord.rand_biased(2, n, pred, k, beta, "max_probability", align_corners, torch.Generator().manual_seed(3))
        generator = torch.Generator().manual_seed(3)
        candidates = ts.coord.rand(2, int(k * n), generator=generator)
        rest = ts.coord.rand(2, n - int(beta * n), generator=generator)
        score = ts.sample(candidates, pred, align_corners=align_corners).amax(-1)
        for image in range(2):
            expected = candidates[image, score[image].argsort()[: int(beta * n)]]
            assert torch.equal(coords[image, : int(beta * n)], expected)
        assert torch.equal(coords[:, int(beta * n) :], rest)

    def test_beta(self):
        everywhere = ts.coord.rand_biased(1, 4000, ramp_logits(), uncertainty="binary_logits", beta=0.0)
        assert kstest(everywhere[0, :, 0].numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
        only = ts.coord.rand_biased(1, 4000, ramp_logits(), uncertainty="binary_logits", beta=1.0)
        assert only[..., 0].abs().max() < 0.4
        half = ts.coord.rand_biased(1, 4000, ramp_logits(), uncertainty="binary_logits", beta=0.5)
        near = (half[..., 0].abs() < 0.2).double().mean()
        assert near.item() == pytest.approx(0.5 + 0.5 * 0.2, abs=0.06)

    def test_k(self):
        spread = [ts.coord.rand_biased(1, 4000, ramp_logits(), k, 1.0, "binary_logits")[..., 0].abs().max().item() for k in (1, 2, 4, 8)]
        for value, expected in zip(spread, (1.0, 0.5, 0.25, 0.125), strict=True):
            assert value == pytest.approx(expected, rel=0.1)

    @pytest.mark.parametrize(
        ("uncertainty", "certain", "doubtful"),
        [
            ("max_probability", [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]),
            ("margin", [0.5, 0.1, 0.1], [0.6, 0.55, 0.1]),
            (lambda scores: -scores[..., 2], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]),
        ],
    )
    def test_choice_of_uncertainty(self, uncertainty, certain, doubtful):
        """Left half certain, right half doubtful."""
        pred = torch.tensor([certain, certain, doubtful, doubtful]).T[None, :, None].expand(-1, -1, 4, -1)
        coords = ts.coord.rand_biased(1, 500, pred, 3, 1.0, uncertainty)
        assert (coords[..., 0] > -0.26).all()

    def test_takes_no_gradient(self):
        pred = torch.rand(1, 2, 4, 4, requires_grad=True)
        assert not ts.coord.rand_biased(1, 5, pred).requires_grad

    def test_uniform_needs_no_prediction(self):
        """beta=0 with an empty batch of maps still gives what was asked for."""
        assert ts.coord.rand_biased(1, 5, torch.rand(1, 2, 4, 4), beta=0).shape == (1, 5, 2)


@pytest.fixture
def pred():
    """Two classes on 3 x 3 pixels."""
    first = torch.tensor([[0.8, 0.5, 0.95], [0.2, 0.5, 0.0], [0.6, 1.0, 1.0]])
    return torch.stack([first, 1 - first])[None]


class TestUncertain:
    def test_one_image(self, pred):
        index, coords = ts.coord.uncertain(pred, threshold=0.7, uncertainty="max_probability")
        marked = torch.zeros_like(pred)
        marked[index] = 1
        expected = torch.tensor([[0.0, 1, 0], [0, 1, 0], [1, 0, 0]]).expand(1, 2, -1, -1)
        assert torch.equal(marked, expected)
        assert coords.shape == (1, 3, 2)
        assert_close(coords[0], ts.coord.normalize(torch.tensor([[1, 0], [1, 1], [0, 2]]), 3))

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_putting_back_what_was_sampled_changes_nothing(self, align_corners):
        pred = torch.rand(1, 4, 5, 6)
        index, coords = ts.coord.uncertain(pred, 0.2, align_corners=align_corners)
        restored = pred.clone()
        restored[index] = 0
        refined = ts.sample(coords, pred, align_corners=align_corners)
        restored[index] = ts.feat_first(refined).flatten()
        assert_close(restored, pred)
        assert 0 < coords.shape[1] < 30

    @pytest.mark.parametrize("n", [None, 4])
    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_batch(self, n, rank):
        """Flat points of all images, without padding, and back again."""
        pred = torch.rand(3, 4, *range(4, 4 + rank))
        index, coords, image = ts.coord.uncertain(pred, 0.7, n, return_batch_index=True, uncertainty="max_probability")
        refined = ts.sample(coords, pred, batch_index=image)
        assert refined.shape == (len(image), 4)
        assert coords.shape == (len(image), rank)
        restored = pred.clone()
        restored[index] = -1
        touched = (restored == -1).all(1)
        assert torch.equal(touched.flatten(1).sum(1), image.bincount(minlength=3))
        if n is None:
            assert torch.equal(touched, pred.amax(1) < 0.7)
        restored[index] = refined
        assert_close(restored, pred)

    def test_n_most_uncertain(self):
        pred = torch.rand(3, 4, 5, 6)
        index, coords = ts.coord.uncertain(pred, n=7, uncertainty="max_probability")
        assert coords.shape == (3, 7, 2)
        values = ts.sample(coords, pred, "nearest").amax(-1)
        assert_close(values, pred.amax(1).flatten(1).sort(-1).values[:, :7])
        restored = pred.clone()
        restored[index] = ts.feat_first(ts.sample(coords, pred) + 1).flatten()
        assert ((restored - pred).abs().amax(1) > 0.5).sum() == 21
        assert_close(restored[index] - 1, pred[index])

    @pytest.mark.parametrize("batch_index", [False, True])
    def test_nothing_uncertain(self, pred, batch_index):
        index, coords, *_ = ts.coord.uncertain(pred, threshold=0, return_batch_index=batch_index)
        assert coords.numel() == 0
        assert pred[index].numel() == 0
        before = pred.clone()
        refined = ts.sample(coords, pred, batch_index=_[0]) if batch_index else ts.feat_first(ts.sample(coords, pred)).flatten()
        pred[index] = refined
        assert torch.equal(pred, before)

    def test_empty_batch(self):
        empty = torch.zeros(0, 3, 4, 5)
        assert ts.coord.uncertain(empty)[1].shape == (0, 0, 2)
        assert ts.coord.uncertain(empty, n=2)[1].shape == (0, 2, 2)
        assert ts.coord.uncertain(empty, return_batch_index=True)[1].shape == (0, 2)

    def test_choice_of_uncertainty(self):
        logits = torch.tensor([[[[-4.0, 0.2, 3.0, -0.1]]]])
        for uncertainty in ("binary_logits", lambda scores: -scores[..., 0].abs()):
            _, coords = ts.coord.uncertain(logits, n=2, uncertainty=uncertainty)
            assert_close(coords[0], torch.tensor([[0.75, 0.0], [-0.25, 0.0]]))
        scores = torch.tensor([[[[5.0, 5.0]], [[4.9, 1.0]], [[0.0, 4.8]]]])
        assert_close(ts.coord.uncertain(scores, n=1, uncertainty="margin")[1], torch.tensor([[[-0.5, 0.0]]]))
        index, _ = ts.coord.uncertain(scores, threshold=0.15, uncertainty="margin")
        assert_close(scores[index], torch.tensor([5.0, 4.9, 0.0]))

    def test_without_a_batch(self):
        pred = torch.rand(4, 5, 6)
        index, coords = ts.coord.uncertain.nobatch(pred, n=7)
        batched, expected = ts.coord.uncertain(pred.unsqueeze(0), n=7)
        assert torch.equal(coords, expected[0])
        assert pred[index].shape == (4, 7)
        assert torch.equal(pred[index].flatten(), pred.unsqueeze(0)[batched])
        restored = pred.clone()
        restored[index] = ts.feat_first.nobatch(ts.sample.nobatch(coords, pred))
        assert_close(restored, pred)


def disc(rank=2, side=64):
    """The logit of a disc, sure of itself away from its outline."""
    coords = ts.coord.full(1, (side,) * rank)
    return ts.feat_first(20 * (0.5 - coords.norm(dim=-1, keepdim=True)))


class TestDefault:
    """Without a rule, points come to lie at the outline."""

    def test_one_logit(self):
        logits = disc()
        coords = ts.coord.rand_biased(1, 1000, logits, beta=0.5)[:, :500]
        near = (coords.norm(dim=-1) - 0.5).abs() < 0.2
        assert near.float().mean() > 0.95
        uniform = (ts.coord.rand(1, 1000).norm(dim=-1) - 0.5).abs() < 0.2
        assert uniform.float().mean() < 0.45
        assert (ts.coord.uncertain(logits, n=20)[1].norm(dim=-1) - 0.5).abs().max() < 0.05

    def test_one_probability(self):
        """Taken for logits, probabilities would send all points to the surest background."""
        probability = disc().sigmoid()
        for find in (
            lambda rule: ts.coord.rand_biased(1, 200, probability, beta=0.5, uncertainty=rule)[:, :100],
            lambda rule: ts.coord.uncertain(probability, n=20, uncertainty=rule)[1],
        ):
            assert ((find("binary_probability").norm(dim=-1) - 0.5).abs() < 0.2).float().mean() > 0.95
            with pytest.warns(UserWarning, match=r"ts\.coord\.\w+: `pred` has numbers from .* to .*, .*'binary_probability'"):
                find(None)
            # Said by name, logits they are.
            find("binary_logits")
            with pytest.raises(ValueError, match=r"`pred` must be a map of two classes or more for 'max_probability'.*'binary_logits'"):
                find("max_probability")
        with pytest.warns(UserWarning, match=r"ts\.subdivide: `coarse` has numbers"):
            ts.subdivide(probability, lambda coords: coords[..., :1], 1)

    def test_untrained_logits_are_no_probabilities(self):
        """Whatever a network says at first is taken for logits, without a warning."""
        for logits in (torch.rand(1, 1, 8, 8) * 0.5 + 0.1, torch.randn(1, 1, 8, 8), torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)):
            assert ts.coord.rand_biased(1, 5, logits).shape == (1, 5, 2)

    def test_several_classes(self):
        scores = torch.cat([disc(), -disc()], dim=1)
        for given in (scores, scores.softmax(1)):
            coords = ts.coord.rand_biased(1, 1000, given, beta=0.5)[:, :500]
            assert ((coords.norm(dim=-1) - 0.5).abs() < 0.2).float().mean() > 0.95
            by_margin = ts.coord.uncertain(given, n=9, uncertainty="margin")[1]
            assert torch.equal(ts.coord.uncertain(given, n=9)[1], by_margin)


def test_k_of_one_chooses_among_as_many_candidates_as_points():
    """PointRend's rule to the letter: uniform is ``beta=0``, not ``k=1``."""
    logits = disc()
    coords = ts.coord.rand_biased(1, 1000, logits, k=1, beta=0.25, generator=torch.Generator().manual_seed(5))
    candidates = ts.coord.rand(1, 1000, generator=torch.Generator().manual_seed(5))
    order = ts.sample(candidates, logits)[..., 0].abs().argsort(dim=-1)[:, :250]
    assert_close(coords[:, :250], candidates.take_along_dim(order.unsqueeze(-1), 1))
    share = (ts.coord.rand_biased(1, 20_000, logits, k=1, beta=0).norm(dim=-1) < 0.5).float().mean()
    assert abs(share - torch.pi / 16) < 0.015


def test_rand_biased_without_a_batch():
    logits = disc()
    coords = ts.coord.rand_biased.nobatch(50, logits[0], generator=torch.Generator().manual_seed(5))
    assert torch.equal(coords, ts.coord.rand_biased(0, 50, logits[0], generator=torch.Generator().manual_seed(5)))
    assert torch.equal(coords, ts.coord.rand_biased(1, 50, logits, generator=torch.Generator().manual_seed(5))[0])
