"""Heads that learn how weights of few images become weights of many, against loops and scikit-learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from oltr_core.models import NetworkSpec
from oltr_core.models.heads import (
    Cosine,
    Linear,
    MetaModelNet,
    ModelRegression,
    WeightGenerator,
    few_shot,
    meta_model_net,
    model_regression,
    weight_generator,
)
from oltr_core.shots import FEW
from oltr_core.training import Phase, fit
from tests.core.training.worlds import NETWORK, recipe, world
from tests.core.written_out import descent

COUNTS = [40, 33, 26, 9, 5, 2, 1]
unit = torch.nn.functional.normalize


def drawn(seed: int = 0, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [N, D], scattered around a mean for each class, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    means = 2 * torch.randn(len(COUNTS), dim, generator=generator)
    return means[labels] + torch.randn(len(labels), dim, generator=generator), labels


def of_sklearn(x: torch.Tensor, mine: torch.Tensor, share: torch.Tensor, cost: float) -> np.ndarray:
    machine = LinearSVC(C=cost, loss="squared_hinge", dual=False, fit_intercept=False, tol=1e-10, max_iter=10000)
    return machine.fit(x.numpy(), mine.numpy(), sample_weight=share.numpy()).coef_[0]


def test_the_machines_are_those_of_liblinear_on_every_share_of_the_images():
    features, labels = drawn()
    x, mine = few_shot.with_one(features).double(), labels == 1
    share = torch.rand(3, len(x), dtype=torch.float64) * (torch.rand(3, len(x)) > 0.4)
    found = few_shot.svm(x, 2.0 * mine.double()[None] - 1, share, 7.0)
    for w, of in zip(found, share, strict=True):
        np.testing.assert_allclose(w, of_sklearn(x, mine, of, 7.0), rtol=1e-4, atol=1e-5)


def test_one_against_all_weighs_both_sides_alike():
    features, labels = drawn()
    x = few_shot.with_one(features).double()
    found = few_shot.from_all(x, labels, len(COUNTS), 3.0)
    for k, number in enumerate(COUNTS):
        mine = labels == k
        share = torch.where(mine, 0.5 / number, 0.5 / (len(x) - number)).double()
        np.testing.assert_allclose(found[k], of_sklearn(x, mine, share, 3.0), rtol=1e-4, atol=1e-5)


def test_a_class_without_an_image_has_a_machine_that_says_no():
    x = few_shot.with_one(drawn()[0]).double()
    found = few_shot.from_all(x[:40], torch.zeros(40).long() + torch.arange(40) % 2, 3, 3.0)
    assert found.shape == (3, 7)
    assert bool((x[:40] @ found[2] < 0).all())


def test_pairs_are_machines_of_so_many_images_beside_those_of_all(monkeypatch):
    features, labels = drawn()
    x = few_shot.with_one(features).double()
    many = few_shot.from_all(x, labels, len(COUNTS), 3.0)
    seen = []
    real = few_shot.svm
    monkeypatch.setattr(
        few_shot, "svm", lambda x, y, share, cost: seen.append((y[0], share)) or real(x, y, share, cost)
    )
    pairs = few_shot.pairs_of(x, labels, [0, 2], many, (1, 4, 50), 3.0, torch.Generator().manual_seed(0))
    assert pairs.few.shape == (6, 7)
    assert torch.equal(pairs.many, many[[0, 0, 0, 2, 2, 2]])
    for (y, share), number in zip(seen, (40, 26), strict=True):
        assert int((y > 0).sum()) == number
        assert [int((of > 0)[y > 0].sum()) for of in share] == [1, 4, number]
        torch.testing.assert_close(share[:, y > 0].sum(1), torch.full((3,), 0.5, dtype=x.dtype))
        torch.testing.assert_close(share[:, y < 0].sum(1), torch.full((3,), 0.5, dtype=x.dtype))
    rows = {tuple(row.tolist()): int(k) for row, k in zip(x, labels, strict=True)}
    for m in range(6):
        assert {rows[tuple(row.tolist())] for row in pairs.positives[m]} == {(0, 2)[m // 3]}
        assert (0, 2)[m // 3] not in {rows[tuple(row.tolist())] for row in pairs.negatives[m]}


def test_the_loss_of_the_regression_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    few, many, found = (torch.randn(3, 4, generator=generator) for _ in range(3))
    positives, negatives = torch.randn(3, 5, 4, generator=generator), torch.randn(3, 5, 4, generator=generator)
    apart, length, hinge = 0.0, 0.0, 0.0
    for m in range(3):
        apart += float(((found[m] - many[m]) ** 2).sum()) / 3
        length += float((many[m] ** 2).sum()) / 3
        for i in range(5):
            hinge += max(0.0, 1 - float(found[m] @ positives[m, i])) / 30
            hinge += max(0.0, 1 + float(found[m] @ negatives[m, i])) / 30
    loss = few_shot.regression_loss(found, few_shot.Pairs(few, many, positives, negatives), 0.7)
    assert float(loss) == pytest.approx(apart / length + 0.7 * hinge, rel=1e-5)


def test_the_regression_brings_weights_of_few_images_nearer_to_those_of_all():
    """Of every class, w* = -2 w⁰: the network learns it and says so of weights that it has not seen."""
    generator = torch.Generator().manual_seed(0)
    few, new = torch.randn(200, 5, generator=generator), torch.randn(50, 5, generator=generator)
    x = torch.zeros(200, 1, 5)
    torch.manual_seed(1)
    transform = model_regression.network(5)

    @torch.no_grad()
    def error() -> float:
        return float((transform(new) + 2 * new).square().mean())

    before = error()
    few_shot.regress(transform, transform, few_shot.Pairs(few, -2 * few, x, x), 0.0, 400, 0.05, generator)
    assert error() < 0.5 * before


def test_the_regression_descends_on_batches_of_128_pairs_at_a_rate_that_falls_to_zero_by_a_cosine():
    torch.manual_seed(0)
    found, expected = (torch.nn.Linear(4, 4) for _ in range(2))
    expected.load_state_dict(found.state_dict())
    pairs = few_shot.Pairs(*(torch.randn(9, *shape) for shape in ((4,), (4,), (5, 4), (6, 4))))
    g, steps = torch.Generator().manual_seed(3), 5

    def loss() -> torch.Tensor:
        rows = torch.randint(9, (128,), generator=g)
        batch = few_shot.Pairs(*(part[rows] for part in pairs))
        return few_shot.regression_loss(expected(batch.few), batch, 0.7)

    rates = [0.1 * (1 + np.cos(np.pi * step / steps)) / 2 for step in range(steps)]
    descent(list(expected.parameters()), loss, rates, nesterov=False)
    few_shot.regress(found, found, pairs, 0.7, steps, 0.1, torch.Generator().manual_seed(3))
    torch.testing.assert_close(dict(found.named_parameters()), dict(expected.named_parameters()))
    assert not found.training


def test_episodes_train_the_generator_by_nesterovs_momentum_at_the_published_rates(monkeypatch):
    features, labels = drawn()
    spec = SPEC.model_copy(update={"steps": 6, "learning_rate": 0.3})
    torch.manual_seed(0)
    head = spec(len(COUNTS), features.shape[1])
    model = weight_generator.Generator(spec, head.weight.data[:3])
    first, g = copy.deepcopy(model.state_dict()), torch.Generator().manual_seed(5)
    rates = [0.3 * factor for factor in (1, 1, 0.06, 0.06, 0.012, 0.0024)]
    descent(
        list(model.parameters()),
        lambda: model.loss(weight_generator.draw(COUNTS[:3], spec, g), features[: sum(COUNTS[:3])]),
        rates, nesterov=True,
    )  # fmt: skip
    real = weight_generator.Generator

    def begun(*args):
        made = real(*args)
        made.load_state_dict(first)
        return made

    monkeypatch.setattr(weight_generator, "Generator", begun)
    head.build(features, labels, torch.Generator().manual_seed(5))
    torch.testing.assert_close(head.weight.data[:3], model.base.data)
    torch.testing.assert_close(head.scale, model.scale.data)
    assert not torch.allclose(head.weight.data[:3], first["base"])


def test_the_transformation_has_four_layers_of_the_sources_widths_without_a_bias_at_first():
    made = model_regression.network(8)
    assert [(layer.in_features, layer.out_features) for layer in made[::2]] == [(8, 12), (12, 12), (12, 10), (10, 8)]
    assert [layer.negative_slope for layer in made[1::2]] == [0.01] * 3
    assert all(not layer.bias.any() for layer in made[::2])


def built(spec, features, labels):
    head = spec(len(COUNTS), features.shape[1])
    head.build(features, labels, torch.Generator().manual_seed(0))
    return head


def directions(head, features, w: torch.Tensor) -> torch.Tensor:
    """The classifiers [K, D + 1] of a head, in the units of `with_one` and at the length of `w`."""
    size = features.norm(dim=1).mean()
    found = torch.cat([head.weight.detach() * size, head.bias.detach()[:, None]], 1)
    return found * (w.norm() / found.norm())


def test_model_regression_transforms_the_rare_classes_alone(monkeypatch):
    features, labels = drawn()
    x = few_shot.with_one(features)
    w = few_shot.from_all(x, labels, len(COUNTS), 100.0)
    learned = []

    def doubled(module, transform, pairs, *_):
        learned.append(pairs)
        for layer in module[::2]:
            torch.nn.init.eye_(layer.weight)
            torch.nn.init.constant_(layer.bias, 10.0)  # so that every unit is positive

    monkeypatch.setattr(model_regression, "regress", doubled)
    head = built(ModelRegression(few=9, resamples=2), features, labels)
    expected = torch.where(torch.tensor(COUNTS)[:, None] <= 9, w + 40, w)
    torch.testing.assert_close(directions(head, features, expected), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(learned[0].many, w[[0] * 10 + [1] * 10 + [2] * 10])


def test_a_class_enters_meta_model_net_at_the_block_of_its_number_of_images(monkeypatch):
    features, labels = drawn()
    w = few_shot.from_all(few_shot.with_one(features), labels, len(COUNTS), 100.0)
    trained = []

    def constant(module, transform, pairs, *_):
        """Block number i adds 10^i; it learns from the classes with more than 2^(i+1) images."""
        i = 3 - len(trained)
        trained.append((i, len(pairs.few)))
        torch.testing.assert_close(transform(pairs.few) - pairs.few, torch.full_like(pairs.few, 1e3) * 0 + sum(10.0**j for j in range(i + 1, 4)))  # fmt: skip # noqa: E501
        torch.nn.init.constant_(module[-1].bias, 10.0**i)

    monkeypatch.setattr(meta_model_net, "regress", constant)
    head = built(MetaModelNet(blocks=4, resamples=2), features, labels)
    assert trained == [(3, 2 * 3), (2, 2 * 4), (1, 2 * 5), (0, 2 * 5)]
    # 40, 33 and 26 images are beyond the last block; 9 = 2^3 + 1; 5 = 2^2 + 1; 2; 1
    added = torch.tensor([0.0, 0.0, 0.0, 1000.0, 1100.0, 1110.0, 1111.0])
    expected = w + added[:, None]
    torch.testing.assert_close(directions(head, features, expected), expected, rtol=1e-3, atol=1e-1)


def test_a_block_of_meta_model_net_is_a_residual_that_changes_nothing_at_first():
    torch.manual_seed(0)
    chain, w = meta_model_net.Chain(5, 3), torch.randn(4, 5)
    assert torch.equal(chain(w, 0), w)
    for block in chain.blocks:
        torch.nn.init.normal_(block[-1].weight)
    assert not torch.allclose(chain(w, 1), w)
    expected = w
    for block in list(chain.blocks)[1:]:
        hidden = expected / (1 + 1e-5) ** 0.5  # of a batch normalisation that has seen nothing
        hidden = torch.where(hidden > 0, hidden, 0.01 * hidden) @ block[2].weight.T + block[2].bias
        hidden = hidden / (1 + 1e-5) ** 0.5
        expected = expected + torch.where(hidden > 0, hidden, 0.01 * hidden) @ block[5].weight.T
    torch.testing.assert_close(chain(w, 1), expected)


SPEC = WeightGenerator(few=9, novel=2, shots=3, queries=4, episodes=5, steps=3)


def generator_of(num_base: int = 3, dim: int = 6) -> weight_generator.Generator:
    torch.manual_seed(1)
    model = weight_generator.Generator(SPEC, torch.randn(num_base, dim))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def generated(model, features: torch.Tensor, keyed: list[int]) -> torch.Tensor:
    """The equation of `WeightGenerator`, image by image."""
    total = torch.zeros(features.shape[1])
    mean = torch.zeros(features.shape[1])
    for x in features:
        u = x / x.norm()
        query = model.query.weight @ u + model.query.bias
        scores = [model.attention_scale * torch.cosine_similarity(query, model.keys[b], 0) for b in keyed]
        shares = torch.stack(scores).softmax(0)
        total = total + sum(s * model.base[b] / model.base[b].norm() for s, b in zip(shares, keyed, strict=True))
        mean = mean + u
    return model.average * mean / len(features) + model.attention * total / len(features)


def test_generated_weights_equal_the_equation_and_a_class_played_to_be_new_has_no_key():
    model, features = generator_of(), torch.randn(2, 4, 6)
    keyed = torch.tensor([[True, True, False], [True, True, True]])
    found = model.generate(features, keyed)
    torch.testing.assert_close(found[0], generated(model, features[0], [0, 1]))
    torch.testing.assert_close(found[1], generated(model, features[1], [0, 1, 2]))


def test_the_loss_of_the_episodes_equals_a_loop():
    features, labels = drawn()
    counts, model = COUNTS[:3], generator_of()
    episodes = weight_generator.draw(counts, SPEC, torch.Generator().manual_seed(0))
    losses = []
    for e in range(SPEC.episodes):
        played = episodes.played[e].tolist()
        weight = list(model.base)
        for j, k in enumerate(played):
            others = [b for b in range(3) if b not in played]
            weight[k] = generated(model, features[episodes.shown[e, j]], others)
        for row, label in zip(episodes.queries[e].tolist(), episodes.labels[e].tolist(), strict=True):
            assert int(labels[row]) == label
            cosines = [torch.cosine_similarity(features[row], w, 0) for w in weight]
            losses.append(-(model.scale * torch.stack(cosines)).log_softmax(0)[label])
    torch.testing.assert_close(model.loss(episodes, features), torch.stack(losses).mean())


def test_a_generator_begins_with_a_query_that_is_almost_the_feature_itself():
    torch.manual_seed(0)
    made = weight_generator.Generator(SPEC, torch.randn(3, 32))
    assert float((made.query.weight.data - torch.eye(32)).std()) == pytest.approx(0.001, rel=0.1)
    assert float(made.keys.data.std()) == pytest.approx((2 / 32) ** 0.5, rel=0.3)
    assert not made.query.bias.any()


def test_an_episode_shows_some_images_of_the_classes_it_plays_and_asks_about_others():
    episodes = weight_generator.draw(COUNTS[:3], SPEC, torch.Generator().manual_seed(0))
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS[:3]))
    for e in range(SPEC.episodes):
        played, shown = episodes.played[e].tolist(), episodes.shown[e]
        assert len(set(played)) == 2
        assert [labels[rows].tolist() for rows in shown] == [[k] * 3 for k in played]
        assert len(set(shown.flatten().tolist())) == 6
        assert not set(shown.flatten().tolist()) & set(episodes.queries[e].tolist())
        asked = episodes.labels[e].tolist()
        assert asked[:4] == [k for k in played for _ in range(2)]
        assert not set(asked[4:]) & set(played)
        assert len(asked) == 8


def test_the_rows_of_rare_classes_are_generated_from_all_their_images_and_the_scale_is_learned(monkeypatch):
    features, labels = drawn()
    kept = []
    real = weight_generator.Generator
    monkeypatch.setattr(weight_generator, "Generator", lambda *a: kept.append(real(*a)) or kept[-1])
    torch.manual_seed(0)
    head = built(SPEC, features, labels)
    (model,) = kept
    assert torch.equal(head.weight[:3], model.base)
    for k in range(3, 7):
        torch.testing.assert_close(head.weight[k], generated(model, features[labels == k], [0, 1, 2]))
    assert head.scale.item() == model.scale.item() != SPEC.scale
    logits = head(features).logits
    torch.testing.assert_close(logits, model.scale * unit(features, dim=1) @ unit(head.weight, dim=1).T)


@pytest.mark.parametrize(("fraction", "factor"), [(0.0, 1), (0.33, 1), (0.34, 0.06), (0.7, 0.012), (0.84, 0.0024)])
def test_the_rate_of_the_episodes_falls_as_published(fraction, factor):
    assert weight_generator.factor(fraction) == factor


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (WeightGenerator(), "weight_generator needs two classes of 21 images .few: 20; .* found 0"),
        (ModelRegression(), "model_regression needs a class of more than few: 20 images, found none"),
    ],
)
def test_without_classes_to_learn_from_they_say_what_is_missing(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        spec(2, 3).build(torch.randn(8, 3), torch.arange(8) % 2, torch.Generator())


SMALL = [
    ModelRegression(few=2, resamples=1, steps=2),
    MetaModelNet(blocks=2, resamples=1, steps=2),
    WeightGenerator(few=6, novel=1, shots=2, queries=2, steps=2),
]


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_a_phase_of_no_epochs_makes_the_head_of_every_expert_and_rests_the_trunk(spec):
    images, labels = world()
    first = Phase(name="first", epochs=1, head=Linear(), batch_size=8)
    network = NETWORK.model_copy(update={"experts": 2, "head": Linear()})
    trunks, heads = [], []
    for phases in ([first], [first, Phase(name="few", epochs=0, head=spec)], [first, Phase(name="few", epochs=0, head=spec)]):  # fmt: skip # noqa: E501
        train = recipe(network=network, phases=phases)
        made = train.network(4, 0)
        list(fit(made, images, labels, train))
        trunks.append(made.trunk_state())
        heads.append(made.head_state())
    assert all(torch.equal(trunks[0][name], trunks[1][name]) for name in trunks[0])
    assert all(torch.equal(heads[1][name], heads[2][name]) for name in heads[1]), "drawn from named generators"
    for e in range(2):
        assert not torch.allclose(unit(heads[0][f"heads.{e}.weight"]), unit(heads[1][f"heads.{e}.weight"]))
    assert not torch.allclose(heads[1]["heads.0.weight"], heads[1]["heads.1.weight"])


def test_few_images_are_as_many_as_the_figures_of_few_count():
    assert WeightGenerator().few == ModelRegression().few == FEW
    assert model_regression.SHOTS == (1, 2, 4, 8, 16), "learned from: powers of two below that"


def test_a_cosine_head_is_not_made_from_features():
    assert not NetworkSpec(head=Cosine())(3).builds_heads
