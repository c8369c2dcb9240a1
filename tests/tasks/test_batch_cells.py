"""The batch as people get it, and how it is read back."""

from __future__ import annotations

import csv

import pytest

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator, TruthAnnotator
from tasks.annotator import batch, folder, returned, truth
from tests.core.data_world import picture, run_curate, run_ingest, seal, workspace
from tests.tasks.waiting_world import checked

NAMES = ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "'=x", "plain", "'quoted"]


@pytest.fixture
def layout(tmp_path) -> Layout:
    """A sealed generation that asks about an image of the pool per class, whose names a spreadsheet would execute."""
    sources = [{"name": "folder", "path": "photos"}, {"name": "unlabelled", "path": "new"}]
    layout = workspace(tmp_path, [{"batch": "b", "sources": sources}])
    for number, name in enumerate(n.replace("/", "\N{DIVISION SLASH}") for n in NAMES):
        for image in range(4):
            picture(tmp_path / "photos" / name / f"{image}.png", 10 * number + image)
        picture(tmp_path / "new" / f"{number}.png", 1000 + number)
    run_ingest(layout, "b")
    manifest = run_curate(layout)
    pool = manifest.filter(split="pool")["image_id"].to_list()
    same = {"u_open": 0.0, "u_info": 0.0, "merit": 0.0, "reason": "=1+1", "strategy": "random"}
    rows = [{**same, "image_id": i, "rank": n, "suggested": classes(layout)[n]} for n, i in enumerate(pool)]
    schema.write(layout.work.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    layout.work.contact_sheet.write_bytes(b"")
    seal(layout, 0)
    return layout


def classes(layout: Layout) -> list[str]:
    return schema.read(layout.work.classes, schema.CLASSES).column("name").to_pylist()


def test_no_cell_of_an_exported_table_is_a_formula_and_all_are_read_back_equal(layout):
    batch.export(layout, "0000")
    text = layout.export("0000").table.read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(NAMES)
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r")]
    answered = layout.root / "0000.csv"  # the suggestion, copied in a spreadsheet into the column of labels
    with answered.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "label": row["suggested"]} for row in rows)
    read = folder.read(answered, "0000", batch.class_names(layout, "0000"))
    assert [row["label"] for row in read] == classes(layout)
    assert checked(layout, "0000", read).num_rows == len(NAMES)


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "\t=1", " @x", "a=1", "'a", "", "ant"])
def test_a_cell_is_read_back_as_it_was(text):
    assert schema.as_meant(schema.defused(text)) == text
    assert schema.defused(text)[:1] not in tuple("=+-@\t\r") or not text


def test_good_rows_and_wrong_rows_are_told_apart(layout):
    asked = batch.asked(layout, "0000")
    inbox = layout.data / "inbox"
    (inbox / "0000").mkdir(parents=True)
    (inbox / "0000.csv").write_text(
        f"image_id,verdict,label\n{asked[0]},,plain\n{asked[1]},,plian\n{asked[2]},unsure,\n"
    )
    (inbox / "0000" / "eve.csv").write_bytes(b"\xff\xfe")
    (inbox / "0000" / "max.csv").write_text(
        f"image_id,verdict,label\n{asked[3]},,plain\n{asked[4]},,{'x' * 200_000}\n"
    )
    rows = folder.collect(layout, FolderAnnotator(), "0000", "")
    good, errors = returned.sort(layout, "0000", rows)
    assert [row["image_id"] for row in good] == [asked[0], asked[2], asked[3]]
    assert [error.partition(": ")[0].removeprefix(f"{inbox}/") for error in errors] == [
        "0000.csv:3", "0000/eve.csv", "0000/max.csv:3",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no class is called 'plian'; did you mean 'plain'"):
        checked(layout, "0000", rows)


def test_held_back_truth_of_no_class_is_no_class(layout):
    """Images of a published open set are all called so."""
    asked = batch.asked(layout, "0000")
    rows = [{"image_id": image_id, "label": schema.UNKNOWN} for image_id in asked]
    schema.write(layout.truth_of("b"), schema.from_rows(schema.TRUTH, rows), schema.TRUTH)
    found = truth.collect(layout, TruthAnnotator(), "0000", "2026-01-01T00:00:00+00:00")
    assert {(row["verdict"], row["label"]) for row in found} == {("unsure", None)}
    checked(layout, "0000", found)


def test_a_source_with_a_class_of_the_name_of_no_class_is_refused(tmp_path):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}])
    for number in range(8):
        picture(tmp_path / "photos" / ("ant", "Unknown")[number % 2] / f"{number}.png", number)
    run_ingest(layout, "b")
    with pytest.raises(ValueError, match="no class may be called 'Unknown'"):
        run_curate(layout)
