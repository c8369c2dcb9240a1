"""Forgetting an image: its bytes, features and pictures go, everywhere in the workspace, and a tombstone stays.

What stays is its id, the hash by which it is recognised and not taken in again, and what it had a part in and cannot
be subtracted from: weights, centroids and standard deviations, until the next full training.

`prepare` changes nothing: it writes into a folder of its own what is needed later, when the bytes are gone. Then the
ledger says that the images are being forgotten, and each of the other steps may be done any number of times.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from oltr_core import checkpoint, digest, ledger, schema
from oltr_core.files import rename_into_place, write_atomically
from oltr_core.frames import scan
from oltr_core.images.shards import Packed, write_shard
from oltr_core.layout import GENESIS, Batch, Export, Generation, Layout
from oltr_core.upkeep import lookup, models
from oltr_core.upkeep.search import pieces

FEWEST = 12  # letters of an id that may stand for it: what is removed does not come back
_NOTHING = Packed(1, 1, bytes(3))  # one black pixel: the rows beside it keep their places
_PICTURE = re.compile(r'src="data:image/[a-z]+;base64,[A-Za-z0-9+/=]*"')
_PAGE = b"<!doctype html><p>Removed by `oltr forget`; the next run writes this page anew."
_PIXEL = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
_WEIGHTLESS = (2).to_bytes(8, "little") + b"{}"  # a safetensors file without tensors


def find(layout: Layout, names: Collection[str]) -> list[str]:
    """The ids of all images behind `names`, each as of `lookup.find`, which raises ValueError.

    Sealed manifests know an image that is forgotten already.
    """
    rows, forgotten = lookup.images(layout), ledger.state_of(layout.ledger).forgotten
    sealed = [scan(g.manifest, schema.MANIFEST).select(lookup.COLUMNS) for g in _generations(layout)]
    before = pl.concat(sealed).collect() if sealed else rows.clear()
    before = before.filter(pl.col("image_id").is_in(forgotten))
    return sorted({i for name in names for i in lookup.find(layout, name, FEWEST, rows, before, single=False)})


def holders(layout: Layout, image_ids: Collection[str]) -> list[Path]:
    """Batches, truths and generations that have something of the images."""
    known, places = pl.col("image_id").is_in(image_ids).any(), list[Path]()
    places += [b.folder for b in layout.batches if scan(b.index, schema.INDEX).select(known).collect().item()]
    truths = sorted(layout.truth.glob("*.parquet"))
    places += [t for t in truths if scan(t, schema.TRUTH).select(known).collect().item()]
    return [*places, *(g.folder for g in _generations(layout) if _knows(g, image_ids))]


def addresses(layout: Layout, image_ids: Collection[str]) -> list[str]:
    """Where the images came from, their duplicates too."""
    tables = [scan(b.index, schema.INDEX) for b in layout.batches]
    tables += [scan(b.quarantine, schema.QUARANTINE) for b in layout.batches if b.quarantine.exists()]
    mine = [t.filter(pl.col("image_id").is_in(image_ids)).select("address").collect()["address"] for t in tables]
    return sorted({address for found in mine for address in found})


def prepare(layout: Layout, image_ids: Collection[str]) -> dict[str, Any]:
    """Write what the steps need into a folder of its own, and return what the ledger says of the removal.

    The folder gets every generation that knows an image, cleaned, and pieces of all that is to go, for the search at
    the end. Raises ValueError when one of those generations was edited since it was sealed.
    """
    discard(layout)
    layout.forgetting.mkdir(parents=True)
    ids, state = sorted(set(image_ids)), ledger.state_of(layout.ledger)
    digests: dict[str, str] = {}
    mine = pl.col("image_id").is_in(ids)
    others = {digest.of_bytes(v) for b in layout.batches for v in _bytes_of(b, ~mine)}  # one may be in two encodings
    values = [v for b in layout.batches for v in _bytes_of(b, mine) if digest.of_bytes(v) not in others]
    of_trunk: dict[str, Any] = {}
    for generation in _generations(layout):
        if not _knows(generation, ids):
            continue
        if generation.name in state.sealed:
            ledger.verify_sealed(layout.ledger, generation.folder)
        copy = Generation(layout.forgetting / generation.name)
        shutil.copytree(generation.folder, copy.folder, copy_function=_link)
        values += [copy.contact_sheet.read_bytes()] if copy.contact_sheet.exists() else []
        if copy.model.exists():
            model = checkpoint.load(copy.model)
            trunk = model.card.trunk_digest
            if trunk not in of_trunk:
                of_trunk[trunk] = models.features(layout, ids, model)
            mine, features = of_trunk[trunk]
            empty = models.emptied_classes(copy, {*ids, *state.forgotten}, model.card)
            models.without(copy.model, features, empty, models.columns_of(copy, mine, model.card))
        _from_pages(copy)
        digests[copy.name] = digest.of_folder(copy.folder)
    values += [row.numpy().tobytes() for _, found in of_trunk.values() for row in found.flatten(0, 1)]
    write_atomically(layout.traces, json.dumps(sorted({piece.hex() for v in values for piece in pieces(v)})))
    return {"images": ids, "generations": digests}


def begin(layout: Layout, details: dict[str, Any], at: str) -> None:
    """Say in the ledger what is to go, at the time `at`, ISO 8601. From here on it is finished, not given up."""
    state = ledger.state_of(layout.ledger)
    ledger.append(layout.ledger, ledger.Event("forgetting", state.champion, digest.of_value(details), at, details))


def end(layout: Layout, at: str) -> None:
    """The tombstone, with the digests that sealed generations have from now on."""
    state = ledger.state_of(layout.ledger)
    digests = {name: now for name, now in state.forgetting["generations"].items() if name in state.sealed}
    details = {"images": state.forgetting["images"], "generations": digests}
    ledger.append(layout.ledger, ledger.Event("forgotten", state.champion, digest.of_value(details), at, details))
    shutil.rmtree(layout.forgetting)


def discard(layout: Layout) -> None:
    """Remove what was prepared."""
    shutil.rmtree(layout.forgetting, ignore_errors=True)


def traces(layout: Layout) -> list[bytes]:
    """Pieces of everything that is to go."""
    return [bytes.fromhex(piece) for piece in json.loads(layout.traces.read_text())]


def replace_generations(layout: Layout) -> None:
    """Put the cleaned generations in the place of those that show an image. Raises ValueError for an edited one."""
    state = ledger.state_of(layout.ledger)
    for ready in (Generation(p) for p in sorted(layout.forgetting.iterdir()) if p.is_dir() and p.name[0] != "."):
        final = layout.generation(ready.name).folder
        if final.is_dir():  # else a run before this was cut off between the two names
            if ready.name in state.sealed:
                ledger.verify_sealed(layout.ledger, final)
            before = layout.forgetting / f".{ready.name}"
            shutil.rmtree(before, ignore_errors=True)
            final.rename(before)
        rename_into_place(ready.folder, final)
        shutil.rmtree(layout.forgetting / f".{ready.name}", ignore_errors=True)


def clean_batches(layout: Layout, image_ids: Collection[str]) -> None:
    """Take the images out of raw batches and their held-back labels."""
    ids = sorted(set(image_ids))
    for batch in layout.batches:
        _from_batch(batch, ids)
    for truth in sorted(layout.truth.glob("*.parquet")):
        _from_table(truth, schema.TRUTH, ids)


def clean_rest(layout: Layout, image_ids: Collection[str]) -> None:
    """Take the images out of what can be made again, and remove what a crash left half done."""
    for export in sorted(layout.exports.glob("*")):
        _from_export(export, image_ids)
    shutil.rmtree(layout.store, ignore_errors=True)
    shutil.rmtree(layout.scratch, ignore_errors=True)
    shutil.rmtree(layout.analyses, ignore_errors=True)  # pictures and ids of images in them
    shutil.rmtree(layout.dvc_runs, ignore_errors=True)
    work = layout.work
    for path in shown(layout):
        if path.exists() or layout.dvc_lock.exists():
            blank = _PIXEL if path == work.contact_sheet else _PAGE if path.suffix == ".html" else _WEIGHTLESS
            write_atomically(path, blank)
    for place in (layout.raw, layout.truth, layout.generations, layout.exports, work.folder):
        for path in [*place.rglob(".*.tmp"), *place.glob(".*.part")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def shown(layout: Layout) -> list[Path]:
    """The results of stages that hold pictures or features of single images."""
    work = layout.work
    return [work.contact_sheet, work.report, work.data_card, work.model, work.base_model]


def _generations(layout: Layout) -> list[Generation]:
    """Whole generations, also one that was cut off before its seal; `genesis` knows no image."""
    folders = sorted(p for p in layout.generations.glob("[!.]*") if p.is_dir() and p.name != GENESIS)
    return [generation for generation in map(Generation, folders) if generation.manifest.exists()]


def _link(source: str, target: str) -> None:
    """The same file under a second name, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _bytes_of(batch: Batch, mine: pl.Expr) -> Iterable[bytes]:
    """The packed images, and their thumbnails."""
    for (shard,), rows in scan(batch.index, schema.INDEX).filter(mine).collect().group_by("shard"):
        yield from _packed(batch.shard(shard)).column("data").take(rows["row"].to_arrow()).to_pylist()
    if batch.thumbnails.exists():
        yield from scan(batch.thumbnails, schema.THUMBNAILS).filter(mine).collect()["jpeg"]


def _packed(shard: Path) -> pa.Table:
    with pa.memory_map(str(shard)) as source:
        return pa.ipc.open_file(source).read_all()


def _from_table(path: Path, kind: pa.Schema, ids: list[str]) -> bool:
    table = schema.read(path, kind)
    keep = [i not in ids for i in table.column("image_id").to_pylist()]
    if all(keep):
        return False
    temporary = path.with_name(f".{path.name}.tmp")
    schema.write(temporary, table.filter(pa.array(keep)), kind)
    temporary.replace(path)
    return True


def _from_batch(batch: Batch, ids: list[str]) -> None:
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


def _blank(path: Path, rows: set[int]) -> None:
    images = _packed(path).to_pylist()
    kept = [_NOTHING if number in rows else Packed(**image) for number, image in enumerate(images)]
    temporary = path.with_name(f".{path.name}.tmp")
    write_shard(temporary, kept)
    temporary.replace(path)


def _from_export(folder: Path, ids: Collection[str]) -> None:
    mine = [p for i in ids for p in folder.rglob(f"*{i[:12]}*") if p.is_file()]
    for path in mine:
        path.unlink()
    if mine:
        Export(folder).contact_sheet.unlink(missing_ok=True)
    # with pictures inside, of training images too where there are examples; export makes them again
    for page in (*folder.glob("*.html"), *folder.glob("*.json")):
        text = page.read_text()
        if any(image_id in text for image_id in ids):
            page.unlink()


def _knows(generation: Generation, ids: Collection[str]) -> bool:
    known = pl.col("image_id").is_in(ids).any()
    return scan(generation.manifest, schema.MANIFEST).select(known).collect().item()


def _from_pages(generation: Generation) -> None:
    """Take the pictures out of the pages of a generation: which of them shows which image, they do not say."""
    generation.contact_sheet.unlink(missing_ok=True)
    for page in sorted(generation.folder.glob("*.html")):
        text = page.read_text()
        without = _PICTURE.sub('alt="removed: a picture here was forgotten"', text)
        if without != text:
            write_atomically(page, without)  # a new file: the old one may be a link into DVC's cache
