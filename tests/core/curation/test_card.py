"""The data card, of a manifest that is counted by hand."""

from __future__ import annotations

import dataclasses
import html
import re
from base64 import b64decode

import numpy as np
import polars as pl
import pytest

from oltr_core import charts, schema
from oltr_core.curation import card
from oltr_core.images.shards import pack, write_shard
from oltr_core.ingest.thumbnails import thumbnail
from oltr_core.layout import Layout
from oltr_core.settings.reading import Run
from oltr_core.shots import GROUPS

RUN = Run(generation="0001", parent="0000", mode="update")
COLUMNS = {
    "split": pl.String, "label": pl.String, "class_id": pl.Int64, "label_source": pl.String, "group_id": pl.String,
    "batch": pl.String, "source": pl.String, "reason": pl.String,
}  # fmt: skip
#: 21 elks, 2 cats and a dog to train on; ann named two images, and of a yak, which is no class, there is a test image
ROWS = [
    *[("train", "elk", 2, "source", "a", "one", "folder", None)] * 20,
    ("train", "elk", 2, "ann", None, "one", "folder", None),
    *[("train", "cat", 0, "source", None, "one", "folder", None)] * 2,
    ("train", "dog", 1, "ann", None, "two", "a table", None),
    *[(split, "cat", 0, "source", None, "one", "folder", None) for split in ("val", "test")],
    *[(split, "elk", 2, "source", None, "one", "folder", None) for split in ("val", "test")],
    ("test", "yak", None, "source", None, "one", "folder", None),
    *[("pool", None, None, None, None, "two", "unlabelled", None)] * 3,
    ("quarantine", None, None, None, None, "two", "unlabelled", "duplicate of 01"),
    ("quarantine", None, None, None, None, "two", "unlabelled", "duplicate of 02"),
    ("quarantine", "gone", 3, "source", None, "one", "folder", "too small"),
]  # fmt: skip
VALUES = {"data/pool": 3.0, "data/test": 3.0, "data/waiting": 0.0, "data/retired": 0.0}


def facts(rows=tuple(ROWS), names=("cat", "dog", "elk"), refused=("blurred | dark",), **more) -> card.Facts:
    names = {**dict(enumerate(names)), 99: "gone"}
    since = ["0000", "0001", *["0000"] * (len(names) - 2)]
    status = [*["active"] * (len(names) - 1), "retired"]
    classes = pl.DataFrame({
        "class_id": list(names), "name": list(names.values()), "first_generation": since, "status": status,
    })  # fmt: skip
    manifest = pl.DataFrame(list(rows), COLUMNS, orient="row")
    values = VALUES | more.pop("values", {})
    return card.Facts(
        RUN, manifest, classes, pl.DataFrame({"reason": list(refused)}, {"reason": pl.String}), values, **more
    )


def with_images(manifest: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    """The rows with these images, each in the row of its own of the first shard."""
    return manifest.with_columns(image_id=pl.Series(ids), shard=pl.lit(0), row=pl.int_range(pl.len()))


def written(tmp_path, of: card.Facts) -> dict[str, list[list[str]]]:
    """Heading of the Markdown page -> the cells below it, those of the columns' names first."""
    layout = Layout(tmp_path)
    layout.work.folder.mkdir(parents=True)
    card.write(layout, "deer", of)
    first, *parts = layout.work.data_card_text.read_text().split("\n## ")
    assert first.splitlines() == ["# deer: data of generation 0001", "", "Parent 0000, mode update."]
    found = {}
    for part in parts:
        heading, *lines = part.splitlines()
        rows = [line[2:-2].replace(r"\|", "¦").split(" | ") for line in lines if line.startswith("| ")]
        found[heading] = rows or [[line] for line in lines if line]
    return found


def test_each_table_of_the_card_counts_the_images_of_the_manifest(tmp_path):
    share = [0.5, 0.25, 0.75]
    people = [
        {"name": "ann", "answers": 2, "shared": 2, "agreement": share, "gold": 0, "accuracy": None},
        {"name": "bob", "answers": 1, "shared": 0, "agreement": None, "gold": 4, "accuracy": share},
    ]
    names = "cat", "dog", "elk", "ant"
    found = written(tmp_path, facts(names=names, held_out={"dog": 4, "yak": 2}, agreement={"people": people}))
    assert found["What is in it"] == [
        ["split", "images", "known classes", "of unknown classes"],
        ["train", "24", "3", ""], ["val", "2", "2", ""], ["test", "3", "2", "1"], ["pool", "3", "0", ""],
        ["quarantine", "3", "1", ""],
    ]  # fmt: skip
    assert found["Where it came from"] == [
        ["batch", "source", "images", "labelled", "by annotations"], ["one", "folder", "29", "29", "1"],
        ["two", "a table", "1", "1", "1"], ["two", "unlabelled", "5", "0", "0"],
    ]  # fmt: skip
    assert found["Classes"] == [
        ["class", "shots", "train", "val", "test", "since generation"], ["elk", "medium", "21", "1", "1", "0000"],
        ["cat", "few", "2", "1", "1", "0000"], ["dog", "few", "1", "0", "0", "0001"],
        ["ant", "few", "0", "0", "0", "0000"],
    ]  # fmt: skip
    assert found["Held out, to measure openness (curate.hold_out_classes)"][1:] == [
        ["dog", "0", "4", "known since 0001"], ["yak", "1", "2", "open"],
    ]  # fmt: skip
    assert found["Who answered"][1:] == [
        ["ann", "2", "2", "50% (25% to 75%)", "0", "–"], ["bob", "1", "0", "–", "4", "50% (25% to 75%)"],
    ]  # fmt: skip
    assert found["Quarantine"][1:] == [["duplicate of …", "2"], ["blurred ¦ dark", "1"], ["too small", "1"]]


def test_the_page_has_the_long_tail_in_colours_of_its_groups_what_is_known_of_it_and_the_tables(tmp_path):
    of = facts()
    tables = written(tmp_path, of)
    page = Layout(tmp_path).work.data_card.read_text()
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert re.findall(r"<(?:title|h1)>(.*?)</", page)[:2] == ["deer: data of generation 0001"] * 2
    assert charts.STYLE in page
    drawn = page.partition("<svg")[2].partition("</svg>")[0]
    colours = [charts.OF_SHOT[group] for group in ("medium", "few", "few")]
    assert re.findall(rf"<rect [^>]*({'|'.join(set(colours))})", drawn) == colours, "elk, cat and dog"
    assert "training images per class" in drawn
    legend = ", ".join(f"{n} {group} ({charts.OF_SHOT[group]})" for group, n in zip(GROUPS, (0, 1, 2), strict=True))
    assert f"Training images per class: {legend}." in page
    assert [f"<li>{sentence}</li>" in page for sentence in said(of)] == [True] * 4
    assert all(f"<h2>{html.escape(heading)}</h2>" in page for heading in tables)
    assert "<figure" not in page, "no batch has thumbnails"


def test_of_each_group_thumbnails_of_its_classes_come_in_turn_as_many_as_a_sheet_holds(tmp_path, monkeypatch):
    layout, of = Layout(tmp_path), facts()
    ids = [f"{n:03d}" for n in reversed(range(of.manifest.height))]
    of = dataclasses.replace(of, manifest=with_images(of.manifest, ids))
    for batch, rows in (("one", ids[:30]), ("two", ids[20:])):  # some are in both
        found = [{"image_id": i, "jpeg": f"<{i}>".encode()} for i in rows]
        schema.write(layout.batch(batch).thumbnails, schema.from_rows(schema.THUMBNAILS, found), schema.THUMBNAILS)
    layout.batch("three").folder.mkdir()
    place = {
        name: sorted(i for i, row in zip(ids, ROWS, strict=True) if row[:2] == ("train", name))
        for name in ("cat", "dog", "elk")
    }
    first, second = place["cat"]

    def sheets(most: int) -> dict:
        monkeypatch.setattr(card, "ON_A_SHEET", most)
        return card._sheets(layout, of, card.per_class(of))

    def shown(name: str, *rows: str) -> list[tuple]:
        return [(name, f"<{i}>".encode()) for i in rows]

    dog = shown("dog", *place["dog"])
    assert sheets(2) == {"many": [], "medium": shown("elk", *place["elk"][:2]), "few": shown("cat", first) + dog}
    assert sheets(3)["few"] == shown("cat", first, second) + dog
    assert len(sheets(100)["medium"]) == 21
    written(tmp_path, of)
    pictures = re.findall(r"base64,([^\"]+)", layout.work.data_card.read_text())
    assert b64decode(pictures[-1]).decode() == f"<{place['dog'][0]}>"
    assert len(pictures) == 24


def test_where_nothing_is_held_out_or_answered_or_refused_the_card_has_no_table_of_it(tmp_path):
    found = written(tmp_path, facts(ROWS[:3], refused=()))
    assert set(found) == {"Known problems", "What is in it", "Where it came from", "Classes", "Quarantine"}
    assert found["Quarantine"] == [["Nothing."]]


def test_a_class_of_validation_images_alone_is_unknown_on_the_card(tmp_path):
    rows = [row for row in ROWS if row[1] != "yak"] + [("val", "ant", 3, "source", None, "one", "folder", None)] * 2
    of = facts(rows, ("cat", "dog", "elk", "ant"), unknown_validation=True)
    assert [row["name"] for row in card.per_class(of).to_dicts()] == ["elk", "cat", "dog"]
    assert any(sentence.startswith("No test image is of an unknown class") for sentence in said(of))
    assert not any("ant" in sentence.split(": ")[-1] for sentence in said(of))
    found = written(tmp_path, of)
    assert found["What is in it"][1:4] == [["train", "24", "3", ""], ["val", "4", "2", "2"], ["test", "2", "2", "0"]]
    (heading,) = (name for name in found if name.startswith("Unknown to the model"))
    assert found[heading] == [["class", "val", "test"], ["ant", "2", "0"]]
    tested = facts([*rows, ("test", "ant", 3, "source", None, "one", "folder", None)], ("cat", "dog", "elk", "ant"),
                   unknown_validation=True)  # fmt: skip
    assert not any(sentence.startswith("No test image is of an unknown") for sentence in said(tested))


def said(of: card.Facts) -> list[str]:
    return list(card.known_problems(of, card.per_class(of)))


def test_what_a_reader_should_know_is_told_in_a_sentence_each():
    assert said(facts()) == [
        "1 class has no test image, so nothing is measured of it: dog.",
        "1 class has no validation image: dog.",
        "1 class has a single training image: dog.",
        "In quarantine: 4 images or files.",
    ]
    alike = [row for row in ROWS if row[1] != "yak" and row[0] != "quarantine" and row[4] is None]
    disputed = [{"asked_again": again} for again in (True, False, False)]
    values = {"data/pool": 0.0, "data/test": 2.0, "data/waiting": 2.0, "data/retired": 1.0}
    *_, pool, unknown, group, waiting, retired, people, quarantine = said(
        facts(alike, refused=["x"], values=values, agreement={"disputed": disputed})
    )
    assert pool == "There is no pool: nothing can be selected for annotation."
    assert unknown.startswith("No test image is of an unknown class: open-set figures are absent.")
    assert group.startswith("Images carry no group (site, sequence, burst)")
    assert waiting.startswith("Waiting for people to say into which class: 2 images of a class that was split")
    assert retired == "Neither trained on nor measured: 1 image of retired classes."
    assert people == "People disagree about 3 images; asked about once more: 2."
    assert quarantine == "In quarantine: 1 image or file."


def test_sound_data_have_no_problem_and_the_card_says_that_none_was_found(tmp_path):
    sound = [row for row in ROWS if row[1] != "dog" and row[0] != "quarantine"]
    renumbered = [row if row[2] != 2 else (row[0], "elk", 1, *row[3:]) for row in sound]
    for values in ({}, {"data/test": 0.0}):  # without a test image nothing is said of unknown ones among them
        assert said(facts(renumbered, ("cat", "elk"), refused=(), values=values)) == []
    assert written(tmp_path, facts(renumbered, ("cat", "elk"), refused=()))["Known problems"] == [["- None found."]]
    none_open = [row for row in renumbered if row[1] != "yak"]
    (only,) = said(facts(none_open, ("cat", "elk"), refused=()))
    assert only.startswith("No test image is of an unknown class")
    assert said(facts(none_open, ("cat", "elk"), refused=(), values={"data/test": 0.0})) == []


@pytest.mark.parametrize(("number", "told"), [(12, ": 0, 1, "), (13, " and 1 more."), (15, " and 3 more.")])
def test_a_dozen_of_classes_are_named_and_the_others_counted(number, told):
    rows = [("train", str(n), n, "source", "g", "b", "s", None) for n in range(number) for _ in range(2)]
    first, second, *_ = said(facts(rows, [str(n) for n in range(number)], refused=()))
    assert first.startswith(f"{number} classes have no test image, so nothing is measured of them: 0, 1, ")
    assert told in first
    assert second.startswith(f"{number} classes have no validation image: ")
    assert (" more" in first) == (number > 12)


def test_of_a_class_found_in_a_pool_thumbnails_are_made_as_many_as_a_batch_makes_of_a_class(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    ids, of = [f"{n:03d}" for n in range(len(ROWS))], facts()
    of = dataclasses.replace(of, manifest=with_images(of.manifest, ids).with_columns(batch=pl.lit("one")))
    pixels = [np.full((6, 4, 3), 7 * n, np.uint8) for n in range(len(ROWS))]
    layout.batch("one").folder.mkdir(parents=True)
    write_shard(layout.batch("one").shard(0), [pack(p, None) for p in pixels])
    kept = [{"image_id": i, "jpeg": f"<{i}>".encode()} for i in (ids[5], ids[21])]  # an elk and a cat
    schema.write(layout.batch("one").thumbnails, schema.from_rows(schema.THUMBNAILS, kept), schema.THUMBNAILS)
    monkeypatch.setattr(card, "PER_CLASS", 3)
    sheets = card._sheets(layout, of, card.per_class(of))
    assert sheets["medium"] == [("elk", b"<005>"), *(("elk", thumbnail(pixels[n])) for n in (0, 1))]
    assert sheets["few"] == [("cat", b"<021>"), ("cat", thumbnail(pixels[22])), ("dog", thumbnail(pixels[23]))]
