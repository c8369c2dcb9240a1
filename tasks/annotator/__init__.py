"""Those who answer: a batch goes out as files, answers come back, checked, append-only.

    export      data/generations/NNNN/selection.parquet ─► data/exports/NNNN/   (CSV, contact sheet, images)
    collect     answers of the annotator that params.yaml names; None while people are not done
    store       answers ─► data/annotations/NNNN/<digest>.parquet

Adding an annotator: one file with a `collect` of its own, one class in oltr_core/settings.py,
one line in `collect` below.
"""

from __future__ import annotations

import pyarrow as pa

from oltr_core.layout import Layout
from oltr_core.settings import FolderAnnotator, Settings, TruthAnnotator
from tasks.annotator import folder, truth


def collect(layout: Layout, settings: Settings, name: str, at: str, partial: bool = False) -> pa.Table | None:
    """The answers to the batch of generation `name`, for `answers.store` to check; None while some are missing.

    `partial` takes what is there, down to a single answer. `at` is the time of asking.
    """
    match settings.annotator:
        case TruthAnnotator():
            return truth.collect(layout, name, at)
        case FolderAnnotator(path=path):
            return folder.collect(layout, path, name, partial)


def audit(layout: Layout, settings: Settings, name: str) -> None:
    """What held-back truth says of the batch, where the annotator is one who knows it."""
    if isinstance(settings.annotator, TruthAnnotator):
        truth.audit(layout, name)
