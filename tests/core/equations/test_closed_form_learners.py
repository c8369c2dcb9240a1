"""`ridge` and `slda` against scikit-learn and against all images at once; `lwf` and replay against formulas."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge as SklearnRidge

from oltr_core.class_statistics import covariance, grow, measure, without_kept
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.learners import (
    AdversarialContinualLearning,
    ExemplarReplay,
    ImprintReplay,
    LearningWithoutForgetting,
    Ridge,
    StreamingLDA,
)
from oltr_core.learners import exemplar_replay as exemplar_replay_module
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Cosine, Linear, MetaEmbedding
from oltr_core.pseudo_features import draw
from tests.core.contracts import worlds
from tests.core.equations.test_learners import features_of

CLOSED = pytest.mark.parametrize("learner", [Ridge(), StreamingLDA()], ids=lambda learner: learner.name)
close = torch.testing.assert_close


def balanced(experts=1, num=15):
    """Classes of equal size, for which the shared covariance is the pooled one."""
    features, labels = features_of([num] * 4, experts=experts, dim=5)
    return features + 3 * torch.randn(4, 1, 5, generator=torch.Generator().manual_seed(3))[labels], labels


def test_slda_is_linear_discriminant_analysis_with_equal_priors():
    features, labels = balanced()
    statistics = measure(features, labels, 4)
    weight, bias = StreamingLDA(shrinkage=1e-9).solve(statistics)
    x = features[:, 0].double().numpy()
    reference = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(4, 0.25)).fit(x, labels.numpy())
    z = x @ weight[0].numpy() + bias[0].numpy()
    apart = z - z[:, :1]
    # scikit-learn divides by n and not by n - K
    ratio = (60 - 4) / 60
    expected = reference.decision_function(x)
    np.testing.assert_allclose(apart, (expected - expected[:, :1]) * ratio, rtol=1e-4, atol=1e-4)


def test_shrinkage_goes_towards_the_mean_variance():
    features, labels = balanced()
    statistics = measure(features, labels, 4)
    within = covariance(statistics)[0]
    shrunk = 0.7 * within + 0.3 * within.trace() / 5 * torch.eye(5).double()
    weight, bias = StreamingLDA(shrinkage=0.3, unbiased=False).solve(statistics)
    means, inverse = statistics.means[0].double(), torch.linalg.inv(shrunk)
    close(weight[0], inverse @ means.T)
    close(bias[0], -0.5 * (means @ inverse * means).sum(1))
    statistics.counts[1] = 3
    less = (inverse @ within).trace() / torch.tensor([15.0, 3, 15, 15]).double()
    close(StreamingLDA(shrinkage=0.3).solve(statistics)[1][0], bias[0] + less / 2)


def test_in_slda_a_mean_of_few_images_is_on_average_not_longer_than_that_of_many():
    """E (m' P m - tr(P S)/n) = mu' P mu: here P = S = I, three dimensions, mu = (1, 2, 0)."""
    generator, mu = torch.Generator().manual_seed(0), torch.tensor([1.0, 2.0, 0.0])
    statistics = measure(torch.randn(400, 1, 3, generator=generator), torch.arange(400) % 100, 100)
    statistics.totals["scatter"] = statistics.totals["degrees"] * torch.eye(3).double()[None]
    draws = torch.randn(20000, 4, 3, generator=generator).mean(1) + mu
    lengths = {}
    for unbiased in (True, False):
        total = 0.0
        for part in draws.split(100):
            statistics.means[:] = part[None]
            total += float(StreamingLDA(unbiased=unbiased).solve(statistics)[1].sum())
        lengths[unbiased] = -2 * total / len(draws)
    assert lengths[True] == pytest.approx(5, abs=0.05)
    assert lengths[False] == pytest.approx(5 + 3 / 4, abs=0.05)


def test_ridge_is_least_squares_on_one_hot_targets_where_every_class_weighs_alike():
    features, labels = balanced()
    statistics = measure(features, labels, 4)
    learner = Ridge(penalty=0.5)
    weight, bias = learner.solve(statistics)
    # the images of each class, brought to the covariance that all share: the mean second moment is m m' + S
    whitened = []
    shared = torch.linalg.cholesky(covariance(statistics)[0])
    for k in range(4):
        x = features[labels == k, 0].double()
        own = torch.linalg.cholesky(torch.cov(x.T, correction=0))
        whitened.append((x - x.mean(0)) @ torch.linalg.inv(own).T @ shared.T + x.mean(0))
    x, targets = torch.cat(whitened).numpy(), np.eye(4)[labels.numpy()]
    # a class of n images with weight 1/n in total: a penalty n times as large
    reference = SklearnRidge(alpha=0.5 * 15).fit(x, targets)
    np.testing.assert_allclose(weight[0].numpy(), reference.coef_.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias[0].numpy(), reference.intercept_, rtol=1e-5, atol=1e-6)


def test_ridge_is_the_same_however_many_images_a_class_has():
    features, labels = balanced()
    first = measure(features, labels, 4)
    more = measure(torch.cat([features, features[labels == 0]]), torch.cat([labels, labels[labels == 0]]), 4)
    shared = {name: first.totals[name] for name in ("scatter", "degrees", "weights")}
    more.totals.update(shared)
    close(Ridge().solve(more)[0], Ridge().solve(first)[0], rtol=1e-6, atol=1e-6)


@CLOSED
def test_updates_one_by_one_and_a_removal_equal_one_update(learner):
    features, labels = features_of([30, 25, 6, 9, 1], dim=16)
    first = (labels < 2) & (torch.arange(len(labels)) % 9 > 0)  # classes of the full training are annotated too
    answered = AnnotatedFeatures(features[~first], labels[~first])
    once = grow(measure(features[first], labels[first], 2), answered)
    statistics = measure(features[first], labels[first], 2)
    assert (answered.labels < 2).sum() == 7
    for part in torch.randperm(23, generator=torch.Generator().manual_seed(0)).split(5):
        statistics = grow(statistics, AnnotatedFeatures(answered.features[part], answered.labels[part]))
    close(learner.solve(statistics), learner.solve(once), rtol=1e-6, atol=1e-6)
    stays = torch.arange(23) != 12
    fewer = grow(
        measure(features[first], labels[first], 2),
        AnnotatedFeatures(answered.features[stays], answered.labels[stays]),
    )
    close(learner.solve(without_kept(once, stays)), learner.solve(fewer), rtol=1e-6, atol=1e-6)


@CLOSED
@pytest.mark.parametrize("head", [MetaEmbedding(), Cosine(), Linear()], ids=lambda head: head.name)
def test_the_logits_are_those_solved_for_at_the_scale_of_the_parents(learner, head):
    parent = NetworkSpec(head=head, experts=2)(4, seed=3).eval()
    means = worlds.centroids(5, 2, parent.num_features)
    outputs, labels = worlds.around(means, 300, 1, noise=0.06)
    features = torch.nn.functional.normalize(outputs.features, dim=2)
    old = labels < 4
    generator = torch.Generator().manual_seed(0)
    answered = AnnotatedFeatures(features[~old][:9], labels[~old][:9])
    network, statistics = learner(parent, measure(features[old], labels[old], 4), answered, generator)
    weight, bias = learner.solve(statistics)
    with torch.no_grad():
        z = network.classify(features).logits.double()
    expected = torch.einsum("bed,edk->bek", features.double(), weight) + bias
    scale = float((z * expected).sum() / expected.square().sum())
    close(z, scale * expected, rtol=1e-3, atol=1e-3)
    pseudo = draw(statistics, torch.arange(2000) % 5, True, torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (n.classify(pseudo).mean_logits for n in (parent, network))
    close((after.amax(1) - after.mean(1)).mean(), (before.amax(1) - before.mean(1)).mean())
    assert network.spec.head == Linear()


def test_lwf_is_cross_entropy_on_an_images_own_side_and_a_distilled_rest():
    learner = LearningWithoutForgetting(temperature=2.0, weight=3.0)
    z = torch.tensor([[1.0, -0.5, 0.3, 2.0], [0.2, 0.4, -1.0, 0.6]])
    before, labels = torch.tensor([[0.8, -0.1], [0.5, 0.1]]), torch.tensor([3, 0])
    new = -torch.log_softmax(z[0, 2:], 0)[1]
    known = -torch.log_softmax(z[1, :2], 0)[0]
    p, q = torch.softmax(before / 2, 1), torch.softmax(z[:, :2] / 2, 1)
    distilled = (p * (p / q).log()).sum(1).mean()
    close(learner.loss(z, before, labels), (new + known) / 2 + 3 * 4 * distilled)


def test_the_distillation_of_lwf_keeps_the_parents_logits_on_the_answered_images():
    parent = NetworkSpec(head=Cosine(), experts=2)(4, seed=3).eval()
    outputs, labels = worlds.around(worlds.centroids(6, 2, parent.num_features), 48, 1)
    features = torch.nn.functional.normalize(outputs.features, dim=2)
    new = AnnotatedFeatures(features, labels)
    old = measure(features[labels < 4], labels[labels < 4], 4)

    def moved(weight):
        learner = LearningWithoutForgetting(weight=weight)
        network, _ = learner(parent, old, new, torch.Generator().manual_seed(0))
        with torch.no_grad():
            before, after = (n.classify(features).logits[..., :4].log_softmax(2) for n in (parent, network))
        return float((before - after).abs().mean())

    assert moved(30.0) < moved(0.0) / 2


def test_random_rows_of_lwf_learn_alone_before_all_rows_do():
    """One step of SGD by hand, on the cross-entropy among the new classes, from random rows as long as the old."""
    parent = NetworkSpec(head=Linear(), experts=2)(2, seed=3).eval()
    outputs, labels = worlds.around(worlds.centroids(5, 2, parent.num_features), 24, 1)
    old = measure(outputs.features[labels < 2], labels[labels < 2], 2)
    some = (labels > 0) & (torch.arange(len(labels)) % 2 == 0)  # of a known class, and of three new ones
    new = AnnotatedFeatures(outputs.features[some], labels[some])
    learner = LearningWithoutForgetting(begin="random", steps=1, batch_size=16, learning_rate=0.5)

    generator = torch.Generator().manual_seed(7)
    expected = torch.randn(2, 3, parent.num_features, generator=generator)
    of_new = new.labels >= 2
    which = torch.randint(int(of_new.sum()), (16,), generator=generator)
    features, target = new.features[of_new][which], new.labels[of_new][which] - 2
    network, _ = learner.warmed_up(parent, old, new, torch.Generator().manual_seed(7))
    for e, (before, head) in enumerate(zip(parent.heads, network.heads, strict=True)):
        length = before.weight.data.norm(dim=1).mean()
        rows = (torch.nn.functional.normalize(expected[e], dim=1) * length).requires_grad_()
        logits = features[:, e] @ rows.T + before.bias.data.mean()
        torch.nn.functional.cross_entropy(logits, target).backward()
        close(head.weight.data[2:], rows.data - 0.5 * rows.grad)
        assert torch.equal(head.weight.data[:2], before.weight.data)

    both = learner.model_copy(update={"weight": 0.0, "steps": 60})
    network, statistics = both(parent, old, new, torch.Generator().manual_seed(7))
    logits = network.classify(new.features).mean_logits
    assert torch.equal(logits[of_new][:, 2:].argmax(1) + 2, new.labels[of_new])
    assert statistics.counts[2:].tolist() == torch.bincount(new.labels)[2:].tolist()
    # among its new classes a set without new ones asks for nothing
    known = AnnotatedFeatures(new.features[~of_new], new.labels[~of_new])
    network, _ = learner(parent, old, known, torch.Generator().manual_seed(7))
    assert network.num_classes == 2
    assert not network.training
    gap = AnnotatedFeatures(new.features[labels[some] == 3], new.labels[labels[some] == 3])
    with pytest.raises(ValueError, match="class column 2 has no image"):
        learner(parent, old, gap, torch.Generator())


def test_acl_adds_a_reversed_guess_of_the_task_and_the_overlap_of_shared_and_private():
    generator = torch.Generator().manual_seed(0)
    shared, private, told = (torch.randn(n, 3, generator=generator, requires_grad=True) for n in (4, 4, 2))
    tasks = torch.tensor([0, 0, 1, 1])
    guess = -sum((shared[i] @ told.T).log_softmax(0)[tasks[i]] for i in range(4)) / 4
    s, p = ((side[2:] / side[2:].norm(dim=1, keepdim=True)).detach() for side in (shared, private))
    overlap = sum(float(s[:, i] @ p[:, j]) ** 2 for i in range(3) for j in range(3)) / 9
    learner = AdversarialContinualLearning(adversarial=0.5, orthogonal=0.2)
    close(learner.terms(shared, private, told, tasks), 0.5 * guess + 0.2 * overlap)
    alone = AdversarialContinualLearning(adversarial=0.5, orthogonal=0.0).terms(shared, private, told, tasks)
    of_terms, of_guess = (torch.autograd.grad(loss, (shared, told), retain_graph=True) for loss in (alone, guess))
    close(of_terms[0], -0.5 * of_guess[0])  # S hides the task,
    close(of_terms[1], 0.5 * of_guess[1])  # d looks for it


def test_acl_moves_new_rows_alone_and_leaves_them_as_long_as_the_old_ones():
    parent = NetworkSpec(head=Linear())(2, seed=3).eval()
    outputs, labels = worlds.around(worlds.centroids(4, 1, parent.num_features), 48, 1)
    old = measure(outputs.features[labels < 2], labels[labels < 2], 2)
    learner = AdversarialContinualLearning(steps=3)
    network, _ = learner(parent, old, AnnotatedFeatures(outputs.features, labels), torch.Generator().manual_seed(0))
    rows, before = network.heads[0].weight, parent.heads[0].weight
    assert torch.equal(rows[:2], before)
    close(rows[2:].norm(dim=1), before.norm(dim=1).mean().expand(2))
    imprinted, _ = learner.imprint(parent, old, AnnotatedFeatures(outputs.features, labels), torch.Generator())
    moved = (rows[2:] - imprinted.heads[0].weight[2:]).detach().norm(dim=1)
    assert float(moved.min()) > 1e-4
    assert float(moved.max()) < 0.2 * float(before.detach().norm(dim=1).mean())


def test_the_rows_of_acl_are_those_of_its_equations_under_momentum_written_out():
    learner = AdversarialContinualLearning(adversarial=0.5, orthogonal=0.2, steps=4, learning_rate=0.3)
    first, dim, half = 2, 5, 3
    head = Linear()(4, dim)
    g = torch.Generator().manual_seed(2)
    batches = [
        (torch.randn(6, 1, dim, generator=g), torch.tensor([0, 1, 0, 1, 1, 0]), torch.randn(3, 1, dim, generator=g))
        for _ in range(4)
    ]
    drawn = iter(batches)
    found = learner.rows(head, 0, first, lambda: next(drawn), torch.Generator().manual_seed(7))

    weight, bias = head.weight.detach(), head.bias.detach()
    both = torch.nn.init.orthogonal_(torch.empty(2 * half, dim), generator=torch.Generator().manual_seed(7))
    s, p, d = both[:half].clone(), both[half:].clone(), torch.zeros(2, half)
    a, b = (weight[first:] @ torch.linalg.pinv(both)).split(half, 1)
    velocity = [torch.zeros_like(t) for t in (s, p, a, b, d)]
    for features, labels, known in batches:
        s, p, a, b, d = (t.clone().requires_grad_() for t in (s, p, a, b, d))
        x, old = features[:, 0], known[:, 0]
        logits = x @ (a @ s + b @ p).T + bias[first:]
        told = torch.cat([old, x]) @ s.T @ d.T
        guess = torch.nn.functional.cross_entropy(told, torch.tensor([0] * 3 + [1] * 6))
        unit = torch.nn.functional.normalize
        overlap = (unit(x @ s.T, dim=1).T @ unit(x @ p.T, dim=1)).square().sum() / half**2
        main = torch.nn.functional.cross_entropy(logits, labels) + 0.2 * overlap
        of_main = torch.autograd.grad(main, (s, p, a, b), retain_graph=True)
        of_s, of_d = torch.autograd.grad(guess, (s, d))
        gradients = (of_main[0] - 0.5 * of_s, *of_main[1:], 0.5 * of_d)
        velocity = [0.9 * v + gradient for v, gradient in zip(velocity, gradients, strict=True)]
        s, p, a, b, d = (t.detach() - 0.3 * v for t, v in zip((s, p, a, b, d), velocity, strict=True))
    close(found, a @ s + b @ p, rtol=1e-4, atol=1e-5)
    assert float((found - weight[first:]).norm()) > 0.1


def test_exemplars_are_replayed_as_they_are_and_classes_without_any_from_the_memory(monkeypatch):
    parent = NetworkSpec(head=Cosine())(3, seed=0).eval()
    features, labels = features_of([30, 30, 30, 4], dim=parent.num_features, experts=1)
    old = labels < 3
    statistics = measure(features[old], labels[old], 3, exemplars=5)
    of_two = {name: tensor[statistics.exemplars["labels"] < 2] for name, tensor in statistics.exemplars.items()}
    statistics.exemplars.update(of_two)
    drawn = []

    def watch(network, batch, *_):
        drawn.extend(batch() for _ in range(50))

    monkeypatch.setattr(exemplar_replay_module, "fine_tune", watch)
    answered = AnnotatedFeatures(features[~old], labels[~old])
    ExemplarReplay(per_class=3)(parent, statistics, answered, torch.Generator().manual_seed(0))
    seen, whose = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    stored = torch.cat([of_two["features"], answered.features]).flatten(1)
    real = (seen.flatten(1)[:, None] == stored).all(2).any(1)
    assert torch.equal(real, whose != 2)
    assert torch.bincount(whose).tolist() == [150] * 4
    among = {tuple(row) for row in seen[whose == 0].flatten(1).tolist()}
    assert among == {tuple(row) for row in of_two["features"][of_two["labels"] == 0].flatten(1).tolist()}


def test_full_replay_differs_from_diagonal_replay_and_is_as_repeatable():
    parent = NetworkSpec()(4, seed=3).eval()
    outputs, labels = worlds.around(worlds.centroids(5, 1, parent.num_features), 120, 1)
    features = torch.nn.functional.normalize(outputs.features, dim=2)
    old = labels < 4
    statistics = measure(features[old], labels[old], 4)

    def rows(covariance):
        learner = ImprintReplay(covariance=covariance, steps=3)
        answered = AnnotatedFeatures(features[~old], labels[~old])
        network, _ = learner(parent, statistics, answered, torch.Generator().manual_seed(0))
        return network.head_state()["heads.0.classifier.weight"]

    assert torch.equal(rows("full"), rows("full"))
    assert not torch.equal(rows("full"), rows("diagonal"))
