"""Scores against hand numbers and independent results."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from oltr_core.interfaces import Outputs, Reference
from oltr_core.scores import (
    Energy,
    Entropy,
    Gen,
    Knn,
    Mahalanobis,
    MaxLogit,
    Msp,
    NearestMean,
    Odin,
    OpenMax,
    PriorAware,
    Reachability,
    Rmds,
    UProduct,
)
from oltr_core.scores.openmax import fit_weibull
from tests.core.contracts import worlds


def of_logits(*rows: list[float]) -> Outputs:
    logits = torch.tensor(rows)[:, None]
    return Outputs(logits, torch.zeros(len(rows), 1, 2), torch.zeros(len(rows), 1, 2))


def test_scores_of_logits_by_hand():
    even = of_logits([math.log(3.0), 0.0])  # probabilities 3/4, 1/4
    assert float(Msp()(even, {})) == pytest.approx(0.25)
    assert float(MaxLogit()(even, {})) == pytest.approx(-math.log(3))
    assert float(Energy()(even, {})) == pytest.approx(-math.log(4))
    assert float(Energy(temperature=0.5)(even, {})) == pytest.approx(-0.5 * math.log(10))
    assert float(Entropy()(even, {})) == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_gen_is_the_generalised_entropy_of_the_largest_probabilities():
    three = of_logits([math.log(5.0), math.log(3.0), math.log(2.0)])  # .5, .3, .2
    both = 0.25**0.3 + 0.21**0.3
    assert float(Gen(gamma=0.3, largest=2)(three, {})) == pytest.approx(both)
    assert float(Gen(gamma=0.3)(three, {})) == pytest.approx(both + 0.16**0.3)


def test_what_the_frequencies_say_counts_for_nothing_known():
    outputs = of_logits([math.log(6.0), math.log(4.0)], [math.log(8.0), math.log(2.0)])  # .6 .4 | .8 .2
    known = Reference(outputs, torch.tensor([0, 1]), torch.tensor([80.0, 20.0]))
    state = PriorAware().fit(known)
    assert PriorAware()(outputs, state).tolist() == pytest.approx([-0.2, 0.0])  # of .4 - .2, and of .8 - .8
    cosine = (0.6 * 0.8 + 0.4 * 0.2) / math.hypot(0.6, 0.4) / math.hypot(0.8, 0.2)
    found = PriorAware(base="energy")(outputs, state).tolist()
    assert found == pytest.approx([-math.log(10) * (1 - cosine), 0.0], abs=1e-6)


def test_rmds_is_scikit_learns_distance_to_the_nearest_class_less_that_to_all():
    from sklearn.covariance import shrunk_covariance

    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    features, x = (outputs.features.flatten(1).double() for outputs in (known.outputs, new))

    def squared(apart: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        precision = torch.tensor(shrunk_covariance((apart.T @ apart / len(apart)).numpy(), shrinkage=0.3)).inverse()
        difference = x[:, None] - centres
        return torch.einsum("bkd,de,bke->bk", difference, precision, difference).amin(1)

    means = torch.stack([features[known.labels == k].mean(0) for k in range(5)])
    mean = features.mean(0, keepdim=True)
    expected = squared(features - means[known.labels], means) - squared(features - mean, mean)
    score = Rmds(shrinkage=0.3)
    torch.testing.assert_close(score(new, score.fit(known)), expected.float(), rtol=1e-3, atol=1e-3)


def test_scores_of_distances_by_hand():
    distances = torch.tensor([[[3.0, 1.0, 2.0]]])
    outputs = Outputs(torch.zeros(1, 1, 3), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), distances)
    assert float(Reachability()(outputs, {})) == 1.0
    assert float(outputs.u_info) == 0.5
    assert float(UProduct()(outputs, {})) == 0.5


def test_one_class_makes_nothing_ambiguous_and_two_equal_zeros_stay_finite():
    one = Outputs(torch.zeros(1, 1, 1), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.tensor([[[2.0]]]))
    assert float(one.u_info) == 1.0
    zero = Outputs(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
    assert torch.isfinite(zero.u_info).all()


def test_nearest_mean_is_the_mean_over_experts_of_the_least_distance_in_a_naive_loop():
    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    state = NearestMean().fit(known)
    means = [known.outputs.features[known.labels == k].mean(0) for k in range(5)]
    for image, value in zip(new.features, NearestMean()(new, state), strict=True):
        least = [min(float((image[e] - mean[e]).norm()) for mean in means) for e in range(2)]
        assert float(value) == pytest.approx(sum(least) / 2, rel=1e-4)
    measured = worlds.centroids() + 1.0
    state = NearestMean().fit(replace(known, means=measured, within=torch.eye(16).expand(2, -1, -1)))
    assert torch.equal(state["means"], measured)


def test_knn_is_the_kth_smallest_distance_of_a_naive_loop():
    known = worlds.reference(20)
    new = worlds.outputs(3, seed=8)
    unit = torch.nn.functional.normalize
    for i, score in enumerate(Knn(k=4)(new, Knn(k=4).fit(known))):
        mine = unit(new.features[i].flatten(), dim=0)
        distances = sorted(float((mine - unit(f.flatten(), dim=0)).norm()) for f in known.outputs.features)
        assert float(score) == pytest.approx(distances[3], abs=1e-5)


def test_mahalanobis_with_full_shrinkage_is_euclidean_up_to_a_scale():
    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    score = Mahalanobis(shrinkage=1.0)
    means = torch.stack([known.outputs.features[known.labels == k].flatten(1).mean(0) for k in range(5)])
    euclidean = torch.cdist(new.features.flatten(1), means).amin(1)
    ratio = score(new, score.fit(known)) / euclidean
    torch.testing.assert_close(ratio, ratio[:1].expand(6), rtol=1e-4, atol=0)


def test_mahalanobis_is_scikit_learns_distance_with_the_same_covariance():
    from sklearn.covariance import shrunk_covariance

    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    features = known.outputs.features.flatten(1).double()
    means = torch.stack([features[known.labels == k].mean(0) for k in range(5)])
    apart = features - means[known.labels]
    precision = torch.tensor(shrunk_covariance((apart.T @ apart / len(features)).numpy(), shrinkage=0.2)).inverse()
    difference = new.features.flatten(1).double()[:, None] - means
    squared = torch.einsum("bkd,de,bke->bk", difference, precision, difference)
    score = Mahalanobis(shrinkage=0.2)
    torch.testing.assert_close(score(new, score.fit(known)), squared.amin(1).sqrt().float(), rtol=1e-4, atol=1e-4)


def test_distances_by_statistics_take_experts_as_uncorrelated_and_every_class_alike():
    """Two experts of one dimension: variances 3 and 5 within, means (0, 0) and (8, 4): [[19, 8], [8, 9]] in all."""
    known = worlds.reference()
    means, within = torch.tensor([[[0.0], [8.0]], [[0.0], [4.0]]]), torch.tensor([[[3.0]], [[5.0]]])
    x = torch.tensor([[[5.0], [-2.0]]])
    new = Outputs(torch.zeros(1, 2, 2), x, x)
    at_once = (9 * 1 - 2 * 8 * 1 * -4 + 19 * 16) / (19 * 9 - 8 * 8)  # of (5, -2) less (4, 2)
    nearest = min(25 / 3 + 4 / 5, 9 / 3 + 36 / 5)
    for score, expected in ((Mahalanobis(shrinkage=1e-9), nearest**0.5), (Rmds(shrinkage=1e-9), nearest - at_once)):
        state = score.fit(replace(known, means=means, within=within))
        assert float(score(new, state)) == pytest.approx(expected, rel=1e-5)


def test_the_weibull_fit_finds_the_parameters_it_was_drawn_from_and_agrees_with_scipy():
    from scipy.stats import weibull_min

    drawn = weibull_min.rvs(2.5, scale=3.0, size=5000, random_state=0)
    shape, scale = fit_weibull(torch.tensor(drawn))
    assert (shape, scale) == (pytest.approx(2.5, rel=0.05), pytest.approx(3.0, rel=0.02))
    expected = weibull_min.fit(drawn, floc=0)
    assert (shape, scale) == (pytest.approx(expected[0], rel=1e-3), pytest.approx(expected[2], rel=1e-3))


def test_odin_moves_every_image_towards_its_own_prediction():
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 4)
            nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(0))

        def forward(self, images):
            return Outputs(
                self.linear(images.flatten(1))[:, None], images.flatten(1)[:, None], images.flatten(1)[:, None]
            )

    network, images = Tiny(), torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    odin = Odin(epsilon=0.01)
    blind = Tiny()
    blind.linear.weight.data[:, 0] = 0
    assert torch.equal(odin.perturb(blind, images)[:, 0, 0, 0], images[:, 0, 0, 0]), "a pixel that says nothing"
    moved = odin.perturb(network, images)
    torch.testing.assert_close((moved - images).abs(), torch.full_like(images, 0.01), rtol=1e-3, atol=1e-6)
    assert (odin(network(moved), {}) < odin(network(images), {})).all()
    assert network.linear.weight.grad is None


@pytest.mark.parametrize("alpha", [2, 10])
def test_openmax_is_the_naive_loop_over_ranked_classes(alpha):
    new = worlds.outputs(6, seed=3)
    score = OpenMax(alpha=alpha)
    state = {
        "means": torch.randn(5, 5, generator=torch.Generator().manual_seed(1)) * 4,
        "weibull": torch.tensor([[2.0, 9.0], [3.0, 11.0], [1.5, 8.0], [4.0, 10.0], [2.5, 12.0]]),
    }
    for value, z in zip(score(new, state), new.mean_logits.double(), strict=True):
        ranked = sorted(range(5), key=lambda k: -float(z[k]))
        a, changed, unknown = min(alpha, 5), z.tolist(), 0.0
        for r, k in enumerate(ranked[:a]):
            shape, scale = state["weibull"][k].tolist()
            distance = float((z - state["means"][k].double()).norm())
            w = 1 - (a - r) / a * (1 - math.exp(-((distance / scale) ** shape)))
            if z[k] > 0:
                changed[k], unknown = float(z[k]) * w, unknown + float(z[k]) * (1 - w)
        total = sum(math.exp(x) for x in [unknown, *changed])
        assert float(value) == pytest.approx(1 - max(math.exp(x) for x in changed) / total, abs=1e-6)


def two_classes(right: int, wrong: int, spread: float = 1.0) -> tuple[Outputs, torch.Tensor]:
    """Images of two classes: `right` of each are named correctly, `wrong` of each are not."""
    generator = torch.Generator().manual_seed(right)
    labels = torch.arange(2).repeat_interleave(right + wrong)
    named = torch.cat([torch.zeros(right), torch.ones(wrong)]).repeat(2).long() ^ labels
    logits = torch.nn.functional.one_hot(named, 2) * 8 + spread * torch.rand(len(labels), 2, generator=generator)
    return of_logits(*logits.tolist()), labels


def test_openmax_fits_means_and_tails_on_images_that_are_named_correctly():
    reference, labels = two_classes(30, 10)
    held_out, held_labels = two_classes(40, 8, spread=3.0)
    state = OpenMax(tail=6).fit(Reference(reference, labels, torch.ones(2), held_out, held_labels))
    for k in range(2):
        z, right = reference.mean_logits, reference.mean_logits.argmax(1) == labels
        mean = z[right & (labels == k)].mean(0)
        torch.testing.assert_close(state["means"][k], mean)
        z, right = held_out.mean_logits, held_out.mean_logits.argmax(1) == held_labels
        distances = sorted((z[right & (held_labels == k)] - mean).norm(dim=1).tolist(), reverse=True)
        assert state["weibull"][k].tolist() == pytest.approx(fit_weibull(torch.tensor(distances[:6])), rel=1e-3)
    wide = OpenMax(tail=30).fit(Reference(reference, labels, torch.ones(2), held_out, held_labels))
    distances = sorted((z[right] - state["means"][held_labels[right]]).norm(dim=1).tolist(), reverse=True)
    quarter = fit_weibull(torch.tensor(distances[: 40 // 4 * 2]))
    own = fit_weibull(torch.tensor(sorted((z[right & (held_labels == 1)] - mean).norm(dim=1).tolist())[-10:]))
    assert wide["weibull"][1].tolist() == pytest.approx(own, rel=1e-3)  # 40 images: a quarter of them
    many = OpenMax(tail=41).fit(Reference(reference, labels, torch.ones(2), held_out, held_labels))
    for k in range(2):  # too few for a tail of their own: the quarter of all
        assert many["weibull"][k].tolist() == pytest.approx(quarter, rel=1e-3)


def test_openmax_copes_with_a_network_that_names_nothing_correctly_and_with_absent_classes():
    wrong, labels = two_classes(0, 12)
    state = OpenMax().fit(Reference(wrong, labels, torch.ones(2), wrong, labels))
    for k in range(2):
        torch.testing.assert_close(state["means"][k], wrong.mean_logits[labels == k].mean(0))
    assert torch.isfinite(state["weibull"]).all()
    one = wrong[labels == 0], labels[labels == 0]
    state = OpenMax().fit(Reference(*one, torch.ones(2), *one))
    assert state["means"][1].tolist() == pytest.approx([0.0, float(one[0].mean_logits.max())])


def test_mahalanobis_measures_to_the_nearest_class_that_is_there():
    known, new = worlds.reference(), worlds.outputs(6, seed=3)
    some = known.labels != 2
    part = Reference(known.outputs[some], known.labels[some], known.class_counts)
    state = Mahalanobis().fit(part)
    assert len(state["means"]) == 4
    assert torch.isfinite(Mahalanobis()(new, state)).all()


def test_knn_with_fewer_images_than_neighbours_takes_the_farthest():
    known = worlds.reference(5)
    new = worlds.outputs(3, seed=8)
    assert torch.equal(Knn(k=50)(new, Knn(k=50).fit(known)), Knn(k=5)(new, Knn(k=5).fit(known)))


def test_sure_answers_keep_their_order_in_double_precision():
    sure = of_logits([20.0, 0.0], [21.0, 0.0])
    for score in (Msp(), Entropy()):
        values = score(sure, {})
        assert 0 < float(values[1]) < float(values[0])
    close = of_logits([1.0, 0.0], [1.001, 0.0])
    values = Odin()(close, {})
    assert float(values[1]) < float(values[0])
