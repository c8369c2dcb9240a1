"""What a workspace's images are, as far as a few seconds can tell: their number, sides, classes and splits.

Of ingested batches the indexes say everything. Before, the sources of the first batch are gone through, and of some
hundred images the header is read: no pixel is decoded, and nothing is fetched over a network.
"""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from oltr_core import ledger, schema
from oltr_core.curation import hold_out, split
from oltr_core.images.decode import identity
from oltr_core.ingest.labels import taken_in
from oltr_core.ingest.record import FETCHED, Record, SourceAccess
from oltr_core.ingest.sources import parse_sources
from oltr_core.layout import Layout
from oltr_core.settings.curate import Curate
from oltr_core.settings.operations import RawBatch
from oltr_core.settings.whole import Settings

MOST = 100_000  # records that a source is asked for
PIXELS = ("digits", "parquet", "torchvision")  # sources that read images to name them
LOOKED_AT = 300  # images that are opened: for their sides, and to tell who they are


@dataclass
class Seen:
    """Images counted by what their source says of them."""

    where: str  # "ingested", or the name of the batch that is still to ingest
    #: split as given, "" where curate draws it -> class -> images
    labelled: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    pool: int = 0
    sides: list[tuple[int, int]] = field(default_factory=list)  # width, height in pixels, of some images
    attributes: set[str] = field(default_factory=lambda: {"source"})  # of images that may be evaluated
    left_out: list[str] = field(default_factory=list)  # what could not be looked at, and why

    @property
    def number(self) -> int:
        return self.pool + sum(sum(classes.values()) for classes in self.labelled.values())

    def count(self, given: str | None, label: str | None) -> None:
        if label is None or given == "pool":
            self.pool += 1
        else:
            self.labelled[given or ""][label] += 1


@dataclass(frozen=True)
class Expected:
    """What curate will make of them in the first generation, copies and groups aside."""

    train: dict[str, int]  # images per known class
    val: int
    pool: int
    open_test: int  # test images of classes that nothing trains,
    open_val: int = 0  # and validation images
    held: int = 0  # classes held out


def look(settings: Settings, layout: Layout, access: SourceAccess) -> Seen:
    """The images of every ingested batch; of the first batch's sources where none is ingested."""
    return _ingested(layout) if layout.batches else _offered(settings.sources[0], access)


def expected(seen: Seen, curate: Curate) -> Expected:
    """The split as curate draws it. Raises ValueError for classes that cannot be held out."""
    given = {name: seen.labelled.get(name, Counter()) for name in ("", "train", "val", "test")}
    offered = given[""] + given["train"] + given["val"]
    names = sorted({*offered, *given["test"]})
    counts = np.array([[given[s][n] for s in ("test", "val", "train")] for n in names], dtype=int).reshape(-1, 3)
    label = np.repeat(np.arange(len(names)), [given[""][n] for n in names])
    alone = np.arange(len(label))
    shares = split.Shares(curate.val_share, curate.test_share, curate.min_train_per_class, curate.min_test_per_class)
    np.add.at(counts, (label, split.draw(alone, label, alone, counts, shares)), 1)  # the codes are the columns
    held = hold_out.chosen(curate, offered, names)
    waiting = np.array([name in held for name in names], dtype=bool)
    known = np.array([name in offered for name in names], dtype=bool) & ~waiting
    if curate.unknown_validation:
        known &= counts[:, 2] > 0
    train = {name: int(row[2]) for name, row, keep in zip(names, counts, known, strict=True) if keep}
    pool, open_test = seen.pool + counts[waiting, 1:].sum(), counts[~known, 0].sum()
    open_val = counts[~known & ~waiting, 1].sum()  # those of a class that is held out wait in the pool
    return Expected(train, int(counts[known, 1].sum()), int(pool), int(open_test), int(open_val), int(waiting.sum()))


def came_since(settings: Settings, layout: Layout, access: SourceAccess) -> dict[str, list[str]]:
    """Ingested batch -> images that its sources name by now and the batch does not have, not even in quarantine.

    Left out is a source that is not here any more, draws among its images, lies elsewhere, or reads their pixels;
    and, among so few that all of them are opened, the file of an image that was forgotten.
    """
    found: dict[str, list[str]] = {}
    forgotten = ledger.state_of(layout.ledger).forgotten
    for named in settings.sources:
        batch = layout.batch(named.batch)
        if not batch.folder.is_dir():
            continue
        tables = ((batch.index, schema.INDEX), (batch.quarantine, schema.QUARANTINE))
        has = {a for path, table in tables for a in schema.read(path, table, ["address"])["address"].to_pylist()}
        for source in parse_sources(named):
            path = str(getattr(source, "path", ""))
            if path.startswith(FETCHED) or source.name in PIXELS or getattr(source, "draw", None):
                continue
            with suppress(ValueError, OSError):
                records = [r for r in map(taken_in, islice(source(access), MOST)) if r.problem is None]
                came = [r for r in records if r.address not in has]
                if len(came) <= LOOKED_AT:
                    came = [r for r in came if not _is_one_of(forgotten, r)]
                found.setdefault(named.batch, []).extend(r.address for r in came)
    return {name: addresses for name, addresses in found.items() if addresses}


def _is_one_of(image_ids: Collection[str], record: Record) -> bool:
    """Whether the record's file is one of these images.

    Not found out of a box, whose id is of its pixels, and of a file that cannot be read.
    """
    content = record.content
    if not image_ids or record.box is not None or not isinstance(content, bytes | Path):
        return False
    with suppress(OSError):
        return identity(content if isinstance(content, bytes) else content.read_bytes()) in image_ids
    return False


def _ingested(layout: Layout) -> Seen:
    seen = Seen("ingested")
    for batch in layout.batches:
        columns = ["split", "label", "width", "height", "attributes"]
        texts: set[str] = set()
        for row in schema.read(batch.index, schema.INDEX, columns).to_pylist():
            seen.count(row["split"], row["label"])
            seen.sides.append((row["width"], row["height"]))
            if row["split"] != "train" and row["attributes"]:
                texts.add(row["attributes"])
        seen.attributes.update(*map(json.loads, texts))
    seen.sides = seen.sides[:: max(1, len(seen.sides) // LOOKED_AT)]
    return seen


def _offered(batch: RawBatch, access: SourceAccess) -> Seen:
    seen, rng = Seen(batch.batch), np.random.default_rng(0)
    some: list[Record] = []
    for source in parse_sources(batch):
        path = str(getattr(source, "path", ""))
        if path.startswith(FETCHED) or source.name == "torchvision":
            seen.left_out.append(f"{path or source.name} is not looked at before it is ingested")
            continue
        for number, record in enumerate(map(taken_in, source(access))):
            if number == MOST:
                seen.left_out.append(
                    f"{path or source.name} has more than {MOST:,} images, which takes long to count"
                )
                break
            if record.problem is None:
                seen.count(record.split, record.label)
                seen.attributes |= set(record.attributes if record.split != "train" else ())
                # each record so far is kept with the same chance (Vitter's algorithm R)
                if len(some) < LOOKED_AT:
                    some.append(record)
                elif (place := int(rng.integers(seen.number))) < LOOKED_AT:
                    some[place] = record
    seen.sides = [size for record in some for size in _size(record)]
    return seen


def _size(record: Record) -> Iterator[tuple[int, int]]:
    """Width and height, from the header; nothing where there is none."""
    from PIL import Image, UnidentifiedImageError

    content = record.content
    if isinstance(content, np.ndarray):
        yield content.shape[1], content.shape[0]
        return
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else Path(content)) as image:
            width, height = image.size
        part = record.box or (0, 0, 1, 1)
        yield max(1, round(width * part[2])), max(1, round(height * part[3]))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return  # ingest will say what is wrong with it
