"""ingest: identical bytes for identical input, whatever happens on the way; and a batch once in never changes."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from oltr_core import engine, ledger, schema
from oltr_core.images.shards import Shards
from oltr_core.ingest import batch_writer, packing, thumbnails
from oltr_core.ingest.record import SourceAccess, TooLarge
from oltr_core.settings.whole import load_settings
from oltr_core.stages import ingest
from tests.core.data_world import configure, picture, run_ingest, workspace
from tests.core.elsewhere import Elsewhere

DIGITS = [{"batch": "b", "sources": [{"name": "digits"}]}]


def files_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def photos(root: Path, number: int) -> None:
    for n in range(number):
        picture(root / "photos" / ("cat" if n % 3 else "dog") / f"{n:03d}.png", n)


FOLDER = [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}]


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "ALONE", 20)
    monkeypatch.setattr(packing, "CHUNK", 4)
    found = []
    for workers in (1, 2, 3):
        layout = workspace(tmp_path / str(workers), FOLDER)
        photos(layout.root, 50)
        run_ingest(layout, "b", workers=workers)
        found.append(files_of(layout.batch("b").folder))
    assert found[0] == found[1] == found[2]


def test_the_bytes_do_not_depend_on_the_engine_and_a_file_that_it_does_not_see_is_not_quarantined(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(packing, "ALONE", 20)
    found = []
    for used in (Elsewhere(remote=False), Elsewhere()):
        layout = workspace(tmp_path / str(used.remote), FOLDER)
        photos(layout.root, 30)
        with engine.using(used):
            run_ingest(layout, "b")
        found.append(files_of(layout.batch("b").folder))
        assert len(used.asked) == used.remote
    assert found[0] == found[1]
    layout = workspace(tmp_path / "blind", FOLDER)
    photos(layout.root, 30)
    unread = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    monkeypatch.setattr(packing, "read", lambda *_: (_ for _ in ()).throw(unread))
    with engine.using(Elsewhere()), pytest.raises(ValueError, match="a worker cannot read this file"):
        run_ingest(layout, "b")
    assert not layout.batch("b").folder.exists()


@pytest.mark.parametrize(("images", "workers", "started"), [(20, 3, None), (21, 3, 3), (21, 1, None)])
def test_processes_are_started_for_many_images_and_as_many_as_are_asked_for(
    tmp_path, monkeypatch, images, workers, started
):
    pools = []

    def pool(number, mp_context):
        pools.append((number, mp_context.get_start_method()))
        return ThreadPoolExecutor(number)

    monkeypatch.setattr(packing, "ALONE", 20)
    monkeypatch.setattr(packing, "CHUNK", 4)
    monkeypatch.setattr(engine, "ProcessPoolExecutor", pool)
    layout = workspace(tmp_path, FOLDER)
    photos(layout.root, images)
    assert run_ingest(layout, "b", workers=workers)[0]["images"] == images
    assert pools == ([(started, "spawn")] if started else [])


def test_every_image_reads_back_by_its_row_of_the_index(tmp_path):
    from oltr_core.ingest.sources.digits import scans, to_rgb

    layout = workspace(tmp_path, DIGITS)
    run_ingest(layout, "b")
    index = pl.read_parquet(layout.batch("b").index)
    shards = Shards(layout.raw)
    for row in index.sample(50, seed=1).iter_rows(named=True):
        number = int(row["address"].rpartition("/")[2])
        assert np.array_equal(shards.read(row["batch"], row["shard"], row["row"]), to_rgb(scans()[0][number]))
        assert (row["width"], row["height"]) == (8, 8)


def test_held_back_labels_are_in_the_truth_and_nowhere_else(tmp_path):
    layout = workspace(tmp_path, DIGITS)
    run_ingest(layout, "b")
    index = pl.read_parquet(layout.batch("b").index)
    pool = index.filter(pl.col("split") == "pool")
    truth = pl.read_parquet(layout.truth_of("b"))
    assert pool["label"].null_count() == pool.height == truth.height == 278
    assert set(truth["image_id"]) == set(pool["image_id"])
    assert not any("truth" in p.name for p in layout.batch("b").folder.iterdir())


def test_ingesting_again_writes_nothing(tmp_path):
    layout = workspace(tmp_path, DIGITS)
    first = run_ingest(layout, "b")
    before = {p: p.stat().st_mtime_ns for p in layout.data.rglob("*")}
    assert run_ingest(layout, "b") == first
    assert {p: p.stat().st_mtime_ns for p in layout.data.rglob("*")} == before


def test_of_two_ingests_at_once_the_second_finds_the_batch_there(tmp_path):
    layout = workspace(tmp_path, FOLDER)
    photos(layout.root, 30)
    with ThreadPoolExecutor(2) as two:
        one, other = two.map(lambda _: run_ingest(layout, "b", workers=1), range(2))
    assert one == other
    assert [p.name for p in layout.raw.iterdir() if p.is_dir()] == ["b"]


def test_a_batch_made_from_other_sources_is_refused(tmp_path):
    layout = workspace(tmp_path, DIGITS)
    run_ingest(layout, "b")
    configure(layout, [{"batch": "b", "sources": [{"name": "digits", "seed": 1}]}])
    with pytest.raises(ValueError, match="a batch never changes; give the new sources a new batch name"):
        run_ingest(layout, "b")


class Cut(Exception):
    """The power went."""


def cut_after(monkeypatch, number: int) -> None:
    whole = packing.look

    def look(job, limits, done=[0]):  # noqa: B006
        done[0] += 1
        if done[0] > number:
            raise Cut
        return whole(job, limits)

    monkeypatch.setattr(packing, "look", look)


@pytest.mark.parametrize("after", [3, 20, 39])
def test_a_run_that_was_cut_off_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch, after):
    monkeypatch.setattr(batch_writer, "SHARD_ROWS", 8)
    monkeypatch.setattr(packing, "CHUNK", 4)
    layout, other = workspace(tmp_path / "a", FOLDER), workspace(tmp_path / "b", FOLDER)
    photos(layout.root, 40)
    photos(other.root, 40)
    (whole,) = run_ingest(other, "b")
    with monkeypatch.context() as power:
        cut_after(power, after)
        with pytest.raises(Cut):
            run_ingest(layout, "b")
    assert not layout.batch("b").folder.exists()
    finished = len(list((layout.raw / ".b.part").glob("rows-*.parquet")))
    assert finished == after // 8
    looked = []
    monkeypatch.setattr(packing, "look", lambda job, limits, look=packing.look: looked.append(1) or look(job, limits))
    assert run_ingest(layout, "b") == [whole]
    assert len(looked) == 40 - 8 * finished
    assert files_of(layout.batch("b").folder) == files_of(other.batch("b").folder)


def test_what_was_left_of_other_sources_is_not_built_upon(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_writer, "SHARD_ROWS", 8)
    monkeypatch.setattr(packing, "CHUNK", 4)
    layout = workspace(tmp_path, FOLDER)
    photos(layout.root, 40)
    with monkeypatch.context() as power:
        cut_after(power, 20)
        with pytest.raises(Cut):
            run_ingest(layout, "b")
    (layout.root / "photos/cat/001.png").unlink()
    assert run_ingest(layout, "b")[0]["rows"] == 39


def test_rows_in_are_rows_kept_and_rows_quarantined(tmp_path):
    layout = workspace(tmp_path, FOLDER)
    photos(layout.root, 9)
    (layout.root / "photos/cat/bad.jpg").write_bytes(b"x")
    (layout.root / "photos/cat/copy.png").write_bytes((layout.root / "photos/cat/001.png").read_bytes())
    (layout.root / "photos/emu").mkdir()
    (layout.root / "photos/stray.png").write_bytes((layout.root / "photos/cat/002.png").read_bytes())
    (card,) = run_ingest(layout, "b")
    assert (card["rows"], card["images"], card["quarantined"]) == (13, 9, 4)
    reasons = dict(pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows())
    assert reasons["photos/emu"] == "an empty class: the folder of 'emu' holds no image"
    assert reasons["photos/stray.png"] == "not in a class folder"
    assert reasons["photos/cat/copy.png"] == "duplicate of photos/cat/001.png"


def test_an_image_that_was_forgotten_on_request_does_not_come_back(tmp_path):
    layout = workspace(tmp_path, FOLDER)
    photos(layout.root, 3)
    gone = hashlib.sha256((layout.root / "photos/cat/001.png").read_bytes()).hexdigest()
    forgotten = ledger.Event("forgotten", "0000", "x", "2026-01-01", {"images": [gone], "generations": {}})
    ledger.append(layout.ledger, forgotten)
    assert run_ingest(layout, "b")[0]["images"] == 2
    rows = pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows()
    assert rows == [("photos/cat/001.png", "forgotten on request")]


def test_a_label_for_an_image_of_an_earlier_batch_is_taken_in(tmp_path):
    batches = [
        {"batch": b, "sources": [{"name": n, "path": b}]} for b, n in (("one", "unlabelled"), ("two", "folder"))
    ]
    layout = workspace(tmp_path, batches)
    picture(tmp_path / "one/a.png", 1)
    picture(tmp_path / "two/cat/a.png", 1)
    run_ingest(layout, "one", "two")
    (row,) = pl.read_parquet(layout.batch("two").index).to_dicts()
    assert (row["label"], row["split"]) == ("cat", None)


def test_a_card_says_what_the_batch_is_and_the_digest_of_every_file(tmp_path):
    layout = workspace(tmp_path, FOLDER)
    photos(layout.root, 5)
    (card,) = run_ingest(layout, "b")
    batch = layout.batch("b")
    assert card == json.loads(batch.card.read_text())
    assert batch.card.read_text().startswith('{\n "batch": "b",\n "files": {\n'), "for people to read"
    assert card["batch"] == "b"
    files = files_of(batch.folder)
    assert card["files"] == {name: found for name, found in files.items() if name != "batch.json"}
    assert set(files) == {"batch.json", "index.parquet", "quarantine.parquet", "thumbnails.parquet",
                          "shard-00000.arrow"}  # fmt: skip
    assert not [p for p in layout.raw.iterdir() if p.name.endswith(".part")]


def test_thumbnails_are_of_the_first_images_of_each_class_those_to_train_on_before_others(tmp_path, monkeypatch):
    layout = workspace(tmp_path, FOLDER)
    photos(tmp_path, 9)
    run_ingest(layout, "b")
    batch = layout.batch("b")
    rows = schema.read(batch.index, schema.INDEX).to_pylist()
    ids = {label: sorted(r["image_id"] for r in rows if r["label"] == label) for label in ("cat", "dog")}
    for row in rows:
        row["split"] = {ids["cat"][0]: "test", ids["dog"][0]: "train", ids["dog"][1]: "val"}.get(row["image_id"])
    table = schema.from_rows(schema.INDEX, rows)
    (cat, *cats), (dog, late, *dogs) = ids["cat"], ids["dog"]
    in_turn = [cats[0], dog, cats[1], dogs[0]]

    def chosen() -> list[str]:
        return thumbnails.thumbnails(table, batch.folder).column("image_id").to_pylist()

    monkeypatch.setattr(thumbnails, "PER_CLASS", 2)
    assert chosen() == [*sorted(in_turn[:2]), *sorted(in_turn[2:])]
    monkeypatch.setattr(thumbnails, "IN_ALL", 3)  # of two classes one each
    assert chosen() == sorted(in_turn[:2])
    monkeypatch.setattr(thumbnails, "IN_ALL", 1)
    assert chosen() == [min(in_turn[:2])]
    monkeypatch.setattr(thumbnails, "IN_ALL", 600)
    monkeypatch.setattr(thumbnails, "PER_CLASS", 8)
    assert sorted(chosen()) == sorted(ids["cat"] + ids["dog"])
    every = thumbnails.thumbnails(table, batch.folder).to_pylist()
    assert [row["image_id"] for row in every[-2:]] == [cats[-1], cat], "a class of six images is the longest"
    place = next((r["shard"], r["row"]) for r in rows if r["image_id"] == every[0]["image_id"])
    assert every[0]["jpeg"] == thumbnails.thumbnail(Shards(layout.raw).read("b", *place))
    assert late not in in_turn


def test_a_thumbnail_has_48_pixels_on_its_longer_side_and_an_enlarged_one_keeps_its_edges():
    halves = np.zeros((12, 24, 3), np.uint8)
    halves[:, 12:] = 255
    for pixels in (halves, halves.repeat(16, 0).repeat(16, 1)):
        with Image.open(io.BytesIO(thumbnails.thumbnail(pixels))) as found:
            assert (found.format, found.size) == ("JPEG", (48, 24))
            seen = np.asarray(found)
        assert seen[:, :24].max() < 40
        assert seen[:, 24:].min() > 215


def test_a_batch_whose_sources_hold_nothing_is_refused(tmp_path):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "table", "path": "list.csv"}]}])
    (tmp_path / "list.csv").write_text("path,label\n")
    with pytest.raises(ValueError, match="batch 'b': its sources hold no image at all"):
        run_ingest(layout, "b")
    assert not layout.batch("b").folder.exists()


def test_an_image_of_an_earlier_batch_is_not_packed_again(tmp_path):
    batches = [{"batch": b, "sources": [{"name": "folder", "path": b}]} for b in ("one", "two")]
    layout = workspace(tmp_path, batches)
    picture(tmp_path / "one/cat/a.png", 1)
    picture(tmp_path / "two/cat/a.png", 1)
    picture(tmp_path / "two/cat/b.png", 2)
    cards = run_ingest(layout, "one", "two")
    assert [card["images"] for card in cards] == [1, 1]
    assert pl.read_parquet(layout.batch("two").quarantine)["reason"].to_list() == ["already in batch one"]


def test_an_image_in_train_and_test_of_one_batch_is_kept_for_the_test(tmp_path):
    sources = [{"name": "folder", "path": p, "role": p} for p in ("train", "test")]
    layout = workspace(tmp_path, [{"batch": "b", "sources": sources}])
    for place in ("train", "test"):
        picture(tmp_path / place / "cat/a.png", 1)
    picture(tmp_path / "train/cat/b.png", 2)
    run_ingest(layout, "b")
    index = pl.read_parquet(layout.batch("b").index)
    assert sorted(index.select("address", "split").rows()) == [
        ("test/cat/a.png", "test"),
        ("train/cat/b.png", "train"),
    ]
    quarantined = pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows()
    assert quarantined == [("train/cat/a.png", "duplicate of test/cat/a.png")]


def test_far_images_are_fetched_through_the_functions_that_tasks_give(tmp_path):
    stored = {
        f"s3://bucket/in/{c}/{i}.png": picture(tmp_path / f"{c}{i}.png", i).read_bytes()
        for i, c in enumerate(["cat", "dog", "cat"])
    }

    def fetch(uri, most):
        assert most == 500_000_000
        if uri.endswith("huge.png"):
            raise TooLarge("an object of 9 bytes")
        if uri not in stored:
            raise FileNotFoundError(uri)
        return stored[uri]

    listed = [
        *sorted(stored),
        "s3://bucket/in/dog/gone.png",
        "s3://bucket/in/dog/huge.png",
        "s3://bucket/in/dog/notes.txt",
    ]
    layout = workspace(tmp_path / "w", [{"batch": "b", "sources": [{"name": "folder", "path": "s3://bucket/in"}]}])
    access = SourceAccess(layout.root, fetch=fetch, list=lambda prefix: [a for a in listed if a.startswith(prefix)])
    (card,) = run_ingest(layout, "b", access=access)
    assert card["images"] == 3
    reasons = dict(pl.read_parquet(layout.batch("b").quarantine).select("address", "reason").rows())
    assert reasons == {
        "s3://bucket/in/dog/gone.png": "missing object",
        "s3://bucket/in/dog/huge.png": "an object of 9 bytes",
        "s3://bucket/in/dog/notes.txt": "wrong extension: .txt is no image's",
    }
    with pytest.raises(ValueError, match="ingest through `oltr ingest`"):
        ingest.run(load_settings(layout), workspace_of_another(tmp_path), "b")


@pytest.mark.parametrize("name", ["folder", "identities", "unlabelled", "parquet"])
def test_a_prefix_with_nothing_below_it_is_refused_and_no_batch_is_made(tmp_path, name):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": name, "path": "s3://bucket/typo"}]}])
    access = SourceAccess(layout.root, list=lambda prefix: [prefix] if prefix.endswith("/") else [])
    with pytest.raises(ValueError, match=r"s3://bucket/typo/?: expected .* below it; correct params.yaml: sources"):
        run_ingest(layout, "b", access=access)
    assert not layout.batch("b").folder.exists()


def workspace_of_another(root):
    return workspace(root / "other", [])


def test_ingest_reads_no_tensor(tmp_path):
    layout = workspace(tmp_path, FOLDER)
    photos(tmp_path, 3)
    import subprocess

    code = (
        "import sys; from pathlib import Path; from oltr_core.layout import Layout;"
        "from oltr_core.settings.whole import load_settings; from oltr_core.stages import ingest;"
        f"layout = Layout(Path({str(tmp_path)!r})); ingest.run(load_settings(layout), layout, 'b');"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'boto3') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert json.loads(layout.batch("b").card.read_text())["images"] == 3


def test_a_label_is_taken_in_as_people_type_it(tmp_path):
    layout = workspace(tmp_path, [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}])
    for number, name in enumerate(("e\u0301cole", "\u00e9cole", " lead ")):
        picture(tmp_path / "photos" / name / f"{number}.png", number)
    run_ingest(layout, "b")
    rows = pl.read_parquet(layout.batch("b").index).sort("label")
    assert rows["label"].to_list() == ["lead", "\u00e9cole", "\u00e9cole"]
