"""What the stages hand to the functions they call: which images, which seed, which order of columns."""

import csv
import json
import shutil

import pyarrow as pa
import pytest
import torch
import yaml

from oltr_core import checkpoint, manifest_rows, schema
from oltr_core.class_statistics import measure
from oltr_core.images.transforms import Transform
from oltr_core.inference import classify, features_of
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.layout import Layout
from oltr_core.metrics import curves
from oltr_core.metrics.calibration import best_temperature
from oltr_core.metrics.detection import auroc
from oltr_core.models import NetworkSpec
from oltr_core.operating.learning import learn
from oltr_core.operating.rejection import operating_point, reference_from_statistics
from oltr_core.operating.selection import Select, pick
from oltr_core.scores import Energy, Knn, operating_threshold
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import load_run, load_sections
from oltr_core.stages import curate, evaluate, monitoring, select, update
from oltr_core.strategies import Random
from tests.core.stages import loop_world as world

SCORES = {"evaluate": {"gate_share": 0, "scores": [{"name": "energy"}, {"name": "knn"}]}}
FEW = [phase.model_copy(update={"epochs": 2}) for phase in world.QUICK.phases]
TRAIN = world.QUICK.model_copy(update={"phases": FEW}).model_dump(mode="json")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Generation 0 of two epochs, sealed and answered."""
    layout = world.make(tmp_path_factory.mktemp("wired"), train=TRAIN, update={"seed": 5}, **SCORES)
    world.compute(layout)
    world.seal(layout, "0000")
    world.answer(layout, "0000")
    return layout


@pytest.fixture
def copied(first, tmp_path):
    shutil.copytree(first.root, tmp_path / "w")
    return Layout(tmp_path / "w")


def changed(layout: Layout, **sections) -> None:
    params = yaml.safe_load(layout.params.read_text()) | sections
    layout.params.write_text(yaml.safe_dump(params))


class Seen:
    """The model of data/work and what it says of the images of one split."""

    def __init__(self, layout: Layout, split: str):
        self.model = checkpoint.load(layout.work.model)
        self.card, manifest = self.model.card, schema.read(layout.work.manifest, schema.MANIFEST)
        self.rows = manifest_rows.of_splits(manifest, split)
        self.labels = manifest_rows.columns(self.rows, self.card.class_ids, other=-1)
        features = features_of(self.rows, self.model.network, self.card.transform, layout)
        self.outputs = classify(self.model.network, features, self.model.statistics)
        self.known = self.outputs[self.labels != -1]
        self.known_labels = self.labels[self.labels != -1]


def figures(layout: Layout) -> dict[str, float]:
    return json.loads(layout.work.metrics("evaluate").read_text())


# --- evaluate ---------------------------------------------------------------------------------------------------
def test_another_scores_threshold_comes_from_validation_images_and_is_applied_to_test_images(first):
    val, test = Seen(first, "val"), Seen(first, "test")
    threshold = operating_threshold(Energy()(val.known, {}), 0.95, val.known_labels)
    found = figures(first)
    assert found["open_by_score/energy/threshold"] == pytest.approx(threshold, rel=1e-5)
    assert threshold != pytest.approx(operating_threshold(Energy()(test.known, {}), 0.95), rel=1e-3)
    scores, is_open = Energy()(test.outputs, {}), test.labels == -1
    recall = float((scores > threshold)[is_open].double().mean())
    assert found["open_by_score/energy/unknown_recall"] == pytest.approx(recall)
    assert found["open_by_score/energy/auroc"] == pytest.approx(auroc(scores[~is_open], scores[is_open]))


def test_another_score_is_fitted_on_the_reference_of_the_cards_seed(first):
    val = Seen(first, "val")
    assert val.card.reference_seed == 5
    thresholds = []
    for seed in (5, 0):
        reference = reference_from_statistics(val.model.network, val.model.statistics, seed)
        thresholds.append(operating_point(Knn(), reference, val.known, val.known, val.known_labels, 0.95).threshold)
    assert figures(first)["open_by_score/knn/threshold"] == pytest.approx(thresholds[0], rel=1e-5)
    assert thresholds[0] != pytest.approx(thresholds[1], rel=1e-5)


def test_the_cards_threshold_and_temperature_come_from_validation_images_alone(first):
    val, test = Seen(first, "val"), Seen(first, "test")
    card, score = val.card, load_sections(update.Parameters, first).update.score
    assert card.threshold == pytest.approx(
        operating_threshold(score(val.known, {}), 0.95, val.known_labels), rel=1e-5
    )
    assert card.temperature == pytest.approx(best_temperature(val.known.mean_logits, val.known_labels), rel=1e-4)
    assert card.temperature != pytest.approx(best_temperature(test.known.mean_logits, test.known_labels), rel=1e-3)
    found = figures(first)
    assert found["open/threshold"] == pytest.approx(card.threshold)
    assert found["calibration/temperature"] == pytest.approx(card.temperature)


def test_test_figures_are_those_of_test_images_under_the_cards_score(first):
    test = Seen(first, "test")
    score = load_sections(update.Parameters, first).update.score
    scores, is_open = score(test.outputs, {}), test.labels == -1
    found = figures(first)
    assert found["open/auroc"] == pytest.approx(auroc(scores[~is_open], scores[is_open]))
    kept = (test.outputs.mean_logits.argmax(1) == test.labels)[~is_open] & (scores[~is_open] <= test.card.threshold)
    assert found["open/known_accuracy"] == pytest.approx(float(kept.double().mean()))


def test_predictions_hold_the_calibrated_probability_and_the_score_of_each_image(first):
    predictions = {r["image_id"]: r for r in schema.read(first.work.predictions, schema.PREDICTIONS).to_pylist()}
    score = load_sections(update.Parameters, first).update.score
    for split in ("test", "val", "pool"):
        seen = Seen(first, split)
        probability, column = (seen.outputs.mean_logits / seen.card.temperature).softmax(1).max(1)
        rows = [predictions[image] for image in seen.rows.column("image_id").to_pylist()]
        assert {row["split"] for row in rows} == {split}
        assert [row["class_id"] for row in rows] == [seen.card.class_ids[k] for k in column.tolist()]
        assert [row["probability"] for row in rows] == pytest.approx(probability.tolist(), abs=1e-5)
        assert [row["score"] for row in rows] == pytest.approx(score(seen.outputs, {}).tolist(), abs=1e-5)


# --- update -----------------------------------------------------------------------------------------------------
def updated(layout: Layout, **section) -> checkpoint.Checkpoint:
    changed(layout, update=section)
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update)
    return checkpoint.load(layout.work.model)


@pytest.mark.parametrize("seed", [0, 1])
def test_an_update_is_what_its_learner_makes_of_the_parent_with_the_seed_of_params_yaml(copied, seed):
    after = updated(copied, seed=seed)
    parent, this = checkpoint.load(copied.generation("0000").model), load_run(copied)
    manifest = schema.read(copied.work.manifest, schema.MANIFEST)
    news = update.unlearned(
        manifest, parent.card, manifest_rows.register(copied), update.labelled_before(this, copied)
    )
    features = features_of(news, parent.network, parent.card.transform, copied)
    annotated = AnnotatedFeatures(features, manifest_rows.columns(news, after.card.class_ids))
    section = load_sections(update.Parameters, copied).update
    assert section.seed == seed == after.card.reference_seed
    network, statistics = learn(section, parent.network, parent.statistics, annotated)
    assert torch.equal(network.heads[0].weight, after.network.heads[0].weight)
    assert torch.equal(statistics.means, after.statistics.means)
    other, _ = learn(section.model_copy(update={"seed": 7}), parent.network, parent.statistics, annotated)
    assert not torch.equal(other.heads[0].weight, after.network.heads[0].weight)


def test_the_share_of_accepted_validation_images_and_the_score_are_those_of_params_yaml(copied):
    after = updated(copied, target_tpr=0.5, score={"name": "energy"})
    val = Seen(copied, "val")
    assert after.card.target_tpr == 0.5
    assert after.card.score["name"] == "energy"
    expected = operating_threshold(Energy()(val.known, {}), 0.5, val.known_labels)
    assert after.card.threshold == pytest.approx(expected, rel=1e-5)


def test_the_cards_score_is_fitted_on_the_reference_of_the_seed_of_params_yaml(copied):
    after = updated(copied, seed=4, score={"name": "knn"})
    for seed, same in ((4, True), (0, False)):
        expected = Knn().fit(reference_from_statistics(after.network, after.statistics, seed))["features"]
        assert torch.allclose(after.score_state["features"], expected, atol=1e-6) is same


def test_after_a_full_training_statistics_are_those_of_the_training_images(first):
    train = Seen(first, "train")
    features = train.outputs.features
    expected = measure(features, train.labels, 6)
    for name in ("means", "stds", "counts"):
        torch.testing.assert_close(getattr(train.model.statistics, name), getattr(expected, name))


def test_new_columns_come_after_the_old_ones_whatever_their_ids():
    """Class 4 came back from a refused sibling: it is older than 7, and new to this parent."""
    card = checkpoint.Card(
        class_ids=[2, 9, 0, 7], class_counts=[5, 4, 3, 2], network=NetworkSpec(), transform=Transform(), recipe={}
    )
    names = dict(enumerate("abcdefghij"))
    news = pa.table({"class_id": pa.array([4, 9, 1, 4, 4], pa.int32())})
    extended = update.extended(card, news, names)
    assert extended.class_ids == [2, 9, 0, 7, 1, 4]
    assert extended.class_names == ["c", "j", "a", "h", "b", "e"]
    assert extended.class_counts == [5, 5, 3, 2, 1, 3]


# --- evaluate after an update -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("section", "void"), [({}, "slda"), ({"learner": {"name": "imprint"}}, "imprint")])
def test_after_an_update_a_score_that_it_makes_void_has_the_reason_in_the_place_of_every_figure(
    copied, section, void
):
    scores = [{"name": name} for name in ("energy", "knn", "openmax")]
    changed(copied, evaluate={"gate_share": 0, "scores": scores})
    world.compute(copied, evaluate)
    before = figures(copied)
    updated(copied, **section)
    world.compute(copied, evaluate)
    absent = json.loads(copied.work.absent("evaluate").read_text())
    for score in scores:
        names = {name for name in before if name.startswith(f"open_by_score/{score['name']}/")}
        assert names
        if score["name"] == "openmax" or (score["name"], void) == ("energy", "slda"):
            said = f"{score['name']} tells no unknown images after an update by {void}, "
            assert all(absent[name].startswith(said) for name in names)
        else:
            assert names <= set(figures(copied))


def test_figures_of_the_classes_known_now_are_by_the_training_images_that_they_have_now(copied):
    updated(copied)
    world.compute(copied, evaluate)
    test, found = Seen(copied, "test"), figures(copied)
    right = test.known.mean_logits.argmax(1) == test.known_labels
    accuracy = [float(right[test.known_labels == k].double().mean()) for k in range(len(test.card.class_ids))]
    before = [*checkpoint.read_card(copied.generation("0000").model).class_counts, 0, 0]
    for counts, same in ((test.card.class_counts, True), (before, False)):
        few = [a for a, n in zip(accuracy, counts, strict=True) if 0 < n <= 20]
        medium = [a for a, n in zip(accuracy, counts, strict=True) if 20 < n < 100]
        expected = [sum(part) / len(part) for part in (few, medium)]
        assert ([found["now/few"], found["now/medium"]] == pytest.approx(expected)) is same


@pytest.mark.parametrize("by", ["unknown_accepted", "known_kept"])
def test_another_scores_threshold_is_chosen_as_the_cards_was_on_the_same_validation_images(copied, by):
    """On those of unknown classes, where it is about them; and where every image counts, not every class alike."""
    rows = schema.read(copied.work.manifest, schema.MANIFEST).to_pylist()
    unknown = sorted({row["label"] for row in rows if row["split"] == "test" and row["class_id"] is None})
    for n, row in enumerate(rows):
        if row["split"] == "test" and row["label"] in unknown[:2]:
            row["split"] = "val"
        elif row["split"] == "val" and row["class_id"] in (0, 1, 2) and n % 4:
            row["split"] = "test"  # so that classes have unlike numbers
    schema.write(copied.work.manifest, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    changed(copied, update={"threshold_by": by, "class_balanced": False, "unknown_accepted": 0.3, "target_tpr": 0.8})
    world.compute(copied, update, evaluate)
    val, test, card = Seen(copied, "val"), Seen(copied, "test"), checkpoint.read_card(copied.work.model)
    reference = reference_from_statistics(val.model.network, val.model.statistics, 0)
    known, unknown = (val.known, val.known, val.known_labels, 0.8), val.outputs[val.labels == -1]

    def threshold(balanced: bool, of) -> float:
        return operating_point(Energy(), reference, *known, balanced, by, of, 0.3, card.costs).threshold

    found = figures(copied)["open_by_score/energy/threshold"]
    assert found == pytest.approx(threshold(False, unknown), rel=1e-5)
    other = threshold(True, unknown) if by == "known_kept" else threshold(False, test.outputs[test.labels == -1])
    assert found != pytest.approx(other, rel=1e-5)


# --- select -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("seed", "generation"), [(0, "0000"), (1, "0000"), (0, "0001")])
def test_what_is_picked_depends_on_the_seed_of_select_and_on_the_generation(copied, seed, generation):
    changed(copied, select={"seed": seed, "strategy": {"name": "random"}})
    world.opened(copied, generation, "0000", "update")
    world.compute(copied, select)
    asked = schema.read(copied.work.selection, schema.SELECTION).to_pylist()
    pool = Seen(copied, "pool")
    for name in ("0000", "0001"):
        picks = pick(Select(seed=seed, strategy=Random()), pool.outputs, len(asked), name)
        ids = pool.rows.take(pa.array(picks.indices.tolist())).column("image_id").to_pylist()
        assert ([row["image_id"] for row in asked] == ids) is (name == generation)
    assert asked[0]["strategy"] == "random"


def test_which_known_images_are_asked_about_anew_depends_on_the_seed_of_select(copied):
    asked = []
    for seed in (0, 0, 1):
        changed(copied, select={"seed": seed}, budget={"gold": 0.2})
        world.compute(copied, select)
        rows = schema.read(copied.work.selection, schema.SELECTION).to_pylist()
        asked.append({row["image_id"] for row in rows if row["strategy"] == schema.GOLD})
    assert asked[0] == asked[1] != asked[2]
    assert asked[0]


def test_each_row_of_a_selection_says_what_the_model_saw_in_that_image(first):
    asked = schema.read(first.work.selection, schema.SELECTION).to_pylist()
    pool = Seen(first, "pool")
    place = {image: i for i, image in enumerate(pool.rows.column("image_id").to_pylist())}
    mine = pool.outputs[torch.tensor([place[row["image_id"]] for row in asked])]
    assert [row["u_open"] for row in asked] == pytest.approx(mine.u_open.tolist(), rel=1e-4)
    assert [row["u_info"] for row in asked] == pytest.approx(mine.u_info.tolist(), rel=1e-4)
    suggested = [pool.card.class_names[k] for k in mine.mean_logits.argmax(1).tolist()]
    assert [row["suggested"] for row in asked] == suggested


# --- plots ------------------------------------------------------------------------------------------------------
def plot(layout: Layout, name: str) -> dict[str, list[str]]:
    header, *rows = csv.reader((layout.work.plots / f"{name}.csv").read_text().splitlines())
    return {column: [row[n] for row in rows] for n, column in enumerate(header)}


def test_curves_are_those_of_test_images_under_the_cards_score(first):
    test = Seen(first, "test")
    score = load_sections(update.Parameters, first).update.score
    scores, is_open = score(test.outputs, {}), test.labels == -1
    right = test.outputs.mean_logits.argmax(1) == test.labels
    probability = (test.outputs.mean_logits / test.card.temperature).softmax(1).amax(1)
    expected = {
        "roc": curves.roc(scores[~is_open], scores[is_open]),
        "risk": curves.risk(scores, right),
        "score_histogram": curves.histogram(scores, test.labels),
        "reliability": curves.reliability_columns(probability[~is_open], right[~is_open]),
    }
    for name, columns in expected.items():
        found = plot(first, name)
        assert list(found) == list(columns)
        for column, values in columns.items():
            assert [float(v) for v in found[column]] == pytest.approx([float(v) for v in values], abs=1e-5), name


def test_the_confusion_says_unknown_of_what_was_rejected_and_of_open_images(first):
    test = Seen(first, "test")
    score = load_sections(update.Parameters, first).update.score(test.outputs, {})
    names = [*test.card.class_names, "unknown"]
    best = test.outputs.mean_logits.argmax(1).tolist()
    said = [names[-1 if s > test.card.threshold else k] for s, k in zip(score.tolist(), best, strict=True)]
    found = plot(first, "confusion")
    expected = sorted(zip([names[k] for k in test.labels.tolist()], said, strict=True))
    assert list(zip(found["actual"], found["predicted"], strict=True)) == expected
    assert {"unknown"} < set(found["actual"])
    assert "unknown" in found["predicted"]


def test_a_confusion_of_many_classes_is_between_the_worst():
    actual, said = ["a", "a", "b", "c", "d"], ["b", "b", "b", "c", "c"]
    assert curves.confusion(actual, said, most=2) == {"actual": ["a", "a", "b"], "predicted": ["b", "b", "b"]}
    assert curves.confusion(actual, said) == {"actual": actual, "predicted": said}


def test_the_table_of_classes_has_their_training_and_test_images_and_accuracies(first):
    test, train = Seen(first, "test"), Seen(first, "train")
    found = plot(first, "per_class")
    assert found["class"] == test.card.class_names
    assert set(found["group"]) == {"0000"}
    columns = range(len(test.card.class_ids))
    assert [float(n) for n in found["training_images"]] == [float((train.labels == k).sum()) for k in columns]
    assert [float(n) for n in found["test_images"]] == [int((test.labels == k).sum()) for k in columns]
    right = test.outputs.mean_logits.argmax(1) == test.labels
    accuracy = [float(right[test.labels == k].double().mean()) for k in columns]
    assert [float(a) for a in found["accuracy"]] == pytest.approx(accuracy)


# --- the newest images, and what is worth most -------------------------------------------------------------------
def pool_of(layout: Layout) -> dict:
    return json.loads(layout.work.pool.read_text())


def test_the_newest_images_are_set_beside_the_validation_images_of_the_full_training(first):
    pool, val, seen = Seen(first, "pool"), Seen(first, "val"), pool_of(first)
    assert (seen["batch"], seen["images"], seen["sampled"]) == ("batch-0", len(pool.labels), len(pool.labels))
    assert seen["reference"] == val.rows.num_rows
    score = load_sections(update.Parameters, first).update.score
    unknown = score(pool.outputs, pool.model.score_state) > pool.card.threshold
    assert seen["unknown_rate"] == monitoring.share(int(unknown.sum()), len(unknown))
    taken = pool.outputs.mean_logits.argmax(1)[~unknown].tolist()
    of = seen["classes"][0]
    column = pool.card.class_names.index(of["class"])
    assert of["share"][0] == taken.count(column) / len(unknown)
    assert of["trained"] == pool.card.class_counts[column] / sum(pool.card.class_counts)
    changes = [round(abs(of["share"][0] - of["trained"]), 12) for of in seen["classes"]]
    assert changes == sorted(changes, reverse=True), "most changed first"
    measured = json.loads(first.work.metrics("select").read_text())
    assert [measured[f"pool/drift{end}"] for end in ("", "_low", "_high")] == seen["drift"]
    assert measured["pool/unknown_rate_high"] == seen["unknown_rate"][2]


def test_test_images_of_known_classes_are_alike_and_those_of_one_unknown_class_are_not(first):
    val, test, pool = (Seen(first, split) for split in ("val", "test", "pool"))
    label = {
        row["image_id"]: row["label"] for row in schema.read(first.truth_of("batch-0"), schema.TRUTH).to_pylist()
    }
    known = test.rows.filter(pa.array((test.labels != -1).tolist()))
    strange = next(name for name in sorted(set(label.values())) if name not in val.card.class_names)
    one = pool.rows.filter(pa.array([label[i] == strange for i in pool.rows.column("image_id").to_pylist()]))
    alike, far = (monitoring.examine(rows, val.rows, val.model, first, 256, "x") for rows in (known, one))
    assert alike["drift"].low < 0.5 < far["drift"].low
    assert alike["unknown_rate"][0] < far["unknown_rate"][0]


def test_a_batch_that_has_sites_is_judged_per_site_where_there_are_enough_images(copied):
    index = schema.read(copied.batch("batch-0").index, schema.INDEX)
    rows = [
        r | {"attributes": '{"site": "north"}' if i % 3 else '{"site": "south"}'}
        for i, r in enumerate(index.to_pylist())
    ]
    free = [row for row in rows if row["label"] is None]
    free[0]["attributes"], free[1]["attributes"] = '{"site": "hut"}', None
    schema.write(copied.batch("batch-0").index, schema.from_rows(schema.INDEX, rows), schema.INDEX)
    select.run(load_sections(select.Parameters, copied), copied)
    seen = pool_of(copied)
    assert seen["by"] == "site"
    north, south, hut = seen["places"]
    assert [place["value"] for place in seen["places"]] == ["north", "south", "hut"]
    assert north["images"] + south["images"] == seen["images"] - 2
    assert hut == {"value": "hut", "images": 1, "unknown_rate": None, "drift": "too few images to judge"}
    assert 0 <= north["unknown_rate"][1] < north["unknown_rate"][2] <= 1
    assert north["drift"][0] == pytest.approx(seen["drift"][0], abs=0.2)


def test_a_look_between_generations_sees_the_same_images(first):
    seen, now = pool_of(first), monitoring.look(first, "0000", Compute())
    assert {k: now[k] for k in ("batch", "images", "unknown_rate")} == {
        k: seen[k] for k in ("batch", "images", "unknown_rate")
    }


def test_errors_by_training_images_are_carried_on_in_updates_and_begin_anew_with_a_full_training(copied):
    history = json.loads(copied.work.worth.read_text())["history"]
    test, card = Seen(copied, "test"), checkpoint.load(copied.work.model).card
    for generation, class_id, images, tested, errors in history:
        column = card.class_ids.index(class_id)
        mine = test.labels == column
        assert (generation, images) == ("0000", card.class_counts[column])
        assert tested == int(mine.sum())
        assert errors == int((test.outputs.mean_logits.argmax(1)[mine] != column).sum())
    assert len(history) == len(card.class_ids)
    for mode, before in (("update", history), ("train", [])):
        world.opened(copied, "0001", "0000", mode)
        evaluate.run(load_sections(evaluate.Parameters, copied), copied)
        found = json.loads(copied.work.worth.read_text())["history"]
        assert found[: len(before)] == before
        assert {row[0] for row in found[len(before) :]} == {"0001"}


def test_the_answers_of_a_batch_are_in_the_table_of_costs(copied):
    world.opened(copied, "0001", "0000", "update")
    curate.run(load_sections(curate.Parameters, copied), copied)
    asked = schema.read(copied.generation("0000").selection, schema.SELECTION).num_rows
    row = json.loads(copied.work.cost.read_text())[0]
    assert (row["generation"], row["images"], row["answers"], row["untimed"]) == ("0000", asked, asked, asked)
