"""Two generations of the embedded digits through update, evaluate and select, from files to files."""

import io
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

from flows.cli import oltr
from oltr_core import checkpoint, digest, engine, ledger, manifest_rows, metrics, schema
from oltr_core.images.shards import Shards
from oltr_core.inference import features_of
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import Layout
from oltr_core.metrics.comparison import binomial_interval
from oltr_core.operating.parent import refusals
from oltr_core.operating.solved_rows import has_solved_rows
from oltr_core.params import load_params
from oltr_core.prediction import images_at, predict, predictions
from oltr_core.prediction.trade_off import costs
from oltr_core.preflight import advice
from oltr_core.scores import Energy, Entropy
from oltr_core.settings.costs import Costs
from oltr_core.settings.whole import load_settings
from oltr_core.stages import contact_sheet, curate, evaluate, gold, ingest, select, selection_context, update
from oltr_core.stages.evaluate import NOT_YET
from tests.core.elsewhere import Elsewhere
from tests.core.stages import loop_world as world


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Generation 0, computed and sealed, its questions answered."""
    layout = world.make(tmp_path_factory.mktemp("first"))
    world.compute(layout)
    world.seal(layout, "0000")
    world.answer(layout, "0000")
    return layout


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    """Generation 1 beside a copy of generation 0."""
    layout = copied(first, tmp_path_factory.mktemp("second"))
    ingest.run(load_settings(layout), layout, "batch-1")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update, evaluate, select)
    return layout


def copied(layout: Layout, root) -> Layout:
    shutil.copytree(layout.root, root, dirs_exist_ok=True)
    return Layout(root)


def values(layout: Layout, stage: str) -> dict[str, float]:
    return json.loads(layout.work.metrics(stage).read_text())


def absent(layout: Layout, stage: str) -> dict[str, str]:
    return json.loads(layout.work.absent(stage).read_text())


def table(path, kind) -> list[dict]:
    return schema.read(path, kind).to_pylist()


# --- update -----------------------------------------------------------------------------------------------------
def test_after_a_full_training_the_model_is_the_trained_network_with_a_score(first):
    generation = first.generation("0000")
    base, model = checkpoint.load(generation.base_model), checkpoint.load(generation.model)
    assert (base.card.trunk_digest, base.card.head_digest) == (model.card.trunk_digest, model.card.head_digest)
    assert base.card.threshold is None
    assert model.card.score == {"name": "entropy"}
    assert model.card.class_counts == [int(n) for n in model.statistics.counts]


def test_the_threshold_keeps_95_percent_of_the_known_validation_images(first):
    model = checkpoint.load(first.generation("0000").model)
    manifest = {row["image_id"]: row for row in table(first.generation("0000").manifest, schema.MANIFEST)}
    scores = [
        row["score"]
        for row in table(first.generation("0000").predictions, schema.PREDICTIONS)
        if row["split"] == "val" and manifest[row["image_id"]]["class_id"] is not None
    ]
    assert len(scores) == 60
    assert sum(score <= model.card.threshold + 1e-6 for score in scores) == 57


def test_after_an_update_each_class_counts_alike_in_the_threshold(second):
    """The new classes have fewer validation images; the mean of the classes' accepted shares is 95 percent."""
    model = checkpoint.load(second.work.model)
    classes = {row["image_id"]: row["class_id"] for row in table(second.work.manifest, schema.MANIFEST)}
    of: dict[int, list[float]] = {}
    for row in table(second.work.predictions, schema.PREDICTIONS):
        if row["split"] == "val" and classes[row["image_id"]] is not None:
            of.setdefault(classes[row["image_id"]], []).append(row["score"])
    assert len({len(scores) for scores in of.values()}) > 1

    def accepted(threshold: float) -> float:
        return sum(sum(s <= threshold for s in scores) / len(scores) for scores in of.values()) / len(of)

    below = max(s for scores in of.values() for s in scores if s < model.card.threshold - 1e-6)
    assert accepted(below + 1e-6) < 0.95 <= accepted(model.card.threshold + 1e-6)


def test_the_threshold_of_version_0_1_counts_images(second, tmp_path):
    layout = copied(second, tmp_path / "w")
    layout.params.write_text(layout.params.read_text() + "\nupdate: {class_balanced: false}\n")
    world.compute(layout, update, evaluate)
    card = checkpoint.read_card(layout.work.model)
    assert not card.class_balanced
    classes = {row["image_id"]: row["class_id"] for row in table(layout.work.manifest, schema.MANIFEST)}
    scores = sorted(
        row["score"]
        for row in table(layout.work.predictions, schema.PREDICTIONS)
        if row["split"] == "val" and classes[row["image_id"]] is not None
    )
    assert card.threshold == pytest.approx(scores[math.ceil(0.95 * len(scores)) - 1], abs=1e-6)


def test_a_threshold_may_be_tuned_on_validation_images_of_unknown_classes_and_the_card_says_so(second, tmp_path):
    layout = copied(second, tmp_path / "w")
    layout.params.write_text(
        layout.params.read_text() + "\nupdate: {threshold_by: unknown_accepted, unknown_accepted: 0.3}\n"
    )
    with pytest.raises(ValueError, match="unknown_accepted needs validation images of classes that the model"):
        world.compute(layout, update)
    rows, columns = table(layout.work.manifest, schema.MANIFEST), checkpoint.read_card(layout.work.model).class_ids
    open_ = [row for row in rows if row["split"] == "test" and row["class_id"] not in columns]
    for row in open_[: len(open_) // 2]:
        row["split"] = "val"
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    world.compute(layout, update, evaluate)
    card = checkpoint.read_card(layout.work.model)
    assert (card.threshold_by, card.tuned_on_unknown) == ("unknown_accepted", len(open_) // 2)
    assert values(layout, "update")["update/tuned_on_unknown"] == len(open_) // 2
    tuned = [
        r
        for r in table(layout.work.predictions, schema.PREDICTIONS)
        if r["split"] == "val" and r["true_class_id"] == -1
    ]
    assert len(tuned) == len(open_) // 2
    accepted = sum(not row["rejected"] for row in tuned) / len(tuned)
    assert 0.3 - 1 / len(tuned) < accepted <= 0.3
    errors = Costs(unknown_accepted=20, confusion=5, unknown_share=0.3)
    text = layout.params.read_text().replace("threshold_by: unknown_accepted", "threshold_by: cheapest")
    layout.params.write_text(text.replace("0.3}", f"0.3, costs: {errors.model_dump_json()}}}"))
    world.compute(layout, update, evaluate)
    card = checkpoint.read_card(layout.work.model)
    assert (card.threshold_by, card.costs, card.tuned_on_unknown) == ("cheapest", errors, len(open_) // 2)
    now, _, best = costs(layout.work, [0.95], errors)
    assert (now.name, best.name) == ("now", "cheapest")
    assert now.threshold == pytest.approx(best.threshold, abs=1e-7)
    assert now[2:] == best[2:]
    assert costs(layout.work, [], errors.model_copy(update={"unknown_accepted": 0}))[1].threshold > best.threshold


def test_the_threshold_of_the_paper_is_warned_of_where_it_can_never_reject(first, tmp_path, capsys):
    layout = copied(first, tmp_path / "w")
    layout.params.write_text(layout.params.read_text() + "\nupdate: {threshold_by: paper, score: {name: msp}}\n")
    world.compute(layout, update, evaluate)
    assert "with 6 classes the largest softmax probability is never below 0.1" in capsys.readouterr().err
    assert values(layout, "update")["update/can_reject"] == 0
    assert values(layout, "evaluate")["open/unknown_recall"] == 0


def test_an_update_adds_the_found_classes_after_the_old_columns(first, second):
    before, after = checkpoint.load(first.generation("0000").model), checkpoint.load(second.work.model)
    old = len(before.card.class_ids)
    assert after.card.class_ids[:old] == before.card.class_ids
    assert after.card.class_names[:old] == before.card.class_names
    assert len(after.card.class_ids) == after.network.num_classes == old + 2
    assert after.card.trunk_digest == before.card.trunk_digest
    assert after.card.parent == "0000"
    assert values(second, "update")["update/added_classes"] == 2
    learned = int(values(second, "update")["update/learned_images"])
    assert sum(after.card.class_counts) - sum(before.card.class_counts) == learned
    assert len(after.statistics.kept["labels"]) == learned


def test_an_update_reads_no_image_of_the_full_training(first, tmp_path, monkeypatch):
    layout = copied(first, tmp_path / "w")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate)
    read: list[str] = []
    manifest = {row["image_id"]: row for row in table(layout.work.manifest, schema.MANIFEST)}
    base = {row["image_id"] for row in table(layout.work.base, schema.MANIFEST) if row["split"] == "train"}
    places = {(r["batch"], r["shard"], r["row"]): i for i, r in manifest.items()}
    original = update.features_of

    def watched(images, *arguments, **named):
        columns = (images.column(name).to_pylist() for name in ("batch", "shard", "row"))
        read.extend(places[place] for place in zip(*columns, strict=True))
        return original(images, *arguments, **named)

    monkeypatch.setattr(update, "features_of", watched)
    world.compute(layout, update)
    assert read
    assert not base & set(read)


def test_an_update_reads_neither_the_train_section_nor_a_base_model(first, tmp_path):
    """The recipe is the one on the parent's card."""
    layout = copied(first, tmp_path / "w")
    world.opened(layout, "0001", "0000", "update")
    params = yaml.safe_load(layout.params.read_text()) | {"train": {"nonsense": 1}}
    layout.params.write_text(yaml.safe_dump(params))
    layout.work.base_model.unlink()
    world.compute(layout, curate, update)
    parent = checkpoint.read_card(layout.generation("0000").model)
    assert checkpoint.read_card(layout.work.model).recipe == parent.recipe


def test_an_edited_parent_stops_an_update(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate)
    with layout.generation("0000").model.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="sealed generation was changed"):
        world.compute(layout, update)


def test_without_a_validation_image_there_is_no_threshold_and_a_sentence_says_so(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    manifest = [row for row in table(layout.work.manifest, schema.MANIFEST) if row["split"] != "val"]
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, manifest), schema.MANIFEST)
    with pytest.raises(ValueError, match=r"needs validation images of known classes.*val_share"):
        world.compute(layout, update)


def test_without_new_annotations_the_model_stays_as_it_was(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    shutil.rmtree(layout.annotations_of("0000"))
    *before, imported = layout.ledger.read_bytes().splitlines(keepends=True)
    assert b'"imported"' in imported
    layout.ledger.write_bytes(b"".join(before))
    ledger.write_head(layout.ledger)
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update)
    assert (
        checkpoint.read_card(layout.work.model).head_digest
        == checkpoint.read_card(layout.generation("0000").model).head_digest
    )


@pytest.fixture(scope="module")
def third(second, tmp_path_factory):
    """About to make generation 2 of generation 1, whose rows the default learner solved."""
    layout = copied(second, tmp_path_factory.mktemp("third"))
    world.seal(layout, "0001")
    world.answer(layout, "0001", world.truth_of(layout, "batch-1"))
    world.opened(layout, "0002", "0001", "update")
    world.compute(layout, curate)
    return layout


def updating(layout: Layout, root, **section) -> Layout:
    """A copy with this section `update`."""
    layout = copied(layout, root)
    layout.params.write_text(layout.params.read_text() + f"\nupdate: {json.dumps(section)}\n")
    return layout


@pytest.mark.parametrize("learner", ["imprint", "lwf", "acl", "fine_tune_new_only", "nearest_class_mean"])
def test_a_learner_that_would_replace_known_classes_on_solved_rows_is_refused(third, learner, tmp_path):
    layout = updating(third, tmp_path / "w", learner={"name": learner})
    sentence = f"params.yaml: update.learner: {learner} would replace known classes by new ones.*0001 has.*of slda"
    with pytest.raises(ValueError, match=sentence):
        world.compute(layout, update)
    opened = ledger.Event("opened", "0001", "o", world.AT.isoformat(), {"parent": "0000", "mode": "update"})
    for event in (opened, ledger.Event("promoted", "0001", "d", world.AT.isoformat())):
        ledger.append(layout.ledger, event)
    (said,) = advice.about_champion(load_params(layout), layout)
    assert f"params.yaml: {said}".startswith(f"params.yaml: update.learner: {learner} would replace known classes")
    params = yaml.safe_load(layout.params.read_text())
    layout.params.write_text(yaml.safe_dump(params | {"schedule": {"full_training_every": 1}}))
    assert not list(advice.about_champion(load_params(layout), layout))


@pytest.mark.parametrize("learner", ["ridge", "imprint_replay", "exemplar_replay"])
def test_a_learner_that_tunes_or_solves_every_row_goes_on_from_solved_ones(third, learner, tmp_path):
    layout = updating(third, tmp_path / "w", learner={"name": learner})
    world.compute(layout, update, evaluate)
    assert values(layout, "evaluate")["loop/known_accuracy"] > 0.6
    why = absent(layout, "evaluate").get("open_by_score/energy/auroc", "")
    assert ("by " + learner + " on class rows that slda or ridge solved" in why) == (learner != "ridge")


@pytest.mark.parametrize("named", ["slda", "lwf"])
def test_of_a_model_that_was_linear_before_the_learner_of_its_own_update_counts(third, named, tmp_path):
    layout = copied(third, tmp_path / "w")
    generation = layout.generation("0001")
    model = checkpoint.load(generation.model)
    card = model.card.model_copy(update={"recipe": {}})
    checkpoint.save(generation.model, model.network, card, model.score_state, model.statistics)
    assert not has_solved_rows(generation)
    generation.run.write_text("mode: update\n")
    generation.params.write_text(f"update: {{learner: {{name: {named}}}}}\n")
    assert has_solved_rows(generation) == (named == "slda")


def test_a_score_that_solved_rows_made_useless_is_refused_under_another_learner(third, tmp_path):
    section = {"learner": {"name": "imprint_replay"}, "score": {"name": "energy"}}
    with pytest.raises(ValueError, match=r"params.yaml: update.score: energy tells no unknown images on class rows"):
        world.compute(updating(third, tmp_path / "w", **section), update)
    section["learner"] = {"name": "ridge"}
    world.compute(updating(third, tmp_path / "v", **section), update)


@pytest.mark.parametrize("key", ["learner", "imprint"])
def test_weights_by_distances_to_a_memory_are_refused_for_a_head_without_one(third, key, tmp_path):
    energy = {"name": "imprint", "weights": "energy"}
    learner = energy if key == "learner" else {"name": "imprint_replay", "imprint": energy}
    path = "weights" if key == "learner" else "imprint.weights"
    layout = updating(third, tmp_path / "w", learner=learner)
    wanted = f"update.learner.{path}: energy needs the memory of a meta_embedding head, found the head linear of"
    assert any(said.startswith(wanted) for said in refusals(load_params(layout).update, layout.generation("0001")))
    with pytest.raises(ValueError, match=r"^params.yaml: update.learner"):
        world.compute(layout, update)


# --- evaluate ---------------------------------------------------------------------------------------------------
def test_the_loop_is_absent_at_generation_0_and_measured_after_an_update(first, second):
    names = {n for n in values(second, "evaluate") if n.startswith("loop/")}
    assert {"loop/known_accuracy", "loop/unknown_accuracy", "loop/forgetting"} <= names
    before = first.generation("0000").folder / "metrics"
    assert not any(n.startswith("loop/") for n in json.loads((before / "evaluate.json").read_text()))
    reasons = json.loads((before / "evaluate.absent.json").read_text())
    assert {n for n in reasons if n.startswith("loop/")} == names
    assert reasons["loop/known_accuracy"] == NOT_YET


def test_closed_accuracy_is_that_of_the_predictions_file_among_the_first_six_classes(first):
    generation = first.generation("0000")
    manifest = {row["image_id"]: row for row in table(generation.manifest, schema.MANIFEST)}
    right = [
        row["class_id"] == manifest[row["image_id"]]["class_id"]
        for row in table(generation.predictions, schema.PREDICTIONS)
        if row["split"] == "test" and manifest[row["image_id"]]["class_id"] is not None
    ]
    measured = json.loads((generation.folder / "metrics" / "evaluate.json").read_text())
    assert len(right) == 126  # seven of ten; the gate judges on the rest
    assert measured["closed/overall"] == pytest.approx(sum(right) / 126)


def test_every_sealed_figure_lies_in_its_interval(second):
    page = json.loads(second.work.intervals.read_text())
    measured = values(second, "evaluate")
    assert (page["level"], page["resamples"]) == (0.95, 1000)
    groups = {"closed", "now", "open", "loop"}
    rest = {"open/threshold", "open/classes", "loop/average_incremental", "loop/forgetting", "loop/backward_transfer"}
    assert set(page["figures"]) == {name for name in measured if name.split("/")[0] in groups} - rest
    assert all(low <= measured[name] <= high for name, (low, high) in page["figures"].items())
    assert page["figures"]["loop/unknown_accuracy"][0] < page["figures"]["loop/unknown_accuracy"][1]


def test_an_open_class_that_nobody_found_counts_as_wrong(first, second):
    audit = json.loads(second.work.audit.read_text())["open_classes"]
    assert len(audit) == 2
    found = table(second.work.predictions, schema.PREDICTIONS)
    predictions = {r["image_id"]: r["class_id"] for r in found if r["split"] == "test"}
    rows = table(second.work.manifest, schema.MANIFEST)
    asked = [r for r in rows if r["image_id"] in predictions and r["label"] in audit]
    right = sum(predictions[r["image_id"]] == r["class_id"] for r in asked) / len(asked)
    assert values(second, "evaluate")["loop/unknown_accuracy"] == pytest.approx(right)
    model = checkpoint.load(first.generation("0000").model)
    test = manifest_rows.of_splits(schema.read(second.work.manifest, schema.MANIFEST), "test")
    nobody = metrics.Evaluation(
        logits=torch.zeros(test.num_rows, 6),
        labels=manifest_rows.columns(test, model.card.class_ids, other=-1),
        was_open=torch.tensor([label in audit for label in test.column("label").to_pylist()]),
        open_classes=4,
        shots=torch.ones(6),
        groups=["0000"] * 6,
    )
    assert nobody.loop(torch.zeros(test.num_rows), 1.0, []).values["loop/unknown_accuracy"] == 0


def test_predictions_are_about_every_image_that_was_not_trained_on(second):
    predictions = table(second.work.predictions, schema.PREDICTIONS)
    manifest = table(second.work.manifest, schema.MANIFEST)
    expected = {row["image_id"] for row in manifest if row["split"] in ("test", "val", "pool")}
    assert {row["image_id"] for row in predictions} == expected
    assert all(0 <= row["probability"] <= 1 for row in predictions)


def test_every_plot_is_there_and_the_history_remembers_the_parent(second):
    names = {path.name for path in second.work.plots.iterdir()}
    assert names == {
        f"{name}.csv"
        for name in ("roc", "risk", "score_histogram", "reliability", "per_class", "confusion", "history")
    }
    history = [line.split(",")[:2] for line in (second.work.plots / "history.csv").read_text().splitlines()[1:]]
    assert history == [["0000", "0000"], ["0001", "0000"], ["0001", "0001"]]


def test_other_scores_are_measured_beside_the_cards_own(second):
    groups = {name.split("/")[1] for name in values(second, "evaluate") if name.startswith("open_by_score/")}
    own_or_void = {Entropy().name, Energy().name}
    assert groups == {score.name for score in load_params(second).evaluate.scores} - own_or_void


def test_a_score_that_perturbs_images_is_measured_like_the_others(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    params = load_params(layout)
    text = layout.params.read_text() + "\nevaluate: {scores: [{name: odin}, {name: knn}, {name: openmax}]}\n"
    layout.params.write_text(text)
    assert load_params(layout).evaluate != params.evaluate
    world.compute(layout, evaluate)
    assert {"open_by_score/odin/auroc", "open_by_score/knn/auroc", "open_by_score/openmax/auroc"} <= set(
        values(layout, "evaluate")
    )


@pytest.mark.parametrize("stage", [update, evaluate, select])
def test_a_stage_run_again_writes_the_same_bytes(second, stage, tmp_path):
    layout = copied(second, tmp_path / "w")
    before = digest.of_folder(layout.work.folder)
    world.compute(layout, stage)
    assert digest.of_folder(layout.work.folder) == before


# --- select -----------------------------------------------------------------------------------------------------
def test_the_budget_is_a_share_of_the_newest_arrivals_and_leftovers_do_not_raise_it(second):
    selection = table(second.work.selection, schema.SELECTION)
    assert values(second, "select")["select/budget"] == round(0.3 * 278)
    assert len(selection) == 83
    assert [row["rank"] for row in selection] == list(range(83))


def test_only_pool_images_are_asked_about_and_none_twice(second):
    manifest = {row["image_id"]: row for row in table(second.work.manifest, schema.MANIFEST)}
    asked = [row["image_id"] for row in table(second.work.selection, schema.SELECTION)]
    assert {manifest[image]["split"] for image in asked} == {"pool"}
    before = {row["image_id"] for row in table(second.generation("0000").selection, schema.SELECTION)}
    assert not before & set(asked)


@pytest.fixture(scope="module")
def golden(second, tmp_path_factory):
    """The second generation's batch with gold items, one image in ten."""
    layout = copied(second, tmp_path_factory.mktemp("golden"))
    params = yaml.safe_load(layout.params.read_text()) | {"budget": {"gold": 0.1}}
    layout.params.write_text(yaml.safe_dump(params))
    world.compute(layout, select)
    return layout


def test_gold_items_are_training_images_in_the_place_of_chosen_ones_whose_columns_they_take(second, golden):
    before, after = (table(place.work.selection, schema.SELECTION) for place in (second, golden))
    taken = [n for n, row in enumerate(after) if row["strategy"] == "gold"]
    assert len(taken) == 9, "a tenth of 83, rounded up"
    assert values(golden, "select")["select/gold"] == 9
    assert values(second, "select")["select/gold"] == 0
    manifest = {row["image_id"]: row for row in table(golden.work.manifest, schema.MANIFEST)}
    drawn = [manifest[after[n]["image_id"]] for n in taken]
    assert {(row["split"], row["label_source"]) for row in drawn} == {("train", "source")}
    assert len({row["image_id"] for row in after}) == len(after) == len(before)
    for n, (old, new) in enumerate(zip(before, after, strict=True)):
        same = {"image_id", "strategy"} if n in taken else set()
        assert {name for name in old if old[name] != new[name]} == same
    assert taken != list(range(9)), "they are anywhere in the batch"


def test_the_picture_of_the_batch_shows_the_gold_items_and_equal_seeds_draw_them_again(second, golden, tmp_path):
    again = copied(golden, tmp_path)
    world.compute(again, select)
    assert again.work.selection.read_bytes() == golden.work.selection.read_bytes()
    assert again.work.contact_sheet.read_bytes() == golden.work.contact_sheet.read_bytes()
    rows = table(golden.work.selection, schema.SELECTION)
    place = next(n for n, row in enumerate(rows) if row["strategy"] == "gold")
    known = schema.read(golden.work.manifest, schema.MANIFEST).to_pylist()
    mine = pa.Table.from_pylist([row for row in known if row["image_id"] == rows[place]["image_id"]])
    alone = contact_sheet.draw(Shards(golden.raw).read_many(mine), [str(place + 1)])
    (here,) = contact_sheet.tiles(golden.work.contact_sheet.read_bytes(), [place])
    (there,) = contact_sheet.tiles(alone, [0])
    (without,) = contact_sheet.tiles(second.work.contact_sheet.read_bytes(), [place])
    assert (here == there).all()
    assert (here != without).any()


def test_gold_items_take_no_place_of_a_cluster_or_of_a_label_in_doubt(composed):
    layout, _ = composed
    selection = schema.read(layout.work.selection, schema.SELECTION).sort_by("rank")
    manifest = schema.read(layout.work.manifest, schema.MANIFEST)
    chosen = manifest.take(pa.array(range(selection.num_rows)))
    rows, images = gold.insert_gold_items(selection, chosen, gold.known(manifest), 0.99, np.random.default_rng(0))
    before = selection.to_pylist()
    free = [n for n, row in enumerate(before) if row["cluster"] is None and row["share"] != "suspect"]
    assert [n for n, row in enumerate(rows.to_pylist()) if row["strategy"] == "gold"] == free
    assert rows.column("image_id").to_pylist() == images.column("image_id").to_pylist()
    none, _ = gold.insert_gold_items(selection, chosen, manifest.slice(0, 0), 0.5, np.random.default_rng(0))
    assert "gold" not in none.column("strategy").to_pylist(), "without known labels there are no gold items"


def test_images_that_people_disagree_about_are_asked_about_first_once_and_with_their_answers(second, tmp_path):
    layout = copied(second, tmp_path)
    pool = [row["image_id"] for row in table(layout.work.manifest, schema.MANIFEST) if row["split"] == "pool"][:3]
    votes = {"lynx": ["ann"], "bobcat": ["bob", "cy"]}
    disputed = [{"image_id": i, "votes": votes, "asked_again": i == pool[1]} for i in pool]
    layout.work.agreement.write_text(json.dumps({"disputed": disputed}))
    world.compute(layout, select)
    rows = table(layout.work.selection, schema.SELECTION)
    assert len(rows) == 83, "within the budget"
    again = [row for row in rows if row["share"] == "adjudicate"]
    assert [(row["rank"], row["image_id"], row["strategy"]) for row in again] == [
        (0, pool[0], "adjudication"), (1, pool[2], "adjudication"),
    ]  # fmt: skip
    assert {(row["reason"], row["merit"]) for row in again} == {("3 people disagree: lynx, bobcat", 1.0)}
    assert values(layout, "select")["select/disputed"] == 2
    assert values(layout, "select")["select/adjudicated"] == 0


DOUBTING = {"name": "composed", "discover": 0.45, "suspect": 0.2, "suspect_probability": 0.5}


@pytest.fixture(scope="module")
def composed(second, tmp_path_factory):
    """The second generation's batch in shares; three training images have another label than the model learned."""
    layout = copied(second, tmp_path_factory.mktemp("composed"))
    params = yaml.safe_load(layout.params.read_text()) | {"select": {"strategy": DOUBTING}}
    layout.params.write_text(yaml.safe_dump(params))
    rows = table(layout.work.manifest, schema.MANIFEST)
    counts = Counter(row["class_id"] for row in rows if row["split"] == "train")
    (many, _), (other, _) = counts.most_common(2)
    wrong = [row for row in rows if row["split"] == "train" and row["class_id"] == many][:3]
    for row in wrong:
        row["class_id"] = other
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    settled = {"suspects": [wrong[0]["image_id"]], "corrected": [wrong[2]["image_id"]]}
    audit = json.loads(layout.work.audit.read_text()) | settled
    layout.work.audit.write_text(json.dumps(audit))
    world.compute(layout, select)
    return layout, [row["image_id"] for row in wrong]


def test_a_composed_batch_says_of_each_image_its_share_its_cluster_and_why(composed):
    layout, _ = composed
    selection = table(layout.work.selection, schema.SELECTION)
    assert len(selection) == len({row["image_id"] for row in selection}) == 83
    shares = Counter(row["share"] for row in selection)
    assert shares["audit"] == round(0.05 * 83)
    assert shares["discover"] > 0 < shares["refine"]
    assert {f"select/share/{name}": n for name, n in shares.items()}.items() <= values(layout, "select").items()
    of_cluster = Counter(row["cluster"] for row in selection if row["cluster"] is not None)
    assert sorted(of_cluster) == list(range(len(of_cluster)))
    assert min(of_cluster.values()) > 1
    model = checkpoint.load(layout.work.model)
    pool = [row for row in table(layout.work.predictions, schema.PREDICTIONS) if row["split"] == "pool"]
    rejected = {row["image_id"] for row in pool if row["score"] > model.card.threshold}
    assert {row["image_id"] for row in selection if row["share"] == "discover"} <= rejected
    names = set(model.card.class_names)
    between = [row["reason"].removeprefix("between ").split(" and ") for row in selection if row["share"] == "refine"]
    assert all(len(pair) == 2 and names.issuperset(pair) for pair in between)
    assert {row["suggested"] for row in selection} <= names


def test_a_label_that_the_model_contradicts_is_put_in_question_once_and_never_one_that_was_corrected(composed):
    layout, (asked_before, wrong, corrected) = composed
    rows = table(layout.work.selection, schema.SELECTION)
    doubted = {row["image_id"]: row for row in rows if row["share"] == "suspect"}
    assert wrong in doubted
    assert asked_before not in doubted
    rows_of_all = schema.read(layout.work.manifest, schema.MANIFEST)
    may_be = selection_context.questionable(rows_of_all, checkpoint.load(layout.work.model), layout)
    assert {asked_before, wrong, corrected}.intersection(may_be.column("image_id").to_pylist()) == {wrong}
    assert doubted[wrong]["reason"].startswith("labelled ")
    assert f"looks like {doubted[wrong]['suggested']} " in doubted[wrong]["reason"]
    manifest = {row["image_id"]: row["split"] for row in table(layout.work.manifest, schema.MANIFEST)}
    assert {manifest[image] for image in doubted} <= {"train", "val"}
    assert {manifest[row["image_id"]] for row in rows if row["share"] != "suspect"} == {"pool"}


def test_other_strategies_have_neither_share_nor_cluster(second):
    selection = table(second.work.selection, schema.SELECTION)
    assert {(row["share"], row["cluster"]) for row in selection} == {(None, None)}


def test_the_picture_shows_the_batch(second):
    picture = Image.open(io.BytesIO(second.work.contact_sheet.read_bytes()))
    assert picture.size == (12 * 72, 7 * 86)
    assert len(np.unique(np.asarray(picture))) > 10


def test_an_empty_pool_asks_nothing(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    manifest = [row for row in table(layout.work.manifest, schema.MANIFEST) if row["split"] != "pool"]
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, manifest), schema.MANIFEST)
    world.compute(layout, select)
    assert table(layout.work.selection, schema.SELECTION) == []
    assert values(layout, "select") == dict.fromkeys(
        ("select/budget", "select/picked", "select/adjudicated", "select/disputed", "select/gold"), 0.0
    )
    assert Image.open(io.BytesIO(layout.work.contact_sheet.read_bytes())).size[0] > 0


# --- another operating point --------------------------------------------------------------------------------------
def test_the_cost_of_an_operating_point_is_counted_over_the_sealed_test_images(first):
    generation = first.generation("0000")
    errors = Costs(known_rejected=2, unknown_accepted=7, confusion=3, unknown_share=0.25)
    now, same, loose = costs(generation, [0.95, 1.0], errors)
    assert (now.name, same.name, loose.name) == ("now", "0.95", "1"), "no validation image is of an unknown class"
    card, figures = checkpoint.read_card(generation.model), json.loads(generation.metrics.read_text())
    assert now.threshold == card.threshold == pytest.approx(same.threshold, abs=1e-7)
    assert now[2:] == same[2:]
    assert now.known_named.value == pytest.approx(figures["open/known_accuracy"])
    assert now.unknown_accepted.value == pytest.approx(1 - figures["open/unknown_recall"])
    rows = table(generation.predictions, schema.PREDICTIONS)
    highest = max(row["score"] for row in rows if row["split"] == "val" and row["true_class_id"] >= 0)
    known, unknown = (
        [r["score"] <= highest for r in rows if r["split"] == "test" and (r["true_class_id"] == -1) is open_]
        for open_ in (False, True)
    )
    assert loose.threshold == highest
    for found, count, of in (
        (loose.known_rejected, known.count(False), len(known)),
        (loose.unknown_accepted, sum(unknown), len(unknown)),
    ):
        assert found == (count / of, *binomial_interval(count, of), of)
    wrong = loose.known_rejected.value * 2 + (1 - loose.known_named.value - loose.known_rejected.value) * 3
    assert loose.of_1000_images == pytest.approx(750 * wrong + 250 * 7 * loose.unknown_accepted.value)


def test_the_command_prints_the_point_in_force_and_the_others_and_changes_nothing(first):
    before = digest.of_folder(first.generation("0000").folder)
    called = ["--workspace", str(first.root), "threshold", "0000", "--keep-known", "0.98", "--keep-known", "1"]
    shown = CliRunner().invoke(oltr, called)
    assert shown.exit_code == 0, shown.output
    assert [line.split()[0] for line in shown.output.splitlines()[:4]] == ["known", "now", "0.98", "1"]
    assert "generation 0000: shares of its test images" in shown.output
    assert "cost: by update.costs, with 10% of images of unknown classes" in shown.output
    assert digest.of_folder(first.generation("0000").folder) == before


# --- features and predictions ---------------------------------------------------------------------------------------
def test_features_are_computed_once_and_again_for_other_weights(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    model = checkpoint.load(layout.work.model)
    images = schema.read(layout.work.manifest, schema.MANIFEST).slice(5, 40)
    features = features_of(images, model.network, model.card.transform, layout)
    shutil.rmtree(layout.store)
    again = features_of(images, model.network, model.card.transform, layout)
    torch.testing.assert_close(again, features)
    shutil.move(layout.batch("batch-0").shard(0), tmp_path / "away")
    assert torch.equal(features_of(images, model.network, model.card.transform, layout), again)
    next(model.network.trunk.parameters()).data += 0.1
    with pytest.raises(ValueError, match="packed images"):
        features_of(images, model.network, model.card.transform, layout)


def test_predict_agrees_with_the_predictions_of_the_sealed_generation(first, tmp_path):
    from oltr_core.images.shards import Shards

    generation = first.generation("0000")
    expected = table(generation.predictions, schema.PREDICTIONS)[:6]
    place = {row["image_id"]: row for row in table(generation.manifest, schema.MANIFEST)}
    for i, row in enumerate(expected):
        where = place[row["image_id"]]
        pixels = Shards(first.raw).read(where["batch"], where["shard"], where["row"])
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    model = checkpoint.load(generation.model)
    images = list(images_at([str(tmp_path)], SourceAccess(tmp_path)))
    found = list(predict(images, model, "0000", batch_size=4))
    assert list(predict(images, model, "0000")) == list(predictions(generation.model, [tmp_path], "0000"))
    names = dict(zip(model.card.class_ids, model.card.class_names, strict=True))
    for said, row in zip(found, expected, strict=True):
        assert said.nearest == names[row["class_id"]]
        assert said.probability == pytest.approx(row["probability"], abs=1e-4)
        assert said.score == pytest.approx(row["score"], abs=1e-4)
        assert said.label == ("unknown" if row["score"] > model.card.threshold else said.nearest)
        assert said.generation == "0000"


def test_predict_takes_what_ingest_takes_for_an_image(first, tmp_path):
    layout = copied(first, tmp_path / "w")
    ledger.append(layout.ledger, ledger.Event("promoted", "0000", "d", world.AT.isoformat()))
    Image.new("RGB", (400, 8)).save(tmp_path / "wide.png")
    command = ["--workspace", str(layout.root), "predict", str(tmp_path / "wide.png"), "--json"]
    for section, error in (
        ({}, "absurd aspect ratio: 400 x 8 pixels"),
        ({"max_aspect": 50}, None),
        ({"max_aspect": 50, "max_pixels": 3199}, "decompression bomb: more than 3,199 pixels"),
        ({"max_aspect": 50, "max_bytes": 9}, "more than ingest.max_bytes = 9"),
    ):
        params = yaml.safe_load(layout.params.read_text()) | {"ingest": section}
        layout.params.write_text(yaml.safe_dump(params))
        (row,) = json.loads(CliRunner().invoke(oltr, command).stdout)
        assert (row["error"] is None) if error is None else (error in row["error"])


@pytest.mark.parametrize("share", ["nan", "inf"])
def test_a_threshold_for_no_number_is_refused(first, share):
    done = CliRunner().invoke(oltr, ["--workspace", str(first.root), "threshold", "0000", "--keep-known", share])
    assert done.exit_code == 2
    assert "--keep-known" in done.output


def test_the_empty_beginning_has_no_threshold_and_nothing_brings_one_back(first):
    done = CliRunner().invoke(oltr, ["--workspace", str(first.root), "threshold", "genesis"])
    assert "genesis is the empty beginning and has no model" in str(done.exception or done.output) + done.output
    assert "dvc" not in done.output


def test_what_another_engine_computes_is_equal_to_the_byte(first, tmp_path):
    """Features of every shard, the selection that follows from them, and predictions of files."""
    layout = copied(first, tmp_path / "elsewhere")
    shutil.rmtree(layout.store / "features")
    used = Elsewhere()
    with engine.using(used):
        world.compute(layout, select)
    assert used.asked == [(torch.get_num_threads(), False)]
    for name in ("work/selection.parquet", "store/features"):
        ours, theirs = layout.data / name, first.data / name
        files = [f.relative_to(theirs) for f in theirs.rglob("*.npy")] or [Path()]
        assert [(ours / f).read_bytes() == (theirs / f).read_bytes() for f in files] == [True] * len(files)
    model, images = checkpoint.load(first.generation("0000").model), [str(tmp_path / "bad"), "relative.png"]
    for n, label in enumerate(schema.read(first.work.manifest, schema.MANIFEST, ["row"]).column(0).to_pylist()[:5]):
        Image.fromarray(Shards(first.raw).read("batch-0", 0, label)).save(tmp_path / f"{n}.png")
        images.append(str(tmp_path / f"{n}.png"))
    here = list(predict(images, model, "0000", batch_size=2, top_k=2))
    with engine.using(used):
        assert list(predict(images, model, "0000", batch_size=2, top_k=2)) == here
    assert [p.path for p in here] == images


def test_predict_says_what_is_wrong_with_a_path(first, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no image")
    for path, sentence in (("gone", "there is nothing"), ("empty", "no image here")):
        with pytest.raises(ValueError, match=sentence):
            images_at([str(tmp_path / path)], SourceAccess(tmp_path))
    bare = checkpoint.load(first.generation("0000").base_model)
    with pytest.raises(ValueError, match="no threshold yet"):
        predict([str(tmp_path)], bare, "0000")
