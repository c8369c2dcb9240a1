from __future__ import annotations

import json

import numpy as np
import pytest

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.measured import Measured, read_all
from oltr_core.stages import report

CLASSES = [("deer", "0000"), ("lynx", "0000"), ("otter", "0001")]
GATE = {
    "champion": "0000", "images": 40, "held_apart": True, "classes": 3,
    "metrics": {"known_accuracy": {"champion": 0.931, "challenger": 0.912, "difference": -0.019, "low": -0.063,
                                   "high": 0.021, "images": 34}},
    "absent": {"learned_accuracy": "no class was learned that <nobody> knew"},
}  # fmt: skip


@pytest.fixture
def layout(tmp_path):
    """A generation as the stages before the report leave it: three known classes, one nobody has listed."""
    layout = Layout(tmp_path)
    rng = np.random.default_rng(0)
    layout.data.mkdir()
    layout.run.write_text('{generation: "0001", parent: "0000", mode: update}\n')
    labels = ["deer"] * 150 + ["lynx"] * 12 + ["otter"] * 30 + ["<wolf>"] * 20
    manifest, predictions = [], []
    for i, label in enumerate(labels):
        split = "test" if label == "<wolf>" or i % 4 == 0 else "train"
        class_id = next((n for n, (name, _) in enumerate(CLASSES) if name == label), None)
        image_id = f"{i:064d}"
        manifest.append({
            "image_id": image_id, "batch": "b", "shard": 0, "row": i, "width": 8, "height": 8, "source": "folder",
            "label": label, "class_id": class_id, "label_source": "source", "labelled_in": "0000", "split": split,
        })  # fmt: skip
        if split == "test":
            score = float(rng.normal(0.8 if class_id is None else 0.2, 0.1))
            best = int(rng.integers(3)) if class_id is None else class_id
            predictions.append({
                "image_id": image_id, "class_id": best, "probability": 0.9, "score": score, "split": "test",
            })  # fmt: skip
    manifest.append({**manifest[0], "image_id": "f" * 64, "split": "quarantine", "reason": "discarded by anna"})
    classes = [
        {"class_id": i, "name": name, "aliases": [], "first_generation": first, "status": "active"}
        for i, (name, first) in enumerate(CLASSES)
    ]
    selection = [
        {"image_id": f"{i:064x}", "rank": i, "u_open": 1.0, "u_info": 1.0, "merit": 1.0, "reason": "far from all",
         "suggested": "lynx", "strategy": "u_product"} for i in range(5)
    ]  # fmt: skip
    work = layout.work
    schema.write(work.manifest, schema.from_rows(schema.MANIFEST, manifest), schema.MANIFEST)
    schema.write(work.classes, schema.from_rows(schema.CLASSES, classes), schema.CLASSES)
    schema.write(work.predictions, schema.from_rows(schema.PREDICTIONS, predictions), schema.PREDICTIONS)
    schema.write(work.selection, schema.from_rows(schema.SELECTION, selection), schema.SELECTION)
    values = {"closed/overall": 0.95, "open/auroc": 0.9, "open/unknown_recall": 0.6, "open/known_accuracy": 0.9}
    absent = {"open/few": "no class has 20 or fewer images"}
    Measured(values | {"open/threshold": 0.4}, absent).write(layout, "evaluate")
    work.training_log.write_text(
        "".join(json.dumps({"phase": "representation", "loss": 1 / n}) + "\n" for n in (1, 2, 3))
    )
    work.gate.write_text(json.dumps(GATE))
    parent = [{"generation": "0000", "mode": "train", "metrics": {"closed/overall": 0.97}}]
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").lineage.write_text(json.dumps(parent))
    return layout


def test_the_page_shows_what_was_measured_and_why_something_was_not(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "95.0&thinsp;%" in page
    assert "<small>-2.0 against 0000</small>" in page, "without an interval nothing is painted better or worse"
    assert "no class has 20 or fewer images" in page
    assert "rejected from here on" in page
    assert "discarded by anna" in page
    assert "far from all" in page or "5 images, chosen by <code>u_product" in page


def test_the_page_shows_champion_and_challenger_with_the_difference_and_its_interval(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    for cell in ("93.1", "91.2", "-1.9", "-6.3 to +2.1", "34"):
        assert f'<td class="n">{cell}</td>' in page
    assert "no class was learned that &lt;nobody&gt; knew" in page
    assert "same 40 test images, which no other figure of this page is about" in page
    layout.work.gate.write_text(json.dumps(GATE | {"held_apart": False}))
    report.run(report.Parameters(), layout)
    assert "which the other figures of this page are about too" in layout.work.report.read_text()


def test_the_first_generation_is_compared_with_nobody(layout):
    layout.work.gate.write_text(json.dumps(GATE | {"champion": "genesis", "metrics": {}, "absent": {}}))
    report.run(report.Parameters(), layout)
    assert "Against the champion" not in layout.work.report.read_text()


def test_the_page_says_which_classes_and_which_images_a_shot_group_counts(layout):
    Measured({"closed/few": 0.97, "now/few": 0.83}).write(layout, "evaluate")
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "classes of generation 0, shot groups by their training images at generation 0" in page
    assert "Every class known now, shot groups by the training images that it has now" in page
    assert "few at 0" in page
    assert "few now" in page


def test_the_page_says_since_when_images_were_trained_on(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    train = sum(i % 4 != 0 for i in range(192))  # the fixture tests every fourth image of a known class
    assert f'<tr><td>0000</td><td class="n">{train}</td><td class="n">0</td></tr>' in page


def test_a_label_is_text_and_never_markup(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "<wolf>" not in page
    assert "&lt;wolf&gt;" in page


def test_the_page_needs_no_network_and_no_script(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "http" not in page
    assert "<script" not in page


def test_the_lineage_grows_by_this_generation(layout):
    report.run(report.Parameters(), layout)
    lineage = json.loads(layout.work.lineage.read_text())
    assert [g["generation"] for g in lineage] == ["0000", "0001"]
    assert lineage[1]["metrics"]["closed/overall"] == 0.95


def test_the_same_generation_has_the_same_bytes(layout):
    report.run(report.Parameters(), layout)
    first = layout.work.report.read_bytes()
    report.run(report.Parameters(), layout)
    assert layout.work.report.read_bytes() == first


def test_a_world_without_unknown_images_still_has_a_page(layout):
    found = read_all(layout.work.stage_metrics)
    kept = {k: v for k, v in found.values.items() if not k.startswith("open/")}
    absent = found.absent | {"open/auroc": "no test image is of an unknown class"}
    Measured(kept, absent).write(layout, "evaluate")
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "Not measured: no test image is of an unknown class." in page
    assert page.count("curate.hold_out_classes") == page.count("role: test") == 1, "and how to have it measured"


def test_a_page_with_unknown_images_does_not_say_how_to_get_some(layout):
    report.run(report.Parameters(), layout)
    assert "hold_out_classes" not in layout.work.report.read_text()
