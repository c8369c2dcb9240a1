"""Rows in two stages: what they share, and that a variant differs in what its name says."""

from __future__ import annotations

from oltr_core.benchmark import learners, two_stages
from oltr_core.losses import CrossEntropy, Mutual
from oltr_core.models.backbones import Backbone, FusedResNet32
from oltr_core.training import LearningRates, Train
from oltr_core.training.mixing import Mixup


def test_rows_of_as_many_experts_share_a_first_stage_and_train_a_new_classifier_on_its_frozen_trunk():
    rows = two_stages.strong(200)
    assert [row.train.network.experts for row in rows] == [1] * 4 + [3] * 6
    starts = [0] * 4 + [4] * 4 + [8] * 2
    for row, start in zip(rows, starts, strict=True):
        first, *second = row.train.phases
        assert (row.train.network, first) == (rows[start].train.network, rows[start].train.phases[0])
        assert (first.epochs, first.weight_decay, first.head.scale) == (180, 5e-4, 30)
        assert first.learning_rates.trunk == (0.15 if start == 8 else 0.1)
        assert (row.train.augment.policy.name, row.train.augment.cutout) == ("auto_augment", 16)
        assert sum(phase.epochs for phase in second) == 20
        assert all(phase.freeze == ["trunk"] for phase in second)
        assert second[0].fresh_head
    names = [[phase.name for phase in row.train.phases[1:]] for row in rows]
    four = [["classifier"], ["classifier"], ["meta_embedding"], ["classifier", "meta_embedding"]]
    assert names == [*four, *four, ["classifier"], ["meta_embedding"]]
    losses = [[(loss.name, loss.weight) for loss in row.train.phases[1].losses] for row in rows]
    four = [
        [("cross_entropy", 1)],
        [("balanced_softmax", 1)],
        [("cross_entropy", 1), ("large_margin", 0.1)],
        [("balanced_softmax", 1)],
    ]
    summed = [[("balanced_softmax", 3)], [("cross_entropy", 3), ("large_margin", 3 * 0.1)]]
    assert losses == [*four, *four, *summed]


def test_a_second_stage_has_a_tenth_of_the_epochs_and_two_at_least():
    lengths = {epochs: two_stages.strong(epochs)[0].train.phases[1].epochs for epochs in (10, 29, 30, 200)}
    assert lengths == {10: 2, 29: 2, 30: 3, 200: 20}


def test_rows_of_a_set_without_a_long_tail_are_a_plain_network_and_two_stages_on_a_trunk_of_one_or_three_experts():
    plain, *staged = (row.train for row in two_stages.complete(100))
    (phase,) = plain.phases
    assert (phase.epochs, phase.weight_decay, phase.learning_rates.trunk, phase.learning_rates.heads) == (100, 5e-4, 0.1, 0.1)  # fmt: skip # noqa: E501
    assert (plain.network.head.name, plain.network.normalise, plain.network.last_relu) == ("linear", False, True)
    assert (plain.augment.pad, plain.augment.flip, plain.augment.policy, plain.augment.cutout) == (4, True, None, 0)
    assert [train.network.experts for train in staged] == [1, 1, 3, 3]
    assert [train.network.backbone.shared_stages for train in staged] == [2, 2, 3, 3]
    for train in staged:
        first, second = train.phases
        assert (first.epochs, second.epochs, second.freeze, second.fresh_head) == (90, 10, ["trunk"], True)
        assert first == staged[0].phases[0].model_copy(update={"losses": first.losses})
        assert [loss.weight for loss in first.losses] == [train.network.experts]
    losses = [[(loss.name, round(loss.weight, 2)) for loss in train.phases[1].losses] for train in staged]
    of_one = [[("cross_entropy", 1)], [("cross_entropy", 1), ("large_margin", 0.1)]]
    assert losses == [*of_one, *([(name, round(3 * weight, 2)) for name, weight in row] for row in of_one)]


def _first(train: Train, **fields) -> Train:
    return train.model_copy(update={"phases": [train.phases[0].model_copy(update=fields), *train.phases[1:]]})


def _on(train: Train, backbone: Backbone) -> Train:
    return train.model_copy(update={"network": train.network.model_copy(update={"backbone": backbone})})


def test_variants_differ_from_one_another_in_what_their_names_say():
    rows = {row.name: row.train for row in two_stages.variants(200)}
    strong = {row.name: row.train for row in two_stages.strong(200)}
    assert len(rows) == 16
    for second in ("balanced softmax", "OLTR++"):
        base, fused = rows[f"{second}, 3 experts"], rows[f"{second}, 3 experts, fused"]
        assert base == strong[f"{second}, 3 experts"]
        assert fused == strong[f"{second}, 3 experts, fused"]
        assert fused.network.backbone == FusedResNet32(shortcut="project")
        assert (base.network.backbone.name, base.network.backbone.shared_stages) == ("resnet32", 2)
        assert (fused.network.last_relu, base.network.last_relu) == (True, False)

        early = FusedResNet32(shortcut="project", shared_stages=1)
        wide = LearningRates(trunk=0.3, heads=0.3)
        expected = {
            "summed": _on(fused, base.network.backbone),
            "fused, mutual": _first(fused, losses=[CrossEntropy(weight=3), Mutual(weight=3)]),
            "fused, mixup 0.4": _first(fused, mix=Mixup(alpha=0.4)),
            "fused, weight decay 1e-3": _first(fused, weight_decay=1e-3),
            "fused, apart after stage 1": _on(fused, early),
            "fused, batches of 256": _first(fused, batch_size=256, learning_rates=wide),
        }
        for name, train in expected.items():
            assert rows[f"{second}, 3 experts, {name}"] == train, name
        assert fused.phases[0].losses == [CrossEntropy(weight=3)]
        assert fused.phases[0].learning_rates == LearningRates(trunk=0.15, heads=0.15)


def test_learners_on_tiny_imagenet_go_on_from_oltr_with_three_experts():
    (strong,) = (row.train for row in two_stages.strong(200) if row.name == "OLTR++, 3 experts")
    rows = learners.tiny_imagenet_lt(200)
    assert {row.train == strong for row in rows} == {True}
    assert [row.update.learner.name for row in rows] == [
        "imprint_replay", "imprint_replay", "slda", "slda", "ridge", "nearest_class_mean", "imprint", "imprint",
        "lwf", "lwf", "acl", "fine_tune_new_only", "exemplar_replay", "ridge",
    ]  # fmt: skip
    assert rows[-1].update.learner.projection == 2000
