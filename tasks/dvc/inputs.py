"""What DVC keeps, verified before DVC is called: it takes a changed file for a new version and points at that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oltr_core import digest, ledger, verification
from oltr_core.layout import GENESIS, Layout, in_order
from oltr_core.ledger import Event
from oltr_core.settings.reading import load_run
from tasks.dvc import pointers, repository


def verify(layout: Layout, read_all: bool = False, about_to: Event | None = None) -> None:
    """Raise ValueError unless batches, truth and annotations are what came in: as `verification.verify`.

    Batches that the ledger does not have yet, those of an older version, are compared with DVC's pointers too.
    """
    with original_pointers(layout):
        verification.verify(layout, read_all, about_to)
        recorded = verification.ingested(ledger.read(layout.ledger))
        old = [batch.name for batch in layout.batches if batch.name not in recorded]
        paths = [path for name in old for path in (layout.batch(name).folder, layout.truth_of(name))]
        repository.refuse_changed(layout, *paths)


def verify_parent(layout: Layout) -> None:
    """Raise ValueError unless the sealed parent of the generation in data/run.yaml is what was sealed."""
    parent = load_run(layout).parent
    if parent != GENESIS:
        with original_pointers(layout), verification.remembered(layout) as digests:
            ledger.verify_sealed(layout.ledger, layout.generation(parent).folder, digests)


def keep(layout: Layout, event: Event, *paths: Path) -> None:
    """Give new data to DVC, copy them to the remote, then tell the ledger; its event gets their pointers.

    Raises ConnectionError where the remote does not take them: then the ledger does not know them.
    """
    repository.add(layout, *paths)
    repository.push(layout, *paths)
    tell(layout, event, *paths)


def tell(layout: Layout, event: Event, *paths: Path) -> None:
    """Write the event about data that DVC has into the ledger, with their pointers."""
    event.details["dvc"] = pointers.of(layout, *paths)
    ledger.append(layout.ledger, event)


def record_older(layout: Layout, at: str) -> None:
    """Tell the ledger of the batches that it does not have yet: before a newer one, for its order is theirs.

    They are of version 0.1, or a kill came between pointer and event. Raises ValueError where one was changed.
    """
    recorded = verification.ingested(ledger.read(layout.ledger))
    for batch in in_order(batch for batch in layout.batches if batch.name not in recorded):
        repository.refuse_changed(layout, batch.folder, layout.truth_of(batch.name))
        record(layout, batch.name, at)


def record(layout: Layout, name: str, at: str) -> None:
    """Tell the ledger what batch `name` is, if it does not know and DVC has the batch."""
    batch, truth = layout.batch(name), layout.truth_of(name)
    if not pointers.pointer(batch.folder):
        return
    details = {"batch": name, "truth": digest.of_file(truth) if truth.exists() else None}
    tell(layout, Event("ingested", "", digest.of_file(batch.card), at, details), batch.folder, truth)


@contextmanager
def original_pointers(layout: Layout) -> Iterator[None]:
    """When what happens inside is refused: the pointers that `dvc repro` or `dvc add` moved name the originals again.

    So `dvc checkout`, which the sentence advises, restores these.
    """
    try:
        yield
    except ValueError as error:
        moved = pointers.restore_pointers(layout)
        raise ValueError("; ".join([str(error), *moved])) from error
