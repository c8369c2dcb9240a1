"""What nothing refers to any more: found, shown, and only then removed."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from oltr_core import digest, ledger, schema
from oltr_core.frames import scan
from oltr_core.images.shards import feature_key
from oltr_core.ingest.batch_writer import part_of
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings


class Leftover(NamedTuple):
    """A file or folder that nothing refers to, its size, and the reason."""

    path: Path
    bytes: int
    why: str


def leftovers(layout: Layout) -> list[Leftover]:
    """Everything in the workspace that no generation, batch or cache key refers to."""
    return [Leftover(path, _size(path), why) for path, why in _found(layout)]


def remove(found: list[Leftover]) -> None:
    """Delete them."""
    for item in found:
        shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink(missing_ok=True)


@contextmanager
def scratch(layout: Layout) -> Iterator[Path]:
    """A folder in the workspace, removed at the end; one that a kill left is among the leftovers."""
    layout.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=layout.scratch))
    try:
        with _lock(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / "lock", timeout=0)


def _found(layout: Layout) -> Iterator[tuple[Path, str]]:
    state = ledger.state_of(layout.ledger)
    used = _keys_in_use(layout)
    for folder in _inside(layout.store / "features"):
        if folder.name not in used:
            yield folder, "features that no model and batch here have"
    if state.unfinished is None:
        for folder in _inside(layout.store / "resume"):
            yield folder, "resume state, and no generation is unfinished"
    if layout.forgetting.is_dir() and not state.forgetting:
        yield layout.forgetting, "what `oltr forget` prepared, and it did not begin"
    for folder in _inside(layout.scratch):
        with suppress(Timeout), _lock(folder):  # held by a process that works there
            yield folder, "an `oltr reproduce` that was cut off"
    for batch in layout.batches:
        if (part := part_of(layout, batch.name).folder).is_dir():
            yield part, f"an unfinished ingest of batch {batch.name}, which is there"
    for folder in _inside(layout.exports):
        if folder.name in state.imported and not _waits(layout, folder.name, state):
            yield folder, "a batch whose answers were imported"
    for file in _inside(layout.failures):
        if state.unfinished is None:
            yield file, "the failure of a run that is over"


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _waits(layout: Layout, name: str, state: ledger.State) -> bool:
    """Whether the batch of generation `name` is the newest that is out, and answers to it are missing."""
    selection = layout.generation(name).selection
    if int(name) < max((int(other) for other in state.exported), default=-1):
        return False
    if not selection.exists():  # what was asked is not known
        return True
    people: dict[str, set[str]] = {}
    for file in layout.annotations_of(name).glob("[!.]*.parquet"):
        for row in schema.read(file, schema.ANNOTATIONS, ["image_id", "annotator"]).to_pylist():
            people.setdefault(row["image_id"], set()).add(row["annotator"])
    each = getattr(load_settings(layout).annotator, "answers_per_image", 1)
    asked = set(schema.read(selection, schema.SELECTION, ["image_id"])["image_id"].to_pylist()) - state.forgotten
    return any(len(people.get(image, ())) < each for image in asked)


def _keys_in_use(layout: Layout) -> set[str]:
    """The keys of the features of every model here for every shard here."""
    models = [*layout.generations.glob("*/*.safetensors"), *layout.work.folder.glob("*.safetensors")]
    cards = [card for model in models if (card := _card(model))]
    keys = set()
    for batch in layout.batches:
        index = digest.of_file(batch.index)
        shards = scan(batch.index, schema.INDEX).select(pl.col("shard").unique()).collect()["shard"].to_list()
        for card in cards:
            network = {key: value for key, value in card["network"].items() if key != "head"}
            made_by = card["trunk_digest"], network, card["transform"]
            keys |= {feature_key(*made_by, batch.name, index, shard) for shard in shards}
    return keys


def _card(model: Path) -> dict[str, Any]:
    """The card of a checkpoint as JSON has it; empty for the base model of a generation that holds no weights.

    Raises ValueError for a torn one: which features it uses is then not known.
    """
    try:
        with safe_open(model, framework="np") as file:
            return json.loads((file.metadata() or {}).get("oltr.card", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"{model}: expected a checkpoint, found something else ({error}); `dvc checkout` restores a sealed one, "
            "and `oltr loop` makes one below data/work again"
        ) from None


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
