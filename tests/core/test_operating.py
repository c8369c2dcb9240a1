"""From class statistics and validation images to a score's state, its threshold and a temperature."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from oltr_core.checkpoint import Card, OutputClasses, ThresholdBy
from oltr_core.class_statistics import covariance, measure
from oltr_core.images.transforms import Transform
from oltr_core.inference import classify
from oltr_core.interfaces import AnnotatedFeatures, Outputs, Reference, SelectionContext, concatenate
from oltr_core.learners import ExemplarReplay, ImprintReplay
from oltr_core.metrics.calibration import best_temperature
from oltr_core.metrics.costs import cheapest
from oltr_core.metrics.detection import auroc
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.models.heads import Cosine
from oltr_core.operating.learning import Update, learn
from oltr_core.operating.rejection import (
    accepting_at_most,
    can_reject,
    operating_point,
    reference_from_statistics,
    reference_of_output_classes,
)
from oltr_core.operating.selection import Select, pick
from oltr_core.pseudo_features import correlation, draw
from oltr_core.scores import Energy, Knn, Mahalanobis, Msp, OpenMax, Rmds, operating_threshold
from oltr_core.seeding import torch_generator
from oltr_core.settings.budget import Budget
from oltr_core.settings.costs import Costs
from oltr_core.stages.select import picked
from oltr_core.strategies import CoreSet, KCenter, Mixed
from tests.core.contracts import worlds


def test_openmax_without_held_out_images_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"openmax: expected outputs of held-out images.*set held_out"):
        OpenMax().fit(replace(worlds.reference(), held_out=None))


# --- reference --------------------------------------------------------------------------------------------------
@pytest.fixture
def known():
    """A network of five classes, its statistics with two images kept, and the features they were measured on."""
    network = NetworkSpec(backbone=SmallResNet(widths=(8, 16, 16, 16)))(5, seed=1).eval()
    means = worlds.centroids(5, 1, network.num_features)
    outputs, labels = worlds.around(means, 200, seed=3)
    features = torch.nn.functional.normalize(outputs.features, dim=2)
    network.refresh(features, labels)
    kept = {"features": features[:2], "labels": labels[:2]}
    return network, replace(measure(features, labels, 5), kept=kept), features, labels


def test_a_reference_holds_pseudo_features_of_every_class_then_the_kept_images(known):
    network, statistics, features, labels = known
    reference = reference_from_statistics(network, statistics, seed=4)
    assert torch.bincount(reference.labels[:-2]).tolist() == [50] * 5
    assert reference.labels[-2:].tolist() == labels[:2].tolist()
    factor = correlation(statistics)
    drawn = draw(statistics, reference.labels[:-2], True, torch_generator(4, "reference"), factor)
    torch.testing.assert_close(reference.outputs.features, torch.cat([drawn, features[:2]]))
    torch.testing.assert_close(reference.outputs.logits, network.classify(reference.outputs.features).logits)
    assert reference.class_counts.tolist() == [40] * 5
    assert reference.held_out is None
    assert torch.equal(reference.means, statistics.means)
    assert torch.equal(reference.within, covariance(statistics))


@pytest.fixture(scope="module")
def correlated():
    """Classes whose images differ along few directions: a fit on their features, on statistics, and unknown ones."""
    network = NetworkSpec(backbone=SmallResNet(widths=(8, 16, 16, 16)), normalise=False, head=Cosine())(10).eval()
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q * torch.logspace(0.7, -1, 16)
    means = torch.randn(20, 16, generator=generator)

    def images(classes: torch.Tensor) -> torch.Tensor:
        return (means[classes] + torch.randn(len(classes), 16, generator=generator) @ directions.T)[:, None]

    labels = torch.arange(10).repeat_interleave(60)
    features, test, unknown = images(labels), images(labels), images(labels + 10)
    sides = [network.classify(side) for side in (test, unknown)]
    drawn = reference_from_statistics(network, measure(features, labels, 10), seed=0)
    return Reference(network.classify(features), labels, torch.full((10,), 60.0)), drawn, sides


@pytest.mark.parametrize("score", [Mahalanobis(), Rmds()], ids=lambda s: s.name)
def test_distances_by_class_statistics_rank_images_as_those_by_the_features_themselves(correlated, score):
    real, drawn, sides = correlated
    by_features, by_statistics = (score.fit(reference) for reference in (real, drawn))
    for side in sides:
        close = torch.testing.assert_close
        close(score(side, by_statistics), score(side, by_features), rtol=0.02, atol=0.2)
    assert auroc(*(score(side, by_statistics) for side in sides)) > 0.93


def test_pseudo_features_lie_along_the_directions_that_images_lie_along(correlated):
    real, drawn, sides = correlated
    found = [auroc(*(Knn()(side, Knn().fit(reference)) for side in sides)) for reference in (real, drawn)]
    assert found[1] > found[0] - 0.01


def test_by_the_answers_of_a_card_means_of_columns_that_count_are_left(correlated):
    _, drawn, _ = correlated
    spec = NetworkSpec()
    answers = OutputClasses(ids=list(range(8)), names=[""] * 8, of=[0, -1, 0, *range(1, 8)])
    card = Card(
        class_ids=list(range(10)), class_counts=[60] * 10, network=spec, transform=Transform(), output_classes=answers
    )
    found = reference_of_output_classes(drawn, card)
    assert torch.equal(found.means, drawn.means[:, [0, *range(2, 10)]])
    assert torch.equal(found.within, drawn.within)
    assert found.class_counts.tolist() == [120, *[60] * 7]
    assert set(found.labels.tolist()) == set(range(8))


def test_pseudo_features_have_length_one_only_where_the_networks_have(known):
    network, statistics, *_ = known
    lengths = reference_from_statistics(network, statistics, 0).outputs.features.norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    network.spec = network.spec.model_copy(update={"normalise": False})
    free = reference_from_statistics(network, statistics, 0).outputs.features[:-2].norm(dim=2)
    assert float((free - 1).abs().max()) > 0.05


def test_a_network_without_a_memory_measures_distances_to_the_class_means(known):
    network, statistics, features, _ = known
    network.replace_heads(Cosine())
    outputs = classify(network, features, statistics)
    expected = (features[:, 0, None] - statistics.means[0]).norm(dim=2)
    torch.testing.assert_close(outputs.distances[:, 0], expected, rtol=1e-4, atol=1e-4)
    assert classify(network, features).distances is None


def test_statistics_keep_the_exemplars_that_the_learner_asks_for(known):
    _, _, features, labels = known
    assert Update().learner.measured(features, labels, 5).exemplars == {}
    asked = ExemplarReplay(exemplars=3).measured(features, labels, 5).exemplars
    assert torch.bincount(asked["labels"]).tolist() == [3] * 5


# --- threshold and temperature ----------------------------------------------------------------------------------
def test_the_threshold_is_that_of_what_the_score_sees_and_the_temperature_of_the_outputs_themselves():
    known, scored = worlds.outputs(60, seed=3), worlds.outputs(60, seed=4)
    labels = torch.arange(60) % 5
    for target in (0.5, 0.9):
        point = operating_point(Energy(), worlds.reference(), known, scored, labels, target)
        assert point.threshold == operating_threshold(Energy()(scored, {}), target)
        assert point.threshold != operating_threshold(Energy()(known, {}), target)
        assert point.temperature == best_temperature(known.mean_logits, labels)
        assert point.temperature != best_temperature(scored.mean_logits, labels)


def test_every_class_counts_alike_in_a_threshold_unless_every_image_is_asked_to():
    known, labels = worlds.outputs(60, seed=3), torch.tensor([0] * 50 + [1] * 6 + [2] * 4)
    scores, world = Energy()(known, {}), (worlds.reference(), known, known, labels, 0.8)
    weight = 1 / torch.bincount(labels).double()[labels]

    def kept(threshold: float, of: torch.Tensor) -> float:
        return float((of * (scores <= threshold)).sum() / of.sum())

    for point, of in (
        (operating_point(Energy(), *world), weight),
        (operating_point(Energy(), *world, class_balanced=True), weight),
        (operating_point(Energy(), *world, class_balanced=False), torch.ones(60)),
    ):
        below = float(scores[scores < point.threshold].max())
        assert kept(below, of) < 0.8 - 1e-6 < kept(point.threshold, of)
    assert operating_point(Energy(), *world).threshold != point.threshold


def test_every_shot_group_keeps_its_share_of_known_images():
    known, labels = worlds.outputs(90, seed=3), torch.arange(90) % 3
    reference = replace(worlds.reference(), class_counts=torch.tensor([300, 50, 5]))
    scores = Energy()(known, {})

    def kept(by: ThresholdBy) -> list[float]:
        threshold = operating_point(Energy(), reference, known, known, labels, 0.8, by=by).threshold
        return [float((scores[labels == c] <= threshold).double().mean()) for c in range(3)]

    assert min(kept("known_kept")) < 0.8 <= min(kept("shots_kept")) < 0.84, "no more than it takes"


@pytest.mark.parametrize("most", [0.0, 0.2, 0.5])
def test_at_most_a_share_of_unknown_validation_images_is_accepted_and_no_image_is_rejected_in_vain(most):
    known, unknown = torch.tensor([0.1, 0.2, 0.3, 0.6]), torch.tensor([0.25, 0.4, 0.4, 0.7, 0.9])
    threshold = accepting_at_most(most, known, unknown)
    assert threshold == pytest.approx({0.0: 0.2, 0.2: 0.3, 0.5: 0.3}[most])
    outputs, seen, labels = worlds.outputs(60, seed=3), worlds.outputs(40, seed=4), torch.arange(60) % 5
    how = {"by": "unknown_accepted", "unknown": seen, "unknown_accepted": most}
    point = operating_point(Energy(), worlds.reference(), outputs, outputs, labels, 0.95, **how)
    assert point.threshold == accepting_at_most(most, Energy()(outputs, {}), Energy()(seen, {}))


def test_the_costs_of_errors_choose_the_threshold_by_unknown_validation_images_and_confusions():
    outputs, seen, labels = worlds.outputs(60, seed=3), worlds.outputs(40, seed=4), torch.arange(60) % 5
    right, scores = outputs.mean_logits.argmax(1) == labels, (Energy()(outputs, {}), Energy()(seen, {}))
    found = set()
    for costs in (Costs(), Costs(unknown_accepted=20), Costs(confusion=0, unknown_accepted=0.1)):
        how = {"by": "cheapest", "unknown": seen, "costs": costs}
        point = operating_point(Energy(), worlds.reference(), outputs, outputs, labels, 0.95, **how)
        assert point.threshold == cheapest(costs, scores[0], right, scores[1])
        found.add(point.threshold)
    assert len(found) > 1


def test_where_no_threshold_is_strict_enough_every_image_is_rejected():
    known, unknown = torch.tensor([0.3, 0.5]), torch.tensor([0.1, 0.1])
    assert accepting_at_most(0.5, known, unknown) < 0.1
    assert accepting_at_most(0.5, known, unknown) == pytest.approx(0.1)


@pytest.mark.parametrize(("classes", "rejects"), [(1, False), (10, False), (11, True)])
def test_the_threshold_of_the_paper_can_reject_from_eleven_classes_on(classes, rejects):
    assert can_reject("paper", classes) is rejects
    assert can_reject("known_kept", classes)
    known = Outputs(torch.zeros(1, 1, classes), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))  # as unsure as can be
    labels = torch.zeros(1).long()
    threshold = operating_point(Msp(), worlds.reference(), known, known, labels, 0.5, by="paper").threshold
    assert bool(Msp()(known, {}) > threshold) is rejects
    with pytest.raises(ValueError, match="expected the score msp for the paper's threshold, found entropy"):
        Update(threshold_by="paper")


def test_a_score_is_fitted_with_the_validation_images_as_held_out():
    known, labels = worlds.around(worlds.centroids(), 60, seed=9)
    state = operating_point(OpenMax(), worlds.reference(), known, known, labels, 0.95).state
    expected = OpenMax().fit(replace(worlds.reference(), held_out=known, held_out_labels=labels))
    assert torch.equal(state["weibull"], expected["weibull"])
    assert not torch.equal(state["weibull"], OpenMax().fit(worlds.reference())["weibull"])


# --- learning and selection -------------------------------------------------------------------------------------
def test_the_seed_of_update_is_the_learners_generator(known):
    network, statistics, features, _ = known
    annotated = AnnotatedFeatures(features[:6].flip(2), torch.full((6,), 5))
    learner = ImprintReplay(steps=2)

    def row(seed):
        return learn(Update(seed=seed, learner=learner), network, statistics, annotated)[0].heads[0].weight

    expected, _ = learner(network, statistics, annotated, torch_generator(3, "update"))
    assert torch.equal(row(3), expected.heads[0].weight)
    assert not torch.equal(row(3), row(4))


def test_the_seed_of_select_and_the_generation_are_the_strategys_generator():
    pool, strategy = worlds.outputs(60, seed=2), Mixed(share=0.5)

    def picked(seed, generation):
        return pick(Select(seed=seed, strategy=strategy), pool, 20, generation).indices.tolist()

    assert picked(3, "0001") == strategy(pool, 20, torch_generator(3, "select", "0001")).indices.tolist()
    assert picked(3, "0001") != picked(4, "0001")
    assert picked(3, "0001") != picked(3, "0002")


def test_the_context_is_given_to_a_strategy_that_is_contextual_and_to_no_other():
    pool, (labelled, labels) = worlds.outputs(60, seed=2), worlds.around(worlds.centroids(), 10, seed=6)
    context, g = SelectionContext(labelled=labelled, labels=labels), torch_generator(0, "select", "0001")
    picks = [pick(Select(strategy=s), pool, 20, "0001", context).indices.tolist() for s in (CoreSet(), KCenter())]
    expected = [CoreSet()(pool, 20, g, context), KCenter()(pool, 20, g)]
    assert picks == [of.indices.tolist() for of in expected]
    assert picks[0] != CoreSet()(pool, 20, g).indices.tolist()


def test_a_batch_is_a_share_of_what_arrived_and_no_more_than_its_limit():
    assert Budget().images(278) == 83
    assert [Budget(max_images=50).images(arrivals) for arrivals in (100, 278, 10**6)] == [30, 50, 50]


def test_the_outputs_of_picked_rows_come_in_the_order_of_picking_from_pool_and_labelled_images():
    pool, labelled = worlds.outputs(5, seed=1), worlds.outputs(4, seed=2)
    indices = torch.tensor([7, 1, 5, 4, 0])
    both = concatenate([pool, labelled])
    assert torch.equal(picked(pool, labelled, indices).logits, both.logits[indices])
    assert torch.equal(picked(pool, None, indices[3:]).features, pool.features[indices[3:]])
