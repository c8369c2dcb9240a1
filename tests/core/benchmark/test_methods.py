"""The rows of the tables: one part at a time, equally many epochs, seeds that never meet."""

from __future__ import annotations

import pytest
import yaml

from oltr_core.benchmark import large_sets, methods, rivals
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.table import TABLES
from oltr_core.models.heads import Cosine, LearnableScale, Linear
from oltr_core.operating.learning import Update


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
    if TABLES[name].recipe:
        return  # these have those of their recipe
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


def test_a_table_takes_the_threads_of_the_machine_or_one_where_its_figures_shall_not_depend_on_them():
    alone = {name for name, table in TABLES.items() if table.threads == 1}
    assert {table.threads for table in TABLES.values()} == {0, 1}
    assert {"cifar100-lt-rivals", "cifar10-lt-rivals", "cifar-world", "digits-cameras"} <= alone
    assert not {name for name in TABLES if "strong" in name} & alone


def test_a_table_is_published_on_three_seeds_at_200_epochs_unless_it_says_otherwise():
    for name in ("cifar10-lt", "cifar100-lt", "cifar100-lt-strong", "cifar100-open", "tiny-imagenet-lt"):
        table = TABLES[name]
        assert (table.seeds, table.tuning, table.epochs, table.threads) == (range(3), range(0), 200, 0)
        assert not table.seeded
    for name, tuning in (("digits", range(100, 110)), ("ablation", range(0))):
        table = TABLES[name]
        assert (table.seeds, table.tuning, table.epochs, table.threads) == (range(5), tuning, 0, 1)
        assert table.seeded


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
    names = ["tau-norm", "cRT", "LWS", "MiSLAS' second stage", "Model Regression", "MetaModelNet"]
    assert [row.name for row in staged] == names
    (generated,) = [row for row in others if row.name == "FSLwF"]
    network = generated.train.network
    assert (network.last_relu, network.head) == (False, Cosine(scale=10.0, learn_scale=True))
    assert generated.train.phases[:1] == plain.train.phases
    for row in staged:
        (second,) = row.train.phases[1:]
        assert second.epochs == 0 or set(second.freeze) & {"trunk", "trunk_weights"}


def test_cRT_and_LWS_learn_a_classifier_and_its_scales_for_ten_epochs_of_class_aware_batches():
    by_name = {row.name: row.train.phases[-1] for row in rivals.cifar100_lt(30)}
    crt, lws = by_name["cRT"], by_name["LWS"]
    for phase in (crt, lws):
        assert (phase.epochs, phase.batch_size, phase.sampler.name) == (10, 128, "class_aware")
        assert (phase.learning_rates.trunk, phase.learning_rates.heads) == (0.05, 0.05), "0.2 is for batches of 512"
    assert (crt.head, crt.fresh_head, crt.freeze) == (Linear(), True, ["trunk"])
    assert (lws.head, lws.fresh_head, lws.freeze) == (LearnableScale(), False, ["trunk", "classifiers"])


@pytest.mark.parametrize("name", [name for name in TABLES if name.endswith("-rivals") or TABLES[name].recipe])
def test_a_figure_published_beside_a_row_is_that_of_one_row(name):
    rows = [row.name for row in TABLES[name].methods(30)]
    for title in TABLES[name].published:
        beside = [row for row in rows if title.startswith(f"{row}, ")]
        assert len(beside) == (", " in title.split(" (")[0]) or title.startswith(("fair", "de-bias")), title


def test_rows_that_are_not_second_stages_have_one_first_stage_each_and_those_of_cifar_are_the_same_methods():
    known = {row.name: row for row in methods.cifar(30)}
    rows = {row.name: row for row in rivals.cifar100_lt(30)}
    for name in ("cross-entropy", "balanced softmax", "LDAM-DRW", "OLTR++"):
        assert rows[name] == known[name]
    losses = {name: [loss.name for loss in row.train.phases[0].losses] for name, row in rows.items()}
    for name in ("lifted", "range"):
        (phase,) = rows[name].train.phases
        assert losses[name] == ["cross_entropy", name]
        assert (phase.sampler.name, phase.losses[1].weight, rows[name].train.network.normalise) == ("class_aware", 0.1, True)  # fmt: skip # noqa: E501
    late = {name: rows[name].train.phases[0].losses[0] for name in ("cost-sensitive", "deferred cost-sensitive")}
    assert [loss.reweight_from for loss in late.values()] == [0, 0.8]
    assert losses["class-balanced cross-entropy"] == losses["class-balanced focal"] == ["class_balanced"]


def test_a_rival_on_a_large_set_has_its_images_and_schedule_and_the_training_of_its_row():
    rows = {row.name: row for row in TABLES["imagenet-lt"].methods(0)}
    ours, plain, focal, staged = (rows[name].train for name in ("OLTR++", "plain model", "focal", "cRT"))
    assert ours.network.head.name == "meta_embedding"
    assert [phase.epochs for phase in ours.phases] == [30, 60]
    (phase,) = plain.phases
    assert (phase.epochs, phase.schedule.form, plain.network.backbone.name) == (90, "step", "resnet10")
    assert plain.transform == focal.transform == ours.transform
    assert focal.phases[0].model_copy(update={"losses": phase.losses}) == phase
    assert staged.phases[0] == phase
    assert staged.phases[1].freeze == ["trunk"]
    text = yaml.safe_load(large_sets.recipe("imagenet-lt", rows["focal"]))
    assert text["train"]["phases"][0]["losses"][0]["name"] == "focal"
    assert text["sources"] == large_sets.config("imagenet-lt")["sources"]


@pytest.mark.parametrize("name", large_sets.RIVALS)
def test_every_row_of_a_large_set_is_trained_for_as_many_epochs(name):
    *others, ours = TABLES[name].methods(0)
    assert ours.name == "OLTR++"
    assert {row.train.phases[0].epochs for row in others} == {sum(phase.epochs for phase in ours.train.phases)}


@pytest.mark.parametrize("name", ["imagenet-lt", "places-lt"])
def test_the_sets_of_table_4_reject_as_the_paper_does(name):
    update = Update.model_validate(large_sets.config(name)["update"])
    assert (update.score.name, update.threshold_by) == ("msp", "paper")


def test_the_exponents_to_choose_from_are_those_between_none_and_full():
    taus = [row.train.phases[1].head.tau for row in rivals.exponents(30)]
    assert taus == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert rivals.TAU in taus
