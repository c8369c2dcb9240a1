"""The rows of the tables: one part at a time, equally many epochs, seeds that never meet."""

from __future__ import annotations

import pytest

from oltr_core.benchmark import methods, rivals
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.table import TABLES
from oltr_core.losses import BalancedSoftmax, LogitAdjusted
from oltr_core.training import LearningRates
from oltr_core.training.mixing import Mixup


def test_the_ablation_switches_every_part_off_once():
    rows = methods.ablation(0)
    assert len({row.name for row in rows}) == len(rows) == 11
    full = rows[0].train
    assert all(row.train != full for row in rows[1:])


def test_the_first_row_of_the_digits_is_every_default():
    first, *others = methods.digits(0)
    assert first == Method(name="OLTR++")
    assert all((row.update.score, row.select) != (first.update.score, first.select) for row in others)


@pytest.mark.parametrize("name", TABLES)
def test_all_rows_of_a_table_train_for_as_many_epochs(name):
    rows = TABLES[name].methods(200)
    of_rivals = TABLES[name].methods in (rivals.cifar100_lt, rivals.exponents)  # second stages come on top
    totals = {sum(p.epochs for p in row.train.phases if not (of_rivals and p.name == "second stage")) for row in rows}
    assert totals == {200 if TABLES[name].epochs else 60}


def test_a_row_is_what_its_spec_would_accept():
    for table in TABLES.values():
        for row in table.methods(table.epochs):
            assert type(row).model_validate(row.model_dump(mode="json")) == row


def test_seeds_for_tuning_and_for_publishing_never_meet():
    assert any(table.tuning for table in TABLES.values())
    for table in TABLES.values():
        assert not set(table.tuning) & set(table.seeds)


def test_a_table_is_published_on_three_seeds_at_200_epochs_unless_it_says_otherwise():
    for name in ("cifar10-lt", "cifar100-lt", "cifar100-lt-strong", "cifar100-open", "tiny-imagenet-lt"):
        table = TABLES[name]
        assert (table.seeds, table.tuning, table.epochs, table.threads) == (range(3), range(0), 200, 0)
        assert not table.seeded
    for name, tuning in (("digits", range(100, 110)), ("ablation", range(0))):
        table = TABLES[name]
        assert (table.seeds, table.tuning, table.epochs, table.threads) == (range(5), tuning, 0, 1)
        assert table.seeded


def test_the_strong_rows_share_a_first_stage_and_train_a_new_classifier_on_its_frozen_trunk():
    rows = methods.cifar_strong(200)
    assert [row.train.network.experts for row in rows] == [1] * 4 + [3] * 4
    for row in rows:
        first, *second = row.train.phases
        assert (row.train.network, first) == (rows[4 * (row.train.network.experts > 1)].train.network, first)
        assert (first.epochs, first.weight_decay, first.learning_rates.trunk, first.head.scale) == (
            180,
            5e-4,
            0.1,
            30,
        )
        assert (row.train.augment.policy.name, row.train.augment.cutout) == ("auto_augment", 16)
        assert sum(phase.epochs for phase in second) == 20
        assert all(phase.freeze == ["trunk"] for phase in second)
        assert second[0].fresh_head
    names = [[phase.name for phase in row.train.phases[1:]] for row in rows[:4]]
    assert names == [["classifier"], ["classifier"], ["meta_embedding"], ["classifier", "meta_embedding"]]
    losses = [[loss.name for loss in row.train.phases[1].losses] for row in rows[:4]]
    assert losses[:2] == [["cross_entropy"], ["balanced_softmax"]]
    assert losses[2:] == [["cross_entropy", "large_margin"], ["balanced_softmax"]]


def test_the_variants_differ_from_the_strong_recipe_in_what_their_names_say():
    base, *others = methods.cifar_variants(200)
    (strong,) = (row for row in methods.cifar_strong(200) if row.name == "balanced softmax, 3 experts")
    assert base.train == strong.train

    def change(train, **fields):
        first = train.phases[0].model_copy(update=fields)
        return train.model_copy(update={"phases": [first, *train.phases[1:]]})

    later = base.train.network.backbone.model_copy(update={"shared_stages": 1})
    priors = [LogitAdjusted(tau=(0.0, 1.0, 2.0))]
    alone = base.train.model_copy(update={"phases": base.train.phases[:1]})
    rates = LearningRates(trunk=0.15, heads=0.15)
    expected = {
        "learning rate 0.15": change(base.train, learning_rates=rates),
        "mixup 0.4": change(base.train, mix=Mixup(alpha=0.4)),
        "weight decay 1e-3": change(base.train, weight_decay=1e-3),
        "experts part after stage 1": base.train.model_copy(
            update={"network": base.train.network.model_copy(update={"backbone": later})}
        ),
        "balanced softmax in both stages": change(base.train, losses=[BalancedSoftmax()]),
        "priors": change(alone, epochs=200, losses=priors),
        "priors, mixup 0.4": change(alone, epochs=200, losses=priors, mix=Mixup(alpha=0.4)),
    }
    assert {row.name: row.train for row in others} == expected


@pytest.mark.parametrize(("epochs", "phases"), [(200, (160, 40)), (30, (24, 6)), (4, (3, 1))])
def test_the_second_phase_of_oltr_has_a_fifth_of_the_epochs_and_an_epoch_at_least(epochs, phases):
    for row in methods.cifar(epochs):
        found = tuple(phase.epochs for phase in row.train.phases)
        assert found == (phases if row.name.startswith("OLTR") else (epochs,))


def test_the_rows_of_cifar_step_as_published_and_the_second_phase_of_oltr_gently():
    for row in methods.cifar(200):
        first, *second = row.train.phases
        assert {(p.batch_size, p.weight_decay) for p in row.train.phases} == {(128, 2e-4)}
        assert (first.schedule.warmup, first.learning_rates) == (0.05, type(first)(name="x", epochs=1).learning_rates)
        for phase in second:
            assert (phase.schedule.warmup, phase.learning_rates.trunk, phase.learning_rates.heads) == (
                0.0,
                0.01,
                0.05,
            )


def test_second_stages_of_the_rivals_begin_with_the_row_of_cross_entropy_and_leave_its_trunk_alone():
    plain, *others = rivals.cifar100_lt(30)
    first = plain.train.model_copy(update={"phases": plain.train.phases[:1]})
    assert plain.train == first
    staged = [row for row in others if row.train.model_copy(update={"phases": row.train.phases[:1]}) == first]
    names = ["tau-norm", "cRT", "LWS", "MiSLAS' second stage", "FSLwF", "Model Regression", "MetaModelNet"]
    assert [row.name for row in staged] == names
    for row in staged:
        (second,) = row.train.phases[1:]
        assert second.epochs == 0 or set(second.freeze) & {"trunk", "trunk_weights"}
    assert all(name.split(",")[0] in {row.name for row in (plain, *others)} for name in TABLES["cifar100-lt-rivals"].published)  # fmt: skip # noqa: E501


def test_the_exponents_to_choose_from_are_those_between_none_and_full():
    taus = [row.train.phases[1].head.tau for row in rivals.exponents(30)]
    assert taus == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert rivals.TAU in taus
