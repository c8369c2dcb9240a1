"""Every learner: the parent is untouched, old columns keep place and meaning, no answers change nothing."""

import copy

import pytest
import torch
from pydantic import TypeAdapter

from oltr_core import learners
from oltr_core.class_statistics import measure
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Cosine, Linear, MetaEmbedding
from tests.core.contracts import worlds

RIDGE = learners.Ridge(projection=300)
MEMBERS = pytest.mark.parametrize(
    "learner",
    [*(member() for member in learners.MEMBERS), RIDGE],
    ids=lambda m: "projected" if m == RIDGE else m.name,
)
HEADS = pytest.mark.parametrize("head", [MetaEmbedding(), Cosine(), Linear()], ids=lambda h: h.name)
OLD, NEW = 4, 2


def world(head, experts=1):
    """A parent that knows 4 classes by their means, its statistics, and answers on 6 classes."""
    network = NetworkSpec(head=head, experts=experts)(OLD, seed=3).eval()
    means = worlds.centroids(OLD + NEW, experts, network.num_features)
    features, labels = scattered(means, 240, seed=1)
    old = labels < OLD
    network.refresh(features[old], labels[old])
    for e, part in enumerate(network.heads):
        part.weight.data = means[e, :OLD].clone() * (1 if head.name == "meta_embedding" else 12)
    answered, answers = scattered(means, 48, seed=2)
    return (
        network,
        measure(features[old], labels[old], OLD),
        AnnotatedFeatures(answered, answers),
        scattered(means, 120, seed=4),
    )


def scattered(means, num, seed):
    outputs, labels = worlds.around(means, num, seed, noise=0.06)
    return torch.nn.functional.normalize(outputs.features, dim=2), labels


def learn(learner, parent, old, new, seed=0):
    return learner(parent, old, new, torch.Generator().manual_seed(seed))


def state(network):
    return copy.deepcopy(network.state_dict())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@MEMBERS
@HEADS
def test_the_network_names_new_classes_and_still_names_the_old_ones(learner, head):
    parent, old, new, (features, labels) = world(head)
    network, statistics = learn(learner, parent, old, new)
    with torch.no_grad():
        right = network.classify(features).mean_logits.argmax(1) == labels
    assert network.num_classes == len(statistics.counts) == OLD + NEW
    assert float(right[labels < OLD].float().mean()) > 0.9
    assert float(right[labels >= OLD].float().mean()) > 0.9
    assert not network.training


@MEMBERS
@pytest.mark.parametrize("experts", [1, 2])
def test_the_parent_and_its_statistics_stay_as_they_are(learner, experts):
    parent, old, new, _ = world(MetaEmbedding(), experts)
    before, means, counts = state(parent), old.means.clone(), old.counts.clone()
    network, _ = learn(learner, parent, old, new)
    assert same(state(parent), before)
    assert torch.equal(old.means, means)
    assert torch.equal(old.counts, counts)
    assert len(old.kept["labels"]) == 0
    for name, tensor in network.trunk_state().items():
        assert torch.equal(tensor, before[name])


@MEMBERS
def test_without_answers_nothing_changes(learner):
    parent, old, new, _ = world(MetaEmbedding())
    network, statistics = learn(learner, parent, old, AnnotatedFeatures(new.features[:0], new.labels[:0]))
    assert network is not parent
    assert same(state(network), state(parent))
    assert statistics is old


@MEMBERS
def test_answers_about_known_classes_alone_add_no_column(learner):
    parent, old, new, _ = world(MetaEmbedding())
    known = new.labels < OLD
    network, statistics = learn(learner, parent, old, AnnotatedFeatures(new.features[known], new.labels[known]))
    assert network.num_classes == OLD
    assert statistics.counts.sum() == old.counts.sum() + known.sum()


@MEMBERS
def test_the_same_generator_learns_the_same_network(learner):
    parent, old, new, _ = world(MetaEmbedding())
    assert same(state(learn(learner, parent, old, new)[0]), state(learn(learner, parent, old, new)[0]))


@MEMBERS
def test_a_class_of_one_image_can_be_learned_and_a_class_of_none_is_refused(learner):
    parent, old, new, _ = world(MetaEmbedding())
    one = AnnotatedFeatures(new.features[4:5], torch.tensor([OLD]))
    network, statistics = learn(learner, parent, old, one)
    assert network.num_classes == OLD + 1
    assert all(torch.isfinite(tensor).all() for tensor in state(network).values())
    assert torch.isfinite(statistics.stds).all()
    with pytest.raises(ValueError, match="column 4 has no image"):
        learn(learner, parent, old, AnnotatedFeatures(new.features[4:5], torch.tensor([OLD + 1])))


@MEMBERS
def test_a_second_update_remembers_the_classes_of_the_first(learner):
    if learner.name == "fine_tune_new_only":
        return  # the control: its forgetting is shown below
    parent, old, new, (features, labels) = world(MetaEmbedding())
    first, last = new.labels <= OLD, new.labels == OLD + 1
    network, statistics = learn(learner, parent, old, AnnotatedFeatures(new.features[first], new.labels[first]))
    network, statistics = learn(learner, network, statistics, AnnotatedFeatures(new.features[last], new.labels[last]))
    with torch.no_grad():
        right = network.classify(features).mean_logits.argmax(1) == labels
    assert float(right.float().mean()) > 0.9
    assert len(statistics.kept["labels"]) == len(new.labels)


@MEMBERS
def test_of_a_full_training_every_learner_keeps_class_statistics_and_its_own_needs(learner):
    features, labels = scattered(worlds.centroids(3, 2), 90, seed=1)
    found, plain = learner.measured(features, labels, 3), measure(features, labels, 3)
    torch.testing.assert_close(found.means, plain.means)
    torch.testing.assert_close(found.totals, plain.totals)
    assert found.counts.tolist() == plain.counts.tolist()
    assert bool(found.projected) is (learner == RIDGE)
    assert bool(found.exemplars) is (learner.name == "exemplar_replay")
    if found.exemplars:
        assert found.exemplars["labels"].bincount().tolist() == [20] * 3
        few = learner.model_copy(update={"exemplars": 4}).measured(features, labels, 3)
        assert few.exemplars["labels"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
        torch.testing.assert_close(few.exemplars, measure(features, labels, 3, exemplars=4).exemplars)


def test_fine_tuning_on_new_answers_alone_forgets_a_look_alike_and_replay_keeps_it():
    parent, old, _, (features, labels) = world(MetaEmbedding())
    means = worlds.centroids(OLD + NEW, 1, parent.num_features)
    alike = torch.nn.functional.normalize(0.8 * means[:, 0] + 0.6 * means[:, OLD], dim=-1)
    new, _ = scattered(alike[:, None], 20, seed=5)
    answered = AnnotatedFeatures(new, torch.full((20,), OLD))
    right = {}
    for learner in (learners.FineTuneNewOnly(), learners.ImprintReplay()):
        network, _ = learn(learner, parent, old, answered)
        with torch.no_grad():
            right[learner.name] = network.classify(features[labels == 0]).mean_logits.argmax(1) == 0
    assert float(right["fine_tune_new_only"].float().mean()) < 0.5
    assert float(right["imprint_replay"].float().mean()) > 0.9


def test_the_union_lists_every_member_once_under_its_name():
    for member in learners.MEMBERS:
        assert isinstance(TypeAdapter(learners.Learner).validate_python({"name": member().name}), member)
        assert f"`{member().name}`" in learners.__doc__
