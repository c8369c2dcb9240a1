"""Inputs that are not what came in are refused, by name, and before anything is learned from them."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

from oltr_core import digest, ledger, schema, verification
from oltr_core.layout import Layout
from oltr_core.stages import curate
from tests.core.data_world import WHEN, answer, imported, picture, put_annotations, run_curate, run_ingest, workspace

ASKED = digest.of_bytes(b"asked")


def recorded(layout, batch: str) -> None:
    """What taking a batch in tells the ledger."""
    card, truth = layout.batch(batch).card, layout.truth_of(batch)
    details = {"batch": batch, "truth": digest.of_file(truth) if truth.exists() else None}
    ledger.append(layout.ledger, ledger.Event("ingested", "", digest.of_file(card), WHEN.isoformat(), details))


@pytest.fixture
def layout(tmp_path):
    return with_inputs(tmp_path)


def with_inputs(root) -> Layout:
    """A batch that the ledger knows, and one imported file of annotations."""
    layout = workspace(root, [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}])
    for n in range(12):
        picture(root / "photos" / ("cat" if n % 2 else "dog") / f"{n}.png", n)
    run_ingest(layout, "b")
    truth = schema.from_rows(schema.TRUTH, [{"image_id": ASKED, "label": "cat"}])
    schema.write(layout.truth_of("b"), truth, schema.TRUTH)
    recorded(layout, "b")
    row = dict.fromkeys(("u_open", "u_info", "merit"), 1.0) | dict.fromkeys(("reason", "suggested", "strategy"), "x")
    selection = schema.from_rows(schema.SELECTION, [{**row, "rank": 0, "image_id": ASKED}])
    schema.write(layout.generation("0000").selection, selection, schema.SELECTION)
    put_annotations(layout, "0000", [answer(ASKED, "cat")])
    verification.verify(layout)
    return layout


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def a_shard(layout):
    flip(layout.batch("b").shard(0))
    return layout.batch("b").shard(0)


def a_shard_and_its_card(layout):
    batch = layout.batch("b")
    flip(batch.shard(0))
    card = json.loads(batch.card.read_text())
    card["files"][batch.shard(0).name] = digest.of_file(batch.shard(0))
    batch.card.write_text(json.dumps(card))
    return batch.card


def a_table_that_is_gone(layout):
    layout.batch("b").index.unlink()
    return layout.batch("b").index


def a_batch_that_is_gone(layout):
    shutil.rmtree(layout.batch("b").folder)
    return layout.batch("b").card


def a_file_more_in_a_batch(layout):
    layout.batch("b").shard(7).write_bytes(b"x")
    return layout.batch("b").shard(7)


def truth_of_one_class(layout):
    rows = pl.read_parquet(layout.truth_of("b")).with_columns(label=pl.lit("dog"))
    schema.write(layout.truth_of("b"), rows.to_arrow(), schema.TRUTH)
    return layout.truth_of("b")


def a_label_more_in_annotations(layout):
    (path,) = layout.annotations_of("0000").glob("*.parquet")
    rows = [answer(ASKED, "cat"), answer(1, "cat")]
    schema.write(path, schema.from_rows(schema.ANNOTATIONS, rows), schema.ANNOTATIONS)
    return path


def annotations_that_were_never_imported(layout):
    path = layout.annotations_of("0000") / "new.parquet"
    schema.write(path, schema.from_rows(schema.ANNOTATIONS, [answer(ASKED, "dog")]), schema.ANNOTATIONS)
    return path.rename(path.with_name(f"{digest.of_file(path)[:16]}.parquet"))


def annotations_of_a_generation_that_nobody_made(layout):
    (path,) = layout.annotations_of("0000").glob("*.parquet")
    layout.annotations_of("0007").mkdir()
    return shutil.copyfile(path, layout.annotations_of("0007") / path.name)


def annotations_that_are_gone(layout):
    (path,) = layout.annotations_of("0000").glob("*.parquet")
    path.unlink()
    return path


CHANGES = [
    a_shard,
    a_shard_and_its_card,
    a_table_that_is_gone,
    a_batch_that_is_gone,
    a_file_more_in_a_batch,
    truth_of_one_class,
    a_label_more_in_annotations,
    annotations_that_were_never_imported,
    annotations_of_a_generation_that_nobody_made,
    annotations_that_are_gone,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_curate_refuses_what_is_not_what_came_in_and_names_the_file(layout, change):
    path = change(layout)
    for read_all in (False, True):
        with pytest.raises(ValueError, match="this file was changed|expected this file|expected files") as caught:
            verification.verify(layout, read_all)
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(ValueError, match="this file was changed|expected this file|expected files") as caught:
        run_curate(layout)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not layout.work.manifest.exists()


def test_annotations_of_images_that_nobody_was_asked_about_are_refused_although_the_ledger_names_them(layout):
    path = layout.annotations_of("0000") / "new.parquet"
    schema.write(path, schema.from_rows(schema.ANNOTATIONS, [answer(1, "dog")]), schema.ANNOTATIONS)
    imported(layout, path)
    with pytest.raises(ValueError, match="expected annotations of images that the batch of 0000 asks about"):
        verification.verify(layout)


def test_an_audit_that_was_edited_is_refused_and_one_of_an_older_import_is_not(layout):
    (path,) = layout.annotations_of("0000").glob("*.parquet")
    layout.audit_of("0000").write_text("{}")
    verification.verify(layout)  # the event of this import, as older versions wrote it, tells nothing of an audit
    details = {"audit": digest.of_file(layout.audit_of("0000"))}
    newer = ledger.Event("imported", "0000", path.stem, WHEN.isoformat(), details)
    verification.verify(layout, about_to=newer)
    layout.audit_of("0000").write_text('{"open_classes": ["fox"]}')
    with pytest.raises(ValueError, match=r"audit\.json: this file was changed after it came in"):
        verification.verify(layout, about_to=newer)


def test_a_file_is_read_again_when_its_size_or_times_change_and_when_everything_is_read(layout):
    remembered = json.loads(layout.digests.read_text())
    shard = layout.batch("b").shard(0)
    name = shard.relative_to(layout.root).as_posix()
    assert remembered[name][-1] == digest.of_file(shard)
    remembered[name][-1] = "0" * 64
    layout.digests.write_text(json.dumps(remembered))
    with pytest.raises(ValueError, match="found 000000000000"):
        verification.verify(layout)
    verification.verify(layout, read_all=True)
    verification.verify(layout)
    shard.write_bytes(shard.read_bytes())
    verification.verify(layout)
    layout.digests.write_text('{"torn')
    verification.verify(layout)


def test_a_batch_that_the_ledger_does_not_have_is_verified_by_its_card(layout):
    layout.ledger.unlink()
    ledger.head_of(layout.ledger).unlink()
    shutil.rmtree(layout.annotations_of("0000"))
    verification.verify(layout)
    flip(layout.batch("b").shard(0))
    with pytest.raises(ValueError, match=r"shard-00000\.arrow: this file was changed .*after `git checkout b\.dvc`"):
        verification.verify(layout)

    layout.batch("b").card.write_text("torn")
    with pytest.raises(ValueError, match=r"batch\.json: expected the card of a batch, found something else; `dvc"):
        verification.verify(layout)


def test_what_an_import_that_was_killed_left_half_written_is_not_learned(layout):
    (path,) = layout.annotations_of("0000").glob("*.parquet")
    shutil.copyfile(path, path.with_name(".part.parquet"))
    assert curate.read_annotations(layout).height == 1
    rows = [answer(ASKED, "cat", annotator="nobody")]
    schema.write(path.with_name(".part.parquet"), schema.from_rows(schema.ANNOTATIONS, rows), schema.ANNOTATIONS)
    assert curate.read_annotations(layout)["annotator"].to_list() == ["ann"]
