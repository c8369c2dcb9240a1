"""A class that was renamed, merged, split, retired or restored, in update, evaluate, select, the gate and predict."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import torch
import yaml
from PIL import Image

from oltr_core import checkpoint, imported_model, manifest_rows, schema
from oltr_core.frames import read
from oltr_core.images.dataset import from_pixels
from oltr_core.images.shards import Shards
from oltr_core.inference import classify, features_of
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import Layout
from oltr_core.prediction import Prediction, graph, images_at
from oltr_core.prediction import predict as predict_images
from oltr_core.settings import budget
from oltr_core.settings.reading import load_run
from oltr_core.stages import comparison, curate, evaluate, select, update
from tests.core.data_world import recorded
from tests.core.stages import loop_world as world
from tests.core.stages.test_wiring import TRAIN

SCORES = [{"name": name} for name in ("msp", "energy", "reachability", "knn", "mahalanobis", "openmax", "odin")]


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Layout:
    layout = world.make(
        tmp_path_factory.mktemp("register"),
        train=TRAIN,
        evaluate={"gate_share": 0.3, "scores": SCORES},
        curate={"max_drift": 1.0},
    )
    world.compute(layout)
    world.seal(layout, "0000")
    return layout


def after(first: Layout, root: Path, *operations: dict, answered: bool = False, **sections) -> Layout:
    """Generation 1 after these operations; where nothing was answered, its network is the parent's."""
    shutil.copytree(first.root, root, dirs_exist_ok=True)
    layout = Layout(root)
    if answered:
        world.answer(layout, "0000")
    empty = dict.fromkeys(schema.OPERATIONS.names)
    rows = [{**empty, "generation": "0001", **row, "number": i} for i, row in enumerate(operations)]
    if rows:
        kind = schema.OPERATIONS
        recorded(layout, layout.register, schema.from_rows(kind, rows), kind, "class_merged")
    layout.params.write_text(yaml.safe_dump(yaml.safe_load(layout.params.read_text()) | sections))
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update, evaluate, select)
    return layout


def figures(layout: Layout, stage: str = "evaluate") -> dict[str, float]:
    return json.loads(layout.work.metrics(stage).read_text())


def told(layout: Layout, path: Path) -> pl.DataFrame:
    return read(path, schema.PREDICTIONS).join(read(layout.work.manifest, schema.MANIFEST), on="image_id")


@pytest.fixture(scope="module")
def plain(first, tmp_path_factory) -> Layout:
    return after(first, tmp_path_factory.mktemp("plain"))


MERGE = {"operation": "merged", "class_id": 4, "successor": 1}
RESTORE = dict.fromkeys(schema.OPERATIONS.names) | {
    "operation": "restored",
    "class_id": 4,
    "generation": "0002",
    "number": 1,
}


@pytest.fixture(scope="module")
def merged(first, tmp_path_factory) -> Layout:
    return after(first, tmp_path_factory.mktemp("merged"), MERGE)


def summed(layout: Layout, split: str) -> tuple[torch.Tensor, torch.Tensor, pl.DataFrame]:
    """Naively: probabilities [N, 5] of the classes 0, 1 + 4, 2, 3, 5 of the parent's network, and the labels."""
    model = checkpoint.load(layout.generation("0000").model)
    rows = manifest_rows.of_splits(schema.read(layout.work.manifest, schema.MANIFEST), split)
    features = features_of(rows, model.network, model.card.transform, layout)
    p = classify(model.network, features, model.statistics).logits[:, 0].softmax(1)
    assert model.card.class_ids == [0, 1, 2, 3, 4, 5]
    together = torch.stack([p[:, 0], p[:, 1] + p[:, 4], p[:, 2], p[:, 3], p[:, 5]], 1)
    return together, rows, pl.DataFrame(rows)


def test_a_rename_changes_names_and_no_figure(first, plain, tmp_path):
    layout = after(first, tmp_path, {"operation": "renamed", "class_id": 2, "name": "pair"})
    assert figures(layout) == figures(plain)
    card = checkpoint.read_card(layout.work.model)
    assert card.output_classes is None
    assert card.class_names[2] == card.output_class_names[2] == "pair"
    assert read(layout.work.predictions, schema.PREDICTIONS).equals(read(plain.work.predictions, schema.PREDICTIONS))


def test_probabilities_of_a_merged_class_add_and_its_column_keeps_its_place(merged, plain):
    before, after_ = (checkpoint.load(path) for path in (merged.generation("0000").model, merged.work.model))
    assert torch.equal(after_.network.heads[0].weight, before.network.heads[0].weight)
    assert figures(merged, "update")["update/learned_images"] == 0, "its images were learned long ago"
    card = after_.card
    assert card.class_ids == before.card.class_ids
    assert card.output_classes.of == [0, 1, 2, 3, 1, 4]
    assert (card.output_class_ids, card.output_class_names) == (
        [0, 1, 2, 3, 5],
        [card.class_names[i] for i in (0, 1, 2, 3, 5)],
    )
    counts = card.class_counts
    assert card.output_class_counts == [counts[0], counts[1] + counts[4], *counts[2:4], counts[5]]
    p, _, rows = summed(merged, "val")
    found = rows.join(
        read(merged.work.predictions, schema.PREDICTIONS), on="image_id", how="left", maintain_order="left"
    )
    assert [[0, 1, 2, 3, 5][k] for k in p.argmax(1).tolist()] == found["class_id_right"].to_list()
    expected = (p.log() / card.temperature).softmax(1).amax(1)
    assert found["probability"].to_list() == pytest.approx(expected.tolist(), abs=1e-5)
    assert figures(merged)["now/overall"] >= figures(plain)["now/overall"], "what was taken for the other is right"
    assert figures(merged)["open/threshold"] != figures(plain)["open/threshold"]


def test_evaluate_measures_by_the_register_of_the_generation(merged):
    p, rows, _ = summed(merged, "test")
    labels = rows.column("class_id").to_pylist()
    assert 4 not in labels, "labels of the merged class are those of its successor"
    right = [[0, 1, 2, 3, 5][k] == label for k, label in zip(p.argmax(1).tolist(), labels, strict=True)]
    reported = set(read(merged.work.predictions, schema.PREDICTIONS).filter(split="test")["image_id"])
    images = rows.column("image_id").to_pylist()
    known = [r for r, i, label in zip(right, images, labels, strict=True) if i in reported and label is not None]
    assert figures(merged)["now/overall"] == pytest.approx(sum(known) / len(known))
    classes = [line.split(",")[0] for line in (merged.work.plots / "per_class.csv").read_text().splitlines()[1:]]
    assert classes == checkpoint.read_card(merged.work.model).output_class_names


def test_every_score_measures_under_a_register_with_merged_and_retired_classes(first, tmp_path):
    layout = after(first, tmp_path, MERGE, {"operation": "retired", "class_id": 0}, answered=True)
    found = figures(layout)
    for score in SCORES:
        if score["name"] in ("energy", "openmax"):
            continue  # void after an update by slda
        assert 0 <= found[f"open_by_score/{score['name']}/auroc"] <= 1
    card = checkpoint.read_card(layout.work.model)
    assert card.output_classes.of[:6] == [-1, 0, 1, 2, 0, 3]
    assert len(card.class_ids) > 6, "new classes were learned beside them"


def test_the_gate_holds_the_champion_to_the_same_register(first, merged):
    page = json.loads(merged.work.gate.read_text())
    assert page["classes"] == 5
    assert page["metrics"]["known_accuracy"]["difference"] == 0, "one network, one register"
    before = checkpoint.load(first.generation("0000").model)
    card = comparison.by_register(before.card, manifest_rows.register(merged))
    assert card.output_class_ids == [0, 1, 2, 3, 5]


def test_a_retired_class_is_not_predicted_and_its_images_are_neither_known_nor_open(first, plain, tmp_path):
    layout = after(first, tmp_path, {"operation": "retired", "class_id": 1})
    card = checkpoint.read_card(layout.work.model)
    assert card.output_classes.of == [0, -1, 1, 2, 3, 4]
    rows, before = told(layout, layout.work.predictions), told(plain, plain.work.predictions)
    assert 1 in set(before["class_id"])
    assert 1 not in set(rows["class_id"])
    assert rows.height == before.filter(pl.col("class_id_right").ne_missing(1)).height
    assert figures(layout)["open/classes"] == figures(plain)["open/classes"]
    back = after(
        first, tmp_path / "b", {"operation": "retired", "class_id": 1}, {"operation": "restored", "class_id": 1}
    )
    assert figures(back) == figures(plain)
    assert checkpoint.read_card(back.work.model).output_classes is None


def test_without_a_class_of_generation_0_nothing_is_measured_as_that_of_a_later_one(first, tmp_path):
    layout = after(first, tmp_path, answered=True)
    world.seal(layout, "0001")
    gone = [RESTORE | {"operation": "retired", "class_id": i, "number": i} for i in range(6)]
    kind = schema.OPERATIONS
    recorded(layout, layout.register, schema.from_rows(kind, gone), kind, "class_retired")
    world.opened(layout, "0002", "0001", "update")
    world.compute(layout, curate, update, evaluate)
    assert checkpoint.read_card(layout.work.model).output_class_ids == [6, 7]
    assert not [name for name in figures(layout) if name.startswith("closed/")]
    reasons = json.loads(layout.work.absent("evaluate").read_text())
    assert reasons["closed/overall"] == "no test image of a class of generation 0"
    assert figures(layout)["now/overall"] > 0


def test_of_a_champion_of_which_no_class_is_left_what_was_learned_since_is_judged_alone(first, tmp_path):
    gone = [{"operation": "retired", "class_id": i} for i in range(6)]
    layout = after(first, tmp_path, *gone, answered=True)
    assert checkpoint.read_card(layout.work.model).output_class_ids == [6, 7]
    page = json.loads(layout.work.gate.read_text())
    learned = page["metrics"].pop("learned_accuracy")
    assert not page["metrics"]
    assert set(page["absent"].values()) == {"the register has no class of the champion any more"}
    manifest = read(layout.work.manifest, schema.MANIFEST).filter(pl.col("class_id").is_in([6, 7]))
    told = read(layout.work.predictions, schema.PREDICTIONS).join(manifest, on="image_id")
    judged = told.filter(split="gate") if "gate" in told["split"] else told.filter(split="val")
    right = (judged["class_id"] == judged["class_id_right"]).to_list()
    assert (learned["champion"], learned["challenger"]) == (0, sum(right) / len(right))
    assert learned["images"] == len(right) > 0


def test_images_of_a_split_class_come_first_in_the_batch_within_its_budget(first, plain, tmp_path):
    layout = after(first, tmp_path, {"operation": "split", "class_id": 0})
    manifest = read(layout.work.manifest, schema.MANIFEST)
    mine = manifest.filter(class_id=0)
    assert figures(layout, "curate")["data/waiting"] == mine.height > 0
    counts, asked = figures(layout, "select"), read(layout.work.selection, schema.SELECTION)
    assert counts["select/picked"] == counts["select/budget"] == figures(plain, "select")["select/budget"]
    adjudicated = int(counts["select/adjudicated"])
    assert adjudicated == min(mine.height, int(counts["select/budget"]))
    assert asked["rank"].to_list() == list(range(asked.height))
    first_ones = asked.head(adjudicated).join(mine, on="image_id", how="left", maintain_order="left")
    order = [("test", "val", "train").index(split) for split in first_ones["split"]]
    assert order == sorted(order)
    assert set(first_ones["strategy"]) == {"adjudication"}
    name = read(layout.work.classes, schema.CLASSES).row(0, named=True)["name"]
    assert set(asked["reason"].head(adjudicated)) == {f"its class {name!r} was split: into which?"}
    rest = asked.tail(asked.height - adjudicated).join(manifest, on="image_id", how="left")
    assert set(rest["split"]) <= {"pool"}
    assert name not in set(asked["suggested"])
    assert not set(told(layout, layout.work.predictions)["class_id_right"].drop_nulls()) & {0}


def test_a_split_class_may_take_the_whole_batch(first, tmp_path):
    small = {"max_images": 14}  # of 83
    layout = after(first, tmp_path, {"operation": "split", "class_id": 0}, budget=small)
    counts, asked = figures(layout, "select"), read(layout.work.selection, schema.SELECTION)
    assert counts["select/adjudicated"] == counts["select/picked"] == counts["select/budget"] == asked.height == 14
    assert set(asked["strategy"]) == {"adjudication"}


def test_images_of_a_split_class_raise_a_budget_that_is_too_small(first, tmp_path, monkeypatch):
    layout = after(first, tmp_path, {"operation": "split", "class_id": 0}, budget={"share_of_arrivals": 0.05})
    waiting = read(layout.work.manifest, schema.MANIFEST).filter(class_id=0).height
    assert 14 < waiting < 100, "14 is the budget of the settings"

    def asked() -> list[float]:
        world.compute(layout, select)
        rows, counts = read(layout.work.selection, schema.SELECTION), figures(layout, "select")
        assert set(rows["strategy"]) <= {"adjudication"}
        assert set(rows["share"]) <= {"split"}
        return [*(counts[f"select/{name}"] for name in ("budget", "picked", "adjudicated")), rows.height]

    assert asked() == [waiting] * 4
    monkeypatch.setattr(budget, "ANYWAY", 20)
    assert asked() == [20] * 4
    for share, number in ((0.001, 20), (0.0, 0)):  # a batch without arrivals, and one that is to ask nobody
        params = yaml.safe_load(layout.params.read_text()) | {"budget": {"share_of_arrivals": share}}
        layout.params.write_text(yaml.safe_dump(params))
        assert asked() == [number] * 4


def test_what_a_parent_has_learned_goes_by_class_and_not_by_name(first, merged):
    this, classes = load_run(merged), manifest_rows.register(merged)
    manifest = schema.read(merged.work.manifest, schema.MANIFEST)
    card, knew = checkpoint.read_card(merged.generation("0000").model), update.labelled_before(this, merged)
    assert update.unlearned(manifest, card, classes, knew).num_rows == 0
    since = manifest.schema.get_field_index("labelled_in")
    rows = manifest.to_pylist()
    place = next(i for i, row in enumerate(rows) if row["split"] == "train" and row["class_id"] == card.class_ids[0])
    later = [this.generation if i == place else row["labelled_in"] for i, row in enumerate(rows)]
    waited = manifest.set_column(since, manifest.schema.field(since), pa.array(later, pa.string()))
    found = update.unlearned(waited, card, classes, knew)
    assert found.column("image_id").to_pylist() == [rows[place]["image_id"]], "its class was not used when it came"
    without = card.model_copy(update={"class_ids": card.class_ids[:-1], "class_counts": card.class_counts[:-1]})
    again = update.unlearned(manifest, without, classes, knew)
    train = manifest_rows.of_classes(manifest_rows.training(manifest), [5])
    assert again.column("image_id").equals(train.column("image_id")), "a class that has no column any more"


def test_images_of_a_merged_class_are_counted_once_each_when_it_is_restored(first, tmp_path):
    layout = after(first, tmp_path, MERGE, answered=True)
    world.seal(layout, "0001")
    rows = schema.from_rows(schema.OPERATIONS, [RESTORE])
    recorded(layout, layout.register, rows, schema.OPERATIONS, "class_restored")
    world.opened(layout, "0002", "0001", "update")
    world.compute(layout, curate)
    train = read(layout.work.manifest, schema.MANIFEST).filter(pl.col("split") == "train", pl.col("class_id") >= 0)
    answered = train.filter(labelled_in="0002")
    assert set(answered["class_id"]) == {4}, "learned as 1 while 4 was merged into it"
    world.compute(layout, update)
    assert figures(layout, "update")["update/learned_images"] == answered.height > 0
    model = checkpoint.load(layout.work.model)
    there = [train.filter(class_id=i).height for i in model.card.class_ids]
    assert model.card.class_counts == model.statistics.counts.tolist() == there
    kept, labels = model.statistics.kept["features"].flatten(1), model.statistics.kept["labels"]
    assert len(kept) == len(kept.unique(dim=0)) == train.filter(pl.col("labelled_in") != "0000").height
    assert int((labels == 4).sum()) == answered.height


def pictures(layout: Layout, folder: Path, number: int = 8) -> Path:
    rows = manifest_rows.of_splits(schema.read(layout.work.manifest, schema.MANIFEST), "val").slice(0, number)
    for i, pixels in enumerate(Shards(layout.raw).read_many(rows)):
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


def predict(folders: list[Path], model: checkpoint.Checkpoint, name: str) -> list[Prediction]:
    return list(predict_images(images_at(list(map(str, folders)), SourceAccess(Path())), model, name))


def test_predict_and_what_mlflow_serves_add_the_same_probabilities(merged, tmp_path):
    folder = pictures(merged, tmp_path)
    model = checkpoint.load(merged.work.model)
    found = list(predict([folder], model, "0001"))
    p, _, _ = summed(merged, "val")
    calibrated = (p[:8].log() / model.card.temperature).softmax(1)
    names = model.card.output_class_names
    assert [row.nearest for row in found] == [names[k] for k in calibrated.argmax(1).tolist()]
    assert [row.probability for row in found] == pytest.approx(calibrated.amax(1).tolist(), abs=1e-4)
    assert {row.label for row in found} <= {*names, "unknown"}
    for row in found:
        assert row.label_probability == (None if row.label == "unknown" else row.probability)


def test_predict_rolls_up_to_the_parent_and_gives_the_leaf_beside_it(first, tmp_path):
    (tmp_path / "p").mkdir()
    family = [{"operation": "described", "class_id": i, "parent": "low", "aliases": []} for i in (0, 1, 2)]
    layout = after(first, tmp_path / "w", *family, update={"roll_up": 0.99, "target_tpr": 1.0})
    model = checkpoint.load(layout.work.model)
    names = model.card.output_class_names
    assert model.card.parents == dict.fromkeys(names[:3], "low")
    found = list(predict([pictures(layout, tmp_path / "p", 60)], model, "0001"))
    rolled = [row for row in found if row.label == "low"]
    assert rolled
    for row in found:
        if row.label == "unknown":
            continue
        sure = row.probability >= 0.99
        assert row.label == ("low" if row.nearest in names[:3] and not sure else row.nearest)
        assert (row.label_probability >= row.probability) if row.label == "low" else True
    plain_model = checkpoint.Checkpoint(
        model.network, model.card.model_copy(update={"roll_up": 0.0}), model.score_state, model.statistics
    )
    raw = list(predict([tmp_path / "p"], plain_model, "0001"))
    assert [(r.nearest, r.probability, r.score) for r in raw] == [(r.nearest, r.probability, r.score) for r in found]


def test_the_onnx_file_of_a_model_with_merged_columns_answers_as_predict_does(merged, tmp_path):
    import numpy as np
    import onnxruntime

    (tmp_path / "p").mkdir()
    model = checkpoint.load(merged.work.model)
    graph.write(tmp_path / "m.onnx", model, "0001")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    files = sorted(pictures(merged, tmp_path / "p").iterdir())
    read_in = from_pixels([np.array(Image.open(file).convert("RGB")) for file in files], model.card.transform)
    canvases = read_in.images.permute(0, 2, 3, 1).contiguous().numpy()
    probability, _, _ = session.run(None, {"images": canvases})
    found = predict(files, model, "0001")
    assert probability.max(1).tolist() == pytest.approx([row.probability for row in found], abs=1e-4)
    told = json.loads(session.get_modelmeta().custom_metadata_map["oltr.classes"])
    assert [row["id"] for row in told] == model.card.output_class_ids
    assert [told[k]["name"] for k in probability.argmax(1)] == [row.nearest for row in found]


def test_a_model_from_elsewhere_brings_what_became_of_its_classes(merged):
    card = checkpoint.read_card(merged.work.model)
    rows = imported_model.register_of(card)
    assert [(row["class_id"], row["status"], row["successor"]) for row in rows] == [
        (0, "active", None), (1, "active", None), (2, "active", None), (3, "active", None), (4, "merged", 1),
        (5, "active", None),
    ]  # fmt: skip
    assert manifest_rows.output_classes(card.class_ids, rows) == card.output_classes
    gone = card.output_classes.model_copy(update={"of": [0, 1, 2, 3, -1, 4]})
    retired = imported_model.register_of(card.model_copy(update={"output_classes": gone}))
    assert [row["status"] for row in retired] == ["active"] * 4 + ["retired", "active"]
