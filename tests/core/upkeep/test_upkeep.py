"""Forgetting removes an image everywhere and stays forgotten; what nothing refers to is found and nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.upkeep import forgetting, garbage
from oltr_core.upkeep.sightings import answer as told
from oltr_core.upkeep.sightings import sightings
from tests.core.data_world import (
    answer,
    configure,
    opened,
    picture,
    put_annotations,
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


def every_byte(layout: Layout) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(layout.data.rglob("*")) if p.is_file())


@pytest.mark.parametrize("address", ["photos/dog/00.png", "photos/cat/09.png"])
def test_a_forgotten_image_is_nowhere_any_more(layout, address):
    (image_id,) = forgetting.find(layout, [address])
    row = index(layout).filter(image_id=image_id).row(0, named=True)
    shard = layout.batch("b").shard(row["shard"])
    large = row["width"] > 64
    pixels = (layout.root / address).read_bytes() if large else natural(9, 30).tobytes()
    thumb = pl.read_parquet(layout.batch("b").thumbnails).filter(image_id=image_id)["jpeg"].to_list()
    assert pixels in shard.read_bytes()
    cache = layout.features("k" * 64) / "features.npy"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"features")
    done = forgetting.forget(layout, [image_id], WHEN)
    after = every_byte(layout)
    assert pixels not in after
    assert not any(jpeg in after or base64.b64encode(jpeg) in after for jpeg in thumb)
    assert not cache.exists()
    assert image_id not in index(layout)["image_id"].to_list()
    assert layout.batch("b").folder in done.changed
    assert layout.generation("0000").folder in done.changed
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
    forgetting.forget(layout, [gone], WHEN)
    for row in index(layout).select("image_id", "batch", "shard", "row").iter_rows():
        assert np.array_equal(Shards(layout.raw).read(*row[1:]), pixels[row[0]])
    assert index(layout).height == before.height - 1


def test_the_sealed_generation_verifies_and_the_next_goes_on_without_the_image(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    forgetting.forget(layout, [gone], WHEN)
    ledger.verify_sealed(layout.ledger, layout.generation("0000").folder)
    opened(layout, 1, "0000", "update")
    put_annotations(layout, "0000", [answer(gone, "cat")])
    assert gone not in run_curate(layout)["image_id"].to_list()


def test_forgetting_twice_changes_nothing_more(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    forgetting.forget(layout, [gone], WHEN)
    before = every_byte(layout)
    assert forgetting.forget(layout, [gone], WHEN).changed == []
    assert every_byte(layout) == before


def test_forgetting_that_was_cut_off_after_its_tombstone_is_finished_by_the_next(layout, monkeypatch):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    with monkeypatch.context() as power:

        def cut(*_):
            raise KeyboardInterrupt

        append = ledger.append
        power.setattr(forgetting.ledger, "append", lambda *a: append(*a) and cut())
        with pytest.raises(KeyboardInterrupt):
            forgetting.forget(layout, [gone], WHEN)
    forgetting.forget(layout, [gone], WHEN)
    ledger.verify_sealed(layout.ledger, layout.generation("0000").folder)


def test_an_edited_generation_is_not_sealed_anew_by_forgetting(layout):
    (gone,) = forgetting.find(layout, ["in/1.png"])
    layout.generation("0000").model.write_bytes(b"another model")
    with pytest.raises(ValueError, match="a file in this sealed generation was changed"):
        forgetting.forget(layout, [gone], WHEN)


def test_a_forgotten_image_is_not_taken_in_again(layout):
    (gone,) = forgetting.find(layout, ["photos/dog/00.png"])
    forgetting.forget(layout, [gone], WHEN)
    configure(layout, [{"batch": "c", "sources": [{"name": "folder", "path": "photos"}]}])
    with pytest.raises(ValueError, match=r"all 12 files went to quarantine"):
        run_ingest(layout, "c")
    picture(layout.root / "photos/dog/new.png", 99)
    run_ingest(layout, "c")
    reasons = dict(pl.read_parquet(layout.batch("c").quarantine).select("address", "reason").rows())
    assert reasons["photos/dog/00.png"] == "forgotten on request"


def test_the_batch_card_counts_what_was_forgotten(layout):
    forgetting.forget(layout, forgetting.find(layout, ["in/1.png", "in/2.png"]), WHEN)
    card = json.loads(layout.batch("b").card.read_text())
    assert (card["images"], card["forgotten"], card["rows"]) == (13, 2, 15)


def test_an_image_that_is_not_there_is_named(layout):
    with pytest.raises(ValueError, match=r"nowhere.png: no batch holds an image of this id or address"):
        forgetting.find(layout, ["nowhere.png"])


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


def test_an_image_of_the_pool_was_never_in_training(layout):
    path = layout.root / "in/1.png"
    assert told(path, sightings(layout, path)) == (
        f"{path}: it was never in training; in generation 0000 its split is pool"
    )


def test_a_file_that_is_no_image_is_refused(layout, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="x.jpg: empty file"):
        sightings(layout, tmp_path / "x.jpg")


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
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    ledger.append(layout.ledger, ledger.Event("promoted", "0000", "x", WHEN))
    ledger.append(layout.ledger, ledger.Event("imported", "0000", "y", WHEN))
    found = garbage.leftovers(layout)
    assert sorted(f"{f.path.relative_to(layout.data)} {f.bytes}" for f in found) == [
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
    }


def test_the_features_of_a_sealed_model_are_kept(layout):
    import torch

    from oltr_core import checkpoint, schema
    from oltr_core.images.transforms import Transform
    from oltr_core.inference import features_of
    from oltr_core.models import NetworkSpec

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


def test_a_workspace_of_nothing_has_nothing_left_over(tmp_path: Path):
    assert garbage.leftovers(workspace(tmp_path)) == []
