"""Learners and their statistics against hand numbers and naive loops."""

import math

import pytest
import torch

from oltr_core.class_statistics import RARE, grow, measure
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.learners import Imprint, NearestClassMean
from oltr_core.learners.fine_tune import fine_tune
from oltr_core.learners.replay import batches
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Cosine, MetaEmbedding
from oltr_core.pseudo_features import correlation, draw, remembered

unit = torch.nn.functional.normalize


def features_of(counts, dim=6, experts=2, seed=0):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(labels), experts, dim, generator=generator) * (1 + labels[:, None, None]), labels


def test_statistics_are_the_means_and_standard_deviations_of_each_class():
    features, labels = features_of([30, 25])
    statistics = measure(features, labels, 2)
    for k in range(2):
        mine = features[labels == k]
        torch.testing.assert_close(statistics.means[:, k], mine.mean(0))
        torch.testing.assert_close(statistics.stds[:, k], mine.std(0))
    assert statistics.counts.tolist() == [30, 25]


def test_a_rare_class_borrows_the_spread_pooled_over_all():
    features, labels = features_of([30, RARE - 1, 1])
    apart = torch.cat([(features[labels == k] - features[labels == k].mean(0)) ** 2 for k in range(3)])
    pooled = (apart.sum(0) / (30 + RARE - 1 + 1 - 3)).sqrt()
    statistics = measure(features, labels, 3)
    torch.testing.assert_close(statistics.stds[:, 1], pooled)
    torch.testing.assert_close(statistics.stds[:, 2], pooled)


def test_grown_means_are_those_of_old_and_new_images_together():
    features, labels = features_of([30, 25, 8])
    old = labels < 2
    first = torch.arange(len(labels)) % 2 == 0
    statistics = measure(features[old & first], labels[old & first], 2)
    new = ~(old & first)
    grown = grow(statistics, AnnotatedFeatures(features[new], labels[new]))
    for k in range(3):
        torch.testing.assert_close(grown.means[:, k], features[labels == k].mean(0))
    assert grown.counts.tolist() == [30, 25, 8]
    assert len(grown.kept["labels"]) == int(new.sum())
    torch.testing.assert_close(grown.stds[:, :2], statistics.stds)


def test_pseudo_features_have_the_mean_and_spread_they_were_drawn_from():
    features, labels = features_of([60, 60])
    statistics = measure(features, labels, 2)
    drawn = draw(statistics, torch.zeros(20000, dtype=torch.long), False, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), statistics.means[:, 0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), statistics.stds[:, 0], atol=0.05, rtol=0)
    length = draw(statistics, labels, True, torch.Generator().manual_seed(0)).norm(dim=2)
    torch.testing.assert_close(length, torch.ones_like(length))


@pytest.fixture
def parent():
    return NetworkSpec(head=Cosine())(2, seed=0).eval()


def test_an_imprinted_row_points_along_the_mean_of_unit_embeddings(parent):
    features, labels = features_of([30, 30, 4], dim=parent.num_features, experts=1)
    old = labels < 2
    new = AnnotatedFeatures(features[~old], labels[~old])
    network, _ = Imprint()(parent, measure(features[old], labels[old], 2), new, torch.Generator())
    mean = sum(unit(f[0], dim=0) for f in features[~old]) / 4
    torch.testing.assert_close(unit(network.heads[0].weight[2], dim=0), unit(mean, dim=0))
    assert torch.equal(network.heads[0].weight[:2], parent.heads[0].weight)


def test_energy_weights_are_a_softmax_of_the_product_within_the_class():
    parent = NetworkSpec(head=MetaEmbedding())(2, seed=0).eval()
    features, labels = features_of([30, 30, 3], dim=parent.num_features, experts=1)
    features = unit(features, dim=2)
    old = labels < 2
    parent.refresh(features[old], labels[old])
    statistics, new = measure(features[old], labels[old], 2), AnnotatedFeatures(features[~old], labels[~old])
    learner = Imprint(weights="energy", temperature=0.5)
    with torch.no_grad():
        outputs = parent.classify(new.features)
        share = (outputs.u_open * outputs.u_info / 0.5).softmax(0)
        grown, _ = Imprint()(parent, statistics, new, torch.Generator())
        embedding = unit(grown.classify(new.features).embeddings[:, 0], dim=1)
        expected = sum(share[i] * embedding[i] for i in range(3))
        network, _ = learner(parent, statistics, new, torch.Generator())
        cosine = torch.nn.functional.cosine_similarity(network.heads[0].weight[2], expected, dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-4)


def test_nearest_class_mean_points_every_row_at_its_class():
    parent = NetworkSpec(head=Cosine())(2, seed=0).eval()
    features, labels = features_of([30, 30, 4], dim=parent.num_features, experts=1)
    old = labels < 2
    new = AnnotatedFeatures(features[~old], labels[~old])
    network, _ = NearestClassMean()(parent, measure(features[old], labels[old], 2), new, torch.Generator())
    for k in range(3):
        mean = unit(features[labels == k][:, 0].mean(0), dim=0)
        torch.testing.assert_close(unit(network.heads[0].weight[k], dim=0), mean, atol=1e-5, rtol=1e-5)


def test_a_new_class_is_replayed_from_its_own_images_and_an_old_one_mostly_from_the_memory(monkeypatch, parent):
    from oltr_core.learners import ImprintReplay, imprint_replay

    features, labels = features_of([30, 30, 4], dim=parent.num_features, experts=1)
    old = labels < 2
    first = torch.arange(len(labels)) == 0  # one answered image of the old class 0
    answered = AnnotatedFeatures(features[~old | first], labels[~old | first])
    drawn: list[torch.Tensor] = []

    def watch(network, batch, steps, learning_rate, logit_scale):
        drawn.extend(batch()[0] for _ in range(400))

    monkeypatch.setattr(imprint_replay, "fine_tune", watch)
    learner = ImprintReplay(per_class=2, pseudo_weight=3.0)
    statistics = measure(features[old & ~first], labels[old & ~first], 2)
    learner(parent, statistics, answered, torch.Generator().manual_seed(0))
    batches = torch.stack(drawn).flatten(2)  # [400, 6, D]: two features of each class
    seen = (torch.cdist(batches.flatten(0, 1), answered.features.flatten(1)).amin(1) < 0.01).view(400, 6)
    share = seen.float().mean(0)
    assert share[:2].mean() == pytest.approx(1 / (1 + 3 * 29), abs=0.01)  # a_0 = 1, g_0 = 29
    assert share[2:4].sum() == 0
    assert (share[4:] == 1).all()
    drawn.clear()
    few = learner.model_copy(update={"classes": 2})
    few(parent, statistics, answered, torch.Generator().manual_seed(0))
    assert all(len(features) == 2 * 2 for features in drawn)


def test_every_feature_of_a_step_is_drawn_for_itself():
    """Stored or not by the share of its class, and then any stored image of the class as likely as another."""
    features, labels = features_of([40, 8, 5])
    statistics = measure(features, labels, 3)
    stored = torch.randn(12, 2, 6) + 50  # far from every pseudo-feature
    whose, share = torch.tensor([0] * 4 + [2] * 8), torch.tensor([0.25, 0.0, 0.75])
    batch = batches(statistics, stored, whose, share, 2000, 3, False, torch.Generator().manual_seed(0))
    drawn, of = batch()
    assert of.tolist() == [0] * 2000 + [1] * 2000 + [2] * 2000, "no more classes than a step may have: none is drawn"
    for k, number in ((0, 4), (1, 0), (2, 8)):
        mine = drawn[of == k].flatten(1)
        equal = (mine[:, None] == stored.flatten(1)).all(2)
        assert float(equal.any(1).float().mean()) == pytest.approx(float(share[k]), abs=0.05)
        assert not equal[:, whose != k].any()
        if number:
            chances = equal[:, whose == k].float().mean(0)
            torch.testing.assert_close(chances, torch.full((number,), float(share[k]) / number), atol=0.02, rtol=0)
    assert not torch.equal(batch()[0], drawn)


@pytest.mark.parametrize("logit_scale", [1.0, 4.0])
def test_fine_tuning_is_sgd_with_momentum_along_a_falling_cosine_written_out(logit_scale):
    network = NetworkSpec(head=Cosine(), experts=2)(3, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    drawn = [
        (torch.randn(6, 2, network.num_features, generator=generator), torch.randint(3, (6,), generator=generator))
        for _ in range(4)
    ]
    weights = [head.weight.detach().clone() for head in network.heads]
    velocity = [torch.zeros_like(w) for w in weights]
    for step, (features, labels) in enumerate(drawn):
        for e in range(2):
            w = weights[e].clone().requires_grad_()
            cosine = unit(features[:, e], dim=1) @ unit(w, dim=1).T
            loss = torch.nn.functional.cross_entropy(logit_scale * 16 * cosine, labels)
            (gradient,) = torch.autograd.grad(loss, w)
            velocity[e] = 0.9 * velocity[e] + gradient
            weights[e] = weights[e] - 0.05 * (1 + math.cos(math.pi * step / 4)) / 2 * velocity[e]
    batches = iter(drawn)
    fine_tune(network, lambda: next(batches), 4, 0.05, logit_scale)
    for head, expected in zip(network.heads, weights, strict=True):
        torch.testing.assert_close(head.weight.detach(), expected, rtol=1e-4, atol=1e-5)
        assert head.weight.grad is None


def test_replay_hands_its_own_settings_to_fine_tuning(monkeypatch, parent):
    from oltr_core.learners import FineTuneNewOnly, ImprintReplay, fine_tune_new_only, imprint_replay

    features, labels = features_of([30, 30, 4], dim=parent.num_features, experts=1)
    old = labels < 2
    statistics, new = measure(features[old], labels[old], 2), AnnotatedFeatures(features[~old], labels[~old])
    seen = []

    def watch(network, batch, *settings):
        seen.append((len(batch()[1]), *settings))

    monkeypatch.setattr(imprint_replay, "fine_tune", watch)
    monkeypatch.setattr(fine_tune_new_only, "fine_tune", watch)
    replay = ImprintReplay(steps=7, learning_rate=0.3, logit_scale=5.0, per_class=4)
    replay(parent, statistics, new, torch.Generator().manual_seed(0))
    control = FineTuneNewOnly(steps=9, learning_rate=0.2, batch_size=10)
    control(parent, statistics, new, torch.Generator().manual_seed(0))
    assert seen == [(4 * 3, 7, 0.3, 5.0), (10, 9, 0.2)]


def test_new_columns_follow_the_old_ones_in_the_order_of_their_numbers():
    """Answers come in any order; their column numbers say where they belong."""
    parent = NetworkSpec(head=MetaEmbedding())(2, seed=0).eval()
    features, labels = features_of([30, 30, 4, 3], dim=parent.num_features, experts=1)
    features = unit(features, dim=2)
    old = labels < 2
    statistics = measure(features[old], labels[old], 2)
    parent.refresh(features[old], labels[old])
    order = torch.tensor([6, 0, 4, 2, 5, 1, 3])
    network, grown = Imprint()(
        parent, statistics, AnnotatedFeatures(features[~old][order], labels[~old][order]), torch.Generator()
    )
    for k in (2, 3):
        torch.testing.assert_close(network.memory(0)[k], features[labels == k, 0].mean(0))
        torch.testing.assert_close(grown.means[0, k], features[labels == k, 0].mean(0))
    assert torch.equal(network.heads[0].weight[:2], parent.heads[0].weight)
    assert torch.equal(network.memory(0)[:2], statistics.means[0])
    assert grown.counts.tolist() == [30, 30, 4, 3]


def test_a_new_rare_class_borrows_the_spread_of_the_old_ones_and_a_frequent_one_has_its_own():
    features, labels = features_of([30, 25, RARE - 1, RARE])
    old = labels < 2
    statistics = measure(features[old], labels[old], 2)
    grown = grow(statistics, AnnotatedFeatures(features[~old], labels[~old]))
    torch.testing.assert_close(grown.stds[:, 2], statistics.stds.square().mean(1).sqrt())
    torch.testing.assert_close(grown.stds[:, 3], features[labels == 3].std(0))
    assert torch.equal(grown.stds[:, :2], statistics.stds)


def test_images_of_two_updates_are_kept_together_in_the_order_of_their_coming():
    features, labels = features_of([30, 25, 4])
    old = labels < 2
    statistics = measure(features[old], labels[old], 2)
    for row in (55, 57):
        statistics = grow(statistics, AnnotatedFeatures(features[row : row + 2], labels[row : row + 2]))
    assert torch.equal(statistics.kept["features"], features[55:59])
    assert statistics.kept["labels"].tolist() == [2, 2, 2, 2]
    assert statistics.counts.tolist() == [30, 25, 4]
    torch.testing.assert_close(statistics.means[:, 2], features[labels == 2].mean(0))


def test_the_memory_is_recalled_as_so_many_drawn_features_of_each_class_then_the_kept_ones():
    features, labels = features_of([30, 25])
    statistics = grow(measure(features, labels, 2), AnnotatedFeatures(features[:3], labels[:3]))
    drawn, whose = remembered(statistics, False, torch.Generator().manual_seed(3), per_class=4)
    assert whose.tolist() == [0] * 4 + [1] * 4 + [0] * 3
    expected = draw(
        statistics, torch.tensor([0] * 4 + [1] * 4), False, torch.Generator().manual_seed(3), correlation(statistics)
    )
    assert torch.equal(drawn, torch.cat([expected, features[:3]]))


def test_new_rows_are_as_long_as_the_old_ones_are_on_average(parent):
    parent.heads[0].weight.data *= torch.tensor([[2.0], [4.0]]) / parent.heads[0].weight.data.norm(dim=1)[:, None]
    features, labels = features_of([30, 30, 4], dim=parent.num_features, experts=1)
    old = labels < 2
    new = AnnotatedFeatures(features[~old], labels[~old])
    for learner in (Imprint(), NearestClassMean()):
        network, _ = learner(parent, measure(features[old], labels[old], 2), new, torch.Generator())
        lengths = network.heads[0].weight.data.norm(dim=1)
        assert float(lengths[2]) == pytest.approx(3.0, rel=1e-4)
