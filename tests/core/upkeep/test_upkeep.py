"""Forgetting removes an image everywhere and stays forgotten; what nothing refers to is found and nothing else."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from oltr_core import digest, ledger, schema
from oltr_core.images.decode import decode
from oltr_core.layout import Layout
from oltr_core.upkeep import forgetting, garbage, models, search
from oltr_core.upkeep.sightings import Sighting, sightings
from oltr_core.upkeep.sightings import answer as told
from tests.core.data_world import (
    answer,
    configure,
    opened,
    picture,
    put_annotations,
    put_batch,
    run_curate,
    run_ingest,
    workspace,
)
from tests.core.data_world import seal as seal_folder
from tests.core.images.test_decode import natural

WHEN = "2026-05-01T00:00:00Z"


def seal(layout: Layout, number: int, parent: str) -> str:
    name = f"{number:04d}"
    ledger.append(layout.ledger, ledger.Event("opened", name, "", WHEN, {"parent": parent}))
    return seal_folder(layout, number)


@pytest.fixture
def layout(tmp_path):
    """A sealed generation of photographs, large ones and small ones, with pages that show them."""
    layout = workspace(
        tmp_path,
        [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}, {"name": "unlabelled", "path": "in"}]}],
    )
    for n in range(12):
        photo = tmp_path / "photos" / ("cat" if n % 2 else "dog") / f"{n:02d}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        natural(n, 80 if n < 8 else 30).save(photo)
    for n in range(3):
        picture(tmp_path / "in" / f"{n}.png", 50 + n)
    run_ingest(layout, "b")
    run_curate(layout)
    layout.work.contact_sheet.write_bytes(b"pixels")
    layout.work.report.write_text('<img alt="batch" src="data:image/png;base64,AAAA">')
    seal(layout, 0, "genesis")
    return layout


def index(layout: Layout) -> pl.DataFrame:
    return pl.read_parquet(layout.batch("b").index)


def forget(layout: Layout, image_ids: list[str]) -> None:
    """The steps of `oltr forget`, as far as the core has them."""
    forgetting.begin(layout, forgetting.prepare(layout, image_ids), WHEN)
    forgetting.replace_generations(layout)
    forgetting.clean_batches(layout, image_ids)
    forgetting.clean_rest(layout, image_ids)
    forgetting.end(layout, WHEN)


def every_byte(layout: Layout) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(layout.data.rglob("*")) if p.is_file())


@pytest.mark.parametrize("address", ["photos/dog/00.png", "photos/cat/09.png"])
def test_a_forgotten_image_is_nowhere_any_more(layout, address):
    (image_id,) = forgetting.find(layout, [address])
    for name in (image_id, image_id[:12], image_id[:12].upper()):
        assert forgetting.find(layout, [name]) == [image_id]
    with pytest.raises(ValueError, match="no batch holds an image of this id"):
        forgetting.find(layout, [image_id[:11]])
    row = index(layout).filter(image_id=image_id).row(0, named=True)
    shard = layout.batch("b").shard(row["shard"])
    large = row["width"] > 64
    pixels = (layout.root / address).read_bytes() if large else natural(9, 30).tobytes()
    thumb = pl.read_parquet(layout.batch("b").thumbnails).filter(image_id=image_id)["jpeg"].to_list()
    assert pixels in shard.read_bytes()
    cache = layout.features("k" * 64) / "features.npy"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"features")
    shown = layout.analysis("0000", "memory").page  # a picture of it
    shown.parent.mkdir(parents=True)
    shown.write_bytes(base64.b64encode(pixels))
    holders = [layout.batch("b").folder, layout.generation("0000").folder]
    assert forgetting.holders(layout, [image_id]) == holders
    forget(layout, [image_id])
    after = every_byte(layout)
    assert pixels not in after
    assert not any(jpeg in after or base64.b64encode(jpeg) in after for jpeg in thumb)
    assert not cache.exists()
    assert not shown.exists()
    assert image_id not in index(layout)["image_id"].to_list()
    assert forgetting.holders(layout, [image_id]) == holders[1:], "its manifest keeps the id"
    assert "base64" not in layout.generation("0000").report.read_text()
    assert not layout.generation("0000").contact_sheet.exists()


def test_the_images_beside_it_keep_their_places(layout):
    before = index(layout)
    from oltr_core.images.shards import Shards

    pixels = {
        row[0]: Shards(layout.raw).read(*row[1:])
        for row in before.select("image_id", "batch", "shard", "row").iter_rows()
    }
    (gone,) = forgetting.find(layout, ["photos/dog/02.png"])
    forget(layout, [gone])
    for row in index(layout).select("image_id", "batch", "shard", "row").iter_rows():
        assert np.array_equal(Shards(layout.raw).read(*row[1:]), pixels[row[0]])
    assert index(layout).height == before.height - 1


def test_the_sealed_generation_verifies_and_the_next_goes_on_without_the_image(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    forget(layout, [gone])
    ledger.verify_sealed(layout.ledger, layout.generation("0000").folder)
    opened(layout, 1, "0000", "update")
    put_annotations(layout, "0000", [answer(gone, "cat")])
    assert gone not in run_curate(layout)["image_id"].to_list()


def test_the_bytes_of_a_generation_change_by_forgetting_once_alone(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    forget(layout, [gone])
    before = every_byte(Layout(layout.root / "data"))
    assert forgetting.find(layout, ["in/1.png"]) == [gone], "the manifests know it"
    forgetting.clean_batches(layout, [gone])
    forgetting.clean_rest(layout, [gone])
    assert every_byte(Layout(layout.root / "data")) == before


def test_a_generation_verifies_before_while_and_after_an_image_is_forgotten(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    folder = layout.generation("0000").folder
    forgetting.begin(layout, forgetting.prepare(layout, [gone]), WHEN)
    state = ledger.replay(ledger.read(layout.ledger))
    assert state.forgetting["images"] == [gone]
    assert state.forgotten == {gone}
    ledger.verify_sealed(layout.ledger, folder)
    forgetting.replace_generations(layout)
    ledger.verify_sealed(layout.ledger, folder)
    forgetting.end(layout, WHEN)
    ledger.verify_sealed(layout.ledger, folder)
    assert ledger.replay(ledger.read(layout.ledger)).forgetting == {}


@pytest.mark.parametrize("renames", [0, 1])
def test_a_generation_is_the_old_or_the_cleaned_one_wherever_its_replacement_is_cut_off(layout, monkeypatch, renames):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    forgetting.begin(layout, forgetting.prepare(layout, [gone]), WHEN)
    with monkeypatch.context() as power:

        def cut(*_):
            raise KeyboardInterrupt

        power.setattr(*((Path, "rename", cut) if renames == 0 else (forgetting, "rename_into_place", cut)))
        with pytest.raises(KeyboardInterrupt):
            forgetting.replace_generations(layout)
    forgetting.replace_generations(layout)
    assert not layout.generation("0000").contact_sheet.exists()
    forgetting.end(layout, WHEN)
    ledger.verify_sealed(layout.ledger, layout.generation("0000").folder)


def test_an_edited_generation_is_not_sealed_anew_by_forgetting(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    layout.generation("0000").model.write_bytes(b"another model")
    with pytest.raises(ValueError, match="a file in this sealed generation was changed"):
        forget(layout, [gone])
    assert not ledger.replay(ledger.read(layout.ledger)).forgotten


def test_a_forgotten_image_is_not_taken_in_again(layout):
    (gone,) = forgetting.find(layout, ["photos/dog/00.png"])
    forget(layout, [gone])
    configure(layout, [{"batch": "c", "sources": [{"name": "folder", "path": "photos"}]}])
    with pytest.raises(ValueError, match=r"all 12 files went to quarantine"):
        run_ingest(layout, "c")
    picture(layout.root / "photos/dog/new.png", 99)
    run_ingest(layout, "c")
    reasons = dict(pl.read_parquet(layout.batch("c").quarantine).select("address", "reason").rows())
    assert reasons["photos/dog/00.png"] == "forgotten on request"


def test_the_batch_card_counts_what_was_forgotten(layout):
    forget(layout, forgetting.find(layout, ["in/1.png", "in/2.png"]))
    card = json.loads(layout.batch("b").card.read_text())
    assert (card["images"], card["forgotten"], card["rows"]) == (13, 2, 15)


def test_an_image_may_be_named_as_a_file_and_one_of_that_very_address_comes_first(layout, monkeypatch):
    (expected,) = forgetting.find(layout, ["photos/dog/00.png"])
    monkeypatch.chdir(layout.root / "photos" / "dog")
    found = [forgetting.find(layout, [name]) for name in ("00.png", str(Path("00.png").absolute()))]
    assert found == [[expected]] * 2
    (layout.root / "in" / "photos" / "dog").mkdir(parents=True)
    monkeypatch.chdir(layout.root / "in")
    assert forgetting.find(layout, ["photos/dog/00.png"]) == [expected]


def test_an_image_that_is_not_there_is_named(layout):
    sentence = r"nowhere.png: no batch holds an image of this id or address \(of an id the first 12 letters are"
    with pytest.raises(ValueError, match=sentence):
        forgetting.find(layout, ["nowhere.png"])


def test_all_images_of_an_address_are_forgotten_and_of_letters_that_begin_two_ids_none(layout):
    row = index(layout).filter(address="in/1.png").row(0, named=True)
    other = row["image_id"][:20] + "f" * 44
    put_batch(layout, "c", [row | {"image_id": other}])
    assert forgetting.find(layout, ["in/1.png"]) == sorted([row["image_id"], other])
    with pytest.raises(ValueError, match=f"2 images are called so \\({other[:16]}.*more letters of the id"):
        forgetting.find(layout, [other[:20]])


def test_what_a_crash_left_half_done_goes_too(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    left = [
        layout.raw / ".c.part" / "shard-00000.arrow",
        layout.raw / "b" / ".index.parquet.tmp",
        layout.unsealed("0001").folder / "batch.png",
        layout.export_part("0000").folder / "a.png",
        layout.resume("r") / "state",
        layout.dvc_runs / "a" / "b",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")
    forget(layout, [gone])
    assert not [path for path in left if path.exists()]


def test_held_back_labels_of_a_forgotten_image_go_and_the_others_stay(layout):
    (gone,), rows = forgetting.find(layout, ["in/1.png"]), index(layout)
    truth = layout.truth_of("b")
    labels = [
        {"image_id": i, "label": "cat"} for i in rows.filter(pl.col("address").str.starts_with("in/"))["image_id"]
    ]
    schema.write(truth, schema.from_rows(schema.TRUTH, labels), schema.TRUTH)
    places = [layout.batch("b").folder, truth, layout.generation("0000").folder]
    assert forgetting.holders(layout, [gone]) == places
    (other,) = forgetting.find(layout, ["photos/dog/02.png"])
    assert forgetting.holders(layout, [other]) == [places[0], places[2]]
    forget(layout, [gone])
    left = pl.read_parquet(truth)
    assert left.sort("image_id").to_dicts() == sorted(
        (r for r in labels if r["image_id"] != gone), key=lambda r: r["image_id"]
    )
    assert forgetting.holders(layout, [gone]) == [places[2]]


def test_of_an_export_the_files_with_a_forgotten_image_go(layout):
    (gone,), (other,) = (forgetting.find(layout, [f"in/{n}.png"]) for n in (1, 2))
    texts = {
        "0000": {
            f"images/000-{gone[:12]}.png": "p",
            f"images/001-{other[:12]}.png": "p",
            "contact_sheet.png": "sheet",
        },
        "0001": {f"images/001-{other[:12]}.png": "p", "contact_sheet.png": "sheet"},
    }
    for name, images in texts.items():
        images |= {"batch.csv": "a table", "README.txt": "words", "coco.json": f"[{other}]"}
        images |= {
            "annotate.html": f"shows {other}",
            "annotate-2.html": f"shows {other} and {gone if name == '0000' else ''}",
        }
        images |= {"label_studio.json": gone if name == "0000" else "[]"}
        for file, text in images.items():
            path = layout.export(name).folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    forgetting.clean_rest(layout, [gone])
    left = {p.relative_to(layout.exports).as_posix() for p in layout.exports.rglob("*") if p.is_file()}
    without = {f"images/000-{gone[:12]}.png", "contact_sheet.png", "annotate-2.html", "label_studio.json"}
    expected = {f"0000/{file}" for file in texts["0000"].keys() - without} | {
        f"0001/{file}" for file in texts["0001"]
    }
    assert left == expected


def test_results_with_pictures_are_blank_until_the_next_run_where_there_are_or_were_any(layout):
    from safetensors import safe_open

    work = layout.work
    paths = [work.contact_sheet, work.report, work.data_card, work.model, work.base_model]
    assert forgetting.shown(layout) == paths
    for path in paths:
        path.unlink(missing_ok=True)
    work.report.write_text("shows it")
    forgetting.clean_rest(layout, [])
    assert [path.exists() for path in paths] == [False, True, False, False, False]
    assert "oltr forget" in work.report.read_text()
    layout.dvc_lock.write_text("schema: '2.0'")  # DVC would restore what is missing
    forgetting.clean_rest(layout, [])
    assert decode(work.contact_sheet.read_bytes()).shape == (1, 1, 3)
    assert work.data_card.read_text() == work.report.read_text()
    for model in (work.model, work.base_model):
        with safe_open(model, framework="np") as file:
            assert list(file.keys()) == []


def test_the_card_of_a_batch_names_the_files_as_they_are_after_every_removal(layout):
    batch = layout.batch("b")

    def named() -> dict:
        card = json.loads(batch.card.read_text())
        assert card["files"] == {name: digest.of_file(batch.folder / name) for name in card["files"]}
        return card

    files = named()["files"]
    forget(layout, forgetting.find(layout, ["in/1.png"]))
    forget(layout, forgetting.find(layout, ["photos/dog/00.png", "photos/cat/09.png"]))
    card = named()
    assert (card["images"], card["forgotten"]) == (12, 3)
    assert card["files"].keys() == files.keys()
    rows = pl.read_parquet(batch.index)
    for (shard,), mine in rows.group_by("shard"):
        table = forgetting._packed(batch.shard(shard))
        black = [row for row in range(table.num_rows) if row not in mine["row"].to_list()]
        assert [table.slice(row, 1).to_pylist() for row in black] == [[{"height": 1, "width": 1, "data": bytes(3)}]] * len(black)  # fmt: skip # noqa: E501


def test_what_another_image_shows_too_is_not_searched_for(layout):
    """A small image is kept as its pixels: the same in two encodings is two images of equal bytes."""
    natural(9, 30).save(layout.root / "in" / "same.bmp")
    configure(layout, [{"batch": "c", "sources": [{"name": "unlabelled", "path": "in"}]}])
    run_ingest(layout, "c")
    (twin,), (gone,) = (forgetting.find(layout, [name]) for name in ("in/same.bmp", "photos/cat/09.png"))
    assert twin != gone
    pieces = set(search.pieces(natural(9, 30).tobytes()))
    forgetting.prepare(layout, [gone])
    assert not pieces & set(forgetting.traces(layout))
    forgetting.prepare(layout, [gone, twin])
    assert pieces <= set(forgetting.traces(layout))


def test_pages_of_a_generation_without_a_picture_stay_the_same_file(layout):
    folder = layout.generation("0000")
    folder.data_card.write_text("<p>no picture")
    ledger.append(layout.ledger, ledger.Event("sealed", "0000", digest.of_folder(folder.folder), WHEN))
    before = folder.data_card.stat().st_ino
    forget(layout, forgetting.find(layout, ["in/1.png"]))
    assert folder.data_card.stat().st_ino == before
    assert folder.report.read_text() == '<img alt="batch" alt="removed: a picture here was forgotten">'


# --- the search that ends it -----------------------------------------------------------------------------------


def value(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.mark.parametrize("size", [192, 1_000, 50_000])
def test_the_search_finds_a_value_in_files_texts_tables_and_databases(tmp_path, size):
    import sqlite3

    wanted = value(1, size)
    text = base64.b64encode(wanted).decode()
    (tmp_path / "a.bin").write_bytes(bytes(search.CHUNK - size // 2) + wanted + b"end")
    (tmp_path / "b.html").write_text(f'<img src="data:image/png;base64,{text}">')
    thumbnails = schema.from_rows(schema.THUMBNAILS, [{"image_id": "x", "jpeg": wanted}])
    schema.write(tmp_path / "c", thumbnails, schema.THUMBNAILS)
    with sqlite3.connect(tmp_path / "d.db") as database:
        database.execute("create table t (v text)")
        database.execute("insert into t values (?)", [text])
    (tmp_path / "e.bin").write_bytes(value(2, 100_000))
    (tmp_path / "f.bin").write_bytes(b"")
    pieces = list(search.pieces(wanted))
    assert [p.name for p in search.holding([tmp_path], pieces)] == ["a.bin", "b.html", "c", "d.db"]
    assert search.holding([tmp_path], search.pieces(value(3, size))) == []
    assert search.holding([tmp_path], search.pieces(bytes(size))) == [], "zeros may be anywhere"
    assert [max(map(len, search.pieces(value(1, most)))) for most in (256, 257)] == [256, 64], "a long one in parts"


def test_a_long_value_is_looked_for_by_three_parts_of_its_last_third():
    """An eighth long, and 64 to 512 bytes."""
    for size, starts, longest in ((1600, (1040, 1200, 1360), 200), (400, (260, 300, 340), 64), (8000, (5200, 6000, 6800), 512)):  # fmt: skip # noqa: E501
        wanted = value(1, size)
        in_text = base64.b64encode(wanted)
        found = list(search.pieces(wanted))
        assert found[:3] == [wanted[at : at + longest] for at in starts]
        assert [piece in in_text for piece in found] == [False] * 3 + [True] * 3
    assert next(search.pieces(wanted[:256])) == wanted[:256]
    assert list(search.pieces(bytes(range(7)))) == [b"AAECAwQFBg=="], "of too few different bytes"
    assert next(search.pieces(bytes(range(8)))) == bytes(range(8))


def test_a_piece_is_found_wherever_the_parts_in_which_a_file_is_read_end(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", 2048)
    wanted = value(1, search.LONGEST)
    alike = wanted[:4] + value(2, 60)  # it begins alike
    for before in (0, 1, *range(2048 - 512, 2048 + 2), 3 * 2048 - 1):
        stream = io.BytesIO(bytes(before) + wanted)
        assert search.holds(stream, [alike, wanted]), before
        assert not search.holds(stream, [alike]), before
    for text, found in ((b"abcd", True), (b"abc", False), (b"", False), (b"abcabd", False), (b"-abcd", True)):
        assert search.holds(io.BytesIO(text), [b"abcd"]) is found


def test_values_of_a_compressed_table_are_found_in_any_column_of_bytes(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = value(1, 200)
    for kind in (pa.binary(), pa.large_binary()):
        table = pa.table({"n": [1, 2, 3], "v": pa.array([None, wanted * 50, b"x"], kind)})
        pq.write_table(table, tmp_path / "t.parquet", compression="zstd")
        for sought, found in ((wanted, True), (value(2, 200), False)):
            assert bool(search.holding([tmp_path / "t.parquet"], [sought])) is found
    (tmp_path / "other").write_bytes(b"text")
    search.remove([tmp_path], [wanted])
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert search.holding([tmp_path, tmp_path / "other"], [b"text"]) == [tmp_path / "other"], "once"
    assert search.holding([tmp_path], []) == []


# --- what models keep of single images ---------------------------------------------------------------------------


@pytest.fixture
def learned(layout):
    """The generation with a model: cats of many images, dogs of one, and annotated features of both."""
    import torch

    from oltr_core import checkpoint
    from oltr_core.class_statistics import grow, measure
    from oltr_core.images.transforms import Transform
    from oltr_core.inference import features_of
    from oltr_core.interfaces import AnnotatedFeatures
    from oltr_core.models import NetworkSpec
    from oltr_core.operating.rejection import reference_from_statistics
    from oltr_core.scores import Knn

    torch.manual_seed(0)
    network = NetworkSpec(experts=2)(3, 0).eval()
    rows = schema.read(layout.generation("0000").manifest, schema.MANIFEST)
    features = features_of(rows, network, Transform(), layout)
    known = measure(features[:4], torch.tensor([0, 0, 1, 1]), 2)
    statistics = grow(known, AnnotatedFeatures(features[4:7], torch.tensor([0, 0, 2])))
    centroids = network.memory(0)
    assert centroids is not None
    centroids.copy_(statistics.means[0])
    state = Knn().fit(reference_from_statistics(network, statistics, 0))
    card = checkpoint.Card(
        class_ids=[0, 1, 2], class_counts=[4, 2, 1], network=network.spec, transform=Transform(),
        score=Knn().model_dump(),
    )  # fmt: skip
    path = layout.root / "model.safetensors"
    checkpoint.save(path, network, card, state, statistics)
    return path, features


def test_the_features_of_an_annotated_image_leave_the_model_and_its_score(learned):
    import torch

    from oltr_core import checkpoint
    from oltr_core.class_statistics import grow, measure
    from oltr_core.interfaces import AnnotatedFeatures

    path, features = learned
    before = checkpoint.load(path)
    assert models.without(path, features[5:6] + 1e-6, [])
    after = checkpoint.load(path)
    assert after.statistics is not None
    assert before.statistics is not None
    assert len(after.score_state["features"]) == len(before.score_state["features"]) - 1
    assert after.statistics.kept["labels"].tolist() == [0, 2]
    assert after.statistics.kept["features"].equal(features[[4, 6]])
    without = measure(features[:4], torch.tensor([0, 0, 1, 1]), 2)
    without = grow(without, AnnotatedFeatures(features[[4, 6]], torch.tensor([0, 2])))
    torch.testing.assert_close(after.statistics.means, without.means)
    torch.testing.assert_close(after.statistics.totals, without.totals)
    assert after.statistics.counts.tolist() == without.counts.tolist() == [3, 2, 1]
    assert after.card.class_counts == [3, 2, 1]
    assert after.card.head_digest == before.card.head_digest
    assert not models.without(path, features[5:6], []), "nothing of it is left"
    assert not search.holding([path], [p for row in features[5] for p in search.pieces(row.numpy().tobytes())])


def test_an_image_of_the_full_training_is_subtracted_and_leaves_the_exemplars(learned):
    import torch

    from oltr_core import checkpoint
    from oltr_core.class_statistics import grow, measure
    from oltr_core.interfaces import AnnotatedFeatures
    from oltr_core.learners import Ridge

    path, features = learned
    model = checkpoint.load(path)
    labels, answered = torch.tensor([0, 0, 1, 1]), AnnotatedFeatures(features[4:7], torch.tensor([0, 0, 2]))
    ridge = Ridge(projection=8)
    exemplars = measure(features[:4], labels, 2, exemplars=2).exemplars
    statistics = grow(replace(ridge.measured(features[:4], labels, 2), exemplars=exemplars), answered)
    assert len(statistics.exemplars["labels"]) == 4
    checkpoint.save(path, model.network, model.card, model.score_state, statistics)
    assert models.without(path, features[[1, 3]], [], torch.tensor([0, -1]))
    after = checkpoint.load(path).statistics
    assert after is not None
    whole = grow(measure(features[[0, 2, 3]], labels[[0, 2, 3]], 2), answered)
    torch.testing.assert_close(after.means, whole.means)
    torch.testing.assert_close(after.totals["sums"], whole.totals["sums"])
    torch.testing.assert_close(after.totals["scatter"], whole.totals["scatter"])
    assert after.counts.tolist() == whole.counts.tolist() == [3, 2, 1]
    left = [0, 2, 3]
    projected = ridge.measured(features[left], labels[left], 2).projected
    projected["weights"] = after.projected["weights"]
    torch.testing.assert_close(after.projected, projected, rtol=1e-5, atol=1e-6)
    assert after.exemplars["labels"].tolist() == [0, 1], "no feature of either image is left"
    assert not search.holding([path], [p for row in features[1] for p in search.pieces(row.numpy().tobytes())])
    assert not models.without(path, features[7:8], [], torch.tensor([-1]))


def test_a_feature_computed_again_may_be_off_by_a_thousandth_of_its_length(learned):
    import torch

    from oltr_core import checkpoint

    path, features = learned
    before = checkpoint.load(path)
    kept = before.statistics.kept["features"]
    long = kept[1:2] * 100  # features need not have length 1
    before.statistics.kept["features"][1:2] = long
    checkpoint.save(path, before.network, before.card, before.score_state, before.statistics)
    aside = torch.zeros_like(long)
    aside[0, :, 0] = 1.0
    for off, found in ((1.1e-3, False), (0.9e-3, True)):
        moved = long + aside / aside.norm() * off * long.norm() / (1 - off)
        assert models.without(path, moved, []) is found
    after = checkpoint.load(path).statistics
    assert len(after.kept["features"]) == len(kept) - 1
    assert not models.without(path, features[:0], []), "of no image nothing is left"


def test_an_image_counts_for_the_class_that_its_generation_trained_it_as(layout):
    import torch

    from oltr_core.checkpoint import Card
    from oltr_core.images.transforms import Transform
    from oltr_core.models import NetworkSpec

    generation = layout.generation("0000")
    rows = schema.read(generation.manifest, schema.MANIFEST).to_pylist()
    card = Card(class_ids=[1, 0], class_counts=[1, 1], network=NetworkSpec(), transform=Transform())
    ids = [row["image_id"] for row in rows]
    expected = [{1: 0, 0: 1}.get(r["class_id"], -1) if r["split"] == "train" else -1 for r in rows]
    assert len(set(expected)) > 1
    assert models.columns_of(generation, [*ids, "f" * 64], card).equal(torch.tensor([*expected, -1]))
    assert models.columns_of(generation, [], card).dtype == torch.long, "of images whose bytes are gone"


def test_a_class_is_emptied_by_forgetting_all_its_training_images_and_by_no_other(layout):
    from oltr_core.checkpoint import Card
    from oltr_core.images.transforms import Transform
    from oltr_core.models import NetworkSpec

    generation = layout.generation("0000")
    rows = pl.read_parquet(generation.manifest)
    card = Card(class_ids=[1, 7, 0], class_counts=[1, 1, 1], network=NetworkSpec(), transform=Transform())
    train = {k: rows.filter(split="train", class_id=k)["image_id"].to_list() for k in (0, 1)}
    others = rows.filter(pl.col("split") != "train")["image_id"].to_list()
    assert min(map(len, train.values())) > 1
    assert models.emptied_classes(generation, others, card) == []
    assert models.emptied_classes(generation, train[1], card) == [0]
    assert models.emptied_classes(generation, [*train[0], *others], card) == [2]
    assert models.emptied_classes(generation, [*train[0], *train[1]], card) == [0, 2]
    assert models.emptied_classes(generation, [*train[0][1:], *train[1][:-1]], card) == []


def test_the_model_of_a_sealed_generation_forgets_too_and_a_class_of_forgotten_images_answers_no_more(layout):
    import torch

    from oltr_core import checkpoint
    from oltr_core.class_statistics import grow, measure
    from oltr_core.images.transforms import Transform
    from oltr_core.inference import features_of
    from oltr_core.interfaces import AnnotatedFeatures
    from oltr_core.models import NetworkSpec

    folder = layout.generation("0000")
    rows = schema.read(folder.manifest, schema.MANIFEST)
    frame = pl.DataFrame(rows)
    network = NetworkSpec()(2, 0).eval()
    features = features_of(rows, network, Transform(), layout)
    train = (frame["split"] == "train").to_numpy()
    mine = np.flatnonzero(train)
    labels = torch.tensor(frame["class_id"].to_numpy()[mine].astype(int))
    places = torch.from_numpy(mine)
    kept = AnnotatedFeatures(features[places[1:]], labels[1:])  # all but the first were annotated
    statistics = grow(measure(features[places[:1]], labels[:1], 2), kept)
    counts = labels.bincount().tolist()
    card = checkpoint.Card(class_ids=[0, 1], class_counts=counts, network=network.spec, transform=Transform())
    checkpoint.save(folder.model, network, card, {}, statistics)
    ledger.append(layout.ledger, ledger.Event("sealed", "0000", digest.of_folder(folder.folder), WHEN))
    gone = [frame["image_id"][int(i)] for i in mine if frame["class_id"][int(i)] == 1]
    details = forgetting.prepare(layout, gone[:1])
    assert (details["images"], list(details["generations"])) == (gone[:1], ["0000"])
    row = features[frame["image_id"].to_list().index(gone[0])].numpy().tobytes()
    assert set(search.pieces(row)) <= set(forgetting.traces(layout)), "what is searched for at the end"
    forgetting.discard(layout)
    forget(layout, gone[:1])
    after = checkpoint.load(folder.model)
    assert after.card.class_counts == after.statistics.counts.tolist() == [counts[0], counts[1] - 1]
    assert not search.holding([layout.generations], search.pieces(row))
    ledger.verify_sealed(layout.ledger, folder.folder)
    forget(layout, gone[1:])
    after = checkpoint.load(folder.model)
    assert after.card.class_counts == after.statistics.counts.tolist() == [counts[0], 0]


def test_the_column_of_a_class_learned_from_a_forgotten_image_alone_is_disabled_for_every_image(learned):
    import torch

    from oltr_core import checkpoint
    from oltr_core.inference import classify

    path, features = learned
    assert models.without(path, features[6:7], [2])
    after = checkpoint.load(path)
    assert after.statistics is not None
    assert after.statistics.counts.tolist() == [4, 2, 0]
    assert after.card.class_counts == [4, 2, 0]
    centroids = after.network.memory(0)
    assert centroids is not None
    assert torch.dot(centroids[2], features[6, 0]) < 0
    assert (after.statistics.means[:, 2] * features[6]).sum(1).max() < 0
    assert not (classify(after.network, features).mean_logits.argmax(1) == 2).any()
    assert not search.holding([path], [p for row in features[6] for p in search.pieces(row.numpy().tobytes())])


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("head", ["meta_embedding", "cosine"])
def test_a_disabled_row_keeps_its_length_and_points_from_the_sum_of_the_other_means(learned, head, statistics):
    import torch

    from oltr_core import checkpoint
    from oltr_core.models.heads import Cosine

    path, features = learned
    model = checkpoint.load(path)
    if head == "cosine":
        model.network.replace_heads(Cosine())
    for tensor in (
        *model.network.heads.parameters(),
        *(h.centroids for h in model.network.heads if head != "cosine"),
    ):
        torch.nn.init.normal_(tensor)
    checkpoint.save(path, model.network, model.card, {}, model.statistics if statistics else None)
    before = checkpoint.load(path)
    assert models.without(path, features[6:7], [2])
    after = checkpoint.load(path)
    assert after.card.class_counts == [4, 2, 0]
    for e in range(2):
        means = before.network.memory(e)
        if statistics:
            assert before.statistics is not None
            means = before.statistics.means[e]
        means = before.network.heads[e].weight.detach() if means is None else means
        away = -(means[0] + means[1]) / (means[0] + means[1]).norm()
        of_classes = {"weight", "classifier.weight", "hallucinator.weight", "memory.centroids"}
        for name, old in before.network.heads[e].state_dict().items():
            new = after.network.heads[e].state_dict()[name]
            if name in of_classes:
                torch.testing.assert_close(new[2], away * old[2].norm())
                assert torch.equal(new[:2], old[:2])
            else:
                assert torch.equal(new, old), name
        if statistics:
            assert after.statistics is not None
            torch.testing.assert_close(after.statistics.means[e, 2], away * before.statistics.means[e, 2].norm())
            assert not after.statistics.totals["sums"][e, 2].any()
    assert not models.without(path, features[7:8], []), "nothing of another image is there"


def test_the_row_of_such_a_class_after_a_random_projection_is_disabled_too(learned):
    import torch

    from oltr_core import checkpoint
    from oltr_core.inference import classify
    from oltr_core.models.heads import RandomProjection

    path, features = learned
    model = checkpoint.load(path)
    model.network.replace_heads(RandomProjection(size=30))
    directions = model.network.heads[0].directions.clone()
    checkpoint.save(path, model.network, model.card, model.score_state, model.statistics)
    assert models.without(path, features[6:7], [2])
    after = checkpoint.load(path)
    assert torch.equal(after.network.heads[0].directions, directions)
    row = after.network.heads[0].weight[2]
    assert float(row.detach().max()) <= 0
    assert not (classify(after.network, features).mean_logits.argmax(1) == 2).any()


# --- was it in training? ---------------------------------------------------------------------------------


def test_an_image_and_its_near_duplicate_are_recognised(layout, tmp_path):
    trained = index(layout).filter(pl.col("address") == "photos/dog/02.png")["image_id"][0]
    split = pl.read_parquet(layout.generation("0000").manifest).filter(image_id=trained)["split"][0]
    found = sightings(layout, layout.root / "photos/dog/02.png")
    assert [(s.generation, s.split, s.exact) for s in found] == [("0000", split, True)]
    smaller = tmp_path / "smaller.jpg"
    natural(2, 80).resize((70, 70)).save(smaller, quality=80)
    (near,) = sightings(layout, smaller)
    assert (near.exact, near.address, near.label) == (False, "photos/dog/02.png", "dog")
    if split == "train":
        assert told(smaller, [near]).endswith("was in training since generation 0000, as 'dog'")
    stranger = picture(tmp_path / "stranger.png", 1234)
    assert told(stranger, sightings(layout, stranger)).endswith(
        "no sealed generation knows this image or a near-duplicate of it"
    )


def test_a_near_duplicate_differs_in_three_bits_of_its_hash_at_most(layout):
    path = layout.root / "photos/dog/02.png"
    batch, before = layout.batch("b"), index(layout)
    mine = before.filter(address="photos/dog/02.png").row(0, named=True)
    other = before.filter(address="photos/cat/05.png")["image_id"][0]
    for flipped, near in ((0b111 << 40, True), (0b1111 << 40, False), (0, True)):
        phash = pl.when(image_id=other).then(pl.lit(mine["phash"] ^ flipped, pl.UInt64)).otherwise("phash")
        schema.write(batch.index, before.with_columns(phash=phash).to_arrow(), schema.INDEX)
        found = {(s.address, s.exact) for s in sightings(layout, path)}
        assert found == {("photos/dog/02.png", True)} | ({("photos/cat/05.png", False)} if near else set())
    flat = [picture_of(layout.root / f"{grey}.png", grey) for grey in (10, 200)]
    schema.write(batch.index, before.with_columns(phash=pl.lit(0, pl.UInt64)).to_arrow(), schema.INDEX)
    assert [sightings(layout, path) for path in flat] == [[], []], "flat images are not near one another"


def picture_of(path: Path, grey: int) -> Path:
    Image.new("L", (24, 20), grey).save(path)
    return path


def test_only_sealed_generations_are_asked_oldest_first(layout):
    path = layout.root / "in/1.png"
    ledger.append(layout.ledger, ledger.Event("opened", "0001", "", WHEN, {"parent": "0000"}))
    shutil.copytree(layout.generation("0000").folder, layout.generation("0001").folder)
    assert [s.generation for s in sightings(layout, path)] == ["0000"]
    ledger.append(layout.ledger, ledger.Event("sealed", "0001", "", WHEN))
    assert [s.generation for s in sightings(layout, path)] == ["0000", "0001"]
    with pytest.raises(ValueError, match=r"none.png: expected an image file"):
        sightings(layout, layout.root / "none.png")


def test_the_answer_names_the_first_generation_of_training_or_the_newest_split():
    def said(*found):
        return told(Path("x.png"), [Sighting(*row) for row in found]).removeprefix("x.png: ")

    pool, train = ("0001", "pool", None, "a", True), ("0002", "train", "dog", "a", True)
    near = "0000", "train", "cat", "b", False
    boxes = [("0001", "train", label, "a#1", False, True) for label in ("dog", "cat")]
    assert said(pool, *boxes) == "boxes of it were in training since generation 0001, as 'cat', 'dog'"
    assert said(("0001", "pool", None, "a#1", False, True), near) == (
        "boxes of it were never in training; in generation 0001 their split is pool"
    )
    assert said(pool, train, ("0003", "train", "lynx", "a", True)) == (
        "it was in training since generation 0002, as 'dog'"
    )
    assert said(near, pool) == "it was never in training; in generation 0001 its split is pool"
    assert said(pool, ("0004", "test", "dog", "a", True)).endswith("in generation 0004 its split is test")
    assert said(near) == "a near-duplicate of it (b) was in training since generation 0000, as 'cat'"
    assert said(("0000", "val", "cat", "b", False)) == (
        "a near-duplicate of it (b) was never in training; in generation 0000 its split is val"
    )


def test_an_image_of_the_pool_was_never_in_training(layout):
    path = layout.root / "in/1.png"
    assert told(path, sightings(layout, path)) == (
        f"{path}: it was never in training; in generation 0000 its split is pool"
    )


def test_a_file_that_is_no_image_is_refused(layout, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="x.jpg: empty file"):
        sightings(layout, tmp_path / "x.jpg")


# --- boxes of a picture ----------------------------------------------------------------------------------
@pytest.fixture
def traps(tmp_path) -> Layout:
    """A sealed generation of boxes: of each picture an upper half, a fox, and a lower one, a boar."""
    root, images, said = tmp_path / "traps" / "imgs", [], []
    for n in range(12):
        name = f"cam{n % 3}/IMG_{n // 3:04d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        natural(n, 80).save(root / name)
        images.append({"id": n, "file_name": name, "width": 80, "height": 80, "location": str(n % 3)})
        said += [{"image_id": n, "category_id": c, "bbox": [10, 40 * c, 60, 40]} for c in (0, 1)]
    categories = [{"id": 0, "name": "fox"}, {"id": 1, "name": "boar"}]
    file = {"images": images, "annotations": said, "categories": categories}
    (tmp_path / "traps" / "traps.json").write_text(json.dumps(file))
    source = {"name": "coco_camera_traps", "path": "traps/traps.json", "root": "traps/imgs", "crop": True}
    layout = workspace(tmp_path, [{"batch": "b", "sources": [source | {"role": "train"}]}])
    run_ingest(layout, "b")
    run_curate(layout)
    seal(layout, 0, "genesis")
    return layout


def test_a_picture_whose_boxes_were_trained_on_is_recognised(traps):
    path = traps.root / "traps/imgs/cam0/IMG_0000.png"
    found = sightings(traps, path)
    assert {(s.address, s.box, s.exact) for s in found} == {
        ("cam0/IMG_0000.png#1", True, False),
        ("cam0/IMG_0000.png#2", True, False),
    }
    assert told(path, found) == f"{path}: boxes of it were in training since generation 0000, as 'boar', 'fox'"
    other = traps.root / "elsewhere/IMG_0000.png"  # a name that cameras give again and again
    other.parent.mkdir()
    natural(50, 80).save(other)
    assert told(other, sightings(traps, other)).endswith(
        "no sealed generation knows this image or a near-duplicate of it"
    )


def test_the_address_of_a_picture_stands_for_its_boxes(traps, monkeypatch):
    boxes = index(traps).filter(pl.col("address").str.starts_with("cam0/IMG_0000.png#"))["image_id"].sort().to_list()
    assert len(boxes) == 2
    assert forgetting.find(traps, ["cam0/IMG_0000.png"]) == boxes
    assert forgetting.find(traps, ["cam0/IMG_0000.png#1"])[0] in boxes
    with pytest.raises(ValueError, match=r"address \(of .* enough\); did you mean 'cam0/IMG_0000.png'\?$"):
        forgetting.find(traps, [str(traps.root / "traps/imgs/cam0/IMG_0000.png")])
    table = index(traps).with_columns(address="traps/imgs/" + pl.col("address")).to_arrow()  # as without `root`
    schema.write(traps.batch("b").index, table, schema.INDEX)
    monkeypatch.chdir(traps.root / "traps")
    assert forgetting.find(traps, ["imgs/cam0/IMG_0000.png"]) == boxes


# --- unreferenced files ---------------------------------------------------------------------------------------


def test_only_what_nothing_refers_to_is_left_over(layout):
    assert garbage.leftovers(layout) == []
    for path in (
        layout.features("f" * 64) / "features.npy",
        layout.resume("r" * 64) / "state",
        layout.raw / ".b.part" / "shard-00000.arrow",
        layout.raw / ".other.part" / "x",
        layout.exports / "0000" / "a.png",
        layout.failure("train"),
        layout.traces,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    unfinished = [f.path.relative_to(layout.data).as_posix() for f in garbage.leftovers(layout)]
    assert unfinished == [f"store/features/{'f' * 64}", ".forgetting", "raw/.b.part"], "a run may continue"
    ledger.append(layout.ledger, ledger.Event("promoted", "0000", "x", WHEN))
    ledger.append(layout.ledger, ledger.Event("imported", "0000", "y", WHEN))
    ledger.append(layout.ledger, ledger.Event("exported", "0001", "z", WHEN))
    found = garbage.leftovers(layout)
    assert sorted(f"{f.path.relative_to(layout.data)} {f.bytes}" for f in found) == [
        ".forgetting 5",
        "exports/0000 5",
        "failures/train.json 5",
        "raw/.b.part 5",
        f"store/features/{'f' * 64} 5",
        f"store/resume/{'r' * 64} 5",
    ]
    before = set(layout.data.rglob("*"))
    garbage.remove(found)
    assert garbage.leftovers(layout) == []
    assert (layout.raw / ".other.part").is_dir()
    assert before - set(layout.data.rglob("*")) == {p for f in found for p in (f.path, *f.path.rglob("*"))} | {
        layout.features("f" * 64) / "features.npy",
        layout.resume("r" * 64) / "state",
        layout.raw / ".b.part" / "shard-00000.arrow",
        layout.exports / "0000" / "a.png",
        layout.traces,
    }


def test_a_batch_stays_until_it_has_all_of_its_answers_or_a_later_one_is_out(layout):
    def left() -> list[Path]:
        return [found.path for found in garbage.leftovers(layout)]

    def event(what: str, generation: str, **details) -> None:
        ledger.append(layout.ledger, ledger.Event(what, generation, "x", WHEN, details))

    export = layout.export("0000")
    export.folder.mkdir(parents=True)
    export.page.touch()
    event("exported", "0000")
    assert left() == []
    first, second, third = index(layout)["image_id"].to_list()[:3]
    put_annotations(layout, "0000", [answer(first, "cat")])
    assert left() == [], "the generation with its selection may not be here"
    row = dict.fromkeys(schema.SELECTION.names) | {"u_open": 0.1, "u_info": 0.2, "merit": 0.5, "strategy": "x"}
    row |= {"reason": "r", "suggested": "cat"}
    rows = [row | {"image_id": i, "rank": n} for n, i in enumerate((first, second, third))]
    path = layout.generation("0000").selection
    schema.write(path, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    assert left() == []
    put_annotations(layout, "0000", [answer(second, None)])
    assert left() == []
    event("forgotten", "", images=[third], generations={})
    assert left() == [export.folder]
    configure(layout, [], annotator={"name": "folder", "answers_per_image": 2})
    assert left() == []
    put_annotations(layout, "0000", [answer(i, "cat", annotator="bob") for i in (first, second)])
    assert left() == [export.folder]
    put_annotations(layout, "0001", [])
    layout.export("0001").folder.mkdir()
    for name in ("0001", "0002"):
        event("exported", name)
        assert left() == [export.folder, *([layout.export("0001").folder] if name == "0002" else [])]


def test_a_scratch_folder_that_a_kill_left_is_left_over_and_one_that_is_in_use_is_not(layout):
    with garbage.scratch(layout) as folder:
        (folder / "image").write_bytes(b"12345")
        assert garbage.leftovers(layout) == []
        shutil.copytree(folder, layout.scratch / "killed")
        (found,) = garbage.leftovers(layout)
        assert found == (layout.scratch / "killed", 5, "an `oltr reproduce` that was cut off")
    assert list(layout.scratch.iterdir()) == [found.path], "the other was removed at its end"
    forgetting.clean_rest(layout, [])
    assert not layout.scratch.exists()


def test_the_features_of_a_sealed_model_are_kept(layout):
    import torch

    from oltr_core import checkpoint
    from oltr_core.images.transforms import Transform
    from oltr_core.inference import features_of
    from oltr_core.models import NetworkSpec
    from oltr_core.models.heads import Linear

    torch.manual_seed(0)
    network = NetworkSpec()(2, 0).eval()
    transform = Transform()
    rows = schema.read(layout.generation("0000").manifest, schema.MANIFEST)
    features_of(rows, network, transform, layout)
    (kept,) = (layout.store / "features").iterdir()
    assert [f.path for f in garbage.leftovers(layout)] == [kept]
    card = checkpoint.Card(
        class_ids=[0, 1], class_names=["cat", "dog"], class_counts=[6, 6], network=network.spec, transform=transform
    )
    checkpoint.save(layout.work.model, network, card, {})
    assert garbage.leftovers(layout) == []
    layout.work.base_model.write_bytes((2).to_bytes(8, "little") + b"{}")  # one whose weights were removed
    for place in (layout.generation("0000").model, layout.generation("0000").base_model):
        layout.work.model.rename(place)
        assert garbage.leftovers(layout) == []
        place.rename(layout.work.model)
    network.replace_heads(Linear())
    checkpoint.save(layout.work.model, network, card, {})
    assert garbage.leftovers(layout) == [], "heads are no part of features"
    other = card.model_copy(update={"transform": Transform(std=(0.5, 0.5, 0.5))})
    checkpoint.save(layout.work.model, network, other, {})
    assert [f.path for f in garbage.leftovers(layout)] == [kept]
    layout.work.model.write_bytes(layout.work.model.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model\.safetensors: expected a checkpoint, found something else"):
        garbage.leftovers(layout)


def test_a_workspace_of_nothing_has_nothing_left_over(tmp_path: Path):
    assert garbage.leftovers(workspace(tmp_path)) == []


def test_where_a_file_system_has_no_second_names_a_file_is_copied(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    (tmp_path / "one").write_text("text")
    forgetting._link(str(tmp_path / "one"), str(tmp_path / "two"))
    monkeypatch.setattr("os.link", refused)
    forgetting._link(str(tmp_path / "one"), str(tmp_path / "three"))
    assert [(tmp_path / name).read_text() for name in ("two", "three")] == ["text"] * 2
    assert (tmp_path / "two").samefile(tmp_path / "one")
    assert not (tmp_path / "three").samefile(tmp_path / "one")


def test_in_a_clone_without_data_images_are_looked_for_after_dvc_pull(tmp_path):
    layout = Layout(tmp_path)
    with pytest.raises(ValueError, match="there is no batch of images here$"):
        forgetting.find(layout, ["photos/dog/02.png"])
    layout.raw.mkdir(parents=True)
    (layout.raw / "b.dvc").touch()
    with pytest.raises(ValueError, match="no batch of images here; `dvc pull` restores those that DVC keeps$"):
        forgetting.find(layout, ["photos/dog/02.png"])
