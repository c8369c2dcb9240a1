"""A model from elsewhere as the parent of a first generation: what is taken over, measured, learned and refused."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest
import timm
import torch
from safetensors.torch import save_file

from oltr_core import checkpoint, digest, imported_model, ledger, manifest_rows, schema
from oltr_core.class_statistics import measure
from oltr_core.images.transforms import Transform
from oltr_core.inference import features_of
from oltr_core.layout import IMPORTED, Layout
from oltr_core.models import NetworkSpec
from oltr_core.settings.operations import Evidence, Gate
from oltr_core.stages import curate, evaluate, report, select, train, update
from oltr_core.upkeep import retraining
from tasks import gate
from tests.core.stages import loop_world as world

AT = world.AT.isoformat()
SMALL = "test_resnet"  # timm's own for tests


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Layout:
    """batch-0 of the digits, nothing made of it yet."""
    return world.make(tmp_path_factory.mktemp("start"), curate={"min_train_per_class": 1})


@pytest.fixture(scope="module")
def old(start, tmp_path_factory) -> Layout:
    """Another workspace, with its generation 0."""
    layout = copied(start, tmp_path_factory.mktemp("old"))
    world.compute(layout)
    world.seal(layout, "0000")
    return layout


@pytest.fixture(scope="module")
def names(old) -> list[str]:
    return checkpoint.load(old.generation("0000").model).card.class_names


@pytest.fixture(scope="module")
def state(tmp_path_factory, names):
    """A state dict of a timm model of as many classes."""
    torch.manual_seed(0)
    model = timm.create_model(SMALL, num_classes=len(names))
    path = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(model.state_dict(), path)
    return path


def copied(layout: Layout, root) -> Layout:
    shutil.copytree(layout.root, root, dirs_exist_ok=True)
    return Layout(root)


def listed(folder, rows: list[str]):
    path = folder / "classes.csv"
    path.write_text("name\n" + "".join(f'"{row}"\n' for row in rows))
    return path


def begin(layout: Layout, file, timm_name=None, classes=None, *stages) -> dict:
    """Import, as `flows.steps` does but for DVC, and make generation 0 of it."""
    folder = layout.generation(IMPORTED)
    details = imported_model.fill(folder, layout, file, timm_name, classes)
    event = ledger.Event("imported_model", IMPORTED, digest.of_folder(folder.folder), AT, details)
    ledger.append(layout.ledger, event)
    world.opened(layout, "0000", IMPORTED, "update")
    world.compute(layout, *(stages or (curate, train, update, evaluate, select, report)))
    return details


def test_the_imported_model_is_the_champion_until_a_generation_is():
    state = ledger.replay([ledger.Event("imported_model", IMPORTED, "d", AT)])
    assert (state.champion, state.sealed, state.generations) == (IMPORTED, {IMPORTED: "d"}, [])
    assert state.next_number == 0


def test_one_of_our_checkpoints_keeps_columns_names_ids_and_statistics_and_is_extended(old, start, names, tmp_path):
    layout = copied(start, tmp_path)
    file = old.generation("0000").model
    details = begin(layout, file)
    assert details == {
        "file": "model.safetensors",
        "file_digest": digest.of_file(file),
        "timm": None,
        "classes": len(names),
    }
    before, taken = checkpoint.load(file), checkpoint.load(layout.generation(IMPORTED).model)
    assert taken.card == before.card
    for name in ("means", "stds", "counts"):
        assert torch.equal(getattr(taken.statistics, name), getattr(before.statistics, name))
    after = checkpoint.load(layout.work.model)
    assert after.card.class_names[: len(names)] == names
    assert after.card.class_ids[: len(names)] == before.card.class_ids
    assert after.card.trunk_digest == before.card.trunk_digest
    assert after.card.parent == IMPORTED
    rows = schema.read(layout.work.manifest, schema.MANIFEST)
    labelled = manifest_rows.training(rows).num_rows
    assert json.loads(layout.work.metrics("update").read_text())["update/learned_images"] == labelled
    assert sum(after.card.class_counts) == sum(before.card.class_counts) + labelled
    assert schema.read(layout.work.base, schema.MANIFEST).num_rows == 0
    page = json.loads(layout.work.gate.read_text())
    assert page["champion"] == IMPORTED
    assert page["metrics"]["known_accuracy"]["champion"] > 0.5
    world.seal(layout, "0000")
    # of six epochs, other figures depend on the kind of processor
    verdict, why = gate.judge(layout, Gate(tolerances={"known_accuracy": 0.2}), "0000", AT)
    assert verdict == "promoted", why


def test_a_timm_model_has_its_classes_measured_by_the_first_batch_and_nothing_learned_of_them(
    start, state, names, tmp_path
):
    layout = copied(start, tmp_path)
    begin(layout, state, SMALL, listed(tmp_path, names))
    taken, after = checkpoint.load(layout.generation(IMPORTED).model), checkpoint.load(layout.work.model)
    assert taken.statistics is None
    assert taken.card.transform == Transform(size=8)
    assert taken.card.class_counts == [0] * len(names)
    rows = manifest_rows.training(schema.read(layout.work.manifest, schema.MANIFEST))
    features = features_of(rows, taken.network, taken.card.transform, layout)
    labels = manifest_rows.columns(rows, taken.card.class_ids)
    wanted = measure(features, labels, len(names))
    torch.testing.assert_close(after.statistics.means, wanted.means)
    torch.testing.assert_close(after.statistics.stds, wanted.stds)
    assert after.statistics.counts.tolist() == after.card.class_counts == labels.bincount().tolist()
    assert after.card.head_digest == taken.card.head_digest
    assert after.card.threshold is not None
    assert "backbone" in str(after.card.network)
    assert after.card.network.backbone.weights == ""
    page = json.loads(layout.work.gate.read_text())
    assert page["metrics"] == {}
    assert set(page["absent"].values()) == {"the champion is an imported model without a threshold"}
    assert retraining.reasons(layout, Evidence()) == []
    world.seal(layout, "0000")
    details = {"parent": IMPORTED, "mode": "update"}
    ledger.append(layout.ledger, ledger.Event("opened", "0000", "", AT, details))
    assert gate.judge(layout, Gate(), "0000", AT)[0] == "promoted"
    assert retraining.reasons(layout, Evidence()) == []


def test_classes_that_the_list_lacks_are_learned_and_an_empty_name_leaves_its_column_out(
    start, state, names, tmp_path
):
    layout = copied(start, tmp_path)
    begin(layout, state, SMALL, listed(tmp_path, [*names[:-1], ""]), curate, train, update)
    taken, after = checkpoint.load(layout.generation(IMPORTED).model), checkpoint.load(layout.work.model)
    assert taken.card.class_names == names[:-1]
    assert after.card.class_names == names
    assert after.card.class_ids == list(range(len(names)))
    classes = pl.read_parquet(layout.work.classes)
    assert classes["first_generation"].unique().to_list() == ["0000"]
    of_new = after.card.class_counts[-1]
    assert of_new > 0
    assert after.statistics.kept["labels"].tolist() == [len(names) - 1] * of_new
    original = timm.create_model(SMALL, num_classes=len(names)).eval()
    from safetensors.torch import load_file

    original.load_state_dict(load_file(state))
    images = taken.card.transform(torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8))
    with torch.no_grad():
        torch.testing.assert_close(taken.network(images).mean_logits, original(images)[:, :-1], rtol=1e-3, atol=1e-4)


def test_a_class_list_is_read_column_by_column_with_or_without_a_byte_order_mark(tmp_path):
    file = tmp_path / "c.csv"
    for start in ("", "\ufeff"):
        file.write_text(f'{start}id,name\n7, red deer \n8,""\n9,"fox, red"\n8\n', encoding="utf-8")
        assert imported_model.class_list(file) == ["red deer", "", "fox, red", ""]
    for text in ("name\ncat\n\ndog\nbird\n\n", "name\r\ncat\r\n\r\ndog\r\nbird"):
        file.write_text(text, newline="")
        assert imported_model.class_list(file) == ["cat", "", "dog", "bird"], "as a spreadsheet writes an empty cell"
    file.write_text("id,name\n\n1,cat\n\n2,dog\n")
    assert imported_model.class_list(file) == ["cat", "dog"]
    for text, problem in (
        ("name\na\nb\n\nc\nb\n", r"c.csv:6: 'b': a name that stands there twice"),
        ("name\na\nb\tb\n", r"c.csv:3: .* without control characters"),
        ("name\na\n" + "x" * 201, r"c.csv:3: .* at most 200 characters"),
        ("", "expected a column 'name', found nothing"),
        ("id,label\n1,a\n", "expected a column 'name', found id, label"),
        ("name\na\n,\n", "expected two named classes or more, found 1"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=problem):
            imported_model.class_list(file)


def test_the_register_of_a_card_has_a_row_per_class_and_what_became_of_it():
    card = checkpoint.Card(
        class_ids=[4, 0, 7, 9], class_names=["elk", "deer", "fox", "hare"], class_counts=[1] * 4,
        network=NetworkSpec(), transform=Transform(), parents={"fox": "Vulpes", "Vulpes": "Canidae"},
    )  # fmt: skip
    same = {"aliases": [], "first_generation": "0000", "successor": None}
    assert imported_model.register_of(card) == [
        {"class_id": k, "name": name, "status": "active", "parent": "Vulpes" if name == "fox" else None, **same}
        for k, name in ((0, "deer"), (4, "elk"), (7, "fox"), (9, "hare"))
    ]
    # elk was merged into deer, hare was retired, and fox has another name
    answers = checkpoint.OutputClasses(ids=[0, 7], names=["deer", "red fox"], of=[0, 0, 1, -1])
    rows = imported_model.register_of(card.model_copy(update={"output_classes": answers}))
    assert [(r["class_id"], r["name"], r["status"], r["successor"]) for r in rows] == [
        (0, "deer", "active", None),
        (4, "elk", "merged", 0),
        (7, "red fox", "active", None),
        (9, "hare", "retired", None),
    ]


def test_a_class_without_an_image_is_refused_by_name(start, state, names, tmp_path):
    layout = copied(start, tmp_path)
    with pytest.raises(ValueError, match=f"1 of {len(names)} classes of the imported .* such as 'yeti'"):
        begin(layout, state, SMALL, listed(tmp_path, [*names[:-1], "yeti"]), curate, train, update)


def test_what_does_not_fit_is_refused_in_one_sentence(old, start, state, names, tmp_path):
    layout, folder = copied(start, tmp_path / "w"), tmp_path / "f"
    folder.mkdir()
    good, sealed = listed(tmp_path, names), old.generation("0000")
    (folder / "text.safetensors").write_text("no tensors")
    (folder / "latin.csv").write_bytes(b"name\nL\xf6we\n")
    (folder / "other.csv").write_text("label\ncat\n")
    (folder / "twice.csv").write_text("name\ncat\ncat\n")
    (folder / "unknown.csv").write_text("name\ncat\nUnknown\n")
    (folder / "one.csv").write_text("name\ncat\n")
    (folder / "more.csv").write_text("name\n" + "".join(f"{n}\n" for n in [*names, "extra"]))
    for file, name, classes, sentence in (
        (folder / "gone", None, None, "gone: expected a safetensors file, and there is none"),
        (sealed.model, None, good, "names its classes itself; leave --classes out"),
        (sealed.base_model, None, None, "a checkpoint without names of its classes"),
        (state, None, None, "a safetensors file without its card"),
        (state, SMALL, None, "give --classes a list of them"),
        (state, SMALL, folder / "gone.csv", "gone.csv: expected a CSV of class names"),
        (state, SMALL, folder / "latin.csv", "latin.csv: expected UTF-8"),
        (state, SMALL, folder / "other.csv", "expected a column 'name', found label"),
        (state, SMALL, folder / "twice.csv", "twice.csv:3: 'cat': a name that stands there twice"),
        (state, SMALL, folder / "unknown.csv", "unknown.csv:3: 'Unknown': the name that predictions have"),
        (state, SMALL, folder / "one.csv", "expected two named classes or more, found 1"),
        (state, SMALL, folder / "more.csv", rf"shape \[{len(names) + 1}, \d+\] .* found \[{len(names)}, \d+\]"),
        (state, "test_resnet3", good, "timm has no model 'test_resnet3'"),
        (state, "test_vit", good, "lacks .* tensors|of another model"),
        (folder / "text.safetensors", SMALL, good, "expected a safetensors file"),
    ):
        with pytest.raises(ValueError, match=sentence) as refused:
            imported_model.fill(layout.generation(IMPORTED), layout, file, name, classes)
        assert "\n" not in str(refused.value)
        assert not layout.generation(IMPORTED).folder.exists()


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("test_vit", 8, "takes no image of 8 x 8 pixels .* correct params.yaml: train.transform"),
        ("test_convnext", 64, "does more between pooled features and classifier"),
    ],
)
def test_a_model_that_takes_other_images_or_does_more_than_a_linear_map_is_refused(name, size, sentence, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2)
    for parameter in model.parameters():  # a normalisation that is the identity would not show
        torch.nn.init.normal_(parameter, std=0.5)
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=sentence):
        imported_model.of_timm(tmp_path / "m.safetensors", name, ["a", "b"], Transform(size=size))
