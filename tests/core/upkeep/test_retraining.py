"""A full training is recommended by evidence since the last one of the champion's line, each limit by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oltr_core import ledger, schema
from oltr_core.layout import GENESIS, Layout
from oltr_core.ledger import Event
from oltr_core.settings.operations import Evidence
from oltr_core.upkeep.retraining import reasons

AT = "2026-01-01T00:00:00Z"
NEVER = Evidence(forgetting=1, new_classes=1, out_of_few=0, refused=0, drift=1)


def generation(
    layout: Layout, name: str, parent: str, mode: str, images: dict[str, int], verdict: str = "promoted", **metrics
) -> None:
    """Sealed, with so many training images per class; a class of the name of a digit came with that generation."""
    of = layout.generation(name)
    of.folder.mkdir(parents=True)
    of.metrics.write_text(json.dumps(metrics))
    rows = []
    for k, (label, number) in enumerate(images.items()):
        for i in range(number):
            row = dict.fromkeys(schema.MANIFEST.names) | {"image_id": f"{k}-{i}", "batch": "b", "source": "s"}
            row |= {"shard": 0, "row": 0, "width": 1, "height": 1, "class_id": k, "label": label, "split": "train"}
            rows.append(row)
    rows.append(rows[0] | {"image_id": "x", "split": "test"})
    schema.write(of.manifest, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    classes = [
        {"class_id": k, "name": label, "aliases": [], "status": "active", "successor": None}
        | {"first_generation": label if label.isdigit() else "0000"}
        for k, label in enumerate(images)
    ]
    schema.write(of.classes, schema.from_rows(schema.CLASSES, classes), schema.CLASSES)
    ledger.append(layout.ledger, Event("opened", name, name, AT, {"parent": parent, "mode": mode}))
    ledger.append(layout.ledger, Event("sealed", name, name, AT))
    ledger.append(layout.ledger, Event(verdict, name, name, AT))


@pytest.fixture
def line(tmp_path: Path) -> Layout:
    """A full training with deer and lynx; two updates: lynx left few, 0001 came; the last one was refused."""
    layout = Layout(tmp_path)
    generation(layout, "0000", GENESIS, "train", {"deer": 30, "lynx": 20})
    generation(layout, "0001", "0000", "update", {"deer": 30, "lynx": 20, "0001": 20}, **{"loop/forgetting": 0.02})
    generation(layout, "0002", "0001", "update", {"deer": 30, "lynx": 21, "0001": 20}, **{"loop/forgetting": 0.101})
    generation(layout, "0003", "0002", "update", {"deer": 30}, "refused", **{"loop/forgetting": 0.9})
    return layout


def change(**limits) -> Evidence:
    return NEVER.model_copy(update=limits)


def test_nothing_is_due_within_the_limits_and_each_limit_speaks_for_itself(line):
    assert reasons(line, NEVER) == []
    assert reasons(line, change(forgetting=0.101)) == []
    assert reasons(line, change(forgetting=0.1)) == ["forgetting is 0.101, more than 0.1 (loop/forgetting of 0002)"]
    assert reasons(line, change(new_classes=0.34)) == []
    assert reasons(line, change(new_classes=0.33)) == [
        "1 of 3 classes came after the full training of 0000, more than 33% of them"
    ]
    assert reasons(line, change(out_of_few=2)) == []
    assert reasons(line, change(out_of_few=1)) == [
        "lynx: 20 or fewer training images at the full training of 0000, more than 20 now"
    ]
    line.generation("0002").metrics.write_text("{}")  # of no class of old there was an image to test
    assert reasons(line, change(forgetting=0)) == []


def test_updates_that_were_refused_in_a_row_are_a_reason_until_a_full_training_was_tried(line):
    said = "refused updates of 0002, {} or more in a row"
    assert reasons(line, change(refused=1)) == [f"0003: {said.format(1)}"]
    assert reasons(line, change(refused=2)) == []
    generation(line, "0004", "0002", "update", {"deer": 30}, "refused")
    assert reasons(line, change(refused=2)) == [f"0003, 0004: {said.format(2)}"]
    generation(line, "0005", "0002", "train", {"deer": 30}, "refused")
    assert reasons(line, change(refused=1)) == []
    generation(line, "0006", "0002", "update", {"deer": 30}, "refused")
    assert reasons(line, change(refused=1)) == [f"0006: {said.format(1)}"]


def test_a_champion_that_was_trained_in_full_is_trained_anew_where_its_updates_are_refused(tmp_path):
    layout = Layout(tmp_path)
    generation(layout, "0000", GENESIS, "train", {"deer": 30})
    assert reasons(layout, change(refused=1)) == []
    generation(layout, "0001", "0000", "update", {"deer": 30, "lynx": 30}, "refused", **{"loop/forgetting": 1})
    assert reasons(layout, change(refused=1, out_of_few=1)) == ["0001: refused updates of 0000, 1 or more in a row"]


def test_images_far_from_the_full_training_are_a_reason_by_the_newest_look_from_its_network(line):
    far = {"pool/drift": 0.93, "pool/drift_low": 0.91}
    assert reasons(line, change(drift=0.5)) == []
    generation(line, "0004", "0002", "update", {"deer": 30}, "refused", **far)
    assert reasons(line, change(drift=0.91)) == [], "the whole interval lies beyond the limit"
    assert reasons(line, change(drift=0.9)) == [
        "the newest images lie far from those of the full training of 0000: a classifier tells them apart with an "
        "AUROC of 0.93 (95 % interval from 0.91), more than 0.9 (pool/drift of 0004)"
    ]
    generation(line, "0005", "0002", "train", {"deer": 30}, "refused", **{"pool/drift_low": 0.99, "pool/drift": 0.99})
    assert len(reasons(line, change(drift=0.95))) == 0, "another network has another distance"
    generation(line, "0006", "0002", "update", {"deer": 30}, "refused", **{"pool/drift": 0.6, "pool/drift_low": 0.5})
    assert reasons(line, change(drift=0.6)) == [], "the newest look counts"


def test_all_that_speaks_for_it_is_said_by_default(line):
    assert [sentence.split(" ")[0] for sentence in reasons(line, Evidence())] == ["forgetting", "lynx:"]


def test_a_champion_that_was_trained_in_full_needs_none_and_a_rollback_counts_from_its_own_line(line):
    ledger.append(line.ledger, Event("rolled_back", "0001", "hand", AT))
    assert reasons(line, change(out_of_few=1)) == []
    generation(line, "0004", "0002", "train", {"deer": 30, "lynx": 30}, **{"loop/forgetting": 0.9})
    assert reasons(line, Evidence()) == []


def test_before_the_first_generation_nothing_is_due(tmp_path):
    assert reasons(Layout(tmp_path), Evidence()) == []
