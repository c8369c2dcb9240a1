"""What the stages hand to the functions they call: which images, which seed, which order of columns."""

import csv
import json
import shutil

import pyarrow as pa
import pytest
import torch
import yaml

from oltr_core import checkpoint, schema
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
from oltr_core.settings.reading import load_run, load_sections
from oltr_core.stages import curate, manifest_rows, select, update
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
    news = update.unlearned(manifest, parent.card, manifest_rows.register(copied), this, copied)
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
