"""Ingest: anyone's images in, a packed and immutable batch out.

Files: params.yaml: sources -> data/raw/<batch>/{shard-*.arrow, index.parquet, quarantine.parquet,
thumbnails.parquet, batch.json} and data/truth/<batch>.parquet. Data, not a stage of dvc.yaml: DVC deletes what a
stage writes before it runs it again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import tee
from typing import Any

from filelock import FileLock

from oltr_core import digest, ledger, schema
from oltr_core.files import rename_into_place, write_atomically
from oltr_core.images.decode import Limits
from oltr_core.ingest.batch_writer import BatchWriter, held_elsewhere, note_of, part_of
from oltr_core.ingest.labels import taken_in
from oltr_core.ingest.packing import look_at_all
from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources import Source, parse_sources
from oltr_core.ingest.thumbnails import thumbnails
from oltr_core.layout import Batch, Layout
from oltr_core.settings.operations import RawBatch
from oltr_core.settings.whole import Settings
from oltr_core.spec import suggest


def run(
    settings: Settings, layout: Layout, batch: str, access: SourceAccess | None = None, workers: int | None = None
) -> dict[str, Any]:
    """Ingest the batch of that name and return its card (batch.json).

    A batch that is there already is left as it is, and its card returned. A run that was cut off goes on where it
    stopped. The bytes depend on the input alone, not on `workers` (default: the cores of this machine).
    Raises ValueError when params.yaml knows no such batch, or when its sources are not those it was made from.
    """
    wanted = {b.batch: b for b in settings.sources}
    if batch not in wanted:
        raise ValueError(f"params.yaml: sources: there is no batch {batch!r}{suggest(batch, wanted)}")
    sources = parse_sources(wanted[batch])
    made_from = digest.of_value(wanted[batch].model_dump())
    final = layout.batch(batch)
    if final.card.exists():
        return _unchanged(final, made_from)
    access = access or SourceAccess(layout.root)
    limits = Limits(**settings.ingest.model_dump())
    layout.raw.mkdir(parents=True, exist_ok=True)
    with FileLock(layout.ingesting(batch)):  # of two at once the second waits, and then finds the batch there
        if final.card.exists():
            return _unchanged(final, made_from)
        part = part_of(layout, batch)
        writer = _resume(part, wanted[batch], made_from, layout, sources, access)
        records = _records(sources, access)
        assert writer.skip(records), "the part was compared with its sources a moment ago"
        _pack(writer, records, access, limits, workers or os.cpu_count() or 1)
        return _finish(writer, part, final, made_from, layout)


def _unchanged(final: Batch, made_from: str) -> dict[str, Any]:
    card = json.loads(final.card.read_text())
    if card["made_from"] != made_from:
        raise ValueError(
            f"params.yaml: sources: batch {final.name!r} was ingested from other sources, and a batch never changes; "
            "give the new sources a new batch name"
        )
    return card


def _records(sources: list[Source], access: SourceAccess) -> Iterator[tuple[str, Record]]:
    return ((source.name, taken_in(record)) for source in sources for record in source(access))


def _resume(
    part: Batch, batch: RawBatch, made_from: str, layout: Layout, sources: list[Source], access: SourceAccess
) -> BatchWriter:
    """An writer that goes on with what an earlier run finished, if that came from the same sources."""
    known = held_elsewhere(layout.batches), ledger.state_of(layout.ledger).forgotten
    note = note_of(part)
    if note.exists() and note.read_text() == made_from:
        writer = BatchWriter(part, batch.batch, *known)
        if writer.skip(_records(sources, access)):
            return writer
    if part.folder.exists():
        shutil.rmtree(part.folder)
    part.folder.mkdir(parents=True)
    write_atomically(note, made_from)
    return BatchWriter(part, batch.batch, *known)


def _pack(
    writer: BatchWriter, records: Iterator[tuple[str, Record]], access: SourceAccess, limits: Limits, workers: int
) -> None:
    from tqdm import tqdm

    sent, named = tee(records)  # they come back in their order
    looked = look_at_all((record for _, record in sent), access, limits, workers)
    with tqdm(desc=f"ingest {writer.name}", unit=" images", initial=writer.taken, disable=None) as bar:
        for (source, _), (record, seen) in zip(named, looked, strict=True):
            writer.take(source, record, seen)
            bar.update()
        writer.flush()


def _finish(writer: BatchWriter, part: Batch, final: Batch, made_from: str, layout: Layout) -> dict[str, Any]:
    if not writer.taken:
        raise ValueError(f"params.yaml: sources: batch {final.name!r}: its sources hold no image at all")
    index, quarantine, truth = writer.settle()
    if not index.num_rows:
        address, reason = (quarantine.column(name)[0].as_py() for name in ("address", "reason"))
        raise ValueError(
            f"params.yaml: sources: batch {final.name!r}: all {writer.taken} files went to quarantine; the first "
            f"({address}): {reason}"
        )
    schema.write(part.index, index, schema.INDEX)
    schema.write(part.quarantine, quarantine, schema.QUARANTINE)
    schema.write(part.thumbnails, thumbnails(index, part.folder), schema.THUMBNAILS)
    writer.discard_rows()
    note_of(part).unlink()
    if truth.num_rows:  # before the batch has its name: a batch that is there is whole
        schema.write(layout.truth_of(final.name), truth, schema.TRUTH)
    files = sorted(p for p in part.folder.iterdir() if not p.name.startswith("."))
    card = {
        "batch": final.name,
        "made_from": made_from,
        "rows": writer.taken,
        "images": index.num_rows,
        "quarantined": quarantine.num_rows,
        "files": {p.name: digest.of_file(p) for p in files},
    }
    write_atomically(part.card, json.dumps(card, indent=1, sort_keys=True) + "\n")
    rename_into_place(part.folder, final.folder)
    return card
