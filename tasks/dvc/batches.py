"""Raw batches: taken in once, kept by DVC, restored where another clone took them in."""

from __future__ import annotations

from typing import Any

from oltr_core import verification
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import Layout
from oltr_core.settings.whole import Settings
from oltr_core.stages import ingest
from tasks.dvc import inputs, pointers, remotes, repository


def take_in(layout: Layout, settings: Settings, batch: str, access: SourceAccess, at: str) -> dict[str, Any]:
    """Ingest one raw batch, give it to DVC and push it. Returns its card. Raises as `ingest.run` does.

    `at` is the time of its event in the ledger. A batch that was here already is verified first.
    """
    folder, truth = layout.batch(batch).folder, layout.truth_of(batch)
    if pointers.pointer(folder) and not folder.is_dir():  # taken in elsewhere: a clone of this workspace
        repository.pull(layout, folder, *([truth] if pointers.pointer(truth) else []))
    with inputs.original_pointers(layout):
        inputs.record_older(layout, at)
    card = ingest.run(settings, layout, batch, access=access)
    made = [folder, *([truth] if truth.exists() else [])]
    remotes.set_remote(layout, settings.storage.remote)
    with inputs.original_pointers(layout):
        verification.verify_batches(layout, only=batch)
        repository.refuse_changed(layout, *made)
    repository.add(layout, *made)
    inputs.record(layout, batch, at)
    repository.push(layout, *made)
    return card
