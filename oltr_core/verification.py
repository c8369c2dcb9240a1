"""Whether the inputs of a generation are what came in: raw batches, held-back truth and annotations.

The ledger holds the digest of every batch's card and of its truth, the card that of every file of the batch; an
annotations file is named by its digest, and the ledger says which were imported. A workspace of an older version has
no events of its batches before it opens its next generation: until then their files are checked with the card.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oltr_core import digest, ledger, schema
from oltr_core.files import write_atomically
from oltr_core.layout import Batch, Layout
from oltr_core.ledger import Event


@dataclass
class Digests:
    """The digest of a file; what is remembered of a file whose size and times are the same is not read again."""

    root: Path
    known: dict[str, list[Any]]  # path in the workspace -> what tells that the file is the same, and its digest
    read: set[Path] = field(default_factory=set)

    def __call__(self, path: Path) -> str:
        stat, name = path.stat(), path.relative_to(self.root).as_posix()
        same = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if self.known.get(name, [])[:-1] != same:
            self.known[name] = [*same, digest.of_file(path)]
            self.read.add(path)
        return self.known[name][-1]


@contextmanager
def remembered(layout: Layout, read_all: bool = False) -> Iterator[Digests]:
    """Digests, those of earlier verifications among them; they are kept in data/store when nothing was refused."""
    known: dict[str, list[Any]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = {} if read_all else json.loads(layout.digests.read_text())
    digests = Digests(layout.root, known)
    yield digests
    if digests.read:
        with contextlib.suppress(OSError):  # without them the next verification reads more
            write_atomically(layout.digests, json.dumps(digests.known))


def verify(layout: Layout, read_all: bool = False, about_to: Event | None = None) -> None:
    """Raise ValueError naming the first input that is not what came in, and how the original is restored.

    `about_to`: an event that is written when this holds. `read_all`: nothing is taken from an earlier verification.
    """
    verify_batches(layout, read_all)
    events = [*ledger.read(layout.ledger), *([about_to] if about_to else [])]
    records = {layout.register: "class_", layout.corrections: "corrected"}
    folders = [p for p in sorted(layout.annotations.glob("[!.]*")) if p.is_dir() and p not in records]
    here = [folder.name for folder in folders]
    with remembered(layout, read_all) as digests:
        for name in dict.fromkeys([*(e.generation for e in events if e.event == "imported"), *here]):
            _verify_annotations(layout, name, events, digests)
        for folder, kind in records.items():
            recorded = {folder / f"{e.digest}.parquet": e.digest for e in events if e.event.startswith(kind)}
            _compare(dict.fromkeys(folder.glob("[!.]*")) | recorded, folder, digests, ledger.pointers(events))


def verify_batches(layout: Layout, read_all: bool = False, only: str | None = None) -> None:
    """As `verify`, of raw batches and truth: files against their card, the card and the truth against the ledger.

    `only`: of this batch.
    """
    events = ledger.read(layout.ledger)
    recorded, pointers = ingested(events), ledger.pointers(events)
    with remembered(layout, read_all) as digests:
        for name in [only] if only else sorted({*recorded, *(batch.name for batch in layout.batches)}):
            batch, truth, event = layout.batch(name), layout.truth_of(name), recorded.get(name)
            if event:
                _compare({batch.card: event.digest}, batch.folder, digests, pointers)
                if truth.exists() or (read_all and event.details["truth"]):  # no stage needs it
                    _compare({truth: event.details["truth"]}, truth, digests, pointers)
            if batch.card.exists():
                _compare(_files_of(batch), batch.folder, digests, pointers)


def ingested(events: list[Event]) -> dict[str, Event]:
    """Batch -> the newest event about it."""
    return {e.details["batch"]: e for e in events if e.event == "ingested"}


def _files_of(batch: Batch) -> dict[Path, str | None]:
    """Every file of a batch with the digest that its card has; None for one that it does not name."""
    there = dict.fromkeys(p for p in batch.folder.rglob("[!.]*") if p.is_file() and p != batch.card)
    try:
        named = json.loads(batch.card.read_text())["files"].items()
    except (ValueError, TypeError, KeyError):
        restoring = ledger.restoring(batch.folder, ())
        raise ValueError(f"{batch.card}: expected the card of a batch, found something else; {restoring}") from None
    return there | {batch.folder / name: value for name, value in named}


def _verify_annotations(layout: Layout, name: str, events: list[Event], digests: Digests) -> None:
    """The annotations of the batch of generation `name` against the ledger, and new ones against what was asked."""
    imported = [e for e in events if e.event == "imported" and e.generation == name]
    folder, audit = layout.annotations_of(name), layout.audit_of(name)
    named = {folder / f"{e.digest}.parquet": e.digest for e in imported if e.digest}  # of no answer there is no file
    files = dict.fromkeys(folder.glob("[!.]*")) | named
    files.pop(audit, None)
    audits = [e.details["audit"] for e in imported if "audit" in e.details][-1:]  # older events have none
    also = {audit: audits[0]} if audits and (audits[0] or audit.exists()) else {}
    _compare(files | also, folder, digests, ledger.pointers(events))
    selection = layout.generation(name).selection
    new = sorted(digests.read & files.keys())
    if new and selection.exists():
        asked = set(schema.read(selection, schema.SELECTION, ["image_id"])["image_id"].to_pylist())
        for path in new:
            ids = schema.read(path, schema.ANNOTATIONS, ["image_id"])["image_id"].to_pylist()
            if unasked := [i for i in ids if i not in asked]:
                raise ValueError(
                    f"{path}: expected annotations of images that the batch of {name} asks about, found image "
                    f"{unasked[0][:12]}; move the file out of the workspace and import the annotations again"
                )


def _compare(expected: Mapping[Path, str | None], tracked: Path, digests: Digests, pointers: Collection[str]) -> None:
    """Raise ValueError for the first file below `tracked` that is missing, changed, or known to nobody (None)."""
    for path, wanted in expected.items():
        if wanted is None:
            raise ValueError(
                f"{path}: expected files that a batch's card or the ledger names, found this one; move it out of the "
                "workspace (annotations come in by `oltr annotate import`, which clears up after one that failed)"
            )
        if not path.exists():
            raise ValueError(f"{path}: expected this file, and it is not here; `dvc pull` restores it")
        if not (found := digests(path)).startswith(wanted):
            raise ValueError(
                f"{path}: this file was changed after it came in (expected digest {wanted[:12]}, found "
                f"{found[:12]}); {ledger.restoring(tracked, pointers)}"
            )
