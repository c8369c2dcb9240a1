"""Forgetting an image: its bytes, features and thumbnails go, everywhere in the workspace, and a tombstone stays.

What stays is its id, the hash by which it is recognised and not taken in again. Its effect on the weights of a model
stays until the next full training, and copies in DVC's cache and remotes until they are collected there.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from oltr_core import digest, ledger, schema
from oltr_core.frames import scan
from oltr_core.images.shards import Packed, write_shard
from oltr_core.layout import Batch, Export, Generation, Layout, write_atomically

_NOTHING = Packed(1, 1, bytes(3))  # one black pixel: the rows beside it keep their places
_PICTURE = re.compile(r'src="data:image/[a-z]+;base64,[A-Za-z0-9+/=]*"')


class Forgotten(NamedTuple):
    """What was removed, and what has changed by that."""

    image_ids: list[str]
    changed: list[Path]  # batches, truths and generations to give to DVC again


def find(layout: Layout, names: Collection[str]) -> list[str]:
    """The ids behind `names`: ids, their first 12 or more letters, or addresses. ValueError for one unknown."""
    if not layout.batches:
        raise ValueError("data/raw: there is no batch of images here")
    rows = pl.concat([scan(b.index, schema.INDEX).select("image_id", "address") for b in layout.batches]).collect()
    ids: set[str] = set()
    for name in names:
        known = (pl.col("address") == name) | (pl.col("image_id").str.starts_with(name) & (len(name) >= 12))
        mine = rows.filter(known)["image_id"]
        if mine.is_empty():
            raise ValueError(f"{name}: no batch holds an image of this id or address")
        ids |= set(mine)
    return sorted(ids)


def forget(layout: Layout, image_ids: Collection[str], at: str) -> Forgotten:
    """Remove the images from batches, truth, caches, exports and the pages of generations; write the tombstone.

    `at` is the time, ISO 8601. Doing it again, or after a crash, changes nothing more.
    """
    ids = sorted(set(image_ids))
    changed = [b.folder for b in layout.batches if _from_batch(b, ids)]
    changed += [t for t in sorted(layout.truth.glob("*.parquet")) if _from_table(t, schema.TRUTH, ids)]
    shutil.rmtree(layout.store / "features", ignore_errors=True)  # computed again from what is left
    for export in sorted(layout.exports.glob("*")):
        _from_export(export, ids)
    _from_pages(Generation(layout.work.folder), ids)
    state = ledger.replay(ledger.read(layout.ledger))
    known = [g for g in map(layout.generation, state.sealed) if g.folder.is_dir() and _knows(g, ids)]
    digests = {g.name: _digest_without_pictures(g, ids, state.sealed[g.name], layout) for g in known}
    # the tombstone before the pages: it tells the digests that the generations have from now on
    details = {"images": ids, "generations": digests}
    ledger.append(layout.ledger, ledger.Event("forgotten", state.champion, digest.of_value(details), at, details))
    changed += [g.folder for g in known if _from_pages(g, ids)]
    return Forgotten(ids, changed)


def _digest_without_pictures(generation: Generation, ids: list[str], expected: str, layout: Layout) -> str:
    """The digest that a sealed folder will have; it must be sound now, or be what an earlier run left half done."""
    with tempfile.TemporaryDirectory(dir=layout.data) as folder:
        copy = Generation(Path(folder) / generation.name)
        shutil.copytree(generation.folder, copy.folder)
        _from_pages(copy, ids)
        found = digest.of_folder(copy.folder)
    if found != expected:
        ledger.verify_sealed(layout.ledger, generation.folder)
    return found


def _from_table(path: Path, kind: pa.Schema, ids: list[str]) -> bool:
    table = schema.read(path, kind)
    keep = [i not in ids for i in table.column("image_id").to_pylist()]
    if all(keep):
        return False
    temporary = path.with_name(f".{path.name}.tmp")
    schema.write(temporary, table.filter(pa.array(keep)), kind)
    temporary.replace(path)
    return True


def _from_batch(batch: Batch, ids: list[str]) -> bool:
    places = scan(batch.index, schema.INDEX).filter(pl.col("image_id").is_in(ids)).select("shard", "row").collect()
    for (shard,), mine in places.group_by("shard"):
        _blank(batch.shard(shard), set(mine["row"]))
    # the index last: until it is written, a run after a crash finds the places again
    kinds = {batch.thumbnails: schema.THUMBNAILS, batch.quarantine: schema.QUARANTINE, batch.index: schema.INDEX}
    changed = [path for path, kind in kinds.items() if path.exists() and _from_table(path, kind, ids)]
    if changed and batch.card.exists():
        card = json.loads(batch.card.read_text())
        card["files"] = {name: digest.of_file(batch.folder / name) for name in card["files"]}
        card["images"] -= places.height
        card["forgotten"] = card.get("forgotten", 0) + places.height
        write_atomically(batch.card, json.dumps(card, indent=1, sort_keys=True) + "\n")
    return bool(changed)


def _blank(path: Path, rows: set[int]) -> None:
    with pa.memory_map(str(path)) as source:
        images = pa.ipc.open_file(source).read_all().to_pylist()
    kept = [_NOTHING if number in rows else Packed(**image) for number, image in enumerate(images)]
    temporary = path.with_name(f".{path.name}.tmp")
    write_shard(temporary, kept)
    temporary.replace(path)


def _from_export(folder: Path, ids: list[str]) -> None:
    mine = [p for i in ids for p in folder.rglob(f"*{i[:12]}*") if p.is_file()]
    for path in mine:
        path.unlink()
    if mine:
        Export(folder).contact_sheet.unlink(missing_ok=True)


def _knows(generation: Generation, ids: list[str]) -> bool:
    path, known = generation.manifest, pl.col("image_id").is_in(ids).any()
    return path.exists() and scan(path, schema.MANIFEST).select(known).collect().item()


def _from_pages(generation: Generation, ids: list[str]) -> bool:
    """Take the pictures out of the pages of a generation that knows one of the images; False if there were none."""
    if not _knows(generation, ids):
        return False
    had = generation.contact_sheet.exists()
    generation.contact_sheet.unlink(missing_ok=True)
    for page in sorted(generation.folder.glob("*.html")):
        text = page.read_text()
        without = _PICTURE.sub('alt="removed: a picture here was forgotten"', text)
        if without != text:
            write_atomically(page, without)  # a new file: the old one may be a link into DVC's cache
            had = True
    return had
